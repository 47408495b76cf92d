"""One process at a time in a directory of files, which cannot be replaced under a condition.

The system's lock goes with the process, however that ends. Where there are none, as on some of NFS and Lustre, it goes
without.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import threading
import time
from collections.abc import Iterator

from s3dlio.checkpoint.layout import Name
from s3dlio.errors import TransferTimeoutError
from s3dlio.wording import either

_log = logging.getLogger("s3dlio.checkpoint")

_SECONDS = 30.0
#: NFS locks only what is open for writing, which directories never are.
_NO_LOCKS = (errno.EBADF, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK)


class Section:
    """The time in which this thread alone replaces a pointer. Calls within it on the same thread, as of a signal
    handler that saves a checkpoint, share it: they cannot wait for what they interrupt."""

    def __init__(self) -> None:
        #: Where the pointer was led to in this time, one after another.
        self.written: list[Name] = []


_held: dict[tuple[int, int, int, int], Section] = {}  # by process, thread and directory


@contextlib.contextmanager
def alone(directory: str) -> Iterator[Section]:
    """Wait until no other process, and no other thread, is in its section of the directory.

    Raises:
        TransferTimeoutError: one was in it for half a minute.
        OSError: there is no such directory.
    """
    fd = os.open(directory or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        about = os.fstat(fd)
        key = os.getpid(), threading.get_ident(), about.st_dev, about.st_ino
        if (interrupted := _held.get(key)) is not None:
            yield interrupted
            return
        section = _held[key] = Section()  # before the lock: whoever interrupts the wait for it must not wait
        locked = False
        try:
            locked = _lock(fd, directory)
            yield section
        finally:
            del _held[key]
            if locked:
                _unlock(fd)  # a child that was forked meanwhile has a copy of the descriptor
    finally:
        os.close(fd)


def _lock(fd: int, directory: str) -> bool:
    """Lock the open directory; whether that could be done."""
    try:
        from s3dlio.posix import fcntl
    except ImportError:  # Windows
        return False
    deadline = time.monotonic() + _SECONDS
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError as error:
            if time.monotonic() > deadline:
                raise TransferTimeoutError(
                    f"another process has the directory {directory} locked for {_SECONDS:.0f} s", operation="PUT",
                    hint=f"the checkpoint itself is whole: {either('list()', 's3-cli checkpoint ls')} shows it",
                ) from error  # fmt: skip
            time.sleep(0.002)
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
            _log.info("no locks in %s (%s): of two savers at the same moment the later one wins", directory, error)
            return False


def _unlock(fd: int) -> None:
    from s3dlio.posix import fcntl

    fcntl.flock(fd, fcntl.LOCK_UN)
