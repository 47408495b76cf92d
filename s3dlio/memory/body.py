"""Where the bytes of a body go (sinks) and where they come from (sources): memory, a file, or nowhere.

Every store and every driver moves bodies through these, so that a get, a ranged get, a get into the caller's buffer,
a download to a file and a read benchmark are one code path with another sink.

A sink is told the size once (``begin``), then asked for a place for each stretch of the body (``at``): either a
memoryview of just that length, into which the transport receives directly, or a function that takes the bytes in
order. Ranges of one body may be asked for in any order and filled at the same time.
"""

from __future__ import annotations

import os
import time
from abc import ABC, abstractmethod
from collections.abc import Callable

from s3dlio.errors import LengthMismatchError, ObjectChangedError, S3dlioError, from_os_error, of_caller
from s3dlio.memory.buffers import holds_addresses
from s3dlio.memory.libc import pread_full, pwrite_full
from s3dlio.memory.pool import default_pool
from s3dlio.memory.view import BytesView

Writer = Callable[[memoryview], None]
Place = memoryview | Writer

#: Below this many bytes a fresh bytearray is quicker than a pooled page-aligned buffer (1 against 2 us, and 4 KiB
#: objects would each hold a whole page class).
SMALL = 32 * 1024


class Sink(ABC):
    """The destination of one object's bytes. Subclasses say where they land."""

    __slots__ = ("first_byte_ns", "size")

    #: Bytes may be delivered again from an earlier position (a read that starts over).
    restartable = True

    def __init__(self) -> None:
        self.size: int | None = None
        self.first_byte_ns = 0

    def begin(self, size: int | None) -> None:
        """The head has arrived: ``size`` bytes will follow, or an unknown number (None)."""
        self.first_byte_ns = time.time_ns()
        self.size = size

    @abstractmethod
    def at(self, start: int, length: int | None) -> Place:
        """A place for the bytes from ``start`` on, ``length`` of them (None: until the body ends)."""

    def stage(self, length: int) -> memoryview:
        """Memory in which ``length`` bytes, or as many as it has room for, are gathered before they are handed to a
        function of ``at``. They are handed over for good: whoever gathers asks anew for the next ones."""
        return default_pool().lease(length)

    def whole(self, data: memoryview) -> None:
        """After ``begin``: the whole body at once. The caller uses the memory of ``data`` again."""
        place = self.at(0, len(data))
        if isinstance(place, memoryview):
            place[:] = data
        else:
            place(data)

    def end(self, size: int) -> None:
        """The whole body has arrived; ``size`` is what it turned out to be."""
        self.size = size

    def contents(self) -> memoryview | None:
        """The whole body, where it lies in memory; None where it streamed by."""
        return None

    def take(self, data: bytes | memoryview) -> None:
        """The whole body at once, where the store holds it already; the caller leaves it alone from then on."""
        size = len(data)
        self.begin(size)
        place = self.at(0, size)
        if isinstance(place, memoryview):
            place[:] = data
        elif size:
            place(memoryview(data))
        self.end(size)


class MemorySink(Sink):
    """Collects the body in memory, pooled and aligned when it is large."""

    __slots__ = ("_buffer", "_grown")

    def __init__(self) -> None:
        super().__init__()
        self._buffer: memoryview | bytes | None = None
        self._grown: bytearray | None = None

    def begin(self, size: int | None) -> None:
        super().begin(size)
        self._buffer, self._grown = None, bytearray() if size is None else None

    def whole(self, data: memoryview) -> None:
        if len(data) < SMALL:
            self._buffer = bytes(data)
        else:
            super().whole(data)

    def at(self, start: int, length: int | None) -> Place:
        buffer = self._buffer
        if buffer is None and self.size is not None and self._grown is None:
            size = self.size
            buffer = self._buffer = memoryview(bytearray(size)) if size < SMALL else default_pool().lease(size)
        if isinstance(buffer, memoryview):
            if length is None:
                return _filler(buffer, start)
            return buffer if length == len(buffer) else buffer[start : start + length]
        if self._grown is None:
            self._grown = bytearray(start)
        del self._grown[start:]
        return self._grown.extend

    def end(self, size: int) -> None:
        self.size = size

    def take(self, data: bytes | memoryview) -> None:
        self.first_byte_ns = time.time_ns()
        self.size = len(data)
        self._buffer = data  # kept, not copied

    def contents(self) -> memoryview | None:
        return memoryview(self._buffer if self._buffer is not None else self._grown or b"")

    def view(self) -> BytesView:
        """The body, read-only. The buffer goes back to its pool when the last view of it is gone."""
        buffer = self._buffer if self._buffer is not None else self._grown or b""
        # A view over bytes is cheaper to make than one over other memory, by more than the copy of a small body.
        return BytesView(bytes(buffer) if len(buffer) < SMALL else buffer)


class BufferSink(Sink):
    """Fills the caller's writable buffer; a body of another size is an error, before a byte is written where the head
    tells the size (all services but for chunked answers)."""

    __slots__ = ("_buffer", "_exact")

    def __init__(self, buffer: memoryview, *, exact: bool = False) -> None:
        super().__init__()
        self._buffer = buffer
        self._exact = exact

    def begin(self, size: int | None) -> None:
        super().begin(size)
        room = len(self._buffer)
        if size is not None and (size > room or (self._exact and size != room)):
            raise self._misfit(size)

    def at(self, start: int, length: int | None) -> Place:
        if length is not None:
            return self._buffer[start : start + length]
        return _filler(self._buffer, start)

    def contents(self) -> memoryview | None:
        return self._buffer[: self.size]

    def end(self, size: int) -> None:
        if self._exact and size != len(self._buffer):
            raise self._misfit(size)
        self.size = size

    def let_go(self) -> None:
        """The call is over: the buffer is the caller's alone, whoever still refers to this sink."""
        self._buffer = memoryview(b"")

    def _misfit(self, size: int) -> LengthMismatchError:
        room = len(self._buffer)
        wanted = f"{room} are expected" if self._exact else f"the buffer holds {room}"
        return LengthMismatchError(f"the object is {size} bytes but {wanted}", expected=room, actual=size)


def _filler(buffer: memoryview, start: int) -> Writer:
    """Writes into ``buffer`` from ``start`` on, where the length of a stretch is not known."""
    position = start

    def write(data: memoryview) -> None:
        nonlocal position
        end = position + len(data)
        if end > len(buffer):
            raise LengthMismatchError(
                f"the object is larger than the buffer's {len(buffer)} bytes", expected=len(buffer), actual=end
            )
        buffer[position:end] = data
        position = end

    return write


def local_error(error: OSError, path: str) -> S3dlioError:
    """The typed error for a local call in the midst of a transfer, whose URI is that of the other side: it names the
    path as well."""
    typed = from_os_error(error)
    typed.reason += f": {path}" if path else ""
    return typed


class FileSink(Sink):
    """Writes the body to a file descriptor at ``offset``; the caller owns the descriptor.

    Args:
        fd: open for writing.
        offset: where the body begins in the file, in bytes.
        path: of the file, for messages.
    """

    __slots__ = ("fd", "offset", "path")

    def __init__(self, fd: int, offset: int = 0, path: str = "") -> None:
        super().__init__()
        self.fd = fd
        self.offset = offset
        self.path = path

    def at(self, start: int, length: int | None) -> Place:
        position = self.offset + start

        def write_on(data: memoryview) -> None:
            nonlocal position
            self.write(data, position)
            position += len(data)

        return write_on

    def write(self, data: memoryview, position: int) -> None:
        """Write ``data`` to the file, from ``position`` on.

        Raises:
            StorageFullError, LocalIOError, ...: a driver would take a bare OSError for one of its connection.
        """
        try:
            pwrite_full(self.fd, data, position)
        except OSError as error:
            raise local_error(error, self.path) from error


class DiscardSink(Sink):
    """Counts the bytes and drops them: read benchmarks."""

    __slots__ = ()

    def at(self, start: int, length: int | None) -> Place:
        return _discard


def _discard(data: memoryview) -> None:
    return None


class WriterSink(Sink):
    """Hands the bytes, in order, to a function (hashing, decompression, another store)."""

    __slots__ = ("_write",)

    restartable = False

    def __init__(self, write: Writer) -> None:
        super().__init__()
        self._write = write

    def at(self, start: int, length: int | None) -> Place:
        return self._hand_over

    def _hand_over(self, data: memoryview) -> None:
        try:
            self._write(data)
        except Exception as error:
            raise of_caller(error)  # noqa: B904 - it is the same


class Source(ABC):
    """The bytes of a body that is sent: ``size`` of them, readable again from any position (a retry starts over)."""

    __slots__ = ("size",)
    size: int

    @abstractmethod
    def read(self, start: int, length: int) -> memoryview:
        """At most ``length`` bytes from ``start`` on; fewer only at the end."""

    @abstractmethod
    def part(self, start: int, length: int) -> Source:
        """The stretch of ``length`` bytes from ``start`` on, as a source of its own."""

    def whole(self) -> memoryview | None:
        """All of it as one memoryview where it is in memory already, else None."""
        return None


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

    __slots__ = ("_about", "fd", "offset")

    def __init__(
        self, fd: int, offset: int = 0, size: int | None = None, about: os.stat_result | None = None
    ) -> None:
        self.fd = fd
        self.offset = offset
        self._about = about
        self.size = os.fstat(fd).st_size - offset if size is None else size

    def read(self, start: int, length: int) -> memoryview:
        length = max(0, min(length, self.size - start))
        buffer = default_pool().lease(length) if length >= SMALL else memoryview(bytearray(length))
        try:
            got = pread_full(self.fd, buffer, self.offset + start)
        except OSError as error:
            raise local_error(error, "the local file") from error
        if got < length:
            raise LengthMismatchError(
                "the file became shorter while it was read", expected=self.size, actual=start + got
            )
        if start + length == self.size:
            self.check()
        return buffer

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
    return MemorySource(as_memory(payload))


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
        raise TypeError(
            f"cannot convert {type(payload).__name__} to bytes: expected a bytes-like object (bytes, bytearray, "
            "memoryview, BytesView, numpy array) or an object with a __bytes__() method"
        )
    return memoryview(bytes(payload))  # type: ignore[call-overload]
