"""Objects that are read more than once, and rows that stand in several logs, of any number in bounded memory.

Names are known by 64-bit hashes. Up to a number of distinct ones all are kept; beyond, those whose hash ends in one
more zero, and so on: a fair sample, in which everything about a name that is in it is exact.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from s3dlio.oplog.fields import Ints, Words

_SPREAD = np.uint64(0xBF58476D1CE4E5B9)


class Sample:
    """How often each of many hashes came, and two more numbers of each, added up.

    Args:
        limit: of distinct hashes that are kept.
    """

    def __init__(self, limit: int = 1 << 18) -> None:
        self._limit = limit
        self._mask = np.uint64(0)
        self._waiting: list[tuple[Words, Ints, Ints, Ints]] = []
        self._waits = 0
        self.keys: Words = np.empty(0, np.uint64)
        self.counts: Ints = np.empty(0, np.int64)
        self.amounts: Ints = np.empty(0, np.int64)
        self.bits: Ints = np.empty(0, np.int64)

    @property
    def share(self) -> float:
        """What part of all hashes is looked at."""
        return 1 / (int(self._mask) + 1)

    def add(self, hashes: Words, amounts: Ints, bits: Ints) -> None:
        """Count hashes: ``amounts`` are summed up, ``bits`` or-ed."""
        hashes = (hashes ^ (hashes >> np.uint64(30))) * _SPREAD
        hashes ^= hashes >> np.uint64(27)
        if self._mask:
            chosen = (hashes & self._mask) == 0
            hashes, amounts, bits = hashes[chosen], amounts[chosen], bits[chosen]
        if hashes.size:
            self._waiting.append((hashes, np.ones(hashes.size, np.int64), amounts, bits))
            self._waits += hashes.size
        if self._waits >= self._limit:
            self.merge()

    def take(self, other: Sample) -> None:
        """Count what another sample of the same limit has."""
        other.merge()
        self._mask = max(self._mask, other._mask)
        self._waiting.append((other.keys, other.counts, other.amounts, other.bits))
        self._waits += other.keys.size
        self.merge()

    def merge(self) -> None:
        """Count what waits."""
        if not self._waits:
            return
        keys = np.concatenate((self.keys, *(one[0] for one in self._waiting)))
        counts = np.concatenate((self.counts, *(one[1] for one in self._waiting)))
        amounts = np.concatenate((self.amounts, *(one[2] for one in self._waiting)))
        bits = np.concatenate((self.bits, *(one[3] for one in self._waiting)))
        self._waiting, self._waits = [], 0
        while True:
            if self._mask:
                chosen = (keys & self._mask) == 0
                keys, counts, amounts, bits = keys[chosen], counts[chosen], amounts[chosen], bits[chosen]
            order = np.argsort(keys)
            keys, counts, amounts, bits = keys[order], counts[order], amounts[order], bits[order]
            firsts = np.flatnonzero(np.concatenate(([True], keys[1:] != keys[:-1]))[: keys.size])
            if firsts.size <= self._limit:
                break
            self._mask = self._mask * np.uint64(2) + np.uint64(1)
        self.keys = keys[firsts]
        self.counts = _reduced(np.add, counts, firsts)
        self.amounts = _reduced(np.add, amounts, firsts)
        self.bits = _reduced(np.bitwise_or, bits, firsts)


def _reduced(how: np.ufunc, values: Ints, firsts: Ints) -> Ints:
    found: npt.NDArray[np.int64] = how.reduceat(values, firsts) if firsts.size else values[:0]
    return found
