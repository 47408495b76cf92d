"""The multiplexer that lets requests wait whose connections have no turn, where bandwidth is limited
(:mod:`s3dlio.net.paced_connection`). Without a limit no request is ever paused, and nothing of this runs.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Iterator

from s3dlio.net import system
from s3dlio.net.connection import READ, Connection
from s3dlio.net.paced_connection import PacedConnection
from s3dlio.net.paused import Paused
from s3dlio.net.pending import PendingRequest
from s3dlio.net.reading import ReadingMultiplexer


class PacingMultiplexer(ReadingMultiplexer):
    """Lets requests wait whose connections have no turn, each in the order in which it may go on."""

    #: When the next one goes on.
    due = math.inf
    _order = itertools.count()

    def _fail(self, pending: PendingRequest, error: Exception) -> None:
        if type(error) is not Paused:
            super()._fail(pending, error)
            del error
            return
        connection = pending.connection
        assert connection is not None
        now, patience = system.monotonic(), connection.server.http.read_timeout
        self.in_flight[connection.fd] = pending
        # The server has as much time as without a limit. Whether it has used that is seen after the pause.
        deadline = max(pending.deadline, _moved_at(connection) + patience) if pending.deadline else now + patience
        self._pause(connection, now + error.seconds, error.sending, deadline)
        pending.deadline = now + error.seconds + patience

    def _pause(self, connection: Connection, until: float, sending: bool, deadline: float) -> None:
        if sending:
            self._watch(connection, READ)  # the server may refuse what it gets
        else:
            self._unwatch(connection)
        if self.due == math.inf:
            self._waiting: list[tuple[float, int, int, float]] = []
            self.poll = self._poll_paused  # type: ignore[method-assign]
        # By descriptors: nothing here keeps the memory of a request that ends meanwhile, or goes on elsewhere.
        heapq.heappush(self._waiting, (until, next(self._order), connection.fd, deadline))
        self.due = self._waiting[0][0]

    def _poll_paused(self, timeout: float | None) -> Iterator[None]:
        """As ``poll``, until those go on that wait."""
        left = max(0.0, self.due - system.monotonic())
        yield from super().poll(left if timeout is None else min(left, timeout))
        waiting, now = self._waiting, system.monotonic()
        ready: list[tuple[int, float]] = []
        while waiting and waiting[0][0] <= now:
            ready.append(heapq.heappop(waiting)[2:])
        if waiting:
            self.due = waiting[0][0]
        else:
            self._wait_for_none()
        for fd, deadline in ready:
            self._go_on(fd, deadline)
        yield

    def _wait_for_none(self) -> None:
        if self.due < math.inf:
            self.due = math.inf
            del self._waiting, self.poll

    def close(self) -> None:
        self._wait_for_none()
        super().close()

    def _go_on(self, fd: int, deadline: float) -> None:
        """Receive or send again. Another request that has the descriptor by now finds that there is nothing to do. The
        ``deadline`` is that of the server, should nothing go or come."""
        pending = self.in_flight.get(fd)
        if pending is None or pending.connection is None or pending.exchange is None:
            return
        connection, exchange = pending.connection, pending.exchange
        pending.deadline = deadline
        if exchange.outgoing:
            self._send(pending, connection, exchange)
        else:
            if not connection.watched:
                self._watch(connection, READ)
            self._receive(pending, connection, exchange)
        if pending.deadline in (0.0, deadline) and self.in_flight.get(fd) is pending:
            pending.deadline = max(deadline, _moved_at(connection) + connection.server.http.read_timeout)


def _moved_at(connection: Connection) -> float:
    """When bytes went or came last: only connections that keep to a limit are ever paused."""
    assert isinstance(connection, PacedConnection)
    return connection.moved_at
