"""The verbs for one object and for containers, by URI. ``bulk`` adds those for many objects."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from s3dlio.engine.session import Session
from s3dlio.errors import (
    IntegrityError,
    IsDirectoryError,
    LengthMismatchError,
    ObjectNotFoundError,
    S3dlioError,
    from_os_error,
)
from s3dlio.memory.body import FileSink
from s3dlio.memory.lending import lent
from s3dlio.memory.view import BytesView
from s3dlio.stores.base import ObjectStore, writable_memory
from s3dlio.stores.local.atomic import Replacement
from s3dlio.stores.local.store import LocalStore
from s3dlio.types import NO_CONDITIONS, NO_OPTIONS, Conditions, ObjectMetadata, Payload, PutOptions

URI = str | os.PathLike[str]


class Verbs(Session):
    """What a client does with one object, and with containers."""

    # -- one object

    def get(self, uri: URI, *, version_id: str | None = None, conditions: Conditions = NO_CONDITIONS) -> BytesView:
        """Read an object, or one version of it.

        Args:
            uri: which.
            version_id: one version of the object.
            conditions: ETags that it must or must not have, the customer's key that it is encrypted with.

        Raises:
            ObjectNotFoundError, PermissionDeniedError, PreconditionFailedError, IsDirectoryError, InvalidURIError, ...
        """
        store, key = self.stores.find(uri)
        return store.get(key, conditions=_with_version(conditions, version_id))

    def get_to_file(
        self,
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
            version_id, conditions: as of :meth:`get`.

        Returns:
            The size in bytes.
        """
        store, key = self.store_for(uri)
        store.check_key(key, "GET")
        target = os.path.abspath(path)
        if os.path.isdir(target):
            target = os.path.join(target, key.rpartition("/")[2])
        conditions = _with_version(conditions, version_id)
        try:
            with Replacement(target) as new:
                sink = FileSink(new.fd, path=target)
                store.execute(store.read_call(key, sink, conditions=conditions))
                size = sink.size or 0
                os.ftruncate(new.fd, size)  # a read that began anew may have written more at first
                new.commit()
        except OSError as error:
            if isinstance(error, S3dlioError):
                raise
            raise from_os_error(error, uri=f"file://{target}", operation="GET") from error
        return size

    def get_range(
        self, uri: URI, offset: int, length: int | None = None, *, conditions: Conditions = NO_CONDITIONS
    ) -> BytesView:
        """Read ``length`` bytes from ``offset`` on, to the end without a length. Past the end there are none.

        Args:
            uri: which.
            offset, length: bytes.
            conditions: as of :meth:`get`, ``version_id`` included.

        Raises:
            RangeNotSatisfiableError: a negative or absurd offset or length.
        """
        store, key = self.store_for(uri)
        return store.get_range(key, offset, length, conditions=conditions)

    def get_into(
        self, uri: URI, dst: Any, *, expected_len: int | None = None, conditions: Conditions = NO_CONDITIONS
    ) -> int:
        """Read an object into a writable buffer.

        Args:
            uri: which.
            dst: bytearray, memoryview, array: contiguous and writable.
            expected_len: the size that the object must have, in bytes; without, any that fits.
            conditions: as of :meth:`get`, ``version_id`` included.

        Returns:
            The size of the object; that many bytes were written.

        Raises:
            LengthMismatchError: the object, or the buffer, has another size; the buffer is untouched.
            BufferError: the buffer is read-only or not contiguous.
        """
        return lent(lambda: self._get_into(uri, dst, expected_len, conditions))

    def _get_into(self, uri: URI, dst: Any, expected_len: int | None, conditions: Conditions) -> int:
        store, key = self.store_for(uri)
        view = writable_memory(dst)
        if expected_len is None:
            return store.fill(key, view, False, conditions)
        if not 0 <= expected_len <= len(view):
            raise LengthMismatchError(
                f"the destination buffer holds {len(view)} bytes but {expected_len} are expected",
                expected=expected_len,
                actual=len(view),
            )
        return store.fill(key, view[:expected_len], True, conditions)

    def put_bytes(
        self,
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
        store, key = self.store_for(uri)
        if content_type or metadata or if_match or if_none_match:
            if options is not None:
                raise TypeError("give either options, or content_type, metadata, if_match and if_none_match")
            conditions = Conditions(if_match=if_match, if_none_match=if_none_match)
            options = PutOptions(content_type=content_type, metadata=metadata, conditions=conditions)
        lent(lambda: self._put(store, key, data, options or NO_OPTIONS))

    def _put(self, store: ObjectStore, key: str, data: Payload, options: PutOptions) -> None:
        result = store.put(key, data, options=options)
        if self.settings.transfer.put_verify or self.settings.multipart.put_verify:
            self._verify(store, key, data, result.size, options)

    def _verify(self, store: ObjectStore, key: str, data: Payload, size: int, options: PutOptions) -> None:
        """Compare the size that the store tells with the one that was written, and write again where they differ."""
        transfer, multipart = self.settings.transfer, self.settings.multipart
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
        self, uri: URI, *, version_id: str | None = None, conditions: Conditions = NO_CONDITIONS
    ) -> ObjectMetadata:
        """What the store tells about an object, or one version of it, without its bytes; as :meth:`get` otherwise."""
        store, key = self.store_for(uri)
        return store.head(key, conditions=_with_version(conditions, version_id))

    def stat(
        self, uri: URI, *, version_id: str | None = None, conditions: Conditions = NO_CONDITIONS
    ) -> dict[str, Any]:
        """What the store tells about an object, as a dictionary: size, last_modified, etag, content_type,
        content_language, content_encoding, cache_control, content_disposition, expires, storage_class,
        server_side_encryption, ssekms_key_id, sse_customer_algorithm, version_id, replication_status, metadata.

        Raises:
            ObjectNotFoundError: there is none.
            IsDirectoryError: it is a directory.
        """
        return self.head(uri, version_id=version_id, conditions=conditions).as_dict()

    def exists(self, uri: URI) -> bool:
        """Whether there is such an object; False for a directory. What cannot be told is raised, not guessed.

        Raises:
            PermissionDeniedError, NetworkError, InvalidURIError, ...
        """
        try:
            self.head(uri)
        except (ObjectNotFoundError, IsDirectoryError):
            return False
        return True

    # -- links and tags

    def presign(self, uri: URI, method: str = "GET", expires: int = 3600, *, version_id: str | None = None) -> str:
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
        store, key = self.store_for(uri)
        return store.presign(key, method, expires, version_id=version_id)

    def get_tags(self, uri: URI) -> dict[str, str]:
        """The tags of an object."""
        store, key = self.store_for(uri)
        return store.get_tags(key)

    def put_tags(self, uri: URI, tags: Mapping[str, str]) -> None:
        """Replace the tags of an object."""
        store, key = self.store_for(uri)
        store.put_tags(key, tags)

    # -- directories and containers

    def mkdir(self, uri: URI) -> None:
        """Make a local directory and its parents; object stores have none, so there it does nothing."""
        store, key = self.store_for(uri)
        store.mkdir(key)

    def rmdir(self, uri: URI, recursive: bool = False) -> None:
        """Remove a directory, which must be empty unless ``recursive``; one that is not there is no error.

        Object stores have no directories: there ``recursive`` deletes what is under the prefix, and without it nothing
        is done.
        """
        store, key = self.store_for(uri)
        store.rmdir(key, recursive=recursive)

    def create_bucket(self, name: URI) -> None:
        """Create a bucket (container, local directory). One of our own that is there already is no error.

        Args:
            name: the URI, or for S3 the bare name.

        Raises:
            AlreadyExistsError: it belongs to somebody else.
        """
        store, path = self.stores.container(name)
        if isinstance(store, LocalStore):
            store.mkdir(path)
        else:
            store.create_container()

    def delete_bucket(self, name: URI) -> None:
        """Delete a bucket (container, local directory), which must be empty."""
        store, path = self.stores.container(name)
        if isinstance(store, LocalStore):
            store.rmdir(path)
        else:
            store.delete_container()

    def list_containers(self, uri: URI = "s3://") -> list[dict[str, str | None]]:
        """The buckets (containers) of a service, or the sub-directories of a local directory.

        Args:
            uri: ``s3://``, ``s3://host:9000``, ``az://account``, ``gs://``, or a directory. A bucket stands for its
                service.

        Returns:
            One dictionary each: name, uri, creation_date (RFC 3339, None where the store does not know).
        """
        store, path = self.stores.container(uri or "s3://")
        found = store.list_containers(path) if isinstance(store, LocalStore) else store.list_containers()
        return [container.as_dict() for container in found]


def _with_version(conditions: Conditions, version_id: str | None) -> Conditions:
    return conditions if version_id is None else replace(conditions, version_id=version_id)
