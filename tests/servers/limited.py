"""An S3 that serves so many requests at a time, each in the same time, and refuses all others (503 SlowDown).

It has objects of a few bytes, ``numbered/0`` and so on, in any bucket; ``GET /.counts`` tells how many were read, how
many requests were refused, how many were served at a time at most, and how long that took, since the last such request.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from urllib.parse import parse_qs, urlsplit

from tests.servers.base import LOOPBACK, Server

_BODY = b"x" * 64
_REFUSED = b"<Error><Code>SlowDown</Code><Message>Reduce your request rate.</Message></Error>"


class LimitedS3(Server):
    """The server in a process of its own."""

    name = "limited-s3"

    def __init__(self, limit: int, seconds: float, objects: int) -> None:
        """*limit* requests at a time, each of which takes *seconds*, of so many *objects*."""
        super().__init__()
        self._words = [str(limit), str(seconds), str(objects)]

    @property
    def env(self) -> dict[str, str]:
        return self._aws_env()

    def counts(self) -> dict[str, float]:
        """Since the last call: ``read``, ``refused``, ``most`` at a time, ``seconds`` from first to last."""
        found: dict[str, float] = self._ask("/.counts").json()
        return found

    def _launch(self) -> None:
        port = self._reserve_port()
        self._spawn([sys.executable, "-m", "tests.servers.limited", str(port), *self._words], log="limited-s3")
        self._set_port(port)


class _Service:
    def __init__(self, limit: int, seconds: float, objects: int) -> None:
        self.limit, self.seconds, self.objects = limit, seconds, objects
        self.inside = 0
        self.clear()

    def clear(self) -> None:
        self.read = self.refused = self.most = 0
        self.first = self.last = 0.0

    def counts(self) -> bytes:
        found = {"read": self.read, "refused": self.refused, "most": self.most, "seconds": self.last - self.first}
        self.clear()
        return json.dumps(found).encode()

    def listing(self, query: dict[str, list[str]]) -> bytes:
        first = int(query.get("continuation-token", ["0"])[0])
        numbers = sorted(range(self.objects), key=str)[first : first + 1000]
        entries = "".join(
            f'<Contents><Key>numbered/{number}</Key><Size>{len(_BODY)}</Size><ETag>"1"</ETag>'
            "<LastModified>2026-11-27T21:00:00.000Z</LastModified></Contents>" for number in numbers
        )  # fmt: skip
        ends = first + len(numbers) >= self.objects
        more = "" if ends else f"<NextContinuationToken>{first + len(numbers)}</NextContinuationToken>"
        truncated = f"<IsTruncated>{'false' if ends else 'true'}</IsTruncated>{more}"
        return f"<ListBucketResult><KeyCount>{len(numbers)}</KeyCount>{truncated}{entries}</ListBucketResult>".encode()


class _Connection(asyncio.Protocol):
    def __init__(self, service: _Service) -> None:
        self._service = service
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        if b"\r\n\r\n" not in self._received:
            return
        target = self._received.split(b" ", 2)[1].decode()
        self._received = b""
        parts = urlsplit(target)
        query = parse_qs(parts.query)
        service = self._service
        if parts.path == "/.counts":
            self._answer("200 OK", service.counts())
        elif "list-type" in query:
            self._answer("200 OK", service.listing(query))
        elif service.inside >= service.limit:
            service.refused += 1
            self._answer("503 Slow Down", _REFUSED)
        else:
            service.inside += 1
            service.most = max(service.most, service.inside)
            service.first = service.first or time.monotonic()
            asyncio.get_running_loop().call_later(service.seconds, self._served)

    def _served(self) -> None:
        service = self._service
        service.inside -= 1
        service.read += 1
        service.last = time.monotonic()
        self._answer("200 OK", _BODY)

    def _answer(self, status: str, body: bytes) -> None:
        if not self._transport.is_closing():
            head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nETag: \"1\"\r\n\r\n"
            self._transport.write(head.encode() + body)


async def _serve(port: int, limit: int, seconds: float, objects: int) -> None:
    service = _Service(limit, seconds, objects)
    server = await asyncio.get_running_loop().create_server(lambda: _Connection(service), LOOPBACK, port, backlog=4096)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4])))
