"""Reads of files that do not wait for a disk: what is in the page cache comes at once; of the rest it is said that it
is not there, and another thread reads it.

Where a file system tells (RWF_NOWAIT: ext4, XFS, btrfs and others, since Linux 4.14), that costs nothing: it is one
call either way. Others (tmpfs, NFS, FUSE) do not tell: there a read is made at once as long as the one before it on
that device was quick, and the first one is not.
"""

from __future__ import annotations

import errno
import logging
import os
import time

from s3dlio.memory.libc import advise, pread_full

log = logging.getLogger("s3dlio.disk")

#: A read of 1 MiB that takes so many seconds came from no page cache.
SLOW = 10e-3
#: A thread that reads has the system read so many bytes ahead.
_AHEAD = 8 << 20
_NOWAIT: int = getattr(os, "RWF_NOWAIT", 0)
_UNTOLD = frozenset({errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL})

#: Devices whose file systems do not tell: whether the next read there may take long.
_slow: dict[int, bool] = {}


def preadv(fd: int, view: memoryview, position: int) -> int:
    """Read what is there at once.

    Raises:
        BlockingIOError: nothing is.
        OSError: EOPNOTSUPP where the file system does not tell; or the read failed.
    """
    if not _NOWAIT:
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))
    return os.preadv(fd, (view,), position, _NOWAIT)


def read_present(fd: int, view: memoryview, position: int, device: int) -> int | None:
    """Read what is there without waiting for a disk.

    Args:
        fd: an open file.
        view: where it goes.
        position: in the file, in bytes.
        device: of the file (``st_dev``).

    Returns:
        the count, which may be short; 0 only at the file's end, and None where nothing is there yet.

    Raises:
        OSError: the read failed.
    """
    slow = _slow.get(device)
    if slow is None:
        try:
            return preadv(fd, view, position)
        except BlockingIOError:
            return None
        except OSError as error:
            if error.errno not in _UNTOLD:
                raise
        slow = _slow[device] = True
    return None if slow else _timed(fd, view, position, device)


def read_aside(fd: int, view: memoryview, position: int, device: int, follows: int) -> int:
    """Read all of it, however long that takes, and have the system read ahead; the count, short only at the end.

    Args:
        fd, view, position, device: as of :func:`read_present`.
        follows: so many bytes are read after these.

    Raises:
        OSError: the read failed.
    """
    if follows:
        advise(fd, position + len(view), min(follows, _AHEAD), "willneed")
    return _timed(fd, view, position, device)


def _timed(fd: int, view: memoryview, position: int, device: int) -> int:
    began = time.perf_counter()
    count = pread_full(fd, view, position)
    seconds = time.perf_counter() - began
    if device in _slow:
        _slow[device] = seconds > SLOW
    if seconds > 1.0:
        log.info("reading %d bytes of a local file took %.1f s; other transfers went on", count, seconds)
    return count
