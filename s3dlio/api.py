"""The functions of the package: the verbs with one default client, and what configures it."""

from __future__ import annotations

import functools
import logging
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar, overload

from s3dlio.client import Client
from s3dlio.config import settings
from s3dlio.engine.session import Session
from s3dlio.errors import ConfigError
from s3dlio.forking import ForkLock
from s3dlio.memory.view import BytesView
from s3dlio.stores.registry import trace_where_logged
from s3dlio.types import NO_CONDITIONS, Conditions
from s3dlio.uri import URI, in_bucket
from s3dlio.verbs import (
    batches,
    containers,
    endpoints,
    files,
    generated,
    history,
    listing,
    looking,
    objects,
    trees,
    writers,
)

log = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

_default: Client | None = None
_lock = ForkLock()


#: Where services are, by the environment, when that was last read.
_endpoints: list[str | None] = []
_ENDPOINTS = (
    "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AZURE_BLOB_ENDPOINT_URL", "AZURE_STORAGE_ENDPOINT", "GCS_ENDPOINT_URL",
    "STORAGE_EMULATOR_HOST",
)  # fmt: skip


def default_client() -> Client:
    """The client behind the functions of the package, made at the first call."""
    global _default
    if _default is None:
        with _lock:
            _endpoints[:] = map(os.environ.get, _ENDPOINTS)
            _default = _default or Client()
    elif _endpoints and (now := [os.environ.get(name) for name in _ENDPOINTS]) != _endpoints:
        changed = [name for name, old, new in zip(_ENDPOINTS, _endpoints, now, strict=True) if old != new]
        _endpoints[:] = now
        log.warning(
            "%s changed after the first use of s3dlio, which keeps to what it has read; s3dlio.configure_s3() reads "
            "the environment again, a Client has an endpoint of its own", ", ".join(changed),
        )  # fmt: skip
    return _default


def configure(section: str, **values: Any) -> None:
    """Set values of one section of the settings, at any time.

    They rank above the environment and below the arguments of a :class:`Client`. The default client uses them from its
    next call on; clients that exist keep theirs.

    Args:
        section: ``http``, ``retry``, ``range``, ``multipart``, ``executor``, ``transfer``, ``file``, ``s3``, ``azure``,
            ``gcs``.
        **values: see docs/settings.md; None takes a value back.

    Raises:
        ConfigError: an unknown name or a value of the wrong type; nothing is changed then.
    """
    settings.configure(section, values)
    _reload()


def configure_s3(
    endpoint_url: str | None = None, region: str | None = None, ca_bundle: str | None = None, **values: Any
) -> None:
    """Set where ``s3://`` is, at any time. Without arguments, read environment and files again.

    Args:
        endpoint_url: the service, ``https://host:port``.
        region: the region to sign for.
        ca_bundle: a PEM file of the certificates to trust.
        **values: any other setting of the section ``s3``.

    Raises:
        ConfigError: an unknown name or a value of the wrong type; nothing is changed then.
    """
    given = {"endpoint_url": endpoint_url, "region": region, **values}
    settings.configure("s3", {name: value for name, value in given.items() if value is not None})
    if ca_bundle is not None:
        settings.configure("http", {"ca_bundle": ca_bundle})
    _reload()


def _reload() -> None:
    with _lock:
        _endpoints[:] = map(os.environ.get, _ENDPOINTS)
        if _default is not None:
            _default.reconfigure(settings.Settings.resolve())


_LEVELS = {
    "trace": 5,
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "off": logging.CRITICAL + 1,
}
_handler: logging.Handler | None = None


def init_logging(level: str = "info") -> None:
    """Write the log to standard error from this level on; call it again to change the level.

    A program that configures ``logging`` itself needs none of this: the loggers are called ``s3dlio...``.

    Args:
        level: ``trace``, ``debug``, ``info``, ``warn``, ``error`` or ``off``. ``debug`` tells of every request: URL,
            status, attempt, bytes, times; ``trace`` shows the header fields of requests and answers, too. Credentials
            are masked in both.

    Raises:
        ConfigError: another level.
    """
    global _handler
    number = _LEVELS.get(level.strip().lower()) if isinstance(level, str) else None
    if number is None:
        raise ConfigError(f"unknown log level {level!r}", hint=f"use one of {', '.join(_LEVELS)}")
    logger = logging.getLogger("s3dlio")
    if _handler is not None:
        logger.removeHandler(_handler)
    _handler = logging.StreamHandler(sys.stderr)
    _handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logger.addHandler(_handler)
    logger.setLevel(number)
    trace_where_logged()


def function_of(verb: Callable[Concatenate[Session, P], T], home: str = __name__) -> Callable[P, T]:
    """The verb with the default client as its session; its documentation and other parameters, in module ``home``."""

    @functools.wraps(verb)
    def function(*args: P.args, **kwargs: P.kwargs) -> T:
        return verb(_default or default_client(), *args, **kwargs)

    function.__dict__["__wrapped__"] = _WithoutSession(verb)
    function.__module__ = home
    return function


class _WithoutSession:
    """Tells the signature of a verb without its session, when ``inspect`` asks: few do, and its import takes 7 ms."""

    def __init__(self, verb: Callable[..., Any]) -> None:
        self._verb = verb
        # Where ``typing.get_type_hints`` looks names up.
        self.__globals__ = getattr(getattr(verb, "__wrapped__", verb), "__globals__", {})

    @property
    def __signature__(self) -> Any:
        import inspect

        signature = inspect.signature(self._verb)
        _, *parameters = signature.parameters.values()
        return signature.replace(parameters=parameters)


@overload
def get(
    uri: URI, path: None = None, *, version_id: str | None = None, conditions: Conditions = NO_CONDITIONS
) -> BytesView: ...
@overload
def get(
    uri: URI, path: str | os.PathLike[str], *, version_id: str | None = None, conditions: Conditions = NO_CONDITIONS
) -> None: ...
def get(
    uri: URI,
    path: str | os.PathLike[str] | None = None,
    *,
    version_id: str | None = None,
    conditions: Conditions = NO_CONDITIONS,
) -> BytesView | None:
    """Read an object.

    Args:
        uri: which.
        path: write it to this local file instead (into it, where it is a directory); then None is returned. The file
            is there whole or not at all.
        version_id: one version of the object.
        conditions: ETags that it must or must not have, the customer's key that it is encrypted with.

    Raises:
        ObjectNotFoundError, PermissionDeniedError, PreconditionFailedError, IsDirectoryError, InvalidURIError, ...
    """
    client = _default or default_client()
    if path is None:
        return client.get(uri, version_id=version_id, conditions=conditions)
    client.get_to_file(uri, path, version_id=version_id, conditions=conditions)
    return None


def get_object(
    uri: URI,
    key: str | None = None,
    *,
    version_id: str | None = None,
    conditions: Conditions = NO_CONDITIONS,
) -> BytesView:
    """Read an object, as :func:`get` does.

    Args:
        uri: which; or the name of a bucket of ``s3://``, with ``key``.
        key: its key in that bucket.
        version_id, conditions: as of :func:`get`.
    """
    if key is not None:
        uri = in_bucket(uri, key)
    return default_client().get(uri, version_id=version_id, conditions=conditions)


get_endpoint_stats = function_of(endpoints.get_endpoint_stats)
get_tags = function_of(objects.get_tags)
put_tags = function_of(objects.put_tags)
presign = function_of(objects.presign)
pre_stat_and_cache = function_of(batches.pre_stat_and_cache)
get_range = function_of(objects.get_range)
get_into = function_of(objects.get_into)
get_many = function_of(batches.get_many)
get_many_outcomes = function_of(batches.get_many_outcomes)
iter_many = function_of(batches.iter_many)
get_many_stats = function_of(batches.get_many_stats)

open = function_of(files.open)

put = function_of(generated.put)
put_bytes = function_of(objects.put_bytes)
put_many = function_of(batches.put_many)

list = function_of(listing.list)
list_keys = function_of(listing.list_keys)
list_full_uris = function_of(listing.list_full_uris)
iterate = function_of(listing.iterate)
find = function_of(looking.find)
check = function_of(looking.check)

head = function_of(objects.head)
stat = function_of(objects.stat)
stat_object = function_of(objects.stat)
stat_many = function_of(batches.stat_many)
exists = function_of(objects.exists)

delete = function_of(objects.delete)
delete_many = function_of(batches.delete_many)
mkdir = function_of(containers.mkdir)
rmdir = function_of(containers.rmdir)
create_bucket = function_of(containers.create_bucket)
delete_bucket = function_of(containers.delete_bucket)
list_containers = function_of(containers.list_containers)

list_versions = function_of(history.list_versions)
restore_version = function_of(history.restore_version)
delete_versions = function_of(history.delete_versions)
list_uploads = function_of(history.list_uploads)
abort_uploads = function_of(history.abort_uploads)

upload = function_of(trees.upload)
download = function_of(trees.download)
copy = function_of(trees.copy)
move = function_of(trees.move)
sync = function_of(trees.sync)

create_stream_writer = create_writer = get_writer = function_of(writers.create_stream_writer)
get_writer_with_compression = function_of(writers.get_writer_with_compression)
create_s3_writer = function_of(writers.create_s3_writer)
create_azure_writer = function_of(writers.create_azure_writer)
create_gcs_writer = function_of(writers.create_gcs_writer)
create_filesystem_writer = function_of(writers.create_filesystem_writer)
create_direct_filesystem_writer = function_of(writers.create_direct_filesystem_writer)

if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        """Older documents have all functions here, those of checkpoints too."""
        package = sys.modules[__name__.rpartition(".")[0]]
        if name.startswith("_") or name not in package.__all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(package, name)
