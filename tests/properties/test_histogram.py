"""Histograms agree with the sorted numbers themselves, however they were filled, merged and sent."""

from __future__ import annotations

import json
import math
import pickle
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from s3dlio.errors import ConfigError
from s3dlio.histogram import BUCKETS, LARGEST, Histogram, bounds, bucket_of, buckets_of

NUMBERS = st.one_of(
    st.integers(0, LARGEST), st.integers(0, 1000), st.integers(10**5, 10**10),
    st.integers(0, 63).flatmap(lambda bit: st.integers(max(0, (1 << bit) - 2), min(LARGEST, (1 << bit) + 2))),
)  # fmt: skip
PERCENTS = (0, 1, 50, 90, 99, 99.9, 99.99, 100)


def exact(numbers: list[int], percent: float) -> int:
    rank = math.ceil(Fraction(str(percent)) * len(numbers) / 100)
    return sorted(numbers)[max(1, rank) - 1]


@settings(max_examples=40)
@given(st.lists(NUMBERS, min_size=1))
def test_percentiles_are_within_one_percent_of_the_exact_ones(numbers: list[int]) -> None:
    found = Histogram(numbers)
    assert (found.count, found.sum, found.min, found.max) == (len(numbers), sum(numbers), min(numbers), max(numbers))
    for percent, value in zip(PERCENTS, found.percentiles(PERCENTS), strict=True):
        wanted = exact(numbers, percent)
        assert abs(value - wanted) <= 0.004 * wanted
        assert value == found.percentile(percent)


@settings(max_examples=40)
@given(st.lists(NUMBERS), st.lists(NUMBERS))
def test_one_by_one_in_bulk_or_merged_is_the_same(first: list[int], second: list[int]) -> None:
    one_by_one = Histogram(first + second)
    bulk, other = Histogram(), Histogram()
    bulk.add_many(np.array(first, np.int64))
    other.add_many(second)
    bulk.merge(other)
    assert bulk == one_by_one
    assert Histogram.from_dict(json.loads(json.dumps(bulk.to_dict()))) == one_by_one
    assert pickle.loads(pickle.dumps(bulk)) == one_by_one


@settings(max_examples=40)
@given(st.lists(NUMBERS, min_size=1))
def test_every_number_lies_in_its_bucket(numbers: list[int]) -> None:
    for number, bucket in zip(numbers, buckets_of(np.array(numbers, np.int64)), strict=True):
        assert bucket == bucket_of(number)
        low, high = bounds(int(bucket))
        assert low <= number <= high
        assert high - low <= low / 128


def test_buckets_follow_one_another_without_a_gap() -> None:
    before = -1
    for bucket in range(BUCKETS):
        low, high = bounds(bucket)
        assert low == before + 1
        before = high
    assert before == LARGEST


def test_what_is_no_length_of_time_does_no_harm() -> None:
    found = Histogram([-5, 3])
    found.add_many(np.array([-1, 2**40]))
    found.add(1 << 70)
    assert (found.min, found.count) == (0, 5)
    assert found.percentile(40) == 0
    empty = Histogram()
    empty.add_many([])
    assert (empty.percentile(50), empty.mean, empty.min, empty.max) == (0, 0, 0, 0)


@pytest.mark.parametrize("percent", [-1, 100.1, math.nan])
def test_a_percentile_that_cannot_be_is_refused(percent: float) -> None:
    with pytest.raises(ConfigError, match="from 0 to 100"):
        Histogram([1]).percentile(percent)


@pytest.mark.parametrize("data", [
    {}, {"buckets": [1]}, {"buckets": {"x": 1}}, {"buckets": {"9999": 1}, "count": 1, "sum": 1, "min": 1, "max": 1},
    {"buckets": {"1": 2}, "count": 1, "sum": 2, "min": 1, "max": 1},
])  # fmt: skip
def test_what_describes_no_histogram_is_refused(data: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="no histogram"):
        Histogram.from_dict(data)
