"""An object as a file that is written: it appears whole when the file is closed, and else never."""

from __future__ import annotations

import contextlib
import io
from types import TracebackType
from typing import TYPE_CHECKING, Any

from s3dlio.stores.writer import ClosesOrAborts, StoreWriter

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

#: Small writes are gathered up to so many bytes before they are handed on.
BUFFER_SIZE = 128 << 10


class RawObjectWriter(io.RawIOBase):
    """Hands what is written to a store's writer. Its end is ``commit``; closed without that, nothing is stored.

    Args:
        writer: of the store.
        uri: of the object: the ``name`` of the file.
    """

    mode = "wb"

    def __init__(self, writer: StoreWriter, uri: str) -> None:
        super().__init__()
        self.name = uri
        self._writer: StoreWriter | None = writer
        self._position = 0

    def writable(self) -> bool:
        if self.closed:
            raise ValueError("I/O operation on closed file.")
        return True

    def tell(self) -> int:
        self.writable()
        return self._position

    def write(self, data: ReadableBuffer, /) -> int:
        if self.closed:
            raise ValueError("write to closed file")
        if (writer := self._writer) is None:  # given up: what is left in buffers above goes nowhere
            return memoryview(data).nbytes
        written = writer.write(data)
        self._position += written
        return written

    def commit(self) -> None:
        """Store the object. A signal handler may abort that."""
        if (writer := self._writer) is not None:
            try:
                writer.close()
            finally:
                self._writer = None

    def abort(self) -> None:
        """Store nothing."""
        if (writer := self.hand_over()) is not None:
            writer.abort()

    def hand_over(self) -> StoreWriter | None:
        """The store's writer, which is no longer this file's; None where it has ended."""
        writer, self._writer = self._writer, None
        return writer

    def drop(self) -> None:
        """Store nothing, without a request here and now: the store's writer sees that it was dropped."""
        self._writer = None

    def close(self) -> None:
        try:
            self.abort()
        finally:
            super().close()

    def __del__(self) -> None:
        self.drop()

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise TypeError(f"cannot pickle {type(self).__name__!r} object")

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}{' (closed)' if self.closed else ''}>"


class UnbufferedObjectWriter(RawObjectWriter):
    """The same, stored by ``close``: a file without a buffer."""

    def close(self) -> None:
        try:
            self.commit()
        finally:
            super().close()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is not None:
            self.abort()
        self.close()


class ObjectFileWriter(ClosesOrAborts, io.BufferedWriter):
    """A file whose object appears on ``close``. After an exception in its ``with``, and when it is dropped, nothing is
    stored."""

    raw: RawObjectWriter

    def close(self) -> None:
        if self.closed:
            return
        try:
            self.flush()
            self.raw.commit()
        finally:
            self.raw.drop()
            super().close()

    def abort(self) -> None:
        """Give up: nothing is stored. More than once is no error. A signal handler may call it within any call of this
        file, whose lock the interrupted one holds: what is in the buffer is left there."""
        self.raw.abort()  # of a file without a buffer ``close`` alone would store the object
        self.raw.close()

    def __del__(self) -> None:
        with contextlib.suppress(AttributeError, ValueError):  # it was detached, or never made
            self.raw.drop()


class ObjectTextWriter(ClosesOrAborts, io.TextIOWrapper):
    """The text layer of :class:`ObjectFileWriter`."""

    buffer: ObjectFileWriter

    def abort(self) -> None:
        """Give up: nothing is stored. More than once is no error."""
        self.buffer.abort()

    def __del__(self) -> None:
        with contextlib.suppress(AttributeError, ValueError):
            self.buffer.raw.drop()
