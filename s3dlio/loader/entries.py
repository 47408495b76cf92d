"""Many stretches of many objects in little memory: 16 bytes each."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from operator import index as index_of
from typing import Any, overload

from s3dlio.errors import ObjectChangedError
from s3dlio.types import Conditions

#: A URI, or (URI, offset, length).
Entry = Any


def uri_of(entry: Entry) -> str:
    """The URI of the object that an entry is of."""
    uri: str = entry[0] if isinstance(entry, tuple) else entry
    return uri


def check_size(entry: Entry, listed: int, read: int) -> None:
    """Compare the bytes of an object that was read with its size when it was listed.

    Raises:
        ObjectChangedError: it is another one.
    """
    if listed != read:
        raise ObjectChangedError(
            f"the object has {read} bytes, and had {listed} when it was listed", uri=uri_of(entry), operation="GET",
            hint="it was replaced, or cut short: make the data set anew, or say check_sizes=False",
        )  # fmt: skip


class SizesAhead:
    """The sizes of the samples of a pass, from when these are asked for until they are delivered.

    Args:
        sizes: of all samples, by their index.
    """

    def __init__(self, sizes: Sequence[int]) -> None:
        self._sizes = sizes
        self._by_position: dict[int, int] = {}

    def noting(self, indices: Iterable[int]) -> Iterator[int]:
        """The indices of a pass, as they are asked for."""
        for position, index in enumerate(indices):
            self._by_position[position] = self._sizes[index]
            yield index

    def check(self, position: int, entry: Entry, read: int) -> None:
        """See :func:`check_size`, of the sample that was asked for at this position."""
        listed = self._by_position.pop(position, read)  # again after an interrupt: that was done
        check_size(entry, listed, read)


class StretchEntries(Sequence[Entry]):
    """(URI, offset, length) of each, in the order in which they were added."""

    def __init__(self) -> None:
        #: The version of each object that was looked into, where its store can be held to one.
        self.pins: dict[str, Conditions] = {}
        self._uris: list[str] = []
        self._first: list[int] = []
        self._offsets, self._lengths = array("Q"), array("Q")

    def add(self, uri: str, stretches: Iterable[tuple[int, int]], pin: Conditions | None = None) -> None:
        """The stretches (offset, length) of one more object; it may have none.

        Args:
            uri: the object.
            stretches: what lies where in it.
            pin: the version that this is true of.
        """
        if pin is not None:
            self.pins[uri] = pin
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
