"""Runs a plan over a route: items become tasks in flight, outcomes become counts, failures, journal lines, progress."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, TypeVar

from s3dlio.config.endpoints import name_of
from s3dlio.engine.admission import Admission, several
from s3dlio.engine.batch import run_calls
from s3dlio.engine.cancel import CancelToken
from s3dlio.engine.group import Group
from s3dlio.engine.prefetch import Prefetcher
from s3dlio.errors import ObjectNotFoundError, S3dlioError, TransferCancelledError, UnsupportedOperationError
from s3dlio.foreign_errors import of_caller
from s3dlio.masking import redact
from s3dlio.net import system
from s3dlio.records import Record, field
from s3dlio.stores.base import ObjectStore
from s3dlio.transfer.actions import Act, Action, DryRun, Verb, nothing
from s3dlio.transfer.apart import apart
from s3dlio.transfer.content_types import TypedOptions
from s3dlio.transfer.destination import Destination, open_destination
from s3dlio.transfer.divided import DoneItem, dealt, merged
from s3dlio.transfer.failure_scope import MAX_UNSURE, Scope, scope_of
from s3dlio.transfer.ledger import ledger
from s3dlio.transfer.limits import bounded
from s3dlio.transfer.options import TransferOptions
from s3dlio.transfer.places import any_uri, as_directory
from s3dlio.transfer.plan import Item, Plan, Refused, Skipped
from s3dlio.transfer.progress import NoProgress, Progress, Watcher, byte_meter, reporting
from s3dlio.transfer.route import Route, RouteOptions, Transferred
from s3dlio.transfer.stream_entry import Entry
from s3dlio.transfer.summary import Tally, TransferSummary
from s3dlio.transfer.task import RefusedItemError
from s3dlio.transfer.transfer_token import LinkedToken
from s3dlio.uri import LOCAL_SCHEMES
from s3dlio.wording import either, option

if TYPE_CHECKING:
    from s3dlio.engine.process_job import Work
    from s3dlio.engine.session import Session
    from s3dlio.transfer.journal import Journal

T = TypeVar("T")

#: What worker processes can do, too.
_ON_PROCESSES = frozenset({"UPLOAD", "DOWNLOAD"})


class RunOptions(Record):
    """How a transfer is run.

    Args:
        operation: the verb, for messages.
        width: how many objects are in flight at most.
        continue_on_error: go on after every failure; otherwise nothing more is started after one that would meet all
            objects (:mod:`s3dlio.transfer.failure_scope`).
        journal: what it has is skipped; it records what is done.
        progress: an observer of the counts of objects and bytes (``transfer.progress.Progress``).
        cancel: stops the transfer from outside.
        on_done: is called with every object that is at its destination.
        verb: what is done to it.
        work: of worker processes, which transfer the items; None: this one does.
        procs: how many of these.
    """

    operation: str
    width: int
    continue_on_error: bool = False
    journal: Journal | None = None
    progress: Watcher = field(default_factory=NoProgress)
    cancel: CancelToken | None = None
    work: Work | None = None
    procs: int = 0
    on_done: Act | None = None
    verb: Verb = "copy"


def run_options(
    how: TransferOptions, operation: str, progress: Watcher, journal: Journal | None = None, work: Work | None = None
) -> RunOptions:
    """How a transfer with these options is run, observed by ``progress``."""
    return RunOptions(
        operation, how.max_in_flight, how.continue_on_error, journal, progress, how.cancel, work, several(how.procs),
        None if how.dry_run else how.on_done, "move" if operation == "MOVE" else "copy",
    )  # fmt: skip


def route_options(
    session: Session, how: TransferOptions, progress: Progress, journal: Journal | None = None
) -> RouteOptions:
    """What the routes of a transfer with these options do besides moving the bytes."""
    return RouteOptions(
        how.verify, how.preserve_mtime, how.options, byte_meter(progress), journal=journal, executor=session.executor,
        no_clobber=how.no_clobber, typed=typed_options(session, how),
    )  # fmt: skip


def typed_options(session: Session, how: TransferOptions) -> TypedOptions | None:
    """What guesses content types, where that is wanted."""
    guess = how.guess_content_type
    wanted = session.settings.transfer.guess_content_type if guess is None else guess
    return TypedOptions(how.options) if wanted and how.options.content_type is None else None


class Transfer(Record):
    """One transfer: what of which store goes into which directory of another.

    Args:
        operation: the verb, for messages and the journal.
        plan: what is transferred.
        source: the store it comes from.
        source_name: what the user named, for messages and the journal.
        target: the store it goes to.
        prefix: the directory there.
        target_name: what the user named, for the journal.
        nothing: the message where nothing was selected.
        moves: each source is deleted when it is at its destination.
    """

    operation: str
    plan: Plan
    source: ObjectStore
    source_name: str
    target: ObjectStore
    prefix: str
    target_name: str
    nothing: str
    moves: bool = False

    @classmethod
    def shared(cls, session: Session, make: Callable[[], Transfer]) -> Transfer:
        """The same transfer at every rank of the session's group; rank 0 makes it, which looks at what is there, and
        its plan counts.

        Raises:
            S3dlioError: what ``make`` raised at rank 0.
        """
        made: list[Transfer] = []

        def recipe() -> tuple[str, ...]:
            made.append(make())
            return made[0]._recipe() if session.group.size > 1 else ()

        operation, source, source_name, target, prefix, target_name, nothing = session.group.first(recipe) or [""] * 7
        return made[0] if made else cls(
            operation, iter(()), session.store_for(source)[0], source_name, session.store_for(target)[0], prefix,
            target_name, nothing, operation == "MOVE",
        )  # fmt: skip

    def _recipe(self) -> tuple[str, ...]:
        source, target = any_uri(self.source), any_uri(self.target)
        return self.operation, source, self.source_name, target, self.prefix, self.target_name, self.nothing

    def run(self, session: Session, how: TransferOptions) -> TransferSummary:
        """Transfer it; with a journal, what that has is left out.

        Raises:
            ObjectNotFoundError: nothing was selected.
            BatchError: objects failed; it has every one of them.
            UnsupportedOperationError: worker processes are wanted, and cannot do it; or the destination cannot keep
                what the options say.
        """
        operation = self.operation
        self.target.check_options(how.options)
        group = session.group
        if how.dry_run:
            return group.first(lambda: self._look(session, how))
        if several(how.procs) and self.operation not in _ON_PROCESSES:
            raise UnsupportedOperationError(
                "it runs on one process", uri=self.source_name, operation=operation, hint=f"leave {option('procs')} out"
            )
        directory = self.prefix or "." if self.target.scheme in LOCAL_SCHEMES else None
        with (
            ledger(
                group, how.journal, operation.lower(), self.source_name, self.target_name, directory,
                [service_name(self.source), service_name(self.target)],
            ) as journal,
            reporting(how.progress) as progress,
            destination_of(group, self.target, self.prefix, create=how.create_bucket) as destination,
        ):
            options = route_options(session, how, progress, journal)
            route = destination.route_from(self.source, options)
            if self.moves:
                from s3dlio.transfer.moving import moving

                route = moving(route, self.source, self.target, self.prefix, how, options)
            route = apart(route, self.source, self.target, self.prefix, moves=self.moves)
            work = self._work(destination, route, options) if several(how.procs) else None
            plan = dealt(group, self._bounded(how), journal)
            self.source.prepare()  # before the clock of the first object starts
            self.target.prepare()
            tally = run_plan(session, plan, route, run_options(how, operation, progress, journal, work))
            return conclude(merged(group, tally), operation, self.nothing, self.source_name)

    def _bounded(self, how: TransferOptions) -> Plan:
        return bounded(self.plan, how.limits, self.source.uri) if how.limits else self.plan

    def _look(self, session: Session, how: TransferOptions) -> TransferSummary:
        """The summary of a dry run: ``attempted`` are the objects that would be transferred."""
        route = DryRun(
            self.source, self.target, as_directory(self.prefix), how.on_action or nothing,
            "move" if self.operation == "MOVE" else "copy", no_clobber=how.no_clobber,
        )  # fmt: skip
        with reporting(how.progress) as progress:
            tally = run_plan(session, self._bounded(how), route, run_options(how, self.operation, progress))
        tally.cancelled, tally.succeeded = tally.succeeded, 0  # none of it was done
        return conclude(tally, self.operation, self.nothing, self.source_name)

    def _work(self, destination: Destination, route: Route, options: RouteOptions) -> Work:
        from s3dlio.transfer.process_transfer import TransferWork  # most programs need one process

        return TransferWork(self.operation, self.source, destination, route, options)


@contextlib.contextmanager
def destination_of(group: Group, store: ObjectStore, prefix: str, *, create: bool) -> Iterator[Destination]:
    """:func:`open_destination` for all ranks of a group, of which one makes the bucket."""
    if create and group.size > 1 and store.scheme not in LOCAL_SCHEMES:
        group.first(store.create_container)
        create = False
    with open_destination(store, prefix, create=create) as destination:
        yield destination


def service_name(store: ObjectStore) -> str:
    """The service that a store is in, as host and port; empty for local stores, and for AWS, which may send us to a
    host of another region, but where no two buckets have one name."""
    name = "" if store.endpoint is None else name_of(store.endpoint)
    return "" if name.partition(":")[0].endswith((".amazonaws.com", ".amazonaws.com.cn")) else name


def run_plan(session: Session, plan: Plan, route: Route, how: RunOptions) -> Tally:
    """Transfer every item of ``plan``; the outcome is in the tally. Nothing but a broken plan is raised.

    Raises:
        TransferCancelledError: the caller's token was cancelled.
        S3dlioError: the listing failed.
    """
    transfer = _RunningPlan(route, how)

    def seen(entry: Entry) -> None:
        how.progress.look(1)
        if isinstance(entry, Item):
            how.progress.add(1, entry.size)

    with (
        session.group.stoppable(transfer.token.cancel) as stop_others,
        transfer.tally.running(session.stores),
        contextlib.closing(Prefetcher(plan, seen=seen, stopped=lambda: transfer.token.cancelled)) as entries,
    ):
        if how.work is not None:
            from s3dlio.engine.process_batch import run_processes

            run_processes(
                session, how.work, transfer.started(entries, route.admit), procs=how.procs, width=how.width,
                on_done=transfer.on_done, cancel=transfer.token, ahead=entries,
            )  # fmt: skip
        else:
            run_calls(
                transfer.started(entries, route.task),
                ahead=entries,
                admission=Admission.of(session.settings.transfer, min(how.width, _most_items()), bounded=True),
                on_done=transfer.on_done,
                cancel=transfer.token,
                executor=session.executor,
            )
        if transfer.tally.stopped_at:
            stop_others(f"{transfer.tally.stopped_at} failed")
    if transfer.token.by_caller:
        done = transfer.tally
        raise TransferCancelledError(
            f"cancelled with {done.succeeded} objects done, {done.cancelled} given up, {len(done.failures)} failed",
            operation=how.operation,
        )
    return transfer.tally


def _most_items() -> int:
    """How many items may be in flight: each has a connection, a file and the directory of that open; a part of all
    descriptors is left."""
    return max(1, (system.descriptors() * 7 // 8 - 16) // 3)


class _RunningPlan:
    """One running plan."""

    def __init__(self, route: Route, how: RunOptions) -> None:
        self._route = route
        self._how = how
        self.tally = Tally(how.progress)
        self.token = LinkedToken(how.cancel)
        self._in_flight: dict[int, tuple[int, Item]] = {}  # position among the calls -> position in the plan, item
        self._doubts = 0  # failures that may lie in the objects, or not

    def started(self, entries: Iterable[Entry | None], start: Callable[[Item], T]) -> Iterator[T | None]:
        """What ``start`` makes of every item of the plan; what is not transferred is counted on the way. None where the
        plan gives none yet."""
        tally, journal = self.tally, self._how.journal
        position = 0
        for entry in entries:
            if entry is None:
                yield None
            elif isinstance(entry, Skipped):
                tally.skip(entry.uri, entry.reason, expected=entry.expected)
            elif isinstance(entry, Refused):
                tally.fail(tally.start(), entry.uri, entry.error)
            elif journal is not None and self._was_done(entry, journal) and self._route.holds(entry):
                tally.skip(self._route.source_uri(entry), "the journal has it as done", expected=True)
                self._how.progress.advance(1, entry.size)
            else:
                index = tally.start()
                try:
                    started = start(entry)
                except S3dlioError as error:
                    tally.fail(index, self._route.source_uri(entry), error)
                    continue
                self._in_flight[position] = (index, entry)
                position += 1
                yield started

    def _was_done(self, item: Item, journal: Journal) -> bool:
        return isinstance(item, DoneItem) or journal.has(item)

    def on_done(self, position: int, moved: Transferred | None, error: BaseException | None) -> None:
        index, item = self._in_flight.pop(position)
        if moved is not None and error is None:
            if moved.same:
                self.tally.unchanged(self._route.source_uri(item), item.size)
            else:
                self.tally.succeed(moved.bytes, moved.metered)
                if self._how.on_done is not None:
                    self._tell(self._how.on_done, item, moved)
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

    def _tell(self, on_done: Act, item: Item, moved: Transferred) -> None:
        route, verb = self._route, self._how.verb
        try:
            on_done(Action(verb, route.source_uri(item), route.target_uri(item), moved.bytes))
        except Exception as error:
            raise of_caller(error)  # noqa: B904 - it is the same

    def _reaches_all(self, error: BaseException) -> bool:
        """Whether the other objects would fail as this one did."""
        scope = scope_of(error)
        self._doubts += scope is Scope.UNSURE
        return scope is Scope.ALL or (self._doubts >= MAX_UNSURE and not self.tally.succeeded)


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
            "were started; to go on past failures use "
            f"{either('continue_on_error=True', '--continue-on-error')}"
        )
    summary.raise_for_failures(operation, hint=hint)
    if not summary.attempted and not summary.skipped:
        raise ObjectNotFoundError(nothing, uri=source, operation=operation)
    return summary
