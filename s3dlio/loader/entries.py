"""Many stretches of many objects in little memory: 16 bytes each."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from operator import index as index_of
from typing import Any, overload

#: A URI, or (URI, offset, length).
Entry = Any


def uri_of(entry: Entry) -> str:
    """The URI of the object that an entry is of."""
    uri: str = entry[0] if isinstance(entry, tuple) else entry
    return uri


class StretchEntries(Sequence[Entry]):
    """(URI, offset, length) of each, in the order in which they were added."""

    def __init__(self) -> None:
        self._uris: list[str] = []
        self._first: list[int] = []
        self._offsets, self._lengths = array("Q"), array("Q")

    def add(self, uri: str, stretches: Iterable[tuple[int, int]]) -> None:
        """The stretches (offset, length) of one more object; it may have none."""
        first = len(self._offsets)
        for offset, length in stretches:
            self._offsets.append(offset)
            self._lengths.append(length)
        if len(self._offsets) > first:
            self._uris.append(uri)
            self._first.append(first)

    def __len__(self) -> int:
        return len(self._offsets)

    @overload
    def __getitem__(self, index: int) -> Entry: ...
    @overload
    def __getitem__(self, index: slice) -> list[Entry]: ...
    def __getitem__(self, index: int | slice) -> Entry | list[Entry]:
        if isinstance(index, slice):
            return [self._at(position) for position in range(*index.indices(len(self)))]
        position = index_of(index)
        if position < 0:
            position += len(self)
        if not 0 <= position < len(self):
            raise IndexError(f"there are {len(self)} samples, not one with the index {index}")
        return self._at(position)

    def _at(self, position: int) -> tuple[str, int, int]:
        uri = self._uris[bisect_right(self._first, position) - 1]
        return uri, self._offsets[position], self._lengths[position]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self)} samples of {len(self._uris)} objects)"
