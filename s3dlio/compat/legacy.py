"""Functions that older scripts call. What they asked of the package before has little or no meaning here.

Those that only warn say so with ``DeprecationWarning``; none pretends.
"""

from __future__ import annotations

import warnings
from typing import Any

from s3dlio import api
from s3dlio.errors import InvalidURIError
from s3dlio.memory.view import BytesView
from s3dlio.stores.s3.hosts import is_address
from s3dlio.uri import URI, as_uri, parse


def _warn(what: str) -> None:
    warnings.warn(what, DeprecationWarning, stacklevel=3)


def parse_s3_uri_full(uri: str) -> dict[str, str | None]:
    """The parts of an ``s3://`` URI.

    Returns:
        ``endpoint`` (``host:port``; None where the URI names no server), ``bucket`` and ``key``.

    Raises:
        InvalidURIError: it is no ``s3://`` URI, or has no ``/`` after the bucket or the server, or names a server
            without a port.
    """
    location = parse(uri)
    if location.scheme != "s3":
        raise InvalidURIError("URI must start with s3://", uri=uri)
    if len(uri) <= len(location.root) and not location.endpoint:
        raise InvalidURIError("URI must contain '/' after bucket", uri=uri)
    if is_address(location.container):
        raise InvalidURIError(
            f"'{location.container}' is an IP address with no port, and cannot be the name of a bucket",
            uri=uri,
            hint=f"add :port to name a server, e.g. s3://{location.container}:9000/bucket/key",
        )
    return {"endpoint": location.endpoint, "bucket": location.container, "key": location.key}


def object_capabilities(uri: URI) -> dict[str, Any]:
    """What can be done with an object, without I/O: ``provider`` (the scheme), ``get_into`` and ``head``."""
    store, _ = api.default_client().store_for(uri)
    return {"provider": store.scheme, "get_into": True, "head": True}


def stat_key(bucket: str, key: str) -> dict[str, Any]:
    """``stat`` of an S3 object. Deprecated: use ``stat("s3://bucket/key")``."""
    _warn("stat_key(bucket, key) is deprecated: use stat('s3://bucket/key')")
    return api.stat(f"s3://{bucket}/{key}")


def get_by_key(bucket: str, key: str) -> BytesView:
    """Read an S3 object. Deprecated: use ``get("s3://bucket/key")``."""
    _warn("get_by_key(bucket, key) is deprecated: use get('s3://bucket/key')")
    return api.get(f"s3://{bucket}/{key}")


def configure_tokio_threads(n: int = 0) -> None:
    """Does nothing: there is no such runtime here. ``configure("executor", threads=n)`` limits the threads."""
    _warn("configure_tokio_threads has no meaning here; configure('executor', threads=n) limits the threads")


def gcs_set_channel_count(n: int) -> None:
    """Does nothing: objects of Google travel over HTTP, not over gRPC channels."""
    _warn("gcs_set_channel_count has no meaning here: there are no gRPC channels")


def gcs_get_channel_count() -> int:
    """How many gRPC channels there are: none."""
    return 0


def gcs_set_rapid_mode(force: bool | None) -> None:
    """Does nothing: rapid storage needs gRPC, and objects of Google travel over HTTP."""
    _warn("gcs_set_rapid_mode has no meaning here: rapid storage needs gRPC")


def gcs_get_rapid_mode() -> bool | None:
    """The mode of rapid storage: None, there is none."""
    return None


def gcs_query_rapid_bucket(bucket_or_uri: str) -> bool:
    """Whether a bucket is used in rapid mode: never."""
    return False


def mp_get(
    uri: URI, procs: int = 4, jobs: int = 64, num: int = 1000, template: str = "object_{}.dat"
) -> dict[str, Any]:
    """Read many objects on several processes and drop their bytes: a read benchmark. Objects that fail are counted,
    and the first failure is logged as a warning.

    Args:
        uri: the prefix that they are below; or, with ``{}`` in it, their names.
        procs: how many processes.
        jobs: how many objects each of them reads at a time.
        num: how many objects.
        template: their names below the prefix: the first ``{}`` is the index from 0, the second is ``num``.

    Returns:
        ``attempted``, ``succeeded``, ``failed``, ``total_objects``, ``total_bytes``, ``bytes_source``,
        ``duration_seconds``, ``throughput_mb_s`` (10**6 bytes), ``ops_per_sec``, and ``workers``: of each
        ``worker_id``, ``attempted``, ``succeeded``, ``failed``, ``bytes``, ``objects``, ``throughput_mb_s``.

    Raises:
        ConfigError: a number is out of range, or the template has no ``{}``.
        InvalidURIError: the prefix is no URI.
    """
    from s3dlio.transfer.process_benchmark import read_counted

    return read_counted(api.default_client(), as_uri(uri), procs, jobs, num, template)
