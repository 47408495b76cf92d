"""How one object gets from one store to another: four routes, each a task.

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

import os
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import cast

from s3dlio.errors import (
    IsDirectoryError,
    LengthMismatchError,
    ObjectChangedError,
    ObjectNotFoundError,
    PermissionDeniedError,
    PreconditionFailedError,
    S3dlioError,
    UnsupportedOperationError,
)
from s3dlio.memory.body import FileSink, FileSource, MemorySink, Sink
from s3dlio.stores.base import Call, ObjectStore, ObjectWriter, Steps
from s3dlio.transfer.bodies import Tape, WatchedSink, WatchedSource
from s3dlio.transfer.landing import Landing
from s3dlio.transfer.plan import Item
from s3dlio.transfer.task import (
    RefusedItemError,
    Task,
    check_crc,
    check_length,
    checksum_of,
    open_file,
    perform,
    within,
)
from s3dlio.types import NO_CONDITIONS, NO_OPTIONS, Conditions, ObjectMetadata, PutOptions
from s3dlio.uri import LOCAL_SCHEMES

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
    """

    verify: bool = False
    preserve_mtime: bool = False
    options: PutOptions = NO_OPTIONS
    meter: Callable[[int], None] | None = None

    def tape(self) -> Tape:
        return Tape(self.meter, self.verify)

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


def kept_mtime(item: Item, metadata: ObjectMetadata) -> int | None:
    """The time that an object's file had: as its metadata tell, else its own last change."""
    text = metadata.metadata.get(MTIME)
    if text is not None:
        seconds, _, decimals = text.partition(".")
        if seconds.lstrip("-").isdecimal() and (decimals or "0").isdecimal():
            return int(seconds) * 1_000_000_000 + int(decimals[:9].ljust(9, "0"))
    if item.mtime_ns is not None:
        return item.mtime_ns
    return Item("", "", 0, None, metadata.last_modified).mtime_ns


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
            size = about.st_size  # a file that grows is sent as long as it was now; one that shrinks is an error
            plain = FileSource(descriptor, 0, size)
            tape = care.tape()
            source = plain if tape.idle else WatchedSource(plain, tape)
            options = care.write_options(about.st_mtime_ns)
            try:
                result = yield from perform(store.write_call(key, source, options=options))
            except LengthMismatchError as error:
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
        tape(start, source.read(start, PIECE))
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
        self._store = store
        self._landing = landing
        self._care = care
        #: Errors that say nothing about the other objects: gone since it was listed; a file that may not be read.
        self._not_this_one: tuple[type[S3dlioError], ...] = (ObjectNotFoundError,)
        if store.scheme in LOCAL_SCHEMES:
            self._not_this_one += (PermissionDeniedError, IsDirectoryError, UnsupportedOperationError)

    def source_uri(self, item: Item) -> str:
        return self._store.uri(item.key)

    def target_uri(self, item: Item) -> str:
        return "file://" + self._landing.path(item.name)

    def task(self, item: Item) -> Call[Moved]:
        return Task(self._store, "GET", item.key, lambda: self._fetch(item))

    def _fetch(self, item: Item) -> Steps[Moved]:
        care, store, uri = self._care, self._store, self._store.uri(item.key)
        segments = self._landing.claim(item.name, uri)
        mtime: list[int] = []
        with self._landing.file(segments, uri, mtime_ns=mtime) as descriptor:
            plain = FileSink(descriptor)
            # A local store that sees the bare file copies within the kernel; so fast that nobody needs to watch.
            tape = Tape(None, care.verify) if store.scheme in LOCAL_SCHEMES else care.tape()
            sink: Sink = plain if tape.idle else WatchedSink(plain, tape)
            try:
                metadata = yield from perform(store.read_call(item.key, sink))
            except self._not_this_one as error:
                raise RefusedItemError(error) from error
            size = sink.size or 0
            check_length(uri, metadata.size, size)
            check_length(uri, size, os.fstat(descriptor).st_size)
            if care.verify:
                crc = tape.crc(size)
                passed = crc if crc is not None else file_crc(descriptor, size)
                check_crc(uri, (yield from checksum_of(store, item.key, size, metadata.crc32c)), passed)
            if care.preserve_mtime and (kept := kept_mtime(item, metadata)) is not None:
                mtime.append(kept)
        return Moved(size, tape.metered)


class _StoreToStore(Route):
    """What the last two routes share.

    Args:
        source: where objects are read.
        target: where they are written.
        prefix: what their keys begin with there.
        care: see :class:`Care`.
        landing: the directory of the prefix, where the target is a local store: keys are checked against it.
    """

    def __init__(
        self,
        source: ObjectStore,
        target: ObjectStore,
        prefix: str,
        care: Care,
        landing: Landing | None = None,
    ) -> None:
        self._source = source
        self._target = target
        self._prefix = prefix
        self._care = care
        self._landing = landing

    def source_uri(self, item: Item) -> str:
        return self._source.uri(item.key)

    def target_uri(self, item: Item) -> str:
        return self._target.uri(self._prefix + item.name)

    def _target_key(self, item: Item) -> str:
        if self._landing is not None:
            return self._landing.path_for_store(item.name, self.source_uri(item))
        return self._prefix + item.name

    def _compare(self, item: Item, key: str, size: int, crc: int | None) -> Steps[None]:
        """Compare what is there now with the source: with ``crc`` if it is known, else with what its store tells."""
        expected = crc if crc is not None else (yield from checksum_of(self._source, item.key, size))
        check_crc(self._target.uri(key), expected, (yield from checksum_of(self._target, key, size)))


class ServerCopy(_StoreToStore):
    """The service copies the object. Its time is that of the copy; the metadata go with it."""

    def task(self, item: Item) -> Call[Moved]:
        key = self._target_key(item)
        return Task(self._target, "COPY", key, lambda: self._copy(item, key))

    def _copy(self, item: Item, key: str) -> Steps[Moved]:
        result = yield from perform(self._target.copy_call(self._source, item.key, key, options=self._care.options))
        check_length(self._target.uri(key), item.size, result.size)
        if self._care.verify:
            yield from self._compare(item, key, item.size, None)
        return Moved(item.size)


class Moving(Route):
    """Another route, and then the source is deleted.

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

    def task(self, item: Item) -> Call[Moved]:
        carry = self._route.task(item)
        return Task(carry.store, "MOVE", item.key, lambda: self._move(carry, item), size=carry.size)

    def _move(self, carry: Call[Moved], item: Item) -> Steps[Moved]:
        moved = yield from perform(carry)
        yield from within(carry, perform(self._source.delete_call(item.key)))
        return moved


class Relay(_StoreToStore):
    """The object is read here and written there.

    A relay waits for two services in turn, so it has a thread of its own, and its width is that of the threads.
    """

    def task(self, item: Item) -> Call[Moved]:
        on_thread = cast(ObjectStore, _OnThread(self._source))
        return Task(on_thread, "COPY", item.key, lambda: self._steps(item), size=2 * min(item.size, PIECE))

    def _steps(self, item: Item) -> Steps[Moved]:
        yield from ()  # no request for a lane
        return self._relay(item)

    def _relay(self, item: Item) -> Moved:
        from s3dlio.net.one import drive

        tape = self._care.tape()
        key = self._target_key(item)
        size = self._whole(item, key, tape) if item.size <= PIECE else self._in_pieces(item, key, tape)
        if self._care.verify:
            drive(self._compare(item, key, size, tape.crc(size)))
        return Moved(size, tape.metered)

    def _whole(self, item: Item, key: str, tape: Tape) -> int:
        sink = MemorySink()
        metadata = self._source.execute(self._source.read_call(item.key, sink))
        data = memoryview(sink.view())
        check_length(self.source_uri(item), metadata.size, len(data))
        tape(0, data)
        put = self._target.put_call(key, data, options=self._options(item, metadata))
        check_length(self._target.uri(key), len(data), self._target.execute(put).size)
        return len(data)

    def _in_pieces(self, item: Item, key: str, tape: Tape) -> int:
        """Range after range of one version; the writer sends parts while the next range is read."""
        writer: ObjectWriter | None = None
        try:
            position, size, same = 0, item.size, NO_CONDITIONS
            while position < size:
                sink = MemorySink()
                metadata = self._source.execute(
                    self._source.read_call(item.key, sink, offset=position, length=PIECE, conditions=same)
                )
                data = memoryview(sink.view())
                if writer is None:
                    size, same = metadata.size, Conditions(if_match=metadata.etag)
                    writer = self._target.writer(key, options=self._options(item, metadata))
                check_length(self.source_uri(item), min(PIECE, size - position), len(data))
                writer.write(data)
                tape(position, data)
                position += len(data)
            assert writer is not None  # items of at least one piece come here
            check_length(self._target.uri(key), size, writer.close().size)
        except PreconditionFailedError as error:
            raise ObjectChangedError(
                "the object was replaced while it was copied; nothing was stored", uri=self.source_uri(item),
                operation="COPY", hint="copy it again",
            ) from error  # fmt: skip
        except BaseException:
            if writer is not None:
                writer.abort()
            raise
        return size

    def _options(self, item: Item, metadata: ObjectMetadata) -> PutOptions:
        """What the source tells of the object goes with it, as far as the target keeps such things."""
        options = self._care.write_options(kept_mtime(item, metadata) if self._care.preserve_mtime else None)
        if self._target.scheme in LOCAL_SCHEMES:
            return self._care.options
        return replace(
            options,
            content_type=options.content_type or metadata.content_type,
            content_encoding=options.content_encoding or metadata.content_encoding,
            content_language=options.content_language or metadata.content_language,
            content_disposition=options.content_disposition or metadata.content_disposition,
            cache_control=options.cache_control or metadata.cache_control,
            metadata={**metadata.metadata, **(options.metadata or {})} or None,
        )


class _OnThread:
    """Stands for a relay's store where a batch asks how to run the task: on a thread, whatever its stores are."""

    is_cloud = False
    observers = ()

    def __init__(self, store: ObjectStore) -> None:
        self.uri = store.uri


def choose_route(
    source: ObjectStore, target: ObjectStore, prefix: str, care: Care, landing: Landing | None = None
) -> Route:
    """The shortest route between two stores.

    Args:
        source: where the items are.
        target: where they go.
        prefix: what their keys begin with there.
        care: see :class:`Care`.
        landing: the directory of ``prefix``, where ``target`` is a local store.
    """
    if landing is not None and target.scheme == "file":
        return StoreToFile(source, landing, care)
    if target.can_copy_from(source):
        return ServerCopy(source, target, prefix, care, landing)
    if source.scheme == "file":
        return FileToStore(target, prefix, care)
    return Relay(source, target, prefix, care, landing)
