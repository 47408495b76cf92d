"""Short system calls on sockets that keep the interpreter's lock, for many threads that ask at once.

Python lets its lock go in every socket call, however short, and whoever waits takes it: 8 threads that each got 4 KiB
had 7 context switches a request, at 99 us of CPU time. A look at an idle connection and the sending of a small request
never wait, so they may keep the lock (``ctypes.PyDLL``); a thread then lets it go once a request, to sleep for the
answer: 1.6 switches, 56 us.
"""

from __future__ import annotations

import _socket
import ctypes
import errno
import os
import socket
import sys
import threading
from collections.abc import Sequence

#: Requests up to so many bytes, bodies included, are sent this way: the kernel copies them within some microseconds.
MOST_SENT = 32 * 1024

_ARGUMENTS = (ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
_LINUX = sys.platform == "linux"
_AT_ONCE: int = getattr(socket, "MSG_DONTWAIT", 0) | getattr(socket, "MSG_NOSIGNAL", 0)
_LOOK: int = getattr(socket, "MSG_DONTWAIT", 0) | socket.MSG_PEEK
_byte = ctypes.create_string_buffer(1)  # what lies there is never read
_BYTE = ctypes.addressof(_byte)
_first_of = ctypes.c_char.from_buffer

if _LINUX:
    _kept, _free = ctypes.PyDLL(None, use_errno=True), ctypes.CDLL(None, use_errno=True)
    _send, _peek, _receive = _kept.send, _kept.recv, _free.recv
    _send.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_int)
    _peek.argtypes = _receive.argtypes = _ARGUMENTS
    _send.restype = _peek.restype = _receive.restype = ctypes.c_ssize_t


def suits(sock: object) -> bool:
    """Whether these functions may be used with a socket: one of the interpreter's own, on Linux. (Those that gevent
    puts in their place never block a thread.)"""
    return _LINUX and isinstance(sock, _socket.socket)


def is_quiet(fd: int) -> bool:
    """Whether a socket has neither bytes nor the end of them, nor an error."""
    return _peek(fd, _BYTE, 1, _LOOK) < 0 and ctypes.get_errno() == errno.EAGAIN


def send(fd: int, pieces: Sequence[bytes | memoryview]) -> int:
    """Send what fits of a small request at once.

    Returns:
        how many bytes went; 0: none, or it is no small one. Another way of sending tells why.
    """
    data = pieces[0]
    if len(pieces) > 1:
        if sum(map(len, pieces)) > MOST_SENT:
            return 0
        data = b"".join(pieces)
    elif type(data) is not bytes or len(data) > MOST_SENT:
        return 0
    count: int = _send(fd, data, len(data), _AT_ONCE)
    return max(count, 0)


def receive(fd: int, room: memoryview) -> int:
    """Receive what comes first, asleep without the lock.

    Returns:
        the number of bytes, 0: the other end has closed; -1: a signal came, or this is the main thread, where the
        handler of a signal would run between the call and the look at its error number, and change that.

    Raises:
        OSError: also a BlockingIOError when the socket's own time-out has passed.
    """
    if threading.get_ident() == threading.main_thread().ident:
        return -1
    count: int = _receive(fd, ctypes.addressof(_first_of(room)), len(room), 0)
    if count < 0 and (number := ctypes.get_errno()) != errno.EINTR:
        raise OSError(number, os.strerror(number))
    return count
