"""The resident lanes of a client: event loops on threads of their own, for calls whose caller does something else.

``submit`` hands a call to a lane and returns at once. Lanes are started when they are first needed, as daemon threads
that sleep while there is nothing to do. They end with ``close``, when nobody refers to them any more, and at the end of
the process; a forked child has none and starts its own.
"""

from __future__ import annotations

import contextlib
import threading
import weakref
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from contextvars import Context, copy_context
from functools import partial
from typing import Any, TypeVar

from s3dlio.engine.executor import aside, reads
from s3dlio.errors import TransferCancelledError
from s3dlio.forking import ForkLock, renewed_in_child
from s3dlio.hardware import usable_cpus
from s3dlio.net import system
from s3dlio.net.resident import ResidentLane, Submission
from s3dlio.stores.call import Call

T = TypeVar("T")

#: Requests of one call in flight, where nobody says how many.
_WIDTH = 32


class CallFuture(Future[T]):
    """The end of a submitted call. ``cancel`` has the call given up; this is done, and the call's buffer free, when
    that has happened and the call has cleaned up."""

    def __init__(self) -> None:
        super().__init__()
        self.give_up: Callable[[], bool] = bool

    def cancel(self) -> bool:
        """Have the call given up; False where it has ended. It may still succeed if it is about to."""
        return not self.done() and self.give_up()

    def cancelled_in_flight(self) -> None:
        """It has been given up."""
        super().cancel()
        self.set_running_or_notify_cancel()

    def forsake(self) -> None:
        """In a forked child: the lane is not there. A thread of the parent may have held the lock of this."""
        self._condition = threading.Condition()
        self.set_exception(TransferCancelledError("the call is one of the process that this one was forked from"))


class _Submitted(Submission):
    """A call with a future."""

    __slots__ = ("_context", "_future", "_waiting")

    def __init__(self, call: Call[T], width: int, future: CallFuture[T], waiting: set[CallFuture[Any]]) -> None:
        super().__init__(call, width, started_of(call))
        self._future = future
        self._waiting = waiting
        self._context = copy_context() if call.store.watched else None
        future.give_up = self.give_up
        waiting.add(future)

    def steps(self) -> Any:
        steps = super().steps()
        return steps if self._context is None else within(self._context, steps)

    def end(self, result: Any, error: BaseException | None) -> None:
        future = self._future
        self._waiting.discard(future)
        if error is None:
            future.set_result(result)
        elif self.cancelled and isinstance(error, TransferCancelledError):
            future.cancelled_in_flight()
        else:
            future.set_exception(error)


def within(context: Context, steps: Any) -> Any:
    """The same steps, each in ``context``: on the thread of a lane observers see that of the caller."""
    step: Callable[[], Any] = partial(next, steps)
    try:
        while True:
            wanted = context.run(step)
            try:
                answer = yield wanted
            except BaseException as error:
                step = partial(steps.throw, error)
            else:
                step = partial(steps.send, answer)
    except StopIteration as stop:
        return stop.value


def started_of(call: Call[Any]) -> float:
    """The moment from which the time for a call's whole operation counts; 0: its first request."""
    return system.monotonic() - call.spent if call.spent else 0.0


class _LaneThread(threading.Thread):
    """The thread of a resident lane."""


def on_lane() -> bool:
    """Whether this thread is that of a resident lane: what it waits for must not be left to one."""
    return isinstance(threading.current_thread(), _LaneThread)


class Lanes:
    """The resident lanes of one client. Safe to share among threads.

    Args:
        window: requests in flight (connections) on each, at most.
    """

    def __init__(self, window: int) -> None:
        self.window = window
        self._lock = ForkLock()
        self._threads: dict[ResidentLane, threading.Thread] = {}
        self._waiting: set[CallFuture[Any]] = set()
        self._finalizer = weakref.finalize(self, _close, self._threads)
        renewed_in_child(self)

    def submit(self, call: Call[T], width: int = _WIDTH) -> CallFuture[T]:
        """Run a call of a cloud store on a lane. From any thread.

        Args:
            call: what to run.
            width: requests of it in flight, at most.

        Raises:
            RuntimeError: no thread can be had for a lane.
        """
        future = CallFuture[T]()
        self.run(_Submitted(call, width, future, self._waiting))
        return future

    def run(self, submission: Submission) -> None:
        """Run what is to be told of its end. From any thread."""
        while not self.first().submit(submission):
            pass  # it has just been closed: the next one is another

    def first(self) -> ResidentLane:
        """The lane of submitted calls; started, if there is none.

        Raises:
            RuntimeError: no thread can be had for it.
        """
        with self._lock:
            for lane, thread in self._threads.items():
                if thread.is_alive():
                    return lane
            return self._start()

    def beside(self) -> ResidentLane:
        """The lane of submitted calls, or another one where that is the thread that calls.

        Raises:
            RuntimeError: no thread can be had for it.
        """
        this = threading.current_thread()
        with self._lock:
            for lane, thread in self._threads.items():
                if thread is not this and thread.is_alive():
                    return lane
            return self._start()

    def numbered(self, number: int) -> ResidentLane:
        """One of the lanes that large bodies are spread over, from 0 on.

        Raises:
            RuntimeError: no thread can be had for it.
        """
        with self._lock:
            alive = [lane for lane, thread in self._threads.items() if thread.is_alive()]
            return alive[number] if number < len(alive) else self._start()

    def other(self) -> ResidentLane | None:
        """A lane that is not the thread's that calls, for a body that others would wait for; None as of :meth:`spare`,
        but for CPUs."""
        if on_lane():
            return None
        with contextlib.suppress(RuntimeError), self._lock:
            alive = [lane for lane, thread in self._threads.items() if thread.is_alive()]
            return alive[-1] if alive else self._start()
        return None

    def spare(self, taken: int = 0) -> ResidentLane | None:
        """A lane beside the thread that calls, for bodies that keep that one busy: the last one first, so that
        submitted calls are not disturbed.

        Args:
            taken: how many such lanes it has already.

        Returns:
            None where there are no more CPUs (with a single one there is none at all), or no more threads or
            descriptors to be had; and on the thread of a lane (an observer or a sink makes a call), since two that
            helped each other would both wait.
        """
        if on_lane():
            return None
        with self._lock:
            lanes = [lane for lane, thread in self._threads.items() if thread.is_alive()]
            if taken >= usable_cpus() - 1:
                return None
            if taken < len(lanes):
                return lanes[-1 - taken]
            with contextlib.suppress(RuntimeError):  # of threads, or typed
                return self._start()
        return None

    def _start(self) -> ResidentLane:
        lane = ResidentLane(window=self.window, aside=aside, reads=reads)
        thread = _LaneThread(target=lane.serve, name="s3dlio-lane", daemon=True)
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
        keep_in_child(self._threads)
        self._threads.clear()
        waiting = list(self._waiting)
        self._waiting.clear()
        for future in waiting:
            future.forsake()


_of_the_parent: list[ResidentLane] = []


def keep_in_child(lanes: Iterable[ResidentLane]) -> None:
    """In a forked child, keep lanes of the parent, which nobody runs here: if they were collected, their operations
    would clean up, and their connections serve here."""
    _of_the_parent.extend(lanes)


def _close(threads: dict[ResidentLane, threading.Thread]) -> None:
    for lane in list(threads):
        lane.close()
