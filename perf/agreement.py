"""``s3-cli bench`` beside the comparison's own jobs for the same rows: ``python -m perf.agreement``.

They run in one process, and take turns. What is shown is bench's rate divided by the comparison's,
and its CPU time divided by the other's.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import sys
import time
from dataclasses import replace

from perf.contenders import ROOT, environment
from perf.measure import Servers, servers
from perf.rows import KEYS, LARGE, MEDIUM, ROWS, SMALL, Row
from perf.workers.protocol import Job, Library, perform
from s3dlio.bench.measure import LEAD_NS, Task, run_task
from s3dlio.bench.plan import Plan, Share
from s3dlio.bench.sizes import Sizes
from s3dlio.client import Client
from s3dlio.config.settings import Settings
from s3dlio.engine.cancel import CancelToken

#: Rows of the comparison that bench can do.
COVERED = (
    "GET 64 MiB, 8 in flight", "GET 64 MiB, one by one", "GET 4 KiB, 32 in flight", "GET 4 KiB, one by one",
    "PUT 8 MiB, 8 in flight", "PUT 4 KiB, 32 in flight", "stat, one by one", "list 100,000 keys",
)  # fmt: skip
_COUNTS = {LARGE: 8, MEDIUM: 32, SMALL: 4_000, 0: KEYS}
#: Objects a second, and CPU seconds for an object.
Figures = tuple[float, float]


def by_bench(row: Row, job: Job, seconds: float) -> Figures:
    """What bench tells of the row."""
    plan = Plan(
        operation=job.verb, uri=f"s3://{row.container}/", sizes=Sizes.parse(str(job.size)), objects=job.count,
        concurrent=(job.in_flight,), seconds=seconds, warm_up=0.3, seed=1,
    )  # fmt: skip
    names = job.keys()
    found = [(name, job.size) for name in names]
    task = Task(plan, "" if job.verb == "list" else job.prefix, found, 0, job.in_flight)
    result = run_task(Client(Settings.resolve()), task, Share(), CancelToken(), time.perf_counter_ns() + LEAD_NS)
    assert not result.errors, result.failures
    total = result.total
    objects = sum(total.objects_over_time.values)
    return objects / result.seconds, result.cpu_seconds / objects


def by_comparison(library: Library, job: Job, seconds: float) -> Figures:
    """What the comparison tells of it: jobs until the time is over."""
    costs = [perform(library, job)]
    while sum(cost.wall for cost in costs) < seconds:
        costs.append(perform(library, job))
    objects = job.count * len(costs)
    return objects / sum(cost.wall for cost in costs), sum(cost.cpu for cost in costs) / objects


def compare(where: Servers, row: Row, rounds: int, seconds: float) -> Figures:
    """Medians of the rounds' ratios of rate and CPU time."""
    sys.path.insert(0, str(ROOT / "perf/workers"))
    from with_s3dlio import S3dlio  # type: ignore[import-not-found]

    target = where.target(row, row.scheme)
    os.environ.update(environment(target))
    job = replace(row.job, count=_COUNTS[row.job.size])
    library = S3dlio(target)
    ratios = []
    for number in range(rounds + 1):
        ours = by_bench(row, job, seconds)
        shutil.rmtree(where.server(row).root / row.container / "put", ignore_errors=True)
        theirs = by_comparison(library, job, seconds)
        if number:  # the first one warms up
            ratios.append((ours[0] / theirs[0], ours[1] / theirs[1]))
    return statistics.median(rate for rate, _ in ratios), statistics.median(cpu for _, cpu in ratios)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", metavar="TEXT", help="rows with this in their name")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=1.0, help="of each measurement (default: %(default)s)")
    options = parser.parse_args()
    with servers() as where:
        for row in ROWS:
            if row.name in COVERED and options.only in row.name:
                rate, cpu = compare(where, row, options.rounds, options.seconds)
                print(f"{row.name:<28}  rate {rate:.3f}  CPU time {cpu:.3f}", flush=True)


if __name__ == "__main__":
    main()
