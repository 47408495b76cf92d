"""A shuffled order that is computed, not stored: a keyed permutation with random access.

Position and value are written as two digits, ``left * width + right``, with ``height * width`` hardly above the count.
Each round adds a hash of one digit to the other, as in a Feistel network, so every round can be undone and the whole
is a permutation; a result at or above the count goes through the network again.
"""

from __future__ import annotations

import hashlib
import math
from typing import Any

import numpy as np

#: So many that few samples are in every order equally often, too.
_ROUNDS = 12
_FIRST = 0xBF58476D1CE4E5B9
_SECOND = 0x94D049BB133111EB


class Permutation:
    """A permutation of ``range(count)``, the same for the same key on every machine.

    Args:
        count: how many there are; below 2**62.
        key: integers of any size that choose the permutation, such as a seed and an epoch.
    """

    def __init__(self, count: int, *key: int) -> None:
        self.count = count
        self._height = math.isqrt(max(count - 1, 0)) + 1
        self._width = -(-count // self._height) or 1
        self._keys = [_key((count, *key), turn) for turn in range(_ROUNDS)]

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, position: int) -> int:
        if not -self.count <= position < self.count:
            raise IndexError(f"position {position} of {self.count}")
        return int(self.at(np.array([position % self.count]))[0])

    def at(self, positions: Any) -> Any:
        """The values at many positions: an array of int64 for another; 0.15 us each."""
        values = self._once(np.asarray(positions, np.uint64))
        while (outside := np.flatnonzero(values >= self.count)).size:
            values[outside] = self._once(values[outside])
        return values.astype(np.int64)

    def _once(self, values: Any) -> Any:
        left, right = np.divmod(values, np.uint64(self._width))
        for turn, key in enumerate(self._keys):
            if turn % 2:
                right = _shifted(right, left, key, self._width)
            else:
                left = _shifted(left, right, key, self._height)
        return left * np.uint64(self._width) + right


class Draws:
    """Samples drawn of ``range(count)``, each of all: some come twice, others not at all. As :class:`Permutation` is.

    Args:
        count: how many there are.
        key: integers that choose the draws.
    """

    def __init__(self, count: int, *key: int) -> None:
        self.count = count
        self._key = np.uint64(_key((count, *key), _ROUNDS))

    def at(self, positions: Any) -> Any:
        """The values at many positions: an array of int64 for another."""
        drawn = _mixed(_mixed(np.asarray(positions, np.uint64) + self._key) ^ self._key) >> np.uint64(32)
        if self.count <= 1 << 32:
            return (drawn * np.uint64(self.count) >> np.uint64(32)).astype(np.int64)
        return (_mixed(drawn + self._key) % np.uint64(self.count)).astype(np.int64)


def _key(key: tuple[int, ...], turn: int) -> int:
    text = ",".join(map(str, key)).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8, salt=bytes([turn])).digest(), "little")


def _mixed(values: Any) -> Any:
    """A hash of 64 bits, of which the upper ones are the better half."""
    mixed = values * np.uint64(_FIRST)
    mixed ^= mixed >> np.uint64(32)
    mixed *= np.uint64(_SECOND)
    return mixed


def _shifted(digit: Any, other: Any, key: int, base: int) -> Any:
    """``digit`` plus a hash of the other one, modulo the base; all in 64 bits, since a base has 32 at most."""
    mixed = _mixed(other ^ np.uint64(key)) >> np.uint64(32)
    digit = digit + (mixed * np.uint64(base) >> np.uint64(32))
    return np.where(digit >= base, digit - np.uint64(base), digit)
