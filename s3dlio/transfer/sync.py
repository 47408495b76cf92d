"""Make one directory like another: transfer what is missing or differs, and delete what is too much if asked.

Both sides are listed in the order of their names and merged, so memory does not grow with the number of objects.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from s3dlio.engine.executor import BaseExecutor
from s3dlio.engine.group import ALONE, Group
from s3dlio.records import replace
from s3dlio.transfer.actions import Act, DryRun, nothing
from s3dlio.transfer.actions import Action as Action
from s3dlio.transfer.compare import By, IfDifferent, by_checksum, by_kept_time, by_metadata
from s3dlio.transfer.delete import delete_keys
from s3dlio.transfer.divided import merged, weight
from s3dlio.transfer.limits import Limits
from s3dlio.transfer.merging import Directory, merge
from s3dlio.transfer.options import DEFAULTS, TransferOptions
from s3dlio.transfer.overlap import check_apart
from s3dlio.transfer.places import destination_uri, place_uri
from s3dlio.transfer.plan import Item, Plan, Refused, Skipped
from s3dlio.transfer.progress import reporting
from s3dlio.transfer.route import Route
from s3dlio.transfer.runner import conclude, destination_of, route_options, run_options, run_plan
from s3dlio.transfer.summary import Tally, TransferSummary
from s3dlio.uri import LOCAL_SCHEMES

if TYPE_CHECKING:
    from s3dlio.engine.session import Session


_NOTHING = "there is nothing in the source; nothing was deleted"


def sync(
    session: Session,
    src: str | os.PathLike[str],
    dst: str | os.PathLike[str],
    how: TransferOptions = DEFAULTS,
    *,
    delete: bool = False,
    by: By = By.TIME,
) -> TransferSummary:
    """Make the directory ``dst`` like the directory ``src``, on any two schemes.

    An object is transferred if it is missing, has another size, or is older than the source (in whole seconds, since
    services keep no more), unless what is known of both says that they are the same: the time kept with
    ``preserve_mtime``, or the checksum that a service keeps. ``by`` tells another way to
    compare: the CRC32C of both, as the services tell it or by reading; the exact time; or only the size. Files get the
    time of their source. A sync that was interrupted resumes when it is run again.

    Args:
        session: whose stores and threads are used.
        src: a directory: a URI or local path; a ``/`` is added if it ends in none.
        dst: likewise.
        how: see :class:`TransferOptions`; names that are not wanted are left alone on both sides. A sync is recursive,
            and needs no journal.
        delete: when everything is transferred, delete what is in ``dst`` and not in ``src``. Nothing is deleted after a
            failure, nor where the source has something that could not be read. After a dry run,
            ``attempted`` of the summary says how many objects would be transferred, ``bytes`` how large they are,
            ``deleted`` how many would go.
        by: what objects of one size are compared by.

    Raises:
        ObjectNotFoundError: there is nothing in the source; nothing was deleted.
        InvalidURIError: one directory is inside the other.
        UnsupportedOperationError: the destination cannot keep what the options say.
        BatchError: objects failed; it has every one of them.
    """
    keep = how.filter(with_pattern=True)
    here, there = Directory.at(session, place_uri(src), keep), Directory.at(session, destination_uri(dst), keep)
    check_apart(here.store, here.key, there.store, there.key)
    check_apart(there.store, there.key, here.store, here.key)
    here.check_exists()
    there.store.check_options(how.options)
    differences = _Differences(here, there, session.executor, how, by)
    act = how.on_action or nothing
    if how.dry_run:
        return session.group.first(lambda: _look(session, differences, how, delete, act))
    return _carry_out(session, differences, how, delete, act)


def _carry_out(
    session: Session, differences: _Differences, how: TransferOptions, delete: bool, act: Act
) -> TransferSummary:
    """Transfer what differs, then delete what is too much."""
    here, there, group = differences.here, differences.there, session.group
    with (
        reporting(how.progress) as progress,
        destination_of(group, there.store, there.key, create=how.create_bucket) as destination,
    ):
        options = replace(route_options(session, how, progress), stamp=True)
        route = differences.route_around(destination.route_from(here.store, options))
        plan = _announced(differences.plan(group), route, act)
        here.store.prepare()  # before the clock of the first object starts
        there.store.prepare()
        tally = merged(group, run_plan(session, plan, route, run_options(how, "SYNC", progress)))
        deleted = 0
        if delete and _may_delete(tally):
            surplus = group.deal(_surplus(here, there, act, how.limits))
            deletion = delete_keys(session, there.store, surplus, max_in_flight=8, cancel=how.cancel)
            deletion = merged(group, deletion)
            deleted = deletion.succeeded
            tally.failures += deletion.failures
            tally.attempted += len(deletion.failures)
        return conclude(tally, "SYNC", _NOTHING, here.uri, deleted)


def _look(
    session: Session, differences: _Differences, how: TransferOptions, delete: bool, act: Act
) -> TransferSummary:
    """The summary of a dry run."""
    here, there = differences.here, differences.there
    with reporting(how.progress) as progress:
        dry = DryRun(here.store, there.store, there.key, act, no_clobber=how.no_clobber)
        route = differences.route_around(dry)
        tally = run_plan(session, differences.plan(ALONE), route, run_options(how, "SYNC", progress))
    tally.cancelled, tally.succeeded = tally.succeeded, 0  # none of it was done
    surplus = sum(1 for _ in _surplus(here, there, act, how.limits)) if delete and _may_delete(tally) else 0
    return conclude(tally, "SYNC", _NOTHING, here.uri, surplus)


def _may_delete(tally: Tally) -> bool:
    """All was transferred, and the source is not empty, which may be a mistake."""
    return not tally.failures and bool(tally.attempted or tally.skipped)


class _Differences:
    """What has to be transferred.

    Args:
        here: the source.
        there: the destination.
        executor: its threads read files to compare them.
        how: what is wanted of it.
        by: what objects of one size are compared by. Only what seems older than its source is looked at by time, all
            by checksum.
    """

    def __init__(
        self, here: Directory, there: Directory, executor: BaseExecutor, how: TransferOptions, by: By
    ) -> None:
        self.here = here
        self.there = there
        self._by = by
        self._limits = how.limits
        self._no_clobber = how.no_clobber
        self._kept_times = how.preserve_mtime
        self._executor = executor
        #: What the destination has under names that are to be looked at. Each is taken out when its task is made, so
        #: there are as many as are read ahead.
        self.in_both: dict[str, Item] = {}

    def route_around(self, route: Route) -> Route:
        """``route``, after a look at what may be the same on both sides."""
        comparison = {By.CHECKSUM: by_checksum, By.EXACT_TIME: by_kept_time}.get(self._by, by_metadata)
        return IfDifferent(route, self.here.store, self.there.store, self.in_both, comparison, self._executor)

    def plan(self, group: Group) -> Plan:
        """What this rank of a group has to look at or to transfer."""
        for entry, other in group.deal(self._pairs(), lambda pair: weight(pair[0])):
            if other is not None:
                self.in_both[entry.name] = other
            yield entry

    def _pairs(self) -> Iterator[tuple[Any, Item | None]]:
        """Entries of the plan; beside one that only a look at both sides can tell the same, that of the destination."""
        uri = self.here.store.uri
        for entry, other in merge(self.here, self.there):
            if not isinstance(entry, Item):
                if entry is not None:
                    yield entry, None
            elif self._limits and (reason := self._limits.refusal(entry.size, entry.mtime_ns)) is not None:
                yield Skipped(uri(entry.key), reason, expected=True), None
            elif other is None:
                yield entry, None
            elif self._no_clobber:
                yield Skipped(uri(entry.key), "something is at its destination", expected=True), None
            elif entry.size != other.size:
                yield entry, None
            elif (looked := self._differs(entry, other)) is not None:
                yield entry, other if looked else None
            else:
                yield Skipped(uri(entry.key), "it is at its destination already", expected=True), None

    def _differs(self, entry: Item, other: Item) -> bool | None:
        """Whether objects of one size seem to differ: None: no; True: a look at both tells; False: they do."""
        if self._by is By.SIZE:
            return None
        if self._by is By.CHECKSUM:
            return True
        if self._by is By.EXACT_TIME and self.there.store.scheme in LOCAL_SCHEMES:
            if _seconds(entry) == _seconds(other):
                return None
            return self._kept_times and self.here.store.scheme not in LOCAL_SCHEMES
        return True if _is_older(other, entry) else None


def _seconds(item: Item) -> int | None:
    return None if item.mtime_ns is None else item.mtime_ns // 1_000_000_000


def _is_older(copy: Item, original: Item) -> bool:
    then, now = _seconds(copy), _seconds(original)
    return then is not None and now is not None and then < now


def _announced(plan: Plan, route: Route, act: Act) -> Plan:
    for entry in plan:
        if isinstance(entry, Item):
            act(Action("copy", route.source_uri(entry), route.target_uri(entry), entry.size))
        yield entry


def _surplus(here: Directory, there: Directory, act: Act, limits: Limits) -> Iterator[str]:
    """The keys that are only in the destination. Listed when the transfers have ended, so nothing has to be kept.
    What is behind a link to a directory belongs elsewhere, and is left alone; so is what ``limits`` refuse.

    Raises:
        S3dlioError: something in the source cannot be read: what looks like surplus may have its original there.
    """
    for entry, other in merge(here, there, into_links=False):
        if isinstance(entry, Refused):
            raise entry.error
        if entry is None and other is not None and limits.refusal(other.size, other.mtime_ns) is None:
            act(Action("delete", None, there.store.uri(other.key), other.size))
            yield other.key
