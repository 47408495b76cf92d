"""What worker processes do for batches of one verb; the parent's halves are in :mod:`s3dlio.transfer.process_work`."""

from __future__ import annotations

from typing import Any

from s3dlio.engine.process_job import Job, Note, ResultMemory, SharedSink
from s3dlio.engine.session import Session
from s3dlio.memory.sinks import DiscardSink
from s3dlio.memory.sources import MemorySource
from s3dlio.stores.call import Call
from s3dlio.transfer.generated_sources import GeneratedObjects
from s3dlio.types import PutOptions


class GetJob(Job):
    """Reads objects into shared memory."""

    def call(self, item: str) -> tuple[Call[Any], SharedSink]:
        store, key = self.session.store_for(item)
        sink = SharedSink(self.results)
        return store.read_call(key, sink), sink

    def result(self, context: SharedSink, result: Any) -> tuple[int, int, int]:
        return self.results.show(context)


class StatsJob(Job):
    """Reads objects, or a stretch of each, and drops their bytes."""

    def call(self, item: str) -> tuple[Call[Any], DiscardSink]:
        store, key = self.session.store_for(item)
        sink = DiscardSink()
        return store.read_call(key, sink), sink

    def result(self, context: DiscardSink, result: Any) -> int:
        return context.size or 0


class PutJob(Job):
    """Writes payloads that lie in shared memory."""

    def call(self, item: tuple[str, memoryview]) -> tuple[Call[Any], None]:
        uri, payload = item
        store, key = self.session.store_for(uri)
        return store.write_call(key, MemorySource(payload)), None

    def result(self, context: None, result: Any) -> None:
        return None


class GenerateJob(Job):
    """Writes generated objects. Arguments are those of :class:`GeneratedObjects`, and the options of the writes."""

    def __init__(
        self, session: Session, results: ResultMemory, note: Note, object_type: str, size: int, dedup: int,
        compress: int, data: dict[str, Any], options: PutOptions,
    ) -> None:  # fmt: skip
        super().__init__(session, results, note)
        self._objects = GeneratedObjects(object_type, size, dedup, compress, **data)
        self._options = options

    def call(self, item: tuple[str, int]) -> tuple[Call[Any], None]:
        uri, index = item
        store, key = self.session.store_for(uri)
        call = store.write_call(key, self._objects.source(index), options=self._options)
        call.held = self._objects.held
        return call, None

    def result(self, context: None, result: Any) -> None:
        return None
