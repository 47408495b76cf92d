"""What is left of an epoch's order after some ranks and workers read parts of it.

Ranks take samples in turn: sample ``i`` of rank ``r`` is the one at place ``r + ranks * i``. Workers of a rank take
its batches in turn, as the consumer of a ``DataLoader`` asks them for. So the order of all samples depends on neither
number, and where all ranks are equally far, what was read is the beginning of the order and nothing else. Where they
are not, what is left has gaps; it is described by how far each of them got, and any place of it is found without
going through those before.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, Self

import numpy as np


class Deal(NamedTuple):
    """How an order is dealt out: in turn to the ranks, and in batches to the workers of each."""

    ranks: int = 1
    workers: int = 1
    batch: int = 1

    @property
    def streams(self) -> list[tuple[int, int]]:
        """Every consumer: its rank and its worker."""
        return [(rank, worker) for rank in range(self.ranks) for worker in range(self.workers)]

    def place(self, stream: tuple[int, int], offset: Any) -> Any:
        """Where the sample at an offset of a consumer's own order stands in the order of all; for arrays, too."""
        rank, worker = stream
        turn, within = offset // self.batch, offset % self.batch
        return rank + self.ranks * ((turn * self.workers + worker) * self.batch + within)

    def share(self, stream: tuple[int, int], left: int, drop_last: bool) -> int:
        """How many of ``left`` samples are a consumer's; with ``drop_last``, of what fills batches of all ranks."""
        if drop_last:
            left = left // (self.ranks * self.batch) * (self.ranks * self.batch)
        return int(self.below(stream, left))

    def below(self, stream: tuple[int, int], place: Any) -> Any:
        """How many of the first ``place`` samples are a consumer's; for arrays, too."""
        rank, worker = stream
        of_rank = np.maximum(place - rank + self.ranks - 1, 0) // self.ranks
        cycles, rest = np.divmod(of_rank, self.batch * self.workers)
        return cycles * self.batch + np.clip(rest - worker * self.batch, 0, self.batch)


class Level(NamedTuple):
    """What consumers read of an order.

    ``start``: so many were read before it was dealt out. ``counts``: how far each consumer got, by ``deal.streams``;
    none, if nothing was dealt out. ``late``: places before that which are still to come, ascending.
    """

    start: int = 0
    deal: Deal = Deal()
    counts: tuple[int, ...] = ()
    late: tuple[int, ...] = ()

    @property
    def passed(self) -> int:
        """How many places were passed, those that are late included."""
        return self.start + sum(self.counts)

    @property
    def end(self) -> int:
        """Nothing was read from this place on."""
        places = [
            self.deal.place(stream, count - 1) + 1
            for stream, count in zip(self.deal.streams, self.counts, strict=False)
            if count
        ]
        return self.start + max(places, default=0)

    @property
    def solid(self) -> int:
        """All was passed up to this place."""
        if not self.counts:
            return self.start
        return self.start + int(min(map(self.deal.place, self.deal.streams, self.counts)))

    @property
    def settled(self) -> int:
        """From this place of what is left on, it has no gaps."""
        return self.end - self.passed + len(self.late)

    def at(self, places: Any) -> Any:
        """Where places of what is left stand in the order."""
        ahead = places - len(self.late)
        found = ahead + self.passed
        if (gaps := np.flatnonzero((ahead >= 0) & (found < self.end))).size:
            found[gaps] = self._among_gaps(ahead[gaps])
        if self.late and (late := np.flatnonzero(ahead < 0)).size:
            found[late] = np.array(self.late, np.int64)[places[late]]
        return found

    def _among_gaps(self, wanted: Any) -> Any:
        """The places before which so many were not passed, and which were not: by bisection."""
        low = wanted + self.start
        high = wanted + self.passed
        while (open_ := low < high).any():
            middle = (low + high) // 2
            enough = middle + 1 - self._passed_below(middle + 1) > wanted
            high = np.where(open_ & enough, middle, high)
            low = np.where(open_ & ~enough, middle + 1, low)
        return low

    def _passed_below(self, place: Any) -> Any:
        dealt = place - self.start
        return self.start + sum(
            np.minimum(self.deal.below(stream, dealt), count)
            for stream, count in zip(self.deal.streams, self.counts, strict=True)
        )

    def plain(self) -> Self:
        """The same, said with as little as possible."""
        if not self.counts:
            return self
        if self.end == self.passed:
            return type(self)(start=self.passed, late=self.late)
        turns = min(self.counts) // self.deal.batch
        if not turns:
            return self
        read = turns * self.deal.batch
        counts = tuple(count - read for count in self.counts)
        return self._replace(start=self.start + read * len(counts), counts=counts)


class Remaining:
    """What is left of an order of ``count`` samples; each level is of what the one before left.

    Args:
        count: how many samples the whole order has.
        levels: what was read.
    """

    __slots__ = ("count", "left", "levels")

    def __init__(self, count: int, levels: Iterable[Level] = ()) -> None:
        self.count = count
        self.levels = _merged(levels)
        self.left = count - sum(level.passed - len(level.late) for level in self.levels)

    def at(self, places: Any) -> Any:
        """Where places of what is left stand in the whole order: an array of int64 for another."""
        for level in reversed(self.levels):
            places = level.at(places)
        return places

    def after(self, deal: Deal, counts: Sequence[int], late: Sequence[int] = ()) -> Remaining:
        """What is left after so many more samples of each consumer.

        Args:
            deal: how what is left was dealt out.
            counts: how far each consumer got.
            late: places, of what is left, before that which are still to come.
        """
        return Remaining(self.count, (*self.levels, Level(0, deal, tuple(counts), tuple(sorted(late)))))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Remaining) and (other.count, other.levels) == (self.count, self.levels)

    def __hash__(self) -> int:
        return hash((self.count, self.levels))


def _merged(levels: Iterable[Level]) -> tuple[Level, ...]:
    """The same levels, fewer where one has passed all the gaps of the one before."""
    made: list[Level] = []
    for level in levels:
        level = level.plain()
        while made and made[-1].settled <= level.solid:
            before = made.pop()
            shift = before.passed - len(before.late)
            level = level._replace(
                start=level.start + shift, late=tuple(map(int, before.at(np.array(level.late, np.int64))))
            ).plain()
        if level != Level():
            made.append(level)
    return tuple(made)
