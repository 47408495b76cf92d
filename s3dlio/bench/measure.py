"""One share of one run: clients in a closed loop, as many operations in flight as asked for, and a clock."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from s3dlio.bench.plan import Plan, Share
from s3dlio.bench.recorder import CODES, Recorder, pack
from s3dlio.bench.result import Result
from s3dlio.bench.workload import WORKLOADS, Entry, Place, Workload, prepared_key, touch
from s3dlio.engine.admission import Admission
from s3dlio.engine.batch import run_calls
from s3dlio.engine.cancel import CancelToken
from s3dlio.engine.session import Session
from s3dlio.errors import S3dlioError, TransferCancelledError
from s3dlio.stores.call import Call

#: Nanoseconds in which the shares of a run get ready.
LEAD_NS = 200_000_000

_clock = time.perf_counter_ns


class Measurement:
    """Runs a workload, and measures it.

    Args:
        session: whose threads and event loops do it.
        workload: what is done.
        count: so many operations after the warm-up; None: until the time is over.
        cancel: ends it early; what was done until then is in the result.
    """

    def __init__(self, session: Session, workload: Workload, count: int | None, cancel: CancelToken) -> None:
        self._session = session
        self._workload = workload
        self._count = count
        self._cancel = cancel
        self._listens = workload.listens
        self._in_flight: dict[int, tuple[int, Call[Any]]] = {}
        self._cpu = 0.0
        self._exhausted = False
        self._begin = 0

    def run(self, start: int) -> Result:
        """Do it.

        Args:
            start: when to begin, by ``time.perf_counter_ns``; at once, if that is past.
        """
        plan, place = self._workload.plan, self._workload.place
        result = self._result = Result(place.concurrent)
        start = max(start, _clock())
        begin = self._begin = start + int(plan.lead_in * 1e9)
        until = None if plan.seconds is None else begin + int(plan.seconds * 1e9)
        recorder = self._recorder = Recorder(result, begin, until)
        time.sleep(max(0.0, (start - _clock()) / 1e9))
        began_ns = time.time_ns() + begin - _clock()
        self._cpu = time.process_time()
        try:
            if place.concurrent > 1:
                self._together(until, place.concurrent)
            else:
                self._one_by_one(until)
        finally:
            stopped = _clock()
            result.cpu_seconds = time.process_time() - self._cpu
            recorder.finish()
            result.written[place.share.number] = self._workload.written
            result.began_ns = began_ns
            result.exhausted = self._exhausted
            result.interrupted = self._cancel.cancelled
            whole = recorder.last if until is None or self._exhausted else until
            end = stopped if result.interrupted else whole
            result.seconds = max(0, end - begin) / 1e9
        return result

    def _timed(self, until: int | None) -> Iterator[Call[Any]]:
        """The calls of the workload until the run is over; each is noted with the time when it begins."""
        in_flight = self._in_flight
        clock, begin, rotate = _clock, self._begin, self._recorder.rotate
        end = 1 << 63 if until is None else until
        left = -1 if self._count is None else self._count
        warm = False
        calls = self._workload.calls()
        for number in itertools.count():
            if warm and not left:
                return
            if (call := next(calls, None)) is None:
                break
            now = clock()
            if now >= end:
                return
            if not warm and now >= begin:
                warm = True
                self._cpu = time.process_time()
            left -= warm
            if not number & 1023:
                rotate()
            in_flight[number] = now, call
            yield call
            del call  # a large object in memory is not kept while the next one is waited for
        self._exhausted = True

    def _together(self, until: int | None, width: int) -> None:
        """Many clients: on an event loop, or threads where files want them."""
        run_calls(
            self._timed(until), admission=Admission(width, adaptive=False), on_done=self._done, cancel=self._cancel,
            executor=self._session.executor,
        )  # fmt: skip

    def _one_by_one(self, until: int | None) -> None:
        """One client: on this thread, as a single call is."""
        cancel, done = self._cancel, self._done
        for number, call in enumerate(self._timed(until)):
            if cancel.cancelled:
                return
            try:
                answer = call.store.execute(call)  # type: ignore[attr-defined]
            except S3dlioError as error:
                done(number, None, error)
            else:
                done(number, answer, None)
                del answer
            del call

    def _done(self, number: int, answer: Any, error: BaseException | None) -> None:
        end = _clock()
        start, call = self._in_flight.pop(number)
        refused = self._workload.done(call, answer, error) if self._listens else None
        if error is not None:
            if not (self._cancel.cancelled and isinstance(error, TransferCancelledError)):
                self._fail(call.operation, start, error)
            return
        if refused:
            for _, refusal in refused:
                call.objects -= 1
                self._fail(call.operation, start, refusal)
        first = 0 if call.sink is None else call.sink.first_byte_ns
        self._recorder.add(pack(start, end - start, first, call.moved, call.objects, CODES[call.operation]))

    def _fail(self, operation: str, start: int, error: BaseException) -> None:
        if start >= self._begin:
            self._result.fail(operation, type(error).__name__, str(error))


class Task(NamedTuple):
    """One run, as all of its shares are told of it.

    Args:
        plan: of the benchmark, with a seed.
        base: what all keys begin with, in the container of ``plan.uri``.
        found: keys and sizes of objects that were there before; None: those that were prepared.
        run: the number of the run, from 0.
        concurrent: operations in flight of all shares.
    """

    plan: Plan
    base: str
    found: Sequence[Entry] | None
    run: int
    concurrent: int

    def entries(self, share: Share) -> Sequence[Entry]:
        """The objects for a share: all of them, but where objects are deleted: then each run and share has its own."""
        entries = prepared(self.plan, self.base) if self.found is None else self.found
        if self.plan.operation not in ("delete", "mixed"):
            return entries
        return entries[self.run * share.of + share.number :: len(self.plan.concurrent) * share.of]


def prepared(plan: Plan, base: str) -> list[Entry]:
    """Keys and sizes of the objects that are written before: the same wherever they are worked out."""
    import numpy as np

    if plan.operation == "put":
        return []
    sizes = plan.sizes.draw(np.random.default_rng([plan.seed or 0, 0]), plan.objects).tolist()
    return [(prepared_key(base, number), size) for number, size in enumerate(sizes)]


def run_task(session: Session, task: Task, share: Share, cancel: CancelToken, start: int) -> Result:
    """Run one share.

    Args:
        session: whose stores and threads are used.
        task: what is done.
        share: which part of it.
        cancel: ends it early.
        start: when to begin, by ``time.perf_counter_ns``; what takes time is made before.
    """
    plan, concurrent = task.plan, share.part(task.concurrent)
    store, _ = session.store_for(plan.uri)
    place = Place(plan, store, task.base, task.run, share, concurrent)
    entries = task.entries(share)
    touch(plan, entries, concurrent)
    workload = WORKLOADS[plan.operation](place, entries)
    count = None if plan.count is None else share.part(plan.count)
    return Measurement(session, workload, count, cancel).run(start)
