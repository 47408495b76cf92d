"""moto's S3, served by cheroot so that connections stay open. It checks no signatures.

``MotoServer`` runs this module as a program of its own. Besides S3 it answers ``/-/requests`` (what it was asked, as
JSON), ``/-/reset-requests`` and ``/-/reset``.
"""

from __future__ import annotations

import argparse
import json
import os
import threading
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.servers.base import LOOPBACK, PythonServer, announce
from tests.servers.certs import Authority

KEPT_REQUESTS = 100_000


@dataclass(frozen=True)
class SeenRequest:
    """One request as it arrived: *target* is the path and query as sent, *peer* names the connection."""

    method: str
    target: str
    peer: str
    status: int


class MotoServer(PythonServer):
    """An S3 in memory.

    delay: seconds that every answer is held back, as if the server were that far away.
    threads: how many requests it works on at a time; with a delay, at least the requests in flight.
    tls: serve https with a certificate of that authority.
    """

    name = "moto"
    module = "tests.servers.moto_server"

    def __init__(self, *, delay: float = 0.0, threads: int = 32, tls: Authority | None = None) -> None:
        super().__init__(tls=tls)
        self.delay, self.threads = delay, threads

    @property
    def env(self) -> dict[str, str]:
        return self._aws_env()

    def requests(self) -> list[SeenRequest]:
        """Return the requests since the last reset_requests(), oldest first."""
        return [SeenRequest(*fields) for fields in self._ask("/-/requests").json()]

    def reset_requests(self) -> None:
        """Forget the requests seen so far."""
        self._ask("/-/reset-requests")

    def reset(self) -> None:
        """Delete all buckets and objects, and forget the requests."""
        self._ask("/-/reset")

    def _launch(self) -> None:
        options = ["--delay", str(self.delay), "--threads", str(self.threads)]
        if self.tls:
            options += ["--cert", str(self.tls.cert), "--key", str(self.tls.key)]
        self._launch_module(*options)


class _Application:
    """The WSGI application: counts, delays, answers the control paths, and hands the rest to moto."""

    def __init__(self, delay: float) -> None:
        os.environ.setdefault("MOTO_DISABLE_GLOBAL_CORS", "true")
        from moto.moto_server.werkzeug_app import create_backend_app
        from moto.s3.models import s3_backends

        self.moto = create_backend_app("s3")
        self.backends = s3_backends
        self.delay = delay
        self.seen: deque[tuple[str, str, str, int]] = deque(maxlen=KEPT_REQUESTS)
        self.lock = threading.Lock()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        target = environ["REQUEST_URI"]
        if target.startswith("/-/"):
            return self._control(target[3:], start_response)
        environ["RAW_URI"] = target  # where moto looks for the path as it was sent
        if self.delay:
            time.sleep(self.delay)

        def counted(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            peer = f"{environ['REMOTE_ADDR']}:{environ['REMOTE_PORT']}"
            with self.lock:
                self.seen.append((environ["REQUEST_METHOD"], target, peer, int(status[:3])))
            return start_response(status, headers, exc_info)

        return self.moto(environ, counted)

    def _control(self, command: str, start_response: Any) -> list[bytes]:
        body = b""
        with self.lock:
            if command == "requests":
                body = json.dumps(list(self.seen)).encode()
            elif command in ("reset", "reset-requests"):
                self.seen.clear()
        if command == "reset":
            for _, _, backend in self.backends.iter_backends():
                backend.reset()
        start_response("200 OK", [("Content-Length", str(len(body)))])
        return [body]


def _main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("port_file", type=Path)
    options.add_argument("--delay", type=float, default=0.0)
    options.add_argument("--threads", type=int, default=32)
    options.add_argument("--cert")
    options.add_argument("--key")
    args = options.parse_args()

    from cheroot import wsgi

    # The backlog of 5 that cheroot starts with would make a burst of connections wait for a SYN to be sent again.
    server = wsgi.Server(
        (LOOPBACK, 0), _Application(args.delay), numthreads=args.threads, request_queue_size=1024, timeout=60
    )
    server.keep_alive_conn_limit = 1024
    if args.cert:
        from cheroot.ssl.builtin import BuiltinSSLAdapter

        server.ssl_adapter = BuiltinSSLAdapter(args.cert, args.key)
    server.prepare()
    announce(args.port_file, server.bind_addr[1])
    server.serve()


if __name__ == "__main__":
    _main()
