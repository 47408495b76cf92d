"""Runs a plan over a route: items become tasks in flight, outcomes become counts, failures, journal lines, progress."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from s3dlio.engine.admission import ByteBudget
from s3dlio.engine.batch import run_calls
from s3dlio.engine.cancel import CancelToken
from s3dlio.engine.prefetch import Prefetcher
from s3dlio.errors import (
    AlreadyExistsError,
    IsDirectoryError,
    ObjectChangedError,
    ObjectNotFoundError,
    S3dlioError,
    TransferCancelledError,
    UnsafeKeyError,
    of_caller,
    redact,
)
from s3dlio.stores.base import Call
from s3dlio.transfer.failure_scope import DOUBTS, Scope, scope_of
from s3dlio.transfer.file_routes import Care, Moved, Route
from s3dlio.transfer.journal import Journal
from s3dlio.transfer.options import TransferOptions
from s3dlio.transfer.plan import Entry, Item, Passed, Plan, Refused
from s3dlio.transfer.progress import NoProgress, OneAtATime, Progress
from s3dlio.transfer.summary import Tally, TransferSummary
from s3dlio.transfer.task import RefusedItemError

if TYPE_CHECKING:
    from s3dlio.engine.session import Session

#: Failures that lie in one item's name or place: they say nothing about the others, which go on.
_OF_ONE_ITEM = (RefusedItemError, UnsafeKeyError, AlreadyExistsError, IsDirectoryError, ObjectChangedError)


class LinkedToken(CancelToken):
    """A token of one transfer: cancelled by its own failure, or when the caller's token is."""

    __slots__ = ("_outer", "_own")

    def __init__(self, outer: CancelToken | None) -> None:
        self._outer = outer
        super().__init__()

    @property
    def cancelled(self) -> bool:
        return self._own or (self._outer is not None and self._outer.cancelled)

    @cancelled.setter
    def cancelled(self, value: bool) -> None:
        self._own = value

    @property
    def by_caller(self) -> bool:
        """The caller's token was cancelled, not this one."""
        return self._outer is not None and self._outer.cancelled


@dataclass(frozen=True, slots=True)
class Running:
    """How a transfer is run.

    Args:
        operation: the verb, for messages.
        width: how many objects are in flight at most.
        continue_on_error: go on after every failure; otherwise nothing more is started after one that would meet all
            objects (:mod:`s3dlio.transfer.failure_scope`).
        journal: skips what it has, and is told what is done.
        progress: is told what moves.
        cancel: stops the transfer from outside.
    """

    operation: str
    width: int
    continue_on_error: bool = False
    journal: Journal | None = None
    progress: Progress = field(default_factory=NoProgress)
    cancel: CancelToken | None = None


def running(how: TransferOptions, operation: str, watcher: Progress, journal: Journal | None = None) -> Running:
    """How a transfer with these options is run, while ``watcher`` is told of it."""
    return Running(operation, how.max_in_flight, how.continue_on_error, journal, watcher, how.cancel)


def care_of(how: TransferOptions, watcher: Progress, journal: Journal | None = None) -> Care:
    """What a transfer with these options takes care of."""
    return Care(how.verify, how.preserve_mtime, how.options, meter_of(watcher), journal=journal)


def run_plan(session: Session, plan: Plan, route: Route, how: Running) -> Tally:
    """Transfer every item of ``plan``; the outcome is in the tally. Nothing but a broken plan is raised.

    Raises:
        TransferCancelledError: the caller's token was cancelled.
        S3dlioError: the listing failed.
    """
    transfer = _Transfer(route, how)

    def seen(entry: Entry) -> None:
        if isinstance(entry, Item):
            how.progress.add(1, entry.size)

    with contextlib.closing(Prefetcher(plan, seen=seen, stopped=lambda: transfer.token.cancelled)) as entries:
        run_calls(
            transfer.calls(entries),
            ahead=entries,
            width=how.width,
            on_done=transfer.on_done,
            cancel=transfer.token,
            executor=session.executor,
            budget=ByteBudget(session.settings.transfer.max_in_flight_bytes),
        )
    if transfer.token.by_caller:
        done = transfer.tally
        raise TransferCancelledError(
            f"cancelled with {done.succeeded} objects done, {done.cancelled} given up, {len(done.failures)} failed",
            operation=how.operation,
        )
    return transfer.tally


class _Transfer:
    """One running plan."""

    def __init__(self, route: Route, how: Running) -> None:
        self._route = route
        self._how = how
        self.tally = Tally(how.progress)
        self.token = LinkedToken(how.cancel)
        self._in_flight: dict[int, tuple[int, Item]] = {}  # position among the calls -> position in the plan, item
        self._doubts = 0  # failures that may lie in the objects, or not

    def calls(self, entries: Iterable[Entry | None]) -> Iterator[Call[Moved] | None]:
        """The plan as calls; what is not transferred is counted on the way. None where the plan gives none yet."""
        tally, journal = self.tally, self._how.journal
        position = 0
        for entry in entries:
            if entry is None:
                yield None
            elif isinstance(entry, Passed):
                tally.skip(entry.uri, entry.reason, expected=entry.expected)
            elif isinstance(entry, Refused):
                tally.fail(tally.start(), entry.uri, entry.error)
            elif journal is not None and journal.has(entry) and self._route.holds(entry):
                tally.skip(self._route.source_uri(entry), "it is done, as the journal says", expected=True)
                self._how.progress.advance(1, entry.size)
            else:
                index = tally.start()
                try:
                    call = self._route.task(entry)
                except S3dlioError as error:
                    tally.fail(index, self._route.source_uri(entry), error)
                    continue
                self._in_flight[position] = (index, entry)
                position += 1
                yield call

    def on_done(self, position: int, moved: Moved | None, error: BaseException | None) -> None:
        index, item = self._in_flight.pop(position)
        if moved is not None and error is None:
            if moved.same:
                self.tally.unchanged(self._route.source_uri(item), item.size)
            else:
                self.tally.succeed(moved.bytes, moved.metered)
            if self._how.journal is not None:
                self._how.journal.add(item)
        elif isinstance(error, TransferCancelledError) and self.token.cancelled:
            self.tally.give_up()
        elif error is not None:
            reason = error.error if isinstance(error, RefusedItemError) else error
            self.tally.fail(index, self._route.source_uri(item), reason)
            if not self._how.continue_on_error and self._reaches_all(error):
                self.tally.stopped_at = self.tally.stopped_at or redact(self._route.source_uri(item))
                self.token.cancel("another object failed")

    def _reaches_all(self, error: BaseException) -> bool:
        """Whether the other objects would fail as this one did."""
        scope = scope_of(error)
        self._doubts += scope is Scope.UNSURE
        return scope is Scope.ALL or (self._doubts >= DOUBTS and not self.tally.succeeded)


def conclude(tally: Tally, operation: str, nothing: str, source: str, deleted: int = 0) -> TransferSummary:
    """The summary of a transfer, or the error that it ended with.

    Args:
        tally: as of :func:`run_plan`.
        operation: the verb.
        nothing: the message where nothing at all was selected.
        source: what was to be transferred.
        deleted: as in :class:`TransferSummary`.

    Raises:
        BatchError: objects failed; every one is in it.
        ObjectNotFoundError: nothing was selected.
    """
    summary = tally.summary(deleted)
    hint = None
    if tally.stopped_at:
        hint = (
            f"stopped after the failure of {tally.stopped_at}: {tally.cancelled} in flight were given up and no more "
            "were started; to go on past failures use continue_on_error=True (--continue-on-error)"
        )
    summary.raise_for_failures(operation, cancelled=tally.cancelled, hint=hint)
    if not summary.attempted and not summary.skipped:
        raise ObjectNotFoundError(nothing, uri=source, operation=operation)
    return summary


@contextlib.contextmanager
def journal_at(
    path: str | None, operation: str, source: str, destination: str, directory: str | None = None
) -> Iterator[Journal | None]:
    """The journal at ``path`` for the time of a transfer; None without a path. Gone when the block ends well.
    ``directory`` as of :class:`Journal`."""
    if path is None:
        yield None
        return
    journal = Journal(path, operation, source, destination, directory)
    finished = False
    try:
        yield journal
        finished = True
    finally:
        journal.close(finished=finished)


@contextlib.contextmanager
def watched(progress: Progress | None) -> Iterator[Progress]:
    """Whoever watches a transfer, for its time."""
    watcher: Progress = NoProgress() if progress is None else progress
    if not isinstance(watcher, NoProgress):  # who counts objects only is told by the tally, one at a time
        watcher = OneAtATime(watcher)
    try:
        yield watcher
    finally:
        watcher.close()


def meter_of(progress: Progress) -> Callable[[int], None] | None:
    """Tells ``progress`` of bytes while they pass; None where nobody watches."""
    if isinstance(progress, NoProgress):
        return None

    def tell(count: int) -> None:
        try:
            progress.advance(0, count)
        except Exception as error:
            raise of_caller(error)  # noqa: B904 - it is the same

    return tell
