"""Objects that are created, never overwritten; and whether a store keeps that promise.

Some servers take ``If-None-Match: *`` and overwrite all the same. They are found out by trying once, and named.
"""

from __future__ import annotations

import logging
import weakref

from s3dlio.checkpoint.base import NEW
from s3dlio.errors import AlreadyExistsError, PreconditionFailedError, S3dlioError
from s3dlio.stores.base import ObjectStore
from s3dlio.stores.local.store import LocalStore
from s3dlio.stores.memory import MemoryStore

_log = logging.getLogger("s3dlio.checkpoint")

#: What is known of the stores of this process.
_known: weakref.WeakKeyDictionary[ObjectStore, bool] = weakref.WeakKeyDictionary()


def create(store: ObjectStore, key: str, data: bytes) -> None:
    """Create a small object. Where the store would overwrite one, or may, there is a look before it.

    Raises:
        AlreadyExistsError: the object is there.
        S3dlioError: whatever else goes wrong.
    """
    keeps_promise = isinstance(store, (LocalStore, MemoryStore)) or _known.get(store)
    if not keeps_promise:
        _check_absent(store, key)
    store.put(key, data, options=NEW)
    if not keeps_promise:
        creates_only(store, key, data)


def _check_absent(store: ObjectStore, key: str) -> None:
    try:
        store.head(key)
    except FileNotFoundError:
        return
    raise AlreadyExistsError("the object is there already", uri=store.uri(key), operation="PUT")


def creates_only(store: ObjectStore, key: str, data: bytes) -> bool | None:
    """Whether the store refuses to create what is there. It is tried once: ``data`` is written to ``key`` again.

    Where it is not refused, a warning names the store: of two writers of the same checkpoint the later one wins there.

    Args:
        store: which.
        key: an object that the caller has just created.
        data: what is in it, so that it stays the same in any case.

    Returns:
        None where it could not be tried; the next time may tell.
    """
    if (known := _known.get(store)) is not None:
        return known
    try:
        store.put(key, data, options=NEW)
        kept = False
    except (AlreadyExistsError, PreconditionFailedError):
        kept = True
    except S3dlioError as error:
        _log.info("%s: whether it creates only could not be tried: %s", store.uri(""), error)
        return None
    _known[store] = kept
    if not kept:
        _log.warning(
            "%s (at %s) ignores If-None-Match: nothing but a look before it keeps two writers from the same checkpoint",
            store.uri(""), store.endpoint,
        )  # fmt: skip
    return kept
