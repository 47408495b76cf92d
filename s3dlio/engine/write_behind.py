"""Files that are written on a second thread, while the first receives what comes next.

Copying into a file takes longer than receiving does (0.35 against 0.15 s/GB in memory, more where the file system has
to find room), and both leave the interpreter lock to others. So the thread that receives hands stage after stage over,
and where the writer is behind it writes the next one itself: on one lane, 4 GiB took 3.4 s instead of 4.2, on two
cores. Two lanes gain nothing by it (2.7 s both ways), but a single file has only one. Bodies without stages, small
ones, are written as they come.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from types import TracebackType

from s3dlio.foreign_errors import local_error
from s3dlio.hardware import usable_cpus
from s3dlio.memory.libc import allocate, pwrite_full
from s3dlio.memory.sinks import FileSink

#: How many stages wait for the writer. What has been received should be in the CPU's cache still when it is written.
_DEPTH = 4
#: Files larger than this (bytes) get their room at once. In memory that means zeros, which smaller ones do without.
_LARGE = 16 * 1024 * 1024


class WriteBehind:
    """The writer of any number of files; its thread starts with the first stage."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._jobs: deque[tuple[BehindSink, memoryview, int]] = deque()
        self._thread: threading.Thread | None = None
        self._closed = usable_cpus() < 2  # a single CPU would only be handed around

    def sink(self, fd: int, path: str = "") -> BehindSink:
        """A sink for one file, to be used as a context; ``path`` is for messages."""
        return BehindSink(self, self._changed, fd, path)

    def close(self) -> None:
        """Let the thread go. Sinks write by themselves from now on."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def offer(self, sink: BehindSink, data: memoryview, position: int) -> bool:
        """Have ``data`` written, unless others wait already; whether it will be."""
        with self._changed:
            if self._closed or len(self._jobs) >= _DEPTH:
                return False
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="s3dlio-writer", daemon=True)
                try:
                    self._thread.start()
                except RuntimeError:  # no more threads, or the interpreter is shutting down
                    self._closed = True
                    return False
            self._jobs.append((sink, data, position))
            sink.begun()
            self._changed.notify_all()
            return True

    def withdraw(self, sink: BehindSink) -> int:
        """Forget what of ``sink`` has not begun to be written (under the lock); how many stages that are."""
        before = len(self._jobs)
        self._jobs = deque(job for job in self._jobs if job[0] is not sink)
        return before - len(self._jobs)

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._jobs:
                    if self._closed:
                        return
                    self._changed.wait()
                sink, data, position = self._jobs.popleft()
            error: BaseException | None = None
            try:
                pwrite_full(sink.own, data, position)
            except OSError as raised:
                error = local_error(raised, sink.path)
            except BaseException as raised:
                error = raised
            del data  # the memory goes back to its pool now, not with the next job
            with self._changed:
                sink.ended(error)
                self._changed.notify_all()


class BehindSink(FileSink):
    """A file that a :class:`WriteBehind` helps to write. After ``end`` some of it may still be on its way: all is
    written when its context has ended well. An event loop, which must not wait, goes on till nothing is ``pending``.

    Args:
        behind: the writer.
        changed: its lock.
        fd: the file, open for writing; the caller owns the descriptor.
        path: its path, for messages.
    """

    __slots__ = ("_behind", "_changed", "_error", "_left", "_pending", "_stages", "own")

    def __init__(self, behind: WriteBehind, changed: threading.Condition, fd: int, path: str) -> None:
        super().__init__(fd, path=path)
        self._behind = behind
        self._changed = changed
        #: A descriptor of the writer's own: the file may be given up, and its descriptor be closed and used for
        #: another, while a stage is on its way.
        self.own = -1
        self._stages: set[int] = set()  # memory that was given out: nobody else writes into it again
        self._pending = 0
        self._error: BaseException | None = None
        self._left = False

    def begin(self, size: int | None) -> None:
        """As of every sink. A large file gets its room at once, so that a full disk shows before the bytes come.
        (4 GiB in 8 files in memory took 3.9 to 8.2 s with it and 3.4 to 5.3 without, in seven runs of each; in the four
        that took turns, 3.9 to 5.9 and 3.4 to 4.7.)

        Raises:
            StorageFullError: there is not that much room.
        """
        self.check()  # a read that starts over
        super().begin(size)
        if size is not None and size > _LARGE:
            try:
                allocate(self.fd, size)
            except OSError as error:  # the driver would take it for one of the connection
                raise local_error(error, self.path) from error

    def stage(self, length: int) -> memoryview:
        memory = super().stage(length)
        self._stages.add(id(memory.obj))
        return memory

    def write(self, data: memoryview, position: int) -> None:
        if self._error is not None:
            raise self._error
        memory = id(data.obj)
        if memory in self._stages:
            self._stages.remove(memory)
            if self.own < 0:
                with self._changed:  # ranges of one file may come on several threads
                    self.own = os.dup(self.fd) if self.own < 0 else self.own
            if self._behind.offer(self, data, position):
                return
        super().write(data, position)

    def settle(self) -> None:
        """Wait until the writer has nothing of this file."""
        if not self._pending:
            return
        with self._changed:
            while self._pending:
                self._changed.wait()

    @property
    def pending(self) -> bool:
        """The writer has something of this file."""
        return self._pending > 0

    def check(self) -> None:
        """See that all that was taken is in the file; waits for it.

        Raises:
            StorageFullError, LocalIOError, ...: it could not be written.
        """
        self.settle()
        if self._error is not None:
            raise self._error

    def __enter__(self) -> BehindSink:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self.own < 0:  # a small file, of which the writer has seen nothing
            return
        try:
            if error is None:
                self.check()
        finally:
            with self._changed:
                self._pending -= self._behind.withdraw(self)
                self._left = True
                self._release()

    # -- called by the writer, under its lock

    def begun(self) -> None:
        """The writer has taken another stage."""
        self._pending += 1

    def ended(self, error: BaseException | None) -> None:
        """A stage is written, or could not be."""
        self._error = self._error or error
        self._pending -= 1  # last: it is looked at without the lock
        self._release()

    def _release(self) -> None:
        if self._left and not self._pending and self.own >= 0:
            own, self.own = self.own, -1
            os.close(own)
