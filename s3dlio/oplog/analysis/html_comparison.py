"""The comparison of two runs as a page."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from s3dlio.figures import count, duration, percent
from s3dlio.oplog.analysis.comparison import FIGURES, Comparison, shown
from s3dlio.oplog.analysis.html import MADE, base, nines
from s3dlio.oplog.analysis.summary import block_counts
from s3dlio.pages.page import COLOURS, WARM, figure, page, table
from s3dlio.pages.svg import Axis, Row, linear, ranges

_COLOURS = {"slower": WARM, "faster": "var(--good)", "same": "var(--s7)"}


def comparison_page(found: Comparison) -> str:
    """The page of a comparison."""
    return page("Comparison of two runs", MADE, _comparison(found))


def _comparison(found: Comparison) -> Iterator[str]:
    a, b = found.a.to_dict(), found.b.to_dict()
    names = [base(one["logs"][0]["path"]) for one in (a, b)]
    yield f'<p class="over">Comparison</p><h1>B: {escape(names[1])} against A: {escape(names[0])}</h1>'
    lengths = [f"{count(one['records'])} operations in {duration(one['seconds'])}" for one in (b, a)]
    yield f'<p class="lead">{lengths[0]}, against {lengths[1]}</p>'
    level = percent(found.confidence)
    yield f"<h2>What changed</h2><p>B is slower or faster only where the {level} interval excludes zero.</p>"
    yield f'<ul class="findings">{"".join(map(_sentence, found.sentences()))}</ul>'
    for op in dict.fromkeys(one.op for one in found.differences):
        yield from _compared(found, op, level)
    yield "<h2>All figures</h2>"
    rows = [
        ("part" if one.size or one.figure != "ops_per_s" else "first",
         [one.op, one.size or "all sizes", FIGURES[one.figure], shown(one.figure, one.a), shown(one.figure, one.b),
          f"{one.change:+.1%}", f"{one.low:+.1%} to {one.high:+.1%}", one.verdict])
        for one in found.differences
    ]  # fmt: skip
    yield table(["Operation", "Size", "Figure", "A", "B", "Change", f"{level} interval", "B is"], rows, left=3)


def _sentence(text: str) -> str:
    kind = "warning" if "slower" in text else "notice" if "faster" in text else "info"
    op, _, rest = text.partition(": ")
    return f'<li class="{kind}"><i>{escape(op)}</i><span>{escape(rest)}</span></li>'


def _compared(found: Comparison, op: str, level: str) -> Iterator[str]:
    """The intervals of an operation, and its latencies in both runs."""
    mine = [one for one in found.differences if one.op == op and not one.size]
    rows = [
        Row(
            FIGURES[one.figure],
            one.low,
            one.change,
            one.high,
            f"{one.change:+.1%}: {one.verdict}",
            _COLOURS[one.verdict],
        )
        for one in mine
    ]
    far = max(0.05, *(max(abs(one.low), abs(one.high)) for one in mine))
    high = far * 1.1
    marks = linear(high, "", about=3).ticks
    ticks = [(-value, f"{-value:+.0%}") for value, _ in reversed(marks[1:]) if value <= high]
    ticks += [(value, f"{value:+.0%}" if value else "0") for value, _ in marks if value <= high]
    axis = Axis(-high, high, ticks, title="change from A to B")
    yield f"<h2>{escape(op)}</h2>"
    yield figure(f"Change, with its {level} interval", [], ranges(rows, axis, f"Changes of {op}", zero=0.0))
    counts = [block_counts(one.data, one.data.operations.names.index(op)).sum(axis=0) for one in (found.a, found.b)]
    lines = [("A", COLOURS[0], "dash", counts[0]), ("B", COLOURS[1], "line", counts[1])]
    keys = [("A", COLOURS[0], "dash"), ("B", COLOURS[1], "thin")]
    yield figure("Latency by percentile", keys, nines(lines, f"Latency of {op} by percentile"))
