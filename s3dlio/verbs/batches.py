"""The verbs for many objects that are named one by one."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any

from s3dlio.engine.admission import check_width, several
from s3dlio.engine.session import Session
from s3dlio.memory.caller_buffer import lent
from s3dlio.memory.view import BytesView
from s3dlio.transfer import many
from s3dlio.transfer.many_iterator import ManyIterator, check_room, outcomes
from s3dlio.transfer.stream import Stream
from s3dlio.transfer.stream_entry import Entry
from s3dlio.types import Payload
from s3dlio.uri import URI


def get_many(
    session: Session,
    uris: Iterable[URI],
    max_in_flight: int = 64,
    *,
    workers: int | None = None,
    concurrency: int | None = None,
    procs: int | None = None,
) -> list[tuple[str, BytesView]]:
    """Read many objects, of any schemes.

    Args:
        uris: which; one that is named twice is read once. None at all gives an empty list.
        max_in_flight: how many at a time.
        workers, concurrency: older names of ``max_in_flight``.
        procs: how many processes read; None or 1: this one. See docs/api.md.

    Returns:
        (URI, data) in the order of ``uris``.

    Raises:
        InvalidURIError: one is no URI; nothing was read.
        BatchError: reads failed; the first failure stops the rest and is the cause.
    """
    names, width = many.uri_list(uris), check_width(max_in_flight, workers, concurrency)
    if procs is not None and several(procs):
        from s3dlio.transfer import process_work

        found = process_work.get_many(session, names, width, several(procs))
    else:
        found = many.get_many(session, names, width)
    return found  # type: ignore[return-value]  # without keep_going there is no error in it


def get_many_outcomes(
    session: Session, uris: Iterable[URI], max_in_flight: int = 64, *, procs: int | None = None
) -> list[tuple[str, BytesView | BaseException]]:
    """As :func:`get_many`, but a failure stops nothing: the error takes the place of the data."""
    if procs is not None and several(procs):
        from s3dlio.transfer import process_work

        width = check_width(max_in_flight)
        return process_work.get_many(session, many.uri_list(uris), width, several(procs), keep_going=True)
    return many.get_many(session, many.uri_list(uris), check_width(max_in_flight), keep_going=True)


def get_many_stats(
    session: Session,
    uris: Iterable[URI],
    max_in_flight: int = 64,
    *,
    workers: int | None = None,
    concurrency: int | None = None,
    procs: int | None = None,
) -> tuple[int, int]:
    """Read many objects and drop their bytes: a read benchmark. Parameters are those of :func:`get_many`.

    Returns:
        How many objects and bytes were read.

    Raises:
        BatchError: reads failed.
    """
    if procs is not None and several(procs):
        from s3dlio.transfer import process_work

        width = check_width(max_in_flight, workers, concurrency)
        return process_work.get_many_stats(session, many.uri_list(uris), width, several(procs))
    return many.get_many_stats(session, many.uri_list(uris), check_width(max_in_flight, workers, concurrency))


def iter_many(
    session: Session,
    uris: Iterable[Entry],
    *,
    max_in_flight: int = 64,
    max_bytes: int | None = None,
    prefetch: int | None = None,
    ordered: bool = True,
    continue_on_error: bool = False,
    timeout: float | None = None,
) -> ManyIterator:
    """Read any number of objects, the next ones while the caller works on those before: ``for uri, data in ...``.

    The loop may be left at any time: what is on its way is given up, and its buffers are free again.

    Args:
        uris: which; or (URI, offset, length) for a stretch of one. A list, or a generator, an endless one too: it
            is read in the background, as far ahead as ``prefetch`` says and no further.
        max_in_flight: how many at a time.
        max_bytes: how many bytes may be in flight or waiting for the caller, about: of an object that is only
            asked for, the size is taken to be the largest of the last ones. One alone may be larger. Default:
            ``transfer.max_in_flight_bytes``.
        prefetch: how many objects may be in flight or waiting for the caller. Default: 4 times ``max_in_flight``.
        ordered: in the order of ``uris``; False: as they arrive.
        continue_on_error: give the error in the place of the data, and go on. Otherwise it is raised, after the
            objects before it, and ends the iteration.
        timeout: seconds that the next object may take to arrive.

    Returns:
        An iterator of (URI, data), or ((URI, offset, length), data); also a context manager, with ``close``.

    Raises:
        ConfigError: a number is less than 1.
        S3dlioError: (while iterating) an object could not be read; it has its URI.
        TransferTimeoutError: (while iterating) nothing arrived within ``timeout``.
    """
    open_stream = _stream(session, uris, max_in_flight, max_bytes, prefetch, ordered)
    return ManyIterator(open_stream(), timeout=timeout, continue_on_error=continue_on_error)


def iter_many_async(
    session: Session,
    uris: Iterable[Entry],
    *,
    max_in_flight: int = 64,
    max_bytes: int | None = None,
    prefetch: int | None = None,
    ordered: bool = True,
    continue_on_error: bool = False,
    timeout: float | None = None,
) -> AsyncIterator[tuple[Any, Any]]:
    """:func:`iter_many` for ``async for``; the event loop waits for nothing."""
    open_stream = _stream(session, uris, max_in_flight, max_bytes, prefetch, ordered, here=False)
    return outcomes(open_stream, timeout=timeout, continue_on_error=continue_on_error)


def _stream(
    session: Session, uris: Iterable[Entry], width: int, max_bytes: int | None, prefetch: int | None, ordered: bool,
    *, here: bool = True,
) -> Callable[[], Stream]:  # fmt: skip
    if isinstance(uris, str | os.PathLike):
        raise TypeError("expected several URIs (a list, a generator), not a single one")
    width = check_width(width)
    limit = session.settings.transfer.max_in_flight_bytes if max_bytes is None else max_bytes
    objects, size = check_room(prefetch, width, limit)
    return lambda: Stream(session, uris, width, objects=objects, size=size, ordered=ordered, here=here)


def put_many(
    session: Session, items: Iterable[tuple[URI, Payload]], max_in_flight: int = 64, *, procs: int | None = None
) -> None:
    """Write many objects. All URIs and payloads are checked before the first is written.

    Args:
        items: pairs (URI, data), see :func:`put_bytes`.
        max_in_flight: how many at a time.
        procs: how many processes write; None or 1: this one. See docs/api.md.

    Raises:
        TypeError: an item is no pair or has no bytes; nothing was written.
        BatchError: writes failed; the first failure stops the rest. What was written stays.
    """
    if procs is not None and several(procs):
        from s3dlio.transfer import process_work

        lent(lambda: process_work.put_many(session, items, check_width(max_in_flight), several(procs)))
        return
    lent(lambda: many.put_many(session, items, check_width(max_in_flight)))


def stat_many(session: Session, uris: Iterable[URI], max_in_flight: int = 64) -> list[dict[str, Any]]:
    """``stat`` of many objects, in the order of ``uris``.

    Raises:
        BatchError: some failed; the first failure stops the rest.
    """
    found = many.stat_many(session, many.uri_list(uris), check_width(max_in_flight))
    return [about.as_dict() for about in found]


def pre_stat_and_cache(session: Session, uris: Iterable[URI], max_in_flight: int = 100) -> int:
    """Ask for sizes and versions before the objects are read, so that large ones are read as concurrent ranges
    from their first byte on. Small objects gain nothing: a get asks for no size.

    Args:
        uris: which.
        max_in_flight: how many at a time.

    Returns:
        How many objects were found. Sizes are kept for ``range.size_cache_seconds``.

    Raises:
        BatchError: some failed; the first failure stops the rest.
    """
    names = many.uri_list(uris)
    found = many.stat_many(session, names, check_width(max_in_flight))
    for uri, about in zip(names, found, strict=True):
        store, key = session.store_for(uri)
        store.remember(key, about)
    return len(found)


def delete_many(session: Session, uris: Iterable[URI], max_in_flight: int = 8) -> None:
    """Delete many objects, with batch requests where the store has them; missing ones are no error.

    Args:
        uris: which.
        max_in_flight: how many batches at a time.

    Raises:
        BatchError: some could not be deleted; all were tried.
    """
    from s3dlio.transfer.delete import delete_many

    delete_many(session, many.uri_list(uris), max_in_flight=max_in_flight)
