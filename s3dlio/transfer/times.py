"""How long the operations of a transfer took: percentiles for its summary, at 0.3 us an operation."""

from __future__ import annotations

import time
from array import array
from threading import Lock

from s3dlio.figures import duration
from s3dlio.histogram import Histogram

PERCENTILES = (50, 90, 99)
#: So many values wait until they are added up at once; fewer are added one by one, without numpy.
_MANY = 1 << 16
_FEW = 1 << 12


class Times:
    """Latencies, and times to first bytes. May be told from several threads."""

    def __init__(self) -> None:
        self._latencies, self._first_bytes = array("q"), array("q")
        self._latency, self._first_byte = Histogram(), Histogram()
        self._lock = Lock()

    def add(self, start_ns: int, first_byte_ns: int = 0) -> None:
        """An operation has ended well, now.

        Args:
            start_ns: when it began, by ``time.time_ns``.
            first_byte_ns: when its first byte was there; 0: it is not known.
        """
        self._latencies.append(time.time_ns() - start_ns)
        if first_byte_ns:
            self._first_bytes.append(first_byte_ns - start_ns)
        if len(self._latencies) >= _MANY:
            self._add_up()

    def _add_up(self) -> None:
        with self._lock:
            for name, histogram in (("_latencies", self._latency), ("_first_bytes", self._first_byte)):
                values = getattr(self, name)
                setattr(self, name, array("q"))
                if len(values) > _FEW:
                    histogram.add_many(array("q", values))  # another thread may be appending its last one
                else:
                    for value in values:
                        histogram.add(value)

    def merge(self, other: Times) -> None:
        """Add those of another process, which has ended."""
        other._add_up()
        with self._lock:
            self._latency.merge(other._latency)
            self._first_byte.merge(other._first_byte)

    def __getstate__(self) -> tuple[Histogram, Histogram]:
        self._add_up()
        return self._latency, self._first_byte

    def __setstate__(self, state: tuple[Histogram, Histogram]) -> None:
        self.__init__()  # type: ignore[misc]
        self._latency, self._first_byte = state

    def as_dict(self) -> dict[str, dict[str, int]]:
        """``latency_ns`` and ``first_byte_ns``, each with ``p50``, ``p90``, ``p99`` and ``max``; what nothing is known
        of is left out."""
        self._add_up()
        told = {"latency_ns": self._latency, "first_byte_ns": self._first_byte}
        return {name: histogram.named(PERCENTILES) for name, histogram in told.items() if histogram.count}


def told(times: dict[str, dict[str, int]]) -> str:
    """The same for people: ``latency p50 1.2 ms, p90 3 ms, ...; first byte p50 1 ms, ...``."""
    names = {"latency_ns": "latency", "first_byte_ns": "first byte"}
    return "; ".join(
        f"{names[kind]} " + ", ".join(f"{name} {duration(value / 1e9)}" for name, value in values.items())
        for kind, values in times.items()
    )

