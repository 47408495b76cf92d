"""Is one run slower than another? By bootstrap: what chance alone can do is in the interval of each difference.

Latencies of neighbours in time resemble each other, so whole blocks of time are drawn, not single operations; runs that
are too short for that are drawn by operation. 'slower' and 'faster' are said only where the interval excludes zero.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from s3dlio.errors import ConfigError
from s3dlio.figures import duration, rate, size
from s3dlio.oplog.analysis.collector import SIZE_NAMES, SIZES
from s3dlio.oplog.analysis.counts import Floats, middles
from s3dlio.oplog.analysis.report import Report
from s3dlio.oplog.analysis.summary import block_counts
from s3dlio.oplog.analysis.timeline import BLOCKS, PER_BLOCK

SCHEMA = "s3dlio-compare/1"
_DRAWS = 1000
#: Blocks of a run from which on blocks are drawn; and operations of which something is said.
_FEW, _ENOUGH = 8, 20
_PERCENTS = {"p50": 50.0, "p90": 90.0, "p99": 99.0}
_RATES = ("ops_per_s", "bytes_per_s")


class Difference(NamedTuple):
    """One figure of two runs.

    Attributes:
        op, size: the operation, and the size of its objects (empty: all).
        figure: ``ops_per_s``, ``bytes_per_s``, or the ``mean``, ``p50``, ``p90`` or ``p99`` of its latency (ms).
        a, b: its value in each run.
        change: by how much that of ``b`` differs from that of ``a``, as a share of it.
        low, high: the interval in which that change lies.
        verdict: ``slower``, ``faster`` or ``same``.
    """

    op: str
    size: str
    figure: str
    a: float
    b: float
    change: float
    low: float
    high: float
    verdict: str


class Comparison:
    """Two runs beside each other. ``compare_op_logs`` makes it.

    Attributes:
        a, b: the reports on both.
        confidence: with which the true change lies in an interval.
        differences: one for each figure of each operation that both have.
    """

    def __init__(self, a: Report, b: Report, confidence: float, seed: int) -> None:
        self.a = a
        self.b = b
        self.confidence = confidence
        chance = np.random.default_rng(seed)
        self.differences: list[Difference] = list(_differences(a, b, confidence, chance))

    def sentences(self) -> list[str]:
        """What can be said of ``b``, one sentence for each operation."""
        found = []
        for op in dict.fromkeys(one.op for one in self.differences):
            mine = [one for one in self.differences if one.op == op and not one.size]
            said = [f"{FIGURES[one.figure]} {one.change:+.1%} [{one.low:+.1%}, {one.high:+.1%}]: {one.verdict}"
                    for one in mine if one.verdict != "same"]  # fmt: skip
            found.append(f"{op}: " + ("; ".join(said) if said else "no difference is shown"))
        return found

    def to_dict(self) -> dict[str, Any]:
        """All of it, as JSON takes it."""
        return {
            "schema": SCHEMA, "confidence": self.confidence, "differences": [one._asdict() for one in self.differences],
            "sentences": self.sentences(), "a": self.a.to_dict(), "b": self.b.to_dict(),
        }  # fmt: skip


#: What figures are called.
FIGURES = {
    "ops_per_s": "operations/s", "bytes_per_s": "throughput", "mean": "mean latency", "p50": "median latency",
    "p90": "p90 latency", "p99": "p99 latency",
}  # fmt: skip


def shown(name: str, value: float) -> str:
    """A figure with its unit."""
    if name == "bytes_per_s":
        return f"{size(value)}/s"
    return rate(value) if name == "ops_per_s" else duration(value / 1e3)


def compare_op_logs(a: Report, b: Report, *, confidence: float = 0.99, seed: int = 1) -> Comparison:
    """Compare two runs, ``b`` with ``a``.

    Args:
        a, b: the reports of ``analyze_op_logs``.
        confidence: with which the true change lies in its interval.
        seed: of the draws: the same one gives the same intervals.

    Raises:
        ConfigError: the confidence is none, or no operation is in both runs.
    """
    if not 0.5 <= confidence < 1:
        raise ConfigError(f"confidence={confidence} is not from 0.5 to 1")
    made = Comparison(a, b, confidence, seed)
    if not made.differences:
        raise ConfigError("the runs have no operation in common, or too few of each, so there is nothing to compare")
    return made


def _differences(a: Report, b: Report, confidence: float, chance: np.random.Generator) -> Iterator[Difference]:
    names = b.data.operations.names
    for code, op in enumerate(a.data.operations.names):
        if op not in names:
            continue
        other = names.index(op)
        mine, theirs = (one.data.cells["count"].reshape(-1, SIZES) for one in (a, b))
        sizes = [bucket for bucket in range(SIZES) if mine[code, bucket] and theirs[other, bucket]]
        for bucket in [None, *(sizes if len(sizes) > 1 else [])]:
            one, two = _Sample(a, code, bucket), _Sample(b, other, bucket)
            if min(one.count, two.count) < _ENOUGH:
                continue
            first, second = one.drawn(chance), two.drawn(chance)
            for figure in one.exact:
                value, against = one.exact[figure], two.exact[figure]
                if value <= 0 or (bucket is not None and figure in _RATES):
                    continue
                change = second[figure] / np.maximum(first[figure], 1e-12) - 1
                tail = (1 - confidence) / 2
                low, high = (float(part) for part in np.quantile(change, [tail, 1 - tail]))
                yield Difference(
                    op, "" if bucket is None else SIZE_NAMES[bucket], figure, value, against, against / value - 1, low,
                    high, _verdict(figure, low, high),
                )  # fmt: skip


def _verdict(figure: str, low: float, high: float) -> str:
    if low <= 0 <= high:
        return "same"
    return "faster" if (low > 0) == (figure in _RATES) else "slower"


class _Sample:
    """One operation of one run, by blocks of time.

    Attributes:
        count: how many there were.
        exact: its figures.
    """

    def __init__(self, report: Report, code: int, size: int | None) -> None:
        data = report.data
        counts = block_counts(data, code, size)
        used = np.flatnonzero(counts.any(axis=0))
        self._middles = middles()[used] / 1e6
        counts = counts[:, used].astype(np.float64)
        self._seconds = max(float(data.span[code, 1] - data.span[code, 0]) / 1e9, 1e-9)
        sizes = data.timeline.bytes[code].reshape(BLOCKS, PER_BLOCK).sum(axis=1)
        rows = np.flatnonzero(counts.any(axis=1) | (sizes >= 1))  # bytes come after the block of their start, too
        first, last = (int(rows[0]), int(rows[-1])) if rows.size else (0, 0)
        self._counts = counts[first : last + 1]
        self._bytes: Floats = sizes[first : last + 1]
        self._shares = self._lengths(report, code, first, last)
        self.count = int(counts.sum())
        self.exact = self._figures(self._counts.sum(axis=0)[None], self._bytes.sum()[None], np.array([self._seconds]))
        self.exact = {name: float(values[0]) for name, values in self.exact.items()}

    @staticmethod
    def _lengths(report: Report, code: int, first: int, last: int) -> Floats:
        """How many seconds of each block the operation was going on: the first and the last one are parts."""
        clock = report.data.clock
        begins = np.array([clock.begin(block * PER_BLOCK) for block in range(first, last + 2)])
        begin, end = report.data.span[code]
        found: Floats = np.maximum(np.minimum(begins[1:], end) - np.maximum(begins[:-1], begin), 1) / 1e9
        return found

    def drawn(self, chance: np.random.Generator) -> dict[str, Floats]:
        """The figures of runs as this one could have been, too."""
        blocks = self._counts.shape[0]
        if blocks >= _FEW:
            weights = chance.multinomial(blocks, np.full(blocks, 1 / blocks), _DRAWS).astype(np.float64)
            return self._figures(weights @ self._counts, weights @ self._bytes, weights @ self._shares)
        total = self._counts.sum(axis=0)
        counts = chance.multinomial(self.count, total / total.sum(), _DRAWS).astype(np.float64)
        numbers = chance.poisson(self.count, _DRAWS) / max(self.count, 1)
        return {
            **self._figures(counts, np.full(_DRAWS, self._bytes.sum()), np.full(_DRAWS, self._seconds)),
            "ops_per_s": self.count * numbers / self._seconds,
            "bytes_per_s": self._bytes.sum() * numbers / self._seconds,
        }  # fmt: skip

    def _figures(self, counts: npt.NDArray[Any], sizes: npt.NDArray[Any], seconds: Floats) -> dict[str, Any]:
        totals = np.maximum(counts.sum(axis=1), 1)
        passed = np.cumsum(counts, axis=1)
        found: dict[str, Any] = {
            "ops_per_s": totals / seconds, "bytes_per_s": sizes / seconds, "mean": counts @ self._middles / totals,
        }  # fmt: skip
        for name, percent in _PERCENTS.items():
            ranks = np.maximum(np.ceil(percent / 100 * totals - 1e-9), 1)
            found[name] = self._middles[np.argmax(passed >= ranks[:, None], axis=1)]
        return found
