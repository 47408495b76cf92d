"""Many exchanges at once on one thread: non-blocking sockets, a selector, and the connections idle between requests.

The multiplexer knows nothing of operations and retries: it sends requests and reports when each has ended. Nothing
that one connection waits for (opening, TLS, a partial send) holds up another.
"""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

from s3dlio.foreign_errors import from_os_error
from s3dlio.net import faults, scratch, system
from s3dlio.net.connection import READ, WRITE, Connection
from s3dlio.net.exchange import CONTINUE_SECONDS, Exchange
from s3dlio.net.faults import is_out_of_files, opening_fault, overdue
from s3dlio.net.inbox import Inbox
from s3dlio.net.pending import PendingRequest
from s3dlio.net.pool import ConnectionPool, spare_some, with_room
from s3dlio.net.splicing import Splicer

#: So many events are handled in a row before new requests leave. All at once, as many as 256, would keep those together
#: that are answered together, and far away they would wait for each other at every turn: 256 in flight to a server
#: 20 ms away made 9.0 to 12.0 k/s in groups, 9.1 to 9.4 without (best of each of three runs, on a busy machine). What
#: comes by splice takes as long as a group: a server that waited for all would have nothing to do meanwhile.
_GROUP = 16

#: So many events are asked for at a time; more wait in the kernel.
_MOST = 256

#: Called when a request has ended: with None when its answer is complete, else with what went wrong.
OnEnd = Callable[[PendingRequest, "Exception | None"], None]


class Multiplexer:
    """Carries requests over non-blocking connections.

    Args:
        on_end: called for each request when it has ended; it must not start others from within.
        on_more: called when the head of an answer asks for more requests (``exchange.more``).
    """

    def __init__(self, on_end: OnEnd, on_more: Callable[[PendingRequest], None]) -> None:
        self._on_end = on_end
        self._on_more = on_more
        try:
            self._poller = with_room(system.poller)
        except OSError as error:
            raise from_os_error(error) from error
        self._scratch, self._view = scratch.take()
        self._splicer = Splicer()
        #: What has begun and not ended, by file descriptor.
        self.in_flight: dict[int, PendingRequest] = {}
        self._idle: defaultdict[ConnectionPool, list[Connection]] = defaultdict(list)
        #: What other threads ask of the lane; None: nobody can.
        self.inbox: Inbox | None = None
        #: Called when a body turns out to be large; True: it goes on elsewhere. None: it stays here.
        self.on_large: Callable[[PendingRequest], bool] | None = None
        #: The time that it waits is taken.
        self.timed = False
        self._waits = 0.0, 0.0  # for how long it has waited, and since when it does
        self._closed: set[int] = set()  # descriptors closed since the last poll, whose events are of other sockets

    patient = False  # what waits for a disk says so (``Waiting``)

    def start(self, pending: PendingRequest) -> None:
        """Send a request, on an idle connection or on a new one."""
        pool = pending.request.service.pool
        try:
            connection = pending.connection = self._connection(pool, pending)
        except OSError as error:
            self._fail(pending, opening_fault(error, pool.name))
            return
        if connection.ready:
            self._begin(pending, connection)
        else:
            pending.deadline = system.monotonic() + pool.http.connect_timeout
            self._open(pending, connection)

    def fileno(self) -> int:
        """The descriptor that is readable when ``poll`` has something to do."""
        return int(self._poller.fileno())

    def waited(self) -> float:
        """Seconds that it has waited for events, where that is ``timed``. From any thread."""
        waited, since = self._waits
        return waited + (system.monotonic() - since if since else 0.0)

    def open_inbox(self) -> Inbox:
        """The inbox, which ends the waiting in ``poll`` from now on."""
        if self.inbox is None:
            inbox = with_room(Inbox)
            self._poller.register(inbox.fileno(), READ)
            self.inbox = inbox
        return self.inbox

    def poll(self, timeout: float | None) -> Iterator[None]:
        """Wait for events, at most ``timeout`` seconds (None: until one comes), and handle them; at each yield
        requests may be started."""
        closed, in_flight, inbox = self._closed, self.in_flight, self.inbox
        closed.clear()
        if inbox is not None and not inbox.rest():
            timeout = 0.0
        if self.timed:
            self._waits = self._waits[0], system.monotonic()
        events = self._poller.poll(timeout, _MOST)
        if self.timed:
            self._waits = self.waited(), 0.0
        if inbox is not None:
            inbox.resting = False
        for number, (fd, mask) in enumerate(events, 1):
            if fd in closed:
                continue
            pending = in_flight.get(fd)
            if pending is None:
                self._on_idle(fd)
                continue
            connection, exchange = pending.connection, pending.exchange
            assert connection is not None
            if exchange is None:
                self._open(pending, connection)
            elif mask & ~WRITE:
                self._receive(pending, connection, exchange)
            else:
                pending.deadline = 0.0
                self._send(pending, connection, exchange)
            if number % _GROUP == 0 or (exchange is not None and exchange.splicing):
                yield
        pending = connection = exchange = None  # the error of one request, whose frames refer to this, keeps no other
        yield

    def expire(self, now: float) -> None:
        """Give up the requests whose deadline is over, and begin to measure those that have none yet."""
        for pending in [pending for pending in self.in_flight.values() if min(pending.deadline, pending.ends) <= now]:
            exchange, connection = pending.exchange, pending.connection
            if connection is None:
                continue  # dropped in this loop, when another request of its task failed
            if not pending.deadline and pending.ends > now:
                pending.deadline = now + connection.server.http.read_timeout
            elif pending.ends <= now:
                self._fail(pending, overdue(pending.request.service.policy.total_timeout))
            elif exchange is None:
                self._fail(pending, connection.opening_fault(connection.late()))
            elif exchange.awaiting_continue:
                self._proceed(pending, connection, exchange, now)
            elif not self._splicer.is_late(connection):  # otherwise the next look finds it overdue again
                self._fail(pending, exchange.fault(TimeoutError()))

    def _proceed(self, pending: PendingRequest, connection: Connection, exchange: Exchange, now: float) -> None:
        """Send a body that no answer has asked for."""
        try:
            exchange.proceed()
        except Exception as error:  # the source of the body failed
            self._fail(pending, error)
            return
        pending.deadline = 0.0
        self._send(pending, connection, exchange)

    def drop(self, task: Any) -> int:
        """Give up the requests of a task without a report; returns how many were in flight."""
        dropped = [(fd, pending) for fd, pending in self.in_flight.items() if pending.task is task]
        for fd, pending in dropped:
            del self.in_flight[fd]
            if pending.connection is not None:
                self._discard(pending.connection)
                pending.connection = None
        return len(dropped)

    def give_back(self) -> float:
        """Idle connections go to their pools; returns after how many seconds they are to be closed there."""
        longest = 0.0
        for pool, connections in self._idle.items():
            longest = max(longest, pool.http.pool_idle_seconds)
            while connections:
                connection = connections.pop(0)
                self._unwatch(connection)
                pool.release(connection, reusable=True)
        self._idle.clear()
        self._splicer.close()
        return longest

    def close(self) -> None:
        """Give up everything in flight; idle connections go back to their pools.

        An interrupt may have come at any line of this class, and a second one may come here: what the selector holds
        is uncertain, and no connection may go to its pool twice.
        """
        self._poller.close()
        self._splicer.close()
        if not self.in_flight:
            memory, self._scratch = self._scratch, bytearray()  # another call of this has none to give
            scratch.give_back(memory, self._view)
        for pending in self.in_flight.values():
            if pending.back is not None and pending.exchange is not None:
                pending.back(pending.exchange.drop("the event loop that carried it has ended"))
            elif pending.connection is not None:
                pending.connection.close()
        self.in_flight.clear()
        for pool, connections in self._idle.items():
            while connections:
                connection = connections.pop(0)
                connection.watched = 0
                pool.release(connection, reusable=True)
        self._idle.clear()

    # -- one request

    def _connection(self, pool: ConnectionPool, pending: PendingRequest) -> Connection:
        if pending.fresh:
            pending.reused = False
            return pool.acquire_fresh()
        idle = self._idle[pool]
        while idle:
            connection = idle.pop()
            if not connection.is_dropped():
                pending.reused = True
                return connection
            self._discard(connection)
        connection = pool.acquire()
        pending.reused = connection.ready
        if connection.ready:
            connection.set_blocking(False)  # the others here are so already
        return connection

    def _open(self, pending: PendingRequest, connection: Connection) -> None:
        if connection.waits_aside:
            # The step closes that socket, and what shares it (other waiters, a forked child) would keep it in the
            # selector, always readable.
            self.in_flight.pop(connection.fd, None)
            self._unwatch(connection)
        try:
            event = self._open_step(connection)
        except Exception as error:  # not only of the network: a CA bundle may be gone
            self._fail(pending, connection.opening_fault(error) if isinstance(error, OSError) else error)
            return
        if event:
            self.in_flight[connection.fd] = pending
            self._watch(connection, event)
            return
        self._begin(pending, connection)

    def _open_step(self, connection: Connection) -> int:
        """The next step of opening; where no descriptor is left for it, idle connections are closed."""
        def step() -> int:
            event = connection.open_step()
            if self.in_flight and not connection.watched:
                spare_some(connection)
            return event

        try:
            return with_room(step)
        except OSError as error:
            if not is_out_of_files(error) or not any(self._idle.values()):
                raise
        for idle in self._idle.values():
            while idle:
                self._discard(idle.pop())
        return step()

    def _begin(self, pending: PendingRequest, connection: Connection) -> None:
        try:
            splices = self._splicer.can(connection)
            exchange = pending.exchange = Exchange.kind(
                pending.request, self._scratch, self._view, self.patient, splices
            )  # fmt: skip
        except Exception as error:  # it cannot be signed
            self._fail(pending, error)
            return
        pending.deadline = 0.0
        self._send(pending, connection, exchange)

    def _send(self, pending: PendingRequest, connection: Connection, exchange: Exchange) -> None:
        events = READ
        try:
            while pieces := exchange.outgoing:
                exchange.sent(connection.send(pieces))
        except faults.would_block as error:
            events = READ if isinstance(error, faults.wants_read) else READ | WRITE
        except (BrokenPipeError, ConnectionResetError) as error:
            # A server that refuses a body answers and closes: read on, its answer may be waiting.
            if exchange.request.body is None:
                self._fail(pending, exchange.fault(error))
                return
        except OSError as error:
            self._fail(pending, exchange.fault(error))
            return
        except Exception as error:  # the source of the body failed
            self._fail(pending, error)
            return
        if exchange.expects and exchange.awaiting_continue:
            pending.deadline = system.monotonic() + CONTINUE_SECONDS
        self.in_flight[connection.fd] = pending
        if connection.watched != events:
            self._watch(connection, events)

    def _watch(self, connection: Connection, events: int) -> None:
        (self._poller.modify if connection.watched else self._poller.register)(connection.fd, events)
        connection.watched = events

    def _unwatch(self, connection: Connection) -> None:
        if connection.watched:
            with contextlib.suppress(OSError):  # an interrupt came between this and what ``watched`` says
                self._poller.unregister(connection.fd)
            self._closed.add(connection.fd)
            connection.watched = 0

    def _receive(self, pending: PendingRequest, connection: Connection, exchange: Exchange) -> None:
        layered = connection.layered
        receive = connection.receive if layered else connection.sock.recv_into
        try:
            more = not exchange.splicing and exchange.receive(receive) and exchange.response is not None
            if exchange.splicing:
                self._splicer.move(connection, exchange)
            elif more:
                exchange.receive(receive)
            while layered and not exchange.done and connection.holds_more():
                exchange.receive(receive)
        except faults.would_block:
            pass
        except OSError as error:
            self._fail(pending, exchange.fault(error))
            return
        except Exception as error:  # no HTTP, or the sink of the body failed
            self._fail(pending, error)
            return
        if self.on_large is not None and exchange.is_large and self.on_large(pending):
            return
        if exchange.more:
            self._on_more(pending)
        if exchange.done:
            self._complete(pending, connection, exchange)
            return
        pending.deadline = 0.0
        if exchange.outgoing:
            self._send(pending, connection, exchange)
        elif exchange.expects:
            pending.deadline = system.monotonic() + CONTINUE_SECONDS

    def _complete(self, pending: PendingRequest, connection: Connection, exchange: Exchange) -> None:
        """The answer is complete: its connection is idle until the next request, or is closed."""
        if pending.back is not None:
            self._give_back(pending, None)
            return
        del self.in_flight[connection.fd]
        pending.connection = None
        pool = pending.request.service.pool
        if not exchange.reusable:
            self._discard(connection)
        elif pending.guest:
            self._unwatch(connection)
            pool.release(connection, reusable=True)
        else:
            if connection.watched != READ:
                self._watch(connection, READ)
            self._idle[pool].append(connection)
        self._on_end(pending, None)

    def _fail(self, pending: PendingRequest, error: Exception) -> None:
        connection = pending.connection
        if connection is not None:
            if pending.back is not None:
                self._give_back(pending, error)
                return
            self.in_flight.pop(connection.fd, None)
            self._discard(connection)
            pending.connection = None
        self._on_end(pending, error)
        del error

    def _give_back(self, pending: PendingRequest, error: Exception | None) -> None:
        """A request of another lane has ended: that one uses its connection again, or closes it."""
        connection, back = pending.connection, pending.back
        assert connection is not None
        assert back is not None
        self.in_flight.pop(connection.fd, None)
        self._unwatch(connection)
        back(error)
        del pending, error, back  # frames that the error refers to keep nothing

    # -- connections

    def _on_idle(self, fd: int) -> None:
        """An idle connection became readable: its server has closed it, or sent bytes unasked. Or the inbox was."""
        if self.inbox is not None and fd == self.inbox.fileno():
            self.inbox.woken()
            return
        for idle in self._idle.values():
            for connection in idle:
                if connection.fd == fd:
                    if connection.is_dropped():
                        idle.remove(connection)
                        self._discard(connection)
                    return

    def _discard(self, connection: Connection) -> None:
        self._unwatch(connection)
        connection.close()
