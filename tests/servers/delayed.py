"""A server that is far away: every GET or HEAD, of whatever path, gets the same object, a fixed time after it came.

One thread under epoll answers tens of thousands of requests a second, so that hundreds of requests in flight wait for
the distance and not for the server: answers are made once, and sent at once where they fit. It reads no request bodies.
"""

from __future__ import annotations

import argparse
import functools
import re
import selectors
import socket
import time
from collections import deque
from pathlib import Path

from tests.servers.base import LOOPBACK, PythonServer, announce

_RANGE = re.compile(rb"\r\nrange: *bytes=(\d+)-(\d*)\r\n", re.IGNORECASE)


class DelayedServer(PythonServer):
    """An object of *size* bytes that is *delay* seconds away, whatever key it is asked by."""

    name = "delayed"
    module = "tests.servers.delayed"

    def __init__(self, *, delay: float = 0.02, size: int = 4096) -> None:
        super().__init__()
        self.delay, self.size = delay, size

    @property
    def env(self) -> dict[str, str]:
        return self._aws_env()

    def _launch(self) -> None:
        self._launch_module(str(self.delay), str(self.size))


class _Connection:
    """What one client has sent and is still to be sent."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.received = b""
        self.unsent = bytearray()


class _Loop:
    """Accept, read requests, answer each when its time has come. All wait equally long: a queue keeps their order."""

    def __init__(self, listener: socket.socket, delay: float, size: int) -> None:
        self.delay = delay
        self.body = bytes(index % 251 for index in range(size))
        self.waiting: deque[tuple[float, _Connection, bytes]] = deque()
        self.selector = selectors.DefaultSelector()
        self.selector.register(listener, selectors.EVENT_READ, None)
        self.listener = listener
        self.made = functools.lru_cache(maxsize=1000)(self._make)

    def run(self) -> None:
        while True:
            # epoll sleeps whole milliseconds, rounded up: the last one is waited for awake.
            pause = max(self.waiting[0][0] - time.monotonic() - 1e-3, 0) if self.waiting else None
            for key, events in self.selector.select(pause):
                if key.data is None:
                    self._accept()
                elif events & selectors.EVENT_WRITE:
                    self._send(key.data)
                else:
                    self._receive(key.data)
            now = time.monotonic()
            while self.waiting and self.waiting[0][0] <= now:
                _, connection, answer = self.waiting.popleft()
                self._answer(connection, answer)

    def _accept(self) -> None:
        sock, _ = self.listener.accept()
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.selector.register(sock, selectors.EVENT_READ, _Connection(sock))

    def _receive(self, connection: _Connection) -> None:
        try:
            data = connection.sock.recv(1 << 16)
        except ConnectionError:
            data = b""
        if not data:
            self._close(connection)
            return
        *heads, connection.received = (connection.received + data).split(b"\r\n\r\n")
        due = time.monotonic() + self.delay
        for head in heads:
            wanted = _RANGE.search(head + b"\r\n")
            answer = self.made(head.startswith(b"HEAD "), *(wanted.groups() if wanted else (None, None)))
            self.waiting.append((due, connection, answer))

    def _make(self, head_only: bool, begin: bytes | None, end: bytes | None) -> bytes:
        body, status = self.body, "200 OK"
        extra = ""
        if begin is not None:
            first, last = int(begin), min(int(end or len(body)), len(body) - 1)
            extra = f"Content-Range: bytes {first}-{last}/{len(body)}\r\n"
            body, status = body[first : last + 1], "206 Partial Content"
        answer = (
            f'HTTP/1.1 {status}\r\nETag: "far-away"\r\nContent-Type: application/octet-stream\r\n'
            f"Last-Modified: Thu, 01 Jan 2026 00:00:00 GMT\r\n{extra}Content-Length: {len(body)}\r\n\r\n"
        ).encode()
        return answer if head_only else answer + body

    def _answer(self, connection: _Connection, answer: bytes) -> None:
        if not connection.unsent:
            try:
                sent = connection.sock.send(answer)
            except OSError:
                sent = 0  # not now, or never: _send finds out
            if sent == len(answer):
                return
            answer = answer[sent:]
        connection.unsent += answer
        self._send(connection)

    def _send(self, connection: _Connection) -> None:
        if connection.sock.fileno() < 0:
            return
        try:
            del connection.unsent[: connection.sock.send(connection.unsent)]
        except BlockingIOError:
            pass
        except ConnectionError:
            self._close(connection)
            return
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if connection.unsent else 0)
        if self.selector.get_key(connection.sock).events != events:
            self.selector.modify(connection.sock, events, connection)

    def _close(self, connection: _Connection) -> None:
        self.selector.unregister(connection.sock)
        connection.sock.close()


def _main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("port_file", type=Path)
    options.add_argument("delay", type=float)
    options.add_argument("size", type=int)
    args = options.parse_args()
    listener = socket.create_server((LOOPBACK, 0), backlog=4096)
    listener.setblocking(False)
    announce(args.port_file, listener.getsockname()[1])
    _Loop(listener, args.delay, args.size).run()


if __name__ == "__main__":
    _main()
