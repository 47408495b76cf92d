"""Memory and sources in the shape of files, which is what the SDKs of the clouds read from and write to."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from typing import Any

from s3dlio.errors import S3dlioError
from s3dlio.memory.sources import Source


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
        self._position = _target(self._position, len(self._place), offset, whence)
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
        #: Why it could not be read.
        self.failure: S3dlioError | None = None

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._position = _target(self._position, self._source.size, offset, whence)
        return self._position

    def tell(self) -> int:
        return self._position

    def read(self, size: int | None = -1) -> bytes:
        left = self._source.size - self._position
        try:
            data = bytes(self._source.read(self._position, left if size is None or size < 0 else min(size, left)))
        except S3dlioError as error:
            self.failure = error
            raise
        self._position += len(data)
        return data


@contextlib.contextmanager
def file_over(source: Source) -> Iterator[SourceFile]:
    """A file for the time of a write by an SDK. Why it could not be read is raised, whatever the SDK makes of that."""
    file = SourceFile(source)
    try:
        yield file
    except Exception as error:
        if file.failure is None or file.failure is error:
            raise
        raise file.failure from error


def _target(position: int, size: int, offset: int, whence: int) -> int:
    return offset + (0, position, size)[whence]
