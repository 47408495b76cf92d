"""The part of an exchange by which a body comes into a file, or to a function: in stages, or within the kernel."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable

from s3dlio.memory.pipe import Pipes
from s3dlio.memory.pool import PAGE
from s3dlio.net.outgoing import Outgoing

#: A body for a file (or another function) is gathered in stages of this size before it is handed on, if there is enough
#: of it: 3.9 GB/s at 0.25 CPU s/GB into a file, against 2.7 at 0.36 in pieces of 64 KiB (perf/bodies.py). What is less
#: than so many times the scratch is handed on from there, where it is in the CPU's cache still: 400 files of 1 MiB by
#: one lane took 0.81 s of CPU time in stages, and 0.63 without.
STAGE = 1024 * 1024
STAGE_FROM = 4
#: Bodies of so many bytes go to files by splice(2), which has one copy less: 4.5 GB/s at 0.22 CPU s/GB, and 3.1 at 0.32
#: into new files in memory, where stages make 2.4 at 0.41. It takes two calls and a pipe.
SPLICE_FROM = 256 * 1024


class FileBody(Outgoing):
    """What an exchange has of a body that goes to a function.

    Attributes:
        splices: its driver can have bytes of the body moved within the kernel.
        splicing: it does so now, by ``splice``; nothing goes through ``room`` then.
    """

    __slots__ = ("_left", "_place", "_stage", "_total", "_view", "_write", "splices", "splicing")

    _left: int
    _total: int
    _view: memoryview
    _place: memoryview | None
    _stage: memoryview | None
    _write: Callable[[memoryview], None] | None
    splices: bool
    splicing: bool

    def splice(self, sock: int, pipes: Pipes) -> None:
        """Have the sink take what a socket has of the body. Where that cannot be now, the next bytes come to ``room``.

        Raises:
            BlockingIOError: there is nothing now.
            OSError: the connection broke; or typed, the sink failed.
        """
        sink, position = self.request.into, self._position
        if sink.splices:
            count = pipes.move(sock, self._left, sink.splice, position)
            if count > 0:
                self._left -= count
                if self._left == 0:
                    self._finish()
                return
            if count == 0:
                self._closed()
            self.splices = False
        self.splicing = False
        place = sink.at(position, self._left)
        assert not isinstance(place, memoryview)
        self._write = place
        self._gather()

    @property
    def _position(self) -> int:
        """Where in the sink the next bytes belong."""
        return self.request.start + self._total - self._left

    def _gather(self) -> None:
        """A part of the body has been handed on: the rest is gathered, if there is enough of it."""
        if self._left >= STAGE_FROM * len(self._view):
            self.next_stage()

    def next_stage(self) -> None:
        """Have the next bytes gathered in memory of the sink's."""
        sink, length = self.request.into, min(STAGE, self._left)
        stage = sink.stage_now(length) if self._patient else sink.stage(length)
        if len(stage) < self._left:
            # The first one is a bit shorter, so that the others begin with a page: a file takes whole pages with a
            # tenth less CPU time than pieces that begin and end within them.
            stage = stage[: len(stage) - self._position % PAGE]
        self._stage = self._place = stage

    @abstractmethod
    def _closed(self) -> None:
        """The other end has closed.

        Raises:
            ConnectionDropped: within the body.
        """

    @abstractmethod
    def _finish(self) -> None:
        """The body is complete."""
