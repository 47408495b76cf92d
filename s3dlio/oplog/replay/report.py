"""How a replay went: how late operations began, how long they took, what failed, what was left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from s3dlio.errors import BatchError, ItemFailure, S3dlioError
from s3dlio.histogram import Histogram
from s3dlio.oplog.replay.item import Item

#: Operations that began later than these (nanoseconds) are counted exactly.
LATE = (1_000_000, 2_000_000, 10_000_000)
PERCENTILES = (50, 90, 99)
#: Failures that are kept whole.
FAILURES = 1000


class KindReport:
    """One kind of operation."""

    def __init__(self) -> None:
        self.count = self.failed = self.failed_as_recorded = self.bytes = self.recorded_bytes = 0
        #: Those that succeeded with another number of bytes than was recorded.
        self.other_size = 0
        #: Nanoseconds that operations took, and took when they were recorded.
        self.latency, self.recorded = Histogram(), Histogram()

    def merge(self, other: KindReport) -> None:
        """Add another's."""
        for name in _COUNTS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.latency.merge(other.latency)
        self.recorded.merge(other.recorded)


_COUNTS = ("count", "failed", "failed_as_recorded", "bytes", "recorded_bytes", "other_size")


class ReplayReport:
    """What a replay has done so far. Durations are nanoseconds, but for those of ``to_dict``.

    Attributes:
        kinds: by operation.
        lateness: how much later than it was to, each operation began.
        late: of ``LATE``, how many operations were later.
        clients: how many operations each client has done.
        skipped: what was not replayed: why -> how many.
        failures: the first ones.
        recorded_span, span: from the first start to the last, when it was recorded and now.
        elapsed: from the first start to the last end.
        stopped: why it ended before the log did; empty if it did not.
        given_up: how many operations were in flight then, and were given up; they are counted nowhere else.
        held_up: how many operations had to wait since ``max_in_flight`` others were in flight.
        notes: what else a reader should know.
        ranks: what each process of a job did, where there were several.
    """

    def __init__(self, speed: float = 1.0, *, closed_loop: bool = False) -> None:
        self.speed = speed
        self.closed_loop = closed_loop
        self.kinds: dict[str, KindReport] = {}
        self.lateness = Histogram()
        self.late = dict.fromkeys(LATE, 0)
        self.clients: Counter[str] = Counter()
        self.skipped: Counter[str] = Counter()
        self.failures: list[ItemFailure] = []
        self.recorded_span = self.span = self.elapsed = 0
        self.stopped = ""
        self.held_up = self.given_up = 0
        self.notes: list[str] = []
        self.ranks: list[dict[str, Any]] = []
        self._first_recorded: int | None = None
        self._first = 0

    def add(self, item: Item) -> bool:
        """Count an operation that has ended; whether it failed and should not have."""
        operation = item.operation
        kind = self.kinds.get(operation.kind)
        if kind is None:
            kind = self.kinds[operation.kind] = KindReport()
        late = max(0, item.started - item.due)
        self.lateness.add(late)
        for limit in LATE:
            if late > limit:
                self.late[limit] += 1
        self.clients[operation.client] += 1
        self._measure(item)
        kind.count += 1
        kind.recorded.add(operation.end - operation.start)
        kind.latency.add(item.ended - item.started)
        kind.recorded_bytes += operation.size
        if item.error is None:
            kind.bytes += item.size
            if operation.kind in ("GET", "GET_RANGE") and item.size != operation.size and not operation.failed:
                kind.other_size += 1
            return False
        if operation.failed:
            kind.failed_as_recorded += 1
            return False
        kind.failed += 1
        if len(self.failures) < FAILURES:
            self.failures.append(ItemFailure(item.index, item.uri, item.error))
        return True

    def _measure(self, item: Item) -> None:
        start = item.operation.start
        if self._first_recorded is None or start < self._first_recorded:
            if self._first_recorded is not None:
                self.recorded_span += self._first_recorded - start
            self._first_recorded = start
        self.recorded_span = max(self.recorded_span, start - self._first_recorded)
        if not self._first or item.started < self._first:
            if self._first:
                self.span += self._first - item.started
                self.elapsed += self._first - item.started
            self._first = item.started
        self.span = max(self.span, item.started - self._first)
        self.elapsed = max(self.elapsed, item.ended - self._first)

    @property
    def attempted(self) -> int:
        """How many operations began."""
        return sum(kind.count for kind in self.kinds.values())

    @property
    def failed(self) -> int:
        """How many failed that did not when they were recorded."""
        return sum(kind.failed for kind in self.kinds.values())

    @property
    def bytes(self) -> int:
        """Bytes of all bodies."""
        return sum(kind.bytes for kind in self.kinds.values())

    def within(self, limit: int) -> float:
        """The share of operations, in percent, that began at most one of ``LATE`` (nanoseconds) late."""
        count = self.lateness.count
        return 100.0 * (count - self.late[limit]) / count if count else 100.0

    def merge(self, other: ReplayReport) -> None:
        """Add the report of another process that replayed a part of the same logs at the same time."""
        for name, kind in other.kinds.items():
            self.kinds.setdefault(name, KindReport()).merge(kind)
        self.lateness.merge(other.lateness)
        for limit, count in other.late.items():
            self.late[limit] += count
        self.clients.update(other.clients)
        self.skipped |= other.skipped  # every process has read all of the logs
        self.failures = (self.failures + other.failures)[:FAILURES]
        self.recorded_span = max(self.recorded_span, other.recorded_span)
        self.span, self.elapsed = max(self.span, other.span), max(self.elapsed, other.elapsed)
        self.stopped = self.stopped or other.stopped
        self.held_up += other.held_up
        self.given_up += other.given_up
        self.notes += [note for note in other.notes if note not in self.notes]

    def raise_for_failures(self) -> None:
        """Raise what failed, if anything did.

        Raises:
            BatchError: operations failed that did not when they were recorded; it carries them.
            S3dlioError: so many that only the first are kept; the first is its cause.
        """
        if not self.failed:
            return
        if self.failed == len(self.failures):
            raise BatchError(self.failures, attempted=self.attempted, operation="REPLAY")
        raise S3dlioError(
            f"{self.failed} of {self.attempted} operations failed, first {self.failures[0].error}", operation="REPLAY"
        ) from self.failures[0].error

    def to_dict(self) -> dict[str, Any]:
        """For JSON: milliseconds, seconds and percentages."""
        return {
            "speed": self.speed if self.speed != float("inf") else None,
            "closed_loop": self.closed_loop,
            "attempted": self.attempted,
            "succeeded": self.attempted - self.failed,
            "failed": self.failed,
            "bytes": self.bytes,
            "seconds": round(self.elapsed / 1e9, 6),
            "span_seconds": round(self.span / 1e9, 6),
            "recorded_span_seconds": round(self.recorded_span / 1e9, 6),
            "lateness_ms": {**_milliseconds(self.lateness), "mean": round(self.lateness.mean / 1e6, 4)},
            "within_percent": {f"{limit // 1_000_000}ms": round(self.within(limit), 4) for limit in LATE},
            "operations": {name: _kind_record(kind) for name, kind in sorted(self.kinds.items())},
            "clients": dict(self.clients.most_common()),
            "skipped": dict(self.skipped.most_common()),
            "held_up": self.held_up,
            "stopped": self.stopped,
            "given_up": self.given_up,
            "notes": self.notes,
            **({"ranks": self.ranks} if self.ranks else {}),
        }


def _kind_record(kind: KindReport) -> Mapping[str, Any]:
    counts = {name: getattr(kind, name) for name in _COUNTS}
    return {**counts, "latency_ms": _milliseconds(kind.latency), "recorded_ms": _milliseconds(kind.recorded)}


def _milliseconds(histogram: Histogram) -> dict[str, float]:
    return {name: round(value / 1e6, 4) for name, value in histogram.named(PERCENTILES).items()}
