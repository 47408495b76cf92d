"""Ranges of many objects in one batch, each with its own outcome; small ones near each other are one request."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from s3dlio.engine.session import Session
from s3dlio.memory.sinks import MemorySink
from s3dlio.memory.view import BytesView
from s3dlio.stores.base import ObjectStore
from s3dlio.stores.call import Call
from s3dlio.transfer.many import Outcomes
from s3dlio.transfer.range_reads import GAP
from s3dlio.types import NO_CONDITIONS, Conditions

#: Bytes that several ranges of one object, with what lies between them, may have to be read by one request.
_TOGETHER = 8 << 20


class Range(NamedTuple):
    """A range of one object, in bytes.

    Args:
        uri: which object.
        offset: where it starts.
        length: its bytes; None: to the end. Past the end of the object there are none, and no error.
        conditions: the version that is meant.
    """

    uri: str
    offset: int
    length: int | None
    conditions: Conditions = NO_CONDITIONS


class _Group:
    """Ranges of one object that one request reads; ``end`` is None where it reads to the end of the object."""

    __slots__ = ("end", "positions", "start")

    def __init__(self, position: int, start: int, end: int | None) -> None:
        self.positions = [position]
        self.start = start
        self.end = end

    def takes(self, position: int, start: int, end: int | None, gap: int) -> bool:
        """Take one more range, if it is near enough; ranges come in the order of their offsets."""
        if self.end is None or end is None or start - self.end > gap or max(end, self.end) - self.start > _TOGETHER:
            return False
        self.positions.append(position)
        self.end = max(end, self.end)
        return True


def get_ranges(
    session: Session, ranges: Sequence[Range], width: int = 64, *, gap: int = GAP
) -> list[BytesView | BaseException]:
    """Read all ranges, ``width`` requests at a time.

    Args:
        session: whose stores and threads are used.
        ranges: which.
        width: how many requests are in flight at most.
        gap: two ranges with so many bytes between them, or fewer, are read together, up to 8 MiB.

    Returns:
        The bytes of each, or the error in their place; ranges that were read together share their memory.

    Raises:
        InvalidURIError: one of them names no object; nothing was read.
    """
    stores, keys = session.stores.find_all([each.uri for each in ranges])
    for store, key in zip(stores, keys, strict=True):
        store.check_key(key, "GET_RANGE")
    groups = _grouped(ranges, gap)
    outcomes = _GroupReads(groups, ranges, stores, keys)
    chosen = [stores[group.positions[0]] for group in groups]
    outcomes.run(chosen, outcomes.call, session, width)
    return outcomes.found


def _grouped(ranges: Sequence[Range], gap: int) -> list[_Group]:
    by_object: dict[tuple[str, Conditions], list[int]] = {}
    for position, each in enumerate(ranges):
        by_object.setdefault((each.uri, each.conditions), []).append(position)
    groups: list[_Group] = []
    for positions in by_object.values():
        group: _Group | None = None
        for position in sorted(positions, key=lambda position: ranges[position].offset):
            start, length = ranges[position].offset, ranges[position].length
            end = None if length is None else start + length
            if group is None or not group.takes(position, start, end, gap):
                group = _Group(position, start, end)
                groups.append(group)
    return groups


class _GroupReads(Outcomes):
    """Reads groups, and hands each range its own bytes or error."""

    def __init__(
        self, groups: Sequence[_Group], ranges: Sequence[Range], stores: Sequence[ObjectStore], keys: Sequence[str]
    ) -> None:
        super().__init__([ranges[group.positions[0]].uri for group in groups], "GET_RANGE", keep_going=True)
        self.found: list[Any] = [None] * len(ranges)
        self._groups = groups
        self._ranges = ranges
        self._stores = stores
        self._keys = keys
        self._sinks: dict[int, MemorySink] = {}

    def call(self, index: int) -> Call[Any]:
        """The call for one group, made when there is room for it."""
        group = self._groups[index]
        first = group.positions[0]
        sink = self._sinks[index] = MemorySink()
        return self._stores[first].read_call(
            self._keys[first], sink, offset=group.start, conditions=self._ranges[first].conditions,
            length=None if group.end is None else group.end - group.start,
        )  # fmt: skip

    def done(self, index: int, result: Any, error: BaseException | None) -> None:
        sink, group = self._sinks.pop(index), self._groups[index]
        super().done(index, None, error)
        view = None if error is not None else sink.view()
        for position in group.positions:
            if view is None:
                self.found[position] = error
                continue
            start = self._ranges[position].offset - group.start
            length = self._ranges[position].length
            self.found[position] = view[start:] if length is None else view[start : start + length]
