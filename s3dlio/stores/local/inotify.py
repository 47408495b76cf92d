"""Changes beneath a directory, as the kernel tells them: inotify(7), through ctypes. Linux only."""

from __future__ import annotations

import ctypes
import errno
import os
import select
import struct
import sys
import time

from s3dlio.errors import UnsupportedOperationError
from s3dlio.foreign_errors import from_os_error

_ATTRIB, _CLOSE_WRITE, _MOVED_FROM, _MOVED_TO, _CREATE, _DELETE = 0x4, 0x8, 0x40, 0x80, 0x100, 0x200
_DELETE_SELF, _OVERFLOW, _IS_DIRECTORY = 0x400, 0x4000, 0x40000000
#: What changes what a directory holds. Files count when they are closed after a write.
_CHANGES = _CLOSE_WRITE | _MOVED_FROM | _MOVED_TO | _CREATE | _DELETE | _DELETE_SELF | _ATTRIB
_EVENT = struct.Struct("iIII")
_BUFFER = 1 << 16


class TreeWatch:
    """Watches a directory with all beneath it, also what is made there later. Not for several threads at once.

    Args:
        root: the directory; links to directories in it are followed, each directory once.

    Raises:
        UnsupportedOperationError: this system has no inotify, or allows no more watches.
        ObjectNotFoundError: there is no such directory.
    """

    def __init__(self, root: str) -> None:
        if not sys.platform.startswith("linux"):
            raise UnsupportedOperationError("this system does not tell of changes to files", uri=f"file://{root}")
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._fd = self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._fd < 0:
            raise self._unsupported(root)
        self._paths: dict[int, str] = {}
        self._seen: set[tuple[int, int]] = set()
        try:
            if not os.path.isdir(root):
                raise from_os_error(NotADirectoryError(errno.ENOTDIR, "it is no directory"), uri=f"file://{root}",
                                    operation="WATCH")  # fmt: skip
            self._add(root)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> TreeWatch:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Watch no more."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def wait(self, timeout: float | None = None) -> bool:
        """Whether anything has changed since the last call; waits for it, up to ``timeout`` seconds."""
        until = None if timeout is None else time.monotonic() + timeout
        while True:
            left = None if until is None else max(0.0, until - time.monotonic())
            if not select.select([self._fd], [], [], left)[0]:
                return False
            if self._read():
                return True

    def _read(self) -> bool:
        """Take the events that are there; whether any is a change."""
        changed = False
        try:
            data = os.read(self._fd, _BUFFER)
        except BlockingIOError:
            return False
        at = 0
        while at < len(data):
            watch, mask, _, length = _EVENT.unpack_from(data, at)
            name = os.fsdecode(data[at + _EVENT.size : at + _EVENT.size + length].rstrip(b"\0"))
            at += _EVENT.size + length
            changed = changed or bool(mask & (_CHANGES | _OVERFLOW))
            if mask & _IS_DIRECTORY and mask & (_CREATE | _MOVED_TO) and watch in self._paths:
                self._add(os.path.join(self._paths[watch], name))
        return changed

    def _add(self, directory: str) -> None:
        """Watch a directory and those in it. One that is gone by now is no error."""
        waiting = [directory]
        while waiting:
            path = waiting.pop()
            try:
                about = os.stat(path)
                if (about.st_dev, about.st_ino) in self._seen:
                    continue
                watch = self._libc.inotify_add_watch(self._fd, os.fsencode(path), _CHANGES)
                if watch < 0:
                    if ctypes.get_errno() in (errno.ENOSPC, errno.ENOMEM):
                        raise self._unsupported(path)
                    continue
                self._seen.add((about.st_dev, about.st_ino))
                self._paths[watch] = path
                with os.scandir(path) as entries:
                    waiting += [entry.path for entry in entries if entry.is_dir()]
            except OSError as error:
                if isinstance(error, UnsupportedOperationError) or (path == directory and not self._paths):
                    raise
                continue

    def _unsupported(self, path: str) -> UnsupportedOperationError:
        reason = os.strerror(ctypes.get_errno())
        return UnsupportedOperationError(
            f"the kernel cannot watch it: {reason}", uri=f"file://{path}", operation="WATCH",
            hint="raise fs.inotify.max_user_watches (sysctl)",
        )  # fmt: skip
