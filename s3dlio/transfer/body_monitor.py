"""Bodies that are monitored while they pass: bytes are counted, and their CRC32C is computed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import TypeVar

from s3dlio.memory.crc32c import combine, crc32c
from s3dlio.memory.pipe import Pipe
from s3dlio.memory.sinks import Place, Sink
from s3dlio.memory.sources import FileSource, Source
from s3dlio.memory.waiting import Waiting
from s3dlio.net.message import Pause, Request
from s3dlio.net.response import Response
from s3dlio.stores.call import Steps

T = TypeVar("T")

#: Called for every stretch of a body that passes: where it starts, the bytes, and how many of them pass for the first
#: time (a store may read a part once for its checksum and once to send it, and again after a failure).
OnBytes = Callable[[int, memoryview, int], None]


class BodyMonitor:
    """Watches one body: counts for the progress, checksums for the verification. Used by one thread at a time.

    Stretches may come in any order and several at a time (ranges, parts); each that follows another continues it, so
    there are as many checksums as there are streams.

    Args:
        meter: is called with the number of bytes of each stretch that passes.
        checksum: compute the CRC32C.
        passing: bytes are done when they pass; otherwise somebody calls ``count``.
    """

    def __init__(self, meter: Callable[[int], None] | None, checksum: bool, *, passing: bool = True) -> None:
        self._meter = meter
        self._passing = passing
        self._checksum = checksum
        self._streams: dict[int, tuple[int, int]] = {}  # end of a stretch -> its start, its CRC32C
        self.metered = 0

    def count(self, size: int) -> None:
        """So many bytes are done."""
        if self._meter is not None:
            self.metered += size
            self._meter(size)

    @property
    def idle(self) -> bool:
        """Nobody wants to know: the body need not be monitored."""
        return not (self._meter and self._passing) and not self._checksum

    @property
    def counts_only(self) -> bool:
        """The bytes themselves are of no use to it."""
        return not self._checksum

    def __call__(self, start: int, data: memoryview, fresh: int) -> None:
        end = start + len(data)
        if self._checksum and end > start:
            begin, crc = self._streams.pop(start, (start, 0))
            if end not in self._streams or begin <= self._streams[end][0]:  # the longer of two that end here stays
                self._streams[end] = (begin, crc32c(data, crc))
        if self._passing and fresh:
            self.count(fresh)

    def crc(self, size: int) -> int | None:
        """The CRC32C of all ``size`` bytes; None where a retry has left the stretches in overlapping pieces."""
        crc, position = 0, 0
        for begin, end, value in sorted((begin, end, value) for end, (begin, value) in self._streams.items()):
            if begin == position:
                crc = combine(crc, value, end - begin)
                position = end
            elif end > position:
                return None
        return crc if position == size else None

    def resume(self, begin: int, end: int, crc: int) -> None:
        """An earlier run has brought the bytes from ``begin`` to ``end``."""
        self._streams[end] = (begin, crc)
        self.count(end - begin)

    def restart(self) -> None:
        """What has passed does not count any more."""
        self._streams.clear()

    def stretches(self) -> list[tuple[int, int, int]]:
        """What has passed: where each stretch begins and ends, and its CRC32C. Any thread may ask."""
        return sorted((begin, end, crc) for end, (begin, crc) in list(self._streams.items()))

    def gaps(self, size: int) -> list[tuple[int, int]]:
        """What of ``size`` bytes has not passed, in order."""
        found, position = [], 0
        for begin, end, _ in self.stretches():
            if begin > position:
                found.append((position, begin))
            position = max(position, end)
        return [*found, (position, size)] if position < size else found

    def shifted(self, offset: int) -> OnBytes:
        """Watches a part of the body that begins at ``offset``."""
        return lambda start, data, fresh: self(offset + start, data, fresh)


#: What an operation asks for besides requests.
_NO_REQUESTS = (Pause, Waiting)


def acknowledged(steps: Steps[T], meter: Callable[[int], None]) -> Steps[T]:
    """The same steps of a write; ``meter`` is called with the bytes of a file in each request that was answered well.
    What was only sent may still be in a buffer of the kernel, or get lost."""
    try:
        wanted = next(steps)
        while True:
            one = type(wanted) is Request
            try:
                answer = yield wanted if one or type(wanted) in _NO_REQUESTS else _metered(wanted, meter)
            except BaseException as error:
                wanted = steps.throw(error)
            else:
                if one and answer.status < 300 and (size := _size_of(wanted)):
                    meter(size)
                wanted = steps.send(answer)
    except StopIteration as stop:
        result: T = stop.value
        return result


def _metered(requests: Iterable[Request], meter: Callable[[int], None]) -> Iterator[Request]:
    """Requests of a concurrent set, whose answers are checked one by one as they come."""
    for request in requests:
        if type(request) is Request and (size := _size_of(request)):
            request.check = partial(_checked, request.check, size, meter)
        yield request


def _checked(
    check: Callable[[Response], None] | None, size: int, meter: Callable[[int], None], response: Response
) -> None:
    if check is not None:
        check(response)
    meter(size)


def _size_of(request: Request) -> int:
    body = request.body
    return body.size if isinstance(body, FileSource | MonitoredSource) else 0


class MonitoredSink(Sink):
    """A sink whose bytes are monitored as they go to another one.

    Bytes that arrive in the order of the body go through a function, so they are seen; a sink that gives out memory
    to receive into is not to be wrapped.
    """

    __slots__ = ("_inner", "_watch")

    def __init__(self, inner: Sink, watch: OnBytes) -> None:
        super().__init__()
        self._inner = inner
        self._watch = watch

    def begin(self, size: int | None) -> None:
        super().begin(size)
        self._inner.begin(size)

    @property
    def splices(self) -> bool:  # type: ignore[override]
        watch = self._watch
        return isinstance(watch, BodyMonitor) and watch.counts_only and self._inner.splices

    def splice(self, pipe: Pipe, count: int, position: int) -> None:
        self._inner.splice(pipe, count, position)
        assert isinstance(self._watch, BodyMonitor)
        self._watch.count(count)

    def at(self, start: int, length: int | None) -> Place:
        write = self._inner.at(start, length)
        assert not isinstance(write, memoryview)
        watch, position = self._watch, start

        def monitored(data: memoryview) -> None:
            nonlocal position
            write(data)
            watch(position, data, len(data))
            position += len(data)

        return monitored

    def stage(self, length: int) -> memoryview:
        return self._inner.stage(length)

    def stage_now(self, length: int) -> memoryview:
        return self._inner.stage_now(length)

    def end(self, size: int) -> None:
        self.size = size
        self._inner.end(size)


class MonitoredSource(Source):
    """A source whose bytes are monitored as they are read."""

    __slots__ = ("_inner", "_offset", "_seen", "_watch")

    def __init__(self, inner: Source, watch: OnBytes, offset: int = 0) -> None:
        self._inner = inner
        self._watch = watch
        self._offset = offset
        self._seen = 0
        self.size = inner.size

    @property
    def waits(self) -> bool:  # type: ignore[override]
        return self._inner.waits

    def read(self, start: int, length: int) -> memoryview:
        return self._watched(start, self._inner.read(start, length))

    def read_now(self, start: int, length: int) -> memoryview:
        return self._watched(start, self._inner.read_now(start, length))

    def _watched(self, start: int, data: memoryview) -> memoryview:
        end = start + len(data)
        self._watch(self._offset + start, data, max(0, end - max(start, self._seen)))
        self._seen = max(self._seen, end)
        return data

    def part(self, start: int, length: int) -> Source:
        return MonitoredSource(self._inner.part(start, length), self._watch, self._offset + start)
