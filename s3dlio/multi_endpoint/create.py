"""How a store over several endpoints is made: of a list, a template, a file, or what the environment names."""

from __future__ import annotations

import os
from collections.abc import Iterable

from s3dlio.compat.forms import load_uris_from_file
from s3dlio.config.endpoint_list import FILE_VARIABLE, STRATEGY_VARIABLE, TEMPLATE_VARIABLE, URIS_VARIABLE
from s3dlio.errors import ConfigError, S3dlioError
from s3dlio.multi_endpoint.store import MultiEndpointStore
from s3dlio.signatures import also_named, either
from s3dlio.uri import URI
from s3dlio.uri_templates import expand_uri_template, parse_uri_list


def create_multi_endpoint_store(
    uris: Iterable[URI] | None = None, strategy: str | None = None, *, template: str | None = None
) -> MultiEndpointStore:
    """A store over several endpoints.

    Args:
        uris: the endpoints, see :class:`MultiEndpointStore`.
        strategy: ``round_robin`` (the default) or ``least_connections``.
        template: instead of ``uris``, see :func:`create_multi_endpoint_store_from_template`.

    Raises:
        ConfigError: too many endpoints, an unknown strategy, a range that runs backwards.
        InvalidURIError: no endpoint, different schemes, or what is no URI.
    """
    if template is not None and uris is None:
        return create_multi_endpoint_store_from_template(template, strategy)
    return MultiEndpointStore(either("uris", uris, "template", template), strategy)


def create_multi_endpoint_store_from_template(
    uri_template: str | None = None, strategy: str | None = None, *, template: str | None = None
) -> MultiEndpointStore:
    """A store over the endpoints that a template stands for: ``s3://10.0.0.{1...8}:9000/bucket``.

    Args:
        uri_template: as of ``expand_uri_template``.
        strategy: as of :func:`create_multi_endpoint_store`, whose errors this has, too.
        template: another name of ``uri_template``.
    """
    written: str = either("uri_template", uri_template, "template", template)
    try:
        uris = expand_uri_template(written)
    except S3dlioError as error:
        error.prefix = "Template expansion failed: "
        raise
    return MultiEndpointStore(uris, strategy)


@also_named(file_path="path")
def create_multi_endpoint_store_from_file(path: URI, strategy: str | None = None) -> MultiEndpointStore:
    """A store over the endpoints in a file, one a line; lines that begin with ``#`` and empty ones do not count.

    Args:
        path: a local file, or a URI.
        strategy: as of :func:`create_multi_endpoint_store`, whose errors this has, too.

    Raises:
        ObjectNotFoundError: there is no such file.
    """
    return MultiEndpointStore(load_uris_from_file(path), strategy)


def create_multi_endpoint_store_from_env(strategy: str | None = None) -> MultiEndpointStore:
    """A store over the endpoints that the environment names, with commas in ``S3_ENDPOINT_URIS``, else by the template
    ``S3_ENDPOINT_TEMPLATE``, else in the file ``S3_ENDPOINT_FILE``. A ``.env`` file cannot name them.

    Args:
        strategy: as of :func:`create_multi_endpoint_store`, whose errors this has, too; without,
            ``S3_LOAD_BALANCE_STRATEGY``.

    Raises:
        ConfigError: none of the variables is set.
    """
    chosen = strategy or os.environ.get(STRATEGY_VARIABLE) or None
    if uris := os.environ.get(URIS_VARIABLE, "").strip():
        return MultiEndpointStore(parse_uri_list(uris), chosen)
    if template := os.environ.get(TEMPLATE_VARIABLE, "").strip():
        return create_multi_endpoint_store_from_template(template, chosen)
    if path := os.environ.get(FILE_VARIABLE, "").strip():
        return create_multi_endpoint_store_from_file(path, chosen)
    raise ConfigError(
        f"none of {URIS_VARIABLE}, {TEMPLATE_VARIABLE} and {FILE_VARIABLE} is set in the environment",
        hint=f"set {URIS_VARIABLE} to endpoints with commas between them",
    )
