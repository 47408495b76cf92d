"""Memory and sources in the shape of files, which is what the SDKs of the clouds read from and write to."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from s3dlio.errors import S3dlioError
from s3dlio.memory.positioned_file import PositionedFile
from s3dlio.memory.sources import Source


class MemoryFile(PositionedFile):
    """A file to write, over memory that is there already; parts may come in any order.

    Args:
        place: the memory.
        pace: called with the bytes of every write; may wait.
    """

    def __init__(self, place: memoryview, pace: Callable[[int], None]) -> None:
        super().__init__(len(place))
        self._place = place
        self._pace = pace

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        end = self._position + len(data)
        self._place[self._position : end] = data
        self._pace(len(data))
        self._position = end
        return len(data)


class SourceFile(PositionedFile):
    """A file to read, over a source.

    Args:
        source: the bytes.
        pace: called with the bytes of every read; may wait. An SDK that hashes a body first reads it twice.
    """

    def __init__(self, source: Source, pace: Callable[[int], None]) -> None:
        super().__init__(source.size)
        self._source = source
        self._pace = pace
        #: Why it could not be read.
        self.failure: S3dlioError | None = None

    def readable(self) -> bool:
        return True

    def read(self, size: int | None = -1) -> bytes:
        left = self._source.size - self._position
        try:
            data = bytes(self._source.read(self._position, left if size is None or size < 0 else min(size, left)))
        except S3dlioError as error:
            self.failure = error
            raise
        self._position += len(data)
        self._pace(len(data))
        return data


@contextlib.contextmanager
def file_over(source: Source, pace: Callable[[int], None]) -> Iterator[SourceFile]:
    """A file for the time of a write by an SDK. Why it could not be read is raised, whatever the SDK makes of that."""
    file = SourceFile(source, pace)
    try:
        yield file
    except Exception as error:
        if file.failure is None or file.failure is error:
            raise
        raise file.failure from error

