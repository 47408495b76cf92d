"""A TCP proxy that counts, and hurts: in front of any server it can cut, reset, delay or stall connections.

>>> with FaultProxy(server.endpoint) as proxy:
...     proxy.plan(Fault(cut_after=10_000), Fault(reset=True))   # the next connection, the one after it; then none
...     client_talks_to(proxy.endpoint)
...     proxy.assert_planned_faults_happened()
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import struct
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import urlsplit

from tests.servers.base import LOOPBACK, Startable, accepted

METHODS = (b"GET ", b"PUT ", b"HEAD ", b"POST ", b"DELETE ", b"PATCH ", b"OPTIONS ")
PIECE = 1 << 16


@dataclass
class Fault:
    """What happens to one connection.

    cut_after: close it after this many bytes of response; with *reset*, by RST. *reset* alone: at its first request.
    stall_after: after this many bytes of response send no more, but leave it open.
    delay: seconds that every piece of the response is held back.
    refuse: cut it before a byte is read.
    """

    cut_after: int | None = None
    stall_after: int | None = None
    reset: bool = False
    delay: float = 0.0
    refuse: bool = False
    happened: bool = field(default=False, init=False)


@dataclass
class Tally:
    """What passed through the proxy: *requests* counts request heads that begin a piece (plain HTTP only)."""

    connections: int = 0
    requests: int = 0
    bytes_up: int = 0
    bytes_down: int = 0


class FaultProxy(Startable):
    """Relay every connection to *target* ("http://host:port", or https, relayed as it is)."""

    def __init__(self, target: str) -> None:
        parts = urlsplit(target)
        assert parts.hostname is not None
        assert parts.port is not None
        self._target = (parts.hostname, parts.port)
        self._listener = socket.create_server((LOOPBACK, 0), backlog=1024)
        self.endpoint = f"{parts.scheme}://{LOOPBACK}:{self._listener.getsockname()[1]}"
        self.tally = Tally()
        self._planned: deque[Fault] = deque()
        self._all_planned: list[Fault] = []
        self._every: Fault | None = None
        self._lock = threading.Lock()
        self._workers: list[threading.Thread] = []
        self._stopping = threading.Event()
        self._acceptor = threading.Thread(target=self._accept, name="proxy-accept", daemon=True)

    def plan(self, *faults: Fault) -> None:
        """Apply one fault each to the connections that come next; those after them are left alone."""
        self._planned.extend(faults)
        self._all_planned.extend(faults)

    def plan_every(self, fault: Fault | None) -> None:
        """Apply *fault* to every connection without a planned one, from now on; None ends it."""
        self._every = fault

    def assert_planned_faults_happened(self) -> None:
        """Fail if a planned fault never struck: the test would have shown nothing."""
        idle = [fault for fault in self._all_planned if not fault.happened]
        assert not idle, f"planned faults that never happened: {idle}"

    def start(self) -> Self:
        self._acceptor.start()
        return self

    def stop(self) -> None:
        self._stopping.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._acceptor.join()
        for worker in self._workers:
            worker.join()

    def _accept(self) -> None:
        for client in accepted(self._listener):
            self.tally.connections += 1
            fault = self._planned.popleft() if self._planned else self._every or Fault()
            worker = threading.Thread(target=self._relay, args=(client, fault), name="proxy-relay", daemon=True)
            self._workers.append(worker)
            worker.start()

    def _relay(self, client: socket.socket, fault: Fault) -> None:
        with client, contextlib.suppress(OSError), _connected(self._target) as server:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if fault.refuse:
                fault.happened = True
                _reset(client)
                return
            with selectors.DefaultSelector() as selector:
                selector.register(client, selectors.EVENT_READ)
                selector.register(server, selectors.EVENT_READ)
                down = 0
                while not self._stopping.is_set():
                    for key, _ in selector.select(0.2):
                        if key.fileobj is client:
                            if not self._pass_up(client, server, fault):
                                return
                        else:
                            moved = self._pass_down(server, client, fault, down)
                            if moved < 0:
                                return
                            if fault.stall_after is not None and down + moved >= fault.stall_after:
                                selector.unregister(server)
                            down += moved

    def _pass_up(self, client: socket.socket, server: socket.socket, fault: Fault) -> bool:
        """Relay one piece of the request; False ends the connection."""
        data = client.recv(PIECE)
        if not data:
            return False
        with self._lock:
            self.tally.requests += data.startswith(METHODS)
            self.tally.bytes_up += len(data)
        if fault.reset and fault.cut_after is None:
            fault.happened = True
            _reset(client)
            return False
        server.sendall(data)
        return True

    def _pass_down(self, server: socket.socket, client: socket.socket, fault: Fault, down: int) -> int:
        """Relay one piece of the response and return its length; -1 ends the connection."""
        limit = fault.cut_after if fault.cut_after is not None else fault.stall_after
        data = server.recv(PIECE if limit is None else min(PIECE, max(limit - down, 1)))
        if not data:
            return -1
        if fault.delay:
            fault.happened = True
            time.sleep(fault.delay)
        keep = len(data) if limit is None else min(len(data), limit - down)
        with self._lock:  # counted first: the client may look as soon as it has the bytes
            self.tally.bytes_down += keep
        at_limit = limit is not None and down + keep >= limit
        fault.happened |= at_limit
        client.sendall(data[:keep])
        if at_limit and fault.cut_after is not None:
            if fault.reset:
                _reset(client)
            return -1
        return keep


def _connected(target: tuple[str, int]) -> socket.socket:
    server = socket.create_connection(target)
    server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return server


def _reset(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()
