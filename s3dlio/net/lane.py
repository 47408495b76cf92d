"""The driver for many calls: one thread that keeps a window of requests in flight over as many connections.

Requests in flight are connections, not threads: 32 threads that each block on a socket reach 10,000 GETs a second where
one thread with 32 connections under epoll reaches 46,000. A lane runs operations and resumes them with their answers.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

from s3dlio.net import system
from s3dlio.net.adaptive import AdaptiveLimit
from s3dlio.net.attempts import checked, delay_after, found_stale, retry_after_drop
from s3dlio.net.balancer import Balancer, Spare
from s3dlio.net.cancellation import GRACE_SECONDS, Cancellation, Cleanup, CleanupDeadline
from s3dlio.net.connection import Connection
from s3dlio.net.exchange import Exchange
from s3dlio.net.faults import ConnectionDropped, overdue
from s3dlio.net.message import Request, Service
from s3dlio.net.pacing import PacingMultiplexer
from s3dlio.net.pending import PendingRequest
from s3dlio.net.reading import Aside
from s3dlio.net.response import Response
from s3dlio.net.retry import CAPACITY, THROTTLED
from s3dlio.net.task import Done, Operation, Task, ask, ignore
from s3dlio.net.task_runner import TaskRunner

_END: tuple[int, Any] = (-1, None)
#: How often deadlines and cancellation are checked, in seconds: cheaper than a heap entry for every request.
_CHECK_SECONDS = 0.1


class Lane(TaskRunner):
    """Runs operations, ``window`` requests at a time, on the calling thread.

    Args:
        window: requests in flight (connections), at most.
        cancel: checked ten times a second; once cancelled, operations get a TransferCancelledError and may clean up.
        limit: bounds the running operations, those that wait for another attempt included, and the requests in flight
            in place of ``window``.
        started: the moment (``time.monotonic``) at which the surrounding operation began.
        spare: gives other lanes, for large bodies (``net.balancer``).
        aside: runs on another thread what blocks: fetching credentials. Without, this lane does it.
        reads: the same for what waits for disks.
    """

    _multiplexer: PacingMultiplexer

    def __init__(
        self, *, window: int, cancel: Cancellation | None = None, limit: AdaptiveLimit | None = None,
        started: float = 0.0, spare: Spare | None = None, aside: Aside | None = None,
        reads: Aside | None = None,
    ) -> None:  # fmt: skip
        super().__init__(limit, started)
        #: May be changed while the lane runs, also by another thread.
        self.window = max(1, window)
        self._cancel = cancel
        self._multiplexer = PacingMultiplexer(self._on_end, self._on_more)
        self._multiplexer.hold = self._hold
        self._multiplexer.wait = self._wait
        if reads is not None:
            self._multiplexer.read_aside(reads)
        self._aside = aside
        self._preparing: set[Service] = set()
        self._shortage = 0  # so much of the window has no descriptors at present
        self._calls: Iterator[tuple[int, Operation] | None] | None = None
        self._check_at = system.monotonic() + _CHECK_SECONDS
        self._balancer = Balancer(self._multiplexer, self._tasks, self._on_end, self._report, spare)
        self._grace_ends: float | None = None

    @property
    def busy(self) -> bool:
        """Operations are running: the iterator of calls must not block."""
        return bool(self._tasks)

    def run(self, calls: Iterable[tuple[int, Operation] | None], done: Done) -> None:
        """Run every call of ``calls``, which is read lazily; ``done(index, result, error)`` is called for each.

        A None among them means that there is none now: the next one is taken when a request has ended, and at least
        ten times a second. Some operation must be running then.

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
        self._run_one(lambda: self._begin(0, ask(requests, answers)))
        return answers

    def finish(self, exchange: Exchange, connection: Connection) -> Response:
        """Complete an exchange that began elsewhere, beside the requests that its head asked for; its answer."""
        answers: list[Response] = []

        def begin() -> None:
            task = Task(0, ask(exchange.request, answers), self._done)
            next(task.steps)
            task.answers = [None]
            task.outstanding = 1
            self._tasks.add(task)
            pending = PendingRequest(task, 0, exchange.request)
            pending.started = system.monotonic()
            self._multiplexer.take_over(pending, exchange, connection)

        self._run_one(begin)
        return answers[0]

    def _run_one(self, begin: Callable[[], None]) -> None:
        failures: list[BaseException] = []
        self._done = lambda index, result, error: None if error is None else failures.append(error)
        try:
            begin()
            self._loop()
        finally:
            self._close()
        if failures:
            raise failures.pop()

    def _loop(self) -> None:
        self._fill()
        while self._tasks:
            self.turn(self._timeout())

    def turn(self, timeout: float | None) -> None:
        """One step of the loop: wait for events, ``timeout`` seconds at most (None: for ever), and handle them."""
        for _ in self._multiplexer.poll(timeout):
            self._fill()
        now = system.monotonic()
        if timers := self._queue.timers:
            woken = timers[0][0] <= now
            while (due := self._queue.take_due(now)) is not None:
                self._wake(*due)
            if woken:
                self._fill()
        inbox = self._multiplexer.inbox
        if inbox is not None and inbox.works:
            inbox.run()
            self._fill()
        if now >= self._balancer.look_at:
            self._balancer.look(now)
        if now >= self._check_at:
            self._check(now)

    def _check(self, now: float) -> None:
        """Ten times a second: deadlines and cancellation."""
        self._check_at = now + _CHECK_SECONDS
        self._shortage = 0
        self._multiplexer.expire(now)
        for pending in self._queue.take_overdue(now):
            self._report(pending, overdue(pending.request.service.policy.total_timeout))
        if self._queue.held:
            self._look_again()
        self._fill()  # perhaps nothing is in flight any more
        if self._grace_ends is not None and now > self._grace_ends:
            self._abandon(self._tasks)
        elif self._grace_ends is None and self._cancel is not None and self._cancel.cancelled:
            self._grace_ends = now + GRACE_SECONDS
            self._cancel_all()

    def _timeout(self) -> float:
        queue = self._queue
        if queue.ready and len(self._multiplexer.in_flight) < self._room():
            return 0.0
        if not queue.timers:
            return _CHECK_SECONDS
        return min(_CHECK_SECONDS, max(0.0, queue.timers[0][0] - system.monotonic()))

    def _room(self) -> int:
        """How many requests may be in flight here."""
        window = self.window if self._limit is None else self._limit.current
        return max(1, window - self._shortage) - len(self._multiplexer.lent) - len(self._queue.held)

    def _fill(self) -> None:
        """Start requests while the window has room: ready ones, then the rest of sets, then new operations."""
        multiplexer, limit, ready, held = self._multiplexer, self._limit, self._queue.ready, self._queue.held
        window = (self.window if limit is None else limit.current) - len(multiplexer.lent)
        if self._shortage or held:
            window = self._room()
        in_flight = multiplexer.in_flight
        while len(in_flight) < window:
            if ready:
                pending = ready.popleft()
                seconds = pending.request.service.policy.total_timeout
                if seconds is not None and pending.is_overdue(seconds):
                    self._report(pending, overdue(seconds))
                    continue
                multiplexer.start(pending)
                if self._shortage or held:
                    window = self._room()
            elif self._sets:
                self._pull(self._sets[0])
            elif self._calls is not None and (limit is None or len(self._tasks) < limit.current):
                item = next(self._calls, _END)
                if item is _END:
                    self._calls = None
                elif item is None:
                    return
                else:
                    self._begin(item[0], item[1].steps())
                    del item  # the next one may be a while in coming
            else:
                return

    def _on_end(self, pending: PendingRequest, error: Exception | None) -> None:
        """A request has ended, with a complete answer or a fault: send it again, or report to its task."""
        exchange, pending.exchange = pending.exchange, None
        if error is not None:
            if (spread := pending.request.service.spread) is not None:
                opened, reused = exchange is not None, pending.reused
                error = spread.end(pending.request, None, error, reused=reused, opened=opened) or error
            self._failed(pending, error)
            del error
            return
        assert exchange is not None
        request, response = pending.request, exchange.response
        assert response is not None
        if (spread := request.service.spread) is not None:
            spread.end(request, response, None)
        response.attempts = pending.attempt + pending.fresh
        if response.status >= 400 or request.wary:
            delay = delay_after(request, response, pending.attempt, pending.started)
            if response.status in THROTTLED and (limit := pending.task.limit) is not None:
                limit.throttled()
            if delay is not None:
                self._retry(pending, delay)
                return
        elif pending.attempt == 1 and (budget := request.service.policy.budget).tokens < CAPACITY:
            budget.earn()
        if request.again is not None or request.check is not None:
            try:
                instead = checked(request, response)
            except Exception as refused:
                self._report(pending, refused)
                return
            if instead is not None:
                pending.request = instead
                self._queue.ready.append(pending)
                return
        task = pending.task
        last = task.outstanding == 1 and task.requests is None
        if last and not task.many and not pending.slot and task in self._tasks:
            task.outstanding = 0
            self._advance(task, response, None)
            return
        if pending.slot >= 0:
            task.answers[pending.slot] = response
        self._report(pending, None)

    def _failed(self, pending: PendingRequest, error: Exception) -> None:
        request = pending.request
        if not isinstance(error, ConnectionDropped):
            self._report(pending, error)
            del error
            return
        if error.crowded and (self._multiplexer.in_flight or self._multiplexer.lent):
            # It goes when one of those in flight has ended: they have the descriptors.
            self._shortage += max(0, self._room() - len(self._multiplexer.in_flight))
            self._queue.ready.appendleft(pending)
            return
        if error.elsewhere:
            self._queue.ready.appendleft(pending)  # now, at another address
            return
        if pending.reused and not pending.fresh and found_stale(request, error):
            pending.fresh = True
            self._queue.ready.appendleft(pending)
            return
        sent = pending.attempt + pending.fresh
        try:
            pending.request, delay = retry_after_drop(request, error, pending.attempt, pending.started, sent)
        except Exception as final:
            self._report(pending, final)
        else:
            self._retry(pending, delay)

    def _retry(self, pending: PendingRequest, delay: float) -> None:
        pending.attempt += 1
        self._queue.delay(delay, pending.task, pending)

    def _wake(self, task: Task, pending: PendingRequest | None) -> None:  # a retry, or the end of a task's pause
        if pending is not None:
            self._queue.ready.append(pending)
        else:
            task.outstanding -= 1
            self._settle(task)

    def _cancel_all(self) -> None:  # start nothing more; every operation may clean up
        self._calls = None
        for task in list(self._tasks):
            self._give_up(task, "given up because its batch was cancelled")

    def _clean_up(self) -> None:
        """After an interrupt, or a failure of ``done`` or of the calls: operations clean up on a lane of their own,
        unreported, since an interrupt may have left this one in any state."""
        self._multiplexer.close()
        endings = [Cleanup(task.steps) for task in self._tasks]
        self._tasks.clear()
        Lane(window=self.window, cancel=CleanupDeadline()).run(enumerate(endings), ignore)

    def _close(self) -> None:
        self._calls, self._done = None, ignore
        self._multiplexer.close()
        for task in self._tasks:
            task.steps.close()
        self._tasks.clear()
        self._queue.clear()  # nothing holds what was not ended
        self._sets.clear()

    def _hold(self, pending: PendingRequest) -> bool:
        """Have credentials fetched on a thread, once for all requests that need them; False: this one does not wait."""
        if pending.goes_on or self._aside is None:
            pending.goes_on = False
            return False
        service = pending.request.service
        if service not in self._preparing:
            try:
                post = self._multiplexer.open_inbox().post
                fetched = self._aside(service.prepare)
            except (OSError, RuntimeError):  # no descriptor, no more threads, or the interpreter is shutting down
                return False
            self._preparing.add(service)
            fetched.add_done_callback(lambda future: post(lambda: self._go_on(service, future.exception())))
        self._queue.held.append(pending)
        return True

    def _wait(self, pending: PendingRequest) -> bool:
        """No server has room for a request: it waits until one has, unless that is so now."""
        spread, look = pending.request.service.spread, partial(self._look_again, pending)
        assert spread is not None
        with contextlib.suppress(OSError):  # no descriptor: it is looked at ten times a second
            post = self._multiplexer.open_inbox().post
            if spread.begin(pending.request, lambda: post(look)):
                return True
        self._queue.held.append(pending)
        return False

    def _look_again(self, pending: PendingRequest | None = None) -> None:
        """A server may have room for a request that waits for it, or (None) for any of those."""
        held = self._queue.held
        if pending is not None and pending not in held:  # it was given up
            spread = pending.request.service.spread
            assert spread is not None
            spread.wake_one()
            return
        for waiting in held[:] if pending is None else [pending]:
            service = waiting.request.service
            if service.spread is not None and service not in self._preparing:
                held.remove(waiting)
                self._queue.ready.append(waiting)

    def _go_on(self, service: Service, error: BaseException | None) -> None:
        """The credentials are there, or are not to be had."""
        self._preparing.discard(service)
        held = [pending for pending in self._queue.held if pending.request.service is service]
        self._queue.held[:] = [pending for pending in self._queue.held if pending.request.service is not service]
        if isinstance(error, Exception):
            for pending in held:
                self._on_end(pending, error)
            return
        goes_on = not service.ready()  # it has none that are good for a while
        for pending in held:
            pending.goes_on = goes_on
        self._queue.ready.extend(held)
