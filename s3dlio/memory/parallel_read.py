"""Large files into memory by several threads: the kernel copies, and zeroes fresh memory, on every CPU that helps."""

from __future__ import annotations

import contextlib
import os
import threading

from s3dlio.hardware import usable_cpus
from s3dlio.memory.libc import pread_full

#: Files of fewer bytes are read by the caller's thread alone: a batch of those has a thread for each.
_FROM = 128 << 20
#: Bytes that a thread reads at a time. It takes the next ones until none are left, so that all end together.
_PIECE = 16 << 20
#: More threads find no more memory bandwidth on common machines.
_THREADS = 4


def pread_parallel(fd: int, view: memoryview, offset: int) -> int:
    """:func:`pread_full` by as many threads as pay; they have ended when it returns or raises.

    Raises:
        OSError: the read failed.
    """
    threads = min(_THREADS, usable_cpus()) if len(view) >= _FROM else 1
    return pread_full(fd, view, offset) if threads < 2 else _Reading(fd, view, offset).run(threads)


class _Reading:
    """One read by several threads.

    Args:
        fd, view, offset: as of :func:`pread_full`.
    """

    def __init__(self, fd: int, view: memoryview, offset: int) -> None:
        self._fd = fd
        self._view = view
        self._offset = offset
        self._pieces = iter(range(0, len(view), _PIECE))  # one step of it is atomic
        self._ends: list[int] = []  # where the file ended early
        self._errors: list[Exception] = []
        self._stopped = False

    def run(self, threads: int) -> int:
        """Read; returns how many bytes there were."""
        helpers: list[threading.Thread] = []
        try:
            with contextlib.suppress(RuntimeError):  # no more threads, or the interpreter is shutting down
                for _ in range(threads - 1):
                    helper = threading.Thread(target=self._help, name="s3dlio-reader", daemon=True)
                    helpers.append(helper)  # before it begins: an interrupt may come in the midst of that
                    helper.start()
            self._read(self._fd)
        finally:
            self._stopped = True  # where this thread was interrupted
            for helper in helpers:
                if helper.ident is not None:  # one that has not come so far reads nothing any more
                    helper.join()
        if self._errors:
            raise self._errors[0].with_traceback(None)  # whose frames have the memory
        return min(self._ends, default=len(self._view))

    def _help(self) -> None:
        try:
            fd = os.open(f"/proc/self/fd/{self._fd}", os.O_RDONLY | os.O_CLOEXEC)  # with a read-ahead of its own
        except OSError:
            self._read(self._fd)
            return
        try:
            self._read(fd)
        finally:
            os.close(fd)

    def _read(self, fd: int) -> None:
        for start in self._pieces:
            if self._stopped or self._errors:
                return
            piece = self._view[start : start + _PIECE]
            try:
                got = pread_full(fd, piece, self._offset + start)
            except Exception as error:  # of any kind: what is not read must not pass for read
                self._errors.append(error)
                return
            if got < len(piece):
                self._ends.append(start + got)
