"""Messages between a process and its workers: pickles over a pair of sockets, descriptors beside them.

A message is whole or not there, however the other end died. It may hold secrets (credentials, a customer's keys), which
pickles of settings and options otherwise leave out: it goes to a process of ours that inherited its end, over no name,
command line or file that others could read.
"""

from __future__ import annotations

import array
import errno
import io
import os
import pickle
import socket
from collections.abc import Sequence
from typing import Any

from s3dlio.config.endpoints import Endpoint
from s3dlio.config.fields import Section
from s3dlio.foreign_errors import from_os_error
from s3dlio.net import system
from s3dlio.types import Conditions, PutOptions

#: Descriptors that one message brings at most.
MOST_FDS = 64
_LARGE = 64 << 10  # bytes; what is larger travels in a memory file
_IN_A_FILE = b"memfd"  # stands for a message there; a pickle begins with another byte
_SPACE = socket.CMSG_SPACE(4 * (MOST_FDS + 1)) if hasattr(socket, "CMSG_SPACE") else 0


class _Pickler(pickle.Pickler):
    """Keeps the secrets of settings and options."""

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, Section | Endpoint | Conditions | PutOptions):
            return _made, (type(obj), {name: getattr(obj, name) for name in obj._fields})
        return NotImplemented


def _made(kind: type[Any], values: dict[str, Any]) -> Any:
    return kind(**values)


def dumped(message: Any) -> bytes:
    """The pickle of a message, with its secrets."""
    file = io.BytesIO()
    _Pickler(file, protocol=pickle.HIGHEST_PROTOCOL).dump(message)
    return file.getvalue()


class Channel:
    """One end of the pair. One thread sends, one receives.

    Args:
        end: the socket; becomes the channel's.
    """

    def __init__(self, end: socket.socket) -> None:
        self._socket = end
        self._buffer = bytearray(_LARGE)

    @classmethod
    def pair(cls) -> tuple[Channel, socket.socket]:
        """A channel, and the other end, for a child."""
        here, there = system.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        return cls(here), there

    def fileno(self) -> int:
        return self._socket.fileno()

    def send(self, message: Any, fds: Sequence[int] = ()) -> None:
        """Send a message, and copies of descriptors; waits while the other end has no room for it.

        Raises:
            OSError: the other end has gone.
        """
        data = dumped(message)
        if len(data) > _LARGE:
            file = os.memfd_create("s3dlio-message", os.MFD_CLOEXEC)
            try:
                with open(file, "wb", closefd=False) as out:
                    out.write(data)
                self._send(_IN_A_FILE, (*fds, file))
            finally:
                os.close(file)
        else:
            self._send(data, fds)

    def _send(self, data: bytes, fds: Sequence[int]) -> None:
        beside = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        self._socket.sendmsg((data,), beside, socket.MSG_NOSIGNAL)

    def receive(self) -> tuple[Any, list[int]]:
        """The next message, and the descriptors that came with it, which are the caller's to close; waits for it.

        Raises:
            EOFError: the other end has gone.
            StorageFullError: this process can have no more descriptors.
        """
        try:
            size, beside, flags, _ = self._socket.recvmsg_into((self._buffer,), _SPACE, socket.MSG_CMSG_CLOEXEC)
        except OSError as error:  # reset: it died with messages of ours unread
            raise EOFError from error
        fds: list[int] = []
        for _, _, data in beside:
            fds += array.array("i", data[: len(data) - len(data) % 4])
        if flags & socket.MSG_CTRUNC:
            for fd in fds:
                os.close(fd)
            raise from_os_error(OSError(errno.EMFILE, os.strerror(errno.EMFILE)))
        if not size:
            raise EOFError
        received = memoryview(self._buffer)[:size]
        if received == _IN_A_FILE:
            with open(fds.pop(), "rb") as file:
                file.seek(0)
                return pickle.load(file), fds
        return pickle.loads(received), fds

    def close(self) -> None:
        self._socket.close()
