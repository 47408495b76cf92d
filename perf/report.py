"""What the comparison found, as tables for the terminal and for docs/performance, and as data for the plot."""

from __future__ import annotations

import datetime
import os
import platform
import statistics
from collections.abc import Sequence
from typing import Any

from perf.contenders import CONTENDERS, OURS
from perf.measure import Result
from perf.rows import Row

Table = list[list[str]]


def machine() -> str:
    """Processor, cores, memory, kernel and Python in one line."""
    with open("/proc/cpuinfo") as about:
        models = [line.partition(":")[2].strip() for line in about if line.startswith("model name")]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)
    return (
        f"{models[0] if models else platform.machine()}, {os.cpu_count()} cores, {memory:.0f} GiB, "
        f"Linux {platform.release()}, Python {platform.python_version()}"
    )


def versions(results: Sequence[Result]) -> str:
    names = dict.fromkeys(name for result in results for name in result.costs)
    shown = {
        contender.package.replace("==", " ") if contender.package else f"{contender.name} {contender.version}"
        for contender in (CONTENDERS[name] for name in names if name in CONTENDERS)  # but for an older checkout
        if contender.version and contender.scheme is None and contender != OURS
    }
    return ", ".join([f"s3dlio {OURS.version}", *sorted(shown - {f"s3dlio {OURS.version}"})])


def rates(results: Sequence[Result]) -> Table:
    """The median rate of every contender."""
    return _by_contender(results, lambda result, name: _rate(result.row, statistics.median(result.rates(name))))


def cpu(results: Sequence[Result]) -> Table:
    """The median CPU time of every contender for the same work."""
    return _by_contender(results, lambda result, name: _cpu(result.row, statistics.median(result.cpu(name))))


def _by_contender(results: Sequence[Result], cell: Any) -> Table:
    names = list(dict.fromkeys(name for result in results for name in result.costs))
    table = [["", *names]]
    for result in results:
        table.append([result.row.name, *(cell(result, name) if name in result.costs else "" for name in names)])
    return table


def _rate(row: Row, value: float) -> str:
    return f"{value / 1e9:.2f} GB/s" if row.by_bytes else f"{value:,.0f}/s"


def _cpu(row: Row, value: float) -> str:
    return f"{value * 1e9:.2f} s/GB" if row.by_bytes else f"{value * 1e6:.1f} us"


def goals(results: Sequence[Result]) -> Table:
    """What must be reached, and what was."""
    table = [["", "against", "rate", "wanted", "CPU", "wanted", ""]]
    for result in results:
        row = result.row
        if OURS.name not in result.costs:
            continue
        for other, wanted in row.wanted.items():
            if other not in result.costs:
                continue
            rate, used = result.rate_ratio(OURS.name, other), result.cpu_ratio(OURS.name, other)
            met = rate >= wanted.rate and (wanted.cpu is None or used <= wanted.cpu)
            limit = "" if wanted.cpu is None else f"<= {wanted.cpu}x"
            table.append(
                [row.name, other, f"{rate:.2f}x", f">= {wanted.rate}x", f"{used:.2f}x", limit, _verdict(met)]
            )
        if row.least_rate is not None:
            reached = statistics.median(result.rates(OURS.name))
            table.append(
                [row.name, "the distance", f"{reached:,.0f}/s", f">= {row.least_rate:,.0f}/s", "", "",
                 _verdict(reached >= row.least_rate)]
            )  # fmt: skip
    return table


def _verdict(met: bool) -> str:
    return "reached" if met else "missed"


def plain(table: Table) -> str:
    """A table for a terminal."""
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) if not at else cell.rjust(width) for at, (cell, width) in
                  enumerate(zip(row, widths, strict=True))).rstrip()
        for row in table
    )  # fmt: skip


def markdown(table: Table) -> str:
    head, *rows = table
    rule = ["---", *("---:" for _ in head[1:])]
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, rule, *rows])


def data(results: Sequence[Result], rounds: int) -> dict[str, Any]:
    """Everything, for the plot and for whoever wants to compare runs."""
    return {
        "date": datetime.date.today().isoformat(),
        "machine": machine(),
        "versions": versions(results),
        "rounds": rounds,
        "rows": [
            {
                "name": result.row.name,
                "unit": "byte" if result.row.by_bytes else "operation",
                "contenders": {
                    name: {"rate": statistics.median(result.rates(name)), "cpu": statistics.median(result.cpu(name))}
                    for name in result.costs
                },
            }
            for result in results
        ],
    }


def page(results: Sequence[Result], rounds: int) -> str:
    """The page of docs/performance."""
    return f"""\
# Performance

Written by `make perf-compare` on {datetime.date.today().isoformat()}; [method.md](method.md) says how it measures.

- Machine: {machine()}. Servers and clients share it.
- Versions: {versions(results)}.
- Medians of {rounds} rounds in which the contenders took turns; ratios are medians of the rounds' ratios.

![Rates and CPU time of all contenders](comparison.png)

## Rates

{markdown(rates(results))}

## CPU time

User and system time of the client's process, for a GB or for an operation.

{markdown(cpu(results))}

## What is to be reached

Ratios of s3dlio to the other: the rate, and the CPU time for the same work.

{markdown(goals(results))}
"""
