"""Regions of tensors: which bytes of a stored tensor (in C order) a region of it needs, and where they go.

A region is one (begin, end) for each dimension, in elements.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

from s3dlio.transfer.range_reads import GAP, Land

Region = Sequence[tuple[int, int]]

#: Bytes of a stretch with gaps that are read at a time.
_AT_ONCE = 8 << 20


class Stretch(NamedTuple):
    """Bytes of a stored tensor that are read at once, and where they go: a ``place`` of just that length, or a function
    that takes them (``land``)."""

    offset: int
    length: int
    place: memoryview | None
    land: Land | None


def whole(shape: Sequence[int]) -> list[tuple[int, int]]:
    """The region that is all of a tensor."""
    return [(0, size) for size in shape]


def overlap(one: Region, other: Region) -> list[tuple[int, int]] | None:
    """What two regions of one tensor have in common; None where that is nothing."""
    both = [(max(a, c), min(b, d)) for (a, b), (c, d) in zip(one, other, strict=True)]
    return both if all(begin < end for begin, end in both) else None


def collide(regions: Sequence[Region]) -> bool:
    """Whether two regions overlap. Sorted by their first dimension, only neighbours in it are compared."""
    ordered = sorted(regions, key=list)
    for position, one in enumerate(ordered):
        for other in ordered[position + 1 :]:
            if other and other[0][0] >= one[0][1]:
                break
            if overlap(one, other) is not None:
                return True
    return False


def within(inner: Region, outer: Region) -> list[tuple[int, int]]:
    """A region, counted from the begin of one that it lies in."""
    return [(begin - base, end - base) for (begin, end), (base, _) in zip(inner, outer, strict=True)]


def shape_of(region: Region) -> tuple[int, ...]:
    """The shape of a region."""
    return tuple(end - begin for begin, end in region)


def bytes_of(array: Any) -> Any:
    """The memory of a numpy array as an array of bytes of as many dimensions (1 for a scalar), of which the last one
    counts bytes; a view, so the last dimension has to be contiguous."""
    import numpy as np

    array = array.reshape(1) if not array.ndim else array
    return array.view(np.uint8)


def as_bytes(memory: memoryview, shape: Sequence[int]) -> Any:
    """Memory of a tensor of this shape as an array of bytes, as :func:`bytes_of` gives one of an array."""
    import numpy as np

    if not memory.nbytes:
        return np.empty((0,) * max(1, len(shape)), np.uint8)
    return np.frombuffer(memory, np.uint8).reshape(*shape[:-1], -1)


def stretches(
    shape: Sequence[int], itemsize: int, region: Region, target: Any, at_once: int = _AT_ONCE
) -> Iterator[Stretch]:
    """What has to be read of a stored tensor for a region of it.

    Stretches that :data:`GAP` bytes or fewer part are read as one, so that a region of inner dimensions takes few
    requests.

    Args:
        shape: of the stored tensor.
        itemsize: bytes of an element.
        region: what of it.
        target: where the region goes: an array of bytes of the region's shape, with the last dimension in bytes
            (:func:`bytes_of`); any strides in the others.
        at_once: bytes that are read at a time, at most, where they are copied to the target.
    """
    if not shape:
        shape, region = (1,), ((0, 1),)
    sizes = shape_of(region)
    if not math.prod(sizes):
        return
    strides = [itemsize * math.prod(shape[dim + 1 :]) for dim in range(len(shape))]
    # The bytes from the first to the last of the inner dimensions, the innermost of which are contiguous.
    span, outer = itemsize * sizes[-1], len(shape) - 1
    dense = span
    while outer and (sizes[outer - 1] == 1 or strides[outer - 1] - span <= GAP):
        outer -= 1
        span += (sizes[outer] - 1) * strides[outer]
        dense *= sizes[outer]
    base = sum(begin * stride for (begin, _), stride in zip(region, strides, strict=True))
    for index in _indices(sizes[:outer]):
        offset = base + sum(i * stride for i, stride in zip(index, strides, strict=False))
        part = target[index]
        if span == dense and part.flags.c_contiguous:
            yield Stretch(offset, span, memoryview(part.reshape(-1)), None)
        else:
            yield from _with_gaps(offset, sizes[outer:], strides[outer:], itemsize, part, at_once)


def _indices(sizes: Sequence[int]) -> Iterator[tuple[int, ...]]:
    if not sizes:
        yield ()
        return
    for first in range(sizes[0]):
        for rest in _indices(sizes[1:]):
            yield first, *rest


def _with_gaps(
    offset: int, sizes: Sequence[int], strides: Sequence[int], itemsize: int, part: Any, at_once: int
) -> Iterator[Stretch]:
    """Stretches with gaps, or whose target has some, cut along the first of their dimensions: each is of a bounded
    length."""
    step = max(1, at_once // strides[0])
    inner = sum((size - 1) * stride for size, stride in zip(sizes[1:], strides[1:], strict=True)) + itemsize
    byte_strides = (*strides[:-1], 1)
    for first in range(0, sizes[0], step):
        rows = min(step, sizes[0] - first)
        goes = part[first : first + rows]
        shape = (rows, *sizes[1:-1], sizes[-1] * itemsize)
        yield Stretch(
            offset + first * strides[0], (rows - 1) * strides[0] + inner, None,
            partial(_copy, part=goes, shape=shape, strides=byte_strides),
        )  # fmt: skip


def _copy(data: memoryview, part: Any, shape: tuple[int, ...], strides: tuple[int, ...]) -> None:
    """Copy what a stretch needs of the bytes that were read."""
    import numpy as np

    found = np.frombuffer(data, np.uint8)
    np.copyto(part, np.lib.stride_tricks.as_strided(found, shape, strides))
