"""Pieces of large memory, shared by threads: the kernel copies, and checksums are computed, on every CPU that helps."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager

from s3dlio.hardware import usable_cpus

#: More threads find no more memory bandwidth on common machines.
_THREADS = 4


class Pieces:
    """Work on the pieces of some memory. A thread takes the next one until none are left, so that all end together.

    Args:
        length: of the memory, in bytes.
        step: bytes of a piece.
        worker: entered by each thread; gives what does the piece that begins at a position.
    """

    def __init__(self, length: int, step: int, worker: Callable[[], AbstractContextManager[Callable[[int], None]]]):
        self._starts = iter(range(0, length, step))  # one step of it is atomic
        self._worker = worker
        self._helpers: list[threading.Thread] = []
        self._errors: list[Exception] = []
        self._stopped = False

    def begin(self, threads: int) -> None:
        """Have so many threads begin, or as many as there can be."""
        with contextlib.suppress(RuntimeError):  # no more threads, or the interpreter is shutting down
            for _ in range(threads):
                helper = threading.Thread(target=self._help, name="s3dlio-pieces", daemon=True)
                self._helpers.append(helper)  # before it begins: an interrupt may come in the midst of that
                helper.start()

    def work(self, work: Callable[[int], None]) -> None:
        """Do, on this thread, the pieces that no other has taken."""
        for start in self._starts:
            if self._stopped or self._errors:
                return
            try:
                work(start)
            except Exception as error:  # of any kind: what is not done must not pass for done
                self._errors.append(error)

    def end(self) -> None:
        """No more pieces are taken; wait for those that were."""
        self._stopped = True
        for helper in self._helpers:
            if helper.ident is not None:  # one that has not come so far does nothing any more
                helper.join()

    def check(self) -> None:
        """Raise the first error of a piece."""
        if self._errors:
            raise self._errors[0].with_traceback(None)  # whose frames have the memory

    def _help(self) -> None:
        with self._worker() as work:
            self.work(work)


def work_on(pieces: Pieces, work: Callable[[int], None], threads: int) -> None:
    """Do all pieces by so many threads; the others have ended when it returns or raises."""
    try:
        pieces.begin(threads - 1)
        pieces.work(work)
    finally:
        pieces.end()  # also where this thread was interrupted
    pieces.check()


def threads_for(length: int, least: int) -> int:
    """How many threads pay for ``length`` bytes, if more than one do from ``least`` bytes on."""
    return min(_THREADS, usable_cpus()) if length >= least else 1
