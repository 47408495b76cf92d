"""One worker of a training with many samples: opens a manifest of keys, reads its first batch, then asks for URIs."""

from __future__ import annotations

import json
import sys
import time
from itertools import islice

import s3dlio


def private() -> int:
    """MiB of memory that this process shares with nobody."""
    with open("/proc/self/smaps_rollup") as lines:
        return sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) >> 10


def main() -> None:
    manifest, born = sys.argv[1], float(sys.argv[2])
    dataset = s3dlio.PyDataset.from_manifest(manifest)
    opened = time.time() - born
    batches = iter(s3dlio.BytesLoader(dataset, {"shuffle": True, "seed": 1, "batch_size": 32}))
    next(batches)
    first = time.time() - born
    batches.close()
    loader = s3dlio.BytesLoader(dataset, {"shuffle": True, "seed": 2})
    rounds = []
    for _ in range(4):
        count, cpu, clock = 20_000, time.process_time(), time.perf_counter()
        for _ in islice(dataset.entries_at(loader.progress.order(loader.consumer)), count):
            pass
        rounds.append((1e6 * (time.process_time() - cpu) / count, 1e6 * (time.perf_counter() - clock) / count))
    print(json.dumps({
        "opened": opened, "first": first, "private": private(), "cold": rounds[0], "warm": rounds[-1],
    }))  # fmt: skip


if __name__ == "__main__":
    main()
