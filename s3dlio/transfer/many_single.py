"""Batches of one, of stores that do not wait: as the verb for one, without what many need."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from s3dlio.errors import BatchError, ItemFailure

if TYPE_CHECKING:
    from s3dlio.engine.session import Session


def only(session: Session, uri: str, operation: Literal["GET", "HEAD"], keep_going: bool = False) -> list[Any] | None:
    """The result; None of a store that waits, for requests or otherwise.

    Raises:
        InvalidURIError: the URI is none, or names no object.
        BatchError: it failed, and it was not to ``keep_going``: then the error stands in the object's place.
    """
    store, key = session.stores.find(uri)
    if store.is_cloud or store.waits:
        return None
    store.check_key(key, operation)
    try:
        return [store.get(key) if operation == "GET" else store.head(key)]
    except Exception as error:
        failure = error
    try:
        if keep_going:
            return [failure]
        raise BatchError([ItemFailure(0, uri, failure)], attempted=1, operation=operation)
    finally:
        del failure  # its traceback has this frame: the cycle would keep buffers leased
