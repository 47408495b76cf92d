"""An object as a raw file that is read: what ``io.BufferedReader`` and ``io.TextIOWrapper`` stand on."""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING, Any

from s3dlio.errors import ConfigError, RangeNotSatisfiableError
from s3dlio.memory.caller_buffer import lent
from s3dlio.stores.checks import MAX_OFFSET, writable_memory
from s3dlio.streams.one_version import OneVersion
from s3dlio.streams.readahead import Readahead

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

#: Bytes that a reader has at hand for small reads; what is read at once beyond that goes straight to its place.
BUFFER_SIZE = 128 << 10


class ObjectReader(io.RawIOBase):
    """One version of one object, read at any position.

    Args:
        version: which.
        uri: of the object: the ``name`` of the file.
    """

    mode = "rb"

    def __init__(self, version: OneVersion, uri: str) -> None:
        super().__init__()
        self.name = uri
        self._version = version
        self._ahead = Readahead(version)
        self._position = 0

    @property
    def size(self) -> int:
        """Bytes of the version that is read."""
        return self._version.size

    @property
    def etag(self) -> str | None:
        """Of the version that is read, where the store tells one."""
        return self._version.etag

    def readable(self) -> bool:
        self._check_open()
        return True

    def seekable(self) -> bool:
        self._check_open()
        return True

    def tell(self) -> int:
        self._check_open()
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        self._check_open()
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._version.size}.get(whence)
        if base is None:
            raise ConfigError(f"invalid whence ({whence}, should be 0, 1 or 2)", uri=self.name)
        if not 0 <= base + offset < MAX_OFFSET:
            raise RangeNotSatisfiableError(f"cannot seek to {base + offset}", uri=self.name, operation="GET_RANGE")
        self._position = base + offset
        return self._position

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Fill ``buffer`` with the bytes from the position on; returns how many those were, fewer only at the end.

        Raises:
            ObjectChangedError: the object was replaced since it was opened.
            NetworkError, ...; the position stays.
        """
        self._check_open()
        return lent(lambda: self._fill(writable_memory(buffer)))

    def _fill(self, view: memoryview) -> int:
        length = max(0, min(len(view), self._version.size - self._position))
        if length:
            self._ahead.read_into(self._position, view[:length])
            self._position += length
        return length

    def readall(self) -> bytes:
        """The bytes from the position to the end."""
        self._check_open()
        buffered = io.BufferedReader(self, 1)  # makes bytes that are filled in place
        try:
            return buffered.read(max(0, self._version.size - self._position))
        finally:
            buffered.detach()

    def close(self) -> None:
        if not self.closed:
            self._ahead.drop()
            self._version.close()
        super().close()

    def _check_open(self) -> None:
        if self.closed:
            raise ValueError("I/O operation on closed file.")

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise TypeError(f"cannot pickle {type(self).__name__!r} object")

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}{' (closed)' if self.closed else ''}>"
