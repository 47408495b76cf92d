"""One recorded operation, made of a row of an op-log by anybody."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from s3dlio.oplog import columns
from s3dlio.uri import has_scheme

READS = frozenset({"GET", "GET_RANGE", "HEAD", "LIST"})
WRITES = frozenset({"PUT", "DELETE"})
#: What can be done again.
KINDS = READS | WRITES
#: What is known and cannot be done again, and why.
UNTOLD = {
    "COPY": "the log does not tell the source",
    "DELETE_BATCH": "the log does not tell the keys",
    "MKDIR": "objects bring their directories",
}


class Operation(NamedTuple):
    """A recorded operation. Times are nanoseconds since 1970.

    Attributes:
        start, end: when it was recorded.
        kind: ``GET``, ``GET_RANGE``, ``HEAD``, ``LIST``, ``PUT``, ``DELETE``; any other name as it stands in the log.
        uri: the object or prefix, with a scheme.
        place: what the URI begins with, which another target takes the place of.
        size: bytes of its body.
        offset, length: of a range; a length of None is to the end.
        client: who did it.
        thread: what of the client did it.
        failed: it failed when it was recorded.
    """

    start: int
    end: int
    kind: str
    uri: str
    place: str
    size: int
    offset: int
    length: int | None
    client: str
    thread: int | str
    failed: bool

    @property
    def is_write(self) -> bool:
        """It changes what is stored."""
        return self.kind in WRITES


def operation_of(row: Mapping[str, Any], log: str) -> Operation | None:
    """The operation of a row of ``read_op_log``; None where it does not tell when it began.

    Args:
        row: the row.
        log: stands for a client without a name.
    """
    start, end, took = row.get("start"), row.get("end"), row.get("duration_ns")
    if start is None:
        if end is None or took is None:
            return None
        start = end - took
    if end is None:
        end = start + (took or 0)
    kind = columns.operation(row["op"])
    size = max(0, row.get("bytes") or 0)
    offset, length = _range(row.get("range") or "", size) if kind == "GET_RANGE" else (0, None)
    uri, place = _names(row.get("endpoint") or "", row.get("file") or "")
    thread = row.get("thread")
    return Operation(
        start, max(start, end), kind, uri, place, size, offset, length, row.get("client_id") or log,
        "" if thread is None else thread, bool(row.get("error")),
    )  # fmt: skip


def _range(text: str, size: int) -> tuple[int, int | None]:
    """Offset and length: ``100-199``, ``100-``; a log that does not tell has read from the beginning."""
    first, dash, last = text.removeprefix("bytes=").partition("-")
    if not dash or not first.isdecimal():
        return 0, size
    if not last.isdecimal():
        return int(first), None
    return int(first), max(0, int(last) - int(first) + 1)


def _names(endpoint: str, file: str) -> tuple[str, str]:
    """The URI of a row, and the place that it begins with.

    The file of a row here and of the Rust package is a URI without its scheme, whose beginning the endpoint repeats;
    others write the key alone, below an endpoint that may be the URL of a server.
    """
    if has_scheme(file) or file.startswith(("http://", "https://")):
        scheme, _, rest = file.partition("://")
        named = "://" in endpoint and file.startswith(endpoint)
        return file, endpoint if named else f"{scheme}://{rest.partition('/')[0]}"
    if not endpoint:
        return (f"file://{file}", "file://") if file.startswith("/") else (file, "")
    scheme, mark, host = endpoint.partition("://")
    if not mark:  # host and port
        endpoint = f"http://{endpoint}"
    elif has_scheme(endpoint) and (not host or file == host or file.startswith(f"{host.rstrip('/')}/")):
        return f"{scheme}://{file}", endpoint
    return f"{endpoint.rstrip('/')}/{file.lstrip('/')}", endpoint
