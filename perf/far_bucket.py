"""A bucket of many keys that is listed and emptied from far away, and when the server had requests to answer."""

from __future__ import annotations

import itertools
import multiprocessing
import re
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.connection import Connection
from types import TracebackType
from typing import NamedTuple, Self

PAGE = 1000
_TOKEN = re.compile(r"continuation-token=(\d+)")


class Seen(NamedTuple):
    """One request as the server saw it: ``GET`` of a page or ``POST`` of a batch delete, from when to when."""

    method: str
    begin: float
    end: float


class FarBucket:
    """A server in a process of its own: ``with FarBucket(100_000) as bucket: ...``.

    Args:
        keys: how many there are.
        page_delay: seconds that a page of 1,000 takes.
        delete_delay: seconds that a batch delete takes.
    """

    def __init__(self, keys: int, *, page_delay: float = 0.02, delete_delay: float = 0.1) -> None:
        self.keys, self.page_delay, self.delete_delay = keys, page_delay, delete_delay
        self.endpoint = ""

    def __enter__(self) -> Self:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        arguments = (theirs, self.keys, {"GET": self.page_delay, "POST": self.delete_delay})
        self._process = context.Process(target=_serve, args=arguments, daemon=True)
        self._process.start()
        self.endpoint = f"http://127.0.0.1:{self._pipe.recv()}"
        return self

    def seen(self) -> list[Seen]:
        """The requests since the last time that this was asked."""
        self._pipe.send("seen")
        return [Seen(*what) for what in self._pipe.recv()]

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._process.terminate()
        self._process.join()


def _serve(pipe: Connection, keys: int, delays: dict[str, float]) -> None:
    pages = [_page(start, keys).encode() for start in range(0, keys, PAGE)]
    seen: list[tuple[str, float, float]] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1

        def handle_one_request(self) -> None:
            self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            super().handle_one_request()

        def do_GET(self) -> None:
            token = _TOKEN.search(self.path)
            self._answer(pages[int(token[1]) if token else 0])

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self._answer(b"<DeleteResult></DeleteResult>")

        def _answer(self, body: bytes) -> None:
            began = time.monotonic()
            time.sleep(delays[self.command])
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            self.wfile.flush()
            seen.append((self.command, began, time.monotonic()))

        def log_message(self, format: str, *args: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    pipe.send(server.server_address[1])
    while pipe.recv() == "seen":
        pipe.send(seen[:])
        seen.clear()


def _page(start: int, keys: int) -> str:
    end = min(start + PAGE, keys)
    following = end < keys
    token = f"<NextContinuationToken>{end // PAGE}</NextContinuationToken>" if following else ""
    contents = "".join(
        f"<Contents><Key>data/{number:08}.bin</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>"
        f"<ETag>&quot;{number:032x}&quot;</ETag><Size>4096</Size><StorageClass>STANDARD</StorageClass></Contents>"
        for number in range(start, end)
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        f"<Name>far</Name><Prefix></Prefix><KeyCount>{end - start}</KeyCount><MaxKeys>{PAGE}</MaxKeys>"
        f"<IsTruncated>{str(following).lower()}</IsTruncated>{token}{contents}</ListBucketResult>"
    )


def in_flight(requests: list[Seen]) -> list[tuple[float, int]]:
    """How many requests were there: (seconds, so many) from the first to the last, one entry for each change."""
    changes = sorted([(seen.begin, 1) for seen in requests] + [(seen.end, -1) for seen in requests])
    spans, there = [], 0
    for (moment, change), (following, _) in itertools.pairwise(changes):
        there += change
        spans.append((following - moment, there))
    return spans
