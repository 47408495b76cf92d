"""Run many schedules: ``python -m tests.simulation.run --seeds 0..10000 --jobs 2``. One that fails is replayed by
``--seeds N --trace``."""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import partial
from typing import NamedTuple

from tests.simulation import schedule
from tests.simulation.world import real_seconds

_PER_JOB = 50


class Found(NamedTuple):
    """What a stretch of seeds came to."""

    failures: list[tuple[int, list[str]]]
    schedules: int
    operations: int
    requests: int
    faults: Counter[str]


def replay_command(seed: int, *, streams: bool = False, paced: int | None = None, servers: bool = False) -> str:
    more = (" --streams" if streams else "") + ("" if paced is None else f" --paced {paced}")
    more += " --servers" if servers else ""
    return f"python -m tests.simulation.run --seeds {seed} --trace{more}"


def run_seeds(
    seeds: Iterable[int], *, streams: bool = False, paced: int | None = None, servers: bool = False
) -> Found:
    failures, count, operations, requests = [], 0, 0, 0
    faults: Counter[str] = Counter()
    for seed in seeds:
        result = schedule.run(seed, streams=streams, paced=paced, servers=servers)
        count += 1
        operations += result.operations
        requests += result.requests
        faults.update(result.faults)
        if result.violations:
            failures.append((seed, result.violations))
    return Found(failures, count, operations, requests, faults)


def _stretches(first: int, last: int) -> Iterator[range]:
    for start in range(first, last + 1, _PER_JOB):
        yield range(start, min(start + _PER_JOB, last + 1))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", default="0..999", help="one seed, or A..B")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)), help="processes")
    parser.add_argument("--streams", action="store_true", help="most operations are streaming writes")
    parser.add_argument("--paced", type=int, metavar="N", help="N bytes a second go and come at most")
    parser.add_argument("--servers", action="store_true", help="there are several servers, which may be down")
    parser.add_argument("--trace", action="store_true", help="print what happens (one seed)")
    parser.add_argument("--keep-going", action="store_true", help="do not stop at 20 failing seeds")
    wanted = parser.parse_args()
    first, _, last = wanted.seeds.partition("..")
    if wanted.trace:
        return _show(int(first), streams=wanted.streams, paced=wanted.paced, servers=wanted.servers)
    began = real_seconds()
    failures, total, operations, requests = 0, 0, 0, 0
    faults: Counter[str] = Counter()
    with multiprocessing.get_context("spawn").Pool(wanted.jobs) as pool:
        work = partial(run_seeds, streams=wanted.streams, paced=wanted.paced, servers=wanted.servers)
        for found in pool.imap_unordered(work, _stretches(int(first), int(last or first))):
            total += found.schedules
            operations += found.operations
            requests += found.requests
            faults += found.faults
            for seed, violations in found.failures:
                failures += 1
                again = replay_command(seed, streams=wanted.streams, paced=wanted.paced, servers=wanted.servers)
                print(f"seed {seed}: {violations[0][:300]}\n    {again}", flush=True)
            if failures > 20 and not wanted.keep_going:
                print("and so on", flush=True)
                break
    took = real_seconds() - began
    print(f"{total} schedules, {operations} operations, {requests} requests, {failures} failed; {took:.1f} s, "
          f"{total / took * 60:.0f} a minute")  # fmt: skip
    print("faults:", ", ".join(f"{kind} {number}" for kind, number in faults.most_common()))
    return 1 if failures else 0


def _show(seed: int, *, streams: bool, paced: int | None, servers: bool) -> int:
    result = schedule.run(seed, streams=streams, paced=paced, servers=servers)
    for moment, *what in result.trace:
        print(f"{moment - 1000:12.6f}  {' '.join(map(str, what))}")
    print(f"seed {seed}: {len(result.violations)} violations, trace {result.digest}")
    for violation in result.violations:
        print(f"  {violation}")
    return 1 if result.violations else 0


if __name__ == "__main__":
    sys.exit(main())
