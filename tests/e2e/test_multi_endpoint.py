"""Several endpoints as one store, by what two real servers were asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

import s3dlio
from s3dlio.errors import NetworkError
from tests.servers.memory_s3 import MemoryS3


@pytest.fixture
def servers(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[MemoryS3]]:
    with ExitStack() as stack:
        found = [stack.enter_context(MemoryS3()) for _ in range(2)]
        for name, value in found[0].env.items():
            monkeypatch.setenv(name, value)
        monkeypatch.delenv("AWS_ENDPOINT_URL")
        s3dlio.configure_s3()
        yield found


def urls(servers: list[MemoryS3]) -> list[str]:
    return [server.env["AWS_ENDPOINT_URL"] for server in servers]


@pytest.mark.parametrize("strategy", ["round_robin", "least_connections"])
def test_requests_are_spread(servers: list[MemoryS3], strategy: str) -> None:
    with s3dlio.create_multi_endpoint_store(urls(servers), strategy) as store:
        store.put_all_endpoints("s3://bucket/k", b"x" * 1000)
        for server in servers:
            assert server.counts()["PUT"] == 1
        with ThreadPoolExecutor(8) as threads:
            assert all(len(data) == 1000 for data in threads.map(lambda _: store.get("s3://bucket/k"), range(100)))
        threaded = [server.counts() for server in servers]

        async def many() -> None:
            await asyncio.gather(*(store.get("bucket/k") for _ in range(100)))
            await asyncio.gather(*(store.put(f"bucket/{number}", b"y") for number in range(10)))

        asyncio.run(many())
        awaited = [server.counts() for server in servers]
        seen = [each["total_requests"] for each in store.get_endpoint_stats()]
    for counts in (threaded, awaited):
        assert sum(count["GET"] for count in counts) == 100
        if strategy == "round_robin":
            assert [count["GET"] for count in counts] == [50, 50]
        assert all(count["GET"] for count in counts)
    assert sum(count["PUT"] for count in awaited) == 10
    assert seen == [1 + a["GET"] + b["GET"] + b["PUT"] for a, b in zip(threaded, awaited, strict=True)]


def test_a_server_that_dies_is_routed_around(servers: list[MemoryS3]) -> None:
    with s3dlio.create_multi_endpoint_store(urls(servers)) as store:
        store.put_all_endpoints("s3://bucket/k", b"1")
        for server in servers:
            server.counts()
        servers[0].stop()
        for number in range(10):
            assert store.get("s3://bucket/k") == b"1"
            store.put(f"s3://bucket/{number}", b"2")
        counts = servers[1].counts()
        assert (counts["GET"], counts["PUT"]) == (10, 10)
        first, second = store.get_endpoint_stats()
        assert (first["healthy"], second["healthy"]) == (False, True)
        assert (first["error_count"] > 0, second["error_count"]) == (True, 0)
        servers[1].stop()
        s3dlio.configure("retry", max_attempts=1)
        try:
            with pytest.raises(NetworkError, match=r"^Get failed: GET s3://127"):
                store.get("s3://bucket/k")
        finally:
            s3dlio.configure("retry", max_attempts=None)
