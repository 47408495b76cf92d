"""Requests that are not sent at once: credentials are fetched first, or no server has room. Nothing else waits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from s3dlio.net.pending import PendingRequest
from s3dlio.net.sharing import SharingMultiplexer


class HoldingMultiplexer(SharingMultiplexer):
    """Sends no request before its service is ready, unless ``hold`` has it sent all the same; of several servers, to
    the one that is chosen."""

    #: Takes a request whose service is not ready; False: it is sent now.
    hold: Callable[[PendingRequest], bool]
    #: Takes a request for which no server has room; True: one has, now.
    wait: Callable[[PendingRequest], bool]

    def start(self, pending: PendingRequest) -> None:
        service = pending.request.service
        if not service.ready() and self.hold(pending):
            return
        if service.spread is None or service.spread.begin(pending.request) or self.wait(pending):
            super().start(pending)

    def drop(self, task: Any) -> int:
        for pending in (*self.in_flight.values(), *self.lent):
            spread = pending.request.service.spread
            if spread is not None and pending.task is task:
                spread.end(pending.request, None, None)
        return super().drop(task)
