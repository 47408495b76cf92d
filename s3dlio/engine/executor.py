"""The threads of batches: work that is shared among them, and cancelled promptly.

**The caller's own thread is the first worker.** A batch calls ``share(work, helpers)``: ``work`` runs on the calling
thread and, when threads are free, on up to ``helpers`` more, each of them pulling from what the batch shares. Where it
shows later that helpers are needed, ``helpers(work)`` has none at first and grows. So a batch on one thread hands
nothing over (the quickest way for small objects), a batch that is started by a worker of another batch cannot deadlock
when all threads are taken (it does the work itself), and Ctrl-C reaches the thread that waits.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextvars import Context, copy_context
from functools import partial
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from s3dlio.engine.cancel import CancelToken
from s3dlio.errors import ConfigError
from s3dlio.forking import ForkLock, call_in_child, renewed_in_child
from s3dlio.reentrancy import submit

T = TypeVar("T")

#: How long an interrupted batch waits for its other threads to leave (seconds); each leaves after the call it is in.
LEAVE_SECONDS = 5.0


class Helpers:
    """The helpers of an executor that has no threads: none. Cancels the batch when its context ends by an error."""

    #: How many there can be.
    most = 0

    def __init__(self, cancel: CancelToken) -> None:
        self._cancel = cancel

    def grow(self, count: int) -> None:
        """Have ``count`` helpers at least, or as many as can be had. From any thread."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is not None:
            self._cancel.cancel(f"interrupted: {kind.__name__}")


class _Threads(Helpers):
    """Helpers on the threads of an executor, in the context of the thread that made this."""

    def __init__(self, executor: Executor, work: Callable[[], None], cancel: CancelToken) -> None:
        self._cancel = cancel
        self.most = executor.threads
        self._executor = executor
        self._work = work
        self._context = copy_context()
        self._lock = threading.Lock()
        self._started: list[Future[None]] = []  # every one of them at any time, so that an interrupt leaves none behind
        self._over = False

    def _help(self) -> None:
        try:
            _inside.executor = self._executor
            self._work()
        except BaseException as error:
            self._cancel.cancel(f"another worker failed: {type(error).__name__}")
            raise
        finally:
            _inside.executor = None

    def grow(self, count: int) -> None:
        with self._lock:
            while len(self._started) < min(count, self.most) and not (self._over or self._cancel.cancelled):
                started = self._executor.start(self._help, self._context)
                if started is None:
                    return
                self._started.append(started)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is not None:
            self._cancel.cancel(f"interrupted: {kind.__name__}")
        with self._lock:
            self._over = True
        if not self._started:
            return
        self._leave(None if error is None or isinstance(error, Exception) else LEAVE_SECONDS)
        errors = (other.exception() for other in self._started if not other.cancelled() and other.done())
        failed = next(filter(None, errors), None)
        self._started.clear()
        if failed is not None and error is None:
            try:
                raise failed
            finally:
                del failed, errors  # the traceback has this frame: the cycle would keep buffers leased

    def _leave(self, patience: float | None) -> None:
        """Wait for the helpers. One that has not started has nothing left to do."""
        running = [other for other in self._started if not other.cancel()]
        if not running:
            return
        try:
            wait(running, patience)
        except BaseException:
            self._cancel.cancel("interrupted")
            wait(running, LEAVE_SECONDS)
            raise


class BaseExecutor(ABC):
    """Where the work of batches runs."""

    #: How many helpers can run at the same time.
    threads: int

    @property
    @abstractmethod
    def free(self) -> int:
        """How many helpers would run at once now, about; others would wait for those that run."""

    @abstractmethod
    def helpers(self, work: Callable[[], None], cancel: CancelToken) -> Helpers:
        """Threads that run ``work`` beside the caller's, none at first; a context, which ends when all of them have.

        ``work`` must be such that any number of copies does all of it: each takes the next piece until none is left.
        The first exception cancels the token, and is raised when the others have left. After an interrupt
        (KeyboardInterrupt and its like) the others get ``LEAVE_SECONDS``.
        """

    def share(self, work: Callable[[], None], helpers: int, cancel: CancelToken) -> None:
        """Run ``work`` on the calling thread and on up to ``helpers`` more; return when all of them have."""
        with self.helpers(work, cancel) as others:
            others.grow(helpers)
            work()

    @abstractmethod
    def submit(self, work: Callable[[], T]) -> Future[T]:
        """Run ``work`` on one of the threads; on the caller's own when that is one of them already."""

    @abstractmethod
    def shutdown(self) -> None:
        """Wait for running work and let the threads go; the executor starts new ones when it is used again."""


class _Given(Generic[T]):
    """Work in the queue of a pool. What was cancelled stays in it until a thread is free, and nothing stays with it.

    Args:
        context: what it runs in.
        work: what is to be done.
    """

    __slots__ = ("_context", "_work")

    def __init__(self, context: Context, work: Callable[[], T]) -> None:
        self._context: Context | None = context
        self._work: Callable[[], T] | None = work

    def __call__(self) -> T:
        assert self._context is not None
        assert self._work is not None
        return self._context.run(self._work)

    def forget(self) -> None:
        """It is done or cancelled."""
        self._context = self._work = None


class Executor(BaseExecutor):
    """Threads of ``concurrent.futures``, started as they are needed, dropped in a forked child.

    Args:
        threads: how many at most.
    """

    def __init__(self, threads: int = 64) -> None:
        if threads < 1:
            raise ConfigError(f"an executor needs at least 1 thread, got {threads}")
        self.threads = threads
        self._lock = ForkLock()
        self._pool: ThreadPoolExecutor | None = None
        self._taken = 0
        renewed_in_child(self)

    @property
    def free(self) -> int:
        return max(0, self.threads - self._taken)

    def _submit(self, pool: ThreadPoolExecutor, work: Callable[[], T], context: Context) -> Future[T] | None:
        given = _Given(context, work)
        if (future := submit(pool, given)) is None:
            return None
        with self._lock:
            self._taken += 1
        future.add_done_callback(partial(self._given_back, given))
        return future

    def _given_back(self, given: _Given[Any], future: Future[Any]) -> None:
        given.forget()
        with self._lock:
            self._taken -= 1

    def _threads(self) -> ThreadPoolExecutor:
        with self._lock:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(self.threads, "s3dlio")
            return self._pool

    def helpers(self, work: Callable[[], None], cancel: CancelToken) -> Helpers:
        return _Threads(self, work, cancel)

    def start(self, work: Callable[[], T], context: Context) -> Future[T] | None:
        """Run ``work`` on a thread, in a copy of ``context``; None where none can be had."""
        try:
            return self._submit(self._threads(), work, context.copy())
        except RuntimeError:
            return None  # the interpreter is shutting down and takes no new threads: those that are there do the work

    def submit(self, work: Callable[[], T]) -> Future[T]:
        if getattr(_inside, "executor", None) is self:
            return _finished(work)

        def inside() -> T:
            _inside.executor = self
            try:
                return work()
            finally:
                _inside.executor = None

        future = self._submit(self._threads(), inside, copy_context())
        return _finished(work) if future is None else future

    def shutdown(self) -> None:
        with self._lock:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown()

    def renew(self) -> None:
        """In a forked child none of the threads exist."""
        self._pool = None
        self._taken = 0


class InlineExecutor(BaseExecutor):
    """Everything on the calling thread, one after another: the same flows, deterministic, for tests."""

    threads = free = 0

    def helpers(self, work: Callable[[], None], cancel: CancelToken) -> Helpers:
        return Helpers(cancel)

    def submit(self, work: Callable[[], T]) -> Future[T]:
        return _finished(work)

    def shutdown(self) -> None:
        return None


def _finished(work: Callable[[], T]) -> Future[T]:
    future: Future[T] = Future()
    try:
        future.set_result(work())
    except Exception as error:
        future.set_exception(error)
    return future


_inside = threading.local()  # .executor: whose worker this thread is


@call_in_child
def _leave_executor() -> None:
    """A child that a worker has forked is none."""
    _inside.executor = None


#: Runs what blocks, beside lanes: fetching credentials.
aside = Executor(8).submit
#: Runs what waits for disks, beside lanes: other threads, since a disk may never answer.
reads = Executor(16).submit
