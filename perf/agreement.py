"""``s3-cli bench`` beside the comparison's own jobs for the same rows: ``python -m perf.agreement``.

Both do as many operations, in one process, and take turns. What is shown is bench's rate divided by the comparison's,
and its CPU time divided by the other's.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import replace

from perf.contenders import ROOT, environment
from perf.measure import Servers, servers
from perf.rows import LARGE, MEDIUM, ROWS, SMALL, Row
from perf.workers.protocol import Job, perform
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
_COUNTS = {LARGE: 8, MEDIUM: 32, SMALL: 4_000, 0: 1}
#: Wall and CPU seconds of one job.
Cost = tuple[float, float]


def bench_job(row: Row, job: Job) -> Callable[[], Cost]:
    """The same by bench, which is ready when this returns."""
    session = Client(Settings.resolve())
    pages = job.count // 1000
    plan = Plan(
        operation=job.verb, uri=f"s3://{row.container}/", sizes=Sizes.parse(str(job.size)), objects=job.count,
        concurrent=(job.in_flight,), seconds=None, count=pages if job.verb == "list" else job.count, warm_up=0.0,
        seed=1,
    )  # fmt: skip
    names = job.keys()
    found = [(name, job.size) for name in names]
    base = "" if job.verb == "list" else job.prefix
    task = Task(plan, base, found, 0, job.in_flight)

    def run() -> Cost:
        result = run_task(session, task, Share(), CancelToken(), time.perf_counter_ns() + LEAD_NS)
        assert result.total.objects == job.count, result.failures
        return result.seconds, result.cpu_seconds

    return run


def compare(where: Servers, row: Row, rounds: int) -> tuple[float, float]:
    """Medians of the rounds' ratios of rate and CPU time."""
    sys.path.insert(0, str(ROOT / "perf/workers"))
    from with_s3dlio import S3dlio  # type: ignore[import-not-found]

    ratios = []
    target = where.target(row, row.scheme)
    os.environ.update(environment(target))
    job = row.job if row.job.verb == "list" else replace(row.job, count=_COUNTS[row.job.size])
    library = S3dlio(target)
    by_bench = bench_job(row, job)
    for number in range(rounds + 1):
        ours = by_bench()
        shutil.rmtree(where.server(row).root / row.container / "put", ignore_errors=True)
        cost = perform(library, job)
        if number:  # the first one warms up
            ratios.append((cost.wall / ours[0], ours[1] / cost.cpu))
    return statistics.median(rate for rate, _ in ratios), statistics.median(cpu for _, cpu in ratios)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", metavar="TEXT", help="rows with this in their name")
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    with servers() as where:
        for row in ROWS:
            if row.name in COVERED and options.only in row.name:
                rate, cpu = compare(where, row, options.rounds)
                print(f"{row.name:<28}  rate {rate:.3f}  CPU time {cpu:.3f}", flush=True)


if __name__ == "__main__":
    main()
