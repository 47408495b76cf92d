"""Files that are written on other threads, while the first one receives what comes next.

Copying into a file takes longer than receiving does (0.35 against 0.15 s/GB in memory, more where the file system has
to find room), and both leave the interpreter lock to others. So the thread that receives hands stage after stage over.
Where the writer is behind it writes the next one itself: on one lane, 4 GiB took 3.4 s instead of 4.2, on two cores. An
event loop, which must not wait for a disk, does that only while the writer gets on; where it does not, another writer
begins, and the body waits until there is room, while others go on. Bodies without stages, small ones, are written as
they come, as long as that is quick: what a slow disk is to take, they leave to the writers, too. Where a disk has just
taken what it was given, an event loop has bodies moved within the kernel (``memory.pipe``), past all this.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from types import TracebackType

from s3dlio.foreign_errors import local_error
from s3dlio.hardware import usable_cpus
from s3dlio.memory.libc import allocate, pwrite_full
from s3dlio.memory.pipe import CAN_SPLICE, Pipe
from s3dlio.memory.sinks import FileSink
from s3dlio.memory.waiting import Then, Waiting
from s3dlio.net import system

#: How many stages wait for the writers. What has been received should be in the CPU's cache still when it is written.
_DEPTH = 4
#: So many writers, at most: more of them wait for the same disk.
_MOST = 4
#: A disk is slow if it takes so many seconds for a stage, or a small file.
_SLOW = 20e-3
#: The disk takes what it is given, if so many seconds ago a stage was written: about as long as four take in memory.
_LATELY = 2e-3
#: It takes bodies at once, if so many seconds ago it took a stage, and if none has taken long for the others.
_RECENTLY, _DISTRUST = 0.1, 1.0
#: Bodies of so many bytes, or fewer, have no stages.
_SMALL = 1 << 20
#: Files larger than this (bytes) get their room at once. In memory that means zeros, which smaller ones do without.
LARGE = 16 * 1024 * 1024


class WriteBehind:
    """The writers of any number of files; their threads start when there is something to write, one by one."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._jobs: deque[tuple[BehindSink, memoryview, int]] = deque()
        self._threads: list[threading.Thread] = []
        self._idle = 0  # threads that wait for jobs
        self._waiting: list[Then] = []  # what is called when there is room
        cpus = usable_cpus()
        self._most = min(cpus, _MOST) if cpus > 1 else 0  # a single CPU would only be handed around
        self._closed = False
        self._wrote_at = 0.0  # when a thread last had written a stage
        self._taken_at = 0.0  # when anybody last had written more than a small file
        self._distrusted_until = 0.0
        #: The last write took long. Any thread may say so, and look.
        self.slow = False

    def sink(self, fd: int, path: str = "", room: int = 0) -> BehindSink:
        """A sink for one file, to be used as a context.

        Args:
            fd: the file, open for writing; the caller owns the descriptor.
            path: of the file, for messages.
            room: for so many bytes it has room already.
        """
        return BehindSink(self, self._changed, fd, path, room)

    def close(self) -> None:
        """Let the threads go. Sinks write by themselves from now on."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def offer(self, sink: BehindSink, data: memoryview, position: int, *, gives_way: bool) -> bool:
        """Have ``data`` written; whether it will be.

        Args:
            sink, data, position: of which file, what and where.
            gives_way: it waits behind any number of others, and begins no other stage before there is room.
        """
        with self._changed:
            full = len(self._jobs) >= _DEPTH
            if self._closed or (full and not (gives_way and self._is_held_up())):
                return False
            if not self._threads or (full and not self._idle and len(self._threads) < self._most):
                self._start()
            if not self._threads:
                return False
            self._jobs.append((sink, data, position))
            sink.begun()
            self._changed.notify_all()
            return True

    def _start(self) -> None:
        if not (self._most or self.slow):
            return
        thread = threading.Thread(target=self._run, name="s3dlio-writer", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # no more threads, or the interpreter is shutting down
            self._most = len(self._threads)
        else:
            self._threads.append(thread)

    def has_room(self) -> bool:
        """An event loop may go on with a body: no writer is behind, or those that are have just written a stage, so
        that writing one itself takes it no longer."""
        return len(self._jobs) < _DEPTH or not self._is_held_up()

    def _is_held_up(self) -> bool:
        return self.slow or system.perf_counter() - self._wrote_at > _LATELY

    def wrote(self, began: float) -> float:
        """A stage was written, or spliced, from that moment on (``perf_counter``); when it ended."""
        self._taken_at = now = system.perf_counter()
        self.slow = now - began > _SLOW
        if self.slow:
            self._distrusted_until = now + _DISTRUST
        return now

    def gets_on(self) -> bool:
        """The disk takes at once what it is given, as far as one can tell."""
        now = system.perf_counter()
        return now - self._taken_at < _RECENTLY and now >= self._distrusted_until

    def await_room(self, then: Then) -> None:
        """Have ``then`` called when a stage has been written, on its writer's thread."""
        with self._changed:
            if not self.has_room():
                self._waiting.append(then)
                return
        then(None)

    def withdraw(self, sink: BehindSink) -> int:
        """Forget what of ``sink`` has not begun to be written (under the lock); how many stages that are."""
        before = len(self._jobs)
        self._jobs = deque(job for job in self._jobs if job[0] is not sink)
        return before - len(self._jobs)

    def _run(self) -> None:
        while (job := self._next()) is not None:
            sink, data, position = job
            del job
            error: BaseException | None = None
            began = system.perf_counter()
            try:
                pwrite_full(sink.own, data, position)
            except OSError as raised:
                error = local_error(raised, sink.path)
            except BaseException as raised:
                error = raised
            self._wrote_at = self.wrote(began)
            del data  # the memory goes back to its pool now, not with the next job
            with self._changed:
                sink.ended(error)
                self._changed.notify_all()
                room = len(self._waiting) if not self._jobs else max(0, _DEPTH - len(self._jobs))
                woken, self._waiting = self._waiting[:room], self._waiting[room:]
            for then in woken:
                then(None)
            del sink, error, woken

    def _next(self) -> tuple[BehindSink, memoryview, int] | None:
        with self._changed:
            while not self._jobs:
                if self._closed:
                    return None
                self._idle += 1
                try:
                    self._changed.wait()
                finally:
                    self._idle -= 1
            return self._jobs.popleft()


class BehindSink(FileSink):
    """A file that a :class:`WriteBehind` helps to write. After ``end`` some of it may still be on its way: all is
    written when its context has ended well. An event loop, which must not wait, goes on till nothing is ``pending``.

    Args:
        behind: the writer.
        changed: its lock.
        fd: the file, open for writing; the caller owns the descriptor.
        path: its path, for messages.
        room: as of :meth:`WriteBehind.sink`.
    """

    __slots__ = ("_behind", "_changed", "_error", "_gives_way", "_left", "_pending", "_room", "_stages", "own")

    def __init__(self, behind: WriteBehind, changed: threading.Condition, fd: int, path: str, room: int) -> None:
        super().__init__(fd, path=path)
        self._behind = behind
        self._changed = changed
        self._room = max(room, LARGE)
        #: A descriptor of the writer's own: the file may be given up, and its descriptor be closed and used for
        #: another, while a stage is on its way.
        self.own = -1
        self._stages: set[int] = set()  # memory that was given out: nobody else writes into it again
        self._pending = 0
        self._error: BaseException | None = None
        self._left = False
        self._gives_way = False  # an event loop fills it

    def begin(self, size: int | None) -> None:
        """As of every sink. A large file gets its room at once, so that a full disk shows before the bytes come.
        (4 GiB in 8 files in memory took 3.9 to 8.2 s with it and 3.4 to 5.3 without, in seven runs of each; in the four
        that took turns, 3.9 to 5.9 and 3.4 to 4.7.)

        Raises:
            StorageFullError: there is not that much room.
        """
        self.check()  # a read that starts over
        super().begin(size)
        if size is not None and size > self._room:
            try:
                allocate(self.fd, size)
            except OSError as error:  # the driver would take it for one of the connection
                raise local_error(error, self.path) from error

    def stage(self, length: int) -> memoryview:
        memory = super().stage(length)
        self._stages.add(id(memory.obj))
        return memory

    def stage_now(self, length: int) -> memoryview:
        self._gives_way = True
        if not self._behind.has_room():
            raise Waiting(lambda run, then: self._behind.await_room(then))
        return self.stage(length)

    def write(self, data: memoryview, position: int) -> None:
        if self._error is not None:
            raise self._error
        memory = id(data.obj)
        if memory in self._stages:
            self._stages.remove(memory)
            if self._offer(data, position, gives_way=self._gives_way):
                return
            began = system.perf_counter()
            super().write(data, position)
            self._behind.wrote(began)
        elif not self._leave(data, position):
            began = system.perf_counter()
            super().write(data, position)
            self._behind.slow = system.perf_counter() - began > _SLOW

    @property
    def splices(self) -> bool:  # type: ignore[override]
        """What a disk may keep waiting comes in stages, which the writers write."""
        behind = self._behind
        small = self.size is not None and self.size <= _SMALL and not behind.slow
        return CAN_SPLICE and (small or behind.gets_on())

    def splice(self, pipe: Pipe, count: int, position: int) -> None:
        if self._error is not None:
            raise self._error
        began = system.perf_counter()
        super().splice(pipe, count, position)
        self._behind.wrote(began)

    def whole(self, data: memoryview) -> None:
        """As of every sink; the disk must be quick."""
        if not self._leave(data, 0):
            began = system.perf_counter()
            super().whole(data)
            self._behind.slow = system.perf_counter() - began > _SLOW

    def _leave(self, data: memoryview, position: int) -> bool:
        """Leave a small file, or the beginning of a large one, to the writers, if the disk is slow: a copy, since that
        memory is used again."""
        return self._behind.slow and self._offer(memoryview(bytes(data)), position, gives_way=True)

    def _offer(self, data: memoryview, position: int, *, gives_way: bool) -> bool:
        if self.own < 0:
            with self._changed:  # ranges of one file may come on several threads
                self.own = os.dup(self.fd) if self.own < 0 else self.own
        return self._behind.offer(self, data, position, gives_way=gives_way)

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
        self.close(whole=error is None)

    def close(self, *, whole: bool = True) -> None:
        """As the end of its context, on any thread.

        Raises:
            StorageFullError, LocalIOError, ...: it was to be ``whole``, and could not be written.
        """
        if self.own < 0:  # a small file, of which the writer has seen nothing
            return
        try:
            if whole:
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
