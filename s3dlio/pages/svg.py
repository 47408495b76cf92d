"""Plots as inline SVG: axes with units, lines, areas, heat maps, ranges. Colours are the page's, by CSS."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from html import escape
from typing import NamedTuple

from s3dlio.figures import duration, figure

Format = Callable[[float], str]


class Axis(NamedTuple):
    """One axis.

    Attributes:
        low, high: what it goes from and to.
        ticks: values with a mark, and what is written there.
        is_log: equal steps are equal ratios.
        title: what it shows, with its unit.
    """

    low: float
    high: float
    ticks: list[tuple[float, str]]
    is_log: bool = False
    title: str = ""

    def at(self, value: float) -> float:
        """Where a value is: 0 at the low end, 1 at the high end."""
        if self.is_log:
            value = min(max(value, self.low), self.high)
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)


def steps(high: float, about: int) -> list[float]:
    """Round numbers from 0 to ``high``, about so many."""
    raw = high / about if high > 0 else 1.0
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= raw * 0.999)
    return [number * step for number in range(int(high / step + 1e-9) + 1)]


def linear(high: float, title: str, unit: float = 1.0, about: int = 4, *, is_exact: bool = False) -> Axis:
    """An axis from 0 to ``high`` or a round number above, whose marks are in a unit."""
    marks = steps(high / unit, about)
    if not is_exact and marks[-1] < high / unit * 0.999:
        marks.append(marks[-1] + (marks[1] - marks[0] if len(marks) > 1 else 1.0))
    top = high if is_exact else marks[-1] * unit
    return Axis(0.0, top or 1.0, [(mark * unit, figure(mark)) for mark in marks], title=title)


def bytes_axis(high: float, title: str = "") -> Axis:
    """Bytes a second, in the unit that fits."""
    unit, name = 1.0, "B/s"
    for step in ("KiB/s", "MiB/s", "GiB/s", "TiB/s"):
        if high >= unit * 1024:
            unit, name = unit * 1024, step
    return linear(high, f"{title}{name}", unit)


def time_axis(seconds: float) -> Axis:
    """Time since the run began, in the unit that fits."""
    limits = (
        (2e-3, 1e-6, "us"),
        (2.0, 1e-3, "ms"),
        (180.0, 1.0, "s"),
        (10_800.0, 60.0, "min"),
        (math.inf, 3600.0, "h"),
    )
    unit, name = next((unit, name) for limit, unit, name in limits if seconds < limit)
    return linear(seconds, f"time since the start, {name}", unit, 8, is_exact=True)


def latency_axis(low: float, high: float, title: str = "latency") -> Axis:
    """Latencies (ms) by ratios, marked at 1, 10, 100, and between where there are few of these."""
    low, high = max(low, 1e-6), max(high, low * 1.5, 2e-6)
    decades = math.log10(high / low)
    factors = (1, 2, 5) if decades < 2.5 else (1, 3) if decades < 4 else (1,)
    marks = []
    for power in range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 2):
        marks += [factor * 10.0**power for factor in factors]
    below = [mark for mark in marks if mark <= low * 1.001]
    above = [mark for mark in marks if mark >= high * 0.999]
    low, high = below[-1], above[0]
    return Axis(low, high, [(mark, duration(mark / 1e3)) for mark in marks if low <= mark <= high], True, title)


class Plot:
    """A picture with two axes.

    Args:
        x, y: its axes.
        label: what it shows, for those who do not see it.
        width, height: in pixels, with the room for axes.
        left: room for what is written at the y axis.
    """

    def __init__(self, x: Axis, y: Axis, label: str, width: int = 1040, height: int = 250, left: int = 62) -> None:
        self.x = x
        self.y = y
        self._label = label
        self.width, self.height = width, height
        self._left, self._right, self._top, self._bottom = left, width - 14, 24, height - 40
        self._parts: list[str] = []

    def px(self, value: float) -> float:
        """Where a value of x is drawn."""
        return self._left + self.x.at(value) * (self._right - self._left)

    def py(self, value: float) -> float:
        """Where a value of y is drawn."""
        return self._bottom - self.y.at(value) * (self._bottom - self._top)

    def line(self, points: Sequence[tuple[float, float | None]], colour: str, kind: str = "line") -> None:
        """A line through points; it is broken where one has no value."""
        path, is_on = [], False
        for x, y in points:
            if y is None:
                is_on = False
                continue
            path.append(f"{'L' if is_on else 'M'}{self.px(x):.1f} {self.py(y):.1f}")
            is_on = True
        if path:
            self._parts.append(f'<path class="{kind}" style="--c:{colour}" d="{"".join(path)}"/>')

    def area(self, xs: Sequence[float], lows: Sequence[float], highs: Sequence[float], colour: str) -> None:
        """What lies between two lines."""
        up = [f"{self.px(x):.1f} {self.py(y):.1f}" for x, y in zip(xs, highs, strict=True)]
        down = [f"{self.px(x):.1f} {self.py(y):.1f}" for x, y in zip(xs, lows, strict=True)]
        self._parts.append(f'<path class="area" style="--c:{colour}" d="M{"L".join(up + down[::-1])}Z"/>')

    def cell(self, left: float, right: float, low: float, high: float, strength: float, colour: str) -> None:
        """A rectangle between two values of each axis."""
        x, y = self.px(left), self.py(high)
        width, height = self.px(right) - x, self.py(low) - y
        self._parts.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{width + 0.3:.1f}" height="{height + 0.3:.1f}" '
            f'style="fill:{colour}" fill-opacity="{strength:.2f}"/>'
        )

    def hover(self, left: float, right: float, text: str) -> None:
        """What is told where the pointer is between two values of x."""
        x = self.px(left)
        middle = (x + self.px(right)) / 2
        self._parts.append(
            f'<g class="hit"><title>{escape(text)}</title><rect x="{x:.1f}" y="{self._top}" '
            f'width="{max(self.px(right) - x, 0.5):.1f}" height="{self._bottom - self._top}"/>'
            f'<path d="M{middle:.1f} {self._top}V{self._bottom}"/></g>'
        )

    def mark(self, x: float, text: str) -> None:
        """A moment that is named."""
        place = self.px(x)
        anchor, shift = ("end", -5) if place > (self._left + self._right) / 2 else ("start", 5)
        self._parts.append(
            f'<g class="mark"><path d="M{place:.1f} {self._top - 6}V{self._bottom}"/><text x="{place + shift:.1f}" '
            f'y="{self._top + 4}" text-anchor="{anchor}">{escape(text)}</text></g>'
        )

    def render(self, where: str = "") -> str:
        """The picture; ``where``: its place within another one, as attributes."""
        return (
            f'<svg {where} viewBox="0 0 {self.width} {self.height}" role="img" aria-label="{escape(self._label)}">'
            f"{self._axes()}{''.join(self._parts)}</svg>"
        )

    def _axes(self) -> str:
        parts = []
        for value, text in self.y.ticks:
            y = self.py(value)
            kind = "base" if not self.y.is_log and value == 0 else "grid"
            parts.append(f'<path class="{kind}" d="M{self._left} {y:.1f}H{self._right}"/>')
            parts.append(_tick(self._left - 8, y + 4, text, "end"))
        for value, text in self.x.ticks:
            x = self.px(value)
            parts.append(f'<path class="notch" d="M{x:.1f} {self._bottom}v5"/>')
            parts.append(_tick(min(x, self._right - 3.0 * len(text)), self._bottom + 18, text))
        parts.append(f'<text class="unit" x="0" y="11">{escape(self.y.title)}</text>')
        parts.append(_unit(self._right, self.height - 4, self.x.title))
        return "".join(parts)


def _tick(x: float, y: float, text: str, anchor: str = "middle") -> str:
    return f'<text class="tick" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _unit(x: float, y: float, text: str) -> str:
    return f'<text class="unit" x="{x:.1f}" y="{y:.1f}" text-anchor="end">{escape(text)}</text>'


class Row(NamedTuple):
    """A line of a :func:`ranges` plot.

    Attributes:
        name: what is written to the left of it.
        low, middle, high: a range and a point in it.
        text: what is written to the right.
        colour: of the range.
    """

    name: str
    low: float
    middle: float
    high: float
    text: str
    colour: str


def ranges(rows: Sequence[Row], axis: Axis, label: str, width: int = 1040, zero: float | None = None) -> str:
    """Ranges below each other on one axis, with a line at ``zero``."""
    left, right, row_height, top = 210, width - 210, 24, 10
    bottom = top + row_height * len(rows)

    def px(value: float) -> float:
        return left + axis.at(value) * (right - left)

    parts = [f'<path class="grid" d="M{px(value):.1f} {top}V{bottom}"/>' for value, _ in axis.ticks]
    if zero is not None:
        parts.append(f'<path class="base" d="M{px(zero):.1f} {top}V{bottom}"/>')
    for number, row in enumerate(rows):
        y = top + row_height * (number + 0.5)
        name = row.name if len(row.name) <= 30 else f"…{row.name[-29:]}"
        parts.append(
            f'<g style="--c:{row.colour}"><title>{escape(f"{row.name}: {row.text}")}</title>'
            f'<text class="name" x="{left - 14}" y="{y + 4:.1f}" text-anchor="end">{escape(name)}</text>'
            f'<path class="range" d="M{px(row.low):.1f} {y:.1f}H{px(row.high):.1f}"/>'
            f'<path class="end" d="M{px(row.high):.1f} {y - 5:.1f}v10"/>'
            f'<circle class="dot" cx="{px(row.middle):.1f}" cy="{y:.1f}" r="4.5"/>'
            f'<text class="tick" x="{right + 14}" y="{y + 4:.1f}">{escape(row.text)}</text></g>'
        )
    for value, text in axis.ticks:
        parts.append(_tick(px(value), bottom + 16, text))
    parts.append(_unit(right, bottom + 34, axis.title))
    return f'<svg viewBox="0 0 {width} {bottom + 40}" role="img" aria-label="{escape(label)}">{"".join(parts)}</svg>'
