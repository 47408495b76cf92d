"""One worker within a batch, as the parent sees it: what it was given, and what it has not answered."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from s3dlio.engine.process_job import Leases, Work
from s3dlio.engine.processes import WorkerProcess
from s3dlio.memory.shared import Segment
from s3dlio.net import system

#: A worker has as many items more than it works on as it does in so long (seconds), and no more than so many.
_AHEAD_SECONDS, _MOST_AHEAD = 0.03, 512


class _Pack:
    """Payloads that went out together, in one lease, which ends with the last of them."""

    def __init__(self, view: memoryview, count: int) -> None:
        self.view = view
        self.left = count


class Member:
    """One worker within a batch, with its number there."""

    def __init__(self, worker: WorkerProcess, number: int, width: int) -> None:
        self.worker = worker
        self.number = number
        self.width = width
        self.has: dict[int, Any] = {}  # what it was given and has not answered: position -> item
        self.sent_bytes = 0
        self.done = 0
        self.ahead = min(32, max(1, width // 2))
        self.began = system.monotonic()
        self.leases: Leases = {}
        self.packs: dict[int, _Pack] = {}  # by the position of each item
        self.is_alone = False  # it has one item that others died with
        self.is_over = False

    @property
    def room(self) -> int:
        """How many more items it may have."""
        return 0 if self.is_alone else self.width + self.ahead - len(self.has)

    def send(self, message: Any, fds: Sequence[int] = ()) -> None:
        """Send a message; where the worker has died, that is seen when its channel is read."""
        with suppress(OSError):
            self.worker.channel.send(message, fds)

    def give(self, work: Work, items: list[tuple[int, Any]]) -> None:
        """Give it items, by their positions."""
        worker = self.worker
        indices = [index for index, _ in items]
        self.has.update(items)
        messages: list[Any] = [work.message(item) for _, item in items]
        lease = None
        segments: list[Segment] = []
        if work.has_payloads:
            messages, lease = self._packed(work, items, messages)
            segments = worker.payloads.take_unannounced(1)
        about = [(segment.number, segment.length) for segment in segments]
        fds = [segment.fd for segment in segments]
        try:
            self.send(("items", indices, messages, worker.memory.take_released(), about, lease), fds)
        finally:
            for fd in fds:
                os.close(fd)

    def _packed(
        self, work: Work, items: list[tuple[int, Any]], messages: list[Any]
    ) -> tuple[list[Any], tuple[int, int, int, int]]:
        """Payloads, in a lease that ends when all of them are written."""
        sizes = [work.size(item) for _, item in items]
        lease = self.worker.payloads.lease(sum(sizes))
        offset, packed = 0, []
        for (_, item), size, message in zip(items, sizes, messages, strict=True):
            work.fill(item, lease.view[offset : offset + size])
            packed.append((message, offset, size))
            offset += size
        self.packs |= dict.fromkeys([index for index, _ in items], _Pack(lease.view, len(items)))
        self.sent_bytes += offset
        return packed, (0, *lease[1:])

    def answered(self, indices: list[int]) -> None:
        """It has answered these."""
        for index in indices if self.packs else ():
            pack = self.packs.pop(index)
            pack.left -= 1
            if not pack.left:
                self.sent_bytes -= len(pack.view)
        self.is_alone = self.is_alone and bool(self.has)
        self.done += len(indices)
        seconds = max(1e-3, system.monotonic() - self.began)
        self.ahead = min(_MOST_AHEAD, max(1, int(_AHEAD_SECONDS * self.done / seconds)))
