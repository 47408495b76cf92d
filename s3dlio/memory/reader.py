"""A file over bytes that are in memory."""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING, Any

from s3dlio.memory.view import BytesView
from s3dlio.types import Payload

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


class BytesReader(io.RawIOBase):
    """Bytes as a file that is read, from any position: for ``numpy.load``, ``PIL.Image.open`` and whatever else takes
    one. It copies what is read, and nothing before; it pickles, with its position.

    Args:
        data: any contiguous bytes-like object; it is kept.
    """

    mode = "rb"

    def __init__(self, data: Payload) -> None:
        super().__init__()
        self._data = data if isinstance(data, BytesView) else BytesView(data)
        self._position = 0

    def _check_open(self) -> None:
        if self.closed:
            raise ValueError(f"I/O operation on closed {type(self).__name__}")

    def readable(self) -> bool:
        self._check_open()
        return True

    def seekable(self) -> bool:
        self._check_open()
        return True

    def __len__(self) -> int:
        """The size in bytes, whatever the position is."""
        return len(self._data)

    def __bool__(self) -> bool:
        return True

    def _next(self, size: int) -> memoryview:
        first = self._position
        part = self._data.memoryview()[first : first + size]
        self._position += len(part)
        return part

    def read(self, size: int | None = -1, /) -> bytes:
        """The next ``size`` bytes, fewer at the end; all that are left without a size."""
        self._check_open()
        return bytes(self._next(len(self._data) if size is None or size < 0 else size))

    def readall(self) -> bytes:
        """All bytes that are left."""
        return self.read()

    read_all = readall

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Fill a buffer with the next bytes; how many there were."""
        self._check_open()
        target = memoryview(buffer).cast("B")
        part = self._next(len(target))
        target[: len(part)] = part
        return len(part)

    def getbuffer(self) -> BytesView:
        """All the bytes, without a copy."""
        self._check_open()
        return self._data

    def tell(self) -> int:
        self._check_open()
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        self._check_open()
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: len(self._data)}.get(whence)
        if base is None:
            raise ValueError(f"invalid whence ({whence}, should be 0, 1 or 2)")
        if base + offset < 0:
            raise ValueError(f"cannot seek to {base + offset}")
        self._position = base + offset
        return self._position

    def close(self) -> None:
        """Let go of the memory."""
        self._data = BytesView(b"")
        super().close()

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        self._check_open()
        return _unpickled, (type(self), self._data, self._position)


def _unpickled(kind: type[BytesReader], data: BytesView, position: int) -> BytesReader:
    reader = kind(data)
    reader.seek(position)
    return reader
