"""Texts of which there are few, such as operations and endpoints, as small numbers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from s3dlio.oplog.batch import Texts
from s3dlio.oplog.fields import Ints, Words

OTHERS = "(others)"
#: Texts that are remembered, at most: there are fewer names than that where a transform makes one of several.
_KNOWN = 1 << 16


class Codes:
    """Gives each text a number, from 0 in the order in which they came; what comes after the limit shares one.

    Args:
        limit: of numbers, with that of the others.
        named: what a text is called; two with one name have one number.
    """

    def __init__(self, limit: int, named: Callable[[str], str] = str) -> None:
        self.names: list[str] = []
        self._limit = limit
        self._named = named
        self._numbers: dict[str, int] = {}
        self._known: Words = np.empty(0, np.uint64)
        self._codes: Ints = np.empty(0, np.int64)

    def __len__(self) -> int:
        return len(self.names)

    def of(self, texts: Texts | None, count: int) -> Ints:
        """The numbers of a column; where there is none, of as many empty texts."""
        if texts is None:
            return np.full(count, self._number(""))
        found = texts.hashes()
        places = self._places(found)
        if places is None:
            self._learn(found, texts)
            places = self._places(found)
            if places is None:  # more texts than are remembered
                hits = np.minimum(np.searchsorted(self._known, found), self._known.size - 1)
                return np.where(self._known[hits] == found, self._codes[hits], self._number(OTHERS))
        return self._codes[places]

    def _places(self, found: Words) -> Ints | None:
        if not self._known.size:
            return None
        places = np.minimum(np.searchsorted(self._known, found), self._known.size - 1)
        return places if bool((self._known[places] == found).all()) else None

    def _learn(self, found: Words, texts: Texts) -> None:
        fresh, rows = np.unique(found, return_index=True)
        is_new = ~np.isin(fresh, self._known)
        fresh, rows = fresh[is_new], rows[is_new]
        order = np.argsort(rows)[: _KNOWN - self._known.size]
        numbers = [self._number(self._named(texts[row])) for row in rows[order].tolist()]
        known = np.concatenate((self._known, fresh[order]))
        codes = np.concatenate((self._codes, np.array(numbers, np.int64)))
        sorted_ = np.argsort(known)
        self._known, self._codes = known[sorted_], codes[sorted_]

    def merged(self, other: Codes) -> Ints:
        """The numbers here of all texts of another one."""
        return np.array([self._number(name) for name in other.names], np.int64)

    def _number(self, name: str) -> int:
        number = self._numbers.get(name)
        if number is None:
            if len(self.names) >= self._limit - 1 and name != OTHERS:
                return self._number(OTHERS)
            number = self._numbers[name] = len(self.names)
            self.names.append(name)
        return number
