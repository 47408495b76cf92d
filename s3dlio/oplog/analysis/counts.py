"""Histograms of latencies as arrays: many at a time, over the buckets of ``s3dlio.histogram``."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from s3dlio.histogram import bounds, buckets_of
from s3dlio.oplog.fields import Ints

#: Buckets that are kept: up to 2.4 hours. What takes longer counts as that.
BUCKETS = 4608

Counts = npt.NDArray[np.uint32]
Floats = npt.NDArray[np.float64]


def columns_of(latencies: Ints) -> Ints:
    """The bucket of each latency (nanoseconds)."""
    return np.minimum(buckets_of(latencies), BUCKETS - 1)


@cache
def middles() -> Floats:
    """What each bucket stands for (nanoseconds)."""
    return np.array([sum(bounds(bucket)) / 2 for bucket in range(BUCKETS)])


def percentiles(
    counts: npt.NDArray[Any], percents: Sequence[float], low: float = 0, high: float = np.inf
) -> list[float]:
    """The latencies that so many percent do not exceed (nanoseconds): those of rank ``ceil(p / 100 * count)``.

    Args:
        counts: of each bucket.
        percents: from 0 to 100.
        low, high: the smallest and the largest latency, if they are known.
    """
    passed = np.cumsum(counts, dtype=np.float64)
    if not passed.size or not passed[-1]:
        return [0.0] * len(percents)
    ranks = np.maximum(np.ceil(np.array(percents) / 100 * passed[-1] - 1e-9), 1)
    places = np.searchsorted(passed, ranks)
    return [float(one) for one in np.clip(middles()[places], low, high)]


class Histograms:
    """Histograms by one or more numbers: an array that grows with the first of them.

    Args:
        shape: how many of each of the others.
    """

    def __init__(self, *shape: int) -> None:
        self.counts: Counts = np.zeros((0, *shape, BUCKETS), np.uint32)

    def reserve(self, count: int) -> None:
        """Make room for ``count`` of the first number."""
        have = self.counts.shape[0]
        if count > have:
            grown = np.zeros((max(count, have * 3 // 2), *self.counts.shape[1:]), np.uint32)
            grown[:have] = self.counts
            self.counts = grown

    def add(self, rows: Ints, buckets: Ints) -> None:
        """Count one in each bucket; ``rows`` are the other numbers as one."""
        np.add.at(self.counts.reshape(-1), rows * BUCKETS + buckets, np.uint32(1))
