"""Batches of files beside the loop of the verb that they replace: ``python -m perf.compare_batches``.

Loop and batch take turns within one process, so that what else the machine does falls on both. Each row has the CPU
time for an item, and the median of the rounds' ratios (loop / batch: above 1 the batch is quicker) of CPU time and of
the clock. With ``--cpus`` batches of large files run on 1, 2, 4, ... CPUs, by affinity.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import s3dlio
from s3dlio.hardware import affinity_cpu_count

SMALL, LARGE = 4 << 10, 64 << 20
Work = Callable[[], Any]


def pairs(uris: list[str], data: bytes) -> dict[str, tuple[Work, Work, Work]]:
    """For each verb: what is done before every run, the loop, the batch."""
    items = [(f"{uri}-written", data) for uri in uris]
    written = [uri for uri, _ in items]

    def each(verb: Callable[..., Any], *arguments: Iterable[Any]) -> Work:
        def loop() -> None:
            for given in zip(*arguments, strict=True):
                verb(*given)

        return loop

    def nothing() -> None:
        pass

    def write() -> None:
        s3dlio.put_many(items)

    return {
        "get, dropped": (nothing, each(s3dlio.get, uris), lambda: s3dlio.get_many_stats(uris)),
        "get, kept": (nothing, lambda: [(uri, s3dlio.get(uri)) for uri in uris], lambda: s3dlio.get_many(uris)),
        "put": (nothing, each(s3dlio.put_bytes, written, [data] * len(uris)), write),
        "stat": (nothing, lambda: [s3dlio.stat(uri) for uri in uris], lambda: s3dlio.stat_many(uris)),
        "delete": (write, each(s3dlio.delete, written), lambda: s3dlio.delete_many(written)),
    }


def timed(before: Work, work: Work, times: int) -> tuple[float, float]:
    """Seconds, and CPU seconds, of ``work``."""
    wall = cpu = 0.0
    for _ in range(times):
        before()
        wall, cpu = wall - time.perf_counter(), cpu - time.process_time()
        work()
        wall, cpu = wall + time.perf_counter(), cpu + time.process_time()
    return wall, cpu


def small_files(folder: Path, counts: Iterable[int], rounds: int) -> None:
    data = os.urandom(SMALL)
    print(f"{'files of 4 KiB':16}{'batch of':>9}{'loop us':>9}{'batch us':>9}{'CPU':>7}{'clock':>7}")
    for count in counts:
        uris = [f"file://{folder}/{number:05}" for number in range(count)]
        for uri in uris:
            s3dlio.put_bytes(uri, data)
        times = max(1, 1000 // count)
        for name, (before, loop, batch) in pairs(uris, data).items():
            timed(before, loop, 1), timed(before, batch, 1)
            found = []
            for turn in range(rounds):
                first = timed(before, batch, times) if turn % 2 else None
                found.append((timed(before, loop, times), first or timed(before, batch, times)))
            cpu = [statistics.median(one[which][1] for one in found) / count / times * 1e6 for which in (0, 1)]
            ratios = [statistics.median(loop[kind] / batch[kind] for loop, batch in found) for kind in (1, 0)]
            print(f"{name:16}{count:9}{cpu[0]:9.1f}{cpu[1]:9.1f}{ratios[0]:7.2f}{ratios[1]:7.2f}", flush=True)


@contextmanager
def affinity(cpus: int) -> Iterator[None]:
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(allowed)[:cpus])
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


def large_files(folder: Path, rounds: int) -> None:
    """Files of 64 MiB on 1, 2, 4, ... CPUs."""
    for number in range(8):
        (folder / f"large-{number}").write_bytes(os.urandom(LARGE))
    counts = [cpus for cpus in (1, 2, 4, 8, 16) if cpus <= affinity_cpu_count()]
    print(f"\n{'files of 64 MiB, GB/s':24}" + "".join(f"{cpus:>4} CPUs" for cpus in counts))
    for scheme in ("file", "direct"):
        uris = [f"{scheme}://{folder}/large-{number}" for number in range(8)] * 2
        for verb in (s3dlio.get_many, s3dlio.get_many_stats):
            rates: dict[int, list[float]] = {cpus: [] for cpus in counts}
            for _ in range(rounds):
                for cpus in counts:
                    with affinity(cpus):
                        wall, _ = timed(list, partial(verb, uris), 1)
                    rates[cpus].append(len(set(uris) if verb is s3dlio.get_many else uris) * LARGE / wall / 1e9)
            shown = "".join(f"{statistics.median(rates[cpus]):9.2f}" for cpus in counts)
            print(f"{scheme}:// {verb.__name__:{22 - len(scheme) - 3}}{shown}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--counts", type=int, nargs="+", default=[1, 10, 2000], help="items of a batch")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--cpus", action="store_true", help="large files on 1, 2, 4, ... CPUs, too")
    parser.add_argument("--folder", type=Path, default=Path("/dev/shm"), help="where; in memory, else the disk counts")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder, prefix="s3dlio-batches-") as name:
        small_files(Path(name), options.counts, options.rounds)
        if options.cpus:
            large_files(Path(name), options.rounds)


if __name__ == "__main__":
    main()
