"""What a run of a benchmark has measured: numbers that those of other processes and hosts can be merged with."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from typing import Any

from s3dlio.histogram import Histogram
from s3dlio.rfc3339 import rfc3339

PERCENTILES = (50, 90, 99, 99.9)
#: Seconds of a slice of the throughput over time.
SLICE = 1.0


class Slices:
    """Something that adds up over time: how much of it there was in each slice."""

    __slots__ = ("values",)

    def __init__(self, values: list[float] | None = None) -> None:
        self.values = values or []

    def add(self, values: list[float], first: int = 0) -> None:
        """Add to the slices from the one with the number ``first`` on."""
        missing = first + len(values) - len(self.values)
        self.values += [0.0] * max(0, missing)
        for number, value in enumerate(values, first):
            self.values[number] += value


class Measured:
    """What one kind of operation did.

    Attributes:
        operations, errors: how many ended well and how many did not, of those that began while the clock ran.
        bytes, objects: of those that ended well; objects are the keys of a listing or of a batch delete.
        latency: nanoseconds from the moment when an operation has its place in flight until it has ended.
        first_byte: nanoseconds until the head of the answer is there, of reads.
        operations_over_time, bytes_over_time, objects_over_time: each operation counts in all slices in which it ran,
            by how long it did, so that long ones make no waves.
    """

    def __init__(self) -> None:
        self.operations = self.errors = self.bytes = self.objects = 0
        self.latency = Histogram()
        self.first_byte = Histogram()
        self.operations_over_time, self.bytes_over_time, self.objects_over_time = Slices(), Slices(), Slices()

    def merge(self, other: Measured) -> None:
        """Add what another process measured."""
        for name in ("operations", "errors", "bytes", "objects"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.latency.merge(other.latency)
        self.first_byte.merge(other.first_byte)
        for name in ("operations_over_time", "bytes_over_time", "objects_over_time"):
            getattr(self, name).add(getattr(other, name).values)

    def as_dict(self, seconds: float) -> dict[str, Any]:
        """As JSON has it; see docs/benchmarking.md."""
        return {
            "operations": self.operations, "errors": self.errors, "bytes": self.bytes, "objects": self.objects,
            **rates(self, seconds), "latency_ns": times(self.latency), "first_byte_ns": times(self.first_byte),
        }  # fmt: skip


def rates(measured: Measured, seconds: float) -> dict[str, float]:
    """Operations, bytes and objects a second."""
    took = max(seconds, 1e-9)
    return {
        "operations_per_second": sum(measured.operations_over_time.values) / took,
        "bytes_per_second": sum(measured.bytes_over_time.values) / took,
        "objects_per_second": sum(measured.objects_over_time.values) / took,
    }


def times(histogram: Histogram) -> dict[str, Any] | None:
    """Percentiles, and all buckets for who merges results; None where there was nothing."""
    if not histogram.count:
        return None
    return {
        "min": histogram.min, "mean": round(histogram.mean), **histogram.named(PERCENTILES),
        "histogram": histogram.to_dict(),
    }  # fmt: skip


class Result:
    """One run: all that was measured with one number of operations in flight.

    Attributes:
        concurrent: operations in flight.
        began_ns: when the clock began to run, in nanoseconds since 1970.
        seconds: for how long.
        cpu_seconds: CPU time of the clients meanwhile.
        interrupted: it was ended early.
        exhausted: it ended early because no object was left.
        measured: by operation, as the op-log names them.
        failures: how many there were of each kind: operation, error class, message of the first one.
        written: how many objects each share may have written, for the clean-up.
        ranks: what each process of a job did, where there were several.
    """

    def __init__(self, concurrent: int = 0) -> None:
        self.concurrent = concurrent
        self.began_ns = 0
        self.seconds = self.cpu_seconds = 0.0
        self.interrupted = self.exhausted = False
        self.measured: dict[str, Measured] = {}
        self.failures: dict[tuple[str, str], tuple[int, str]] = {}
        self.written: dict[int, int] = {}
        self.ranks: list[dict[str, Any]] = []

    def brief(self) -> dict[str, Any]:
        """The counts and rates of all operations."""
        total = self.total
        counts = {name: getattr(total, name) for name in ("operations", "errors", "bytes", "objects")}
        return {"concurrent": self.concurrent, **counts, **rates(total, self.seconds)}

    def of(self, operation: str) -> Measured:
        """What an operation did."""
        found = self.measured.get(operation)
        if found is None:
            found = self.measured[operation] = Measured()
        return found

    def fail(self, operation: str, kind: str, message: str, times: int = 1) -> None:
        """Count a failure."""
        self.of(operation).errors += times
        count, first = self.failures.get((operation, kind), (0, message))
        self.failures[operation, kind] = count + times, first

    def merge(self, other: Result) -> None:
        """Add what another process measured at the same time."""
        self.concurrent += other.concurrent
        self.began_ns = min(filter(None, (self.began_ns, other.began_ns)), default=0)
        self.seconds = max(self.seconds, other.seconds)
        self.cpu_seconds += other.cpu_seconds
        self.interrupted |= other.interrupted
        self.exhausted |= other.exhausted
        self.written |= other.written
        for operation, measured in other.measured.items():
            self.of(operation).merge(measured)
        for place, (count, message) in other.failures.items():
            before, first = self.failures.get(place, (0, message))
            self.failures[place] = before + count, first

    @property
    def total(self) -> Measured:
        """All operations together."""
        total = Measured()
        for measured in self.measured.values():
            total.merge(measured)
        return total

    @property
    def errors(self) -> int:
        """How many operations failed."""
        return sum(measured.errors for measured in self.measured.values())

    def as_dict(self) -> dict[str, Any]:
        """As JSON has it; see docs/benchmarking.md."""
        total = self.total
        failures = [
            {"operation": operation, "type": kind, "count": count, "first": message}
            for (operation, kind), (count, message) in sorted(self.failures.items())
        ]
        return {
            "concurrent": self.concurrent, "began": rfc3339(self.began_ns), "seconds": round(self.seconds, 6),
            "interrupted": self.interrupted, "exhausted": self.exhausted,
            "client_cpu_seconds": round(self.cpu_seconds, 6),
            "operations": {name: one.as_dict(self.seconds) for name, one in sorted(self.measured.items())},
            "total": total.as_dict(self.seconds), "slices": slices(total, self.seconds), "failures": failures,
            **({"ranks": self.ranks} if self.ranks else {}),
        }  # fmt: skip


def slices(total: Measured, seconds: float) -> dict[str, Any]:
    """Throughput over time, and its fastest, median and slowest slice, by bytes where there are any. The last slice
    counts only if it is whole, or the only one."""
    found: dict[str, Any] = {"seconds": SLICE}
    whole = max(1, int(seconds / SLICE + 1e-6))
    unit = "bytes" if total.bytes else "objects"
    last = max(1e-9, min(SLICE, seconds))
    for name in ("operations", "bytes", "objects"):
        values = [value / SLICE for value in getattr(total, f"{name}_over_time").values[:whole]]
        found[f"{name}_per_second"] = values if seconds >= SLICE else [value * SLICE / last for value in values]
    ranked = sorted(found[f"{unit}_per_second"]) or [0.0]
    return found | {
        "by": unit, "fastest": ranked[-1], "median": statistics.median(ranked), "slowest": ranked[0]
    }  # fmt: skip


def best(results: list[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The run, as JSON has it, with the highest throughput."""
    return max(results, key=lambda run: run["total"][f"{run['slices']['by']}_per_second"], default=None)
