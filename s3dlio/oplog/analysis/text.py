"""Reports and comparisons as text, for a terminal 120 columns wide."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

from s3dlio.figures import count, duration, figure, percent, size
from s3dlio.oplog.analysis.comparison import FIGURES, Comparison, shown
from s3dlio.oplog.analysis.report import Report

_WIDTH = 116
_BARS = " ▁▂▃▄▅▆▇█"
_MARKS = {"warning": "!", "notice": "*", "info": "-"}
_PEERS_SHOWN = 20


def report_text(report: Report) -> str:
    """The report, its sentences first."""
    data = report.to_dict()
    parts = [_head(data), *_findings(data), _operations(data, "latency_ms", "LATENCY")]
    if any(one["first_byte_ms"] for one in data["operations"]):
        parts.append(_operations(data, "first_byte_ms", "FIRST BYTE"))
    parts += [*_over_time(data), *_peers(data, "clients"), *_peers(data, "endpoints"), *_errors(data), *_notes(data)]
    return "\n\n".join(parts)


def _head(data: dict[str, Any]) -> str:
    logs = data["logs"]
    name = logs[0]["path"] if len(logs) == 1 else f"{len(logs)} logs"
    skipped = sum(log["skipped"] for log in logs)
    warm_up = f" ({count(skipped)} in the first {duration(data['skip_warmup_s'])} left out)" if skipped else ""
    failed = f", {count(data['failed'])} failed" if data["failed"] else ""
    return (
        f"{name}: {count(data['records'])} operations{warm_up} in {duration(data['seconds'])}{failed}\n"
        f"{figure(data['ops_per_s'])} operations/s, {size(data['bytes_per_s'])}/s, {size(data['bytes'])} in all, "
        f"{figure(data['in_flight'])} in flight on average"
    )


def _findings(data: dict[str, Any]) -> Iterator[str]:
    for one in data["findings"]:
        yield textwrap.fill(one["text"], _WIDTH, initial_indent=f"{_MARKS[one['severity']]} ", subsequent_indent="  ")


def _operations(data: dict[str, Any], key: str, title: str) -> str:
    names = ["mean", "p50", "p90", "p99", "p99_9", "max"]
    rows: list[Sequence[str]] = [
        (title, "size", "count", "ops/s", "bytes/s", *(name.replace("_", ".") for name in names))
    ]
    for operation in data["operations"]:
        parts = operation["sizes"]
        whole = {**operation, "size": "all" if len(parts) != 1 else parts[0]["size"]}
        for number, one in enumerate([whole, *(parts if len(parts) > 1 else [])]):
            if one[key]:
                rows.append((
                    operation["op"] if not number else "", one["size"], count(one["count"]), figure(one["ops_per_s"]),
                    size(one["bytes_per_s"]), *(duration(one[key][name] / 1e3) for name in names),
                ))  # fmt: skip
    return table(rows, left=2)


def table(rows: Sequence[Sequence[str]], left: int) -> str:
    """Rows below each other, the first ``left`` columns to the left."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(f"{cell:<{width}}" if place < left else f"{cell:>{width}}"
                  for place, (cell, width) in enumerate(zip(row, widths, strict=True))).rstrip()
        for row in rows
    )  # fmt: skip


def _over_time(data: dict[str, Any]) -> Iterator[str]:
    timeline = data["timeline"]
    if timeline["windows"] < 4:
        return
    lines = []
    for operation in data["operations"]:
        series = timeline["operations"][operation["op"]]
        key, unit = ("bytes_per_s", size) if operation["bytes"] else ("ops_per_s", figure)
        lines.append((operation["op"], _bars(series[key]), f"{unit(max(series[key]))}/s at most"))
    yield f"OVER TIME, {duration(timeline['windows'] * timeline['window_s'])}\n" + table(lines, left=3)


def _bars(values: list[float]) -> str:
    """A line of bars, 64 of them at most."""
    step = -(-len(values) // 64)
    means = [sum(values[place : place + step]) / len(values[place : place + step])
             for place in range(0, len(values), step)]  # fmt: skip
    top = max(means) or 1.0
    return "".join(_BARS[round(8 * value / top)] for value in means)


def _peers(data: dict[str, Any], which: str) -> Iterator[str]:
    peers = data[which]
    if len(peers) < 2:
        return
    rows: list[Sequence[str]] = [(which.upper(), "count", "failed", "ops/s", "bytes/s", "p50", "p90", "p99")]
    for one in sorted(peers, key=lambda peer: -peer["count"])[:_PEERS_SHOWN]:
        latency = one["latency_ms"] or {}
        rows.append((
            one["name"] or "(unnamed)", count(one["count"]), count(one["failed"]), figure(one["ops_per_s"]),
            size(one["bytes_per_s"]),
            *(duration(latency[name] / 1e3) if latency else "" for name in ("p50", "p90", "p99")),
        ))  # fmt: skip
    more = f"\n... and {len(peers) - _PEERS_SHOWN} more" if len(peers) > _PEERS_SHOWN else ""
    yield table(rows, left=1) + more


def _errors(data: dict[str, Any]) -> Iterator[str]:
    if data["errors"]:
        lines = [f"{count(one['count']):>10}  {one['error'][: _WIDTH - 12]}" for one in data["errors"][:10]]
        yield "ERRORS\n" + "\n".join(lines)


def _notes(data: dict[str, Any]) -> Iterator[str]:
    lines = ["NOTES"]
    for one in data["notes"]:
        times = f" ({count(one['times'])} times)" if one["times"] > 1 else ""
        lines.append(textwrap.fill(f"{one['path']}: {one['text']}{times}", _WIDTH, subsequent_indent="  ",
                                   break_on_hyphens=False, break_long_words=False))  # fmt: skip
    if len(lines) > 1:
        yield "\n".join(lines)


def comparison_text(found: Comparison) -> str:
    """The comparison: both runs, then each figure with its interval."""
    heads = [f"{letter}: {_head(report.to_dict())}" for letter, report in (("A", found.a), ("B", found.b))]
    level = percent(found.confidence)
    rows: list[Sequence[str]] = [("OPERATION", "size", "figure", "A", "B", "change", f"{level} interval", "B is")]
    for one in found.differences:
        rows.append((
            one.op, one.size or "all", FIGURES[one.figure], shown(one.figure, one.a), shown(one.figure, one.b),
            f"{one.change:+.1%}", f"{one.low:+.1%} to {one.high:+.1%}", one.verdict if one.verdict != "same" else "-",
        ))  # fmt: skip
    return "\n\n".join([*heads, table(rows, left=3)])
