"""A batch of one object is what the verb for one does: the same requests, on the caller's thread, without a lane."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from s3dlio.client import Client
from s3dlio.engine import cloud_calls
from s3dlio.errors import BatchError, ObjectNotFoundError, TransferCancelledError
from s3dlio.net import scratch
from s3dlio.transfer import small_batches
from tests.servers.memory_s3 import MemoryS3

URI = "s3://b/there"


@pytest.fixture(scope="module")
def server() -> Iterator[MemoryS3]:
    with MemoryS3() as running:
        yield running


@pytest.fixture
def client(server: MemoryS3) -> Iterator[Client]:
    server.clear()
    with Client(s3={"endpoint_url": server.endpoint, "access_key_id": "a", "secret_access_key": "b"}) as client:
        client.put_bytes(URI, b"data")
        yield client


@pytest.fixture
def no_lane(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("run_cloud", "run_lane"):
        monkeypatch.setattr("s3dlio.engine.batch." + name, lambda *_: pytest.fail("a lane is made"))


@pytest.mark.usefixtures("no_lane")
def test_one_object_takes_no_lane(client: Client) -> None:
    assert client.get_many([URI]) == [(URI, b"data")]
    assert client.get_many_stats([URI]) == (1, 4)
    assert client.stat_many([URI])[0]["size"] == 4
    client.put_many([(URI, b"other")])
    assert client.get(URI) == b"other"


@pytest.mark.usefixtures("no_lane")
def test_its_failure_is_that_of_a_batch(client: Client) -> None:
    missing = "s3://b/missing"
    for verb in (client.get_many, client.get_many_stats, client.stat_many):
        with pytest.raises(BatchError) as caught:
            verb([missing])
        (failure,) = caught.value.failures
        assert (failure.index, failure.uri, caught.value.attempted) == (0, missing, 1)
        assert isinstance(failure.error, ObjectNotFoundError)
        assert failure.error.uri == missing
    assert isinstance(client.get_many_outcomes([missing])[0][1], ObjectNotFoundError)


def test_who_allows_one_request_gets_a_lane_that_keeps_to_it(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    widths: list[int] = []
    run = cloud_calls.run_cloud

    def noted(calls: Any, admission: Any, *rest: Any) -> None:
        widths.append(admission.width)
        run(calls, admission, *rest)

    monkeypatch.setattr("s3dlio.engine.batch.run_cloud", noted)
    assert client.get_many([URI], 1) == [(URI, b"data")]
    assert client.get_many_stats([URI], 1) == (1, 4)
    assert widths == [1, 1]


def test_the_scratch_memory_of_a_batch_serves_the_next_one(client: Client) -> None:
    """And no two of them at a time, whatever runs within another."""
    uris = [f"s3://b/{number}" for number in range(4)]
    for uri in uris:
        client.put_bytes(uri, uri.encode())
    scratch._spare.clear()
    for _ in range(3):
        assert client.get_many(uris) == [(uri, uri.encode()) for uri in uris]
    assert len(scratch._spare) == 1
    within: list[Any] = []
    first = [True]
    client.stores.add_observer(lambda seen: within.append(client.get_many(uris[:2])) if first and first.pop() else None)
    assert client.get_many(uris) == [(uri, uri.encode()) for uri in uris]
    assert within[0] == [(uri, uri.encode()) for uri in uris[:2]]
    assert len({id(memory) for memory, _ in scratch._spare}) == len(scratch._spare) == 2


def test_a_cancelled_await_is_no_failure_of_the_object(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    class Cancelled:
        cancelled = True

    def gives_up() -> None:
        raise TransferCancelledError("given up")

    with pytest.raises(BatchError):
        small_batches.alone(URI, "GET", gives_up)
    monkeypatch.setattr(small_batches, "surrounding_token", Cancelled)
    with pytest.raises(TransferCancelledError):
        small_batches.alone(URI, "GET", gives_up)
