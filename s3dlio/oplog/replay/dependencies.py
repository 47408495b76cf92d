"""When the operations of a replay begin: each when what it waited for has ended.

A log does not say what waited for what. Two things are taken from its times: an operation waited for the one of its
thread that ended last before it began, and for those before it on its object. So a thread that did one thing after
another does so again, a batch that kept 64 requests in flight keeps 64, and nothing is read before it is written.
"""

from __future__ import annotations

import heapq

from s3dlio.oplog.replay.clock import Clock
from s3dlio.oplog.replay.item import Item
from s3dlio.oplog.replay.schedule import Schedule
from s3dlio.oplog.replay.trace import Trace

_Stream = tuple[str, "int | str"]


class ClosedLoop(Schedule):
    """Operations begin as soon as those that they depend on have ended.

    Args:
        trace, speed: as of :class:`Schedule`.
        clock: of the replay.
        window: operations that are read before they can begin, at most.
        think_time: keep the recorded pauses, at ``speed``.
    """

    def __init__(self, trace: Trace, speed: float, clock: Clock, window: int, *, think_time: bool) -> None:
        super().__init__(trace, speed)
        self._clock = clock
        self._window = window
        self._think = think_time
        self._ready: list[tuple[int, int, Item]] = []
        self._unbegun = 0
        # Of each thread: those whose recorded ends are to come, and the last that has ended.
        self._open: dict[_Stream, list[tuple[int, int, Item]]] = {}
        self._last: dict[_Stream, Item] = {}
        # Of each object, what is not over.
        self._of_object: dict[str, list[Item]] = {}

    def fill(self) -> bool:
        if self.is_read or self._unbegun >= self._window:
            return False
        item = self._next()
        if item is None:
            return False
        self._unbegun += 1
        before = self._before(item)
        others = [other for other in self._on_object(item) if other is not before]
        item.due = self._moment(item, before)
        for other in (*others, before):
            if other is not None and not other.over:
                other.then.append(item)
                item.waits += 1
        if not item.waits:
            heapq.heappush(self._ready, (item.due, item.index, item))
        return True

    def _before(self, item: Item) -> Item | None:
        """The operation of its thread that ended last before it began."""
        operation = item.operation
        stream = operation.client, operation.thread
        running = self._open.setdefault(stream, [])
        while running and running[0][0] <= operation.start:
            self._last[stream] = heapq.heappop(running)[2]
        heapq.heappush(running, (operation.end, item.index, item))
        return self._last.get(stream)

    def _on_object(self, item: Item) -> list[Item]:
        """What had ended on its object before: all of it before a change, changes before a read."""
        operation = item.operation
        others = self._of_object.setdefault(operation.uri, [])
        found = [
            other for other in others
            if other.operation.end <= operation.start and (operation.is_write or other.operation.is_write)
        ]  # fmt: skip
        others.append(item)
        return found

    def _moment(self, item: Item, before: Item | None) -> int:
        """The earliest moment for it, as far as that is known."""
        if not self._think:
            return self._clock.now()
        if before is None:
            return self.at(item.operation.start)
        return self._after(item, before) if before.over else self.base

    def _after(self, item: Item, before: Item) -> int:
        pause = item.operation.start - before.operation.end if self._think else 0
        return before.ended + int(pause / self._speed)

    def due(self) -> int | None:
        return self._ready[0][0] if self._ready else None

    def take(self) -> Item:
        self._unbegun -= 1
        return heapq.heappop(self._ready)[2]

    def ended(self, item: Item) -> None:
        operation = item.operation
        others = self._of_object[operation.uri]
        others.remove(item)
        if not others:
            del self._of_object[operation.uri]
        stream = operation.client, operation.thread
        for other in item.then:
            other.waits -= 1
            same_thread = (other.operation.client, other.operation.thread) == stream
            other.due = max(other.due, self._after(other, item) if same_thread else item.ended)
            if not other.waits:
                heapq.heappush(self._ready, (other.due, other.index, other))
        item.then = []
