"""An HTTP proxy that does nothing but CONNECT: it tunnels to one port, whatever host it is asked for."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import Self


class ConnectRelay:
    """Relay tunnels to ``port``; ``asked`` and ``credentials`` tell what clients said."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.asked: list[str] = []
        self.credentials: list[str] = []
        self._socks: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        for sock in (self._listener, *self._socks):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        for sock in (self._listener, *self._socks):
            sock.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                head = b""
                while b"\r\n\r\n" not in head:
                    head += client.recv(4096)
                lines = head.decode().split("\r\n")
                self.asked.append(lines[0].split(" ")[1])
                self.credentials += [line.partition(": ")[2] for line in lines if line.lower().startswith("proxy-auth")]
                server = socket.create_connection(("127.0.0.1", self._target))
                client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                self._socks += [client, server]
                for source, target in ((client, server), (server, client)):
                    thread = threading.Thread(target=_relay, args=(source, target), daemon=True)
                    self._threads.append(thread)
                    thread.start()


def _relay(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
