"""The threads of batches: work that is shared among them, and cancelled promptly.

**The caller's own thread is the first worker.** A batch calls ``share(work, helpers)``: ``work`` runs on the calling
thread and, when threads are free, on up to ``helpers`` more, each of them pulling from what the batch shares. So a
batch on one thread hands nothing over (the quickest way for small objects), a batch that is started by a worker of
another batch cannot deadlock when all threads are taken (it does the work itself), and Ctrl-C reaches the thread that
waits.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextvars import copy_context
from functools import partial
from typing import Any, TypeVar

from s3dlio.engine.cancel import CancelToken
from s3dlio.errors import ConfigError
from s3dlio.forking import ForkLock, call_in_child, renewed_in_child
from s3dlio.reentrancy import submit

T = TypeVar("T")

#: How long an interrupted batch waits for its other threads to leave (seconds); each leaves after the call it is in.
LEAVE_SECONDS = 5.0


class BaseExecutor(ABC):
    """Where the work of batches runs."""

    #: How many helpers can run at the same time.
    threads: int

    @property
    @abstractmethod
    def free(self) -> int:
        """How many helpers would run at once now, about; others would wait for those that run."""

    @abstractmethod
    def share(self, work: Callable[[], None], helpers: int, cancel: CancelToken) -> None:
        """Run ``work`` on the calling thread and on up to ``helpers`` more; return when all of them have.

        ``work`` must be such that any number of copies does all of it: each takes the next piece until none is left.
        The first exception cancels the token, and is raised when the others have left. After an interrupt
        (KeyboardInterrupt and its like) the others get ``LEAVE_SECONDS``.
        """

    @abstractmethod
    def submit(self, work: Callable[[], T]) -> Future[T]:
        """Run ``work`` on one of the threads; on the caller's own when that is one of them already."""

    @abstractmethod
    def shutdown(self) -> None:
        """Wait for running work and let the threads go; the executor starts new ones when it is used again."""


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

    def _submit(self, pool: ThreadPoolExecutor, work: Callable[[], T]) -> Future[T] | None:
        if (future := submit(pool, partial(copy_context().run, work))) is None:
            return None
        with self._lock:
            self._taken += 1
        future.add_done_callback(self._given_back)
        return future

    def _given_back(self, future: Future[Any]) -> None:
        with self._lock:
            self._taken -= 1

    def _threads(self) -> ThreadPoolExecutor:
        with self._lock:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(self.threads, "s3dlio")
            return self._pool

    def share(self, work: Callable[[], None], helpers: int, cancel: CancelToken) -> None:
        others: list[Future[None]] = []

        def helper() -> None:
            try:
                _inside.executor = self
                work()
            except BaseException as error:
                cancel.cancel(f"another worker failed: {type(error).__name__}")
                raise
            finally:
                _inside.executor = None

        patience: float | None = None
        try:
            if helpers > 0 and not cancel.cancelled:
                self._start(helper, min(helpers, self.threads), others)
            work()
        except BaseException as error:
            cancel.cancel(f"interrupted: {type(error).__name__}")
            patience = None if isinstance(error, Exception) else LEAVE_SECONDS
            raise
        finally:
            self._leave(others, cancel, patience)
        for other in others:
            if not other.cancelled():
                other.result()

    def _start(self, helper: Callable[[], None], count: int, started: list[Future[None]]) -> None:
        """Start helpers; ``started`` has every one of them at any time, so that an interrupt in here leaves none."""
        pool = self._threads()
        for _ in range(count):
            try:
                other = self._submit(pool, helper)
            except RuntimeError:
                return  # the interpreter is shutting down and takes no new threads: those that are there do the work
            if other is None:
                return
            started.append(other)

    def _leave(self, others: list[Future[None]], cancel: CancelToken, patience: float | None) -> None:
        """Wait for the helpers. One that has not started has nothing left to do."""
        running = [other for other in others if not other.cancel()]
        if not running:
            return
        try:
            wait(running, patience)
        except BaseException:
            cancel.cancel("interrupted")
            wait(running, LEAVE_SECONDS)
            raise

    def submit(self, work: Callable[[], T]) -> Future[T]:
        if getattr(_inside, "executor", None) is self:
            return _finished(work)

        def inside() -> T:
            _inside.executor = self
            try:
                return work()
            finally:
                _inside.executor = None

        future = self._submit(self._threads(), inside)
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

    def share(self, work: Callable[[], None], helpers: int, cancel: CancelToken) -> None:
        try:
            work()
        except BaseException as error:
            cancel.cancel(f"interrupted: {type(error).__name__}")
            raise

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
