"""The floor: what one Python thread can do with bare sockets, unsigned, and with answers that it hardly reads.

Many connections under epoll; one connection blocks, which is quicker still. Bodies land in one buffer per connection.
"""

from __future__ import annotations

import select
import socket
from collections.abc import Sequence
from urllib.parse import urlsplit

from protocol import Library, Target, serve

HEAD = 4096
"""Bytes kept for the head of an answer."""


class Connection:
    """A socket and the buffer in which answers land, head and body."""

    def __init__(self, address: tuple[str, int], size: int, *, blocking: bool) -> None:
        self.sock = socket.create_connection(address)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.setblocking(blocking)
        self.buffer = bytearray(size + HEAD)
        self.view = memoryview(self.buffer)
        self.filled = 0
        self.expected = 0
        self.unsent: list[memoryview] = []

    def begin(self, request: bytes, body: memoryview) -> None:
        self.filled = self.expected = 0
        self.unsent = [memoryview(request), body] if body else [memoryview(request)]
        self.send()

    def send(self) -> bool:
        """Whether all is sent."""
        while self.unsent:
            try:
                sent = self.sock.sendmsg(self.unsent)
            except BlockingIOError:
                return False
            while self.unsent and sent >= len(self.unsent[0]):
                sent -= len(self.unsent.pop(0))
            if self.unsent:
                self.unsent[0] = self.unsent[0][sent:]
        return True

    def receive(self, flags: int = 0) -> bool:
        """Take what is there; whether the answer is whole."""
        count = self.sock.recv_into(self.view[self.filled :], self.expected - self.filled if flags else 0, flags)
        if not count:
            raise ConnectionError("the server closed a connection")
        self.filled += count
        if not self.expected:
            self.expected = self._length()
        return 0 < self.expected <= self.filled

    def _length(self) -> int:
        """Bytes of the whole answer; 0 when its head has not arrived."""
        end = self.buffer.find(b"\r\n\r\n", 0, self.filled) + 4
        if end < 4:
            return 0
        if self.buffer[9:10] != b"2":
            raise ConnectionError(f"the server answered {bytes(self.buffer[:end])!r}")
        at = self.buffer.find(b"Content-Length: ", 0, end) + 16
        length = int(self.buffer[at : self.buffer.find(b"\r", at)]) if at >= 16 else 0
        self.body = length
        return end + (length if self.reads_body else 0)

    reads_body = True
    body = 0


class Floor(Library):
    def __init__(self, target: Target) -> None:
        super().__init__(target)
        parts = urlsplit(target.endpoint)
        self.address = (str(parts.hostname), int(parts.port or 80))
        self.connections: list[Connection] = []

    def get(self, keys: Sequence[str], size: int, in_flight: int) -> int:
        return self._run([self._request("GET", key) for key in keys], b"", size, in_flight)

    def put(self, keys: Sequence[str], data: bytes, in_flight: int) -> int:
        requests = [self._request("PUT", key, len(data)) for key in keys]
        self._run(requests, data, 0, in_flight)
        return len(keys) * len(data)

    def stat(self, keys: Sequence[str]) -> int:
        self._connect(0, 1)
        self.connections[0].reads_body = False
        return self._run([self._request("HEAD", key) for key in keys], b"", 0, 1)

    def _request(self, method: str, key: str, length: int | None = None) -> bytes:
        host = f"Host: {self.address[0]}:{self.address[1]}\r\n"
        extra = "" if length is None else f"Content-Length: {length}\r\n"
        return f"{method} /{self.target.container}/{key} HTTP/1.1\r\n{host}{extra}\r\n".encode()

    def _connect(self, size: int, in_flight: int) -> None:
        while len(self.connections) < in_flight:
            self.connections.append(Connection(self.address, size, blocking=in_flight == 1))

    def _run(self, requests: list[bytes], data: bytes, size: int, in_flight: int) -> int:
        self._connect(size, in_flight)
        body = memoryview(data)
        return self._one(requests, body) if in_flight == 1 else self._many(requests, body)

    def _one(self, requests: list[bytes], body: memoryview) -> int:
        connection, seen = self.connections[0], 0
        for request in requests:
            connection.begin(request, body)
            whole = connection.receive()
            while not whole:
                whole = connection.receive(socket.MSG_WAITALL if connection.expected else 0)
            seen += connection.body
        return seen

    def _many(self, requests: list[bytes], body: memoryview) -> int:
        left, seen, busy = iter(requests), 0, 0
        by_number = {connection.sock.fileno(): connection for connection in self.connections}
        with select.epoll() as poller:

            def start(number: int) -> int:
                for request in left:
                    by_number[number].begin(request, body)
                    events = select.EPOLLOUT if by_number[number].unsent else select.EPOLLIN
                    poller.modify(number, events) if body else None
                    return 1
                return 0

            for number in by_number:
                poller.register(number, select.EPOLLIN)
                busy += start(number)
            while busy:
                for number, event in poller.poll():
                    connection = by_number[number]
                    if event & select.EPOLLOUT:
                        if connection.send():
                            poller.modify(number, select.EPOLLIN)
                    elif connection.receive():
                        seen += connection.body
                        busy += start(number) - 1
        return seen


if __name__ == "__main__":
    serve(Floor)
