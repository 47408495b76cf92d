"""Regions of stored tensors: what is read, by how many requests, and where it goes."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

from s3dlio.checkpoint.regions import bytes_of, overlap, stretches, within
from s3dlio.transfer.range_reads import GAP


def fill(stored: Any, region: list[tuple[int, int]], target: Any) -> list[int]:
    """Do what the stretches say; the length of each."""
    data, lengths = stored.tobytes(), []
    for offset, length, place, land in stretches(stored.shape, stored.itemsize, region, bytes_of(target)):
        lengths.append(length)
        found = memoryview(data)[offset : offset + length]
        assert len(found) == length
        if place is not None:
            place[:] = found
        else:
            assert land is not None
            land(found)
    return lengths


def test_any_region_of_any_tensor() -> None:
    chance = random.Random(3)
    for _ in range(300):
        shape = tuple(chance.randrange(1, 7) for _ in range(chance.randrange(0, 5)))
        dtype = chance.choice(("u1", "<f4", "<c8"))
        stored = np.arange(np.prod(shape, dtype=int)).astype(dtype).reshape(shape)
        region = []
        for size in shape:
            begin = chance.randrange(size)
            region.append((begin, chance.randrange(begin, size + 1)))
        expected = stored[tuple(slice(*each) for each in region)]
        target = np.zeros(expected.shape, dtype)
        if target.ndim > 1 and chance.random() < 0.5:  # a part of something larger
            target = np.zeros((target.shape[0], target.shape[1] + 3, *target.shape[2:]), dtype)[:, 2:-1]
        fill(stored, region, target)
        assert np.array_equal(target, expected)


@pytest.mark.parametrize(
    ("shape", "region", "lengths"),
    [
        ((100, 1000), [(10, 20), (0, 1000)], [40_000]),  # leading: just its bytes
        ((100, 1000), [(0, 100), (0, 500)], [99 * 4000 + 2000]),  # inner, small gaps: one request with the gaps
        ((3, 100_000), [(0, 3), (0, 10)], [40] * 3),  # inner, large gaps: one for each row
        ((10_000, 1000), [(0, 10_000), (500, 1000)], [2097 * 4000 - 2000] * 4 + [1612 * 4000 - 2000]),  # bounded memory
        ((4, 5), [(1, 1), (0, 5)], []),
    ],
)
def test_requests_are_few_and_bytes_not_many(
    shape: tuple[int, ...], region: list[tuple[int, int]], lengths: list[int]
) -> None:
    assert 10 * 4 < GAP < 4 * 99_990
    stored = np.arange(np.prod(shape, dtype=int), dtype="<f4").reshape(shape)
    target = np.zeros([end - begin for begin, end in region], "<f4")
    assert fill(stored, region, target) == lengths
    assert np.array_equal(target, stored[tuple(slice(*each) for each in region)])


def test_overlaps() -> None:
    assert overlap([(0, 4), (2, 9)], [(3, 8), (0, 3)]) == [(3, 4), (2, 3)]
    assert overlap([(0, 4)], [(4, 8)]) is None
    assert overlap([], []) == []
    assert within([(3, 4), (2, 3)], [(3, 8), (0, 3)]) == [(0, 1), (2, 3)]
