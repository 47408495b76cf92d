"""Batches of one: as the verb for one, on this thread, without what many need. And the first of a handful of files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from s3dlio.engine.cancel import surrounding_token
from s3dlio.errors import BatchError, ItemFailure, TransferCancelledError
from s3dlio.memory.sinks import DiscardSink

if TYPE_CHECKING:
    from s3dlio.engine.session import Session
    from s3dlio.memory.view import BytesView
    from s3dlio.stores.base import ObjectStore
    from s3dlio.types import ObjectMetadata

T = TypeVar("T")

#: Batches that are allowed fewer requests in flight are none here: a large object alone takes so many.
WIDTH = 32
#: So many URIs are looked up one by one: more of them are compared with each other all at once.
A_HANDFUL = 4


def get_alone(session: Session, uri: str, keep_going: bool) -> BytesView | BaseException:
    """Read one object; with ``keep_going`` the error stands in its place.

    Raises:
        InvalidURIError, BatchError, TransferCancelledError: as of :func:`alone`.
    """
    store, key = session.stores.find(uri)
    store.check_key(key, "GET")
    try:
        return alone(uri, "GET", partial(store.get, key))
    except BatchError as error:
        if not keep_going:
            raise
        return error.failures[0].error


def drain_alone(session: Session, uri: str) -> int:
    """Read one object, and drop its bytes; how many there were. It raises as :func:`alone` does."""
    store, key = session.stores.find(uri)
    sink = DiscardSink()
    call = store.read_call(key, sink)
    alone(uri, "GET", partial(store.execute, call))
    return sink.size or 0


def stat_alone(session: Session, uri: str) -> ObjectMetadata:
    """What the store tells of one object. It raises as :func:`alone` does."""
    store, key = session.stores.find(uri)
    store.check_key(key, "HEAD")
    return alone(uri, "HEAD", partial(store.head, key))


def alone(uri: str, operation: str, do: Callable[[], T]) -> T:
    """The result of ``do``, which does the only item.

    Raises:
        BatchError: it failed.
        TransferCancelledError: the awaited call around it was cancelled.
    """
    try:
        return do()
    except TransferCancelledError as error:
        if (token := surrounding_token()) is not None and token.cancelled:
            raise
        failure: Exception = error
    except Exception as error:
        failure = error
    try:
        raise BatchError([ItemFailure(0, uri, failure)], attempted=1, operation=operation)
    finally:
        del failure  # its traceback has this frame: the cycle would keep buffers leased


def read_first(session: Session, uris: Sequence[str]) -> list[bytes]:
    """Of a handful of objects of one store the first ones, as far as they are small files that need no call.

    Raises:
        InvalidURIError: one of the URIs is none, or names no object; nothing was read.
    """
    found: list[tuple[ObjectStore, str]] = list(map(session.stores.find, uris))
    store: Any = found[0][0]
    if store.is_cloud or store.waits:
        return []
    for other, key in found:
        if other is not store:
            return []
        store.check_key(key, "GET")
    read: list[bytes] = []
    for _, key in found:
        if (data := store.small(key)) is None:
            break
        read.append(data)
    return read
