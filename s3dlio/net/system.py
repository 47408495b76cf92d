"""Clocks, sleep, random numbers, selectors and sockets, for ``net``, ``engine`` and the operations of cloud stores.

A simulation (``tests/simulation``) puts others here, so they are looked up at every call: ``system.monotonic()``. The
names hold the functions themselves: a call costs what ``time.monotonic()`` costs.
"""

from __future__ import annotations

import contextlib
import os
import random
import select
import selectors
import socket as _socket
import sys
import threading
import time as _time
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

from s3dlio.memory.pipe import CAN_SPLICE

monotonic = _time.monotonic
perf_counter = _time.perf_counter
time = _time.time
sleep = _time.sleep
#: Seconds that the calling thread has computed.
thread_time = _time.thread_time

uniform = random.uniform
#: What one thread waits at for what others put in.
mailbox: Any = SimpleQueue

#: Events of a socket, as epoll numbers them.
READ, WRITE = 1, 4


class Poller:
    """What of epoll is used here, on systems that have none."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self.unregister = self._selector.unregister
        self.close = self._selector.close

    def register(self, fd: int, events: int) -> None:
        self._selector.register(fd, _named(events))

    def modify(self, fd: int, events: int) -> None:
        self._selector.modify(fd, _named(events))

    def poll(self, timeout: float | None = None, maxevents: int = -1) -> list[tuple[int, int]]:
        """The descriptors that have events, and which; waits for ``timeout`` seconds at most."""
        return [(key.fd, (events & 1) | (events & 2) << 1) for key, events in self._selector.select(timeout)]


def _named(events: int) -> int:
    """As ``selectors`` numbers them."""
    return (events & READ) | (events & WRITE) >> 1


#: Waits for many sockets. epoll itself reports (descriptor, events): ``selectors`` makes an object for each.
poller: Any = getattr(select, "epoll", Poller)
#: Makes a poll object; None where the system has none.
poll: Any = getattr(select, "poll", None)


def wait_for_read(sock: Any, timeout: float) -> bool:
    """Wait until a socket has bytes, or the end, for ``timeout`` seconds at most; whether it has."""
    if poll is None:
        return bool(select.select([sock], [], [], timeout)[0])
    return _polled(sock, select.POLLIN, timeout)


def wait_for_write(sock: Any, timeout: float) -> bool:
    """Wait until a socket takes bytes, or has failed, for ``timeout`` seconds at most; whether it does."""
    if poll is None:
        return bool(select.select([], [sock], [], timeout)[1])
    return _polled(sock, select.POLLOUT, timeout)


def _polled(sock: Any, event: int, timeout: float) -> bool:
    poller = poll()
    poller.register(sock, event)
    return bool(poller.poll(timeout * 1000))


socket = _socket.socket
socketpair = _socket.socketpair
getaddrinfo = _socket.getaddrinfo
#: Of a socket, past what a subclass makes of it: ``shutdown(sock, how)``.
shutdown = _socket.socket.shutdown


def can_splice() -> bool:
    """Whether bytes can go from sockets to files within the kernel (``memory.pipe``)."""
    return CAN_SPLICE


def descriptors() -> int:
    """How many files this process may have open (``ulimit -n``)."""
    from s3dlio.posix import resource

    limit = int(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
    return sys.maxsize if limit == resource.RLIM_INFINITY else limit


class EventFd:
    """Wakes a selector from another thread. Its descriptor is closed when nobody holds it any more: a thread that
    wakes it at that moment never writes to another file."""

    def __init__(self) -> None:
        self._fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def fileno(self) -> int:
        return self._fd

    def wake(self) -> None:
        """Have the selector return. From any thread and signal handler."""
        os.eventfd_write(self._fd, 1)

    def clear(self) -> None:
        """The selector has returned: from now on it waits again."""
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self._fd)

    def __del__(self) -> None:
        with contextlib.suppress(AttributeError, OSError):
            os.close(self._fd)


class WakingPair:
    """As :class:`EventFd`, where the system has none: two sockets."""

    def __init__(self) -> None:
        self._reader, self._writer = socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)

    def fileno(self) -> int:
        return self._reader.fileno()

    def wake(self) -> None:
        with contextlib.suppress(BlockingIOError):  # full of calls that it has not answered yet
            self._writer.send(b"\0")

    def clear(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self._reader.recv(4096)


waker: Any = EventFd if hasattr(os, "eventfd") else WakingPair


def thread_clock() -> Callable[[], float]:
    """What tells any thread how many seconds the calling one has computed; 0 where the system does not tell, or when it
    has ended."""
    if not hasattr(_time, "pthread_getcpuclockid"):
        return float
    clock = _time.pthread_getcpuclockid(threading.get_ident())

    def computed() -> float:
        try:
            return _time.clock_gettime(clock)
        except OSError:
            return 0.0

    return computed
