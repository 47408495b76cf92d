"""What people write an object through, a piece at a time: compression, checksum, sizes, and an end that is certain."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, NoReturn

from s3dlio.errors import S3dlioError
from s3dlio.masking import redact
from s3dlio.memory.caller_buffer import lent, let_go
from s3dlio.memory.crc32c import HOT, combine, crc32c, format_crc32c
from s3dlio.memory.pool import default_pool
from s3dlio.memory.sources import as_memory
from s3dlio.stores.base import ObjectStore
from s3dlio.stores.writer import StoreWriter
from s3dlio.streams.block_end import BlockEnd
from s3dlio.streams.writer_options import WriterOptions
from s3dlio.streams.writer_stats import WriterStats
from s3dlio.types import Payload, PutResult

if TYPE_CHECKING:
    from s3dlio.streams.compression import ZstdStream

log = logging.getLogger("s3dlio.writer")

_LEAST_BUFFER = 4 << 10
#: Bytes that are given up are copied all the same where they are so few: handing them on costs more.
_WORTH_HANDING_ON = 64 << 10


class ObjectWriter(BlockEnd):
    """Writes an object piece by piece. It appears whole when the writer is finalized, or not at all.

    A context manager: the end of the block finalizes, an exception in it aborts and stays as it is. A writer that is
    dropped leaves nothing, with a ResourceWarning. It belongs to one thread at a time, and to the process that made it.

    Args:
        target: the store's writer of this object.
        uri: the object's.
        zstd: compresses what is stored.
        buffer_size: bytes that are collected before they are passed on.
    """

    def __init__(self, target: StoreWriter, uri: str, *, zstd: ZstdStream | None, buffer_size: int) -> None:
        self.uri = uri
        self._target = target
        self._zstd = zstd
        self._buffer_size = max(buffer_size, _LEAST_BUFFER)
        self._buffer: memoryview | None = None
        self._filled = 0
        self._hashed = 0  # bytes of the buffer that ``_piece_crc`` is of
        self._piece_crc = 0
        self._crc = 0
        self._written = 0
        self._stored = 0
        self._failure: BaseException | None = None
        self._aborted = False
        self._stats: WriterStats | None = None
        self._pid = os.getpid()

    # -- writing

    def write(self, data: Payload) -> int:
        """Append the bytes of ``data``. The buffer may be used again when this returns.

        Args:
            data: bytes-like (contiguous or not, an array, a tensor's memory), or an object with ``__bytes__``.

        Returns:
            How many bytes that were.

        Raises:
            TypeError: ``data`` has no bytes; the writer goes on.
            S3dlioError: the writer was finalized or aborted, or the store failed; nothing of the object is left then.
        """
        # A writer that has ended has no buffer: what is so small is collected without more ado.
        if (buffer := self._buffer) is not None and type(data) is bytes and os.getpid() == self._pid:
            size = len(data)
            end = self._filled + size
            if size < _WORTH_HANDING_ON and end < self._buffer_size:
                buffer[self._filled : end] = data
                self._filled = end
                self._written += size
                return size
        try:
            if type(data) is bytes and len(data) >= _WORTH_HANDING_ON:  # cannot change
                return self._take(memoryview(data), self._hand_over)
            return self._take(as_memory(data), self._copy)
        except BaseException as error:
            let_go(error)  # the caller's buffer is free, also while the error is kept
            raise

    def collects(self, data: object) -> bool:
        """Whether :meth:`write` would only keep a copy of ``data``, so that it takes no time."""
        return isinstance(data, bytes | bytearray) and self._filled + len(data) < self._buffer_size

    def write_chunk(self, data: Payload) -> None:
        """As :meth:`write`, and returns nothing."""
        self.write(data)

    def write_owned_bytes(self, data: Payload, *, copy: bool = False) -> None:
        """Append bytes that the caller gives up: nobody may change them until the writer has ended. Where the store
        can, they are stored from where they are.

        Args:
            data: as of :meth:`write`.
            copy: keep the buffer, as :meth:`write` does.
        """
        if copy:
            self.write(data)
        else:
            lent(lambda: self._take_owned(as_memory(data)))

    def flush(self) -> None:
        """Pass on what was written so far, as far as the store takes it, and wait until that is stored. Nothing can be
        seen of the object yet.

        Raises:
            S3dlioError: as of :meth:`write`.
        """
        self._check_open("Writer has been finalized")
        lent(self._flush)

    # -- the end

    def finalize(self) -> WriterStats:
        """Store the object.

        Returns:
            ``(bytes_written, compressed_bytes)``, which also answers to these and other names.

        Raises:
            S3dlioError: it was finalized already, or aborted; or the store failed, and nothing of the object is left.
        """
        self._check_open("Writer already finalized")
        result = lent(self._finish)
        self._zstd = None
        checksum = format_crc32c(self._crc)
        self._stats = WriterStats(self._written, self._stored, checksum=checksum, uri=self.uri, result=result)
        return self._stats

    def close(self) -> None:
        """Finalize, unless the writer has ended already.

        Raises:
            S3dlioError: the store failed, now or earlier.
        """
        if self._stats is None and not self._aborted:
            self.finalize()

    def abort(self) -> None:
        """Give up: nothing of the object is left. Of a writer that has ended, or in a forked child, it does nothing."""
        if not self.closed and os.getpid() == self._pid:
            self._aborted = True
            self._release()
            self._target.abort()

    @property
    def closed(self) -> bool:
        """Whether the writer has ended: finalized, aborted or failed."""
        return self._stats is not None or self._aborted or self._failure is not None

    def _complete(self) -> None:
        self.close()

    # -- what it knows, also after its end

    def bytes_written(self) -> int:
        """Bytes that the writer was given."""
        return self._written

    def compressed_bytes(self) -> int:
        """Bytes that are stored of these: of compressed ones those that are ready, all of them at the end."""
        return self._written if self._stats is None and self._zstd is None else self._stored

    def checksum(self) -> str:
        """Of the bytes that the writer was given: ``crc32c:`` and eight hexadecimal digits."""
        if self._buffer is None:
            return format_crc32c(self._crc)
        crc = crc32c(self._buffer[self._hashed : self._filled], self._piece_crc)
        return format_crc32c(combine(self._crc, crc, self._filled))

    def stats(self) -> WriterStats | None:
        """What :meth:`finalize` returned; None before."""
        return self._stats

    def readable(self) -> bool:
        """False: it writes."""
        return False

    def writable(self) -> bool:
        """True: it writes."""
        return True

    def seekable(self) -> bool:
        """False: it only appends."""
        return False

    def __repr__(self) -> str:
        state = "finalized" if self._stats else "aborted" if self._aborted else "failed" if self._failure else "open"
        return f"<ObjectWriter {redact(self.uri)!r}: {self._written} bytes, {state}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("an ObjectWriter cannot be pickled: open one where it is needed")

    # -- inside

    def _take(self, view: memoryview, way: Callable[[memoryview], None]) -> int:
        self._check_open("Writer has been finalized")
        try:
            way(view)
        except BaseException as error:  # how much of it was taken is not known
            self._fail(error)
            if self._aborted and isinstance(error, Exception):  # by a signal handler, under the hands of this call
                self._check_open("")
            raise
        self._written += len(view)
        return len(view)

    def _take_owned(self, view: memoryview) -> None:
        self._take(view, self._copy if len(view) < _WORTH_HANDING_ON else self._hand_over)

    def _copy(self, view: memoryview) -> None:
        """Collect a copy. Checksum, compression and store then see the same bytes, whatever the caller does."""
        done, size = 0, len(view)
        while done < size:
            if self._buffer is None:
                self._buffer = default_pool().lease(self._buffer_size)
            count = min(size - done, self._buffer_size - self._filled, HOT)
            self._buffer[self._filled : self._filled + count] = view[done : done + count]
            self._filled += count
            done += count
            if self._filled - self._hashed >= HOT:
                self._hash(self._buffer)
            if self._filled == self._buffer_size:
                self._drain()

    def _hash(self, buffer: memoryview) -> None:
        """Hash what was collected since the last time."""
        self._piece_crc = crc32c(buffer[self._hashed : self._filled], self._piece_crc)
        self._hashed = self._filled

    def _hand_over(self, view: memoryview) -> None:
        self._drain()
        self._pass_on(view, crc32c(view))

    def _drain(self) -> None:
        """Pass on what was collected."""
        if self._buffer is not None:
            if self._filled > self._hashed:
                self._hash(self._buffer)
            view, crc, self._buffer = self._buffer[: self._filled], self._piece_crc, None
            self._filled = self._hashed = self._piece_crc = 0
            self._pass_on(view, crc)

    def _pass_on(self, view: memoryview, crc: int) -> None:
        self._crc = combine(self._crc, crc, len(view))
        if self._zstd is None:
            self._target.write_hashed(view, crc)
            self._stored += len(view)
        else:
            for piece in self._zstd.compress(view):
                self._store(piece)

    def _flush(self) -> None:
        try:
            self._drain()
            if self._zstd is not None:
                for piece in self._zstd.flush():
                    self._store(piece)
            self._target.flush()
        except BaseException as error:
            self._fail(error)
            raise

    def _finish(self) -> PutResult:
        try:
            self._drain()
            if self._zstd is not None:
                for piece in self._zstd.finish():
                    self._store(piece)
            return self._target.close()
        except BaseException as error:
            self._fail(error)
            raise

    def _store(self, data: bytes | memoryview) -> None:
        self._target.write_owned(data)
        self._stored += len(data)

    def _check_open(self, after_its_end: str) -> None:
        if self._stats is not None:
            raise S3dlioError(after_its_end, uri=self.uri, operation="PUT", hint="open another one")
        if os.getpid() != self._pid:
            raise S3dlioError(
                "the writer belongs to the process that opened it", uri=self.uri, operation="PUT",
                hint="open one in the forked process",
            )  # fmt: skip
        if self._aborted:
            raise S3dlioError("the writer was aborted", uri=self.uri, operation="PUT", hint="open another one")
        if self._failure is not None:
            raise S3dlioError(
                "the writer failed earlier", uri=self.uri, operation="PUT", hint="its cause says why; open another one"
            ) from self._failure

    def _fail(self, error: BaseException) -> None:
        """Nothing may come of the object any more."""
        self._failure = error
        self._release()
        try:
            self._target.abort()
        except Exception:  # the first error is the one that tells
            log.warning("a write to %s could not be aborted", redact(self.uri), exc_info=True)

    def _release(self) -> None:
        self._buffer = None
        self._zstd = None


def open_writer(store: ObjectStore, key: str, options: WriterOptions) -> ObjectWriter:
    """A writer of one object of a store; the key of a compressed one ends in ``.zst``.

    Raises:
        InvalidURIError: the key names no object.
        ConfigError: options that cannot be.
    """
    store.check_key(key, "PUT")
    zstd, level = None, options.level
    if level is not None:
        from s3dlio.streams.compression import SUFFIX, ZstdStream

        zstd = ZstdStream(level, options.expected_size)
        key = key if key.endswith(SUFFIX) else key + SUFFIX
    target = store.writer(key, options=options.put_options, **options.parts())
    return ObjectWriter(target, store.uri(key), zstd=zstd, buffer_size=options.buffer_size)


PyObjectWriter = ObjectWriter
