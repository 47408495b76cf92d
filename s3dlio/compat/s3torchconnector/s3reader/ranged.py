"""The reader of ranges: what is asked for is requested, and nothing else but what fills its buffer."""

from __future__ import annotations

from typing import Any

from s3dlio.compat.s3torchconnector.s3reader.s3reader import PositionedReader, size_of_read, writable_view
from s3dlio.compat.s3torchconnector.source import fill

DEFAULT_BUFFER_SIZE = 8 << 20


class RangedS3Reader(PositionedReader):
    """Reads ranges of an object, each by one request: for a few parts of large objects.

    Reads of fewer bytes than the buffer has fill it, from where they begin; others go straight to their place.

    Args:
        bucket, key, get_object_info, get_stream: see :class:`PositionedReader`.
        buffer_size: bytes; None: 8 MiB; 0: no buffer.
    """

    def __init__(
        self, bucket: str, key: str, get_object_info: Any, get_stream: Any, buffer_size: int | None = None
    ) -> None:
        super().__init__(bucket, key, get_object_info, get_stream)
        self._buffer_size = DEFAULT_BUFFER_SIZE if buffer_size is None else max(0, buffer_size)
        self._buffer = memoryview(b"")
        self._buffer_start = 0

    def read(self, size: int | None = None) -> bytes:
        self._check_open()
        wanted = size_of_read(size)
        if self._position == self._size or wanted == 0:
            return b""
        end = self._get_size() if wanted is None else self._within(self._position + wanted)
        data = bytearray(max(0, end - self._position))
        return bytes(memoryview(data)[: self._read_into(memoryview(data))])

    def readinto(self, buf: object) -> int:
        self._check_open()
        view = writable_view(buf)
        if self._position == self._size or not view:
            return 0
        return self._read_into(view[: max(0, self._within(self._position + len(view)) - self._position)])

    def close(self) -> None:
        """Let go of the buffer."""
        self._buffer = memoryview(b"")
        super().close()

    def _within(self, offset: int) -> int:
        return min(offset, self._get_size())

    def _read_into(self, view: memoryview) -> int:
        done = self._from_buffer(view)
        if rest := view[done:]:
            start = self._position + done
            if len(rest) >= self._buffer_size:
                done += fill(self._get_stream, start, rest)
            else:
                self._fill_buffer(start)
                done += self._from_buffer(rest, done)
        self._position += done
        return done

    def _from_buffer(self, view: memoryview, ahead: int = 0) -> int:
        """Copy what is in the buffer of the bytes ``ahead`` of the position; how many these were."""
        at = self._position + ahead - self._buffer_start
        piece = self._buffer[at : at + len(view)] if at >= 0 else self._buffer[:0]
        view[: len(piece)] = piece
        return len(piece)

    def _fill_buffer(self, start: int) -> None:
        place = memoryview(bytearray(min(self._buffer_size, self._get_size() - start)))
        self._buffer = place[: fill(self._get_stream, start, place)]
        self._buffer_start = start

    def _made_by(self) -> tuple[Any, ...]:
        return (*super()._made_by(), self._buffer_size)
