"""Bodies under a limit of bandwidth: they come and go whole, on every way, and not sooner than the limit allows."""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import s3dlio
from s3dlio.client import Client
from s3dlio.config.sections import HttpSettings
from s3dlio.memory.sinks import MemorySink
from tests.servers import Server
from tests.servers.certs import Authority
from tests.servers.nginx import NginxServer
from tests.servers.scripted import Expect, ScriptedServer, respond
from tests.wire.harness import DRIVERS, get, put, service_of

BODY = random.Random(5).randbytes(300_000)
#: A tenth of a second's worth may be gone ahead, and nobody waits for the end of the last piece.
RATE = 1_000_000
AT_LEAST = 2 * len(BODY) / RATE - 0.2
_rates = itertools.count(RATE - 1000)


def at_rate() -> str:
    """A limit that nobody else shares."""
    return str(next(_rates))


def timed(work: Callable[[], Any]) -> float:
    begun = time.monotonic()
    work()
    return time.monotonic() - begun


@pytest.fixture(params=["http", "https"], scope="module")
def server(request: pytest.FixtureRequest) -> Iterator[NginxServer]:
    authority: Authority | None = request.getfixturevalue("authority") if request.param == "https" else None
    with NginxServer(tls=authority, cache=False) as server:
        yield server


def client_of(server: NginxServer, authority: Authority, **http: Any) -> Client:
    s3 = {"endpoint_url": server.endpoint, "region": "r", "access_key_id": "a", "secret_access_key": "b"}
    return Client(s3=s3, http={"ca_bundle": str(authority.bundle), **http}, range={"threshold": 1 << 20})


def test_one_at_a_time_in_batches_and_awaited(server: NginxServer, authority: Authority, tmp_path: Path) -> None:
    names = [f"s3://b/{number}" for number in range(2)]
    with client_of(server, authority, bwlimit=at_rate()) as client:
        assert timed(lambda: [client.put_bytes(name, BODY) for name in names]) >= AT_LEAST
        assert timed(lambda: [client.get(name) == BODY or pytest.fail(name) for name in names]) >= AT_LEAST
        assert timed(lambda: client.put_many([(name, BODY[::-1]) for name in names])) >= AT_LEAST
        assert timed(lambda: [got == BODY[::-1] or pytest.fail(uri) for uri, got in client.get_many(names)]) >= AT_LEAST

        async def awaited() -> None:
            async for _, got in client.iter_many_async(names):
                assert got == BODY[::-1]

        assert timed(lambda: asyncio.run(awaited())) >= AT_LEAST
        assert timed(lambda: client.copy(names[0], tmp_path / "file")) >= len(BODY) / RATE - 0.2
        assert (tmp_path / "file").read_bytes() == BODY[::-1]


def test_a_limit_of_one_call(server: NginxServer, authority: Authority, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(BODY)
    (tmp_path / "b").write_bytes(BODY)
    with client_of(server, authority) as client:
        took = timed(lambda: client.upload([tmp_path / "a", tmp_path / "b"], "s3://b/up/", bwlimit=f"{at_rate()}:off"))
        assert took >= AT_LEAST
        assert client.get("s3://b/up/a") == client.get("s3://b/up/b") == BODY
        with pytest.raises(s3dlio.ConfigError, match="bwlimit"):
            client.upload(tmp_path / "a", "s3://b/up/", bwlimit="fast")


def test_one_direction_leaves_the_other(server: NginxServer, authority: Authority) -> None:
    with client_of(server, authority, bwlimit=f"off:{at_rate()}") as client:
        client.put_bytes("s3://b/k", BODY)
        assert timed(lambda: [client.get("s3://b/k") for _ in range(2)]) >= AT_LEAST


@pytest.mark.parametrize("driver", list(DRIVERS))
def test_a_body_that_is_held_back_and_refused(driver: str) -> None:
    """What waits for its turn to send still hears the answer."""
    http = HttpSettings(connect_timeout=5.0, read_timeout=10.0, bwlimit=at_rate())
    script = [[Expect(body=False), respond("403 Forbidden", body=b"no")], [Expect(), respond(body=b"ok")]]
    with ScriptedServer(script) as one:
        service = service_of(one.endpoint, http=http)
        request = put(service, BODY)
        request.expect_continue = True
        assert DRIVERS[driver](request).status == 403
        sink = MemorySink()
        DRIVERS[driver](get(service, sink))
        assert bytes(sink.view()) == b"ok"


@pytest.mark.parametrize("backend", ["boto3", "arrow"])
def test_by_the_sdks(backend: str, moto_server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in moto_server.env.items():
        monkeypatch.setenv(name, value)
    with Client(s3={"backend": backend}, http={"bwlimit": at_rate()}) as client:
        client.create_bucket(f"s3://bandwidth-{backend}")
        uri = f"s3://bandwidth-{backend}/k"
        assert timed(lambda: [client.put_bytes(uri, BODY) for _ in range(2)]) >= AT_LEAST
        assert timed(lambda: [client.get(uri) == BODY or pytest.fail(uri) for _ in range(2)]) >= AT_LEAST
