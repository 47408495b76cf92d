"""The resident lanes of a client: event loops on threads of their own, for calls whose caller does something else.

``submit`` hands a call to a lane and returns at once. Lanes are started when they are first needed, as daemon threads
that sleep while there is nothing to do. They end with ``close``, when nobody refers to them any more, and at the end of
the process; a forked child has none and starts its own.
"""

from __future__ import annotations

import contextlib
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Generic, TypeVar

from s3dlio.errors import TransferCancelledError
from s3dlio.forking import ForkLock, renewed_in_child
from s3dlio.hardware import available_cpus
from s3dlio.net import system
from s3dlio.net.resident import ResidentLane
from s3dlio.net.task import Task
from s3dlio.stores.call import Call

T = TypeVar("T")


class CallFuture(Future[T]):
    """The end of a submitted call. ``cancel`` has the call given up; this is done, and the call's buffer free, when
    that has happened and the call has cleaned up."""

    def __init__(self, submission: Submission[T]) -> None:
        super().__init__()
        self._submission = submission

    def cancel(self) -> bool:
        """Have the call given up; False where it has ended. It may still succeed if it is about to."""
        return not self.done() and self._submission.give_up()

    def end(self, result: Any, error: BaseException | None) -> None:
        """The call has ended."""
        if error is None:
            self.set_result(result)
        elif self._submission.cancelled and isinstance(error, TransferCancelledError):
            super().cancel()
            self.set_running_or_notify_cancel()
        else:
            self.set_exception(error)

    def forsake(self, error: BaseException) -> None:
        """In a forked child: the lane is not there. A thread of the parent may have held the lock of this."""
        self._condition = threading.Condition()
        self.set_exception(error)


class Submission(Generic[T]):
    """A call on its way through a lane.

    Args:
        call: of a cloud store.
        lane: where it runs.
        ended: called with its result or its error, on the thread of the lane.
    """

    def __init__(self, call: Call[T], lane: ResidentLane, ended: Callable[[Any, BaseException | None], None]) -> None:
        self.cancelled = False
        self._call = call
        self._lane = lane
        self._ended = ended
        self._task: Task | None = None
        self._over = False

    def begin(self) -> None:
        """On the lane: run it."""
        if self.cancelled:
            self._done(0, None, TransferCancelledError("cancelled before it began"))
            return
        call = self._call
        task = self._lane.begin(call, self._done, system.monotonic() - call.spent if call.spent else 0.0)
        self._task = None if self._over else task

    def give_up(self) -> bool:
        """Have it given up; False where it has ended. From any thread."""
        self.cancelled = True
        return self._lane.post(self._give_up)

    def _give_up(self) -> None:
        if self._task is not None:
            self._lane.cancel(self._task, "the call was cancelled")

    def _done(self, index: int, result: Any, error: BaseException | None) -> None:
        self._over, self._task = True, None
        ended, self._ended = self._ended, _nobody
        ended(result, error)


def _nobody(result: Any, error: BaseException | None) -> None:
    """It was told already."""


class Lanes:
    """The resident lanes of one client. Safe to share among threads.

    Args:
        window: requests in flight (connections) on each, at most.
    """

    def __init__(self, window: int) -> None:
        self._window = window
        self._lock = ForkLock()
        self._threads: dict[ResidentLane, threading.Thread] = {}
        self._waiting: set[CallFuture[Any]] = set()
        #: How many there may be beside the thread that calls.
        self.most = max(1, available_cpus() - 1)
        self._finalizer = weakref.finalize(self, _close, self._threads)
        renewed_in_child(self)

    def submit(self, call: Call[T]) -> CallFuture[T]:
        """Run a call of a cloud store on a lane. From any thread.

        Raises:
            RuntimeError: no thread can be had for a lane.
        """
        while True:
            lane = self.first()
            submission: Submission[T] = Submission(call, lane, lambda result, error: ended(result, error))
            future = CallFuture[T](submission)

            def ended(result: Any, error: BaseException | None, future: CallFuture[T] = future) -> None:
                self._waiting.discard(future)
                future.end(result, error)

            self._waiting.add(future)
            if lane.post(submission.begin):
                return future
            self._waiting.discard(future)

    def first(self) -> ResidentLane:
        """The lane of submitted calls; started, if there is none.

        Raises:
            RuntimeError: no thread can be had for it.
        """
        with self._lock:
            for lane in self._threads:
                return lane
            return self._start()

    def spare(self, taken: int = 0) -> ResidentLane | None:
        """A lane beside the thread that calls, for bodies that keep that one busy: the last one first, so that
        submitted calls are not disturbed.

        Args:
            taken: how many such lanes it has already.

        Returns:
            None where there are no more CPUs, or no more threads to be had.
        """
        with self._lock:
            lanes = list(self._threads)
            if taken >= self.most:
                return None
            if taken < len(lanes):
                return lanes[-1 - taken]
            with contextlib.suppress(RuntimeError):
                return self._start()
        return None

    def _start(self) -> ResidentLane:
        lane = ResidentLane(window=self._window)
        thread = threading.Thread(target=lane.serve, name="s3dlio-lane", daemon=True)
        thread.start()
        self._threads[lane] = thread
        return lane

    def close(self) -> None:
        """Let the lanes go when what they have in flight has ended, and wait for that. They start again when they are
        used again."""
        with self._lock:
            threads = self._threads.copy()
            self._threads.clear()
        for lane in threads:
            lane.close()
        for thread in threads.values():
            if thread is not threading.current_thread():
                thread.join()

    def renew(self) -> None:
        """In a forked child there are no lanes, and what they were to do is the parent's."""
        _of_the_parent.extend(self._threads)
        self._threads.clear()
        waiting, self._waiting = self._waiting, set()
        for future in waiting:
            future.forsake(TransferCancelledError("the call is one of the process that this one was forked from"))


#: Lanes that have no thread here. They are kept, since their operations would end if they were collected.
_of_the_parent: list[ResidentLane] = []


def _close(threads: dict[ResidentLane, threading.Thread]) -> None:
    for lane in list(threads):
        lane.close()
