"""What worker processes do for batches of one verb; the parent's halves are in :mod:`s3dlio.transfer.process_work`."""

from __future__ import annotations

from typing import Any

from s3dlio.engine.process_job import Job, SharedSink
from s3dlio.memory.sinks import DiscardSink
from s3dlio.memory.sources import MemorySource
from s3dlio.stores.call import Call


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
