"""The multiplexer that lets requests wait for a disk while others go on. Where none does, nothing of this runs."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from s3dlio.memory.caller_buffer import without_frames
from s3dlio.memory.waiting import Then, Waiting, in_place
from s3dlio.net.connection import READ, Connection
from s3dlio.net.exchange import Exchange
from s3dlio.net.holding import HoldingMultiplexer
from s3dlio.net.pending import PendingRequest

if TYPE_CHECKING:
    from concurrent.futures import Future

#: Runs what blocks on another thread.
Aside = Callable[[Callable[[], Any]], "Future[Any]"]


class ReadingMultiplexer(HoldingMultiplexer):
    """Goes on with other requests while one waits for a disk."""

    _reads: Aside | None = None

    def read_aside(self, reads: Aside) -> None:
        """Wait for no disk: ``reads`` has threads for that."""
        self._reads = reads
        self.patient = True

    def await_disk(self, waiting: Waiting, then: Then) -> None:
        """Have ``then`` called on the thread of this lane when ``waiting`` is over."""
        reads = self._reads
        try:
            post = self.open_inbox().post
        except OSError:  # no descriptor is left: what would wake this lane
            reads = None
        if reads is None:
            waiting.begin(in_place, then)
            return

        def run(work: Callable[[], object], ended: Then) -> None:
            def tell(done: Future[object]) -> None:
                error = done.exception()
                ended(error if error is None else without_frames(error))  # of another thread, with its memory

            reads(work).add_done_callback(tell)

        def over(error: BaseException | None) -> None:
            post(partial(then, error))

        waiting.begin(run, over)

    def _fail(self, pending: PendingRequest, error: Exception) -> None:
        if type(error) is not Waiting:
            super()._fail(pending, error)
            del error
            return
        connection, exchange = pending.connection, pending.exchange
        assert connection is not None
        self.in_flight[connection.fd] = pending
        if exchange is None or exchange.response is not None:
            self._unwatch(connection)
        else:
            self._watch(connection, READ)  # the server may refuse what it gets
        pending.deadline = math.inf  # it is not the server that is slow
        self.await_disk(error.with_traceback(None), partial(self._resume, pending, connection, exchange))

    def _resume(
        self, pending: PendingRequest, connection: Connection, exchange: Exchange | None, error: BaseException | None
    ) -> None:
        """The disk is ready, or has failed."""
        if self.in_flight.get(connection.fd) is not pending or pending.exchange is not exchange:
            return  # given up, ended or handed over meanwhile
        pending.deadline = 0.0
        if isinstance(error, Exception):
            self._fail(pending, error)
        elif exchange is None:
            self._begin(pending, connection)
        elif not exchange.done:
            self._go_on_with(pending, connection, exchange)

    def _go_on_with(self, pending: PendingRequest, connection: Connection, exchange: Exchange) -> None:
        try:
            if exchange.response is not None:
                exchange.next_stage()
            elif (body := exchange.request.body) is not None:
                exchange.refill(body)
        except Exception as error:  # perhaps it waits again
            self._fail(pending, error)
            return
        if exchange.outgoing:
            self._send(pending, connection, exchange)
            return
        self._watch(connection, READ)
        self._receive(pending, connection, exchange)
