"""An object that is written as a file."""

from __future__ import annotations

import io
import logging
from types import TracebackType
from typing import Any, NoReturn, Self

from s3dlio.masking import redact
from s3dlio.memory.sources import as_memory
from s3dlio.stores.base import ObjectStore
from s3dlio.types import PutOptions

log = logging.getLogger("s3dlio.writer")

#: Pieces of ``bytes``, which cannot change, are stored from where they are if they have so many.
_WORTH_HANDING_ON = 64 << 10


class PutObjectStream:
    """Writes one object, which appears whole on ``close``, or not at all.

    Args:
        store, at: the object.
        bucket, key: its names.
        storage_class: kept with it.
    """

    def __init__(self, store: ObjectStore, at: str, bucket: str, key: str, storage_class: str | None = None) -> None:
        self.bucket = bucket
        self.key = key
        self.uri = store.uri(at)
        self._writer = store.writer(at, options=PutOptions(storage_class=storage_class))

    def write(self, data: Any) -> int:
        """Append the bytes of a buffer, which may be used again; returns how many."""
        if type(data) is bytes and len(data) >= _WORTH_HANDING_ON:
            return self._writer.write_owned(data)
        return self._writer.write(as_memory(data))

    def close(self) -> None:
        """Store the object."""
        self._writer.close()

    def abort(self) -> None:
        """Store nothing."""
        self._writer.abort()


class S3Writer(io.BufferedIOBase):
    """An object as a file that is written. It appears whole when the file is closed; after an exception in its
    ``with``, and where it is dropped without ``close``, nothing is stored.

    Args:
        stream: takes the bytes: a :class:`PutObjectStream`, or what has its ``write`` and ``close``.
    """

    def __init__(self, stream: Any) -> None:
        self.stream = stream
        self._position = 0
        self._closed = False

    def __enter__(self) -> Self:
        self._position = 0
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
            return
        log.info("nothing is stored, since the block of the writer raised: %s", redact(f"{kind.__name__}: {error}"))
        try:
            self.abort()
        except Exception:  # what happened in the block is what the caller learns
            log.warning("a write could not be aborted", exc_info=True)

    def write(self, data: Any) -> int:
        """Append the bytes of a buffer; returns how many.

        Raises:
            S3Exception: the store failed; nothing of the object is left.
            ValueError: the writer is closed.
        """
        if self._closed:
            raise ValueError("I/O operation on closed file.")
        if isinstance(data, memoryview) and not isinstance(self.stream, PutObjectStream):
            data = data.tobytes()
        size = len(data) if isinstance(data, bytes | bytearray) else memoryview(data).nbytes
        self.stream.write(data)
        self._position += size
        return size

    def close(self) -> None:
        """Store the object. More than once is no error.

        Raises:
            S3Exception: it could not be stored, and nothing of it is left.
        """
        if not self._closed:
            self._closed = True
            self.stream.close()

    def abort(self) -> None:
        """Store nothing. Of a writer that is closed, it does nothing."""
        if not self._closed:
            self._closed = True
            if give_up := getattr(self.stream, "abort", None):
                give_up()

    @property
    def closed(self) -> bool:
        """Whether it is closed, or aborted."""
        return self._closed

    def flush(self) -> None:
        """Nothing: an object can be seen when it is closed."""

    def readable(self) -> bool:
        return False

    def writable(self) -> bool:
        return not self._closed

    def tell(self) -> int:
        return self._position

    def __del__(self) -> None:
        self._closed = True  # whoever drops a writer has not said that the object is complete

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        raise TypeError("an S3Writer cannot be pickled: open one where it is needed")
