"""Clients in several processes of this machine: each runs its share of a run, and they begin at the same moment."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

from s3dlio.bench.measure import LEAD_NS, Task, run_task
from s3dlio.bench.plan import Share
from s3dlio.bench.result import Result
from s3dlio.bench.workload import touch
from s3dlio.engine.cancel import CancelToken
from s3dlio.engine.process_batch import run_processes
from s3dlio.engine.process_job import Job, Note, ResultMemory, Work
from s3dlio.engine.processes import WorkerProcess
from s3dlio.engine.session import Session
from s3dlio.stores.call import BaseStore, Call

_READY = "ready"


class _Item(NamedTuple):
    share: Share
    start: int


class ShareWork(Work):
    """The parent's half: a share for each worker, as soon as all workers are there.

    Args:
        task: what is done.
        shares: one for each worker.
    """

    operation = "BENCH"
    is_repeatable = False
    is_bounded = False

    def __init__(self, task: Task, shares: Sequence[Share]) -> None:
        super().__init__(__name__, "ShareJob", task)
        self._task = task
        self._shares = shares
        self._ready: set[int] = set()

    def __len__(self) -> int:
        return len(self._shares)

    def __iter__(self) -> Iterator[_Item | None]:
        while len(self._ready) < len(self._shares):
            yield None
        start = time.perf_counter_ns() + LEAD_NS  # all processes of a machine have this clock
        for share in self._shares:
            yield _Item(share, start)

    def uri(self, item: _Item) -> str:
        return self._task.plan.uri

    def on_note(self, worker: WorkerProcess, note: Any) -> None:
        if note == _READY:
            self._ready.add(worker.number)

    def on_death(self, worker: WorkerProcess, items: Sequence[Any]) -> None:
        self._ready.discard(worker.number)


class _Here(BaseStore):
    """Stands for this process, which runs a share as a store runs an operation."""

    scheme = "memory"


class ShareJob(Job):
    """The worker's half: runs a share, which is one call."""

    def __init__(self, session: Session, results: ResultMemory, note: Note, task: Task) -> None:
        super().__init__(session, results, note)
        self._task = task
        self._here = _Here(task.plan.uri)
        touch(task.plan, task.entries(Share()), Share(0, task.plan.procs).part(task.concurrent))
        note(_READY)

    def call(self, item: _Item) -> tuple[Call[Result], None]:
        run = partial(run_task, self.session, self._task, item.share, self.cancel, item.start)
        return Call(self._here, "BENCH", task_name(item.share), run), None

    def result(self, context: None, result: Result) -> Result:
        return result


def task_name(share: Share) -> str:
    """What a share is called in messages."""
    return f"share {share.number + 1} of {share.of}"


def run_on_processes(session: Session, task: Task, shares: Sequence[Share], cancel: CancelToken) -> list[Result]:
    """Run shares, each in a worker process.

    Raises:
        S3dlioError: one of them failed, or its process died.
    """
    results: list[Result] = []
    failures: list[BaseException] = []

    def done(index: int, result: Result, error: BaseException | None) -> None:
        if error is None:
            results.append(result)
        elif not cancel.cancelled:
            failures.append(error)
            cancel.cancel("another process failed")

    work = ShareWork(task, shares)
    run_processes(session, work, work, procs=len(shares), width=len(shares), on_done=done, cancel=cancel)
    if failures:
        raise failures[0]
    return results
