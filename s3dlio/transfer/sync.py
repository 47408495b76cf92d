"""Make one directory like another: transfer what is missing or differs, and delete what is too much if asked.

Both sides are listed in the order of their names and merged, so memory does not grow with the number of objects.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, NamedTuple

from s3dlio.errors import ObjectNotFoundError, ProtocolError
from s3dlio.stores.base import Call, ObjectStore, Steps
from s3dlio.transfer.compare import IfDifferent, by_checksum, by_metadata
from s3dlio.transfer.delete import delete_keys
from s3dlio.transfer.destination import open_destination
from s3dlio.transfer.options import DEFAULTS, TransferOptions
from s3dlio.transfer.overlap import check_apart
from s3dlio.transfer.places import as_directory, destination_uri, place_uri
from s3dlio.transfer.plan import Entry, Filter, Item, Plan, Refused, Skipped
from s3dlio.transfer.progress import reporting
from s3dlio.transfer.route import Route, Transferred
from s3dlio.transfer.runner import RunOptions, conclude, route_options, run_options, run_plan
from s3dlio.transfer.select_local import Root, select_local
from s3dlio.transfer.select_remote import select_remote
from s3dlio.transfer.summary import TransferSummary
from s3dlio.transfer.task import Task
from s3dlio.uri import LOCAL_SCHEMES

if TYPE_CHECKING:
    from s3dlio.engine.session import Session


class Action(NamedTuple):
    """One thing that a sync does, or with ``dry_run`` would do: ``copy`` from ``source`` to ``target``, or ``delete``
    the ``target``. ``size`` is in bytes."""

    verb: Literal["copy", "delete"]
    source: str | None
    target: str
    size: int


def sync(
    session: Session,
    src: str | os.PathLike[str],
    dst: str | os.PathLike[str],
    how: TransferOptions = DEFAULTS,
    *,
    delete: bool = False,
    dry_run: bool = False,
    checksum: bool = False,
    on_action: Callable[[Action], None] | None = None,
) -> TransferSummary:
    """Make the directory ``dst`` like the directory ``src``, on any two schemes.

    An object is transferred if it is missing, has another size, or is older than the source (in whole seconds, since
    services keep no more), unless what is told of both says that they are the same: the time kept with
    ``preserve_mtime``, or the checksum that a service keeps. With ``checksum``, instead of the time, the CRC32C of both
    is compared, as the services tell it or by reading. Files get the time of their source. A sync that was interrupted
    goes on when it is run again.

    Args:
        session: whose stores and threads are used.
        src: a directory: a URI or local path; a ``/`` is added if it ends in none.
        dst: likewise.
        how: see :class:`TransferOptions`; names that are not wanted are left alone on both sides. A sync is recursive,
            and needs no journal.
        delete: when everything is transferred, delete what is in ``dst`` and not in ``src``. Nothing is deleted after a
            failure, nor where the source has something that could not be read.
        dry_run: transfer and delete nothing; ``on_action`` is told what would be done.
        checksum: see above.
        on_action: is told of every transfer before it is started, and of every deletion.

    Returns:
        The summary: ``skipped`` were alike, ``deleted`` are gone. After a dry run ``attempted`` says how many objects
        would be transferred, ``bytes`` how large they are, ``deleted`` how many would go.

    Raises:
        ObjectNotFoundError: there is nothing in the source; nothing was deleted.
        ConfigError: the pattern is none.
        InvalidURIError: one directory is inside the other.
        BatchError: objects failed; it has every one of them.
    """
    keep = how.filter(with_pattern=True)
    here, there = _Directory.at(session, place_uri(src), keep), _Directory.at(session, destination_uri(dst), keep)
    check_apart(here.store, here.key, there.store, there.key)
    check_apart(there.store, there.key, here.store, here.key)
    here.check_exists()
    tell = on_action or (lambda action: None)
    differences = _Differences(here, there, by_time=not checksum)
    alike = by_checksum if checksum else by_metadata
    if dry_run:
        with reporting(how.progress) as watcher:
            rehearsed: Route = _Rehearsed(here.store, there.store, there.key, tell)
            rehearsed = IfDifferent(rehearsed, here.store, there.store, differences.in_both, alike)
            return _rehearse(session, differences, rehearsed, delete, tell, run_options(how, "SYNC", watcher))
    with (
        reporting(how.progress) as watcher,
        open_destination(there.store, there.key, create=how.create_bucket) as target,
    ):
        route = target.route_from(here.store, replace(route_options(how, watcher), stamp=True))
        route = IfDifferent(route, here.store, there.store, differences.in_both, alike)
        tally = run_plan(session, _told(differences.plan(), route, tell), route, run_options(how, "SYNC", watcher))
        deleted = 0
        if delete and not tally.failures and (tally.attempted or tally.skipped):  # never for an empty source
            surplus = _surplus(here, there, tell)
            deletion = delete_keys(session, there.store, surplus, max_in_flight=8, cancel=how.cancel)
            deleted = deletion.succeeded
            tally.failures += deletion.failures
            tally.attempted += len(deletion.failures)
        return conclude(tally, "SYNC", "there is nothing in the source; nothing was deleted", here.uri, deleted)


@dataclass(frozen=True, slots=True)
class _Directory:
    """A directory that can be listed in the order of its names."""

    store: ObjectStore
    key: str
    keep: Filter

    @classmethod
    def at(cls, session: Session, uri: str, keep: Filter) -> _Directory:
        store, key = session.store_for(uri)
        return cls(store, as_directory(key), keep)

    @property
    def uri(self) -> str:
        return self.store.uri(self.key)

    def check_exists(self) -> None:
        if self.store.scheme in LOCAL_SCHEMES and not os.path.isdir(self.key):
            path = self.key.rstrip("/")
            what = "it is no directory" if os.path.lexists(path) else "there is no such directory"
            hint = "to copy one file use copy (s3-cli cp)" if os.path.isfile(path) else None
            raise ObjectNotFoundError(f"{what}; nothing was deleted", uri=self.uri, operation="SYNC", hint=hint)

    def plan(self, into_links: bool = True) -> Plan:
        """What is there; ``into_links`` as of :func:`s3dlio.transfer.select_local.walk`.

        Raises:
            ProtocolError: the order is not that of the names: merging would go wrong silently.
        """
        if self.store.scheme in LOCAL_SCHEMES:
            if not os.path.isdir(self.key):
                return iter(())
            root = Root(self.key.rstrip("/") or "/", "", True)
            plan = select_local([root], recursive=True, keep=self.keep, into_links=into_links)
        else:
            plan = select_remote(self.store, self.key, recursive=True, keep=self.keep)
        return self._ordered(plan)

    def _ordered(self, plan: Plan) -> Plan:
        last = ""
        for entry in plan:
            if isinstance(entry, Item):
                if entry.name < last:
                    raise ProtocolError(
                        f"the listing is not sorted ('{entry.name}' after '{last}'), so it cannot be compared",
                        uri=self.uri, operation="SYNC", hint="copy the whole directory instead",
                    )  # fmt: skip
                last = entry.name
            yield entry


def _merge(
    here: _Directory, there: _Directory, *, into_links: bool = True
) -> Generator[tuple[Entry | None, Item | None], None, None]:
    """Pairs of what has one name on both sides; None where it is missing. What is no item here comes alone.

    Without ``into_links`` nothing is ``there`` behind a link to a directory.
    """
    others = (entry for entry in there.plan(into_links) if isinstance(entry, Item))
    other = next(others, None)
    for entry in here.plan():
        if not isinstance(entry, Item):
            yield entry, None
            continue
        while other is not None and other.name < entry.name:
            yield None, other
            other = next(others, None)
        if other is not None and other.name == entry.name:
            yield entry, other
            other = next(others, None)
        else:
            yield entry, None
    while other is not None:
        yield None, other
        other = next(others, None)


class _Differences:
    """What has to be transferred.

    Args:
        here: the source.
        there: the destination.
        by_time: compare times: only what seems older than its source is looked at; otherwise all of one size.
    """

    def __init__(self, here: _Directory, there: _Directory, *, by_time: bool) -> None:
        self.here = here
        self.there = there
        self.by_time = by_time
        #: What the destination has under names that are to be looked at. Each is taken out when its task is made, so
        #: there are as many as are read ahead.
        self.in_both: dict[str, Item] = {}

    def plan(self) -> Plan:
        for entry, other in _merge(self.here, self.there):
            if not isinstance(entry, Item):
                if entry is not None:
                    yield entry
            elif other is None or entry.size != other.size:
                yield entry
            elif not self.by_time or _is_older(other, entry):
                self.in_both[entry.name] = other
                yield entry
            else:
                yield Skipped(self.here.store.uri(entry.key), "it is at its destination already", expected=True)


def _is_older(copy: Item, original: Item) -> bool:
    then, now = copy.mtime_ns, original.mtime_ns
    return then is not None and now is not None and then // 1_000_000_000 < now // 1_000_000_000


def _told(plan: Plan, route: Route, tell: Callable[[Action], None]) -> Plan:
    for entry in plan:
        if isinstance(entry, Item):
            tell(Action("copy", route.source_uri(entry), route.target_uri(entry), entry.size))
        yield entry


def _surplus(here: _Directory, there: _Directory, tell: Callable[[Action], None]) -> Iterator[str]:
    """The keys that are only in the destination. Listed when the transfers have ended, so nothing has to be kept.
    What is behind a link to a directory belongs elsewhere, and is left alone.

    Raises:
        S3dlioError: something in the source cannot be read: what looks like surplus may have its original there.
    """
    for entry, other in _merge(here, there, into_links=False):
        if isinstance(entry, Refused):
            raise entry.error
        if entry is None and other is not None:
            tell(Action("delete", None, there.store.uri(other.key), other.size))
            yield other.key


def _rehearse(
    session: Session,
    differences: _Differences,
    route: Route,
    delete: bool,
    tell: Callable[[Action], None],
    how: RunOptions,
) -> TransferSummary:
    """The summary of a sync that only looks."""
    here, there = differences.here, differences.there
    tally = run_plan(session, differences.plan(), route, how)
    tally.cancelled, tally.succeeded = tally.succeeded, 0  # none of it was done
    surplus = 0
    if delete and not tally.failures and (tally.attempted or tally.skipped):
        surplus = sum(1 for _ in _surplus(here, there, tell))
    return conclude(tally, "SYNC", "there is nothing in the source; nothing was deleted", here.uri, surplus)


class _Rehearsed(Route):
    """A route on which nothing moves: what would is told.

    Args:
        source: where objects are.
        target: where they would go.
        prefix: what their keys would begin with there.
        tell: is told of each.
    """

    def __init__(
        self, source: ObjectStore, target: ObjectStore, prefix: str, tell: Callable[[Action], None]
    ) -> None:
        self._source = source
        self._target = target
        self._prefix = prefix
        self._tell = tell
        self._lock = threading.Lock()

    def source_uri(self, item: Item) -> str:
        return self._source.uri(item.key)

    def target_uri(self, item: Item) -> str:
        return self._target.uri(self._prefix + item.name)

    def task(self, item: Item) -> Call[Transferred]:
        store = self._source if self._source.is_cloud else self._target
        return Task(store, "SYNC", item.key, lambda: self._rehearse(item))

    def _rehearse(self, item: Item) -> Steps[Transferred]:
        with self._lock:
            self._tell(Action("copy", self.source_uri(item), self.target_uri(item), item.size))
        yield from ()
        return Transferred(item.size)
