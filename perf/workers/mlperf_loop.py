"""The loop of MLPerf Storage over objects, in a process of its own: ``mlperf_loop.py COUNT PREFETCH BATCH``.

It imports only what both packages of the name have, since either may be the one that is measured.
"""

from __future__ import annotations

import json
import resource
import sys
import time

import s3dlio


def epoch(uris: list[str], prefetch: int, size: int) -> int:
    """Read all objects as DLIO's reader does; returns their bytes."""
    dataset = s3dlio.PyDataset.from_uris(uris)
    items = s3dlio.PyBytesAsyncDataLoader(dataset, {"prefetch": prefetch, "skip_head": True}).items()
    total = 0
    while batch := items.collect_batch(size):
        total += sum(item.byte_count for item in batch)
        del batch
    return total


def main() -> None:
    """Measure the second epoch; the first makes connections and memory."""
    count, prefetch, size = map(int, sys.argv[1:4])
    uris = [f"s3://bench/{number:04}" for number in range(count)]
    epoch(uris, prefetch, size)
    before, began = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    total = epoch(uris, prefetch, size)
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(json.dumps({"bytes": total, "wall": wall, "cpu": cpu, "rss": after.ru_maxrss << 10}))


if __name__ == "__main__":
    main()
