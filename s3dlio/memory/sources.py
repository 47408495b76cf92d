"""Sources: where the bytes of a body that is sent come from: memory or a file; and payloads as memory."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import accumulate

from s3dlio.errors import LengthMismatchError, ObjectChangedError
from s3dlio.foreign_errors import local_error
from s3dlio.memory.buffers import holds_addresses
from s3dlio.memory.crc32c import crc32c
from s3dlio.memory.file_reads import read_aside, read_present
from s3dlio.memory.libc import pread_full
from s3dlio.memory.pool import SMALL, default_pool
from s3dlio.memory.sinks import FileSink, Sink
from s3dlio.memory.waiting import Waiting


class Source(ABC):
    """The bytes of a body that is sent: ``size`` of them, readable again from any position (a retry starts over)."""

    __slots__ = ("size",)
    size: int
    #: Reading it may take a while, of a slow disk.
    waits = False

    @abstractmethod
    def read(self, start: int, length: int) -> memoryview:
        """At most ``length`` bytes from ``start`` on; none only at the end."""

    def read_now(self, start: int, length: int) -> memoryview:
        """As :meth:`read`, but it does not wait for a disk.

        Raises:
            Waiting: nothing is there yet; afterwards it is.
        """
        return self.read(start, length)

    @abstractmethod
    def part(self, start: int, length: int) -> Source:
        """The stretch of ``length`` bytes from ``start`` on, as a source of its own."""

    def whole(self) -> memoryview | None:
        """All of it as one memoryview where it is in memory already, else None."""
        return None

    def crc32c(self) -> int:
        """The CRC32C of all of it."""
        crc = 0
        for stretch in self.stretches():
            crc = crc32c(stretch, crc)
        return crc

    def pieces(self, start: int, length: int) -> list[memoryview]:
        """The ``length`` bytes from ``start`` on, fewer only at the end."""
        found: list[memoryview] = []
        end = min(start + length, self.size)
        while start < end:
            found.append(self.read(start, end - start))
            start += len(found[-1])
        return found

    def stretches(self, step: int = 1 << 20) -> Iterator[memoryview]:
        """All of it in order: at once where it is in memory, else ``step`` bytes at most at a time."""
        if (whole := self.whole()) is not None:
            yield whole
            return
        start = 0
        while start < self.size:
            stretch = self.read(start, step)
            start += len(stretch)
            yield stretch


class MemorySource(Source):
    """Bytes in memory, sent without a copy."""

    __slots__ = ("_data",)

    def __init__(self, data: memoryview) -> None:
        self._data = data
        self.size = len(data)

    def read(self, start: int, length: int) -> memoryview:
        return self._data[start : start + length]

    def part(self, start: int, length: int) -> Source:
        return MemorySource(self._data[start : start + length])

    def whole(self) -> memoryview | None:
        return self._data


class PiecesSource(Source):
    """Pieces of memory in a row, sent without a copy.

    Args:
        pieces: the memory.
        crc: the CRC32C of all of it, where that is known.
    """

    __slots__ = ("_crc", "_pieces", "_starts")

    def __init__(self, pieces: Sequence[memoryview], crc: int | None = None) -> None:
        self._crc = crc
        self._pieces = pieces
        self._starts = [0, *accumulate(map(len, pieces))]
        self.size = self._starts[-1]

    def read(self, start: int, length: int) -> memoryview:
        """The bytes up to the end of a piece, at most."""
        if start >= self.size:
            return memoryview(b"")
        number = bisect_right(self._starts, start) - 1
        start -= self._starts[number]
        return self._pieces[number][start : start + length]

    def part(self, start: int, length: int) -> Source:
        return PiecesSource(self.pieces(start, length))

    def whole(self) -> memoryview | None:
        return self._pieces[0] if len(self._pieces) == 1 else None

    def crc32c(self) -> int:
        return super().crc32c() if self._crc is None else self._crc


class FileSource(Source):
    """``size`` bytes of an open file from ``offset`` on; the caller owns the descriptor.

    Args:
        fd: open for reading.
        offset, size: bytes.
        about: what the file was when it was opened. It is compared when the last byte has been read, before anybody
            gets that: what is sent of a file that changes meanwhile never becomes whole.

    Raises:
        LengthMismatchError: on read, when the file has become shorter than it was.
        ObjectChangedError: on read, when ``about`` is not true any more.
    """

    __slots__ = ("_about", "_device", "_fetched", "fd", "offset")

    waits = True

    def __init__(
        self, fd: int, offset: int = 0, size: int | None = None, about: os.stat_result | None = None
    ) -> None:
        self.fd = fd
        self.offset = offset
        self._about = about
        self._device: int | None = None if about is None else about.st_dev
        self._fetched: tuple[int, memoryview] | None = None  # what another thread has read: where it begins, and it
        self.size = os.fstat(fd).st_size - offset if size is None else size

    def read(self, start: int, length: int) -> memoryview:
        buffer = self._buffer(start, length)
        try:
            got = pread_full(self.fd, buffer, self.offset + start)
        except OSError as error:
            raise local_error(error, "the local file") from error
        return self._checked(buffer, start, got, len(buffer))

    def read_now(self, start: int, length: int) -> memoryview:
        if (fetched := self._fetched) is not None:
            self._fetched = None
            if fetched[0] == start:
                return fetched[1][:length]
        buffer = self._buffer(start, length)
        try:
            got = read_present(self.fd, buffer, self.offset + start, self._on())
        except OSError as error:
            raise local_error(error, "the local file") from error
        if got is None:
            raise Waiting.for_work(partial(self._fetch, start, buffer))
        return self._checked(buffer, start, got, 1)

    def _fetch(self, start: int, buffer: memoryview) -> None:
        """Read on a thread that may wait. Where the body was given up meanwhile, its file may be closed, and the number
        be another one's: nobody gets what is read then."""
        follows = self.size - start - len(buffer)
        try:
            got = read_aside(self.fd, buffer, self.offset + start, self._on(), follows)
        except OSError as error:
            raise local_error(error, "the local file") from error
        self._fetched = start, self._checked(buffer, start, got, len(buffer))

    def _on(self) -> int:
        """The device of the file."""
        if self._device is None:
            self._device = os.fstat(self.fd).st_dev
        return self._device

    def _buffer(self, start: int, length: int) -> memoryview:
        length = max(0, min(length, self.size - start))
        return default_pool().lease(length) if length >= SMALL else memoryview(bytearray(length))

    def _checked(self, buffer: memoryview, start: int, got: int, least: int) -> memoryview:
        """The ``got`` bytes that were read from ``start`` on, which must be ``least`` at least."""
        if got < min(least, len(buffer)):
            raise LengthMismatchError(
                "the file became shorter while it was read", expected=self.size, actual=start + got
            )
        if start + got == self.size:
            self.check()
        return buffer if got == len(buffer) else buffer[:got]

    def part(self, start: int, length: int) -> Source:
        return FileSource(self.fd, self.offset + start, length, self._about)

    def check(self) -> None:
        """Look at the file again.

        Raises:
            ObjectChangedError: its size or the time of its last change is another.
        """
        if self._about is not None and differs(os.fstat(self.fd), self._about):
            raise source_changed()


def differs(now: os.stat_result, before: os.stat_result) -> bool:
    """Whether a file's content may be another: its size, or the time of its last change, is."""
    return (now.st_size, now.st_mtime_ns) != (before.st_size, before.st_mtime_ns)


def source_changed() -> ObjectChangedError:
    """The error for a local file that changes while it is sent."""
    return ObjectChangedError(
        "the file was changed while it was read; nothing was stored", hint="transfer it again when nobody writes to it"
    )


def landed(sink: Sink) -> Source | None:
    """What a sink has taken, to be read again: memory or a file; None where it streamed by."""
    contents = sink.contents()
    if contents is not None:
        return MemorySource(contents)
    if isinstance(sink, FileSink):
        return FileSource(sink.fd, sink.offset, sink.size)
    return None


def as_source(payload: object) -> MemorySource:
    """A source over a payload: anything with the buffer protocol (no copy where it is contiguous), or ``__bytes__``.

    Raises:
        TypeError: the payload is neither, or its bytes are addresses of Python objects.
    """
    return MemorySource(memoryview(payload) if type(payload) is bytes else as_memory(payload))


def as_memory(payload: object) -> memoryview:
    """The bytes of a payload as a flat memoryview of format 'B'; see :func:`as_source`."""
    if type(payload) is bytes:
        return memoryview(payload)
    try:
        view = memoryview(payload)  # type: ignore[arg-type]
    except TypeError:
        return _from_dunder(payload)
    except ValueError as error:  # numpy: dates and other types that the buffer protocol cannot name
        raise TypeError(f"cannot convert {type(payload).__name__} to bytes: {error}") from error
    if holds_addresses(view):
        raise TypeError(
            f"cannot upload a buffer of Python objects or pointers (buffer format {view.format!r}): "
            "its bytes are memory addresses, not data"
        )
    if view.ndim == 1 and view.format == "B" and view.contiguous:
        return view
    if not view.c_contiguous:
        return memoryview(view.tobytes())  # strided: gathered in C order
    return view.cast("B") if view.nbytes else memoryview(b"")


def _from_dunder(payload: object) -> memoryview:
    convert = getattr(payload, "__bytes__", None)
    if convert is None or isinstance(payload, type):
        advice = "; a str is first encoded: text.encode()" if isinstance(payload, str) else ""
        raise TypeError(
            f"cannot convert {type(payload).__name__} to bytes: expected a bytes-like object (bytes, bytearray, "
            f"memoryview, BytesView, numpy array) or an object with a __bytes__() method{advice}"
        )
    return memoryview(bytes(payload))  # type: ignore[call-overload]
