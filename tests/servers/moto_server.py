"""moto's S3, served by cheroot so that connections stay open. It checks no signatures.

As a program (``python -m tests.servers.moto_server``) it prints its port and serves until it is stopped; ``MotoServer``
runs that in a process of its own. Besides S3 it answers ``/-/requests`` (what it was asked, as JSON) and ``/-/reset``.
"""

from __future__ import annotations

import argparse
import json
import os
import ssl
import sys
import threading
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from tests.servers.base import LOOPBACK, Server
from tests.servers.certs import Authority

KEPT_REQUESTS = 100_000


@dataclass(frozen=True)
class SeenRequest:
    """One request as it arrived: *target* is the path and query as sent, *peer* names the connection."""

    method: str
    target: str
    peer: str
    status: int


class MotoServer(Server):
    """An S3 in memory.

    delay: seconds that every answer is held back, as if the server were that far away.
    tls: serve https with a certificate of *tls* (a private authority).
    threads: how many requests it works on at a time; with a delay, at least the requests in flight.
    """

    name = "moto"

    def __init__(self, *, delay: float = 0.0, tls: Authority | None = None, threads: int = 32) -> None:
        super().__init__()
        self.delay, self.tls, self.threads = delay, tls, threads

    @property
    def env(self) -> dict[str, str]:
        env = {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_REGION": "us-east-1",
        }
        return env | ({"AWS_CA_BUNDLE": str(self.tls.bundle)} if self.tls else {})

    def requests(self) -> list[SeenRequest]:
        """Return the requests since the last reset_requests(), oldest first."""
        return [SeenRequest(*fields) for fields in json.loads(self._control("requests"))]

    def reset_requests(self) -> None:
        """Forget the requests seen so far."""
        self._control("reset-requests")

    def reset(self) -> None:
        """Delete all buckets and objects, and forget the requests."""
        self._control("reset")

    def _control(self, command: str) -> bytes:
        context = ssl.create_default_context(cafile=str(self.tls.bundle)) if self.tls else None
        with urlopen(f"{self.endpoint}/-/{command}", timeout=30, context=context) as response:
            body: bytes = response.read()
        return body

    def _launch(self) -> None:
        port_file = self.folder / "port"
        argv = [
            sys.executable,
            "-m",
            "tests.servers.moto_server",
            "--port-file",
            port_file,
            "--delay",
            self.delay,
            "--threads",
            self.threads,
        ]
        if self.tls:
            argv += ["--cert", self.tls.cert, "--key", self.tls.key]
        root = str(Path(__file__).resolve().parents[2])
        # Its own S3 must never look at the client's configuration.
        env = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "S3DLIO_"))} | {"PYTHONPATH": root}
        self._spawn([str(part) for part in argv], log="moto", env=env)
        self.endpoint = ""

    def _ready(self) -> bool:
        port_file = self.folder / "port"
        if not port_file.exists():
            return False
        self.endpoint = f"{'https' if self.tls else 'http'}://{LOOPBACK}:{port_file.read_text()}"
        return True


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
    options.add_argument("--port-file", type=Path, required=True)
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
    scratch = args.port_file.with_suffix(".tmp")
    scratch.write_text(str(server.bind_addr[1]))
    scratch.rename(args.port_file)
    server.serve()


if __name__ == "__main__":
    _main()
