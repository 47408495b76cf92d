"""A whole benchmark: prepare, warm up and measure, for one number of operations in flight after the other, clean up."""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import secrets
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from s3dlio.bench.measure import LEAD_NS, Task, prepared, run_task
from s3dlio.bench.payloads import Payloads
from s3dlio.bench.plan import Plan, Share
from s3dlio.bench.processes import run_on_processes
from s3dlio.bench.result import Result
from s3dlio.bench.workload import Entry, written_key
from s3dlio.engine.admission import Admission
from s3dlio.engine.batch import run_calls
from s3dlio.engine.cancel import CancelToken
from s3dlio.engine.group import ALONE, Group
from s3dlio.engine.session import Session
from s3dlio.errors import ConfigError, ObjectNotFoundError, S3dlioError
from s3dlio.oplog.identity import get_client_id, set_client_id
from s3dlio.records import replace
from s3dlio.stores.call import Call
from s3dlio.transfer.delete import delete_keys
from s3dlio.uri import LOCAL_SCHEMES

log = logging.getLogger("s3dlio.bench")

#: Operations in flight while objects are prepared, at least, and batches while they are deleted.
_PREPARING, _CLEANING = 32, 8


class Phase:
    """What was prepared, or cleaned up."""

    def __init__(self) -> None:
        self.objects = self.bytes = 0
        self.seconds = 0.0

    def as_dict(self) -> dict[str, Any]:
        return {"objects": self.objects, "bytes": self.bytes, "seconds": round(self.seconds, 6)}


class Bench:
    """One benchmark. After an interrupt, too, what it wrote is deleted, and what was measured is there.

    Args:
        session: whose stores, settings and threads are used.
        plan: what is done.
        group: the processes that do it together; None: this one alone.
        cancel: ends what is measured early; what was written is deleted all the same.
        note: is told what is done now.

    Attributes:
        results: of the runs that are over, at rank 0.
        prepared, cleaned: what those phases did here.
        directory: the URI below which all objects are.
    """

    def __init__(
        self, session: Session, plan: Plan, *, group: Group | None = None, cancel: CancelToken | None = None,
        note: Callable[[str], None] = log.info,
    ) -> None:  # fmt: skip
        self._session = session
        self._group = group or ALONE
        self._cancel = cancel or CancelToken()
        self._note = note
        self._store, key = session.store_for(plan.uri)
        made = f"s3dlio-bench-{secrets.token_hex(4)}", secrets.randbits(63)
        name, seed = self._group.share(made)
        self.plan: Plan = replace(plan, seed=seed if plan.seed is None else plan.seed)
        top = key if not key or key.endswith("/") else f"{key}/"
        self._base = f"{top}{plan.prefix or name}/"
        self.directory = self._store.uri(self._base)
        self.results: list[Result] = []
        self.prepared, self.cleaned = Phase(), Phase()
        self._is_begun = False
        self._written: dict[tuple[int, int], int] = {}

    def run(self) -> list[Result]:
        """Do all of it; the results, at rank 0.

        Raises:
            ConfigError: the directory has objects of somebody else.
            S3dlioError: objects could not be written or deleted.
        """
        with self._group.stoppable(self._cancel.cancel):
            return self._run()

    def _run(self) -> list[Result]:
        found = self._group.first(self._find)
        is_done = False
        try:
            with self._group.telling_errors():
                self._prepare_and_measure(found)
            is_done = True
        finally:
            if self.plan.clean:
                # Its error would take the place of the one that ended the run, and often follows from that.
                with _named("clean-up"), contextlib.suppress(*(() if is_done else (S3dlioError,))):
                    self._clean()
                    self._remove_directory()
            elif self._is_begun or self._written:
                self._note(f"what was written stays: {self.directory}")
        return self.results

    def _prepare_and_measure(self, found: list[Entry] | None) -> None:
        if self.plan.prepare:
            self._is_begun = True
            with _named("prepare"):
                self._prepare()
        for number, concurrent in enumerate(self.plan.concurrent):
            self._group.barrier()
            if self._group.share(self._cancel.cancelled):
                break
            self._measure(Task(self.plan, self._base, found, number, concurrent))

    # -- prepare

    def _find(self) -> list[Entry] | None:
        """The objects that are there already, at rank 0.

        Raises:
            ConfigError: there are some, and they are not wanted; or the other way round.
        """
        if self.plan.prefix is None:
            return None
        pages = self._pages(self._base)
        if self.plan.prepare or self.plan.operation == "put":
            if any(page.keys for page in itertools.islice(pages, 1)):
                raise ConfigError(
                    f"there are objects below {self.directory} already", uri=self.directory,
                    hint="--no-prepare reads them; to write others give another --prefix, or none",
                )  # fmt: skip
            return None
        found = [(entry.key, entry.size) for page in pages for entry in page.entries if entry.size >= 0]
        if not found:
            raise ObjectNotFoundError("no objects are there", uri=self.directory, hint="leave --no-prepare out")
        return found

    def _pages(self, prefix: str) -> Iterator[Any]:
        with contextlib.suppress(ObjectNotFoundError):  # a local directory
            yield from self._store.list(prefix)

    def _prepare(self) -> None:
        plan, rank, size = self.plan, self._group.rank, self._group.size
        entries = prepared(plan, self._base)[rank::size]
        if not entries:
            return
        self._note(f"preparing {len(entries)} objects of {plan.sizes} below {self.directory}")
        payloads = Payloads(plan.sizes.largest, plan.dedup, plan.compress, plan.seed, fresh=plan.fresh)

        def calls() -> Iterator[Call[Any]]:
            for number, (key, length) in enumerate(entries):
                yield self._store.write_call(key, payloads.source(length, number * size + rank))

        began = time.monotonic()
        failures: list[BaseException] = []

        def done(index: int, result: Any, error: BaseException | None) -> None:
            if error is None:
                self.prepared.objects += 1
                self.prepared.bytes += entries[index][1]
            elif not self._cancel.cancelled:
                failures.append(error)
                self._cancel.cancel("an object could not be written")

        width = max(_PREPARING, *plan.concurrent)
        admission = Admission.of(self._session.settings.transfer, width, bounded=True)
        run_calls(
            calls(), admission=admission, on_done=done, cancel=self._cancel, executor=self._session.executor
        )
        self.prepared.seconds = time.monotonic() - began
        if failures:
            raise failures[0]

    # -- measure

    def _measure(self, task: Task) -> None:
        plan, group = self.plan, self._group
        of = min(group.size * plan.procs, task.concurrent)  # others have nothing to do
        first = group.rank * plan.procs
        shares = [Share(number, of) for number in range(first, min(of, first + plan.procs))]
        self._note(_announcement(plan, task.concurrent))
        self._written |= {(task.run, share.number): -1 for share in shares}
        with _named(None):
            if plan.procs > 1:
                self._group.barrier()
                found = run_on_processes(self._session, task, shares, self._cancel)
            else:
                start = self._group.moment(LEAD_NS)
                found = [run_task(self._session, task, share, self._cancel, start) for share in shares]
        self._written |= {(task.run, share): count for one in found for share, count in one.written.items()}
        gathered = [_merged(each) for each in group.gather(found)]
        if not group.rank:
            self.results.append(_merged(gathered))
            if group.size > 1:
                self.results[-1].ranks = group.describe([each.brief() for each in gathered])

    # -- clean up

    def _clean(self) -> None:
        """Delete what this benchmark has written: keys that it knows, not what a listing shows.

        Raises:
            BatchError: some could not be deleted.
        """
        if not (self._is_begun or self._written):
            return
        began = time.monotonic()
        self._note(f"deleting what was written below {self.directory}")
        try:
            tally = delete_keys(self._session, self._store, self._own_keys(), max_in_flight=_CLEANING)
            summary = tally.summary()
            self.cleaned.objects, self.cleaned.seconds = summary.succeeded, time.monotonic() - began
            summary.raise_for_failures("DELETE", hint=f"what is left is below {self.directory}")
        except BaseException:
            self._note(f"not all that was written is deleted: {self.directory}")
            raise

    def _remove_directory(self) -> None:
        """Once all have deleted what they have written: a local directory goes with it."""
        with contextlib.suppress(S3dlioError):  # another process has failed, and told that
            self._group.barrier()
        if self._store.scheme in LOCAL_SCHEMES and not self._group.rank:
            with contextlib.suppress(S3dlioError):  # somebody else put something there, or nothing was written
                self._store.rmdir(self._base)

    def _own_keys(self) -> Iterable[str]:
        if self._is_begun:
            rank, size = self._group.rank, self._group.size
            yield from (key for key, _ in prepared(self.plan, self._base)[rank::size])
        for (run, share), count in self._written.items():
            if count >= 0:
                yield from (written_key(self._base, run, share, number) for number in range(count))
            elif self.plan.operation in ("put", "mixed"):  # its process died, or was interrupted: nobody counted
                first = written_key(self._base, run, share, 0).removesuffix(f"{0:08}")
                yield from self._left_behind(first)

    def _left_behind(self, prefix: str) -> Iterator[str]:
        if self._store.scheme in LOCAL_SCHEMES:
            directory, name = os.path.split(prefix)
            for page in self._pages(f"{directory}/"):
                yield from (key for key in page.keys if os.path.basename(key).startswith(name))
            return
        for page in self._pages(prefix):
            yield from page.keys


def _merged(results: Iterable[Result]) -> Result:
    merged = Result()
    for one in results:
        merged.merge(one)
    return merged


def _announcement(plan: Plan, concurrent: int) -> str:
    length = f"{plan.count} operations" if plan.seconds is None else f"{plan.seconds:g} s"
    before = f" after {plan.lead_in:g} s of warm-up" if plan.lead_in else ""
    where = f" on {plan.procs} processes" if plan.procs > 1 else ""
    return f"{plan.operation}: {concurrent} in flight{where}, {length}{before}"


@contextlib.contextmanager
def _named(phase: str | None) -> Iterator[None]:
    """While a phase runs that is not measured, the rows of an op-log have its name behind that of the client."""
    before = get_client_id()
    if phase is not None:
        set_client_id(f"{before}/{phase}" if before else phase)
    try:
        yield
    finally:
        set_client_id(before)

