"""When the operations of a replay begin: each at its recorded time."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable

from s3dlio.oplog.replay.item import Item
from s3dlio.oplog.replay.operation import Operation
from s3dlio.oplog.replay.trace import Trace

#: Operations that are made ready before their time, and the bytes that they may hold.
AHEAD = 1024
AHEAD_BYTES = 64 << 20


class Schedule(ABC):
    """Reads operations, and says which one begins when.

    Args:
        trace: the operations, in the order of their recorded starts.
        speed: of the replay; 2 is twice as fast.
    """

    def __init__(self, trace: Trace, speed: float) -> None:
        self._trace = trace
        self._operations = iter(trace)
        self._peeked: Operation | None = None
        self._speed = speed
        self._count = 0
        #: The replay's moment 0.
        self.base = 0
        #: All operations have been read.
        self.is_read = False

    def open(self) -> None:
        """Read up to the first operation: from now on it is known when everything began."""
        self._peeked = next(self._operations, None)
        self.is_read = self._peeked is None

    def _next(self) -> Item | None:
        operation, self._peeked = self._peeked, None
        if operation is None and (operation := next(self._operations, None)) is None:
            self.is_read = True
            return None
        item = Item(operation, self._count)
        self._count += 1
        return item

    def begin(self, base: int) -> None:
        """The first operation of the trace is to begin at ``base``; the others follow."""
        self.base = base

    def at(self, recorded: int) -> int:
        """When to begin what was recorded then."""
        if math.isinf(self._speed):
            return self.base
        assert self._trace.first is not None
        return self.base + int((recorded - self._trace.first) / self._speed)

    @abstractmethod
    def fill(self) -> bool:
        """Read another operation; False: there is none, or too many wait already."""

    @abstractmethod
    def due(self) -> int | None:
        """When the next one is to begin; None: none can, before another is read or has ended."""

    @abstractmethod
    def take(self) -> Item:
        """That one."""

    @abstractmethod
    def ended(self, item: Item) -> None:
        """It is over."""


class OpenLoop(Schedule):
    """Operations begin at their times, whatever becomes of those before: the load does not wait for the store.

    Args:
        trace, speed: as of :class:`Schedule`.
        prepare: makes an operation ready to begin, before its time.
    """

    def __init__(self, trace: Trace, speed: float, prepare: Callable[[Item], None]) -> None:
        super().__init__(trace, speed)
        self._prepare = prepare
        self._waiting: deque[Item] = deque()
        self._held = 0

    def fill(self) -> bool:
        if self.is_read or len(self._waiting) >= AHEAD or (self._waiting and self._held >= AHEAD_BYTES):
            return False
        item = self._next()
        if item is None:
            return False
        self._prepare(item)
        self._held += item.held
        self._waiting.append(item)
        return True

    def due(self) -> int | None:
        return self.at(self._waiting[0].operation.start) if self._waiting else None

    def take(self) -> Item:
        item = self._waiting.popleft()
        item.due = self.at(item.operation.start)
        self._held -= item.held
        return item

    def ended(self, item: Item) -> None:
        return None
