"""Memory and sources in the shape of files, which is what the SDKs of the clouds read from and write to."""

from __future__ import annotations

import io
from typing import Any

from s3dlio.memory.body import Source


class MemoryFile(io.RawIOBase):
    """A file to write, over memory that is there already; parts may come in any order."""

    def __init__(self, place: memoryview) -> None:
        self._place = place
        self._position = 0

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._position = _moved(self._position, len(self._place), offset, whence)
        return self._position

    def tell(self) -> int:
        return self._position

    def write(self, data: Any) -> int:
        end = self._position + len(data)
        self._place[self._position : end] = data
        self._position = end
        return len(data)


class SourceFile(io.RawIOBase):
    """A file to read, over a source."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._position = _moved(self._position, self._source.size, offset, whence)
        return self._position

    def tell(self) -> int:
        return self._position

    def read(self, size: int | None = -1) -> bytes:
        left = self._source.size - self._position
        data = bytes(self._source.read(self._position, left if size is None or size < 0 else min(size, left)))
        self._position += len(data)
        return data


def _moved(position: int, size: int, offset: int, whence: int) -> int:
    return offset + (0, position, size)[whence]
