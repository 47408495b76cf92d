"""Iterating over objects of a cloud: they come on the client's resident lanes."""

from __future__ import annotations

import asyncio
import gc
import itertools
import threading
from collections.abc import Iterator
from typing import Any

import pytest

import s3dlio
from s3dlio.client import Client
from s3dlio.memory.pool import default_pool
from s3dlio.transfer import stream as stream_module
from s3dlio.verbs.batches import iter_many_async
from tests.leases import assert_returned
from tests.servers.delayed import DelayedServer
from tests.servers.scripted import Expect, ExpectClose, ScriptedServer, Send, Until, respond

LARGE = 9 << 20
FIELDS = [("ETag", '"e"')]


def client_at(endpoint: str, **settings: Any) -> Client:
    return Client(endpoint_url=endpoint, region="r", access_key_id="A", secret_access_key="B", **settings)


@pytest.fixture(scope="module")
def near() -> Iterator[DelayedServer]:
    with DelayedServer(delay=0.001, size=4096) as server:
        yield server


@pytest.fixture(scope="module")
def large() -> Iterator[DelayedServer]:
    with DelayedServer(delay=0.001, size=LARGE) as server:
        yield server


def names(count: int) -> list[str]:
    return [f"s3://b/{number}" for number in range(count)]


@pytest.mark.parametrize("ordered", [True, False])
def test_they_come_on_a_resident_lane(near: DelayedServer, ordered: bool) -> None:
    body = bytes(index % 251 for index in range(4096))
    with client_at(near.endpoint) as client:
        found = []
        for uri, data in client.iter_many(names(500), max_in_flight=16, ordered=ordered):
            assert data == body
            found.append(uri)
        assert sorted(found, key=lambda uri: int(uri[7:])) == names(500)
        assert found == names(500) or not ordered
        (lane,) = client.lanes._threads
        assert not lane._tasks


def test_several_streams_share_a_lane_and_a_generator_is_asked_in_the_background(near: DelayedServer) -> None:
    with client_at(near.endpoint) as client:
        many = [client.iter_many(iter(names(50)), max_in_flight=4) for _ in range(5)]
        for taken in zip(*many, strict=True):
            assert len({uri for uri, _ in taken}) == 1
        assert len(client.lanes._threads) == 1


def test_an_endless_generator_is_read_as_far_as_there_is_room(near: DelayedServer) -> None:
    asked = itertools.count()
    with client_at(near.endpoint) as client:
        with client.iter_many((f"s3://b/{number}" for number in asked), max_in_flight=2, prefetch=8) as found:
            assert [uri for uri, _ in itertools.islice(found, 30)] == names(30)
        assert next(asked) <= 30 + 8 + 1


@pytest.mark.parametrize("how", ["close", "drop"])
def test_what_is_in_flight_is_given_up_when_nobody_reads_on(how: str) -> None:
    gc.collect()
    before = default_pool().stats().leased
    begun = [threading.Event(), threading.Event()]
    head = f"HTTP/1.1 200 OK\r\nETag: \"e\"\r\nContent-Length: {1 << 20}\r\n\r\n".encode()
    asked = [threading.Event(), threading.Event()]
    ends = [
        [Expect(lambda seen, event=event: event.set() is None), Send(head + b"x" * 1000), Until(go), ExpectClose()]
        for event, go in zip(asked, begun, strict=True)
    ]
    with ScriptedServer([[Expect(), respond(body=b"first", headers=FIELDS), *ends[0]], ends[1]]) as server:
        client = client_at(server.endpoint)
        found = client.iter_many(names(3), max_in_flight=2, ordered=False)
        assert next(found)[1] == b"first"
        for event in (*asked, *begun):
            assert event in begun or event.wait(30)
            event.set()
        if how == "close":
            found.close()
            assert_returned(before)
        del found
        server.assert_consumed()
        client.close()
    gc.collect()
    assert_returned(before)


def test_large_bodies_are_spread_over_lanes_that_leave_a_cpu_to_the_kernel(
    large: DelayedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream_module, "usable_cpus", lambda: 4)
    gc.collect()
    before = default_pool().stats().leased
    body = bytes(index % 251 for index in range(LARGE))
    with client_at(large.endpoint, range={"enabled": False}) as client:
        assert all(data == body for _, data in client.iter_many(names(8), max_in_flight=4))
        assert len(client.lanes._threads) == 3
        with client.iter_many(itertools.cycle(names(8)), max_in_flight=4) as found:
            next(found)
    assert_returned(before)


def test_a_lane_that_fails_is_an_error_and_the_next_one_goes_on(near: DelayedServer) -> None:
    with client_at(near.endpoint) as client:
        found = client.iter_many(names(40), max_in_flight=2, prefetch=4, continue_on_error=True)
        next(found)
        (lane,) = client.lanes._threads

        def fail() -> None:
            raise ArithmeticError("as planned")

        lane.post(fail)
        rest = list(found)
        assert [uri for uri, _ in rest] == names(40)[1:]
        failed = [data for _, data in rest if isinstance(data, Exception)]
        assert len(failed) <= 4
        assert all(isinstance(error, s3dlio.TransferCancelledError) for error in failed)


def test_an_observer_may_read_on_while_it_is_told(near: DelayedServer) -> None:
    inner: list[Any] = []
    with client_at(near.endpoint) as client:

        def observer(seen: Any) -> None:
            if not inner:
                inner.append(None)
                inner.extend(data for _, data in client.iter_many(names(3)))

        client.stores.add_observer(observer)
        assert len(list(client.iter_many(names(10)))) == 10
        assert len(inner) == 4


def test_slowing_down_is_heard(near: DelayedServer) -> None:
    slow = respond(503, body=b"<Error><Code>SlowDown</Code></Error>")
    good = respond(body=b"x", headers=FIELDS)
    with ScriptedServer([[Expect(), slow, Expect(), good]]) as server:
        retry = {"base_delay": 0.0, "max_delay": 0.0}
        with client_at(server.endpoint, retry=retry) as client:
            found = client.iter_many(["s3://b/k"], max_in_flight=32)
            assert [data for _, data in found] == [b"x"]
            assert found._stream.limit.limit == 16


def test_awaited_the_event_loop_makes_no_calls(near: DelayedServer) -> None:
    with client_at(near.endpoint) as client:

        async def work() -> list[str]:
            return [uri async for uri, _ in iter_many_async(client, names(100), max_in_flight=8)]

        assert asyncio.run(work()) == names(100)


def test_an_interrupt_of_the_reader_ends_it_at_once(near: DelayedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    with client_at(near.endpoint) as client:
        found = client.iter_many(names(100), max_in_flight=2, prefetch=4)
        next(found)

        def interrupted(uri: Any) -> Any:
            raise KeyboardInterrupt

        monkeypatch.setattr(client.stores, "find", interrupted)
        with pytest.raises(KeyboardInterrupt):
            for _ in found:
                pass
        with pytest.raises(s3dlio.S3dlioError, match="interrupted"):
            list(found)
        assert list(found) == []
        found.close()
        assert found._stream._asked == 0
        assert not found._stream._is_filling


def test_where_no_lane_can_be_had_each_is_an_error(near: DelayedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> Any:
        raise RuntimeError("can't start new thread")

    with client_at(near.endpoint) as client:
        monkeypatch.setattr(client.lanes, "beside", refuse)
        found = list(client.iter_many(names(3), continue_on_error=True))
        assert [type(error) for _, error in found] == [s3dlio.S3dlioError] * 3
