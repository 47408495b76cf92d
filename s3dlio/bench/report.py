"""The result of a benchmark: as JSON, in one stable form, and as a table for people."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from s3dlio.bench.result import PERCENTILES
from s3dlio.bench.runner import Bench
from s3dlio.figures import figure
from s3dlio.masking import redact

#: Of the JSON form; another number, if a name comes to mean something else.
FORMAT = 1
_MIB = 1 << 20
_TITLES = (
    "in flight", "operation", "ops", "errors", "ops/s", "MiB/s", *(f"p{percent:g} ms" for percent in PERCENTILES),
    "max ms", "first byte p50", "p99",
)  # fmt: skip


def report(bench: Bench, environment: Mapping[str, Any]) -> dict[str, Any]:
    """The whole result, as docs/benchmarking.md describes it."""
    plan = bench.plan.as_dict()
    return {
        "benchmark": bench.plan.operation, "format": FORMAT, "options": plan | {"uri": redact(plan["uri"])},
        "directory": redact(bench.directory), "prepared": bench.prepared.as_dict(), "cleaned": bench.cleaned.as_dict(),
        "runs": [result.as_dict() for result in bench.results], "environment": dict(environment),
    }  # fmt: skip


def table(found: Mapping[str, Any]) -> list[str]:
    """The runs of a report for people."""
    rows: list[tuple[str, ...]] = [_TITLES]
    for run in found["runs"]:
        rows += _rows(run)
    told = _aligned(rows) if len(rows) > 1 else ["nothing was measured"]
    for run in found["runs"]:
        told += _about(run)
    return told


def _rows(run: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    operations = run["operations"]
    shown = dict(operations)
    if len(operations) > 1:
        shown["all"] = run["total"]
    for name, one in shown.items():
        latency, first = one["latency_ns"], one["first_byte_ns"]
        yield (
            str(run["concurrent"]), name, f"{one['operations']:,}", f"{one['errors']:,}",
            figure(one["operations_per_second"]),
            figure(one["bytes_per_second"] / _MIB) if one["bytes"] else _objects(one),
            *(_ms(latency, f"p{percent:g}") for percent in PERCENTILES), _ms(latency, "max"), _ms(first, "p50"),
            _ms(first, "p99"),
        )  # fmt: skip


def _objects(one: Mapping[str, Any]) -> str:
    """Listings and batch deletes have objects, not bytes."""
    return f"{figure(one['objects_per_second'])} obj/s" if one["objects"] > one["operations"] else "-"


def _about(run: Mapping[str, Any]) -> Iterator[str]:
    slices, seconds = run["slices"], run["seconds"]
    unit, scale = ("MiB/s", _MIB) if slices["by"] == "bytes" else ("objects/s", 1)
    spread = ", ".join(f"{name} {figure(slices[name] / scale)}" for name in ("fastest", "median", "slowest"))
    busy = 100 * run["client_cpu_seconds"] / max(seconds, 1e-9)
    yield f"{run['concurrent']} in flight: slices of {slices['seconds']:g} s: {spread} {unit}; " \
          f"{seconds:.2f} s, client CPU {busy:.0f} %"  # fmt: skip
    if run["interrupted"]:
        yield f"{run['concurrent']} in flight: interrupted after {seconds:.2f} s"
    if run["exhausted"]:
        yield f"{run['concurrent']} in flight: over after {seconds:.2f} s, since no object was left (see --objects)"
    for failure in run["failures"]:
        yield f"{failure['count']:,} {failure['operation']} failed: {failure['type']}: {failure['first']}"


def _ms(times: Mapping[str, Any] | None, name: str) -> str:
    return "-" if times is None else f"{times[name] / 1e6:.3g}" if times[name] < 1e9 else f"{times[name] / 1e6:,.0f}"


def _aligned(rows: Iterable[Sequence[str]]) -> list[str]:
    rows = list(rows)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(f"{cell:>{width}}" for cell, width in zip(row, widths, strict=True)) for row in rows]
