"""Histograms of whole numbers, such as latencies in nanoseconds: small, mergeable, percentiles within 0.4 %.

The buckets are those of HDR histograms: numbers below 256 have one each, and every power of two above is divided into
128 equal ones, so a bucket is at most 1/128 of what it stands for wide. All of 63 bits need 7,424 buckets, 58 KiB.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from s3dlio.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

_BITS = 7
_STEP = 1 << _BITS  # buckets of each power of two
_EXACT = 2 * _STEP  # numbers below have a bucket each
#: How many buckets there are.
BUCKETS = (63 - _BITS) * _STEP + _STEP
LARGEST = (1 << 63) - 1


def bucket_of(value: int) -> int:
    """The bucket of one number; those below 0 count as 0, those above ``LARGEST`` as that."""
    if value < _EXACT:
        return value if value > 0 else 0
    if value > LARGEST:
        value = LARGEST
    shift = value.bit_length() - _BITS - 1
    return (shift << _BITS) + (value >> shift)


def buckets_of(values: Any) -> npt.NDArray[np.int64]:
    """The buckets of many whole numbers: what is grouped in some way is counted by ``numpy.bincount`` of these."""
    import numpy as np

    numbers = np.clip(np.asarray(values), 0, LARGEST).astype(np.int64, copy=False)
    # What rounds up to the next power of two gets the last bucket below that all the same.
    shifts = np.maximum(np.frexp(numbers.astype(np.float64))[1].astype(np.int64) - (_BITS + 1), 0)
    found: npt.NDArray[np.int64] = (shifts << _BITS) + (numbers >> shifts)
    return found


def bounds(bucket: int) -> tuple[int, int]:
    """The smallest and the largest number of a bucket."""
    if bucket < _EXACT:
        return bucket, bucket
    shift = (bucket >> _BITS) - 1
    low = (_STEP + (bucket & (_STEP - 1))) << shift
    return low, low + (1 << shift) - 1


class Histogram:
    """How often which whole numbers came. Not for several threads at a time: each has its own, and they are merged.

    Numbers below 0 (a clock that went backwards) count as 0, those above ``LARGEST`` as that. Count, sum, smallest and
    largest are exact.

    Args:
        values: the first numbers.
    """

    __slots__ = ("_counts", "_high", "_low", "_sum", "count")

    def __init__(self, values: Iterable[int] = ()) -> None:
        self._counts = array("q", bytes(8 * BUCKETS))
        #: How many numbers there are.
        self.count = 0
        self._sum = 0
        self._low = LARGEST
        self._high = 0
        for value in values:
            self.add(value)

    def add(self, value: int, times: int = 1) -> None:
        """Count one number, ``times`` times: 0.4 us."""
        value = min(max(value, 0), LARGEST)
        self._counts[bucket_of(value)] += times
        self.count += times
        self._sum += value * times
        if value < self._low:
            self._low = value
        if value > self._high:
            self._high = value

    def add_many(self, values: Any) -> None:
        """Count whole numbers: an array of numpy's, or what can be made one; 30 ns each."""
        import numpy as np

        numbers = np.clip(np.asarray(values), 0, LARGEST).astype(np.int64, copy=False).ravel()
        if not numbers.size:
            return
        counts = np.frombuffer(self._counts, np.int64)
        counts += np.bincount(buckets_of(numbers), minlength=BUCKETS)
        high = int(numbers.max())
        self.count += numbers.size
        self._sum += int(numbers.sum()) if high < LARGEST // numbers.size else sum(map(int, numbers))
        self._low = min(self._low, int(numbers.min()))
        self._high = max(self._high, high)

    def merge(self, other: Histogram) -> None:
        """Count all that ``other`` has counted."""
        counts = self._counts
        for bucket, times in enumerate(other._counts):
            if times:
                counts[bucket] += times
        self.count += other.count
        self._sum += other._sum
        self._low = min(self._low, other._low)
        self._high = max(self._high, other._high)

    @property
    def min(self) -> int:
        """The smallest number; 0 where there is none."""
        return self._low if self.count else 0

    @property
    def max(self) -> int:
        """The largest number; 0 where there is none."""
        return self._high

    @property
    def sum(self) -> int:
        """All numbers added up."""
        return self._sum

    @property
    def mean(self) -> float:
        """The average; 0 where there is none."""
        return self._sum / self.count if self.count else 0.0

    def percentile(self, percent: float) -> int:
        """The number that ``percent`` % of all do not exceed: the one of rank ``ceil(percent / 100 * count)`` of all
        in order, within 0.4 %; 0 where there is none.

        Raises:
            ConfigError: ``percent`` is not from 0 to 100.
        """
        return self.percentiles([percent])[0]

    def percentiles(self, percents: Iterable[float]) -> list[int]:
        """:meth:`percentile` of each, in one pass over the buckets.

        Raises:
            ConfigError: one of them is not from 0 to 100.
        """
        wanted = list(percents)
        if not all(0 <= percent <= 100 for percent in wanted):
            raise ConfigError(f"percentiles are from 0 to 100, got {wanted}")
        ranks = sorted({_rank(percent, self.count) for percent in wanted})
        found: dict[int, int] = {}
        passed = 0
        for bucket, times in enumerate(self._counts):
            passed += times
            while times and len(found) < len(ranks) and ranks[len(found)] <= passed:
                found[ranks[len(found)]] = self._standing_for(bucket)
        return [found.get(_rank(percent, self.count), 0) for percent in wanted]

    def named(self, percents: Iterable[float]) -> dict[str, int]:
        """:meth:`percentiles` as reports have them: ``{"p50": ..., "p99.9": ..., "max": ...}``."""
        wanted = list(percents)
        found = zip(wanted, self.percentiles(wanted), strict=True)
        return {**{f"p{percent:g}": value for percent, value in found}, "max": self.max}

    def _standing_for(self, bucket: int) -> int:
        low, high = bounds(bucket)
        return max(self._low, min(self._high, (low + high) // 2))

    def to_dict(self) -> dict[str, Any]:
        """As JSON takes it: count, sum, min, max, and the buckets that are not empty, each by its number. What
        ``from_dict`` gets may have come from another process or host."""
        counts = {str(bucket): times for bucket, times in enumerate(self._counts) if times}
        return {"count": self.count, "sum": self._sum, "min": self.min, "max": self.max, "buckets": counts}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Histogram:
        """The histogram that ``to_dict`` described.

        Raises:
            ConfigError: these are no counts of a histogram.
        """
        made = cls()
        try:
            for bucket, times in data["buckets"].items():
                if not (0 <= int(bucket) < BUCKETS and int(times) > 0):
                    raise ValueError(f"bucket {bucket} has {times}")
                made._counts[int(bucket)] = int(times)
            made.count, made._sum = int(data["count"]), int(data["sum"])
            if made.count != sum(made._counts):
                raise ValueError("the buckets do not add up")
            if made.count:
                made._low, made._high = int(data["min"]), int(data["max"])
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            hint = "to_dict() makes what from_dict() takes"
            raise ConfigError(f"this is no histogram: {error}", hint=hint) from error
        return made

    def __getstate__(self) -> dict[str, Any]:
        return self.to_dict()

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        made = self.from_dict(state)
        for name in self.__slots__:
            setattr(self, name, getattr(made, name))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Histogram) and self.to_dict() == other.to_dict()

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<Histogram of {self.count}: {self.min} to {self.max}, mean {self.mean:.6g}>"


def _rank(percent: float, count: int) -> int:
    """The place of a percentile among ``count`` numbers in order, from 1 on. (Rounded: 99.9 % of 1,000 is 999.)"""
    whole = percent * count / 100
    near = round(whole)
    return max(1, near if abs(whole - near) < 1e-9 * count else -int(-whole // 1))
