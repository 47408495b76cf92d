"""A benchmark as plots: throughput over time, and in a sweep rates and latency by operations in flight."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

from s3dlio.bench.report import table
from s3dlio.pages.page import COLOURS, Key, figure, page, picture
from s3dlio.pages.svg import Axis, Plot, bytes_axis, latency_axis, linear, time_axis

_MADE = "Made by s3-cli bench. The same figures as JSON: s3-cli bench --json"
_PERCENTILES = ("p50", "p90", "p99", "p99.9")
_Points = Sequence[tuple[float, float]]


def plot(found: Mapping[str, Any], *, html: bool = False) -> str:
    """The plots of a report, as one SVG, or as a page with the table beneath."""
    plots = list(_plots(found))
    if not html:
        return picture(plots)
    title = f"{found['benchmark']} {found['options']['uri']}"
    return page(title, _MADE, [
        f'<p class="over">Benchmark</p><h1>{escape(title)}</h1>',
        *(figure(name, keys, drawn.render()) for name, keys, drawn in plots),
        f'<pre class="scroll">{escape(chr(10).join(table(found)))}</pre>',
    ])  # fmt: skip


def _plots(found: Mapping[str, Any]) -> Iterator[tuple[str, list[Key], Plot]]:
    runs = found["runs"]
    by_bytes = any(run["slices"]["by"] == "bytes" for run in runs)
    rate = f"{'bytes' if by_bytes else 'objects'}_per_second"

    def rates(points: Sequence[_Points]) -> Axis:
        top = max((y for line in points for _, y in line), default=0.0)
        return bytes_axis(top) if by_bytes else linear(top, "objects/s")

    over_time = [
        [(place * run["slices"]["seconds"], value) for number, value in enumerate(run["slices"][rate])
         for place in (number, number + 1)]
        for run in runs
    ]  # fmt: skip
    seconds = max((line[-1][0] for line in over_time if line), default=1.0)
    names = [f"{run['concurrent']} in flight" for run in runs]
    yield _drawn("Throughput over time", time_axis(seconds), rates(over_time), names, over_time)
    if len(runs) > 1:
        in_flight = _by_ratios([run["concurrent"] for run in runs], "operations in flight")
        by_width = [[(run["concurrent"], run["total"][rate]) for run in runs]]
        yield _drawn("Throughput", in_flight, rates(by_width), [""], by_width)
        latency = [
            [(run["concurrent"], run["total"]["latency_ns"][name] / 1e6) for run in runs if run["total"]["latency_ns"]]
            for name in _PERCENTILES
        ]
        known = [y for line in latency for _, y in line] or [1.0]
        yield _drawn("Latency", in_flight, latency_axis(min(known), max(known)), _PERCENTILES, latency)


def _by_ratios(values: Sequence[int], title: str) -> Axis:
    """An axis with a mark at each of some numbers."""
    low = min(values)
    return Axis(low, max(*values, 2 * low), [(value, str(value)) for value in sorted(set(values))], True, title)


def _drawn(
    title: str, x: Axis, y: Axis, names: Sequence[str], lines: Sequence[_Points]
) -> tuple[str, list[Key], Plot]:  # fmt: skip
    drawn = Plot(x, y, title)
    keys = [(name, COLOURS[number % len(COLOURS)], "") for number, name in enumerate(names)]
    for (_, colour, _), points in zip(keys, lines, strict=True):
        drawn.line(points, colour)
    return title, keys if len(keys) > 1 else [], drawn
