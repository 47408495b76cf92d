"""Requests whose credentials are to be fetched first: a thread does that, and nothing else waits for it."""

from __future__ import annotations

from collections.abc import Callable

from s3dlio.net.pending import PendingRequest
from s3dlio.net.sharing import SharingMultiplexer


class HoldingMultiplexer(SharingMultiplexer):
    """Sends no request before its service is ready, unless ``hold`` has it sent all the same."""

    #: Takes a request whose service is not ready; False: it is sent now.
    hold: Callable[[PendingRequest], bool]

    def start(self, pending: PendingRequest) -> None:
        if pending.request.service.ready() or not self.hold(pending):
            super().start(pending)
