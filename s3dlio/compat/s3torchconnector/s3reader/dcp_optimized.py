"""The reader of distributed checkpoints: ranges that are known beforehand, one after the other."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

from s3dlio.compat.s3torchconnector.s3reader.s3reader import S3Reader, writable_view
from s3dlio.records import Record

DEFAULT_MAX_GAP_SIZE = 32 << 20
FALLBACK_GUIDANCE = (
    "For other uses than loads of distributed checkpoints, take the reader for all uses: "
    "reader_constructor=S3ReaderConstructor.default()"
)


class ItemRange(Record):
    """The bytes of one item of a checkpoint, from ``start`` to before ``end``."""

    start: int
    end: int


class RangeGroup(Record):
    """Ranges that one stream serves: the gaps between them are read and dropped."""

    start: int
    end: int
    item_ranges: list[ItemRange]


class DCPOptimizedS3Reader(S3Reader):
    """Reads items of a distributed checkpoint, in their order: the bytes of one are in memory at a time.

    Args:
        bucket, key: the object.
        item_ranges: the items, sorted; they must not overlap.
        get_object_info: tells the size of the object.
        get_stream: gives the bytes of a range.
        max_gap_size: bytes between two items that are read and dropped, at most, rather than begin another request.

    Raises:
        ValueError: no bucket or key, or ranges that cannot be.
    """

    def __init__(
        self, bucket: str, key: str, item_ranges: Sequence[ItemRange], get_object_info: Any, get_stream: Any,
        max_gap_size: int | float = DEFAULT_MAX_GAP_SIZE,
    ) -> None:  # fmt: skip
        if not bucket:
            raise ValueError("Bucket should be specified")
        if not key:
            raise ValueError("Key should be specified")
        if not item_ranges:
            raise ValueError("item_ranges must be a non-empty List[ItemRange] object")
        if not isinstance(max_gap_size, int | float):
            raise TypeError(f"max_gap_size must be int or float, got {type(max_gap_size).__name__}")
        if max_gap_size < 0:
            raise ValueError("max_gap_size must be non-negative")
        self._bucket = bucket
        self._key = key
        self._get_object_info = get_object_info
        self._get_stream = get_stream
        self._max_gap_size = max_gap_size
        self._item_ranges = [item for item in item_ranges if item.end != item.start]
        if not self._item_ranges:
            raise ValueError("No non-empty ranges to read (all ranges were length 0)")
        self._range_groups = grouped(self._item_ranges, max_gap_size)
        self._begins = {group.start: group for group in self._range_groups}
        self._stream: _Stream | None = None
        self._left = iter(self._item_ranges)
        self._item = next(self._left)
        self._data: memoryview | None = None  # of the item
        self._position = 0

    @property
    def bucket(self) -> str:
        return self._bucket

    @property
    def key(self) -> str:
        return self._key

    def read(self, size: int | None = None) -> bytes:
        """``size`` bytes from the position on, fewer at the end of an item.

        Raises:
            ValueError: no size; or the bytes are not those of this item, or of the next one.
        """
        if size is None:
            raise ValueError(f"Size cannot be None; full read not supported.\n{FALLBACK_GUIDANCE}")
        if not isinstance(size, int):
            raise TypeError(f"argument should be integer or None, not {type(size)!r}")
        if size < 0:
            raise ValueError(f"Size cannot be negative; full read not supported.\n{FALLBACK_GUIDANCE}")
        if size == 0:
            return b""
        data = bytes(self._take(size))
        self._position += len(data)
        return data

    def readinto(self, buf: object) -> int:
        view = writable_view(buf)
        data = self._take(len(view))
        view[: len(data)] = data
        self._position += len(data)
        return len(data)

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        if not isinstance(offset, int):
            raise TypeError(f"integer argument expected, got {type(offset)!r}")
        if whence not in (os.SEEK_SET, os.SEEK_CUR):
            raise ValueError("whence must be SEEK_CUR or SEEK_SET integers")
        position = offset + (self._position if whence == os.SEEK_CUR else 0)
        if position < 0:
            raise ValueError(f"negative seek value {position}")
        self._position = position
        return position

    def tell(self) -> int:
        return self._position

    def close(self) -> None:
        """Let go of the stream and of what was read."""
        self._stream = self._data = None
        super().close()

    def _get_size(self) -> int:
        size: int = self._get_object_info().size
        return size

    def _take(self, size: int) -> memoryview:
        """The bytes from the position on."""
        self._check_open()
        self._move_to(self._position, self._position + size)
        if self._data is None:
            self._data = self._load(self._item)
        at = self._position - self._item.start
        return self._data[at : at + size]

    def _move_to(self, start: int, end: int) -> None:
        """Have the item current that a range lies in: this one, or the next one once this was read."""
        item = self._item
        if item.start <= start and end <= item.end:
            return
        following = next(self._left, None) if start >= item.end and self._data is not None else None
        if following is None or not (following.start <= start and end <= following.end):
            raise ValueError(
                "DCPOptimizedS3Reader only supports sequentially accessing provided ranges: "
                f"Range {start}-{end} not contained in current item {item.start}-{item.end}"
                + (f" nor the next item {following.start}-{following.end}" if following else "")
                + f".\n{FALLBACK_GUIDANCE}"
            )
        self._item, self._data = following, None

    def _load(self, item: ItemRange) -> memoryview:
        if group := self._begins.get(item.start):
            self._stream = _Stream(self._get_stream(group.start, group.end), group.start)
        assert self._stream is not None  # items are read in their order
        place = memoryview(bytearray(item.end - item.start))
        self._stream.skip_to(item.start)
        self._stream.read_into(place)
        return place.toreadonly()


def grouped(ranges: Sequence[ItemRange], max_gap_size: int | float) -> list[RangeGroup]:
    """The ranges, with those together between which there are ``max_gap_size`` bytes at most.

    Raises:
        ValueError: they are not sorted, or overlap.
    """
    for each in ranges:
        if not 0 <= each.start <= each.end:
            raise ValueError(f"Invalid range: {each.start}-{each.end}")
    for before, after in pairwise(ranges):
        if after.start < before.end:
            what = "Unsorted" if after.start < before.start else "Overlapping"
            raise ValueError(f"{what} ranges: {before.start}-{before.end} and {after.start}-{after.end}")
    groups: list[list[ItemRange]] = []
    for each in ranges:
        if groups and each.start - groups[-1][-1].end <= max_gap_size:
            groups[-1].append(each)
        else:
            groups.append([each])
    return [RangeGroup(group[0].start, group[-1].end, group) for group in groups]


class _Stream:
    """Chunks, read on from any byte."""

    def __init__(self, chunks: Iterator[bytes], position: int) -> None:
        self._chunks = iter(chunks)
        self._position = position
        self._chunk = memoryview(b"")

    def skip_to(self, position: int) -> None:
        while self._position < position:
            self._take(position - self._position)

    def read_into(self, view: memoryview) -> None:
        done = 0
        while done < len(view):
            piece = self._take(len(view) - done)
            view[done : done + len(piece)] = piece
            done += len(piece)

    def _take(self, size: int) -> memoryview:
        if not self._chunk:
            try:
                self._chunk = memoryview(next(self._chunks))
            except StopIteration:
                raise ValueError(f"S3 stream exhausted at position {self._position}") from None
        piece, self._chunk = self._chunk[:size], self._chunk[size:]
        self._position += len(piece)
        return piece
