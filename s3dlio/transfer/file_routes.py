"""Routes that begin or end at a local file, whose descriptor the store reads or writes."""


from __future__ import annotations

import os
from functools import partial

from s3dlio.engine.write_behind import LARGE, BehindSink
from s3dlio.errors import (
    LengthMismatchError,
    LocalIOError,
    ObjectChangedError,
)
from s3dlio.memory.sinks import Sink
from s3dlio.memory.sources import FileSource
from s3dlio.stores.base import ObjectStore
from s3dlio.stores.call import Call, Steps
from s3dlio.stores.local.file import FileStore, advise_after, advise_before
from s3dlio.transfer.body_monitor import BodyMonitor, MonitoredSink, MonitoredSource, acknowledged
from s3dlio.transfer.destination_directory import DestinationDirectory, NewFile
from s3dlio.transfer.file_times import set_time
from s3dlio.transfer.plan import Item
from s3dlio.transfer.resuming import ResumableDownload, upload_state
from s3dlio.transfer.route import BetweenStores, Route, RouteOptions, Transferred
from s3dlio.transfer.source_file import FileVersion, close_file, crc_aside, open_file
from s3dlio.transfer.task import Task, beside, opened, perform, written
from s3dlio.transfer.verify import check_crc, check_length, checksum_of, described
from s3dlio.uri import LOCAL_SCHEMES


class FileToStore(BetweenStores):
    """A local file into any store; arguments are those of :class:`BetweenStores`."""

    def __init__(self, source: FileStore, target: ObjectStore, prefix: str, how: RouteOptions) -> None:
        super().__init__(source, target, prefix, how)
        self._page_cache = source.settings.page_cache

    def task(self, item: Item) -> Call[Transferred]:
        key = self._prefix + item.name
        self._target.check_key(key, "PUT")
        return Task(self._target, "PUT", key, lambda: self._send(item, key), size=item.size)

    def _send(self, item: Item, key: str) -> Steps[Transferred]:
        how, store = self._how, self._target
        open_it = partial(open_file, item.key)
        aside = partial(beside, open_it, close_file) if store.is_cloud and item.size > LARGE else None
        descriptor, about = yield from opened(open_it, on_lane=store.is_cloud, aside=aside)
        try:
            size = about.st_size
            advise_before(descriptor, self._page_cache, size)
            plain = FileSource(descriptor, 0, size, about)
            by_answers = store.is_cloud and how.meter is not None  # bytes count when the service has them
            monitor = BodyMonitor(how.meter, how.verify, passing=not by_answers)
            source = plain if monitor.idle else MonitoredSource(plain, monitor)
            options = how.write_options(about.st_mtime_ns, item.name)
            resume = upload_state(how.journal, item, about, options)
            write = perform(store.write_call(key, source, options=options, resume=resume))
            try:
                result = yield from (acknowledged(write, monitor.count) if by_answers else write)
            except (LengthMismatchError, ObjectChangedError, LocalIOError) as error:
                error.uri = self.source_uri(item)
                raise
            check_length(store.uri(key), size, result.size)
            if how.verify:
                crc = monitor.crc(size)
                executor = how.executor if store.is_cloud else None
                expected = crc if crc is not None else (yield from crc_aside(executor, descriptor, size))
                check_crc(store.uri(key), expected, (yield from checksum_of(store, key, size)))
            return Transferred(size, monitor.metered)
        finally:
            advise_after(descriptor, self._page_cache, 0, about.st_size)
            os.close(descriptor)


class StoreToFile(Route):
    """An object into a file of the destination directory.

    Args:
        store: the source.
        directory: the destination.
        how: see :class:`RouteOptions`.
    """

    def __init__(self, store: ObjectStore, directory: DestinationDirectory, how: RouteOptions) -> None:
        self._store = store
        self._directory = directory
        self._how = how

    def source_uri(self, item: Item) -> str:
        return self._store.uri(item.key)

    def target_uri(self, item: Item) -> str:
        return "file://" + self._directory.path(item.name)

    def admit(self, item: Item) -> Item:
        if self._directory.ignores_case:  # two names of one file may be at two processes
            self._directory.claim(item.name, self._store.uri(item.key))
        return item

    def holds(self, item: Item) -> bool:
        return self._directory.size(item.name) == item.size

    def task(self, item: Item) -> Call[Transferred]:
        return Task(self._store, "GET", item.key, lambda: self._fetch(item), load=item.size)

    def _fetch(self, item: Item) -> Steps[Transferred]:
        how, store, uri = self._how, self._store, self._store.uri(item.key)
        segments = self._directory.claim(item.name, uri)
        is_local, on_lane = store.scheme in LOCAL_SCHEMES, store.is_cloud
        before = FileVersion.at(item.key) if is_local else None
        resumable = None if is_local else ResumableDownload.of(how.journal, item, how.executor if on_lane else None)
        file = NewFile(
            self._directory, segments, uri, durable=how.options.durable,
            earlier=resumable.earlier if resumable is not None else None, create_only=how.no_clobber,
        )  # fmt: skip
        behind = self._directory.behind
        # What a disk may keep waiting; handing that over takes as long as a small file does.
        aside = on_lane and (item.size > LARGE or how.options.durable or behind.slow)
        opening = (lambda: beside(file.opening(item.size), file.give_up)) if aside else None
        new = yield from opened(file.open, on_lane=on_lane, aside=opening)
        with file, behind.sink(new.fd, self._directory.path(item.name), item.size if aside else 0) as plain:
            # A local store that sees the bare file copies within the kernel; so fast that nobody needs to watch.
            monitor = BodyMonitor(None if is_local else how.meter, how.verify or resumable is not None)
            if resumable is not None:
                metadata = yield from resumable.read(store, new, plain, monitor)
                size = metadata.size
            else:
                sink: Sink = plain if monitor.idle else MonitoredSink(plain, monitor)
                metadata = yield from perform(store.read_call(item.key, sink))
                size = sink.size or 0
                if size != item.size:  # what was listed; only where it has changed is the answer's head parsed
                    check_length(uri, metadata.size, size)
            yield from written(plain, on_lane=on_lane)
            new.size = size
            if before is not None:
                before.check(item.key)
            if how.verify:
                crc = monitor.crc(size)
                executor = None if is_local else how.executor
                passed = crc if crc is not None else (yield from crc_aside(executor, new.fd, size))
                check_crc(uri, (yield from checksum_of(store, item.key, size, metadata.crc32c)), passed)
            if how.preserve_mtime:
                metadata = yield from described(store, item.key, metadata)
            mtime = how.file_time(item, metadata)
            if aside:
                yield from beside(file.ending(partial(_end, plain, mtime, uri)))
            else:
                set_time(new.fd, mtime, uri)
        return Transferred(size, monitor.metered)


def _end(sink: BehindSink, mtime_ns: int | None, uri: str) -> None:
    """What is left to do of a file before it gets its name."""
    set_time(sink.fd, mtime_ns, uri)
    sink.close()
