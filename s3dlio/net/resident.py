"""A lane that stays: it runs operations of anybody on a thread of its own, or within an event loop, until it is closed.

Calls come through its inbox from any thread. While nothing is in flight it sleeps without a time-out, but for the two
moments at which its idle connections go to their pools, and those of the pools are closed.
"""

from __future__ import annotations

import logging

from s3dlio.errors import TransferCancelledError
from s3dlio.net import system
from s3dlio.net.cancellation import GRACE_SECONDS
from s3dlio.net.lane import Lane
from s3dlio.net.pool import close_overdue
from s3dlio.net.task import Done, Operation, Task

log = logging.getLogger("s3dlio.lanes")

#: A lane keeps its connections for so many seconds after the last request; then all drivers may use them.
_LINGER_SECONDS = 1.0


class ResidentLane(Lane):
    """Runs operations from any thread, ``window`` requests at a time.

    Args:
        window: requests in flight (connections), at most.
    """

    def __init__(self, *, window: int) -> None:
        super().__init__(window=window)
        self._ending: dict[Task, float] = {}  # operations that clean up, and until when they may
        self._closing = False
        #: Since when nothing is in flight; and when it has something to do about its idle connections.
        self._idle_until: float | None = None
        self._keeps = True
        inbox = self.open_inbox()
        #: Have a function run on the lane's thread, soon; False where the lane has ended. From any thread.
        self.post = inbox.post
        self._inbox = inbox

    def close(self) -> None:
        """End when nothing is in flight any more. From any thread, and from a finaliser."""
        self._closing = True
        self.post(_nothing)

    # -- on the thread of the lane

    def begin(self, operation: Operation, done: Done, started: float = 0.0) -> Task:
        """Run an operation; ``done(0, result, error)`` is called when it has ended, perhaps before this returns.

        Args:
            operation: what to run.
            done: must return soon, and raise nothing.
            started: the moment at which the surrounding operation began; 0: with its first request.
        """
        task = Task(0, operation.steps(), done, started)
        self._tasks.add(task)
        self._advance(task, None, None)
        return task

    def cancel(self, task: Task, reason: str) -> None:
        """Give up what an operation has in flight. It ends at once, or when it has cleaned up; ``done`` is called."""
        if task not in self._tasks or task in self._ending:
            return
        self._ending[task] = system.monotonic() + GRACE_SECONDS
        self._give_up(task, reason)
        self._fill()

    def serve(self) -> None:
        """Run until it is closed."""
        try:
            while not (self._closing and not self._tasks and self._inbox.close()):
                self.turn(self.pause())
        except BaseException as error:  # of this code, or raised in this thread by another one
            log.exception("a lane ends, with all that it had in flight")
            self._break(error)
        finally:
            self._close()

    def pause(self) -> float | None:
        """For how long it may sleep; None: until it is asked for something."""
        if self._tasks or self._multiplexer.in_flight:
            self._idle_until, self._keeps = None, True
            return self._timeout()
        now = system.monotonic()
        if self._idle_until is None:
            if not self._keeps:
                return None
            self._idle_until = now + _LINGER_SECONDS
        elif now >= self._idle_until:
            if not self._keeps:
                close_overdue(now)
                self._idle_until = None
                return None
            self._keeps = False
            self._idle_until = now + self._multiplexer.give_back()
        return self._idle_until - now

    def _check(self, now: float) -> None:
        super()._check(now)
        if self._ending:
            self._ending = {task: ends for task, ends in self._ending.items() if task in self._tasks}
            for task in [task for task, ends in self._ending.items() if now > ends]:
                self._multiplexer.drop(task)
                self._queue.remove(task)
                self._abandon([task])

    def _break(self, error: BaseException) -> None:
        """Tell everybody that this lane has ended."""
        self._multiplexer.close()
        while not self._inbox.close():
            self._inbox.works.popleft()
        for task in list(self._tasks):
            task.steps.close()
            failed = TransferCancelledError("given up because its event loop has failed")
            failed.__cause__ = error
            task.done(0, None, failed)
        self._tasks.clear()


def _nothing() -> None:
    """Only to be woken."""
