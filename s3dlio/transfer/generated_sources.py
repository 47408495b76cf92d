"""Generated objects as sources of writes: the head made already, the rest made where it is read.

Any piece of any object can be made again, so a retry sends the same bytes without anybody having kept them.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from s3dlio.datagen.checks import fits_in_memory
from s3dlio.datagen.source import DataSource
from s3dlio.formats.objects import ObjectSource, ObjectStream, ObjectType
from s3dlio.memory.pool import SMALL, default_pool
from s3dlio.memory.sources import Source

#: With the default chunk size a head is 1 MiB: as much as goes to a socket at once.
HEAD_CHUNKS = 4

#: Writes the bytes of one object, from an offset on, into a buffer: as many as it holds.
Fill = Callable[[int, memoryview], None]


class GeneratedObjects:
    """Any number of generated objects of one kind, each as a source whose head is made when it is asked for.

    Args:
        object_type, size, dedup, compress, **options: as of :class:`s3dlio.formats.objects.ObjectConfig`. In streaming
            mode objects are made in chunks, and a head is ``HEAD_CHUNKS`` of them; else it is the whole object.

    Raises:
        ConfigError: an argument is unknown or out of range, or a head is more than the memory of this machine.
    """

    def __init__(self, object_type: str, size: int, dedup: int, compress: int, **options: Any) -> None:
        self._formatted = ObjectSource(object_type, size, dedup, compress, **options)
        config = self._formatted.config
        self.size = self._formatted.size
        self._raw: DataSource | None = None
        if config.object_type is ObjectType.RAW:
            self._raw = DataSource(self.size, dedup, compress, algorithm=config.algorithm, seed=config.seed)
        self.chunk = config.chunk_size if config.mode == "streaming" else max(1, self.size)
        self.head_size = min(self.size, HEAD_CHUNKS * self.chunk)
        #: Bytes of memory that an object takes while it is written: its head, and the piece behind it.
        self.held = min(self.size, self.head_size + self.chunk)
        fits_in_memory(self.head_size)

    def source(self, index: int) -> GeneratedSource:
        """Object ``index``."""
        new_fill = functools.partial(self._fill, index)
        fill, head = new_fill(), _buffer(self.head_size)
        fill(0, head)
        return GeneratedSource(new_fill, fill, head, self.chunk, 0, self.size)

    def _fill(self, index: int) -> Fill:
        if self._raw is not None:
            return functools.partial(self._raw.write, index)
        return _Rewound(functools.partial(self._formatted.open, index))


class _Rewound:
    """A generated object of a format, read at any offset: going back, or starting within it, starts over from 0.

    Formats sum their data, so what comes first must be made to know what comes last. It happens after a failure and
    for the parts of a multipart upload, at several GB/s.
    """

    def __init__(self, open_stream: Callable[[], ObjectStream]) -> None:
        self._open = open_stream
        self._stream = open_stream()

    def __call__(self, offset: int, buffer: memoryview) -> None:
        if offset < self._stream.position:
            self._stream = self._open()
        while (gap := offset - self._stream.position) > 0:
            self._stream.readinto(memoryview(bytearray(min(gap, 1 << 20))))
        self._stream.readinto(buffer)


@dataclass(slots=True, eq=False)
class GeneratedSource(Source):
    """The bytes ``[offset, offset + size)`` of one generated object.

    Args:
        new_fill: makes the function that makes the bytes; each stretch of an object has one of its own.
        fill: the one of this stretch.
        head: the first bytes, made already.
        chunk: how many bytes are made at a time behind the head.
        offset, size: which stretch of the object.
    """

    new_fill: Callable[[], Fill]
    fill: Fill
    head: memoryview
    chunk: int
    offset: int
    size: int

    def read(self, start: int, length: int) -> memoryview:
        length = max(0, min(length, self.size - start))
        ready = self.head[start : start + length]
        if len(ready) == length:
            return ready
        buffer = _buffer(length)
        buffer[: len(ready)] = ready
        for at in range(len(ready), length, self.chunk):
            self.fill(self.offset + start + at, buffer[at : at + self.chunk])
        return buffer

    def part(self, start: int, length: int) -> Source:
        length = max(0, min(length, self.size - start))
        head = self.head[start : start + length]
        return GeneratedSource(self.new_fill, self.new_fill(), head, self.chunk, self.offset + start, length)

    def whole(self) -> memoryview | None:
        return self.head if len(self.head) == self.size else None


def _buffer(length: int) -> memoryview:
    return default_pool().lease(length) if length >= SMALL else memoryview(bytearray(length))
