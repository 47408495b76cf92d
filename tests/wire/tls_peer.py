"""The other end of TLS connections, with a hand in every record and in how its bytes are cut into pieces."""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import queue
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from typing import Any

from s3dlio.net.message import Service
from tests.servers.base import LOOPBACK
from tests.servers.certs import Authority
from tests.wire.harness import HTTP, QUICK, service_of

PATIENCE = 20.0
#: Of one record, at most.
RECORD = 16384

QUICK_ONCE = dataclasses.replace(QUICK, max_attempts=1)


class Peer:
    """One accepted connection: plain text becomes records (``record``), whose bytes go out when they are sent."""

    def __init__(self, sock: socket.socket, context: ssl.SSLContext) -> None:
        sock.settimeout(PATIENCE)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock = sock
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._in, self._out, server_side=True)
        self._read_more(self._tls.do_handshake)
        self.sock.sendall(self._out.read())

    def _read_more(self, step: Callable[[], Any]) -> Any:
        """The result of ``step``, for which as many bytes are received as it wants."""
        while True:
            try:
                return step()
            except ssl.SSLWantReadError:
                if out := self._out.read():
                    self.sock.sendall(out)
                data = self.sock.recv(1 << 16)
                if not data:
                    raise ConnectionError("the client has closed") from None
                self._in.write(data)

    def read(self, count: int) -> bytes:
        """Up to ``count`` bytes of plain text."""
        data: bytes = self._read_more(lambda: self._tls.read(count))
        return data

    def request(self) -> bytes:
        """The head of a request, and what came with it."""
        data = b""
        while b"\r\n\r\n" not in data:
            data += self.read(RECORD)
        return data

    def record(self, data: bytes) -> bytes:
        """``data`` (16 KiB at most) as one record, behind those that TLS itself has to say now."""
        assert len(data) <= RECORD
        self._tls.write(data)
        return self._out.read()

    def records(self, data: bytes, sizes: Iterator[int]) -> list[bytes]:
        """``data`` as records of these sizes."""
        found, at = [], 0
        while at < len(data):
            size = min(next(sizes), len(data) - at)
            found.append(self.record(data[at : at + size]))
            at += size
        return found

    def close_notify(self) -> bytes:
        """The record that ends the session."""
        with contextlib.suppress(ssl.SSLWantReadError):
            self._tls.unwrap()
        return self._out.read()

    def fatal_alert(self) -> bytes:
        """The record by which TLS gives up: after bytes that are no record."""
        self._in.write(b"\x17\x03\x03\x00\x20" + bytes(32))
        with contextlib.suppress(ssl.SSLError):
            self._tls.read(1)
        return self._out.read()

    def update_keys(self, *, both: bool) -> None:
        """Have the next record preceded by a KeyUpdate of TLS 1.3; ``both``: the client is to change its keys, too."""
        self._call("SSL_key_update", ctypes.c_int(both))

    def new_ticket(self) -> None:
        """Have the next record preceded by another session ticket of TLS 1.3."""
        self._call("SSL_new_session_ticket")

    def _call(self, name: str, *arguments: Any) -> None:
        import _ssl

        library: Any = ctypes.PyDLL(_ssl.__file__)
        words = (ctypes.c_size_t * 5).from_address(id(self._tls._sslobj))  # type: ignore[attr-defined]
        assert words[4] == id(self._tls.context)
        assert getattr(library, name)(ctypes.c_void_p(words[3]), *arguments) == 1

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)


class TlsServer:
    """Serves connections one after the other, each by its script, on a thread.

    Args:
        scripts: one function for every connection.
        authority: for its certificate.
        version: of the protocol.
    """

    def __init__(
        self,
        scripts: list[Callable[[Peer], None]],
        authority: Authority,
        version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3,
    ) -> None:
        self._scripts = scripts
        self._authority = authority
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(authority.cert, authority.key)
        self._context.minimum_version = self._context.maximum_version = version
        self._failures: queue.SimpleQueue[BaseException] = queue.SimpleQueue()
        self._listener = socket.create_server((LOOPBACK, 0), backlog=16)
        self._listener.settimeout(PATIENCE)
        self._thread = threading.Thread(target=self._serve)

    def service(self, **settings: Any) -> Service:
        """A service with connections of its own; ``settings`` are of ``HttpSettings``."""
        http = dataclasses.replace(HTTP, ca_bundle=str(self._authority.bundle), **settings)
        return service_of(f"https://{LOOPBACK}:{self._listener.getsockname()[1]}", http=http, retry=QUICK_ONCE)

    def _serve(self) -> None:
        try:
            for script in self._scripts:
                with self._listener.accept()[0] as sock:
                    script(Peer(sock, self._context))
        except BaseException as error:
            self._failures.put(error)

    def __enter__(self) -> TlsServer:
        self._thread.start()
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is not None:
            self._listener.close()
        self._thread.join(PATIENCE)
        self._listener.close()
        if kind is None and not self._failures.empty():
            raise self._failures.get()
