"""The last bytes of an object by one request: a range that counts from the end (RFC 9110, 14.1.2)."""

from __future__ import annotations

from collections.abc import Sequence

from s3dlio.errors import ProtocolError
from s3dlio.memory.sinks import Place, Sink
from s3dlio.net.message import Request
from s3dlio.net.response import Response
from s3dlio.stores.cloud.reading import CONTENT_RANGE, Read
from s3dlio.stores.cloud.service import CloudService
from s3dlio.types import Conditions


class LastBytes(Sink):
    """Hands the last ``count`` bytes of a body on to another sink, and drops what comes before them as it streams by.

    Args:
        inner: where they go.
        count: how many, where the body has as many.
    """

    __slots__ = ("_count", "_inner", "_kept", "_skip")

    def __init__(self, inner: Sink, count: int) -> None:
        super().__init__()
        self._inner = inner
        self._count = count
        self._skip = 0
        self._kept: bytearray | None = None  # of a body whose size is not known: the last bytes that have come

    def begin(self, size: int | None) -> None:
        super().begin(size)
        self._kept = bytearray() if size is None else None
        if size is not None:
            self._skip = max(0, size - self._count)
            self._inner.begin(size - self._skip)
        self._inner.first_byte_ns = self.first_byte_ns

    def at(self, start: int, length: int | None) -> Place:
        if self._kept is not None:
            return self._keep
        if not self._skip:
            return self._inner.at(start, length)
        position = start

        def write(data: memoryview) -> None:
            nonlocal position
            wanted = data[max(0, self._skip - position) :]
            position += len(data)
            if wanted:
                place = self._inner.at(position - len(wanted) - self._skip, len(wanted))
                if isinstance(place, memoryview):
                    place[:] = wanted
                else:
                    place(wanted)

        return write

    def _keep(self, data: memoryview) -> None:
        assert self._kept is not None
        self._kept += data[-self._count :]
        if len(self._kept) > 2 * self._count:
            del self._kept[: -self._count]

    def stage(self, length: int) -> memoryview:
        return self._inner.stage(length)

    def stage_now(self, length: int) -> memoryview:
        return self._inner.stage_now(length)

    def end(self, size: int) -> None:
        self.size = size
        if self._kept is not None:
            self._inner.take(bytes(self._kept[-self._count :]))
        else:
            self._inner.end(size - self._skip)


class TailRead(Read):
    """The read of the last ``count`` bytes of an object, all of it where it has fewer.

    Where the service ignores the range and sends the whole object, what comes before them is dropped.
    """

    __slots__ = ("_count",)

    def __init__(self, service: CloudService, key: str, sink: Sink, count: int, conditions: Conditions) -> None:
        super().__init__(service, key, LastBytes(sink, count), 0, None, conditions)
        self._count = count
        self._ranged = True

    def _range(self) -> str:
        return f"bytes=-{self._count}"

    def _on_head(self, response: Response, length: int | None) -> tuple[int | None, Sequence[Request]]:
        if response.status == 206:
            told = CONTENT_RANGE.match(response.header(b"content-range") or "")
            if told is not None:  # without one it is refused below
                self._offset = int(told[1])
                if int(told[2]) + 1 - self._offset > self._count:
                    raise ProtocolError("the server sent more than the range that was asked for")
                size = int(told[3]) if told[3] != "*" else int(told[2]) + 1
                if self._offset > max(0, size - self._count):
                    raise ProtocolError("the server sent less than the range that was asked for")
        return super()._on_head(response, length)

    def _on_whole(self, response: Response, length: int | None) -> tuple[int | None, Sequence[Request]]:
        self._first, self._whole = response, length
        self._sink.begin(length)
        self.unmeasured = length is None and response.header(b"transfer-encoding") is None
        return None, ()
