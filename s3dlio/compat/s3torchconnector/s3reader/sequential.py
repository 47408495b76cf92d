"""The reader for all uses: an object that is read as a whole, or from one end to the other, or here and there."""

from __future__ import annotations

import io
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator

from s3dlio.compat.s3torchconnector.s3reader.s3reader import PositionedReader, size_of_read, writable_view
from s3dlio.compat.s3torchconnector.source import ObjectSource
from s3dlio.streams.object_reader import ObjectReader


class SequentialS3Reader(PositionedReader):
    """Reads an object: all of it by one request, which stays in memory, or, if the first read asks for less, as a file
    that is read ahead. The parameters are those of :class:`PositionedReader`."""

    _content: _Content | None = None

    def prefetch(self) -> None:
        """Begin to read the whole object in the background."""
        if self._content is None and isinstance(self._get_stream, ObjectSource) and not self._get_stream.is_coming:
            self._get_stream.start()

    def read(self, size: int | None = None) -> bytes:
        self._check_open()
        wanted = size_of_read(size)
        if self._position == self._size or wanted == 0:
            return b""
        if wanted is None and not self._position and self._content is None:
            content = self._content = self._whole()
        else:
            content = self._open()
        end = content.end() if wanted is None else content.within(self._position + wanted)
        data = content.read(self._position, end)
        self._position += len(data)
        return data

    def readinto(self, buf: object) -> int:
        self._check_open()
        view = writable_view(buf)
        if self._position == self._size or not view:
            return 0
        content = self._open()
        view = view[: content.within(self._position + len(view)) - self._position]
        content.read_into(self._position, view)
        self._position += len(view)
        return len(view)

    def close(self) -> None:
        """Let go of what was read."""
        content, self._content = self._content, None
        if content is not None:
            content.close()
        if isinstance(self._get_stream, ObjectSource):
            self._get_stream.drop()
        super().close()

    def _within(self, offset: int) -> int:
        if not offset or (self._size is not None and offset <= self._size):
            return offset
        return self._open().within(offset)

    def _get_size(self) -> int:
        if self._size is None:
            opened = self._content
            self._size = opened.end() if isinstance(opened, _Memory | _Opened) else self._get_object_info().size
        return self._size

    def _whole(self) -> _Content:
        if isinstance(self._get_stream, ObjectSource):
            return _Memory(self._get_stream.whole())
        return _Spooled(self._get_stream())

    def _open(self) -> _Content:
        if self._content is None:
            source = self._get_stream
            if not isinstance(source, ObjectSource) or source.is_coming:
                self._content = self._whole()
            else:
                self._content = _Opened(source.open())
        return self._content


class _Content(ABC):
    """The bytes of an object, at any position."""

    @abstractmethod
    def within(self, offset: int) -> int:
        """``offset``, or the size if that is less."""

    @abstractmethod
    def end(self) -> int:
        """The size."""

    @abstractmethod
    def read_into(self, start: int, view: memoryview) -> None:
        """Fill ``view`` with the bytes from ``start`` on, which are there."""

    def read(self, start: int, end: int) -> bytes:
        """The bytes from ``start`` to ``end``, which are there."""
        data = bytearray(max(0, end - start))
        self.read_into(start, memoryview(data))
        return bytes(data)

    @abstractmethod
    def close(self) -> None: ...


class _Memory(_Content):
    """All bytes, in memory."""

    def __init__(self, data: object) -> None:
        self._data = memoryview(data)  # type: ignore[arg-type]

    def within(self, offset: int) -> int:
        return min(offset, len(self._data))

    def end(self) -> int:
        return len(self._data)

    def read_into(self, start: int, view: memoryview) -> None:
        view[:] = self._data[start : start + len(view)]

    def read(self, start: int, end: int) -> bytes:
        return bytes(self._data[start:end])

    def close(self) -> None:
        self._data = memoryview(b"")


class _Opened(_Content):
    """An object of a store, opened."""

    def __init__(self, opened: ObjectReader) -> None:
        self._opened = opened
        self._size = opened.seek(0, os.SEEK_END)

    def within(self, offset: int) -> int:
        return min(offset, self._size)

    def end(self) -> int:
        return self._size

    def read_into(self, start: int, view: memoryview) -> None:
        self._opened.seek(start)
        self._opened.readinto(view)

    def close(self) -> None:
        self._opened.close()


class _Spooled(_Content):
    """The chunks of a stream, kept as they come."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = iter(chunks)
        self._kept = io.BytesIO()

    def within(self, offset: int) -> int:
        size = self._kept.seek(0, os.SEEK_END)
        while size < offset and (chunk := next(self._chunks, None)) is not None:
            size += self._kept.write(chunk)
        return min(offset, size)

    def end(self) -> int:
        self._kept.seek(0, os.SEEK_END)
        for chunk in self._chunks:
            self._kept.write(chunk)
        return self._kept.tell()

    def read_into(self, start: int, view: memoryview) -> None:
        self._kept.seek(start)
        self._kept.readinto(view)

    def close(self) -> None:
        self._kept = io.BytesIO()
        self._chunks = iter(())
