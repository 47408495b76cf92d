"""The report of a replay for people."""

from __future__ import annotations

from collections.abc import Iterator

from s3dlio.histogram import Histogram
from s3dlio.oplog.replay.report import LATE, PERCENTILES, ReplayReport

#: Clients that are shown.
_CLIENTS = 20


def report_lines(report: ReplayReport) -> Iterator[str]:
    """The lines of the report."""
    elapsed = max(report.elapsed, 1)
    speed = "without waiting" if report.speed == float("inf") else f"speed {report.speed:g}"
    how = f"closed loop, {speed}" if report.closed_loop else speed
    yield (
        f"{report.attempted} operations in {report.elapsed / 1e9:.3f} s "
        f"(recorded: {report.recorded_span / 1e9:.3f} s; {how}): {report.failed} failed, "
        f"{report.attempted / elapsed * 1e9:.0f} operations/s, {report.bytes / elapsed * 1e9 / 2**20:.2f} MiB/s"
    )
    if report.stopped:
        given_up = f"; {report.given_up} operations in flight were given up" if report.given_up else ""
        yield f"stopped: {report.stopped}{given_up}"
    if not report.attempted:
        return
    shares = ", ".join(f"{limit // 1_000_000} ms {report.within(limit):.2f} %" for limit in LATE)
    yield f"began late by   {_percentiles(report.lateness)}   within {shares}"
    if report.held_up:
        yield f"{report.held_up} times the next one waited since -j operations were in flight"
    yield from _kinds(report)
    if len(report.clients) > 1:
        shown = ", ".join(f"{name or '(no name)'} {count}" for name, count in report.clients.most_common(_CLIENTS))
        yield f"clients: {shown}" + (" ..." if len(report.clients) > _CLIENTS else "")
    for why, count in report.skipped.most_common():
        yield f"left out: {count} ({why})"
    for note in report.notes:
        yield f"note: {note}"


def _kinds(report: ReplayReport) -> Iterator[str]:
    for name, kind in sorted(report.kinds.items()):
        failed = f", {kind.failed} failed" if kind.failed else ""
        if kind.failed_as_recorded:
            failed += f", {kind.failed_as_recorded} failed as recorded"
        if kind.other_size:
            failed += f", {kind.other_size} of another size than recorded"
        yield f"{name}: {kind.count}, {kind.bytes} bytes{failed}"
        yield f"    took        {_percentiles(kind.latency)}"
        yield f"    recorded    {_percentiles(kind.recorded)}"


def _percentiles(histogram: Histogram) -> str:
    return "  ".join(f"{name} {value / 1e6:.3f} ms" for name, value in histogram.named(PERCENTILES).items())
