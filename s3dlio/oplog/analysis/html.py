"""The report as a page: sentences, plots and tables in one file that needs no other, for light and dark."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from html import escape
from typing import Any

import numpy as np

from s3dlio.figures import count, duration, percent, size
from s3dlio.figures import figure as number
from s3dlio.oplog.analysis.counts import middles, percentiles
from s3dlio.oplog.analysis.report import Report
from s3dlio.oplog.analysis.summary import block_counts
from s3dlio.pages.page import COLOURS, WARM, figure, page, table, tiles
from s3dlio.pages.svg import (
    Axis,
    Plot,
    Row,
    bytes_axis,
    latency_axis,
    linear,
    ranges,
    time_axis,
)  # fmt: skip

_PEERS_SHOWN = 24
#: Percentiles of the plot of latencies, and where they are on its axis: by how many are slower.
_NINES = (0.0, 50.0, 90.0, 99.0, 99.9, 99.99, 99.999)


#: What a page of this command says of itself.
MADE = "Made by s3-cli analyze. The same figures as JSON: s3-cli analyze --json"


def report_page(report: Report) -> str:
    """The page of a report."""
    data = report.to_dict()
    logs = data["logs"]
    title = base(logs[0]["path"]) if len(logs) == 1 else f"{len(logs)} op-logs"
    return page(title, MADE, [
        *_head(title, data), *_findings(data), *_over_time(report, data), *_latencies(report, data), *_peers(data),
        *_tables(data),
    ])  # fmt: skip


def base(path: str) -> str:
    """The name of a file."""
    return path.rstrip("/").rpartition("/")[2]


def _moment(epoch: int) -> str:
    return datetime.fromtimestamp(epoch / 1e9, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _head(title: str, data: dict[str, Any]) -> Iterator[str]:
    skipped = sum(log["skipped"] for log in data["logs"])
    warm_up = f"; the first {duration(data['skip_warmup_s'])} ({count(skipped)} operations) left out" if skipped else ""
    yield f'<p class="over">Op-log report</p><h1>{escape(title)}</h1>'
    yield f'<p class="lead">{_moment(data["begin_ns"])}, {duration(data["seconds"])}{warm_up}</p>'
    entries = [
        (f"{size(data['bytes_per_s'])}/s", "throughput", False),
        (f"{number(data['ops_per_s'])} /s", "operations", False),
        (_short(data["count"]), "operations in all", False),
        (size(data["bytes"]), "moved", False),
        (number(data["in_flight"]), "in flight on average", False),
    ]
    failed = data["failed"] / max(1, data["failed"] + data["count"])
    entries.append((percent(failed), f"failed ({count(data['failed'])})", True) if failed else ("0", "failed", False))
    yield tiles(entries)


def _short(value: int) -> str:
    for unit, factor in (("billion", 1e9), ("million", 1e6)):
        if value >= factor:
            return f"{value / factor:.3g} {unit}"
    return count(value)


_WORDS = {"warning": "Warning", "notice": "Notice", "info": "Info"}


def _findings(data: dict[str, Any]) -> Iterator[str]:
    yield "<h2>What holds it back</h2>"
    if not data["findings"]:
        yield "<p>Nothing in particular shows in this log.</p>"
        return
    items = []
    for one in data["findings"]:
        head, colon, rest = one["text"].partition(": ")
        text = (
            f"<strong>{escape(head)}{colon.strip()}</strong> {escape(rest)}"
            if len(head) < 60 and colon
            else escape(one["text"])
        )
        items.append(f'<li class="{one["severity"]}"><i>{_WORDS[one["severity"]]}</i><span>{text}</span></li>')
    yield f'<ul class="findings">{"".join(items)}</ul>'


def _colours(data: dict[str, Any]) -> dict[str, str]:
    return {one["op"]: COLOURS[min(place, len(COLOURS) - 1)] for place, one in enumerate(data["operations"])}


def _over_time(report: Report, data: dict[str, Any]) -> Iterator[str]:
    timeline = data["timeline"]
    if timeline["windows"] < 4:
        return
    yield "<h2>Over time</h2><p>Bytes and time in flight are spread over the time that each operation took.</p>"
    colours = _colours(data)
    moved = [one["op"] for one in data["operations"] if one["bytes"]]
    every = [one["op"] for one in data["operations"]]
    if moved:
        yield _series(data, "Throughput", "bytes_per_s", moved, colours, bytes_axis, lambda value: f"{size(value)}/s")
    rates = _series(data, "Operations", "ops_per_s", every, colours, lambda top: linear(top, "operations/s"),
                    lambda value: f"{number(value)}/s", width=510)  # fmt: skip
    flying = _series(data, "In flight", "in_flight", every, colours, lambda top: linear(top, "operations in flight"),
                     number, width=510, stacked=True)  # fmt: skip
    yield f'<div class="pair">{rates}{flying}</div>'
    for one in data["operations"][:4]:
        if one["latency_ms"] and one["count"] >= 200:
            yield _heat(report, data, one, colours[one["op"]])


def _series(
    data: dict[str, Any], title: str, key: str, names: Sequence[str], colours: dict[str, str], axis: Any, words: Any,
    width: int = 1040, stacked: bool = False,
) -> str:  # fmt: skip
    """A plot over time: a line for each operation, above each other or not; refused operations in red."""
    timeline = data["timeline"]
    step, windows = timeline["window_s"], timeline["windows"]
    begin = (timeline["begin_ns"] - data["begin_ns"]) / 1e9
    xs = [max(0.0, begin + (place + 0.5) * step) for place in range(windows)]
    values = {name: timeline["operations"][name][key] for name in names}
    failed = [sum(one["failed_per_s"][place] for one in timeline["operations"].values()) for place in range(windows)]
    tops = [sum(one) if stacked else max(one) for one in zip(*values.values(), strict=True)]
    has_failed = key == "ops_per_s" and max(failed) > 0
    plot = Plot(time_axis(max(data["seconds"], xs[-1])), axis(max(*tops, *(failed if has_failed else [0]), 1e-9)),
                f"{title} over time", width)  # fmt: skip
    below = [0.0] * windows
    for name in names:
        above = [low + value for low, value in zip(below, values[name], strict=True)] if stacked else values[name]
        plot.area(xs, below, above, colours[name])
        plot.line(list(zip(xs, above, strict=True)), colours[name])
        below = above if stacked else below
    keys = [(name, colours[name], "") for name in names]
    if has_failed:
        plot.line(list(zip(xs, failed, strict=True)), WARM, "dash")
        keys.append(("failed", WARM, "dash"))
    for one in data["findings"]:
        if one["kind"] == "throttling":
            plot.mark(one["facts"]["after_s"], "throttling begins")
    for place, x in enumerate(xs):
        told = "\n".join(f"{name}: {words(values[name][place])}" for name in names)
        plot.hover(max(0.0, x - step / 2), x + step / 2, f"at {duration(x)}\n{told}")
    return figure(title, keys, plot.render())


def _heat(report: Report, data: dict[str, Any], operation: dict[str, Any], colour: str) -> str:
    """How latencies are spread at each time, with their median and 99th percentile."""
    timeline = data["timeline"]
    code = report.data.operations.names.index(operation["op"])
    counts = block_counts(report.data, code)
    rows = np.flatnonzero(counts.any(axis=1))
    used = middles() / 1e6
    latency = operation["latency_ms"]
    axis = latency_axis(max(latency["min"], latency["p50"] / 100), latency["max"])
    seconds = timeline["block_s"]
    edges = np.geomspace(axis.low, axis.high, 45)
    bins = np.clip(np.searchsorted(edges, used) - 1, 0, 43)
    plot = Plot(time_axis(data["seconds"]), axis, f"Latency of {operation['op']} over time")
    lines: dict[str, list[tuple[float, float | None]]] = {"p50": [], "p99": []}
    base = int(rows[0]) if rows.size else 0
    offset = report.data.clock.begin(0)
    grid = np.array([np.bincount(bins, row, 44) for row in counts])
    top = float(grid.max()) or 1.0
    for block in range(base, int(rows[-1]) + 1):
        start = (offset - data["begin_ns"]) / 1e9 + block * seconds
        left, right = max(0.0, start), min(start + seconds, data["seconds"])
        for place in np.flatnonzero(grid[block]).tolist():
            strength = 0.06 + 0.84 * float(np.sqrt(grid[block, place] / top))
            plot.cell(left, right, float(edges[place]), float(edges[place + 1]), strength, colour)
        found = percentiles(counts[block], (50.0, 99.0)) if counts[block].any() else [None, None]
        for name, value in zip(lines, found, strict=True):
            lines[name].append(((left + right) / 2, None if value is None else value / 1e6))
        if found[0] is not None and found[1] is not None:
            text = (f"{duration(left)} to {duration(right)}: {count(int(counts[block].sum()))} operations\n"
                    f"median {duration(found[0] / 1e9)}, p99 {duration(found[1] / 1e9)}")  # fmt: skip
            plot.hover(left, right, text)
    plot.line(lines["p50"], "var(--ink)", "thin")
    plot.line(lines["p99"], "var(--ink)", "dash")
    keys = [("operations: stronger where there are more", colour, ""), ("median", "var(--ink)", "thin"),
            ("99th percentile", "var(--ink)", "dash")]  # fmt: skip
    return figure(f"Latency of {operation['op']}", keys, plot.render())


def nines(latencies: Sequence[tuple[str, str, str, Any]], label: str, width: int = 1040) -> str:
    """Latencies by percentile, the tail drawn out: each a name, a colour, a kind of line and the counts."""
    lows, highs, lines = [], [], []
    for _, colour, kind, counts in latencies:
        total = int(counts.sum())
        last = next((nine for nine in reversed(_NINES) if total * (1 - nine / 100) >= 3), 50.0)
        span = np.concatenate((np.arange(1.0, 90.0, 1.0), 100 - np.geomspace(10, 100 - last if last > 90 else 10, 60)))
        found = [value / 1e6 for value in percentiles(counts, span.tolist())]
        lines.append((list(zip((100 - span).tolist(), found, strict=True)), colour, kind))
        lows.append(found[0])
        highs.append(found[-1])
    least = min(point[0] for points, _, _ in lines for point in points)
    ticks = [(100 - nine, f"{nine:g} %") for nine in _NINES if 100 - nine >= least * 0.999]
    # The axis goes by how many are slower, from all of them to the fewest that are drawn.
    x = _Reversed(least, 100.0, ticks, True, "percentile")
    plot = Plot(x, latency_axis(min(lows), max(highs)), label, width, 270)
    for points, colour, kind in lines:
        plot.line(points, colour, kind)
    return plot.render()


class _Reversed(Axis):
    """An axis whose low end is at the right."""

    __slots__ = ()

    def at(self, value: float) -> float:
        return 1 - super().at(value)


def _latencies(report: Report, data: dict[str, Any]) -> Iterator[str]:
    colours = _colours(data)
    shown = [one for one in data["operations"] if one["latency_ms"]]
    if not shown:
        return
    yield "<h2>Latency</h2><p>Of operations that succeeded, from start to end. Percentiles are within 0.4 %.</p>"
    names = report.data.operations.names
    drawn = [(one["op"], colours[one["op"]], "line", block_counts(report.data, names.index(one["op"])).sum(axis=0))
             for one in shown if one["count"] >= 50]  # fmt: skip
    if drawn:
        keys = [(name, colour, "thin") for name, colour, _, _ in drawn]
        yield figure("Latency by percentile", keys, nines(drawn, "Latency by percentile"))
    yield _operation_table(data, "latency_ms")
    if any(one["first_byte_ms"] for one in shown):
        yield "<h3 style='margin-top:24px'>Time to the first byte</h3>"
        yield _operation_table(data, "first_byte_ms")


def _operation_table(data: dict[str, Any], key: str) -> str:
    names = ("mean", "p50", "p90", "p95", "p99", "p99_9", "max")
    rows = []
    for operation in data["operations"]:
        parts = operation["sizes"]
        whole = {**operation, "size": "all sizes" if len(parts) != 1 else parts[0]["size"]}
        for place, one in enumerate([whole, *(parts if len(parts) > 1 else [])]):
            if one[key]:
                rows.append(("part" if place else "first", [
                    operation["op"] if not place else "", one["size"], count(one["count"]), number(one["ops_per_s"]),
                    f"{size(one['bytes_per_s'])}/s" if one["bytes"] else "",
                    *(duration(one[key][name] / 1e3) if one[key][name] else "0" for name in names),
                ]))  # fmt: skip
    head = ["Operation", "Size", "Count", "per s", "Throughput", *(name.replace("_", ".") for name in names)]
    return table(head, rows, left=2)


def _peers(data: dict[str, Any]) -> Iterator[str]:
    for key, title in (("endpoints", "Endpoints"), ("clients", "Clients")):
        peers = [one for one in data[key] if one["latency_ms"]]
        if len(peers) < 2:
            continue
        slow = {one["facts"]["name"] for one in data["findings"] if one["kind"] == f"slow-{key[:-1]}"}
        peers.sort(key=lambda one: -one["latency_ms"]["p50"])
        shown = peers[:_PEERS_SHOWN]
        axis = latency_axis(
            min(one["latency_ms"]["p50"] for one in shown), max(one["latency_ms"]["p99"] for one in shown)
        )
        rows = [_peer(one, WARM if one["name"] in slow else COLOURS[0]) for one in shown]
        more = f" The {_PEERS_SHOWN} slowest of {len(peers)}." if len(peers) > len(shown) else ""
        yield f"<h2>{title}</h2><p>Latencies of each, from the median (dot) to the 99th percentile.{more}</p>"
        keys = [("slower than the others, like for like", WARM, "")] if slow else []
        yield figure(f"Latency by {key[:-1]}", keys, ranges(rows, axis, f"Latency by {key[:-1]}"))


def _peer(one: dict[str, Any], colour: str) -> Row:
    median, high = one["latency_ms"]["p50"], one["latency_ms"]["p99"]
    text = f"{number(one['ops_per_s'])}/s, {size(one['bytes_per_s'])}/s"
    return Row(one["name"] or "(unnamed)", median, median, high, text, colour)


def _tables(data: dict[str, Any]) -> Iterator[str]:
    if data["errors"]:
        yield "<h2>Errors</h2>"
        yield table(
            ["Error", "Count"], [("first", [one["error"], count(one["count"])]) for one in data["errors"]], wide=0
        )
    yield "<h2>Logs</h2>"
    rows = [("first", [log["path"], log["dialect"] or "other", count(log["records"]), _moment(log["begin_ns"]),
                       duration(log["seconds"]), f"{log['clock_offset_s']:g} s"]) for log in data["logs"]]  # fmt: skip
    yield table(["File", "Form", "Records", "From", "Length", "Clock offset"], rows, left=2, wide=0)
    if data["notes"]:
        yield "<h3 style='margin-top:24px'>What is odd about them</h3>"
        rows = [("first", [base(one["path"]), one["text"], count(one["times"])]) for one in data["notes"]]
        yield table(["File", "Note", "Times"], rows, left=1, wide=1)
