"""A server that says exactly what a test scripts, byte for byte, for the cases that no real server produces on demand.

>>> with ScriptedServer([[Expect(b"GET /k"), Send(b"HTTP/1.1 200 OK\\r\\nContent-Length: 5\\r\\n\\r\\nhel"), Reset()],
...                      [Expect(b"GET /k"), respond(body=b"hello")]]) as server:
...     client_talks_to(server.endpoint)
...     server.assert_consumed()

One list is the script of one connection, in the order in which connections arrive.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Self

from tests.servers.base import LOOPBACK, Startable, accepted
from tests.servers.certs import Authority

HEAD_END = b"\r\n\r\n"
PATIENCE = 20.0


@dataclass(frozen=True)
class ReceivedRequest:
    """A request as its bytes arrived; *body* is decoded if it was chunked."""

    head: bytes
    body: bytes = b""

    @property
    def method(self) -> str:
        return self.head.split(b" ", 1)[0].decode("ascii")

    @property
    def target(self) -> str:
        """Path and query as sent."""
        return self.head.split(b" ", 2)[1].decode("ascii")

    @property
    def headers(self) -> dict[str, str]:
        """Header fields by lower-case name, repeated ones joined by a comma."""
        fields: dict[str, str] = {}
        for line in self.head.split(b"\r\n")[1:]:
            if line:
                name, _, value = line.decode("latin-1").partition(":")
                key = name.strip().lower()
                fields[key] = f"{fields[key]},{value.strip()}" if key in fields else value.strip()
        return fields


@dataclass(frozen=True)
class Expect:
    """Read one request, which must match: what its head starts with, or a predicate. *body* False: its head only."""

    match: bytes | Callable[[ReceivedRequest], bool] = b""
    body: bool = True


@dataclass(frozen=True)
class Send:
    """Send *data*, in pieces of *piece* bytes with a pause of *pause* seconds after each if given."""

    data: bytes
    piece: int = 0
    pause: float = 0.0


@dataclass(frozen=True)
class Receive:
    """Read exactly *count* bytes of whatever comes, such as a body after 100 Continue."""

    count: int


@dataclass(frozen=True)
class Wait:
    """Do nothing for *seconds*."""

    seconds: float


@dataclass(frozen=True)
class Until:
    """Do nothing until the test sets *event*."""

    event: threading.Event


@dataclass(frozen=True)
class Close:
    """Close the connection in order (FIN)."""


@dataclass(frozen=True)
class Reset:
    """Cut the connection (RST)."""


@dataclass(frozen=True)
class ExpectClose:
    """The client must close the connection now, without another byte."""


Action = Expect | Send | Receive | Wait | Until | Close | Reset | ExpectClose


def respond(
    status: str = "200 OK", *, body: bytes = b"", headers: Sequence[tuple[str, str]] = (), length: bool = True
) -> Send:
    """Return a whole response; *length* False leaves Content-Length out."""
    fields = [*headers, ("Content-Length", str(len(body)))] if length else list(headers)
    head = "".join(f"{name}: {value}\r\n" for name, value in fields)
    return Send(f"HTTP/1.1 {status}\r\n{head}\r\n".encode("latin-1") + body)


class ScriptMismatchError(AssertionError):
    """The client did something else than the script expects, or left instructions unused."""


@dataclass
class _Connection:
    """One accepted connection with what was read from it but not used yet."""

    sock: socket.socket
    pending: bytearray = field(default_factory=bytearray)

    def read_request(self, with_body: bool) -> ReceivedRequest:
        while (end := self.pending.find(HEAD_END)) < 0:
            self._more("the end of a request's head")
        head = self.take(end + len(HEAD_END))
        request = ReceivedRequest(head)
        if not with_body:
            return request
        if "chunked" in request.headers.get("transfer-encoding", ""):
            return ReceivedRequest(head, self._chunked())
        return ReceivedRequest(head, self.take(int(request.headers.get("content-length", "0"))))

    def take(self, count: int) -> bytes:
        while len(self.pending) < count:
            self._more(f"{count} bytes")
        data = bytes(self.pending[:count])
        del self.pending[:count]
        return data

    def _chunked(self) -> bytes:
        body = bytearray()
        while size := int(self._line().partition(b";")[0], 16):
            body += self.take(size)
            self._line()
        while self._line():  # trailers
            pass
        return bytes(body)

    def _line(self) -> bytes:
        while (end := self.pending.find(b"\r\n")) < 0:
            self._more("the end of a line")
        return self.take(end + 2)[:-2]

    def _more(self, what: str) -> None:
        data = self.sock.recv(1 << 20)
        if not data:
            raise ScriptMismatchError(f"the client closed where {what} was expected, after {bytes(self.pending)!r}")
        self.pending += data

    def expect_close(self) -> None:
        with contextlib.suppress(ConnectionResetError, ssl.SSLError):
            rest = bytes(self.pending) or self.sock.recv(1 << 16)
            if rest:
                raise ScriptMismatchError(f"the client should have closed but sent {rest[:200]!r}")

    def reset(self) -> None:
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()


class ScriptedServer(Startable):
    """Serve one script per connection, each in a thread of its own, and keep what arrived.

    requests: what each connection sent, in the order of connections.
    tls: talk TLS with a certificate of that authority.
    A mismatch is kept and raised by assert_consumed(); the connection is cut, so that the client notices too.
    """

    def __init__(self, scripts: Sequence[Sequence[Action]], *, tls: Authority | None = None) -> None:
        self._scripts = [list(script) for script in scripts]
        self.requests: list[list[ReceivedRequest]] = [[] for _ in scripts]
        self.extra_connections = 0
        self._problems: list[str] = []
        self._done = [0] * len(scripts)
        self._workers: list[threading.Thread] = []
        self._socks: list[socket.socket] = []
        self._context: ssl.SSLContext | None = None
        if tls:
            self._context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            self._context.load_cert_chain(tls.cert, tls.key)
        self._listener = socket.create_server((LOOPBACK, 0), backlog=128)
        self.port: int = self._listener.getsockname()[1]
        self.endpoint = f"{'https' if tls else 'http'}://{LOOPBACK}:{self.port}"
        self._acceptor = threading.Thread(target=self._accept, name="scripted-accept", daemon=True)

    @property
    def all_requests(self) -> list[ReceivedRequest]:
        """The requests of all connections, one connection after the other."""
        return [request for connection in self.requests for request in connection]

    def start(self) -> Self:
        self._acceptor.start()
        return self

    def stop(self) -> None:
        """Stop listening, cut what is still open, end the threads."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # close() alone does not wake a blocked accept()
        self._listener.close()
        self._acceptor.join(PATIENCE)
        for sock in self._socks:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for worker in self._workers:
            worker.join(PATIENCE)
        for sock in self._socks:
            sock.close()

    def assert_consumed(self) -> None:
        """Fail unless every instruction was used, every expectation met, and no connection came beyond the script."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline and not self._problems and self._goes_on():
            time.sleep(0.005)  # the last instructions may still be running
        problems = list(self._problems)
        for index, (script, done) in enumerate(zip(self._scripts, self._done, strict=True)):
            if done < len(script):
                problems.append(f"connection {index}: {len(script) - done} instructions unused, next {script[done]!r}")
        if self.extra_connections:
            problems.append(f"{self.extra_connections} connections more than the script has")
        if problems:
            raise ScriptMismatchError("\n".join(problems))

    def _goes_on(self) -> bool:
        """Whether a connection is served, or one is still to come: what a lane sends comes when it comes."""
        return len(self._workers) < len(self._scripts) or any(worker.is_alive() for worker in self._workers)

    def _accept(self) -> None:
        for index, sock in enumerate(accepted(self._listener)):
            if index >= len(self._scripts):
                self.extra_connections += 1
                sock.close()
                continue
            self._socks.append(sock)
            worker = threading.Thread(target=self._serve, args=(index, sock), name=f"scripted-{index}", daemon=True)
            worker.start()
            self._workers.append(worker)  # once it is alive: before, `_goes_on` would take it for one that has ended

    def _serve(self, index: int, sock: socket.socket) -> None:
        try:
            sock.settimeout(PATIENCE)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._context:
                sock = self._context.wrap_socket(sock, server_side=True)
                self._socks.append(sock)
            connection = _Connection(sock)
            for action in self._scripts[index]:
                self._perform(index, connection, action)
                self._done[index] += 1
        except (ScriptMismatchError, OSError, ValueError) as error:
            at = self._done[index]
            self._problems.append(f"connection {index}, instruction {at}: {type(error).__name__}: {error}")
        finally:
            sock.close()

    def _perform(self, index: int, connection: _Connection, action: Action) -> None:
        match action:
            case Expect():
                request = connection.read_request(action.body)
                self.requests[index].append(request)
                fits = action.match(request) if callable(action.match) else request.head.startswith(action.match)
                if not fits:
                    raise ScriptMismatchError(f"expected {action.match!r}, got {request.head!r}")
            case Send():
                step = action.piece or max(len(action.data), 1)
                for start in range(0, len(action.data), step):
                    connection.sock.sendall(action.data[start : start + step])
                    time.sleep(action.pause)
            case Receive():
                connection.take(action.count)
            case Wait():
                time.sleep(action.seconds)
            case Until():
                if not action.event.wait(PATIENCE):
                    raise ScriptMismatchError("the event that the script waits for was never set")
            case Close():
                with contextlib.suppress(OSError):
                    connection.sock.shutdown(socket.SHUT_RDWR)
                connection.sock.close()
            case Reset():
                connection.reset()
            case ExpectClose():
                connection.expect_close()
