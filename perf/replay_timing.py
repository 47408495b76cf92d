"""How late a replay begins operations: ``python -m perf.replay_timing``.

A log of 20,000 operations at 1,000 a second, at random distances, nine GETs of 4 KiB to a PUT, is replayed at recorded
speed against a small S3 in memory, or files in memory. Two things say how late operations were: the replay's report,
and its own op-log, whose start times are held against those of the log (less the smallest difference, since the two
began at different times). On a machine that does other work: ``chrt -f 10 python -m perf.replay_timing``.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import s3dlio
from s3dlio.rfc3339 import rfc3339
from tests.servers.memory_s3 import MemoryS3

SIZE = 4096
OBJECTS = 500
ORIGIN = 1_700_000_000_000_000_000
HEADER = "idx\tthread\top\tclient_id\tn_objects\tbytes\tendpoint\tfile\terror\tstart\tfirst_byte\tend\tduration_ns"


def write_log(path: Path, root: str, count: int, rate: float, seed: int = 1) -> None:
    """Rows at random distances, as of many clients that know nothing of each other."""
    chance = random.Random(seed)
    start = ORIGIN
    scheme, _, name = root.partition("://")
    place = f"{scheme}://" if scheme == "file" else root
    with path.open("w") as file:
        print(HEADER, file=file)
        for number in range(count):
            start += int(chance.expovariate(rate) * 1e9)
            operation = "PUT" if number % 10 == 9 else "GET"
            key = f"{name}/{operation.lower()}-{chance.randrange(OBJECTS)}"
            times = f"{_time(start)}\t\t{_time(start + 200_000)}\t200000"
            print(f"{number}\t{number % 32}\t{operation}\t\t1\t{SIZE}\t{place}\t{key}\t\t{times}", file=file)


def _time(epoch_ns: int) -> str:
    second, nanos = divmod(epoch_ns, 1_000_000_000)
    return f"{rfc3339(second * 1_000_000_000)[:19]}.{nanos:09}Z"


def lateness_by_logs(recorded: Path, replayed: Path) -> list[int]:
    """How much later than the earliest each operation of the replay began, by the two logs (nanoseconds)."""
    starts: dict[tuple[str, str], list[int]] = defaultdict(list)
    for row in s3dlio.read_op_log(recorded):
        starts[row["op"], row["file"]].append(row["start"])
    again: dict[tuple[str, str], list[int]] = defaultdict(list)
    for row in s3dlio.read_op_log(replayed):
        again[row["op"], row["file"]].append(row["start"])
    found = [
        now - then
        for name, moments in starts.items()
        for then, now in zip(sorted(moments), sorted(again[name]), strict=True)
    ]
    earliest = min(found)
    return sorted(each - earliest for each in found)


@contextlib.contextmanager
def place(kind: str) -> Iterator[tuple[str, s3dlio.Client]]:
    """A URI to work below, and a client for it."""
    if kind == "file":
        with tempfile.TemporaryDirectory(dir="/dev/shm") as folder, s3dlio.Client() as client:
            yield f"file://{folder}", client
        return
    with MemoryS3() as server:
        os.environ.update(server.env)
        with s3dlio.Client() as client:
            yield "s3://bucket", client


def measure(kind: str, count: int, rate: float) -> dict[str, Any]:
    """One replay."""
    with tempfile.TemporaryDirectory() as folder, place(kind) as (root, client):
        client.put_many([(f"{root}/get-{number}", bytes(SIZE)) for number in range(OBJECTS)])
        log, own = Path(folder, "recorded.tsv"), Path(folder, "replayed.tsv.zst")
        write_log(log, root, count, rate)
        s3dlio.init_op_log(own)
        begun = time.process_time()
        report = s3dlio.replay_op_log(log, session=client, in_place=True)
        spent = time.process_time() - begun
        s3dlio.finalize_op_log()
        by_logs = lateness_by_logs(log, own)
    told = report.to_dict()
    return {
        "on": kind, "operations": report.attempted, "rate": rate, "failed": report.failed,
        "lateness_ms": told["lateness_ms"], "within_percent": told["within_percent"],
        "by_logs_ms": {f"p{share}": round(by_logs[len(by_logs) * share // 100] / 1e6, 4) for share in (50, 90, 99)},
        "by_logs_within_2ms_percent": round(100 * sum(late <= 2_000_000 for late in by_logs) / len(by_logs), 4),
        "drift_ms": round((told["span_seconds"] - told["recorded_span_seconds"]) * 1e3, 4),
        "cpu_us_per_operation": round(spent / report.attempted * 1e6, 1),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(prog="perf.replay_timing", description=__doc__.partition(":")[0])
    parser.add_argument("--on", choices=("s3", "file"), action="append", help="default: both")
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--rate", type=float, default=1000.0, help="operations a second")
    args = parser.parse_args()
    for kind in args.on or ("s3", "file"):
        print(json.dumps(measure(kind, args.count, args.rate)))


if __name__ == "__main__":
    main()
