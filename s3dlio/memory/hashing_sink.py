"""A sink that also computes the CRC32C of what passes through it, in whatever order its stretches arrive."""

from __future__ import annotations

from s3dlio.memory import crc32c
from s3dlio.memory.hashed import HashedSink, crc32c_parallel
from s3dlio.memory.pipe import Pipe
from s3dlio.memory.sinks import Place, Sink


class HashingSink(Sink):
    """Hands everything on to another sink, and knows the CRC32C of the whole in the end.

    A body that lands in memory is hashed there when it is complete, in one pass; one that streams by is hashed
    stretch by stretch, and the stretches are combined.

    Args:
        inner: where the bytes go.
    """

    __slots__ = ("_inner", "_stretches", "enabled", "in_memory")

    def __init__(self, inner: Sink) -> None:
        super().__init__()
        self._inner = inner
        self.in_memory = inner.in_memory
        #: Switched off when it turns out that there is nothing to compare with.
        self.enabled = True
        self._stretches: dict[int, list[int]] = {}  # start -> [CRC32C, length]

    @property
    def restartable(self) -> bool:  # type: ignore[override]
        return self._inner.restartable

    @property
    def splices(self) -> bool:  # type: ignore[override]
        return not self.enabled and self._inner.splices

    def splice(self, pipe: Pipe, count: int, position: int) -> None:
        self._inner.splice(pipe, count, position)

    def begin(self, size: int | None) -> None:
        self._inner.begin(size)
        self._stretches.clear()  # a read that starts over
        self.size = size
        self.first_byte_ns = self._inner.first_byte_ns

    def at(self, start: int, length: int | None) -> Place:
        place = self._inner.at(start, length)
        if isinstance(place, memoryview) or not self.enabled:
            return place
        stretch = self._stretches[start] = [0, 0]
        write = place

        def write_and_hash(data: memoryview) -> None:
            write(data)
            stretch[0] = crc32c.crc32c(data, stretch[0])
            stretch[1] += len(data)

        return write_and_hash

    def whole(self, data: memoryview) -> None:
        self._inner.whole(data)
        if self.enabled and self._inner.contents() is None:
            self._stretches[0] = [crc32c.crc32c(data), len(data)]

    def stage(self, length: int) -> memoryview:
        return self._inner.stage(length)

    def stage_now(self, length: int) -> memoryview:
        return self._inner.stage_now(length)

    def end(self, size: int) -> None:
        self._inner.end(size)
        self.size = size

    def contents(self) -> memoryview | None:
        return self._inner.contents()

    def crc32c(self) -> int:
        """The CRC32C of the whole body."""
        if isinstance(self._inner, HashedSink):
            return self._inner.crc32c()
        contents = self._inner.contents()
        if contents is not None:
            return crc32c_parallel(contents)
        crc = 0
        for _, (part, length) in sorted(self._stretches.items()):
            crc = crc32c.combine(crc, part, length)
        return crc
