"""What all readers are: a binary file of ``io`` that reads one object."""

from __future__ import annotations

import io
import os
from abc import ABC, abstractmethod
from typing import Any

from s3dlio.compat.s3torchconnector.uris import uri_of


class S3Reader(ABC, io.BufferedIOBase):
    """One object, read as a file. For one thread at a time. It pickles by the object's name and the position."""

    @property
    @abstractmethod
    def bucket(self) -> str:
        """The bucket; outside of ``s3://`` the URI of the container."""

    @property
    @abstractmethod
    def key(self) -> str:
        """The key within the bucket."""

    @abstractmethod
    def read(self, size: int | None = None) -> bytes:
        """Up to ``size`` bytes from the position on; None or less than 0: all that are left.

        Raises:
            S3Exception: they cannot be read.
        """

    @abstractmethod
    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Move the position, to the end of the object at most; returns where it is.

        Raises:
            ValueError: before the beginning.
        """

    @abstractmethod
    def tell(self) -> int:
        """The position, in bytes."""

    @abstractmethod
    def readinto(self, buf: Any) -> int:
        """Fill ``buf`` from the position on; returns how many bytes that were: fewer at the end only."""

    @abstractmethod
    def _get_size(self) -> int:
        """The bytes of the object."""

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return False

    def readall(self) -> bytes:
        """All bytes from the position on."""
        return self.read()

    read_all = read_bytes = readall

    def __len__(self) -> int:
        return self._get_size()

    def __bool__(self) -> bool:
        return True  # also of an empty object

    def _check_open(self) -> None:
        if self.closed:
            raise ValueError("I/O operation on closed file.")

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {uri_of(self.bucket, self.key)}>"


class PositionedReader(S3Reader):
    """A reader that can go anywhere in the object, at any time.

    Args:
        bucket, key: the object.
        get_object_info: tells its size.
        get_stream: gives its bytes: an ``ObjectSource``, or a function (start, end) -> chunks.

    Raises:
        ValueError: no bucket.
    """

    def __init__(self, bucket: str, key: str, get_object_info: Any, get_stream: Any) -> None:
        if not bucket:
            raise ValueError("Bucket should be specified")
        self._bucket = bucket
        self._key = key
        self._get_object_info = get_object_info
        self._get_stream = get_stream
        self._size: int | None = None
        self._position = 0

    @property
    def bucket(self) -> str:
        return self._bucket

    @property
    def key(self) -> str:
        return self._key

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        self._check_open()
        if not isinstance(offset, int):
            raise TypeError(f"integer argument expected, got {type(offset)!r}")
        if not isinstance(whence, int):
            raise TypeError(f"integer argument expected, got {type(whence)!r}")
        if whence == os.SEEK_END:
            offset = self._get_size() + min(0, offset)
        elif whence == os.SEEK_CUR:
            offset += self._position
        elif whence != os.SEEK_SET:
            raise ValueError("Seek must be passed SEEK_CUR, SEEK_SET, or SEEK_END")
        if offset < 0:
            raise ValueError(f"negative seek value {offset}")
        self._position = self._within(offset)
        return self._position

    def tell(self) -> int:
        return self._position

    @abstractmethod
    def _within(self, offset: int) -> int:
        """``offset``, or the size of the object if that is less."""

    def _get_size(self) -> int:
        if self._size is None:
            self._size = self._get_object_info().size
        return self._size

    def __reduce__(self) -> tuple[Any, ...]:
        return _at, (type(self), self._made_by(), self._position)

    def _made_by(self) -> tuple[Any, ...]:
        return self._bucket, self._key, self._get_object_info, self._get_stream


def _at(kind: type[PositionedReader], made_by: tuple[Any, ...], position: int) -> PositionedReader:
    reader = kind(*made_by)
    reader._position = position
    return reader


def size_of_read(size: Any) -> int | None:
    """The size that a read asks for; None: all.

    Raises:
        TypeError: it is no number.
    """
    if size is not None and not isinstance(size, int):
        raise TypeError(f"argument should be integer or None, not {type(size)!r}")
    return None if size is None or size < 0 else size


def writable_view(buf: Any) -> memoryview:
    """The bytes of a buffer.

    Raises:
        TypeError: it is none that can be filled.
    """
    try:
        view = memoryview(buf)
        if not view.readonly:
            return view.cast("B")
    except TypeError:
        pass
    raise TypeError(f"argument must be a writable bytes-like object, not {type(buf).__name__}")
