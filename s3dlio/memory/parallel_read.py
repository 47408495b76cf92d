"""Large files into memory by several threads: the kernel copies, and zeroes fresh memory, on every CPU that helps."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator

from s3dlio.memory.crc32c import HOT, combine, crc32c
from s3dlio.memory.libc import pread_full
from s3dlio.memory.pieces import Pieces, threads_for, work_on

#: Files of fewer bytes are read by the caller's thread alone: a batch of those has a thread for each.
_FROM = 128 << 20
#: Bytes that a thread takes at a time.
_PIECE = 16 << 20


def pread_parallel(fd: int, view: memoryview, offset: int) -> int:
    """:func:`pread_full` by as many threads as pay; they have ended when it returns or raises.

    Raises:
        OSError: the read failed.
    """
    threads = threads_for(len(view), _FROM)
    return pread_full(fd, view, offset) if threads < 2 else _Reading(fd, view, offset, hashed=False).run(threads)


def pread_hashed(fd: int, view: memoryview, offset: int) -> tuple[int, int]:
    """:func:`pread_parallel`, which also returns the CRC32C of what was read."""
    reading = _Reading(fd, view, offset, hashed=True)
    got = reading.run(threads_for(len(view), _FROM))
    return got, reading.crc32c()


class _Reading:
    """One read by several threads.

    Args:
        fd, view, offset: as of :func:`pread_full`.
        hashed: the CRC32C is computed meanwhile.
    """

    def __init__(self, fd: int, view: memoryview, offset: int, *, hashed: bool) -> None:
        self._fd = fd
        self._view = view
        self._offset = offset
        self._step = HOT if hashed else _PIECE
        self._ends: list[int] = []  # where the file ended early
        self._hashed: dict[int, tuple[int, int]] | None = {} if hashed else None  # start -> CRC32C, length

    def run(self, threads: int) -> int:
        """Read; returns how many bytes there were."""
        pieces = Pieces(len(self._view), _PIECE, self._reader)
        work_on(pieces, self._read_with(self._fd), threads)
        return min(self._ends, default=len(self._view))

    def crc32c(self) -> int:
        """Of what was read."""
        crc = 0
        for _, (part, length) in sorted((self._hashed or {}).items()):
            crc = combine(crc, part, length)
        return crc

    @contextlib.contextmanager
    def _reader(self) -> Iterator[Callable[[int], None]]:
        """For another thread: a descriptor with a read-ahead of its own, where it can be had."""
        try:
            fd = os.open(f"/proc/self/fd/{self._fd}", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            yield self._read_with(self._fd)
            return
        try:
            yield self._read_with(fd)
        finally:
            os.close(fd)

    def _read_with(self, fd: int) -> Callable[[int], None]:
        return lambda start: self._read(fd, start)

    def _read(self, fd: int, start: int) -> None:
        stop = min(start + _PIECE, len(self._view))
        crc, begin = 0, start
        while start < stop:
            piece = self._view[start : min(start + self._step, stop)]
            got = pread_full(fd, piece, self._offset + start)
            start += got
            if self._hashed is not None:
                crc = crc32c(piece[:got], crc)
            if got < len(piece):
                self._ends.append(start)
                break
        if self._hashed is not None:
            self._hashed[begin] = crc, start - begin
