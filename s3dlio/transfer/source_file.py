"""A local file as the source of a transfer: opened once, and looked at again before its copy gets its name."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from typing import NamedTuple, TypeVar

from s3dlio.engine.executor import BaseExecutor
from s3dlio.foreign_errors import from_os_error
from s3dlio.memory.sources import FileSource, source_changed
from s3dlio.stores.call import Steps
from s3dlio.transfer.select_local import file_uri, not_a_file, special_kind
from s3dlio.transfer.task import RefusedItemError, aside

T = TypeVar("T")

_READ_FILE = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0)  # a fifo must not hang the open


def open_file(path: str) -> tuple[int, os.stat_result]:
    """Open a regular file for reading; returns the descriptor and what the file is now.

    Raises:
        RefusedItemError: it is gone, unreadable, or not a regular file.
    """
    try:
        descriptor = os.open(path, _READ_FILE)
    except OSError as error:
        raise RefusedItemError(from_os_error(error, uri=file_uri(path), operation="READ")) from error
    about = os.fstat(descriptor)
    if (kind := special_kind(about.st_mode)) is not None or stat.S_ISDIR(about.st_mode):
        os.close(descriptor)
        raise RefusedItemError(not_a_file(path, kind or "a directory"))
    return descriptor, about


def close_file(opened: tuple[int, os.stat_result]) -> None:
    """Close what ``open_file`` gave."""
    os.close(opened[0])


class FileVersion(NamedTuple):
    """What tells one content of a path from another."""

    device: int
    inode: int
    size: int
    mtime_ns: int

    @classmethod
    def at(cls, path: str) -> FileVersion:
        """That of a local file now.

        Raises:
            RefusedItemError: it is gone, or cannot be reached.
        """
        try:
            about = os.stat(path)
        except OSError as error:
            raise RefusedItemError(from_os_error(error, uri=file_uri(path), operation="READ")) from error
        return cls(about.st_dev, about.st_ino, about.st_size, about.st_mtime_ns)

    def check(self, path: str) -> None:
        """Look again, before what was read gets its name.

        Raises:
            ObjectChangedError: the file is another, or has another content.
        """
        if FileVersion.at(path) != self:
            raise source_changed()


#: Files of fewer bytes are read in place: a thread takes longer than the page cache does.
_SMALL = 128 << 10


def read_aside(executor: BaseExecutor | None, size: int, work: Callable[[], T]) -> Steps[T]:
    """The result of ``work``, which reads ``size`` bytes of a file: on another thread, where they are many. See
    :func:`s3dlio.transfer.task.aside`."""
    return aside(executor if size >= _SMALL else None, work)


def crc_aside(executor: BaseExecutor | None, descriptor: int, size: int, begin: int = 0) -> Steps[int]:
    """The CRC32C of ``size`` bytes of an open file from ``begin`` on; see :func:`read_aside`."""
    own = os.dup(descriptor)  # the caller closes its own when it is given up

    def work() -> int:
        try:
            return FileSource(own, begin, size).crc32c()
        finally:
            os.close(own)

    return read_aside(executor, size, work)
