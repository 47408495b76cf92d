"""What the op-log costs: the same reads with and without it, in turns, on a local nginx. Run: make perf-oplog.

Each round reads once without a log and once with one, and the ratio of the two is that round's; what else the machine
does falls on both. CPU time is that of the whole process, the thread that writes the log included.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from perf.measure import say
from s3dlio.client import Client
from s3dlio.oplog.control import finalize_op_log, init_op_log
from tests.servers.nginx import NginxServer

KIB, MIB = 1 << 10, 1 << 20
SMALL_OBJECTS, LARGE_OBJECTS = 2000, 4


class Cost(NamedTuple):
    """Seconds of the clock and of the CPU."""

    wall: float
    cpu: float


class Row(NamedTuple):
    """Reads that are measured: what does them once, how many operations that are, and what the log may cost."""

    name: str
    work: Callable[[], object]
    operations: int
    allowed: float


def rows(client: Client, server: NginxServer, directory: str) -> list[Row]:
    small, large = os.urandom(4 * KIB), os.urandom(64 * MIB)
    for number in range(SMALL_OBJECTS):
        server.add_object(f"bucket/small/{number}", small)
    for number in range(LARGE_OBJECTS):
        server.add_object(f"bucket/large/{number}", large)
    uris = [f"s3://bucket/small/{number}" for number in range(SMALL_OBJECTS)]
    parts = [f"s3://bucket/large/{number}" for number in range(LARGE_OBJECTS)]
    files = [f"file://{directory}/{number}" for number in range(SMALL_OBJECTS)]
    client.put_many([(uri, small) for uri in files])

    def one_by_one(wanted: list[str]) -> Callable[[], object]:
        return lambda: [client.get(uri) and None for uri in wanted]

    return [
        Row("GET 4 KiB, one by one", one_by_one(uris), len(uris), 0.03),
        Row("GET 4 KiB, 32 in flight", lambda: client.get_many(uris, 32), len(uris), 0.03),
        Row("GET 64 MiB, one by one", one_by_one(parts), len(parts), 0.01),
        Row("GET 64 MiB, 4 in flight", lambda: client.get_many(parts, 4), len(parts), 0.01),
        Row("file:// 4 KiB, one by one", one_by_one(files), len(files), 0.03),
        Row("file:// 4 KiB, many", lambda: client.get_many(files, 32), len(files), 0.03),
    ]


def timed(row: Row, times: int) -> Cost:
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(times):
        row.work()
    return Cost(time.perf_counter() - wall, time.process_time() - cpu)


def measure(row: Row, log: str, rounds: int, seconds: float) -> tuple[list[Cost], list[Cost]]:
    """The costs without and with the log, round by round; the log is open while its reads are timed, not its end."""
    row.work()
    times = max(1, round(seconds / timed(row, 1).wall))
    without, recorded = [], []
    for number in range(rounds):
        say(f"{row.name}: round {number + 1} of {rounds}")
        for is_recorded in (False, True) if number % 2 else (True, False):
            if is_recorded:
                init_op_log(log)
                recorded.append(timed(row, times))
                finalize_op_log()
            else:
                without.append(timed(row, times))
    say("")
    return [_each(cost, times * row.operations) for cost in without], [
        _each(cost, times * row.operations) for cost in recorded
    ]


def _each(cost: Cost, operations: int) -> Cost:
    return Cost(cost.wall / operations, cost.cpu / operations)


def report(row: Row, without: list[Cost], recorded: list[Cost]) -> bool:
    """Print a line; returns whether the log costs what it may."""
    fall = 1 - statistics.median(a.wall / b.wall for a, b in zip(without, recorded, strict=True))
    cpu = statistics.median(b.cpu / a.cpu for a, b in zip(without, recorded, strict=True)) - 1
    before, after = (statistics.median(cost.cpu for cost in costs) * 1e6 for costs in (without, recorded))
    print(
        f"{row.name:28} rate {-fall:+6.1%} (allowed {-row.allowed:.0%})   CPU {cpu:+6.1%}   "
        f"{before:8.1f} -> {after:8.1f} us CPU an operation"
    )
    return fall <= row.allowed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--seconds", type=float, default=0.5, help="of one timed run")
    parser.add_argument("--only", default="", help="rows with this in their name")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory, NginxServer() as server:
        os.environ.update(server.env)
        log = str(Path(directory) / "ops.tsv.zst")
        with Client() as client:
            chosen = [row for row in rows(client, server, directory) if arguments.only in row.name]
            results = [report(row, *measure(row, log, arguments.rounds, arguments.seconds)) for row in chosen]
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
