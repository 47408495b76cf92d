"""How much a reader of many objects may have asked for and not taken."""

from __future__ import annotations

from collections import deque

_RECENT = 64  # so many sizes tell what the next object may have
_FIRST = 8  # so many objects whose size nobody knows yet fill the bytes that there is room for,
_FIRST_SIZE = 16 << 20  # or fewer, of this size: where there is little room, large ones shall not take many times that


class Room:
    """How much has been asked for and not been taken: a number of objects, and their bytes, as far as those are known.

    An object whose size nobody has told yet counts as the largest of the last ones.
    """

    def __init__(self, objects: int, size: int) -> None:
        self._objects = objects
        self._bytes = size
        self._sizes: dict[int, int] = {}  # position -> bytes
        self._held = 0
        self._recent: deque[int] = deque(maxlen=_RECENT)

    @property
    def is_roomy(self) -> bool:
        """So many more fit, as far as their number goes, that it is worth to ask for them."""
        return len(self._sizes) <= self._objects - max(1, self._objects // 4)

    @property
    def is_full(self) -> bool:
        """There are as many objects as there may be."""
        return len(self._sizes) >= self._objects

    def take(self, position: int, length: int | None) -> bool:
        """Take room for one more, of this length where it is known; False where there is none. One alone always
        fits."""
        taken = len(self._sizes)
        if taken >= self._objects:
            return False
        if length is None:
            length = max(self._recent) if self._recent else max(self._bytes // _FIRST, _FIRST_SIZE)
        if taken and self._held + length > self._bytes:
            return False
        self._held += length
        self._sizes[position] = length
        return True

    def has(self, position: int) -> bool:
        """Whether there is room taken for this object."""
        return position in self._sizes

    def correct(self, position: int, size: int) -> bool:
        """The size of an object is known; whether there is more room by that."""
        before = self._sizes.get(position)
        if before is None:
            return False
        self._held += size - before
        self._sizes[position] = size
        self._recent.append(size)
        return size < before

    def give_back(self, position: int) -> None:
        self._held -= self._sizes.pop(position)
