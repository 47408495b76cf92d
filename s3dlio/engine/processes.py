"""The worker processes of a client: started when they are first needed, kept for the next batch, ended with the client.

A worker is a fresh interpreter that runs :mod:`s3dlio.engine.process_worker`. It is no copy of this process (a fork of
a process with threads may hang) and does not import the user's program, so scripts need no ``if __name__ ==
"__main__"``. It lives on one end of a pair of sockets: when the other end closes, by ``close``, at the end of this
process or by its death, it ends at once. A batch has its workers to itself; batches that run at the same time, or one
within another, have others.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import signal
import sys
import weakref
from collections.abc import Iterable, Mapping
from subprocess import DEVNULL, Popen, TimeoutExpired
from typing import Any, NamedTuple

from s3dlio.engine.executor import LEAVE_SECONDS
from s3dlio.engine.process_channel import Channel
from s3dlio.errors import ConfigError
from s3dlio.foreign_errors import from_os_error
from s3dlio.forking import ForkLock, before_fork, renewed_in_child
from s3dlio.memory.pool import default_pool
from s3dlio.memory.shared import PeerMemory, SharedMemory
from s3dlio.reentrancy import expect_finalizers, finalize_elsewhere
from s3dlio.wording import at_command, option

log = logging.getLogger("s3dlio.processes")

#: Flags of the interpreter that a worker gets, too.
_FLAGS = {
    "isolated": "-I", "ignore_environment": "-E", "no_user_site": "-s", "dont_write_bytecode": "-B",
}  # fmt: skip


class Surroundings(NamedTuple):
    """What a process has around it, and a worker must have as well: what this program may change at any time."""

    environ: Mapping[str, str]
    directory: str | None
    umask: int | None
    #: Errors speak to somebody at the command.
    at_command: bool

    @classmethod
    def now(cls) -> Surroundings:
        directory = None
        with contextlib.suppress(OSError):  # it was removed
            directory = os.getcwd()
        return cls(dict(os.environ), directory, _umask(), at_command())


def _umask() -> int | None:
    """The mask of new files. (``os.umask`` tells it only by setting another, which other threads would see.)"""
    with contextlib.suppress(OSError, ValueError), open("/proc/self/status", errors="replace") as file:
        for line in file:
            if line.startswith("Umask:"):
                return int(line.split()[1], 8)
    return None


class WorkerProcess:
    """A worker, as its parent sees it.

    Args:
        number: its name in messages.
        generation: of its client's workers: those of an earlier one are not kept.
        max_idle_bytes: as of :class:`PeerMemory`.

    Raises:
        ConfigError: there is no interpreter that could be started.
        S3dlioError: the system refused a process.
    """

    def __init__(self, number: int, generation: int, max_idle_bytes: int) -> None:
        self.number = number
        self.generation = generation
        #: Memory of the worker's, into which it reads.
        self.memory = PeerMemory(max_idle_bytes)
        #: Memory of ours, from which it writes.
        self.payloads = SharedMemory(max_idle_bytes)
        #: What the worker was told of this process.
        self.surroundings: Surroundings | None = None
        self.settings: Any = None
        #: What is in the names of its unfinished files; empty before its program has begun.
        self.unfinished = ""
        self.channel, end = Channel.pair()
        try:
            with end:
                fd = end.fileno()
                begin = f"from s3dlio.engine.process_worker import main; main({fd}, {max_idle_bytes})"
                self.process = Popen(
                    interpreter(begin), stdin=DEVNULL, stdout=DEVNULL, pass_fds=(fd,), process_group=0
                )
        except OSError as error:
            self.channel.close()
            raise from_os_error(error, uri=sys.executable, operation="START") from error
        except BaseException:
            self.channel.close()
            raise

    @property
    def is_alive(self) -> bool:
        return self.process.poll() is None

    def interrupt(self) -> None:
        """Have it end its batch as Ctrl-C would."""
        if self.unfinished:  # before that it has nothing to clean up, and no handler
            with contextlib.suppress(ProcessLookupError):
                self.process.send_signal(signal.SIGINT)

    def let_go(self) -> None:
        """Close the channel: the worker ends. Takes no lock and does not wait."""
        self.memory.close()
        self.payloads.close()
        self.channel.close()

    def end(self) -> int:
        """End the worker and wait until it is gone; how it ended, as ``Popen.returncode`` says it."""
        self.let_go()
        if not self.unfinished:
            self.process.terminate()  # one that has not begun ends at once; one whose message we missed cleans up
        try:
            return self.process.wait(LEAVE_SECONDS)
        except TimeoutExpired:
            self.process.kill()
            return self.process.wait()

    def kill(self) -> int:
        """The same, at once. What one that is dead already has sent is lost."""
        self.let_go()
        self.process.kill()
        return self.process.wait()


def interpreter(statement: str) -> list[str]:
    """The command line of a fresh interpreter with the flags and the path of this one, which runs a statement.

    Raises:
        ConfigError: this program is no interpreter (it is frozen, or has Python embedded).
    """
    if not sys.executable or getattr(sys, "frozen", False):
        raise ConfigError(
            "several processes need a Python interpreter, and this program is none", hint=f"leave {option('procs')} out"
        )
    flags = [text for name, text in _FLAGS.items() if getattr(sys.flags, name)]
    if sys.flags.utf8_mode:
        flags += ["-X", "utf8"]
    path = [os.path.abspath(entry) for entry in sys.path if isinstance(entry, str)]
    return [sys.executable, *flags, "-P", "-c", f"import sys; sys.path[:] = {path!r}\n{statement}"]


def _end(workers: Iterable[WorkerProcess]) -> None:
    workers = list(workers)
    for worker in workers:
        worker.let_go()
    for worker in workers:
        worker.end()


class Processes:
    """The workers of one client. Safe to share among threads."""

    def __init__(self) -> None:
        self._idle: list[WorkerProcess] = []
        self._taken = 0
        self._most = 0  # so many were wanted at a time by one batch; more are not kept
        self._started = 0
        self._generation = 0  # workers of an earlier one are not kept
        self._owner = _owner()
        self._lock = ForkLock()
        self._all: weakref.WeakSet[WorkerProcess] = weakref.WeakSet()
        expect_finalizers()
        renewed_in_child(self)
        _every.add(self)

    def take(self, count: int) -> list[WorkerProcess]:
        """So many workers, for one batch. Each goes back by ``give_back``, or is ended.

        Raises:
            S3dlioError: the system refused a process.
        """
        with self._lock:
            if self._owner != _owner():  # after setuid and the like: theirs is another user
                _end(self._idle)
                self._idle.clear()
                self._owner = _owner()
            self._most = max(self._most, count)
            found = [self._idle.pop() for _ in range(min(count, len(self._idle)))]
            dead = [worker for worker in found if not worker.is_alive or worker.memory.kept]
        _end(dead)
        workers = [worker for worker in found if worker not in dead]
        try:
            while len(workers) < count:
                workers.append(self.start())
        except BaseException:
            self.give_back(workers)
            raise
        return workers

    def start(self) -> WorkerProcess:
        """A new worker.

        Raises:
            S3dlioError: the system refused the process.
        """
        with self._lock:
            self._started += 1
            number = self._started
        worker = WorkerProcess(number, self._generation, default_pool().max_idle_bytes // max(1, self._most))
        self._all.add(worker)
        return worker

    def give_back(self, workers: Iterable[WorkerProcess]) -> None:
        """Keep workers that have nothing to do for the next batch."""
        surplus = []
        with self._lock:
            for worker in workers:
                if worker.generation == self._generation and len(self._idle) < self._most and not worker.memory.kept:
                    self._idle.append(worker)
                else:
                    surplus.append(worker)
        _end(surplus)

    def drop(self, workers: Iterable[WorkerProcess], *, interrupt: bool) -> None:
        """End workers in the middle of a batch; they clean up, as long as they are let.

        Args:
            workers: which.
            interrupt: as Ctrl-C would.
        """
        workers = list(dict.fromkeys(workers))
        try:
            for worker in workers if interrupt else ():
                worker.interrupt()
            _end(workers)
        except BaseException:
            for worker in workers:
                worker.kill()
            raise

    def close(self) -> None:
        """End all workers: now those that are idle, the others with their batch."""
        with self._lock:
            self._generation += 1
            idle, self._idle = self._idle, []
        _end(idle)

    def before_fork(self) -> None:
        """What a child is going to see is not leased again, nor do its finalisers free it."""
        for worker in list(self._all):
            if worker.memory.lent:
                worker.memory.kept = True

    def renew(self) -> None:
        """In a forked child: the workers are the parent's."""
        for worker in list(self._all):
            worker.let_go()
            worker.process.returncode = 0  # nobody waits for it here
        self._idle.clear()
        self._all.clear()

    def __del__(self) -> None:
        if idle := self.__dict__.get("_idle"):
            for worker in idle:
                worker.let_go()
            finalize_elsewhere(lambda: _end(idle))


def _owner() -> tuple[int, ...]:
    return os.getpid(), os.geteuid(), os.getegid()


_every: weakref.WeakSet[Processes] = weakref.WeakSet()


@before_fork
def _before_fork() -> None:
    for processes in list(_every):
        processes.before_fork()


@atexit.register
def _at_exit() -> None:
    for processes in list(_every):
        processes.close()
