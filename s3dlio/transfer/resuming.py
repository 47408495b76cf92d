"""Large objects that resume where an earlier run of the transfer stopped: what the journal keeps of each, and how that
is checked before it is believed.

A download keeps its unfinished file, and the journal the ranges of it that have arrived, each with its CRC32C: what the
file has lost in a crash is fetched again. An upload keeps what its service calls it; the service tells which parts it
has, and the store compares them with the file.
"""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

from s3dlio.engine.executor import BaseExecutor
from s3dlio.engine.write_behind import BehindSink
from s3dlio.errors import PreconditionFailedError
from s3dlio.memory.sinks import FileSink
from s3dlio.stores.base import ObjectStore
from s3dlio.stores.call import Steps
from s3dlio.stores.writer import UploadState
from s3dlio.transfer.body_monitor import BodyMonitor, MonitoredSink
from s3dlio.transfer.source_file import crc_aside
from s3dlio.transfer.task import perform
from s3dlio.transfer.verify import check_crc, check_length
from s3dlio.types import Conditions, ObjectMetadata, PutOptions

if TYPE_CHECKING:
    from s3dlio.stores.local.atomic import Replacement
    from s3dlio.transfer.journal import ItemStates, State
    from s3dlio.transfer.plan import Item

log = logging.getLogger("s3dlio.transfer")

#: Objects of fewer bytes start over: that takes no longer than to find out how far they were.
RESUMABLE = 16 << 20


def upload_state(
    journal: ItemStates | None, item: Item, about: os.stat_result, options: PutOptions
) -> UploadState | None:
    """How far the upload of a file is; None where it starts over after an interruption.

    Args:
        journal: of the transfer.
        item: the file as it was selected.
        about: what it is now.
        options: of the write. A write with others is another one.
    """
    if journal is None or about.st_size < RESUMABLE or (about.st_size, about.st_mtime_ns) != (item.size, item.mtime_ns):
        return None
    import hashlib

    asked = hashlib.blake2b(repr(options).encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
    found = journal.unfinished(item)
    before = found.state if found is not None else {}
    same = found is not None and found.stamp == item.stamp and before.get("options") == asked

    def save(state: State) -> None:
        journal.save(item, {**state, "options": asked} if state else {})

    return UploadState(before if same else {}, {} if same else before, save)


class ResumableDownload:
    """One large object on its way into a file.

    Args:
        journal: of the transfer.
        item: the object as it was listed; its ETag pins all requests.
        executor: its threads read back what is there.
    """

    def __init__(self, journal: ItemStates, item: Item, executor: BaseExecutor | None = None) -> None:
        self._journal = journal
        self._executor = executor
        self._item = item
        found = journal.unfinished(item)
        state = found.state if found is not None else {}
        #: The unfinished file of the run before.
        self.earlier: str | None = partial if isinstance(partial := state.get("partial"), str) else None
        same = found is not None and found.stamp == item.stamp
        self._ranges = [_range_of(entry) for entry in state.get("ranges", ())] if same else []

    @classmethod
    def of(
        cls, journal: ItemStates | None, item: Item, executor: BaseExecutor | None = None
    ) -> ResumableDownload | None:
        """None where ``item`` starts over after an interruption."""
        if journal is None or item.etag is None or item.size < RESUMABLE:
            return None
        return cls(journal, item, executor)

    def read(
        self, store: ObjectStore, new: Replacement, sink: BehindSink, monitor: BodyMonitor
    ) -> Steps[ObjectMetadata]:
        """Fetch what ``new`` does not have; what the store tells of the object.

        Args:
            store: where it is.
            new: the file; it is kept if this fails.
            sink: writes all of it.
            monitor: computes checksums; keeps what has arrived.
        """
        for begin, end, crc in self._ranges:
            if _has(new.fd, begin, end) and crc == (
                yield from crc_aside(self._executor, new.fd, end - begin, begin)
            ):
                monitor.resume(begin, end, crc)
        if not monitor.stretches():
            os.ftruncate(new.fd, 0)
        new.keep = True

        def state() -> State:  # what comes anew is of another version than the item names
            return {"partial": new.partial, "ranges": monitor.stretches()} if new.keep else {}

        with self._journal.watching(self._item, state):
            try:
                return (yield from self._missing(store, sink, monitor))
            except GeneratorExit:  # perhaps from a finaliser, which is not to wait
                raise
            except BaseException as error:
                sink.settle()  # all that the journal says of the file is in it
                if not isinstance(error, PreconditionFailedError):
                    raise
                log.info("%s is another object than the one that was listed: it is fetched again", error.uri)
            new.keep = False
            monitor.restart()
            os.ftruncate(new.fd, 0)
            return (yield from perform(store.read_call(self._item.key, MonitoredSink(sink, monitor))))

    def _missing(self, store: ObjectStore, sink: FileSink, monitor: BodyMonitor) -> Steps[ObjectMetadata]:
        key, size, uri = self._item.key, self._item.size, store.uri(self._item.key)
        pinned = Conditions(if_match=self._item.etag)
        gaps = monitor.gaps(size)
        if gaps == [(0, size)]:
            return (yield from perform(store.read_call(key, MonitoredSink(sink, monitor), conditions=pinned)))
        log.info("%s resumes: %d of %d bytes are here", uri, size - sum(end - begin for begin, end in gaps), size)
        for begin, end in gaps:
            rest = FileSink(sink.fd, begin, sink.path)
            read = store.read_call(
                key, MonitoredSink(rest, monitor.shifted(begin)), offset=begin, length=end - begin, conditions=pinned
            )
            yield from perform(read)
            check_length(uri, end - begin, rest.size or 0)
        about = yield from perform(store.head_call(key, conditions=pinned))
        crc = monitor.crc(size)
        if about.crc32c is not None and crc is not None:
            check_crc(uri, about.crc32c, crc)
        return about


def _range_of(entry: object) -> tuple[int, int, int]:
    """A range as the journal has it; an empty one where it has something else."""
    match entry:
        case [int(begin), int(end), int(crc)]:
            return begin, end, crc
    return 0, 0, 0


def _has(fd: int, begin: int, end: int) -> bool:
    return 0 <= begin < end <= os.fstat(fd).st_size
