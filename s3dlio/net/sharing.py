"""A multiplexer whose large bodies other lanes may carry, and which carries those of others (``net.balancer``)."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

from s3dlio.net.connection import READ, WRITE, Connection
from s3dlio.net.exchange import SCRATCH, Exchange
from s3dlio.net.multiplexer import Multiplexer, OnEnd
from s3dlio.net.pending import PendingRequest

#: Seconds that another lane has to let go of what it carries, where all of a lane is given up.
_PATIENCE = 5.0


class Carrier(Protocol):
    """A resident lane that carries bodies for others."""

    #: Have a function run on its thread; False where it has ended.
    post: Callable[[Callable[[], None]], bool]
    #: Seconds that its thread has computed. From any thread.
    computed: Callable[[], float]

    def waited(self) -> float:
        """Seconds that it has waited for its sockets. From any thread."""

    def carry(self, pending: PendingRequest) -> None:
        """Carry a request to its end, and call its ``back``. On the carrier's thread."""

    def release(self, pending: PendingRequest) -> None:
        """Give one up that it was to carry, and call ``back``, unless it has. On the carrier's thread."""


class SharingMultiplexer(Multiplexer):
    """Carries requests, and has others carry some of them.

    Args:
        on_end, on_more: as of Multiplexer.
    """

    def __init__(self, on_end: OnEnd, on_more: Callable[[PendingRequest], None]) -> None:
        super().__init__(on_end, on_more)
        #: What other lanes carry for this one.
        self.lent: set[PendingRequest] = set()

    # -- of its own

    def let_go(self, pending: PendingRequest) -> None:
        """Forget a request in flight, which goes on elsewhere: its exchange has scratch memory of its own then."""
        connection, exchange = pending.connection, pending.exchange
        assert connection is not None
        assert exchange is not None
        del self.in_flight[connection.fd]
        self._unwatch(connection)
        exchange.use_scratch(bytearray(SCRATCH))

    def take_over(self, pending: PendingRequest, exchange: Exchange, connection: Connection) -> None:
        """Carry on with an exchange that began elsewhere."""
        pending.exchange, pending.connection, pending.reused, pending.guest = exchange, connection, True, True
        pending.deadline = 0.0
        connection.set_blocking(False)
        self.in_flight[connection.fd] = pending
        self._watch(connection, READ)
        self._on_more(pending)
        if exchange.done:
            self._complete(pending, connection, exchange)

    def lend(
        self, pending: PendingRequest, carrier: Carrier, returned: Callable[[PendingRequest, Exception | None], None]
    ) -> bool:
        """Have another lane carry a request, in the middle of its body, to its end; False where that lane has ended, or
        no descriptor is left for the inbox that it comes back to.

        Args:
            pending: what is in flight here.
            carrier: that lane.
            returned: called on the thread of this lane when it has ended, with what went wrong; see ``take_back``.
        """
        connection = pending.connection
        assert connection is not None
        try:
            post = self.open_inbox().post
        except OSError:
            return False
        pending.carrier = carrier
        pending.back = lambda error: post(partial(returned, pending, error))
        self.lent.add(pending)
        self._unwatch(connection)
        del self.in_flight[connection.fd]
        if carrier.post(partial(carrier.carry, pending)):
            return True
        self.lent.discard(pending)
        pending.carrier = pending.back = None
        self.carry(pending)
        return False

    def take_back(self, pending: PendingRequest) -> None:
        """Another lane has carried a request as far as it could: its connection serves again, or is closed."""
        self.lent.discard(pending)
        pending.carrier = pending.back = None
        connection, pending.connection = pending.connection, None
        if connection is None:
            return
        if pending.exchange is None or not pending.exchange.reusable or not pending.exchange.done:
            connection.close()
            return
        self._poller.register(connection.fd, READ)
        connection.watched = READ
        self._idle[pending.request.service.pool].append(connection)

    def drop(self, task: Any) -> int:
        """Give up the requests of a task without a report; returns how many were in flight here. Those that other lanes
        carry are called back, and return."""
        for pending in self.lent:
            if pending.task is task:
                pending.carrier.post(partial(pending.carrier.release, pending))
        return super().drop(task)

    def close(self) -> None:
        self._call_back()
        super().close()
        self.inbox = None  # its descriptor is closed when nobody posts there any more

    def _call_back(self) -> None:
        """See that no other lane uses what is of this one: its memory and files belong to the caller again."""
        gone = {pending.carrier: threading.Event() for pending in self.lent}
        for pending in self.lent:
            pending.carrier.post(partial(pending.carrier.release, pending))
        for carrier, event in gone.items():
            if not carrier.post(event.set) or event.wait(_PATIENCE):
                event.set()
        for pending in self.lent:
            connection, late = pending.connection, not gone[pending.carrier].is_set()
            pending.carrier = pending.back = None
            if connection is None:
                continue
            if late:  # that lane waits for something, and has a use for the descriptor until it goes on
                pending.back = partial(_close, connection)
                connection.end()
            else:
                connection.close()
        if self.inbox is not None:
            self.inbox.abandon()  # nothing there keeps the memory of a caller
        self.lent.clear()

    # -- of others

    def carry(self, pending: PendingRequest) -> None:
        """Carry a request, in the middle of its body; when it has ended its ``back`` is called."""
        exchange, connection = pending.exchange, pending.connection
        assert exchange is not None
        assert connection is not None
        exchange.use_scratch(self._scratch)
        self.in_flight[connection.fd] = pending
        self._watch(connection, READ | WRITE if exchange.outgoing else READ)

    def release(self, pending: PendingRequest) -> None:
        """Give up what was carried, unless it has ended: ``back`` is called."""
        connection = pending.connection
        if connection is not None and self.in_flight.get(connection.fd) is pending:
            self._give_back(pending, None)


def _close(connection: Connection, error: Exception | None) -> None:
    """What was lent comes back when its owner has gone."""
    connection.close()
