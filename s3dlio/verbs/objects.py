"""The verbs for one object."""

from __future__ import annotations

import itertools
import logging
import os
import time
from collections.abc import Mapping
from typing import Any

from s3dlio.engine.cancel import surrounding_token
from s3dlio.engine.session import Session
from s3dlio.errors import (
    ConfigError,
    IntegrityError,
    InvalidURIError,
    IsDirectoryError,
    LengthMismatchError,
    ObjectNotFoundError,
    S3dlioError,
)
from s3dlio.foreign_errors import from_os_error
from s3dlio.memory.caller_buffer import let_go
from s3dlio.memory.sinks import FileSink
from s3dlio.memory.view import BytesView
from s3dlio.records import replace
from s3dlio.stores.base import ObjectStore
from s3dlio.stores.checks import writable_memory
from s3dlio.stores.local.atomic import Replacement
from s3dlio.stores.local.store import LocalStore
from s3dlio.types import NO_CONDITIONS, NO_OPTIONS, Conditions, ObjectMetadata, Payload, PutOptions
from s3dlio.uri import URI, as_uri

log = logging.getLogger("s3dlio.delete")


def get(
    session: Session, uri: URI, *, version_id: str | None = None, conditions: Conditions = NO_CONDITIONS
) -> BytesView:
    """Read an object, or one version of it.

    Args:
        uri: which.
        version_id: one version of the object.
        conditions: ETags that it must or must not have, the customer's key that it is encrypted with.

    Raises:
        ObjectNotFoundError, PermissionDeniedError, PreconditionFailedError, IsDirectoryError, InvalidURIError, ...
    """
    store, key = session.stores.find(uri)
    if version_id is not None:
        conditions = replace(conditions, version_id=version_id)
    return store.get(key, conditions=conditions)


def get_to_file(
    session: Session,
    uri: URI,
    path: str | os.PathLike[str],
    *,
    version_id: str | None = None,
    conditions: Conditions = NO_CONDITIONS,
) -> int:
    """Read exactly this object (a ``*`` is one of its characters) to a local file, which appears when it is whole.

    Args:
        uri: which.
        path: the file; its parents are made. Into it, under the last segment of the key, where it is a directory.
        version_id, conditions: as of :func:`get`.

    Returns:
        The size in bytes.
    """
    store, key = session.store_for(uri)
    store.check_key(key, "GET")
    target = os.path.abspath(path)
    if os.path.isdir(target):
        target = os.path.join(target, key.rpartition("/")[2])
    if version_id is not None:
        conditions = replace(conditions, version_id=version_id)
    try:
        with Replacement(target) as new:
            sink = FileSink(new.fd, path=target)
            store.execute(store.read_call(key, sink, conditions=conditions))
            size = sink.size or 0
            os.ftruncate(new.fd, size)  # a read that began again may have written more at first
            new.commit()
    except OSError as error:
        if isinstance(error, S3dlioError):
            raise
        raise from_os_error(error, uri=f"file://{target}", operation="GET") from error
    return size


def get_range(
    session: Session, uri: URI, offset: int, length: int | None = None, *, conditions: Conditions = NO_CONDITIONS
) -> BytesView:
    """Read ``length`` bytes from ``offset`` on, to the end without a length. Past the end there are none.

    Args:
        uri: which.
        offset, length: bytes.
        conditions: as of :func:`get`, ``version_id`` included.

    Raises:
        RangeNotSatisfiableError: a negative or absurd offset or length.
    """
    store, key = session.store_for(uri)
    return store.get_range(key, offset, length, conditions=conditions)


def get_into(
    session: Session, uri: URI, dst: Any, *, expected_len: int | None = None, conditions: Conditions = NO_CONDITIONS
) -> int:
    """Read an object into a writable buffer.

    Args:
        uri: which.
        dst: bytearray, memoryview, array: contiguous and writable.
        expected_len: the size that the object must have, in bytes; without, any that fits.
        conditions: as of :func:`get`, ``version_id`` included.

    Returns:
        The size of the object; that many bytes were written.

    Raises:
        LengthMismatchError: the object, or the buffer, has another size; the buffer is untouched.
        BufferError: the buffer is read-only or not contiguous.
    """
    try:
        return _get_into(session, uri, dst, expected_len, conditions)
    except BaseException as error:
        let_go(error)
        raise


def _get_into(session: Session, uri: URI, dst: Any, expected_len: int | None, conditions: Conditions) -> int:
    store, key = session.store_for(uri)
    view, exact = room_in(dst, expected_len)
    return store.fill(key, view, exact, conditions)


def room_in(dst: Any, expected_len: int | None) -> tuple[memoryview, bool]:
    """The memory that an object is read into, and whether it must fill that.

    Raises:
        LengthMismatchError, BufferError: as of :func:`get_into`.
    """
    view = writable_memory(dst)
    if expected_len is None:
        return view, False
    if not 0 <= expected_len <= len(view):
        raise LengthMismatchError(
            f"the destination buffer holds {len(view)} bytes but {expected_len} are expected",
            expected=expected_len,
            actual=len(view),
        )
    return view[:expected_len], True


def put_bytes(
    session: Session,
    uri: URI,
    data: Payload,
    *,
    content_type: str | None = None,
    metadata: Mapping[str, str] | None = None,
    if_match: str | None = None,
    if_none_match: str | None = None,
    options: PutOptions | None = None,
) -> None:
    """Write an object: whole, or not at all.

    Args:
        uri: which. Parent directories of a file are created.
        data: bytes, bytearray, memoryview, BytesView, numpy array, or an object with ``__bytes__``.
        content_type, metadata: kept with the object, where the store can.
        if_match: replace only the object with this ETag.
        if_none_match: ``"*"``: create only.
        options: all of these and more, instead of them.

    Raises:
        TypeError: the payload has no bytes; before any I/O.
        AlreadyExistsError, PreconditionFailedError: a condition does not hold.
        UnsupportedOperationError: the store cannot keep an option.
    """
    store, key = session.stores.find(uri)
    options = put_options(content_type, metadata, if_match, if_none_match, options)
    try:
        result = store.put(key, data, options=options)
        if verifies_puts(session):
            _verify(session, store, key, data, result.size, options)
    except BaseException as error:
        let_go(error)
        raise


def put_options(
    content_type: str | None,
    metadata: Mapping[str, str] | None,
    if_match: str | None,
    if_none_match: str | None,
    options: PutOptions | None,
) -> PutOptions:
    """The options of a write, given as of :func:`put_bytes`."""
    if content_type or metadata or if_match or if_none_match:
        if options is not None:
            raise TypeError("give either options, or content_type, metadata, if_match and if_none_match")
        conditions = Conditions(if_match=if_match, if_none_match=if_none_match)
        return PutOptions(content_type=content_type, metadata=metadata, conditions=conditions)
    return options or NO_OPTIONS


def verifies_puts(session: Session) -> bool:
    """Whether the settings ask for a look at what was written."""
    return session.settings.transfer.put_verify or session.settings.multipart.put_verify


def _verify(session: Session, store: ObjectStore, key: str, data: Payload, size: int, options: PutOptions) -> None:
    """Compare the size that the store tells with the one that was written, and write again where they differ."""
    transfer, multipart = session.settings.transfer, session.settings.multipart
    in_parts = not isinstance(store, LocalStore) and size > multipart.threshold
    if not (transfer.put_verify or in_parts):
        return
    again = multipart if in_parts else transfer
    unconditional = options.conditions.if_match is None and options.conditions.if_none_match is None
    asked = Conditions(sse_customer_key=options.sse_customer_key)
    for attempt in itertools.count(1):
        stored = store.head(key, conditions=asked).size
        if stored == size:
            return
        if attempt >= again.verify_attempts or not unconditional:
            break
        time.sleep(again.verify_delay)
        store.put(key, data, options=options)
    raise IntegrityError(
        f"{size} bytes were written but the store has {stored}", uri=store.uri(key), operation="PUT",
        attempts=attempt,
    )  # fmt: skip


def head(
    session: Session, uri: URI, *, version_id: str | None = None, conditions: Conditions = NO_CONDITIONS
) -> ObjectMetadata:
    """What the store tells about an object, or one version of it, without its bytes; as :func:`get` otherwise."""
    store, key = session.stores.find(uri)
    if version_id is not None:
        conditions = replace(conditions, version_id=version_id)
    return store.head(key, conditions=conditions)


def stat(
    session: Session, uri: URI, *, version_id: str | None = None, conditions: Conditions = NO_CONDITIONS
) -> dict[str, Any]:
    """What the store tells about an object, as a dictionary: size, last_modified, etag, content_type,
    content_language, content_encoding, cache_control, content_disposition, expires, storage_class,
    server_side_encryption, ssekms_key_id, sse_customer_algorithm, version_id, replication_status, metadata.

    Raises:
        ObjectNotFoundError: there is none.
        IsDirectoryError: it is a directory.
    """
    return head(session, uri, version_id=version_id, conditions=conditions).as_dict()


def exists(session: Session, uri: URI) -> bool:
    """Whether there is such an object; False for a directory or a bucket. Where that cannot be found out, the error is
    raised.

    Raises:
        PermissionDeniedError, NetworkError, InvalidURIError, ...
    """
    try:
        head(session, uri)
    except (ObjectNotFoundError, IsDirectoryError):
        return False
    except InvalidURIError:
        if session.store_for(uri)[1]:  # a container, which has no key, is no object, as a directory is none
            raise
        return False
    return True


def delete(
    session: Session, uri: URI, recursive: bool = False, pattern: str | None = None, *, version_id: str | None = None
) -> None:
    """Delete an object, or everything that a URI selects. What is not there is no error.

    Args:
        uri: exactly this object, whatever characters its name has; with ``recursive`` what
            ``list(uri, recursive=True)`` shows, and local directories with it.
        recursive: see there.
        pattern: with ``recursive``, only the names that match, see :func:`list`; directories stay then.
        version_id: one version of an object, not with ``recursive``.

    Raises:
        IsDirectoryError: a local directory without ``recursive``; nothing was deleted.
        InvalidURIError: it names a container; nothing was deleted.
        BatchError: some could not be deleted. A key that fails does not stop the others; a batch that fails as a
            whole, after its retries, does.
    """
    if recursive and version_id is not None:
        raise ConfigError("version_id names one object, recursive many (nothing was deleted)", uri=as_uri(uri))
    if recursive:
        from s3dlio.transfer.delete import delete

        delete(session, uri, recursive=True, pattern=pattern, cancel=surrounding_token())
    elif pattern is not None:
        raise ConfigError("a pattern needs recursive=True (nothing was deleted)", uri=as_uri(uri))
    else:
        store, key = session.store_for(uri)
        if "*" in key:
            log.warning("deleting the one object %s: its * selects nothing without recursive=True", store.uri(key))
        store.delete(key, version_id=version_id)


def presign(
    session: Session, uri: URI, method: str = "GET", expires: int = 3600, *, version_id: str | None = None
) -> str:
    """A URL with which anybody can do one request on an object, without credentials.

    Args:
        uri: which object; it need not exist (for PUT).
        method: ``GET``, ``PUT``, ``HEAD`` or ``DELETE``.
        expires: seconds of validity, 1 to 604800 (a week).
        version_id: one version of the object.

    Raises:
        ConfigError: another method or time.
        UnsupportedOperationError: the store has no such URLs.
    """
    store, key = session.store_for(uri)
    return store.presign(key, method, expires, version_id=version_id)


def get_tags(session: Session, uri: URI) -> dict[str, str]:
    """The tags of an object."""
    store, key = session.store_for(uri)
    return store.get_tags(key)


def put_tags(session: Session, uri: URI, tags: Mapping[str, str]) -> None:
    """Replace the tags of an object."""
    store, key = session.store_for(uri)
    store.put_tags(key, tags)
