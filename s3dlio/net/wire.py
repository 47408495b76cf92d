"""Many exchanges at once on one thread: sockets, epoll, and the connections that rest between two requests.

The wire knows nothing of operations and retries: it takes flights off the ground, and reports when each has ended.
Nothing that one connection waits for (opening, TLS, a partial send) holds up another.
"""

from __future__ import annotations

import math
import selectors
import ssl
import time
from collections.abc import Callable, Iterator
from typing import Any

from s3dlio.foreign_errors import from_os_error
from s3dlio.net.connection import READ, WRITE, Connection
from s3dlio.net.exchange import CONTINUE_SECONDS, SCRATCH, Exchange
from s3dlio.net.faults import is_out_of_files, opening_fault, overdue
from s3dlio.net.message import Request
from s3dlio.net.pool import ConnectionPool, with_room

#: So many events are handled in a row before new requests leave. All at once, as many as 256, would keep those together
#: that are answered together, and far away they would wait for each other at every turn: 256 in flight to a server
#: 20 ms away made 9.0 to 12.0 k/s in groups, 9.1 to 9.4 without (best of each of three runs, on a busy machine).
_GROUP = 16


class Flight:
    """One request on its way: for which task, as which of its set, in which attempt; and where it stands.

    Args:
        task: whoever asked; the wire does not look at it.
        slot: the position of the answer in the task's set; -1 where nobody waits for it.
        request: what is asked.
    """

    __slots__ = ("attempt", "connection", "deadline", "ends", "exchange", "fresh", "request", "reused", "slot",
                 "started", "task")  # fmt: skip

    def __init__(self, task: Any, slot: int, request: Request) -> None:
        self.task = task
        self.slot = slot
        self.request = request
        self.attempt = 1
        self.started = 0.0
        #: The moment at which waiting turns into a fault.
        self.deadline = 0.0
        #: The moment at which the request must be done, with all its retries.
        self.ends = math.inf
        #: Take a new connection, not an idle one: that had gone stale.
        self.fresh = False
        #: It travels on a connection that had served before.
        self.reused = False
        self.connection: Connection | None = None
        self.exchange: Exchange | None = None


#: Told of every flight that has ended: None, when its answer is complete, or what went wrong.
Ended = Callable[[Flight, "Exception | None"], None]


class Wire:
    """Carries flights.

    Args:
        ended: told of each flight when it has ended; it must not launch others from within.
        expanded: told when the head of an answer asks for more requests (``exchange.more``).
    """

    def __init__(self, ended: Ended, expanded: Callable[[Flight], None]) -> None:
        self._ended = ended
        self._expanded = expanded
        try:
            self._selector = with_room(selectors.DefaultSelector)
        except OSError as error:
            raise from_os_error(error) from error
        self._scratch = bytearray(SCRATCH)
        self._view = memoryview(self._scratch)
        self._flights: dict[int, Flight] = {}  # by file descriptor
        self._idle: dict[ConnectionPool, list[Connection]] = {}
        self._gone: set[int] = set()  # descriptors closed since the last poll: what it reports of them means others

    def __len__(self) -> int:
        return len(self._flights)

    # -- the public face

    def launch(self, flight: Flight) -> None:
        """Put a request on its way, on an idle connection or on a new one."""
        pool = flight.request.service.pool
        try:
            connection = flight.connection = self._connection(pool, flight)
            if connection.ready:
                connection.set_blocking(False)
        except OSError as error:
            self._fail(flight, opening_fault(error, pool.name))
            return
        if connection.ready:
            self._start(flight, connection)
        else:
            flight.deadline = time.monotonic() + pool.http.connect_timeout
            self._open(flight, connection)

    def adopt(self, flight: Flight, exchange: Exchange, connection: Connection) -> None:
        """Carry on with an exchange that began elsewhere."""
        flight.exchange, flight.connection, flight.reused = exchange, connection, True
        flight.deadline = time.monotonic() + connection.server.http.read_timeout
        connection.set_blocking(False)
        self._watch(flight, connection, READ)
        self._expanded(flight)
        if exchange.done:
            self._land(flight, connection, exchange)

    def poll(self, timeout: float) -> Iterator[None]:
        """Wait for events, at most ``timeout`` seconds, and handle them; at each yield flights may be launched."""
        self._gone.clear()
        for number, (key, mask) in enumerate(self._selector.select(timeout), 1):
            fd = key.fd
            if fd in self._gone:
                continue
            flight = self._flights.get(fd)
            if flight is None:
                self._on_resting(fd)
            else:
                self._on_event(flight, mask)
            if number % _GROUP == 0:
                yield
        yield

    def sweep(self, now: float) -> None:
        """Give up flights whose deadline is over."""
        for flight in [flight for flight in self._flights.values() if min(flight.deadline, flight.ends) <= now]:
            exchange, connection = flight.exchange, flight.connection
            if connection is None:
                continue  # given up meanwhile: another flight of its task was the last straw
            if flight.ends <= now:
                self._fail(flight, overdue(flight.request.service.policy.total_timeout))
            elif exchange is None:
                self._fail(flight, connection.opening_fault(connection.late()))
            elif exchange.awaiting_continue:
                exchange.proceed()
                flight.deadline = now + connection.server.http.read_timeout
                self._send(flight, connection, exchange)
            else:
                self._fail(flight, exchange.fault(TimeoutError()))

    def drop(self, task: Any) -> int:
        """Give up the flights of a task, without a report; returns how many there were."""
        dropped = [(fd, flight) for fd, flight in self._flights.items() if flight.task is task]
        for fd, flight in dropped:
            del self._flights[fd]
            if flight.connection is not None:
                self._discard(flight.connection)
                flight.connection = None
        return len(dropped)

    def close(self) -> None:
        """Give up everything in flight; idle connections go back to their pools.

        It may come after an interrupt that struck anywhere, and a second one may strike it: what the selector has is
        not to be relied on, and no connection may go to its pool twice.
        """
        self._selector.close()
        for flight in self._flights.values():
            if flight.connection is not None:
                flight.connection.close()
        self._flights.clear()
        for pool, connections in self._idle.items():
            while connections:
                connection = connections.pop(0)
                connection.watched = 0
                pool.release(connection, reusable=True)
        self._idle.clear()

    # -- one flight

    def _connection(self, pool: ConnectionPool, flight: Flight) -> Connection:
        if flight.fresh:
            flight.reused = False
            return pool.acquire_fresh()
        idle = self._idle.get(pool)
        while idle:
            connection = idle.pop()
            if not connection.is_dropped():
                flight.reused = True
                return connection
            self._discard(connection)
        connection = pool.acquire()
        flight.reused = connection.ready
        return connection

    def _open(self, flight: Flight, connection: Connection) -> None:
        waited = connection.fd
        try:
            event = self._open_step(connection)
        except Exception as error:  # also one that is none of the network: a CA bundle that is gone
            self._fail(flight, connection.opening_fault(error) if isinstance(error, OSError) else error)
            return
        if connection.fd != waited >= 0:  # what told that a name is resolved, or a tunnel there, is another socket
            self._flights.pop(waited, None)
            self._unwatch(connection, waited)
        if event:
            self._watch(flight, connection, event)
            return
        self._start(flight, connection)

    def _open_step(self, connection: Connection) -> int:
        """The next step; where no descriptor is left for it, connections that rest here make room."""
        try:
            return with_room(connection.open_step)
        except OSError as error:
            if not is_out_of_files(error) or not any(self._idle.values()):
                raise
        for idle in self._idle.values():
            while idle:
                self._discard(idle.pop())
        return connection.open_step()

    def _start(self, flight: Flight, connection: Connection) -> None:
        try:
            exchange = flight.exchange = Exchange(flight.request, self._scratch, self._view)
        except Exception as error:  # it cannot be signed
            self._fail(flight, error)
            return
        flight.deadline = time.monotonic() + connection.server.http.read_timeout
        self._send(flight, connection, exchange)

    def _send(self, flight: Flight, connection: Connection, exchange: Exchange) -> None:
        events = READ
        try:
            while pieces := exchange.outgoing():
                exchange.sent(connection.send(pieces))
        except (BlockingIOError, ssl.SSLWantWriteError):
            events = READ | WRITE
        except ssl.SSLWantReadError:
            events = READ
        except (BrokenPipeError, ConnectionResetError) as error:
            # A server that refuses a body answers and closes: read on, its answer may be waiting.
            if exchange.request.body is None:
                self._fail(flight, exchange.fault(error))
                return
        except OSError as error:
            self._fail(flight, exchange.fault(error))
            return
        except Exception as error:  # the source of the body failed
            self._fail(flight, error)
            return
        if exchange.awaiting_continue:
            flight.deadline = time.monotonic() + CONTINUE_SECONDS
        self._watch(flight, connection, events)

    def _watch(self, flight: Flight, connection: Connection, events: int) -> None:
        self._flights[connection.fd] = flight
        if connection.watched != events:
            (self._selector.modify if connection.watched else self._selector.register)(connection.fd, events)
            connection.watched = events

    def _unwatch(self, connection: Connection, fd: int | None = None) -> None:
        if connection.watched:
            fd = connection.fd if fd is None else fd
            self._selector.unregister(fd)
            self._gone.add(fd)
            connection.watched = 0

    def _on_event(self, flight: Flight, mask: int) -> None:
        exchange, connection = flight.exchange, flight.connection
        assert connection is not None
        if exchange is None:
            self._open(flight, connection)
            return
        flight.deadline = time.monotonic() + connection.server.http.read_timeout
        if mask & READ:
            self._receive(flight, connection, exchange)
        else:
            self._send(flight, connection, exchange)

    def _receive(self, flight: Flight, connection: Connection, exchange: Exchange) -> None:
        try:
            exchange.received(connection.receive(exchange.room(), exchange.wanted))
            while connection.secure and not exchange.done and connection.holds_more():
                exchange.received(connection.receive(exchange.room(), exchange.wanted))
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            pass
        except OSError as error:
            self._fail(flight, exchange.fault(error))
            return
        except Exception as error:  # no HTTP, or the sink of the body failed
            self._fail(flight, error)
            return
        if exchange.more:
            self._expanded(flight)
        if exchange.done:
            self._land(flight, connection, exchange)
        elif exchange.sending:
            self._send(flight, connection, exchange)
        elif exchange.awaiting_continue:
            flight.deadline = time.monotonic() + CONTINUE_SECONDS

    def _land(self, flight: Flight, connection: Connection, exchange: Exchange) -> None:
        """The answer is complete: the connection rests until the next flight, or is closed."""
        del self._flights[connection.fd]
        flight.connection = None
        if exchange.reusable:
            if connection.watched != READ:
                self._selector.modify(connection.fd, READ)
                connection.watched = READ
            self._idle.setdefault(flight.request.service.pool, []).append(connection)
        else:
            self._discard(connection)
        self._ended(flight, None)

    def _fail(self, flight: Flight, error: Exception) -> None:
        connection = flight.connection
        if connection is not None:
            self._flights.pop(connection.fd, None)
            self._discard(connection)
            flight.connection = None
        self._ended(flight, error)

    # -- connections

    def _on_resting(self, fd: int) -> None:
        """An idle connection became readable: its server has closed it, or sent what nobody asked for."""
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
