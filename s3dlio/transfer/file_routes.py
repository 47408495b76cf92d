"""How one object gets from one store to another: four routes, each a task; the last two are in ``between``.

==================  =====================================================================================
file to store       the store writes from the file's descriptor (in parts where it has such)
store to file       the store reads into a temporary file beneath the destination, which is then renamed; from
                    file to file, that is a copy within the kernel
within a service    the service copies; no byte comes here
store to store      read and written piece by piece; memory is bounded by the pieces, not by the object
==================  =====================================================================================

Lengths are always compared. With ``verify`` so is the CRC32C: that of the bytes as they pass against what the service
on the other side tells, or against a second reading where it tells none.
"""

from __future__ import annotations

import logging
import os
import re
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace

from s3dlio.errors import (
    LengthMismatchError,
    LocalIOError,
    ObjectChangedError,
    PreconditionFailedError,
    UnsupportedOperationError,
    redact,
)
from s3dlio.memory.body import FileSource, Sink
from s3dlio.stores.base import Call, ObjectStore, Steps
from s3dlio.transfer.body_monitor import Tape, WatchedSink, WatchedSource
from s3dlio.transfer.destination_directory import Landing
from s3dlio.transfer.journal import Journal
from s3dlio.transfer.plan import Item
from s3dlio.transfer.resuming import ResumableDownload, upload_state
from s3dlio.transfer.task import (
    FileVersion,
    RefusedItemError,
    Task,
    check_crc,
    check_length,
    checksum_of,
    described,
    open_file,
    perform,
    within,
)
from s3dlio.types import NO_OPTIONS, ObjectMetadata, PutOptions
from s3dlio.uri import LOCAL_SCHEMES

log = logging.getLogger("s3dlio.transfer")

#: The user metadata that carries a file's time, in seconds with decimals; other tools write and read the same name.
MTIME = "mtime"

#: How much a relay reads at once, in bytes; it holds two of these. Smaller than the ranges of a store, so a store
#: never splits one.
PIECE = 8 << 20


@dataclass(frozen=True, slots=True)
class Care:
    """What a transfer takes care of besides the bytes.

    Args:
        verify: compare the CRC32C.
        preserve_mtime: keep the time of the last change.
        options: of every write.
        meter: is told bytes as they pass.
        stamp: files get the time of their source's last change, where none was kept.
        journal: keeps how far large objects are.
    """

    verify: bool = False
    preserve_mtime: bool = False
    options: PutOptions = NO_OPTIONS
    meter: Callable[[int], None] | None = None
    stamp: bool = False
    journal: Journal | None = None

    def tape(self) -> Tape:
        return Tape(self.meter, self.verify)

    def file_time(self, item: Item, metadata: ObjectMetadata) -> int | None:
        """The time that a file gets; None: that of its writing."""
        if self.preserve_mtime:
            return kept_mtime(item, metadata)
        return item.mtime_ns if self.stamp else None

    def write_options(self, mtime_ns: int | None) -> PutOptions:
        """The options of a write that also keeps ``mtime_ns``."""
        if not self.preserve_mtime or mtime_ns is None:
            return self.options
        seconds, nanos = divmod(mtime_ns, 1_000_000_000)
        return replace(self.options, metadata={**(self.options.metadata or {}), MTIME: f"{seconds}.{nanos:09d}"})


@dataclass(slots=True)
class Moved:
    """A finished task: the bytes of the object, how many of them the meter has seen, and whether, after a look at both
    sides, there was nothing to do."""

    bytes: int
    metered: int = 0
    same: bool = False


class Route(ABC):
    """Makes the task for each item."""

    @abstractmethod
    def task(self, item: Item) -> Call[Moved]:
        """The call that transfers ``item``."""

    @abstractmethod
    def source_uri(self, item: Item) -> str:
        """Where ``item`` comes from."""

    @abstractmethod
    def target_uri(self, item: Item) -> str:
        """Where ``item`` goes."""

    def holds(self, item: Item) -> bool:
        """Whether ``item``, which was transferred before, can be there still, as far as a look at a file tells."""
        return True


#: Seconds since 1970 of the years 1 to 9999; file systems refuse what is far beyond.
_TIMES = range(-62_135_596_800, 253_402_300_800)
_SECONDS = re.compile(r"(-?\d{1,15})(?:\.(\d*))?", re.ASCII)


def told_mtime(metadata: ObjectMetadata) -> int | None:
    """The time that an object's file had (nanoseconds since 1970), where its metadata tell one that can be."""
    told = _SECONDS.fullmatch(metadata.metadata.get(MTIME, ""))
    if told is None or int(told[1]) not in _TIMES:
        return None
    return int(told[1]) * 1_000_000_000 + int((told[2] or "")[:9].ljust(9, "0"))


def kept_mtime(item: Item, metadata: ObjectMetadata) -> int | None:
    """The time that an object's file had: as its metadata tell, else its own last change."""
    if (told := told_mtime(metadata)) is not None:
        return told
    if MTIME in metadata.metadata:
        log.warning("the time kept with %s is none: %.40r", redact(item.key), metadata.metadata[MTIME])
    if item.mtime_ns is not None:
        return item.mtime_ns
    return Item("", "", 0, None, metadata.last_modified).mtime_ns


def set_time(file: int | str, mtime_ns: int | None, uri: str, beneath: int | None = None) -> None:
    """Give a file (one that is open, or a name in an open directory) its time, where the file system can keep it: it is
    the bytes that count."""
    if mtime_ns is None:
        return
    try:
        os.utime(file, ns=(mtime_ns, mtime_ns), dir_fd=beneath, follow_symlinks=beneath is None)
    except (OSError, OverflowError) as error:  # a time before 1980 on FAT, for example
        log.warning("the file of %s has the time of now: %s", redact(uri), error)


class FileToStore(Route):
    """A local file into any store.

    Args:
        store: the destination.
        prefix: what keys begin with, before the name of the item.
        care: see :class:`Care`.
    """

    def __init__(self, store: ObjectStore, prefix: str, care: Care) -> None:
        self._store = store
        self._prefix = prefix
        self._care = care

    def source_uri(self, item: Item) -> str:
        return "file://" + item.key

    def target_uri(self, item: Item) -> str:
        return self._store.uri(self._prefix + item.name)

    def task(self, item: Item) -> Call[Moved]:
        key = self._prefix + item.name
        self._store.check_key(key, "PUT")
        return Task(self._store, "PUT", key, lambda: self._send(item, key), size=item.size)

    def _send(self, item: Item, key: str) -> Steps[Moved]:
        care, store = self._care, self._store
        descriptor, about = open_file(item.key)
        try:
            size = about.st_size
            plain = FileSource(descriptor, 0, size, about)
            tape = care.tape()
            source = plain if tape.idle else WatchedSource(plain, tape)
            options = care.write_options(about.st_mtime_ns)
            resume = upload_state(care.journal, item, about, options)
            try:
                result = yield from perform(store.write_call(key, source, options=options, resume=resume))
            except (LengthMismatchError, ObjectChangedError, LocalIOError) as error:
                error.uri = self.source_uri(item)
                raise
            check_length(store.uri(key), size, result.size)
            if care.verify:
                crc = tape.crc(size)
                expected = crc if crc is not None else file_crc(descriptor, size)
                check_crc(store.uri(key), expected, (yield from checksum_of(store, key, size)))
            return Moved(size, tape.metered)
        finally:
            os.close(descriptor)


def file_crc(descriptor: int, size: int) -> int:
    """The CRC32C of the first ``size`` bytes of an open file."""
    tape = Tape(None, checksum=True)
    source = FileSource(descriptor, 0, size)
    for start in range(0, size, PIECE):
        tape(start, source.read(start, PIECE), 0)
    crc = tape.crc(size)
    assert crc is not None  # in order, so in one piece
    return crc


class StoreToFile(Route):
    """An object into a file beneath a landing.

    Args:
        store: the source.
        landing: the destination.
        care: see :class:`Care`.
    """

    def __init__(self, store: ObjectStore, landing: Landing, care: Care) -> None:
        if replace(care.options, durable=False) != NO_OPTIONS:
            raise UnsupportedOperationError(
                "a file cannot keep a content type, metadata or other options of an object", uri=landing.uri
            )
        self._store = store
        self._landing = landing
        self._care = care

    def source_uri(self, item: Item) -> str:
        return self._store.uri(item.key)

    def target_uri(self, item: Item) -> str:
        return "file://" + self._landing.path(item.name)

    def holds(self, item: Item) -> bool:
        return self._landing.size(item.name) == item.size

    def task(self, item: Item) -> Call[Moved]:
        return Task(self._store, "GET", item.key, lambda: self._fetch(item), load=item.size)

    def _fetch(self, item: Item) -> Steps[Moved]:
        care, store, uri = self._care, self._store, self._store.uri(item.key)
        segments = self._landing.claim(item.name, uri)
        is_local = store.scheme in LOCAL_SCHEMES
        before = FileVersion.at(item.key) if is_local else None
        resumable = None if is_local else ResumableDownload.of(care.journal, item)
        earlier = resumable.earlier if resumable is not None else None
        with (
            self._landing.file(segments, uri, durable=care.options.durable, earlier=earlier) as new,
            self._landing.behind.sink(new.fd, self._landing.path(item.name)) as plain,
        ):
            # A local store that sees the bare file copies within the kernel; so fast that nobody needs to watch.
            tape = Tape(None if is_local else care.meter, care.verify or resumable is not None)
            if resumable is not None:
                metadata = yield from resumable.read(store, new, plain, tape)
                size = metadata.size
            else:
                sink: Sink = plain if tape.idle else WatchedSink(plain, tape)
                metadata = yield from perform(store.read_call(item.key, sink))
                size = sink.size or 0
                check_length(uri, metadata.size, size)
            check_length(uri, size, os.fstat(new.fd).st_size)
            if before is not None:
                before.check(item.key)
            if care.verify:
                crc = tape.crc(size)
                passed = crc if crc is not None else file_crc(new.fd, size)
                check_crc(uri, (yield from checksum_of(store, item.key, size, metadata.crc32c)), passed)
            if care.preserve_mtime:
                metadata = yield from described(store, item.key, metadata)
            set_time(new.fd, care.file_time(item, metadata), uri)
        return Moved(size, tape.metered)


class Moving(Route):
    """Another route, and then the source is deleted: the version that was carried, and no other.

    Args:
        route: carries the object.
        source: where it was.
    """

    def __init__(self, route: Route, source: ObjectStore) -> None:
        self._route = route
        self._source = source

    def source_uri(self, item: Item) -> str:
        return self._route.source_uri(item)

    def target_uri(self, item: Item) -> str:
        return self._route.target_uri(item)

    def holds(self, item: Item) -> bool:
        return self._route.holds(item)

    def task(self, item: Item) -> Call[Moved]:
        carry = self._route.task(item)
        return Task(carry.store, "MOVE", item.key, lambda: self._move(carry, item), size=carry.size, load=carry.load)

    def _move(self, carry: Call[Moved], item: Item) -> Steps[Moved]:
        if self._source.scheme in LOCAL_SCHEMES:
            file = FileVersion.at(item.key)
            moved = yield from perform(carry)
            if FileVersion.at(item.key) != file:
                raise self._kept(item)
            yield from within(carry, perform(self._source.delete_call(item.key)))
            return moved
        # What still has the ETag that it had before is what was carried.
        etag = item.etag or (yield from within(carry, perform(self._source.head_call(item.key)))).etag
        if etag is None:
            raise UnsupportedOperationError(
                "the service tells no ETag, so it cannot be told whether what would be deleted is what was copied",
                uri=self.source_uri(item), hint="copy it, and delete it yourself",
            )  # fmt: skip
        moved = yield from perform(carry)
        try:
            yield from within(carry, perform(self._source.delete_call(item.key, if_match=etag)))
        except PreconditionFailedError as error:
            raise self._kept(item) from error
        return moved

    def _kept(self, item: Item) -> RefusedItemError:
        return RefusedItemError(
            ObjectChangedError(
                "the source changed while it was moved, and was kept", uri=self.source_uri(item), operation="MOVE",
                hint="move it again",
            )
        )  # fmt: skip
