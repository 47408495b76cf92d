"""The CRC32C of large memory: by several threads, beside other work on it, or of what others compute of its parts."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from s3dlio.memory.crc32c import combine, crc32c
from s3dlio.memory.pieces import Pieces, threads_for, work_on
from s3dlio.memory.sinks import MemorySink
from s3dlio.memory.sources import MemorySource, Source

#: Memory of fewer bytes is hashed by the caller's thread alone: in 6 ms, while a thread takes 0.1 to begin.
_FROM = 32 << 20
#: Bytes that a thread takes at a time.
_PIECE = 4 << 20


def crc32c_parallel(view: memoryview) -> int:
    """:func:`crc32c` by as many threads as pay; they have ended when it returns or raises."""
    threads = threads_for(len(view), _FROM)
    if threads < 2:
        return crc32c(view)
    hashing = _Hashing(view)
    work_on(hashing.pieces(), hashing.hash, threads)
    return hashing.crc32c()


class _Hashing:
    def __init__(self, view: memoryview) -> None:
        self._view = view
        self._found: dict[int, int] = {}

    def pieces(self) -> Pieces:
        return Pieces(len(self._view), _PIECE, lambda: contextlib.nullcontext(self.hash))

    def hash(self, start: int) -> None:
        self._found[start] = crc32c(self._view[start : start + _PIECE])

    def crc32c(self) -> int:
        crc = 0
        for start, part in sorted(self._found.items()):
            crc = combine(crc, part, min(_PIECE, len(self._view) - start))
        return crc


class HashedSource(MemorySource):
    """Bytes in memory, and their CRC32C: what is computed of parts on their way to a service is combined, and not
    computed again."""

    __slots__ = ("_known", "_parts")

    def __init__(self, data: memoryview) -> None:
        super().__init__(data)
        self._known: int | None = None
        self._parts: dict[int, tuple[int, int]] = {}  # start -> CRC32C, length

    def part(self, start: int, length: int) -> Source:
        return _HashedPart(self, start, self._data[start : start + length])

    def note(self, start: int, length: int, crc: int) -> None:
        """Keep what was computed of a part."""
        self._parts[start] = crc, length

    def crc32c(self) -> int:
        if self._known is None:
            combined = self._combined()
            self._known = crc32c_parallel(self._data) if combined is None else combined
        return self._known

    def _combined(self) -> int | None:
        """Of the parts, where they make up the whole."""
        crc = end = 0
        for start, (part, length) in sorted(self._parts.items()):
            if start != end:
                return None
            crc, end = combine(crc, part, length), end + length
        return crc if end == self.size and end else None

    @contextlib.contextmanager
    def hashed_meanwhile(self) -> Iterator[None]:
        """Hash on another thread what the block writes, where that pays."""
        if threads_for(self.size, _FROM) < 2:
            yield
            return
        hashing = _Hashing(self._data)
        pieces = hashing.pieces()
        try:
            pieces.begin(1)
            yield
            pieces.work(hashing.hash)  # what is left
        finally:
            pieces.end()
        pieces.check()
        self._known = hashing.crc32c()


class _HashedPart(MemorySource):
    __slots__ = ("_start", "_whole")

    def __init__(self, whole: HashedSource, start: int, data: memoryview) -> None:
        super().__init__(data)
        self._whole = whole
        self._start = start

    def crc32c(self) -> int:
        crc = crc32c(self._data)
        self._whole.note(self._start, self.size, crc)
        return crc


class HashedSink(MemorySink):
    """Collects the body in memory, and knows its CRC32C, which who fills it may have computed on the way."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        super().__init__()
        self._known: int | None = None

    def begin(self, size: int | None) -> None:
        super().begin(size)
        self._known = None  # a read that starts over

    def note(self, crc: int) -> None:
        """Keep what was computed of the whole body."""
        self._known = crc

    def crc32c(self) -> int:
        """Of the whole body."""
        if self._known is None:
            contents = self.contents()
            assert contents is not None
            self._known = crc32c_parallel(contents)
        return self._known
