"""direct://: files past the page cache (O_DIRECT). What the device does is all that happens: no copy, no cache."""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Callable, Sequence
from functools import partial
from typing import ClassVar

from s3dlio.config.sections import FileSettings
from s3dlio.errors import ConfigError, UnsupportedOperationError
from s3dlio.memory.buffers import address_of
from s3dlio.memory.libc import O_DIRECT, DirectAlignment, direct_alignment, pread_full, pwrite_full
from s3dlio.memory.pool import ALIGNMENT, PAGE, default_pool
from s3dlio.memory.sinks import MemorySink, Sink
from s3dlio.memory.sources import Source
from s3dlio.posix import fcntl
from s3dlio.records import replace
from s3dlio.stores.base import ObjectStore
from s3dlio.stores.local.atomic import Replacement, check_regular
from s3dlio.stores.local.file import FileStore, check_unchanged
from s3dlio.stores.local.store import READ_FLAGS, etag_of, result_of
from s3dlio.stores.local.writer import Output
from s3dlio.stores.writer import PartOptions, StoreWriter
from s3dlio.types import Conditions, ObjectMetadata, Observer, PutOptions, PutResult

_log = logging.getLogger(__name__)

#: Bytes that pass through an aligned buffer at once where the caller's memory is not aligned. One thread, one request
#: at a time: 8 MiB wrote 2.0-2.2 GB/s, 1 MiB 1.6, and two threads sharing the work 1.3-1.5 at twice the CPU time.
_STAGE = 8 << 20

_announced: set[int] = set()  # devices whose fallback has been announced


class DirectStore(FileStore):
    """Files read and written with O_DIRECT, at any offset and of any size.

    Reads go into aligned memory with aligned offsets and lengths; what was read beyond the range is cut off. A write
    of memory that happens to be aligned goes to the device from where it is, other memory through an aligned buffer;
    the last block is padded, and the file truncated to its size before it takes its name.

    Where the file system refuses O_DIRECT, ``settings.direct_fallback`` decides: ``warn`` does the work through the
    page cache and logs one warning for each device, ``error`` raises UnsupportedOperationError.
    """

    scheme: ClassVar[str] = "direct"
    storage_class: ClassVar[str] = "DIRECT_IO"
    writer_buffer: ClassVar[int] = _STAGE

    def __init__(
        self, root: str = "", observers: Sequence[Observer] = (), *, settings: FileSettings | None = None
    ) -> None:
        super().__init__(root, observers, settings=settings)
        asked = self.settings.alignment
        if asked is not None and (asked & (asked - 1) or not 512 <= asked <= PAGE):
            raise ConfigError(f"alignment={asked}: a power of two between 512 and {PAGE} is needed")

    # -- reading

    get = ObjectStore.get  # FileStore's short way goes through the page cache

    def _read(self, key: str, sink: Sink, offset: int, length: int | None, conditions: Conditions) -> ObjectMetadata:
        try:
            fd = os.open(key, READ_FLAGS | O_DIRECT)
        except OSError as exc:
            check_regular(os.stat(key).st_mode)  # of a directory or device the answer is EINVAL too
            if not self._may_fall_back(exc, key):
                raise
            return super()._read(key, sink, offset, length, conditions)
        try:
            info = os.fstat(fd)
            check_regular(info.st_mode)
            self._check_conditions(key, info, conditions)
            if info.st_size:
                start = min(offset, info.st_size)
                length = info.st_size - start if length is None else min(length, info.st_size - start)
                try:
                    if length >= self.settings.direct_min_size:
                        self._read_direct(fd, info, sink, start, length)
                        return ObjectMetadata(info.st_size, etag_of(info))
                except OSError as exc:
                    if not self._may_fall_back(exc, key):
                        raise
        finally:
            os.close(fd)
        return super()._read(key, sink, offset, length, conditions)  # empty, of /proc, too small, or a refusal

    def _read_direct(self, fd: int, info: os.stat_result, sink: Sink, start: int, length: int) -> None:
        align = self._alignment(fd)
        if isinstance(sink, MemorySink):
            first = start % align.offset
            buffer = default_pool().lease_aligned(first + length, align.offset)
            got = pread_full(fd, buffer, start - first, block=align.offset) if length else 0
            if got < first + length:
                check_unchanged(fd, info)
            sink.take(buffer[first : first + length])
            return
        sink.begin(length)
        place = sink.at(0, length)
        done = 0
        if isinstance(place, memoryview):
            done = self._read_in_place(fd, place, start, align)
        buffer = default_pool().lease_aligned(min(length - done + align.offset, _STAGE), align.offset)
        while done < length:
            first = (start + done) % align.offset
            wanted = min(len(buffer) - first, length - done)
            rounded = -(-(first + wanted) // align.offset) * align.offset
            got = pread_full(fd, buffer[:rounded], start + done - first, block=align.offset)
            piece = buffer[first : min(got, first + wanted)]
            if not piece:
                break
            if isinstance(place, memoryview):
                place[done : done + len(piece)] = piece
            else:
                place(piece)
            done += len(piece)
        check_unchanged(fd, info, whole=done == length)
        sink.end(done)

    @staticmethod
    def _read_in_place(fd: int, place: memoryview, start: int, align: DirectAlignment) -> int:
        """As many whole blocks as the memory's own alignment allows; how many bytes those are."""
        length = len(place) - len(place) % align.offset
        if not length or start % align.offset or address_of(place) % align.memory:
            return 0
        got = pread_full(fd, place[:length], start, block=align.offset)
        return got - got % align.offset

    # -- writing

    def _write(self, key: str, source: Source, options: PutOptions, beneath: int | None = None) -> PutResult:
        if source.size < self.settings.direct_min_size:
            return super()._write(key, source, options, beneath)
        target, out = self._output(key, options, _STAGE, beneath)
        with target:
            for stretch in source.stretches(_STAGE):
                out.write(stretch)
            out.finish()
            return result_of(target.commit())

    def _output(
        self, key: str, options: PutOptions, buffer_size: int, beneath: int | None = None
    ) -> tuple[Replacement, Output]:
        try:
            target = self._replacement(key, options, O_DIRECT, beneath)
        except OSError as exc:
            if not self._may_fall_back(exc, key):
                raise
            return super()._output(key, options, buffer_size, beneath)
        may_fall_back = partial(self._may_fall_back, key=key)
        return target, _DirectOutput(target.fd, self._alignment(target.fd), max(buffer_size, ALIGNMENT), may_fall_back)

    def _writer(
        self, key: str, options: PutOptions, parts: PartOptions, beneath: int | None = None
    ) -> StoreWriter:
        """What is written past the page cache is meant for the device: closing waits until all of it is there."""
        return super()._writer(key, replace(options, durable=True), parts, beneath)

    # -- O_DIRECT, or not

    def _alignment(self, fd: int) -> DirectAlignment:
        if self.settings.alignment is not None:
            return DirectAlignment(self.settings.alignment, self.settings.alignment)
        return direct_alignment(fd) or DirectAlignment(ALIGNMENT, ALIGNMENT)

    def _may_fall_back(self, exc: OSError, key: str) -> bool:
        """Whether the error is a refusal of O_DIRECT, and the page cache may do the work instead.

        Raises:
            UnsupportedOperationError: it is one, but the settings forbid the page cache.
        """
        if exc.errno not in (errno.EINVAL, errno.EOPNOTSUPP) or not O_DIRECT:
            return False
        if self.settings.direct_fallback == "error":
            raise UnsupportedOperationError(
                "the file system does not take O_DIRECT here",
                hint="use file://, or set direct_fallback (S3DLIO_DIRECT_FALLBACK) to 'warn'",
            ) from exc
        folder = os.path.dirname(os.path.realpath(key)) or "."
        device = os.stat(folder).st_dev if os.path.isdir(folder) else -1
        if device not in _announced:
            _announced.add(device)
            _log.warning("no O_DIRECT on the file system of %s: reading and writing through the page cache", folder)
        return True


class _DirectOutput:
    """Appends to a file open with O_DIRECT: whole blocks as they come, the last one padded and then cut off.

    Args:
        fd: the file.
        align: what its file system wants.
        buffer_size: bytes that are gathered.
        may_fall_back: whether an error is a refusal of O_DIRECT that may be answered by going on without it.
    """

    def __init__(
        self, fd: int, align: DirectAlignment, buffer_size: int, may_fall_back: Callable[[OSError], bool]
    ) -> None:
        self._fd = fd
        self._align = align
        self._may_fall_back = may_fall_back
        self._stage_size = -(-buffer_size // align.offset) * align.offset
        self._stage: memoryview | None = None
        self._filled = 0
        self._size = 0  # written, a multiple of the alignment

    def write(self, data: memoryview) -> None:
        if not self._filled and len(data) >= self._align.offset and address_of(data) % self._align.memory == 0:
            whole = len(data) - len(data) % self._align.offset
            self._write(data[:whole])
            data = data[whole:]
        while data:
            if self._stage is None:
                self._stage = default_pool().lease(self._stage_size)
            piece = data[: len(self._stage) - self._filled]
            self._stage[self._filled : self._filled + len(piece)] = piece
            self._filled += len(piece)
            data = data[len(piece) :]
            if self._filled == len(self._stage):
                self._flush(self._filled)

    def flush(self) -> None:
        whole = self._filled - self._filled % self._align.offset
        if whole:
            assert self._stage is not None
            rest = bytes(self._stage[whole : self._filled])
            self._flush(whole)
            self._stage[: len(rest)] = rest
            self._filled = len(rest)

    def _flush(self, length: int) -> None:
        assert self._stage is not None
        self._write(self._stage[:length])
        self._filled = 0

    def _write(self, blocks: memoryview) -> None:
        try:
            self._size += pwrite_full(self._fd, blocks, self._size, block=self._align.offset)
        except OSError as error:
            if not self._may_fall_back(error):
                raise
            fcntl.fcntl(self._fd, fcntl.F_SETFL, fcntl.fcntl(self._fd, fcntl.F_GETFL) & ~O_DIRECT)
            self._size += pwrite_full(self._fd, blocks, self._size)

    def finish(self) -> int:
        size = self._size + self._filled
        if padding := -self._filled % self._align.offset:
            assert self._stage is not None
            self._stage[self._filled : self._filled + padding] = bytes(padding)
        if self._filled:
            self._flush(self._filled + padding)
        if padding:
            os.ftruncate(self._fd, size)
        self._stage = None
        return size
