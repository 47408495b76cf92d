"""A benchmark as a picture: throughput over time, and in a sweep rates and latency by operations in flight.

The SVG needs nothing but itself: no script, no font, no address.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, NamedTuple

_WIDTH, _HEIGHT = 860, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 80, 150, 40, 46
_COLOURS = ("#2563eb", "#dc2626", "#059669", "#d97706", "#7c3aed", "#0891b2", "#be185d", "#4d7c0f")
_FONT = "font-family='system-ui,sans-serif' font-size='12' fill='#374151'"


class Line(NamedTuple):
    """A line of a chart: its name and its points."""

    name: str
    points: Sequence[tuple[float, float]]


def plot(found: Mapping[str, Any], *, html: bool = False) -> str:
    """The picture of a report, as SVG, or as a page with the table beneath."""
    charts = _charts(found)
    height = _HEIGHT * len(charts)
    body = "".join(
        f"<g transform='translate(0,{number * _HEIGHT})'>{chart}</g>" for number, chart in enumerate(charts)
    )
    svg = (
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {_WIDTH} {height}' width='{_WIDTH}' height='{height}'>"
        f"<rect width='{_WIDTH}' height='{height}' fill='white'/>{body}</svg>"
    )
    if not html:
        return svg + "\n"
    from s3dlio.bench.report import table

    title = escape(f"s3-cli bench {found['benchmark']} {found['options']['uri']}")
    return (
        f"<!doctype html><html lang='en'><head><meta charset='utf-8'><title>{title}</title><style>"
        "body{font-family:system-ui,sans-serif;margin:2em;color:#111827}pre{background:#f3f4f6;padding:1em;"
        "overflow:auto}</style></head><body>"
        f"<h1>{title}</h1>{svg}<pre>{escape(chr(10).join(table(found)))}</pre></body></html>\n"
    )


def _charts(found: Mapping[str, Any]) -> list[str]:
    runs = found["runs"]
    by_bytes = any(run["slices"]["by"] == "bytes" for run in runs)
    unit, name, scale = ("MiB/s", "bytes", 1 << 20) if by_bytes else ("objects/s", "objects", 1)
    over_time = [
        Line(f"{run['concurrent']} in flight", [
            ((number + 0.5) * run["slices"]["seconds"], value / scale)
            for number, value in enumerate(run["slices"][f"{name}_per_second"])
        ])
        for run in runs
    ]  # fmt: skip
    charts = [chart(f"Throughput over time ({unit})", "seconds", over_time)]
    if len(runs) > 1:
        rates = [(run["concurrent"], run["total"][f"{name}_per_second"] / scale) for run in runs]
        charts.append(chart(f"Throughput ({unit})", "operations in flight", [Line("all", rates)], powers=True))
        known = [run for run in runs if run["total"]["latency_ns"]]
        latency = [
            Line(percentile, [(run["concurrent"], run["total"]["latency_ns"][percentile] / 1e6) for run in known])
            for percentile in ("p50", "p90", "p99", "p99.9")
        ]
        charts.append(chart("Latency (ms)", "operations in flight", latency, powers=True, steep=True))
    return charts


def chart(title: str, below: str, lines: Sequence[Line], *, powers: bool = False, steep: bool = False) -> str:
    """One chart of lines as SVG elements; ``powers``: the lower axis is logarithmic; ``steep``: the other one, too."""
    points = [point for line in lines for point in line.points]
    xs = [_x(point[0], powers) for point in points] or [0.0]
    low, high = (min(xs), max(xs)) if powers else (0.0, max(xs))
    high = high if high > low else low + 1
    heights = _decades([point[1] for point in points]) if steep else _steps([point[1] for point in points])
    floor, top = _y(heights[0], steep), _y(heights[-1], steep)

    def at(point: tuple[float, float]) -> tuple[float, float]:
        across = (_x(point[0], powers) - low) / (high - low)
        up = (_y(max(point[1], heights[0]), steep) - floor) / (top - floor)
        return _LEFT + across * (_WIDTH - _LEFT - _RIGHT), _HEIGHT - _BOTTOM - up * (_HEIGHT - _TOP - _BOTTOM)

    drawn = [_text(_LEFT, 22, title, "start", "font-weight='bold'")]
    for value in heights:
        _, y = at((1, value))
        drawn.append(f"<line x1='{_LEFT}' x2='{_WIDTH - _RIGHT}' y1='{y:.1f}' y2='{y:.1f}' stroke='#e5e7eb'/>")
        drawn.append(_text(_LEFT - 8, y + 4, f"{value:,.4g}" if value < 1000 else f"{value:,.0f}", "end"))
    for mark in _marks(points, powers, high):
        x, _ = at((mark, heights[0]))
        drawn.append(_text(x, _HEIGHT - _BOTTOM + 18, f"{mark:g}", "middle"))
    drawn.append(_text((_LEFT + _WIDTH - _RIGHT) / 2, _HEIGHT - 8, below, "middle"))
    for number, line in enumerate(lines):
        drawn += _drawn(line, _COLOURS[number % len(_COLOURS)], number, list(map(at, line.points)))
    return "".join(drawn)


def _steps(values: Sequence[float]) -> list[float]:
    top = _nice(max(values, default=1.0) or 1.0)
    return [top * step / 5 for step in range(6)]


def _decades(values: Sequence[float]) -> list[float]:
    """Powers of ten around the values."""
    known = [value for value in values if value > 0] or [1.0]
    first, last = math.floor(math.log10(min(known))), math.ceil(math.log10(max(known)))
    return [10.0**power for power in range(first, max(last, first + 1) + 1)]


def _drawn(line: Line, colour: str, number: int, places: Sequence[tuple[float, float]]) -> list[str]:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    drawn = [f"<polyline points='{path}' fill='none' stroke='{colour}' stroke-width='2'/>"]
    if len(places) <= 64:
        drawn += [f"<circle cx='{x:.1f}' cy='{y:.1f}' r='3' fill='{colour}'/>" for x, y in places]
    y = _TOP + 16 * number
    x = _WIDTH - _RIGHT + 14
    return [*drawn, f"<rect x='{x}' y='{y}' width='12' height='4' fill='{colour}'/>", _text(x + 18, y + 6, line.name)]


def _marks(points: Sequence[tuple[float, float]], powers: bool, high: float) -> list[float]:
    if powers:
        return sorted({point[0] for point in points})
    step = _nice(high / 8)
    return [step * number for number in range(int(high / step) + 1)]


def _x(value: float, powers: bool) -> float:
    return math.log2(value) if powers else value


def _y(value: float, steep: bool) -> float:
    return math.log10(value) if steep else value


def _nice(value: float) -> float:
    """The next number of the kind 1, 2, 2.5, 5, 10 from ``value`` on."""
    power: float = 10.0 ** math.floor(math.log10(value)) if value > 0 else 1.0
    return next(step * power for step in (1, 2, 2.5, 5, 10) if step * power >= value * (1 - 1e-9))


def _text(x: float, y: float, text: str, anchor: str = "start", more: str = "") -> str:
    return f"<text x='{x:.1f}' y='{y:.1f}' text-anchor='{anchor}' {_FONT} {more}>{escape(text)}</text>"
