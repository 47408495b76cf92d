"""The driver for many calls: one thread that keeps a window of requests in flight over as many connections.

Requests in flight are connections, not threads: 32 threads that each block on a socket hand the GIL around at every
call and reach 10,000 GETs a second where one thread with 32 connections under epoll reaches 46,000.

A lane lets operations run until they ask for requests, has the wire carry these, asks the retry policy about what
went wrong, and gives each operation its answers.
"""

from __future__ import annotations

import heapq
import itertools
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

from s3dlio.errors import S3dlioError, TransferCancelledError
from s3dlio.net.adaptive import Pace
from s3dlio.net.attempts import delay_after, found_stale, retry_after_drop
from s3dlio.net.connection import Connection
from s3dlio.net.ending import GRACE_SECONDS, Deadline, Ending
from s3dlio.net.exchange import Exchange
from s3dlio.net.faults import ConnectionDropped, overdue
from s3dlio.net.message import Pause, Request, Response
from s3dlio.net.retry import THROTTLED
from s3dlio.net.wire import Flight, Wire

Done = Callable[[int, Any, "BaseException | None"], None]

_END: tuple[int, Any] = (-1, None)

#: How often deadlines are looked at and a cancellation is noticed, in seconds. All deadlines of a lane are alike and
#: long, so a sweep over the flights costs less than a heap entry for every request.
_SWEEP_SECONDS = 0.1


class Cancel(Protocol):
    """What a lane needs of a cancel token."""

    @property
    def cancelled(self) -> bool: ...


class Operation(Protocol):
    """What a lane runs: a call of a cloud store."""

    def steps(self) -> Any: ...


class _Task:
    """One operation on its way: its generator, and the set of requests it waits for."""

    __slots__ = ("answers", "cleaning", "failed", "index", "many", "outstanding", "queue", "started", "steps")

    def __init__(self, index: int, steps: Any, started: float = 0.0) -> None:
        self.index = index
        self.steps = steps
        self.started = started  # from when on the time for the whole operation counts: its first request
        self.cleaning = False  # something has failed: for what follows there is as much time again
        self.many = False
        self.answers: list[Response | None] = []
        self.queue: Iterator[Request] | None = None
        self.outstanding = 0
        self.failed: BaseException | None = None


class _Nap:
    """A pause that an operation asked for, among the requests that wait for their next attempt."""

    __slots__ = ("task",)

    def __init__(self, task: _Task) -> None:
        self.task = task


class Lane:
    """Runs operations, ``window`` requests at a time, on the calling thread.

    Args:
        window: requests in flight (connections), at most.
        cancel: looked at ten times a second; when it is set, operations get a TransferCancelledError and may clean up.
        pace: bounds the operations on their way, those that wait for another attempt included.
        started: the moment (``time.monotonic``) at which the operation began of which this is a part.
    """

    def __init__(
        self, *, window: int, cancel: Cancel | None = None, pace: Pace | None = None, started: float = 0.0
    ) -> None:
        #: May be changed while the lane runs, also by another thread.
        self.window = max(1, window)
        self._started = started
        self._cancel = cancel
        self._pace = pace
        self._wire = Wire(self._ended, self._expanded)
        self._waiting: deque[Flight] = deque()  # requests that only lack room in the window
        self._sources: deque[_Task] = deque()  # tasks with more requests to start
        self._pauses: list[tuple[float, int, Flight | _Nap]] = []  # a heap: retries and naps by when they are due
        self._order = itertools.count()
        self._tasks: set[_Task] = set()
        self._calls: Iterator[tuple[int, Operation] | None] | None = None
        self._done: Done = _unused

    # -- the public face

    @property
    def busy(self) -> bool:
        """Operations are on their way: whoever is asked for more must not wait."""
        return bool(self._tasks)

    def run(self, calls: Iterable[tuple[int, Operation] | None], done: Done) -> None:
        """Run every call of ``calls``, which is read lazily; ``done(index, result, error)`` is told of each.

        A None among them says: none now. The next one is asked for when a request has ended, so there must be one, and
        ten times a second.

        Raises:
            whatever ``done`` or the iterator raises, after everything in flight was given up.
        """
        self._calls = iter(calls)
        self._done = done
        try:
            self._loop()
        except BaseException:
            self._clean_up()
            raise
        finally:
            self._close()

    def gather(self, requests: Iterable[Request]) -> list[Response]:
        """Run a set of requests; the answers in their order. The first failure stops the rest and is raised."""
        answers: list[Response] = []
        self._run_one(lambda: self._begin(0, _yield_once(requests, answers)))
        return answers

    def finish(self, exchange: Exchange, connection: Connection) -> Response:
        """Take over a half-done exchange, run the requests that its head asked for beside it; its answer."""
        answers: list[Response] = []

        def begin() -> None:
            task = _Task(0, _yield_once(exchange.request, answers))
            next(task.steps)
            task.answers = [None]
            task.outstanding = 1
            self._tasks.add(task)
            flight = Flight(task, 0, exchange.request)
            flight.started = time.monotonic()
            self._wire.adopt(flight, exchange, connection)

        self._run_one(begin)
        return answers[0]

    def _run_one(self, begin: Callable[[], None]) -> None:
        failures: list[BaseException] = []

        def done(index: int, result: Any, error: BaseException | None) -> None:
            if error is not None:
                failures.append(error)

        self._done = done
        try:
            begin()
            self._loop()
        finally:
            self._close()
        if failures:
            raise failures[0]

    # -- the loop

    def _loop(self) -> None:
        sweep_at = time.monotonic() + _SWEEP_SECONDS
        grace_ends: float | None = None
        self._fill()
        while self._tasks:
            for _ in self._wire.poll(self._timeout()):
                self._fill()
            now = time.monotonic()
            if self._pauses and self._pauses[0][0] <= now:
                while self._pauses and self._pauses[0][0] <= now:
                    self._wake(heapq.heappop(self._pauses)[2])
                self._fill()
            if now < sweep_at:
                continue
            sweep_at = now + _SWEEP_SECONDS
            self._wire.sweep(now)
            self._fill()  # it may have ended all that was in flight
            if grace_ends is not None and now > grace_ends:
                self._abandon()
            elif grace_ends is None and self._cancel is not None and self._cancel.cancelled:
                grace_ends = now + GRACE_SECONDS
                self._cancel_all()

    def _timeout(self) -> float:
        if self._waiting and len(self._wire) < self.window:
            return 0.0
        if not self._pauses:
            return _SWEEP_SECONDS
        return min(_SWEEP_SECONDS, max(0.0, self._pauses[0][0] - time.monotonic()))

    def _fill(self) -> None:
        """Start requests while the window has room: waiting ones, then the rest of sets, then new operations."""
        wire, window, waiting = self._wire, self.window, self._waiting
        while len(wire) < window:
            if waiting:
                flight = waiting.popleft()
                if not flight.started:
                    task = flight.task
                    flight.started = task.started = task.started or time.monotonic()
                    if (limit := flight.request.service.policy.total_timeout) is not None:
                        flight.ends = flight.started + limit
                        if time.monotonic() >= flight.ends:
                            self._arrived(flight, overdue(limit))
                            continue
                wire.launch(flight)
            elif self._sources:
                self._pull(self._sources[0])
            elif self._calls is not None and (self._pace is None or len(self._tasks) < self._pace.limit):
                item = next(self._calls, _END)
                if item is _END:
                    self._calls = None
                elif item is None:
                    return
                else:
                    self._begin(item[0], item[1].steps())
            else:
                return

    def _begin(self, index: int, steps: Any) -> None:
        task = _Task(index, steps, self._started)
        self._tasks.add(task)
        self._advance(task, None, None)

    def _advance(self, task: _Task, answer: Any, error: BaseException | None) -> None:
        """Let an operation go on with an answer (or an error) until it asks for requests again or ends."""
        task.failed = None
        task.queue = None
        if error is not None and not task.cleaning:
            task.cleaning, task.started = True, 0.0
        try:
            wanted = task.steps.send(answer) if error is None else task.steps.throw(error)
        except StopIteration as stop:
            self._tasks.discard(task)
            if self._pace is not None:
                self._pace.ended_well()
            self._done(task.index, stop.value, None)
        except BaseException as raised:
            self._tasks.discard(task)
            self._done(task.index, None, raised)
            if not isinstance(raised, Exception):
                raise
        else:
            if type(wanted) is Request:
                task.many = False
                task.answers = [None]
                task.outstanding = 1
                self._waiting.append(Flight(task, 0, wanted))
            elif type(wanted) is Pause:
                task.many = False
                task.answers = [None]
                task.outstanding = 1
                heapq.heappush(self._pauses, (time.monotonic() + wanted.seconds, next(self._order), _Nap(task)))
            else:
                task.many = True
                task.answers = []
                task.queue = iter(wanted)
                self._sources.append(task)

    def _pull(self, task: _Task) -> None:
        """Start the next request of a task's set, if there is one."""
        assert task.queue is not None
        try:
            request = next(task.queue, None)
        except Exception as error:  # the requests could not be made: a source that failed
            self._fail_task(task, error)
            self._settle(task)
            return
        if request is None:
            self._sources.popleft()
            task.queue = None
            self._settle(task)
            return
        task.outstanding += 1
        task.answers.append(None)
        self._waiting.append(Flight(task, len(task.answers) - 1, request))

    def _settle(self, task: _Task) -> None:
        """When nothing of a task's set is on its way any more, let it go on."""
        if task.outstanding or task.queue is not None or task not in self._tasks:
            return
        if task.failed is not None:
            self._advance(task, None, task.failed)
        else:
            self._advance(task, task.answers if task.many else task.answers[0], None)

    # -- what the wire reports

    def _expanded(self, flight: Flight) -> None:
        """The head asked for more requests: they run beside this one and belong to the same task."""
        exchange, task = flight.exchange, flight.task
        assert exchange is not None
        task.outstanding += len(exchange.more)
        self._waiting.extend(Flight(task, -1, request) for request in exchange.more)
        exchange.more = ()

    def _ended(self, flight: Flight, error: Exception | None) -> None:
        """A flight has ended, with a complete answer or with a fault: again, or on with its task."""
        exchange, flight.exchange = flight.exchange, None
        if error is not None:
            self._failed(flight, error)
            return
        assert exchange is not None
        request, response = flight.request, exchange.response
        assert response is not None
        response.attempts = flight.attempt + flight.fresh
        if response.status >= 400 or request.wary:
            delay = delay_after(request, response, flight.attempt, flight.started)
            if self._pace is not None and response.status in THROTTLED:
                self._pace.throttled()
            if delay is not None:
                self._pause(flight, delay)
                return
        elif flight.attempt == 1:
            request.service.policy.budget.earn()
        try:
            if request.again is not None and (instead := request.again(request, response)) is not None:
                flight.request = instead
                self._waiting.append(flight)
                return
            if request.check is not None:
                request.check(response)
        except Exception as refused:
            self._arrived(flight, refused)
            return
        if flight.slot >= 0:
            flight.task.answers[flight.slot] = response
        self._arrived(flight, None)

    def _failed(self, flight: Flight, error: Exception) -> None:
        request = flight.request
        if not isinstance(error, ConnectionDropped):
            self._arrived(flight, error)
            return
        if error.elsewhere:
            self._waiting.appendleft(flight)  # at another address, at once
            return
        if flight.reused and not flight.fresh and found_stale(request, error):
            flight.fresh = True
            self._waiting.appendleft(flight)
            return
        sent = flight.attempt + flight.fresh
        try:
            flight.request, delay = retry_after_drop(request, error, flight.attempt, flight.started, sent)
        except S3dlioError as final:
            self._arrived(flight, final)
        else:
            self._pause(flight, delay)

    def _pause(self, flight: Flight, delay: float) -> None:
        flight.attempt += 1
        heapq.heappush(self._pauses, (time.monotonic() + delay, next(self._order), flight))

    def _wake(self, due: Flight | _Nap) -> None:
        """A pause is over."""
        if isinstance(due, Flight):
            self._waiting.append(due)
        else:
            due.task.outstanding -= 1
            self._settle(due.task)

    def _arrived(self, flight: Flight, error: BaseException | None) -> None:
        task = flight.task
        task.outstanding -= 1
        if error is not None and task.failed is None:
            self._fail_task(task, error)
        if not task.outstanding:
            self._settle(task)

    def _fail_task(self, task: _Task, error: BaseException) -> None:
        """One request of a task has failed for good: the others of its set are given up."""
        task.failed = error
        task.queue = None
        if task in self._sources:
            self._sources.remove(task)
        task.outstanding -= self._wire.drop(task)
        before = len(self._pauses) + len(self._waiting)
        self._pauses = [entry for entry in self._pauses if entry[2].task is not task]
        heapq.heapify(self._pauses)
        for flight in [flight for flight in self._waiting if flight.task is task]:
            self._waiting.remove(flight)
        task.outstanding -= before - len(self._pauses) - len(self._waiting)

    # -- the end

    def _cancel_all(self) -> None:
        """Start nothing more; every operation gets the chance to clean up."""
        self._calls = None
        for task in list(self._tasks):
            self._fail_task(task, TransferCancelledError("given up because its batch was cancelled"))
            self._settle(task)

    def _clean_up(self) -> None:
        """After an interrupt (or a failure of whoever is told of results): operations may clean up on a lane of their
        own, since this one may have been struck anywhere. Nobody is told of them any more."""
        self._wire.close()
        endings = [Ending(task.steps) for task in self._tasks]
        self._tasks.clear()
        Lane(window=self.window, cancel=Deadline()).run(enumerate(endings), lambda index, result, error: None)

    def _abandon(self) -> None:
        """Operations that were still cleaning up when the time for it ran out."""
        for task in list(self._tasks):
            task.steps.close()
            self._done(task.index, None, TransferCancelledError("given up while cleaning up after a cancellation"))
        self._tasks.clear()

    def _close(self) -> None:
        self._wire.close()
        for task in self._tasks:
            task.steps.close()
        self._tasks.clear()


def _yield_once(wanted: Any, answers: list[Response]) -> Any:
    """An operation that asks for ``wanted`` and keeps the answers."""
    answer = yield wanted
    if isinstance(answer, Response):
        answers.append(answer)
    else:
        answers.extend(answer)


def _unused(index: int, result: Any, error: BaseException | None) -> None:
    raise AssertionError("a lane reports before it has run")
