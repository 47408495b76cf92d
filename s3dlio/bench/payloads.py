"""The bytes that a benchmark writes: made by the library's generator, ahead of time or while they are written."""

from __future__ import annotations

import os
from functools import partial

from s3dlio.datagen.source import DataSource
from s3dlio.memory.pool import default_pool
from s3dlio.memory.sources import MemorySource, PiecesSource, Source
from s3dlio.transfer.generated_sources import Fill, GeneratedSource

#: Objects up to this size are one stretch of the buffer, larger ones go through it several times.
_LARGEST = 64 << 20
#: Objects begin at this many places of the buffer, a page apart, so that no block of one is at the same place of
#: another.
_PLACES, _PAGE = 1021, 4096
_HEAD, _CHUNK = 1 << 20, 256 << 10


class Payloads:
    """Any number of objects, each with its bytes.

    Args:
        largest: bytes of the largest object.
        dedup, compress: as of :class:`DataSource`.
        seed: the same bytes again; None: other ones.
        fresh: generate all of an object when it is written: 64 KiB take 13 us of the sending thread. Otherwise each is
            another stretch of one buffer, which costs nothing while the clock runs.
    """

    def __init__(self, largest: int, dedup: int, compress: int, seed: int | None, *, fresh: bool) -> None:
        seed = int.from_bytes(os.urandom(8), "little") if seed is None else seed
        self._fresh: DataSource | None = None
        self._buffer = memoryview(b"")
        if fresh:
            self._fresh = DataSource(max(1, largest), dedup, compress, seed=seed)
            return
        length = min(largest, _LARGEST) + (_PLACES - 1) * _PAGE
        self._buffer = default_pool().lease(length)
        DataSource(length, dedup, compress, seed=seed).fill(self._buffer, threads=None)

    def source(self, size: int, number: int) -> Source:
        """The bytes of an object.

        Args:
            size: how many.
            number: of the object: others have other bytes.
        """
        if self._fresh is not None:
            return self._generated(self._fresh, size, number)
        start = number % _PLACES * _PAGE
        if size <= _LARGEST:
            return MemorySource(self._buffer[start : start + size])
        pieces = [self._buffer[start : start + _LARGEST]] * (size // _LARGEST)
        return PiecesSource([*pieces, self._buffer[start : start + size % _LARGEST]])

    def _generated(self, data: DataSource, size: int, number: int) -> Source:
        def new_fill() -> Fill:
            return partial(data.write, number)

        fill, head = new_fill(), memoryview(bytearray(min(size, _HEAD)))
        fill(0, head)
        return GeneratedSource(new_fill, fill, head, _CHUNK, 0, size)
