"""What happened when: windows of equal length, which become longer as the log does, so that their number is bounded."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from s3dlio.oplog.analysis.counts import Floats
from s3dlio.oplog.fields import Ints

#: Windows, at most. A power of two.
WINDOWS = 2048
#: Blocks of windows: what latencies over time and the comparison of runs go by.
BLOCKS = 64
PER_BLOCK = WINDOWS // BLOCKS
_SHORTEST = 1 << 14  # nanoseconds


class Move(NamedTuple):
    """Where what was counted so far goes, since the windows have changed: the new place of each window and block."""

    windows: Ints
    blocks: Ints


class Clock:
    """Which window a time is in.

    Attributes:
        width: of a window (nanoseconds).
        base: the first window: windows are counted from 1970.
    """

    def __init__(self) -> None:
        self.width = _SHORTEST
        self.base = 0
        self._low = self._high = 0
        self._is_set = False

    def fit(self, low: int, high: int) -> Move | None:
        """Have all times from ``low`` to ``high`` in windows.

        Returns:
            None if windows stay as they are.
        """
        if self._is_set:
            low, high = min(low, self._low), max(high, self._high)
            if (low, high) == (self._low, self._high):
                return None
        width = self.width
        while high // width >= _aligned(low // width) + WINDOWS:
            width *= 2
        before = Clock()
        before.width, before.base = self.width, self.base
        factor, base = width // self.width, self.base
        inside = high // width < base + WINDOWS and low // width >= base
        was_set, self._is_set = self._is_set, True
        self._low, self._high = low, high
        if was_set and factor == 1 and inside:
            return None
        self.width, self.base = width, _aligned(low // width)
        if not was_set:
            return None
        return self.move_from(before)

    def move_from(self, other: Clock) -> Move:
        """Where what was counted by another clock goes, all of whose times have been fit in here."""
        factor = self.width // other.width
        windows = (other.base + np.arange(WINDOWS)) // factor - self.base
        blocks = (other.base // PER_BLOCK + np.arange(BLOCKS)) // factor - self.base // PER_BLOCK
        return Move(np.clip(windows, 0, WINDOWS - 1), np.clip(blocks, 0, BLOCKS - 1))

    @property
    def span(self) -> tuple[int, int]:
        """The first and the last time."""
        return self._low, self._high

    def window(self, times: Ints) -> Ints:
        """The window of each time."""
        return times // self.width - self.base

    def begin(self, window: int) -> int:
        """Where a window begins (nanoseconds since 1970)."""
        return (self.base + window) * self.width


def _aligned(window: int) -> int:
    return window // PER_BLOCK * PER_BLOCK


class Timeline:
    """Counts by operation and window.

    Attributes:
        ended: operations that ended without an error in each window.
        failed: those that ended with one.
        throttled: those of these that the service refused for their number.
        bytes: of bodies, spread evenly over the time that each took.
        busy: nanoseconds that operations were in flight.
    """

    NAMES = ("ended", "failed", "throttled", "bytes", "busy")

    def __init__(self, operations: int) -> None:
        shape = (operations, WINDOWS)
        self.ended = np.zeros(shape)
        self.failed = np.zeros(shape)
        self.throttled = np.zeros(shape)
        self.bytes = np.zeros(shape)
        self.busy = np.zeros(shape)

    def move(self, windows: Ints) -> None:
        """Take over what was counted into other windows."""
        for name in self.NAMES:
            before = getattr(self, name)
            after = np.zeros_like(before)
            for operation in np.flatnonzero(before.any(axis=1)).tolist():
                after[operation] = np.bincount(windows, before[operation], WINDOWS)
            setattr(self, name, after)

    def take(self, other: Timeline, codes: Ints) -> None:
        """Add what another timeline with the same windows has, whose operations have other numbers."""
        for name in self.NAMES:
            np.add.at(getattr(self, name), codes, getattr(other, name)[: codes.size])

    def count(self, name: str, operations: Ints, windows: Ints) -> None:
        """Add one for each row."""
        there = getattr(self, name)
        there += np.bincount(operations * WINDOWS + windows, minlength=there.size).reshape(there.shape)

    def spread(self, clock: Clock, operations: Ints, starts: Ints, ends: Ints, sizes: Ints) -> None:
        """Add bytes and the time in flight of each row to the windows that it lies in."""
        first, last = clock.window(starts), clock.window(ends)
        took = np.maximum(ends - starts, 1).astype(np.float64)
        rates = sizes / took
        # A window gets what is before its end less what is before its begin; in between, the same from each row.
        head = np.minimum((first + clock.base + 1) * clock.width, ends) - starts
        tail = np.where(last > first, ends - (last + clock.base) * clock.width, 0)
        single = operations * WINDOWS + first
        _add(self.busy, single, head)
        _add(self.bytes, single, np.where(last > first, rates * head, sizes))
        rows = np.flatnonzero(last > first)
        if not rows.size:
            return
        operations, first, last, rates = operations[rows], first[rows], last[rows], rates[rows]
        end = operations * WINDOWS + last
        _add(self.busy, end, tail[rows])
        _add(self.bytes, end, rates * tail[rows])
        inner = last - first > 1
        operations, first, last, rates = operations[inner], first[inner], last[inner], rates[inner]
        if operations.size:
            begin, end = operations * WINDOWS + first + 1, operations * WINDOWS + last
            _add_between(self.busy, begin, end, np.full(begin.size, float(clock.width)))
            _add_between(self.bytes, begin, end, rates * clock.width)


def _add(there: Floats, places: Ints, amounts: npt.NDArray[Any]) -> None:
    low = int(places.min())
    found = np.bincount(places - low, amounts)
    there.reshape(-1)[low : low + found.size] += found


def _add_between(there: Floats, begins: Ints, ends: Ints, amounts: Floats) -> None:
    """Add each amount to all places from its begin to before its end."""
    low = int(begins.min())
    size = int(ends.max()) - low + 1
    changes = np.bincount(begins - low, amounts, size) - np.bincount(ends - low, amounts, size)
    there.reshape(-1)[low : low + size - 1] += np.cumsum(changes)[:-1]
