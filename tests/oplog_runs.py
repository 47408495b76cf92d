"""Op-logs of runs that never were: workers in a closed loop on a simulated store, from one seed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from s3dlio.rfc3339 import rfc3339

START = 1_795_823_572_000_000_000
HEADER = "idx\tthread\top\tclient_id\tn_objects\tbytes\tendpoint\tfile\terror\tstart\tfirst_byte\tend\tduration_ns\n"
Row = dict[str, Any]


def run(
    seed: int,
    *,
    workers: int = 16,
    count: int = 4_000,
    latency: float = 0.005,
    think: float = 0.0,
    sigma: float = 0.3,
    change: Callable[[Row, np.random.Generator], None] | None = None,
    **more: Any,
) -> list[Row]:
    """The rows of a run, in the order of their ends: each worker asks, waits, thinks, and asks again.

    Args:
        seed: of all chance.
        latency, think: seconds, the median of an operation and of what is between two.
        sigma: how much latencies vary.
        change: is given each row before it ends, with its ``latency`` (seconds).
        more: other values of every row.
    """
    chance = np.random.default_rng(seed)
    free = [(index * latency / workers, index) for index in range(workers)]
    rows = []
    for number in range(count):
        begin, worker = min(free)
        row: Row = {
            "thread": worker, "op": "GET", "client_id": "c0", "bytes": 1 << 20, "endpoint": "http://s0", "error": "",
            "file": f"b/{seed}/{number}", "begin": begin, "latency": latency * float(np.exp(chance.normal(0, sigma))),
            **more,
        }  # fmt: skip
        if change is not None:
            change(row, chance)
        free[free.index((begin, worker))] = (begin + row["latency"] + think * float(chance.exponential()), worker)
        rows.append(row)
    return sorted(rows, key=lambda row: float(row["begin"] + row["latency"]))


def text(rows: list[Row], start: int = START) -> str:
    """A log of them."""
    lines = [HEADER]
    for number, row in enumerate(rows):
        begin = start + round(row["begin"] * 1e9)
        end = begin + round(row["latency"] * 1e9)
        first = begin + round(row["latency"] * row.get("wait", 0.5) * 1e9) if row["op"] == "GET" else 0
        lines.append(
            f"{number}\t{row['thread']}\t{row['op']}\t{row['client_id']}\t1\t{0 if row['error'] else row['bytes']}\t"
            f"{row['endpoint']}\t{row['file']}\t{row['error']}\t{moment(begin)}\t{moment(first) if first else ''}\t"
            f"{moment(end)}\t{end - begin}\n"
        )
    return "".join(lines)


def moment(epoch: int) -> str:
    """A time as logs have it."""
    return f"{rfc3339(epoch)[:19]}.{epoch % 1_000_000_000:09}Z"


def log(path: Path, rows: list[Row], start: int = START) -> Path:
    """The file of a log of them."""
    path.write_text(text(rows, start))
    return path
