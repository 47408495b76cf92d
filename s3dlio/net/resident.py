"""A lane that stays: it runs operations of anybody, on a thread of its own or within an event loop, until it is closed.

Operations are submitted from any thread. While nothing is in flight the lane sleeps without a time-out, but for the two
moments at which its idle connections go to their pools, and those of the pools are closed.
"""

from __future__ import annotations

import contextlib
import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from s3dlio.errors import TransferCancelledError
from s3dlio.foreign_errors import from_os_error
from s3dlio.memory.caller_buffer import let_go
from s3dlio.net import system
from s3dlio.net.adaptive import AdaptiveLimit
from s3dlio.net.cancellation import GRACE_SECONDS
from s3dlio.net.lane import Lane
from s3dlio.net.pending import PendingRequest
from s3dlio.net.pool import close_overdue
from s3dlio.net.reading import Aside
from s3dlio.net.task import Operation, Task

if TYPE_CHECKING:
    pass

log = logging.getLogger("s3dlio.lanes")

#: A lane keeps its connections for so many seconds after the last request; then all drivers may use them.
_LINGER_SECONDS = 1.0
#: Added to the time after which idle connections are closed, so that none is found a moment too young.
_MARGIN_SECONDS = 0.1


class Submission:
    """An operation on its way through a resident lane. Subclasses say who hears of its end.

    Args:
        operation: what to run.
        width: requests of one set of it that are in flight, at most.
        started: the moment at which the surrounding operation began; 0: when its first request is sent.
        limit: as of Task.
    """

    __slots__ = ("cancelled", "ended", "lane", "limit", "operation", "over", "started", "task", "width")

    def __init__(
        self, operation: Operation, width: int, started: float = 0.0, limit: AdaptiveLimit | None = None
    ) -> None:
        self.limit = limit
        self.operation: Operation | None = operation
        self.width = width
        self.started = started
        #: Where it runs.
        self.lane: ResidentLane | None = None
        self.task: Task | None = None
        self.cancelled = False
        #: It has ended; and this was told: nothing on the lane refers to its buffers any more.
        self.ended = False
        self.over = False

    def steps(self) -> Any:
        """The operation, begun on the lane's thread."""
        assert self.operation is not None
        return self.operation.steps()

    def end(self, result: Any, error: BaseException | None) -> None:
        """It has ended. On the lane's thread: it must return soon, and raise nothing."""

    def take(self, pending: PendingRequest) -> bool:
        """The body of its only request turns out to be large, and others would wait for it. Whether it goes on
        elsewhere (``ResidentLane.let_go``)."""
        return False

    def give_up(self) -> bool:
        """Have its request in flight given up; it ends when that is done. From any thread; False: it has ended."""
        self.cancelled = True
        lane = self.lane
        return not self.over and lane is not None and lane.post(lambda: lane.cancel(self))


class ResidentLane(Lane):
    """Runs operations from any thread, ``window`` requests at a time; the others wait in order.

    Args:
        window: requests in flight (connections), at most.
        aside, reads: as of Lane.
    """

    def __init__(self, *, window: int, aside: Aside | None = None, reads: Aside | None = None) -> None:
        super().__init__(window=window, aside=aside, reads=reads)
        self._multiplexer.on_large = self._on_large
        self._waiting: deque[Submission] = deque()
        self._calls = self._submitted()
        self._ending: dict[Task, float] = {}  # operations that clean up, and until when they may
        self._told: deque[tuple[Submission, Any, BaseException | None]] = deque()  # what has ended in this turn
        self._after: dict[Callable[[], None], None] = {}
        self._closing = self._has_failed = False
        self._idle_until: float | None = None  # when it has something to do about its idle connections
        self._keeps = True
        try:
            self._inbox = self._multiplexer.open_inbox()
        except OSError as error:
            raise from_os_error(error) from error
        #: Have a function run on the lane's thread, soon; False where the lane has ended. From any thread.
        self.post = self._inbox.post
        #: Seconds that its thread has computed; and that it has waited for its sockets, from when it first carried
        #: something. From any thread.
        self.computed: Callable[[], float] = float
        self.waited = self._multiplexer.waited

    def submit(self, submission: Submission) -> bool:
        """Run an operation; False where the lane has ended. From any thread."""
        submission.lane = self
        return self.post(partial(self._waiting.append, submission))

    def begin(self, submissions: Iterable[Submission]) -> None:
        """Run operations, on the thread of the lane."""
        for submission in submissions:
            submission.lane = self
            self._waiting.append(submission)
        if not self._has_failed:
            self._fill()

    def close(self) -> None:
        """End when nothing is in flight any more. From any thread, and from a finaliser."""
        self._closing = True
        self.post(_nothing)

    # -- on the thread of the lane

    def _submitted(self) -> Iterator[tuple[Any, Submission] | None]:
        waiting = self._waiting
        while True:
            if not waiting:
                yield None
            elif not (submission := waiting.popleft()).ended:
                yield submission, submission
                del submission

    def _begin(self, index: Any, steps: Any) -> None:
        submission: Submission = index
        if submission.cancelled:
            self._tell(submission, None, TransferCancelledError("cancelled before it began"))
            return
        task = submission.task = Task(index, steps, self._tell, submission.started, submission.limit)
        task.width = submission.width
        self._tasks.add(task)
        self._advance(task, None, None)

    def cancel(self, submission: Submission, reason: str = "the call was cancelled") -> None:
        """Give up what an operation has in flight. It ends at once, or when it has cleaned up."""
        task = submission.task
        if submission.ended or submission.lane is not self:
            return
        submission.cancelled = True
        if task is None:
            self._tell(submission, None, TransferCancelledError("cancelled before it began"))
        elif task not in self._ending:
            self._ending[task] = system.monotonic() + GRACE_SECONDS
            self._give_up(task, reason)
            self._fill()

    def _on_large(self, pending: PendingRequest) -> bool:
        task = pending.task
        alone = task.outstanding == 1 and not task.many and task not in self._ending and pending.back is None
        return alone and task.index.take(pending)

    def carry(self, pending: PendingRequest) -> None:
        """Carry a body of another lane to its end (``net.sharing``)."""
        self._multiplexer.timed = True
        self._multiplexer.carry(pending)

    def release(self, pending: PendingRequest) -> None:
        """Give it up, and back, unless it has ended."""
        self._multiplexer.release(pending)

    def _is_done(self) -> bool:
        return not (self._tasks or self._waiting or self._multiplexer.in_flight)

    def let_go(self, pending: PendingRequest) -> None:
        """Forget a request in flight and its task: both go on elsewhere."""
        self._multiplexer.let_go(pending)
        self._tasks.discard(pending.task)

    def adopt(self, pending: PendingRequest) -> None:
        """Go on with a request and its task that another lane has let go."""
        task = pending.task
        submission: Submission = task.index
        submission.lane = self
        task.done = self._tell
        self._tasks.add(task)
        exchange, connection = pending.exchange, pending.connection
        assert exchange is not None
        assert connection is not None
        self._multiplexer.take_over(pending, exchange, connection)
        if submission.cancelled:
            self.cancel(submission)
        self._fill()

    def turn(self, timeout: float | None) -> None:
        super().turn(timeout)
        if self._told:
            self._deliver()

    def _tell(self, submission: Any, result: Any, error: BaseException | None) -> None:
        """The task of a submission has ended."""
        if not submission.ended:
            submission.ended, submission.task = True, None
            self._told.append((submission, result, error))

    def _deliver(self) -> None:
        """Tell who waits, now that no frame of this thread refers to what has ended."""
        told = self._told
        while told:
            submission, result, error = told.popleft()
            if submission.cancelled and error is not None:
                let_go(error)  # nobody will: the caller gets another one
            submission.operation = None
            submission.over = True
            submission.end(result, error)
            del submission, result, error
        if self._after:
            after, self._after = self._after, {}
            for function in after:
                function()

    def after_turn(self, function: Callable[[], None]) -> None:
        """Have a function called, once, when the end of all that has ended in this turn was told. On the lane's
        thread."""
        self._after[function] = None

    def serve(self) -> None:
        """Run until it is closed."""
        try:
            self.computed = system.thread_clock()
            while not (self._closing and self._is_done() and self._inbox.close()):
                self.turn(self.pause())
        except BaseException as error:  # of this code, or raised in this thread by another one
            log.exception("an event loop of requests ends, with all that it had in flight")
            self.fail(error)
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
            self._idle_until = now + self._multiplexer.give_back() + _MARGIN_SECONDS
        return self._idle_until - now

    def _check(self, now: float) -> None:
        super()._check(now)
        if self._ending:
            self._ending = {task: ends for task, ends in self._ending.items() if task in self._tasks}
            for task in [task for task, ends in self._ending.items() if now > ends]:
                self._multiplexer.drop(task)
                self._queue.remove(task)
                self._abandon([task])

    def fail(self, error: BaseException) -> None:
        """Tell everybody that this lane has ended."""
        self._has_failed = True
        while not self._inbox.close():  # what others have handed over meanwhile ends with the rest
            try:
                self._inbox.run()
            except Exception:
                log.exception("what was handed to a lane that has failed could not be given back")
        self._multiplexer.close()
        failed = TransferCancelledError("given up because its event loop has failed")
        failed.__cause__ = error
        for task in list(self._tasks):
            with contextlib.suppress(Exception):  # one that cannot end keeps no other from it
                task.steps.close()
            task.done(task.index, None, failed)
        self._tasks.clear()
        while self._waiting or self._told:  # who is told may begin something
            while self._waiting:
                self._tell(self._waiting.popleft(), None, failed)
            self._deliver()
        self._deliver()  # what was to be told after a turn that failed


def _nothing() -> None:
    """Only to be woken."""
