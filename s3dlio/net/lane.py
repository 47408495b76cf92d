"""The driver for many calls: one thread that keeps a window of requests in flight over as many connections.

Requests in flight are connections, not threads: 32 threads that each block on a socket hand the GIL around at every
call and reach 10,000 GETs a second where one thread with 32 connections under epoll reaches 46,000. Nothing that one
connection waits for (opening, TLS, a partial send, a retry pause) holds up another.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import selectors
import ssl
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

from s3dlio.errors import S3dlioError, TransferCancelledError
from s3dlio.net.exchange import SCRATCH, Exchange
from s3dlio.net.faults import ConnectionDropped, broken, final_error, opening_fault, rest_of
from s3dlio.net.message import Request, Response
from s3dlio.net.one import CONTINUE_SECONDS
from s3dlio.net.pool import READ, WRITE, Connection, ConnectionPool

Done = Callable[[int, Any, "BaseException | None"], None]

#: How often deadlines are looked at and a cancellation is noticed, in seconds. All deadlines of a lane are alike and
#: long, so a sweep over the flights costs less than a heap entry for every request.
_SWEEP_SECONDS = 0.1
#: What a cancelled operation may take to clean up (abort its multipart upload).
_GRACE_SECONDS = 10.0

class Cancel(Protocol):
    """What a lane needs of a cancel token."""

    @property
    def cancelled(self) -> bool: ...


class Operation(Protocol):
    """What a lane runs: a call of a cloud store."""

    def steps(self) -> Any: ...


class _Task:
    """One operation on its way: its generator, and the set of requests it waits for."""

    __slots__ = ("answers", "failed", "index", "many", "outstanding", "queue", "steps")

    def __init__(self, index: int, steps: Any) -> None:
        self.index = index
        self.steps = steps
        self.many = False
        self.answers: list[Response | None] = []
        self.queue: Iterator[Request] | None = None
        self.outstanding = 0
        self.failed: BaseException | None = None


class _Flight:
    """One request on its way: which task asked, as which of its set, in which attempt."""

    __slots__ = ("attempt", "connection", "deadline", "exchange", "fresh", "interest", "request", "reused",
                 "slot", "started", "task")  # fmt: skip

    def __init__(self, task: _Task, slot: int, request: Request) -> None:
        self.task = task
        self.slot = slot
        self.request = request
        self.attempt = 1
        self.started = 0.0
        self.deadline = 0.0
        self.fresh = False
        self.reused = False
        self.interest = 0
        self.connection: Connection | None = None
        self.exchange: Exchange | None = None


class Lane:
    """Runs operations, ``window`` requests at a time, on the calling thread.

    Args:
        window: requests in flight (connections), at most.
        cancel: looked at ten times a second; when it is set, operations get a TransferCancelledError and may clean up.
    """

    def __init__(self, *, window: int, cancel: Cancel | None = None) -> None:
        self._window = max(1, window)
        self._cancel = cancel
        self._selector = selectors.DefaultSelector()
        self._scratch = bytearray(SCRATCH)
        self._view = memoryview(self._scratch)
        self._flights: dict[int, _Flight] = {}  # by file descriptor
        self._idle: dict[ConnectionPool, list[Connection]] = {}
        self._resting: dict[int, Connection] = {}  # idle connections by file descriptor
        self._waiting: deque[_Flight] = deque()  # requests that only lack room in the window
        self._sources: deque[_Task] = deque()  # tasks with more requests to start
        self._pauses: list[tuple[float, int, _Flight]] = []  # a heap: retries by the time they are due
        self._order = itertools.count()
        self._tasks: set[_Task] = set()
        self._calls: Iterator[tuple[int, Operation]] | None = None
        self._done: Done = _unused
        self._in_flight = 0

    # -- the public face

    def run(self, calls: Iterable[tuple[int, Operation]], done: Done) -> None:
        """Run every call of ``calls``, which is read lazily; ``done(index, result, error)`` is told of each.

        Raises:
            whatever ``done`` or the iterator raises, after everything in flight was given up.
        """
        self._calls = iter(calls)
        self._done = done
        try:
            self._loop()
        finally:
            self._close()

    def gather(self, requests: Iterable[Request]) -> list[Response]:
        """Run a set of requests; the answers in their order. The first failure stops the rest and is raised."""
        answers: list[Response] = []
        self._run_one(_yield_once(requests, answers))
        return answers

    def finish(self, exchange: Exchange, connection: Connection) -> Response:
        """Take over a half-done exchange, run the requests that its head asked for beside it; its answer."""
        answers: list[Response] = []
        task = _Task(0, _yield_once(exchange.request, answers))
        next(task.steps)
        task.answers = [None]
        self._tasks.add(task)
        flight = _Flight(task, 0, exchange.request)
        flight.exchange, flight.connection, flight.reused = exchange, connection, True
        flight.started = time.monotonic()
        flight.deadline = flight.started + connection.pool.http.read_timeout
        task.outstanding = 1
        self._in_flight += 1
        connection.set_blocking(False)
        self._watch(flight, READ)
        self._expand(flight)
        if exchange.done:
            self._landed(flight)
        self._run_one(None)
        return answers[0]

    def _run_one(self, steps: Any) -> None:
        failures: list[BaseException] = []

        def done(index: int, result: Any, error: BaseException | None) -> None:
            if error is not None:
                failures.append(error)

        self._done = done
        self._calls = None
        try:
            if steps is not None:
                self._begin(0, steps)
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
            timeout = self._timeout()
            for key, mask in self._selector.select(timeout):
                flight = self._flights.get(key.fd)
                if flight is not None:
                    self._on_event(flight, mask)
                else:
                    self._on_idle_event(key.fd)
            now = time.monotonic()
            if self._pauses:
                self._wake(now)
            self._fill()
            if now >= sweep_at:
                sweep_at = now + _SWEEP_SECONDS
                self._sweep(now)
                if grace_ends is not None and now > grace_ends:
                    self._abandon()
                    return
                if grace_ends is None and self._cancel is not None and self._cancel.cancelled:
                    grace_ends = now + _GRACE_SECONDS
                    self._cancel_all()

    def _timeout(self) -> float:
        if not self._pauses:
            return _SWEEP_SECONDS
        return min(_SWEEP_SECONDS, max(0.0, self._pauses[0][0] - time.monotonic()))

    def _fill(self) -> None:
        """Start requests while the window has room: waiting ones, then the rest of sets, then new operations."""
        while self._in_flight < self._window:
            if self._waiting:
                self._launch(self._waiting.popleft())
            elif self._sources:
                self._pull(self._sources[0])
            elif self._calls is not None:
                item = next(self._calls, None)
                if item is None:
                    self._calls = None
                else:
                    self._begin(item[0], item[1].steps())
            else:
                return

    def _begin(self, index: int, steps: Any) -> None:
        task = _Task(index, steps)
        self._tasks.add(task)
        self._advance(task, None, None)

    def _advance(self, task: _Task, answer: Any, error: BaseException | None) -> None:
        """Let an operation go on with an answer (or an error) until it asks for requests again or ends."""
        task.failed = None
        task.queue = None
        try:
            wanted = task.steps.send(answer) if error is None else task.steps.throw(error)
        except StopIteration as stop:
            self._tasks.discard(task)
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
                self._waiting.append(_Flight(task, 0, wanted))
            else:
                task.many = True
                task.answers = []
                task.queue = iter(wanted)
                self._sources.append(task)

    def _pull(self, task: _Task) -> None:
        """Start the next request of a task's set, if there is one."""
        request = next(task.queue, None) if task.queue is not None and task.failed is None else None
        if request is None:
            self._sources.popleft()
            task.queue = None
            self._settle(task)
            return
        task.outstanding += 1
        task.answers.append(None)
        self._launch(_Flight(task, len(task.answers) - 1, request))

    def _settle(self, task: _Task) -> None:
        """When nothing of a task's set is on its way any more, let it go on."""
        if task.outstanding or task.queue is not None or task not in self._tasks:
            return
        if task.failed is not None:
            self._advance(task, None, task.failed)
        else:
            self._advance(task, task.answers if task.many else task.answers[0], None)

    # -- one request

    def _launch(self, flight: _Flight) -> None:
        self._in_flight += 1
        if not flight.started:
            flight.started = time.monotonic()
        pool = flight.request.service.pool
        try:
            connection = self._connection(pool, flight)
            flight.connection = connection
            if connection.ready:
                connection.set_blocking(False)
                self._start_exchange(flight)
            elif pool.proxied:
                connection.open_through_proxy()
                connection.set_blocking(False)
                self._start_exchange(flight)
            else:
                flight.deadline = time.monotonic() + pool.http.connect_timeout
                self._open(flight)
        except S3dlioError as error:
            self._failed(flight, opening_fault(error, pool.name) if isinstance(error, OSError) else error)
        except OSError as error:
            self._failed(flight, opening_fault(error, pool.name))

    def _connection(self, pool: ConnectionPool, flight: _Flight) -> Connection:
        idle = self._idle.get(pool)
        while idle and not flight.fresh:
            connection = idle.pop()
            del self._resting[connection.fileno()]
            if not flight.request.idempotent and connection.is_dropped():
                self._discard(connection)
                continue
            flight.reused = True
            return connection
        connection = pool.acquire_fresh() if flight.fresh else pool.acquire()
        flight.reused = connection.ready
        return connection

    def _open(self, flight: _Flight) -> None:
        connection = flight.connection
        assert connection is not None
        event = connection.open_step()
        if event:
            self._watch(flight, event)
        else:
            self._start_exchange(flight)

    def _start_exchange(self, flight: _Flight) -> None:
        connection = flight.connection
        assert connection is not None
        flight.exchange = Exchange(flight.request, self._scratch, self._view)
        flight.deadline = time.monotonic() + connection.pool.http.read_timeout
        self._send(flight)

    def _send(self, flight: _Flight) -> None:
        exchange, connection = flight.exchange, flight.connection
        assert exchange is not None
        assert connection is not None
        try:
            while exchange.sending:
                exchange.sent(connection.send(exchange.outgoing()))
        except (BlockingIOError, ssl.SSLWantWriteError):
            self._watch(flight, READ | WRITE)
            return
        except ssl.SSLWantReadError:
            self._watch(flight, READ)
            return
        except (BrokenPipeError, ConnectionResetError) as error:
            # A server that refuses a body answers and closes: read on, its answer may be waiting.
            if exchange.request.body is None:
                self._failed(flight, broken(exchange, error))
                return
        except OSError as error:
            self._failed(flight, broken(exchange, error))
            return
        if exchange.awaiting_continue:
            flight.deadline = time.monotonic() + CONTINUE_SECONDS
        self._watch(flight, READ)

    def _watch(self, flight: _Flight, events: int) -> None:
        connection = flight.connection
        assert connection is not None
        fd = connection.fileno()
        if self._flights.get(fd) is flight and flight.interest == events:
            return
        self._flights[fd] = flight
        try:
            if self._selector.get_key(fd).events != events:
                self._selector.modify(fd, events)
        except KeyError:
            self._selector.register(fd, events)
        flight.interest = events

    def _on_event(self, flight: _Flight, mask: int) -> None:
        connection = flight.connection
        assert connection is not None
        if flight.exchange is None:
            try:
                self._open(flight)
            except OSError as error:
                self._failed(flight, opening_fault(error, connection.pool.name))
            return
        flight.deadline = time.monotonic() + connection.pool.http.read_timeout
        if mask & READ:
            self._receive(flight)
        elif mask & WRITE:
            self._send(flight)

    def _receive(self, flight: _Flight) -> None:
        exchange, connection = flight.exchange, flight.connection
        assert exchange is not None
        assert connection is not None
        try:
            exchange.received(connection.receive(exchange.room(), exchange.wanted))
            while connection.secure and not exchange.done and connection.sock.pending():
                # What TLS holds already will not wake the selector.
                exchange.received(connection.receive(exchange.room(), exchange.wanted))
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            pass
        except S3dlioError as error:
            self._failed(flight, error)
            return
        except OSError as error:
            self._failed(flight, broken(exchange, error))
            return
        if exchange.more:
            self._expand(flight)
        if exchange.done:
            self._landed(flight)
        elif exchange.sending:
            self._send(flight)

    def _expand(self, flight: _Flight) -> None:
        """The head asked for more requests: they run beside this one and belong to the same task."""
        exchange, task = flight.exchange, flight.task
        assert exchange is not None
        for request in exchange.more:
            task.outstanding += 1
            self._waiting.append(_Flight(task, -1, request))
        exchange.more = ()

    def _landed(self, flight: _Flight) -> None:
        """The answer is complete."""
        exchange, connection, request = flight.exchange, flight.connection, flight.request
        assert exchange is not None
        assert connection is not None
        response = exchange.response
        assert response is not None
        self._rest(flight, connection, exchange.reusable)
        response.attempts = flight.attempt
        policy = request.service.policy
        if response.status >= 400 or request.wary:
            delay = policy.after_response(request, response, flight.attempt, flight.started)
            if delay is not None:
                self._again(flight, delay)
                return
        elif flight.attempt == 1:
            policy.budget.earn()
        if request.check is not None:
            try:
                request.check(response)
            except Exception as error:
                self._arrived(flight, error)
                return
        if flight.slot >= 0:
            flight.task.answers[flight.slot] = response
        self._arrived(flight, None)

    def _arrived(self, flight: _Flight, error: BaseException | None) -> None:
        task = flight.task
        task.outstanding -= 1
        if error is not None and task.failed is None:
            self._fail_task(task, error)
        if not task.outstanding:
            self._settle(task)

    def _fail_task(self, task: _Task, error: BaseException) -> None:
        """One request of a task has failed for good: the others of its set are given up."""
        task.failed = error
        for fd, flight in list(self._flights.items()):
            if flight.task is task:
                self._drop(fd, flight)
                task.outstanding -= 1
        paused = [entry for entry in self._pauses if entry[2].task is task]
        if paused:
            self._pauses = [entry for entry in self._pauses if entry[2].task is not task]
            heapq.heapify(self._pauses)
            task.outstanding -= len(paused)
        waiting = [flight for flight in self._waiting if flight.task is task]
        for flight in waiting:
            self._waiting.remove(flight)
        task.outstanding -= len(waiting)
        if task in self._sources:
            self._sources.remove(task)
        task.queue = None

    def _failed(self, flight: _Flight, error: S3dlioError) -> None:
        """The connection failed, or what came is not an answer."""
        connection, request = flight.connection, flight.request
        reused = flight.reused
        if connection is not None:
            self._drop_connection(connection)
            flight.connection = None
        flight.exchange = None
        self._in_flight -= 1
        if not isinstance(error, ConnectionDropped):
            self._arrived(flight, error)
            return
        if reused and error.untouched and not error.timed_out and request.idempotent and not flight.fresh:
            flight.fresh = True  # stale: once, at once, not counted as an attempt
            self._waiting.appendleft(flight)
            return
        service = request.service
        delay = service.policy.after_drop(request, error, flight.attempt, flight.started)
        rest = rest_of(request, error)
        if delay is None or rest is None:
            final = final_error(error, service.pool.name, flight.attempt)
            final.__cause__ = error
            self._arrived(flight, final)
            return
        flight.request = rest
        self._pause(flight, delay)

    def _again(self, flight: _Flight, delay: float) -> None:
        flight.exchange = None
        self._pause(flight, delay)

    def _pause(self, flight: _Flight, delay: float) -> None:
        flight.attempt += 1
        heapq.heappush(self._pauses, (time.monotonic() + delay, next(self._order), flight))

    def _wake(self, now: float) -> None:
        while self._pauses and self._pauses[0][0] <= now:
            self._waiting.append(heapq.heappop(self._pauses)[2])

    # -- connections

    def _rest(self, flight: _Flight, connection: Connection, reusable: bool) -> None:
        """A flight has landed: its connection waits for the next one, or is closed."""
        fd = connection.fileno()
        del self._flights[fd]
        self._in_flight -= 1
        flight.connection = None
        if not reusable:
            self._discard(connection)
            return
        if flight.interest != READ:
            self._selector.modify(fd, READ)
        self._resting[fd] = connection
        pool = connection.pool
        idle = self._idle.get(pool)
        if idle is None:
            self._idle[pool] = [connection]
        else:
            idle.append(connection)

    def _on_idle_event(self, fd: int) -> None:
        """An idle connection became readable: its server has closed it."""
        connection = self._resting.pop(fd, None)
        if connection is not None:
            self._idle[connection.pool].remove(connection)
            self._discard(connection)

    def _discard(self, connection: Connection) -> None:
        with contextlib.suppress(KeyError, ValueError):  # never watched, or its socket is closed already
            self._selector.unregister(connection.fileno())
        connection.close()

    def _drop_connection(self, connection: Connection) -> None:
        if connection.sock is not None:
            self._flights.pop(connection.fileno(), None)
            self._discard(connection)

    def _drop(self, fd: int, flight: _Flight) -> None:
        """Give a flight up where it is."""
        del self._flights[fd]
        self._in_flight -= 1
        if flight.connection is not None:
            self._discard(flight.connection)
            flight.connection = None

    # -- time

    def _sweep(self, now: float) -> None:
        for flight in [flight for flight in self._flights.values() if flight.deadline <= now]:
            exchange, connection = flight.exchange, flight.connection
            assert connection is not None
            if exchange is None:
                late = TimeoutError(f"not within {connection.pool.http.connect_timeout:g} s")
                self._failed(flight, opening_fault(late, connection.pool.name))
            elif exchange.awaiting_continue:
                exchange.proceed()
                flight.deadline = now + connection.pool.http.read_timeout
                self._send(flight)
            else:
                self._failed(flight, broken(exchange, TimeoutError()))

    def _cancel_all(self) -> None:
        """Start nothing more; every operation gets the chance to clean up."""
        self._calls = None
        for task in list(self._tasks):
            self._fail_task(task, TransferCancelledError("given up because its batch was cancelled"))
            task.outstanding = 0
            self._settle(task)

    def _abandon(self) -> None:
        """Operations that were still cleaning up when the time for it ran out."""
        for task in list(self._tasks):
            task.steps.close()
            self._done(task.index, None, TransferCancelledError("given up while cleaning up after a cancellation"))
        self._tasks.clear()

    def _close(self) -> None:
        """Give everything up: idle connections to their pools, the others closed, operations ended."""
        for fd, flight in list(self._flights.items()):
            self._drop(fd, flight)
        for connections in self._idle.values():
            for connection in connections:
                self._selector.unregister(connection.fileno())
                connection.pool.release(connection, reusable=True)
        self._idle.clear()
        self._resting.clear()
        self._selector.close()
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
