"""Routes between two stores that are not plain files: a copy inside the service, or a relay through here."""

from __future__ import annotations

import contextlib
import logging
from typing import NamedTuple, cast

from s3dlio.errors import ObjectChangedError, PreconditionFailedError
from s3dlio.masking import redact
from s3dlio.memory.crc32c import crc32c
from s3dlio.memory.sinks import MemorySink
from s3dlio.memory.sources import MemorySource
from s3dlio.records import replace
from s3dlio.stores.base import ObjectStore
from s3dlio.stores.call import Call, Steps
from s3dlio.stores.local.store import LocalStore
from s3dlio.stores.metadata import RULES, fits_header, fitted, restored
from s3dlio.stores.writer import StoreWriter
from s3dlio.transfer.body_monitor import BodyMonitor
from s3dlio.transfer.destination_directory import DestinationDirectory
from s3dlio.transfer.file_times import original_mtime, set_time
from s3dlio.transfer.plan import Item
from s3dlio.transfer.route import BetweenStores, RouteOptions, Transferred
from s3dlio.transfer.source_file import FileVersion
from s3dlio.transfer.task import Task, perform
from s3dlio.transfer.verify import check_crc, check_length, checksum_of, described
from s3dlio.types import NO_CONDITIONS, Conditions, ObjectMetadata, PutOptions, PutResult
from s3dlio.uri import LOCAL_SCHEMES

log = logging.getLogger("s3dlio.transfer")

#: How much a relay reads at once, in bytes; it holds what is read and what is written, without a copy. Smaller than the
#: ranges of a store, so a store never splits one.
PIECE = 8 << 20

#: What is kept with an object besides its metadata, and goes with it.
_FIELDS = ("content_type", "content_encoding", "content_language", "content_disposition", "cache_control")


class _Compared(BetweenStores):
    """A route whose copies can be compared with their sources."""

    def _compare(self, item: Item, key: str, size: int, crc: int | None) -> Steps[None]:
        """Compare what is there now with the source: with ``crc`` if it is known, else with what its store tells."""
        expected = crc if crc is not None else (yield from checksum_of(self._source, item.key, size))
        check_crc(self._target.uri(key), expected, (yield from checksum_of(self._target, key, size)))


class ServerCopy(_Compared):
    """The service copies the object, and its metadata with it."""

    def task(self, item: Item) -> Call[Transferred]:
        key = self._prefix + item.name
        return Task(self._target, "COPY", key, lambda: self._copy(item, key))

    def _copy(self, item: Item, key: str) -> Steps[Transferred]:
        call = self._target.copy_call(self._source, item.key, key, options=self._how.options, size=item.size)
        result = yield from perform(call)
        if result.size:  # S3 does not tell it, and its copies are whole or not at all
            check_length(self._target.uri(key), item.size, result.size)
        if self._how.verify:
            yield from self._compare(item, key, item.size, None)
        return Transferred(item.size)


class Relay(_Compared):
    """The object is read here and written there.

    A relay waits for two services in turn, so it has a thread of its own, and its width is that of the threads.

    Args:
        source, target, prefix, how: as above.
        directory: the directory of the prefix, where the target is a local store: files are written beneath it.
    """

    def __init__(
        self, source: ObjectStore, target: ObjectStore, prefix: str, how: RouteOptions,
        directory: DestinationDirectory | None = None,
    ) -> None:  # fmt: skip
        super().__init__(source, target, prefix, how)
        self._directory = directory

    def holds(self, item: Item) -> bool:
        return self._directory is None or self._directory.size(item.name) == item.size

    def task(self, item: Item) -> Call[Transferred]:
        on_thread = cast(ObjectStore, _OnThread(self._source))
        return Task(on_thread, "COPY", item.key, lambda: self._steps(item), size=2 * min(item.size, PIECE))

    def _steps(self, item: Item) -> Steps[Transferred]:
        yield from ()  # no request for a lane
        return self._relay(item)

    def _relay(self, item: Item) -> Transferred:
        from s3dlio.net.blocking import drive

        monitor, key = self._how.monitor(), self._prefix + item.name
        file = FileVersion.at(item.key) if self._source.scheme in LOCAL_SCHEMES else None
        with contextlib.ExitStack() as stack:
            beneath = None
            if self._directory is not None:
                uri = self.source_uri(item)
                beneath = stack.enter_context(self._directory.parent(self._directory.claim(item.name, uri), uri))
            copy = self._whole if item.size <= PIECE else self._in_pieces
            size, mtime_ns = copy(item, _Place(self._target, key, beneath), monitor, file)
            if beneath is not None:
                set_time(key.rpartition("/")[2], mtime_ns, self.source_uri(item), beneath)
        if self._how.verify:
            drive(self._compare(item, key, size, monitor.crc(size)))
        return Transferred(size, monitor.metered)

    def _whole(
        self, item: Item, place: _Place, monitor: BodyMonitor, file: FileVersion | None
    ) -> tuple[int, int | None]:
        sink = MemorySink()
        metadata = self._source.execute(self._source.read_call(item.key, sink))
        data = memoryview(sink.view())
        check_length(self.source_uri(item), metadata.size, len(data))
        monitor(0, data, len(data))
        metadata = self._described(item, metadata)
        if file is not None:
            file.check(item.key)
        check_length(place.uri, len(data), place.put(data, self._options(item, metadata)).size)
        return len(data), self._how.file_time(item, metadata)

    def _in_pieces(
        self, item: Item, place: _Place, monitor: BodyMonitor, file: FileVersion | None
    ) -> tuple[int, int | None]:
        """Range after range of one version; the writer sends parts while the next range is read."""
        data, metadata = self._piece(item, 0, NO_CONDITIONS)
        size, same = metadata.size, Conditions(if_match=metadata.etag)
        told, crc = metadata.crc32c, 0
        metadata = self._described(item, metadata)
        writer = place.writer(self._options(item, metadata), size)
        try:
            position = 0
            while True:
                check_length(self.source_uri(item), min(PIECE, size - position), len(data))
                writer.write_owned(data)
                monitor(position, data, len(data))
                position += len(data)
                if told is not None:
                    crc = crc32c(data, crc)
                if position == size:
                    break
                data, _ = self._piece(item, position, same)
            if told is not None:
                check_crc(self.source_uri(item), told, crc)
            if file is not None:
                file.check(item.key)
            check_length(place.uri, size, writer.close().size)
        except BaseException:
            writer.abort()
            raise
        return size, self._how.file_time(item, metadata)

    def _piece(self, item: Item, position: int, same: Conditions) -> tuple[memoryview, ObjectMetadata]:
        sink = MemorySink()
        read = self._source.read_call(item.key, sink, offset=position, length=PIECE, conditions=same)
        try:
            metadata = self._source.execute(read)
        except PreconditionFailedError as error:
            raise ObjectChangedError(
                "the object was replaced while it was copied; nothing was stored", uri=self.source_uri(item),
                operation="COPY", hint="copy it again",
            ) from error  # fmt: skip
        return memoryview(sink.view()), metadata

    def _described(self, item: Item, told: ObjectMetadata) -> ObjectMetadata:
        """What is kept with the object, where the target keeps any of it."""
        if self._target.scheme in LOCAL_SCHEMES and not self._how.preserve_mtime:
            return told
        from s3dlio.net.blocking import drive

        found: ObjectMetadata = drive(described(self._source, item.key, told))
        return found

    def _options(self, item: Item, metadata: ObjectMetadata) -> PutOptions:
        """What the source tells of the object goes with it, as far as the target keeps such things."""
        typed = item.name if metadata.content_type is None else ""  # that of an object goes with it
        options = self._how.write_options(original_mtime(item, metadata) if self._how.preserve_mtime else None, typed)
        if self._target.scheme in LOCAL_SCHEMES:
            return self._how.options
        own = options.metadata or {}
        kept = {name: value for name, value in restored(metadata.metadata).items() if name not in own}
        names = (*_FIELDS, "expires") if self._target.scheme == "s3" else _FIELDS
        fields = {name: value for name in names if (value := getattr(metadata, name)) and not getattr(options, name)}
        if (rules := RULES.get(self._target.scheme)) is not None:
            spent = sum(len(text.encode()) for entry in own.items() for text in entry)
            kept, dropped = fitted(kept, rules, spent)
            dropped += [name for name, value in fields.items() if not fits_header(value)]
            if dropped:
                log.warning("%s: %s cannot keep these metadata, which are left out: %s",
                            redact(self.source_uri(item)), self._target.scheme, redact(", ".join(dropped)))  # fmt: skip
            fields = {name: value for name, value in fields.items() if name not in dropped}
        return replace(options, **fields, metadata={**kept, **own} or None)


class _Place(NamedTuple):
    """Where one object is written: a key of a store, or a file in an open directory."""

    store: ObjectStore
    key: str
    beneath: int | None

    @property
    def uri(self) -> str:
        return self.store.uri(self.key)

    def put(self, data: memoryview, options: PutOptions) -> PutResult:
        if self.beneath is None:
            return self.store.put(self.key, data, options=options)
        assert isinstance(self.store, LocalStore)
        return self.store.write_beneath(self.beneath, self.key, MemorySource(data), options)

    def writer(self, options: PutOptions, size: int) -> StoreWriter:
        if self.beneath is None:
            return self.store.writer(self.key, options=options, expected_size=size)
        assert isinstance(self.store, LocalStore)
        return self.store.writer_beneath(self.beneath, self.key, options)


class _OnThread:
    """Stands for a relay's store where a batch asks how to run the task: on a thread, whatever its stores are."""

    is_cloud = False
    waits = True
    observers = ()
    journal = None
    watched = False

    def __init__(self, store: ObjectStore) -> None:
        self.uri = store.uri
