"""Sinks: where the bytes of a body go: memory, a file, or nowhere.

Every store and every driver moves bodies through sinks, so that a get, a ranged get, a get into the caller's buffer, a
download to a file and a read benchmark are one code path with another sink.

``begin`` gives a sink the size, once. ``at`` then asks it for a place for each stretch of the body: either a memoryview
of just that length, into which the transport receives directly, or a function that takes the bytes in order. Ranges of
one body may be asked for in any order and filled at the same time.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable

from s3dlio.errors import LengthMismatchError
from s3dlio.foreign_errors import local_error
from s3dlio.memory.libc import pwrite, pwrite_full
from s3dlio.memory.pipe import CAN_SPLICE, Pipe
from s3dlio.memory.pool import default_pool
from s3dlio.memory.view import BytesView

#: Bodies of so many bytes are kept in pooled memory. That of smaller ones is fresh, whose pages fault in each time: of
#: 2,000 objects that are kept, one of 8 KiB takes 19 us of CPU time either way, one of 32 KiB 31 instead of 24.
POOLED = 16 * 1024

Writer = Callable[[memoryview], None]
Place = memoryview | Writer


class Sink(ABC):
    """The destination of one object's bytes. Subclasses say where they land."""

    __slots__ = ("first_byte_ns", "size")

    #: Bytes may be delivered again from an earlier position (a read that starts over).
    restartable = True
    #: The body lands in memory of this sink's, which a transport can receive into.
    in_memory = False
    #: Bytes may go past this process, by ``splice``: nobody here has to see them. Asked before each call.
    splices = False

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
        function of ``at``. They are handed over for good: the next bytes need another call."""
        return default_pool().lease(length)

    def stage_now(self, length: int) -> memoryview:
        """As :meth:`stage`, but what is slow to take bytes takes no more for the moment, instead of holding up who
        hands them over.

        Raises:
            Waiting: it takes none yet; afterwards it may.
        """
        return self.stage(length)

    def splice(self, pipe: Pipe, count: int, position: int) -> None:
        """Take ``count`` bytes, all that are in a pipe, for ``position`` of the body; where it ``splices``."""
        raise NotImplementedError

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

    in_memory = True

    def __init__(self) -> None:
        self.size = None
        self.first_byte_ns = 0
        self._buffer: memoryview | bytes | None = None
        self._grown: bytearray | None = None

    def begin(self, size: int | None) -> None:
        self.first_byte_ns = time.time_ns()
        self.size = size
        self._buffer = None
        self._grown = bytearray() if size is None else None

    def whole(self, data: memoryview) -> None:
        if len(data) < POOLED:
            self._buffer = bytes(data)
        else:
            super().whole(data)

    def at(self, start: int, length: int | None) -> Place:
        buffer = self._buffer
        if buffer is None and self.size is not None and self._grown is None:
            size = self.size
            buffer = self._buffer = memoryview(bytearray(size)) if size < POOLED else default_pool().lease(size)
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
        return BytesView(bytes(buffer) if len(buffer) < POOLED else buffer)


class BufferSink(Sink):
    """Fills the caller's writable buffer; a body of another size is an error, before a byte is written where the head
    tells the size (all services but for chunked answers)."""

    __slots__ = ("_buffer", "_exact")

    in_memory = True

    def __init__(self, buffer: memoryview, *, exact: bool = False) -> None:
        self.size = None
        self.first_byte_ns = 0
        self._buffer = buffer
        self._exact = exact

    def begin(self, size: int | None) -> None:
        self.first_byte_ns = time.time_ns()
        self.size = size
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

    def release(self) -> None:
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


class FileSink(Sink):
    """Writes the body to a file descriptor at ``offset``; the caller owns the descriptor.

    Args:
        fd: open for writing.
        offset: where the body begins in the file, in bytes.
        path: of the file, for messages.
    """

    __slots__ = ("fd", "offset", "path")

    splices = CAN_SPLICE

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

    def splice(self, pipe: Pipe, count: int, position: int) -> None:
        try:
            pipe.drain(self.fd, count, self.offset + position)
        except OSError as error:
            raise local_error(error, self.path) from error

    def whole(self, data: memoryview) -> None:
        """As of every sink; a small body, so one call does."""
        try:
            if pwrite(self.fd, data, self.offset) == len(data):
                return
        except OSError as error:
            raise local_error(error, self.path) from error
        self.write(data, self.offset)

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
