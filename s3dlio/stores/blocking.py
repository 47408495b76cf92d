"""Stores that block the calling thread: files, memory, and those over an SDK."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, TypeVar

from s3dlio.errors import ObjectChangedError, S3dlioError
from s3dlio.foreign_errors import from_os_error
from s3dlio.memory.sinks import DiscardSink, Sink
from s3dlio.stores.base import KeyErrors, ObjectStore
from s3dlio.stores.call import Call
from s3dlio.stores.checks import check_etag
from s3dlio.types import NO_CONDITIONS, Conditions, ObjectMetadata

T = TypeVar("T")


class BlockingStore(ObjectStore):
    """A store whose hooks do their work on the calling thread and return the result."""

    waits: ClassVar[bool] = True

    def execute(self, call: Call[T]) -> T:
        return call.run()

    def drain(self, key: str) -> int:
        """Read the whole object and drop its bytes; returns how many there were."""
        sink = DiscardSink()
        self.execute(self.read_call(key, sink))
        return sink.size or 0

    def small(self, key: str) -> bytes | None:
        """The whole object, if it is small and read without anything to say about it."""
        return None

    def read_small(self, keys: Sequence[str], seconds: float) -> list[bytes]:
        """The first objects, as far as they are ``small``, within ``seconds``."""
        return []

    def size_hint(self, key: str) -> int:
        """The size of the object where it can be told at once, else 0."""
        return 0

    def _read_tail(self, key: str, sink: Sink, length: int, conditions: Conditions) -> Any:
        about = self._head(key, conditions)
        read: ObjectMetadata = self._read(
            key, sink, max(0, about.size - length), min(length, about.size), conditions
        )
        if about.etag and read.etag and about.etag != read.etag:
            raise ObjectChangedError("the object was replaced while it was read", hint="read it again")
        return read

    def _delete_many(self, keys: Sequence[str]) -> KeyErrors:
        """One by one; a failure leaves none of the others out."""
        failed: KeyErrors = []
        for key in keys:
            try:
                self._delete(key, None)
            except S3dlioError as exc:
                exc.locate(self.uri(key), "DELETE")
                failed.append((key, exc))
            except OSError as exc:
                error = from_os_error(exc, uri=self.uri(key), operation="DELETE")
                error.__cause__ = exc
                failed.append((key, error))
        return failed

    def _delete_if_match(self, key: str, etag: str) -> Any:
        """A look, then the delete: all that is left where the service behind takes no condition."""
        try:
            check_etag(self._head(key, NO_CONDITIONS), etag)
        except FileNotFoundError:  # ObjectNotFoundError is one
            return
        self._delete(key, None)
