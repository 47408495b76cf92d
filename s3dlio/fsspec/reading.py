"""Bytes of files for fsspec, which wants them as ``bytes``: whole, in ranges, of many at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from s3dlio.client import Client
from s3dlio.errors import BatchError, ObjectChangedError, PreconditionFailedError
from s3dlio.memory.sinks import MemorySink
from s3dlio.records import replace
from s3dlio.transfer.many_ranges import Range, get_ranges
from s3dlio.transfer.range_reads import GAP
from s3dlio.types import Conditions


def read(client: Client, uri: str, start: int | None, end: int | None, conditions: Conditions) -> bytes:
    """The bytes of an object from ``start`` to ``end``, as a slice means them.

    Raises:
        ObjectChangedError: the object was replaced while it was looked at.
    """
    if start is not None and start < 0 and end is None:
        store, key = client.store_for(uri)
        sink = MemorySink()
        store.execute(store.tail_call(key, sink, -start, conditions=conditions))
        return bytes(sink.view())
    if not start and end is None:
        return bytes(client.get(uri, conditions=conditions))
    start, end = start or 0, end
    if start < 0 or (end is not None and end < 0):
        about = client.head(uri, conditions=conditions)
        start, end, _ = slice(start, end).indices(about.size)
        if about.etag is not None and conditions.if_match is None:
            conditions = replace(conditions, if_match=about.etag)
    length = None if end is None else max(0, end - start)
    if length == 0:
        return b""
    try:
        return bytes(client.get_range(uri, start, length, conditions=conditions))
    except PreconditionFailedError as error:
        raise ObjectChangedError(
            "the object was replaced since it was looked at", uri=uri, operation="GET_RANGE", hint="read it again"
        ) from error


def cat_many(client: Client, uris: Mapping[str, str], on_error: str) -> dict[str, Any]:
    """The bytes of many objects by their paths; of those that cannot be read nothing (``omit``), or the error.

    Raises:
        S3dlioError: ``on_error`` is ``raise``, and one cannot be read; several are a BatchError.
    """
    if on_error == "raise":
        try:
            found: Any = client.get_many(uris.values())
        except BatchError as error:
            raise error.failures[0].error from None
    else:
        found = client.get_many_outcomes(uris.values())
    return {
        path: data if isinstance(data, BaseException) else bytes(data)
        for path, (_, data) in zip(uris, found, strict=True)
        if on_error != "omit" or not isinstance(data, BaseException)
    }


def cat_ranges(
    client: Client, uris: list[str], starts: Any, ends: Any, max_gap: int | None, on_error: str
) -> list[Any]:
    """Ranges of objects in one batch; see ``S3dlioFileSystem.cat_ranges``."""
    starts = starts if isinstance(starts, (list, tuple)) else [starts] * len(uris)
    ends = ends if isinstance(ends, (list, tuple)) else [ends] * len(uris)
    if not len(uris) == len(starts) == len(ends):
        raise ValueError(f"{len(uris)} paths, {len(starts)} starts and {len(ends)} ends do not fit together")
    found: list[Any] = [None] * len(uris)
    plain: list[int] = []
    for index, (start, end) in enumerate(zip(starts, ends, strict=True)):
        if (start or 0) < 0 or (end or 0) < 0:
            found[index] = _slice(client, uris[index], start, end)
        elif end is not None and end <= (start or 0):
            found[index] = b""
        else:
            plain.append(index)
    ranges = [
        Range(uris[index], starts[index] or 0, None if (end := ends[index]) is None else end - (starts[index] or 0))
        for index in plain
    ]
    if ranges:
        read_together = get_ranges(client, ranges, gap=GAP if max_gap is None else max_gap)
        for index, data in zip(plain, read_together, strict=True):
            found[index] = data if isinstance(data, BaseException) else bytes(data)
    if on_error == "raise":
        for each in found:
            if isinstance(each, BaseException):
                raise each
    return found


def _slice(client: Client, uri: str, start: int | None, end: int | None) -> Any:
    try:
        return read(client, uri, start, end, Conditions())
    except Exception as error:
        return error
