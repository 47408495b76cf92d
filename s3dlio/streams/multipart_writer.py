"""Writes an object in pieces that may be the caller's own memory, or memory that the writer lends to be filled."""

from __future__ import annotations

import time
import warnings
from operator import index
from typing import Any, NoReturn

from s3dlio.config.sizes import parse_size, shown
from s3dlio.engine.session import Session
from s3dlio.errors import ConfigError, S3dlioError
from s3dlio.masking import redact
from s3dlio.memory.caller_buffer import lent
from s3dlio.memory.sources import as_memory
from s3dlio.streams.block_end import BlockEnd
from s3dlio.streams.reserved_buffer import ReservedBuffer
from s3dlio.types import NO_OPTIONS, Payload, PutOptions
from s3dlio.uri import URI

#: Smaller pieces are copied into the part, whoever owns them: handing them on would cost more.
_WORTH_HANDING_ON = 64 << 10


class MultipartWriter(BlockEnd):
    """Writes an object in parts, on every store. It appears whole on ``close``, or not at all.

    A context manager: the end of the block closes, an exception in it aborts and stays as it is. For one thread at a
    time, and for the process that made it.

    Args:
        session: settings and stores.
        uri: the object.
        part_size: bytes of a part, where the store sends parts; None: as the settings say, growing for long objects.
        max_in_flight: parts on their way at a time.
        content_type: kept with the object.
        abort_on_drop: whether what was sent is removed when the writer is dropped without ``close`` and ``abort``;
            None: yes.

    Raises:
        ConfigError: a size or number that cannot be.
        InvalidURIError: the URI names no object.
    """

    def __init__(
        self,
        session: Session,
        uri: URI,
        part_size: int | None = None,
        max_in_flight: int | None = None,
        content_type: str | None = None,
        abort_on_drop: bool | None = None,
    ) -> None:
        self.closed = True  # for __del__, should the next lines fail
        store, key = session.store_for(uri)
        options = PutOptions(content_type=content_type) if content_type else NO_OPTIONS
        self.uri = store.uri(key)
        self._target = store.writer(key, options=options, part_size=part_size, max_in_flight=max_in_flight)
        self._abort_on_drop = abort_on_drop is None or abort_on_drop
        self._reserved: memoryview | None = None
        self._written = 0
        self._started = time.time()
        self.closed = False

    def write(self, data: Payload, *, copy: bool = True) -> int:
        """Append the bytes of ``data``.

        Args:
            data: bytes-like, or an object with ``__bytes__``.
            copy: False: store large pieces from where they are; nobody may change them until the writer has ended.
                Bytes objects, which cannot change, are never copied.

        Returns:
            How many bytes those were.

        Raises:
            TypeError: ``data`` has no bytes; the writer goes on.
            S3dlioError: the writer is closed; or the store failed, and nothing of the object will be left.
        """
        self._check_open()
        return lent(lambda: self._write(as_memory(data), copy))

    def write_owned(self, data: Payload) -> int:
        """As :meth:`write`, of bytes that the caller gives up: nobody may change them until the writer has ended."""
        return self.write(data, copy=False)

    def reserve(self, size: int) -> memoryview:
        """Memory to fill, of which :meth:`commit` makes the next piece of the object without a copy.

        Args:
            size: bytes.

        Returns:
            A writable view, zeroed and page-aligned. It stays valid as long as it is kept, but must not be written to
            after ``commit``.

        Raises:
            S3dlioError: the writer is closed; or the memory of an earlier call waits for ``commit``.
            ConfigError: the size cannot be.
            OutOfMemoryError: there is no such memory.
        """
        self._check_open()
        if self._reserved is not None:
            raise self._error("reserve() called while a previous buffer is pending; call commit() first")
        self._reserved = ReservedBuffer.new(parse_size(size, name="size"))
        return self._reserved[:]

    def commit(self, nbytes: int) -> None:
        """Append the first ``nbytes`` bytes of what :meth:`reserve` returned.

        Raises:
            S3dlioError: nothing is reserved; otherwise as of :meth:`write`.
            ConfigError: more than was reserved, which stays so.
            TypeError: no whole number; what was reserved stays so.
        """
        nbytes = index(nbytes)
        self._check_open()
        if self._reserved is None:
            raise self._error("no pending buffer; call reserve() first")
        if not 0 <= nbytes <= len(self._reserved):
            reason = f"commit(nbytes={shown(nbytes)}) exceeds reserved size {len(self._reserved)}"
            raise ConfigError(reason, uri=self.uri, operation="PUT")
        view, self._reserved = self._reserved, None
        self._append(view[:nbytes], stays=True)

    def flush(self) -> None:
        """Hand on what was written, as far as it makes parts, and wait until these are stored.

        Raises:
            S3dlioError: as of :meth:`write`.
        """
        self._check_open()
        self._target.flush()

    def close(self) -> dict[str, Any]:
        """Store the object. Memory that is reserved and not committed is no part of it.

        Returns:
            ``etag`` (None where there is none), ``total_bytes``, ``parts`` (1 where the object was one request),
            ``started_at`` and ``completed_at`` (seconds since 1970).

        Raises:
            S3dlioError: the writer is closed; or the object could not be stored, and nothing of it is left.
        """
        self._check_open("writer already closed")
        self._end()
        result = self._target.close()
        return {
            "etag": result.etag, "total_bytes": self._written, "parts": self._target.parts or 1,
            "started_at": self._started, "completed_at": time.time(),
        }  # fmt: skip

    def abort(self) -> None:
        """Give up: nothing of the object is left. More than once, and after the end, it does nothing. A signal handler
        may call it within any call of this writer."""
        self._end()
        self._target.abort()

    def _complete(self) -> None:
        if not self.closed:
            self.close()

    def __repr__(self) -> str:
        state = "closed" if self.closed else "open"
        return f"<{type(self).__name__} {redact(self.uri)!r}: {self._written} bytes, {state}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"a {type(self).__name__} cannot be pickled: open one where it is needed")

    def _write(self, view: memoryview, copy: bool) -> int:
        return self._append(view, stays=not copy or type(view.obj) is bytes)

    def _append(self, view: memoryview, *, stays: bool) -> int:
        owned = stays and len(view) >= _WORTH_HANDING_ON
        written = self._target.write_owned(view) if owned else self._target.write(view)
        self._written += written
        return written

    def _end(self) -> None:
        self.closed = True
        self._reserved = None

    def _check_open(self, otherwise: str = "writer is closed") -> None:
        if self.closed:
            raise self._error(otherwise)

    def _error(self, reason: str) -> S3dlioError:
        return S3dlioError(reason, uri=self.uri, operation="PUT")

    def __del__(self) -> None:
        # The store's writer is dropped with this one, and sees to what was sent.
        if not self.closed and not self._abort_on_drop:
            self._target.leave()
            warnings.warn(
                f"a writer of {redact(self.uri)} was dropped without close", ResourceWarning, source=self, stacklevel=2
            )
