"""What the wire tests share: requests to a scripted server, one policy without pauses, and the drivers."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from s3dlio.config.sections import HttpSettings, RetrySettings
from s3dlio.memory.sinks import Sink
from s3dlio.memory.sources import MemorySource
from s3dlio.net import blocking, connection
from s3dlio.net.exchange import SCRATCH, Exchange
from s3dlio.net.lane import Lane
from s3dlio.net.message import Request, Service
from s3dlio.net.pool import ConnectionPool, pool_for_url
from s3dlio.net.response import Response
from s3dlio.net.retry import RetryPolicy
from s3dlio.stores.s3.sigv4 import UnsignedSigner
from tests.witnesses import Outcomes

#: Retries follow at once; nothing waits for long.
QUICK = RetrySettings(max_attempts=4, base_delay=0.0, max_delay=0.0, retry_after_cap=0.0)
HTTP = HttpSettings(connect_timeout=5.0, read_timeout=10.0)

Driver = Callable[[Request], Response]


def service_of(
    endpoint: str,
    *,
    http: HttpSettings = HTTP,
    retry: RetrySettings = QUICK,
    total: float | None = None,
    pool: ConnectionPool | None = None,
) -> Service:
    """A service without signatures, with connections of its own."""
    pool = pool or pool_for_url(endpoint, http)
    return Service(pool, UnsignedSigner(pool.host_header, pool.target_prefix, "test"), RetryPolicy(retry, total))


def get(service: Service, sink: Sink | None = None, path: str = "/k") -> Request:
    return Request(service, "GET", path, sink=sink)


def put(service: Service, data: bytes | bytearray, path: str = "/k") -> Request:
    return Request(service, "PUT", path, body=MemorySource(memoryview(data)))


def by_blocking(request: Request) -> Response:
    return blocking.perform(request)


def among_threads(request: Request) -> Response:
    """As by_blocking, while other threads ask, too."""
    connection.asking.append(None)
    try:
        return by_blocking(request)
    finally:
        connection.asking.pop()


def by_lane(request: Request) -> Response:
    return Lane(window=8).gather([request])[0]


DRIVERS: dict[str, Driver] = {"blocking": by_blocking, "blocking among threads": among_threads, "lane": by_lane}


class Calls(Outcomes):
    """Operations for ``Lane.run``, each a function that makes steps; keeps what the lane reports of them."""

    def __init__(self, makes: Sequence[Callable[[], Any]]) -> None:
        super().__init__()
        self._makes = makes

    def __iter__(self) -> Any:
        return iter([(index, _Operation(make)) for index, make in enumerate(self._makes)])


@dataclasses.dataclass
class _Operation:
    make: Callable[[], Any]

    def steps(self) -> Any:
        return self.make()


def asking(request: Request) -> Callable[[], Any]:
    """An operation that sends one request and returns the answer."""

    def steps() -> Any:
        return (yield request)

    return steps


def offline_exchange(
    *,
    method: str = "GET",
    body: bytes | None = None,
    sink: Sink | None = None,
    expect: bool = False,
    scratch: int = SCRATCH,
    last_body: int = 0,
) -> Exchange:
    """An exchange that no socket carries; the last body from its server had ``last_body`` bytes."""
    source = None if body is None else MemorySource(memoryview(body))
    request = Request(service_of("http://127.0.0.1:9"), method, "/k", body=source, sink=sink)
    request.expect_continue = expect
    request.service.pool.last_body = last_body
    data = bytearray(scratch)
    return Exchange(request, data, memoryview(data))


def feed(exchange: Exchange, data: bytes) -> int:
    """Give bytes to an exchange as a driver would; returns how many it took before it was done."""
    at = 0
    while at < len(data) and not exchange.done:
        room = exchange.room()
        count = min(len(room), len(data) - at)
        room[:count] = data[at : at + count]
        at += count
        exchange.received(count)
    return at


def send_all(exchange: Exchange) -> bytes:
    """All that the exchange wants to send now."""
    sent = bytearray()
    while exchange.sending:
        pieces = b"".join(bytes(piece) for piece in exchange.outgoing)
        sent += pieces
        exchange.sent(len(pieces))
    return bytes(sent)
