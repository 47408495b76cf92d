"""Sockets, selectors and polls of the simulated world, as much of them as the client uses.

They behave as Linux's: the lowest free descriptor is used again, closing takes a socket out of every selector, a reset
is told once, and bytes that had come before it may still be read.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import struct
import sys
from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from tests.simulation.world import World

if TYPE_CHECKING:
    from tests.simulation.network import Link, Network

READ, WRITE = 1, 4
_BROKEN = 8 | 16  # EPOLLERR and EPOLLHUP, which nobody asks for
_FIRST = 3000  # descriptors that no real file of this process has


class Descriptors:
    """The open sockets of the client, by descriptor."""

    def __init__(self) -> None:
        self.open: dict[int, Any] = {}
        self.selectors: list[SimPoller] = []

    def add(self, sock: Any) -> int:
        fd = _FIRST
        while fd in self.open:
            fd += 1
        self.open[fd] = sock
        return fd

    def remove(self, sock: Any) -> None:
        for selector in self.selectors:
            selector.forget(sock)
        del self.open[sock.fd]


class SimSocket:
    """What the client has of a stream; when nobody has it any more, it is closed, as every socket is."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def __del__(self) -> None:
        if not self.stream.closed:
            self.stream.forgotten = True
            self.stream.close()


class Stream:
    """A stream socket of the client."""

    def __init__(self, world: World, network: Network) -> None:
        self.world = world
        self.network = network
        self.number = network.numbered()
        self.fd = network.descriptors.add(self)
        self.link: Link | None = None
        self.connected = False
        #: What is to be told once: of connecting, or a reset.
        self.error = 0
        self.closed = False
        self.forgotten = False  # nobody has closed it; an interrupt came between two lines
        self.ended = False  # by the other side
        self.shut = False  # by us
        self.received: deque[memoryview] = deque()
        #: The moment of the last byte in either direction.
        self.last_byte = world.now
        self._timeout: float | None = None  # None blocks, 0 does not
        self._limit: float | None = None  # SO_RCVTIMEO

    # -- states

    def readable(self) -> bool:
        return bool(self.received) or self.ended or self.error != 0 or self.shut

    def writable(self) -> bool:
        if self.error or self.shut:
            return True
        return self.connected and self.link is not None and (self.link.room() > 0 or self.link.broken)

    def fileno(self) -> int:
        return -1 if self.closed else self.fd

    # -- options

    def setblocking(self, blocking: bool) -> None:
        self._timeout = None if blocking else 0.0

    def settimeout(self, seconds: float | None) -> None:
        self._timeout = seconds

    def setsockopt(self, level: int, option: int, value: Any) -> None:
        if option == socket.SO_RCVTIMEO:
            whole, micro = struct.unpack("ll", value)
            self._limit = whole + micro / 1e6

    def getsockopt(self, level: int, option: int) -> int:
        assert option == socket.SO_ERROR
        code, self.error = self.error, 0
        return code

    # -- connecting

    def connect_ex(self, place: Any) -> int:
        self.world.step()
        self.world.note("connect", self.number, place[0])
        return self.network.connect(self, place)

    # -- bytes

    def recv_into(self, room: memoryview, nbytes: int = 0, flags: int = 0) -> int:
        world = self.world
        world.step()
        self._check()
        wanted = nbytes or len(room)
        if self._timeout == 0.0 or flags & socket.MSG_DONTWAIT:
            if not self.readable():
                raise BlockingIOError(errno.EAGAIN, "nothing there")
            return self._take(room, wanted)
        limit = self._limit if self._timeout is None else self._timeout
        got = 0
        while got < wanted:
            if not self.readable() and not world.wait(self.readable, limit):
                if got:
                    break
                raise BlockingIOError(errno.EAGAIN, "nothing has come in time")
            if got and self.error and not self.received:
                break
            count = self._take(room[got:], wanted - got)
            got += count
            if count == 0 or not flags & socket.MSG_WAITALL:
                break
        return got

    def _take(self, room: memoryview, wanted: int) -> int:
        got = 0
        while self.received and got < wanted:
            piece = self.received[0]
            count = min(len(piece), wanted - got)
            room[got : got + count] = piece[:count]
            got += count
            if count == len(piece):
                self.received.popleft()
            else:
                self.received[0] = piece[count:]
        if got:
            self.world.note("recv", self.number, got)
            self.last_byte = self.world.now  # where bandwidth is limited, long after it came
            if self.link is not None:
                self.link.taken(got)
            return got
        if self.error:
            code, self.error = self.error, 0
            self.ended = True
            self.world.note("recv", self.number, "reset")
            raise ConnectionResetError(code, os.strerror(code))
        self.world.note("recv", self.number, "end")
        return 0

    def send(self, data: Any) -> int:
        return self.sendmsg([memoryview(data)])

    def sendmsg(self, pieces: Any) -> int:
        world = self.world
        world.step()
        self._check()
        link = self.link
        assert link is not None
        data = pieces[0] if len(pieces) == 1 else memoryview(b"".join(pieces))
        sent = 0
        while True:
            if self.error:
                code, self.error, self.ended = self.error, 0, True
                raise ConnectionResetError(code, os.strerror(code))
            if self.shut or link.broken:
                raise BrokenPipeError(errno.EPIPE, "Broken pipe")
            sent += link.send(data[sent:])
            if sent == len(data) or (sent and self._timeout == 0.0):
                break
            if self._timeout == 0.0:
                raise BlockingIOError(errno.EAGAIN, "no room")
            limit = self._limit if self._timeout is None else self._timeout
            if not world.wait(self.writable, limit):
                if sent:
                    break
                raise BlockingIOError(errno.EAGAIN, "no room in time")
        self.last_byte = world.now
        world.note("send", self.number, sent)
        return sent

    def _check(self) -> None:
        if self.closed:
            raise OSError(errno.EBADF, "Bad file descriptor")

    # -- the end

    def shutdown(self, how: int) -> None:
        self._check()
        self.world.note("shutdown", self.number)
        self.shut = True
        if self.link is not None:
            self.link.left()

    def close(self) -> None:
        if self.closed:
            return
        self.world.note("close", self.number)
        self.closed = True
        self.network.on_close(self)
        self.network.descriptors.remove(self)
        if self.link is not None:
            self.link.left()


class SimPoller:
    """``select.epoll()``: a socket is watched as long as it is open, not as long as its descriptor has its number."""

    def __init__(self, world: World, descriptors: Descriptors) -> None:
        self.world = world
        self._descriptors = descriptors
        self._watched: dict[Stream, int] = {}
        self.closed = False
        descriptors.selectors.append(self)

    def forget(self, sock: Stream) -> None:
        self._watched.pop(sock, None)

    def _sock(self, fd: int) -> Any:
        sock = self._descriptors.open.get(fd)
        if sock is None:
            raise OSError(errno.EBADF, "Bad file descriptor")
        return sock

    def _known(self, fd: int) -> Any:
        sock = self._sock(fd)
        if sock not in self._watched:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory")
        return sock

    def register(self, fd: int, events: int) -> None:
        sock = self._sock(fd)
        if sock in self._watched:
            raise FileExistsError(errno.EEXIST, "File exists")
        self._watched[sock] = events

    def modify(self, fd: int, events: int) -> None:
        self._watched[self._known(fd)] = events

    def unregister(self, fd: int) -> None:
        del self._watched[self._known(fd)]

    def _ready(self) -> Iterator[tuple[Stream, int]]:
        for sock, events in self._watched.items():
            mask = (READ if sock.readable() else 0) | (WRITE if sock.writable() else 0)
            if mask := mask & events | (_BROKEN if sock.error else 0):
                yield sock, mask

    def any_ready(self) -> bool:
        return any(True for _ in self._ready())

    def poll(self, timeout: float | None = None, maxevents: int = -1) -> list[tuple[int, int]]:
        world = self.world
        world.step()
        world.pass_time(1e-6)
        world.wait(self.any_ready, None if timeout is None or timeout < 0 else timeout)
        ready = [(sock.fd, mask) for sock, mask in self._ready()]
        if len(ready) > 1:
            world.chance.shuffle(ready)
        return ready if maxevents < 0 else ready[:maxevents]

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self._descriptors.selectors.remove(self)
            self._watched.clear()


class SimPoll:
    """``select.poll()`` with one socket."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._sock: Stream | None = None

    def register(self, sock: SimSocket, events: int) -> None:
        assert events == select.POLLIN
        self._sock = sock.stream

    def poll(self, milliseconds: float | None = None) -> list[tuple[int, int]]:
        sock = self._sock
        assert sock is not None
        if milliseconds:
            self._world.step()
        if sock.closed:
            return [(sock.fd, select.POLLNVAL)]
        self._world.wait(sock.readable, None if milliseconds is None else milliseconds / 1000)
        return [(sock.fd, select.POLLIN)] if sock.readable() else []


def functions(world: World, network: Network) -> dict[str, Callable[..., Any]]:
    """What takes the place of the functions of ``s3dlio.net.system``."""

    def wait(sock: Stream, ready: Callable[[], bool], timeout: float | None) -> bool:
        world.step()
        return world.wait(ready, timeout)

    def refuse(*args: Any, **named: Any) -> Any:
        raise AssertionError("the simulated world has no such thing")

    def new_socket(*kind: Any) -> SimSocket:
        if sum(isinstance(other, Stream) for other in network.descriptors.open.values()) >= network.most_sockets:
            network.crowded += 1
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return SimSocket(Stream(world, network))

    return {
        "poller": lambda: SimPoller(world, network.descriptors),
        "poll": lambda: SimPoll(world),
        "socket": new_socket,
        "shutdown": lambda sock, how: sock.shutdown(how),
        "wait_for_read": lambda sock, timeout=None: wait(sock, sock.readable, timeout),
        "wait_for_write": lambda sock, timeout=None: wait(sock, sock.writable, timeout),
        "getaddrinfo": network.addresses,
        "socketpair": refuse,
        "descriptors": lambda: sys.maxsize,
        "can_splice": lambda: False,
    }
