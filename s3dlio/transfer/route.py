"""How one object gets from one store to another: a route makes the task for each.

==================  =====================================================================================
file to store       the store writes from the file's descriptor (in parts where it has such)
store to file       the store reads into a temporary file beneath the destination, which is then renamed; from
                    file to file, that is a copy within the kernel
within a service    the service copies; no byte comes here
store to store      read and written piece by piece; memory is bounded by the pieces, not by the object
==================  =====================================================================================

The first two are in ``file_routes``, the others in ``store_routes``; ``moving`` has those of a move.

Lengths are always compared. With ``verify`` so is the CRC32C: that of the bytes as they pass against what the service
on the other side tells, or against a second reading where it tells none.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from s3dlio.engine.executor import BaseExecutor
from s3dlio.records import Record, replace
from s3dlio.stores.base import ObjectStore
from s3dlio.stores.call import Call
from s3dlio.transfer.body_monitor import BodyMonitor
from s3dlio.transfer.content_types import TypedOptions
from s3dlio.transfer.file_times import MTIME, original_mtime
from s3dlio.transfer.plan import Item
from s3dlio.types import NO_OPTIONS, ObjectMetadata, PutOptions

if TYPE_CHECKING:
    from s3dlio.transfer.journal import ItemStates


class RouteOptions(Record):
    """What a route does besides moving the bytes.

    Args:
        verify: compare the CRC32C.
        preserve_mtime: keep the time of the last change.
        options: of every write.
        meter: is called with the bytes that pass.
        stamp: files get the time of their source's last change, where none was kept.
        journal: keeps how far large objects are.
        no_clobber: what is at its destination already is left as it is.
        typed: new objects get the content type that their name tells, where no other is given.
        executor: its threads do what would hold up an event loop; without, it is done in place.
    """

    verify: bool = False
    preserve_mtime: bool = False
    options: PutOptions = NO_OPTIONS
    meter: Callable[[int], None] | None = None
    stamp: bool = False
    journal: ItemStates | None = None
    executor: BaseExecutor | None = None
    no_clobber: bool = False
    typed: TypedOptions | None = None

    def monitor(self) -> BodyMonitor:
        return BodyMonitor(self.meter, self.verify)

    def file_time(self, item: Item, metadata: ObjectMetadata) -> int | None:
        """The time that a file gets; None: that of its writing."""
        if self.preserve_mtime:
            return original_mtime(item, metadata)
        return item.mtime_ns if self.stamp else None

    def write_options(self, mtime_ns: int | None, name: str = "") -> PutOptions:
        """The options of a write of a file ``name``, which also keeps ``mtime_ns``."""
        options = self.options if self.typed is None else self.typed.of(name)
        if not self.preserve_mtime or mtime_ns is None:
            return options
        seconds, nanos = divmod(mtime_ns, 1_000_000_000)
        return replace(options, metadata={**(options.metadata or {}), MTIME: f"{seconds}.{nanos:09d}"})


class Transferred(NamedTuple):
    """A finished task: the bytes of the object, how many of them the meter has seen, and whether, after a look at both
    sides, there was nothing to do."""

    bytes: int
    metered: int = 0
    same: bool = False


class Route(ABC):
    """Makes the task for each item."""

    @abstractmethod
    def task(self, item: Item) -> Call[Transferred]:
        """The call that transfers ``item``."""

    @abstractmethod
    def source_uri(self, item: Item) -> str:
        """Where ``item`` comes from."""

    @abstractmethod
    def target_uri(self, item: Item) -> str:
        """Where ``item`` goes."""

    def admit(self, item: Item) -> Item:
        """What one process checks of an item for all that transfer some: nothing, on most routes.

        Raises:
            S3dlioError: the item cannot be transferred.
        """
        return item

    def holds(self, item: Item) -> bool:
        """Whether ``item``, which was transferred before, can be there still, as far as a look at a file tells."""
        return True


class BetweenStores(Route):
    """A route from keys of one store to keys of another.

    Args:
        source: where objects are read.
        target: where they are written.
        prefix: what their keys begin with there, before the name of the item.
        how: see :class:`RouteOptions`.
    """

    def __init__(self, source: ObjectStore, target: ObjectStore, prefix: str, how: RouteOptions) -> None:
        self._source = source
        self._target = target
        self._prefix = prefix
        self._how = how

    def source_uri(self, item: Item) -> str:
        return self._source.uri(item.key)

    def target_uri(self, item: Item) -> str:
        return self._target.uri(self._prefix + item.name)


class RouteAround(Route):
    """A route that does more than another one, which carries the objects.

    Args:
        route: that one.
    """

    def __init__(self, route: Route) -> None:
        self._route = route

    def source_uri(self, item: Item) -> str:
        return self._route.source_uri(item)

    def target_uri(self, item: Item) -> str:
        return self._route.target_uri(item)

    def admit(self, item: Item) -> Item:
        return self._route.admit(item)

    def holds(self, item: Item) -> bool:
        return self._route.holds(item)
