"""Functions under older names, and older forms of those that are there."""

from __future__ import annotations

import os

from s3dlio import api
from s3dlio._version import __version__
from s3dlio.engine.admission import check_width
from s3dlio.foreign_errors import from_os_error
from s3dlio.uri import URI, as_uri, has_scheme
from s3dlio.uri_templates import lines_of_uris


def version() -> str:
    """The version of this package."""
    return __version__


def list_uris(uri: URI, recursive: bool = False, pattern: str | None = None) -> list[str]:
    """The same as ``list``."""
    return api.list(uri, recursive, pattern)


def list_keys_from_s3(uri: URI) -> list[str]:
    """The same as ``list_keys``."""
    return api.list_keys(uri)


def load_uris_from_file(path: URI) -> list[str]:
    """The URIs in a file, one a line; lines that begin with ``#`` and empty ones do not count.

    Args:
        path: a local file, or a URI.

    Raises:
        ObjectNotFoundError: there is no such file.
        InvalidURIError: it has no URIs, one has no scheme, or their schemes differ.
    """
    if isinstance(path, str) and has_scheme(path):
        text = api.get(as_uri(path)).decode("utf-8", "surrogateescape")
    else:
        try:
            with open(path, encoding="utf-8", errors="surrogateescape") as file:
                text = file.read()
        except OSError as error:
            raise from_os_error(error, uri=f"file://{os.path.abspath(path)}", operation="GET") from error
    return lines_of_uris(text, os.fspath(path))


def configure_for_concurrency(n: int) -> None:
    """Make room for ``n`` requests of this process at a time: connections that are kept, threads that may help.

    The settings are raised, never lowered; operations take what they need of them.

    Args:
        n: 1 or more.

    Raises:
        ConfigError: ``n`` is less than 1.
        TypeError: it is no integer.
    """
    n = check_width(n)
    now = api.default_client().settings
    api.configure("http", max_connections=max(n, now.http.max_connections))
    api.configure("executor", threads=max(n, now.executor.threads))
