"""Memory and sources in the shape of files, for libraries that take nothing else."""

from __future__ import annotations

import errno
import io
import os


class PositionedFile(io.RawIOBase):
    """A file of a known size that knows where it is; what it reads or writes is up to subclasses.

    Args:
        size: bytes.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._position = 0

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        position = offset + (0, self._position, self._size)[whence]
        if position < 0:
            raise OSError(errno.EINVAL, "seek before the start")  # as files do: zipfile catches it
        self._position = position
        return position

    def tell(self) -> int:
        return self._position
