"""Awaited calls of cloud stores: they run on their event loop, which never waits, and hold no threads."""

from __future__ import annotations

import asyncio
import gc
import os
import select
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import s3dlio
from s3dlio import api
from s3dlio.client import Client
from s3dlio.engine import awaiting
from s3dlio.engine.threads import threads
from s3dlio.errors import (
    ObjectNotFoundError,
    PermissionDeniedError,
    ProtocolError,
    TransferCancelledError,
    TransferTimeoutError,
)
from s3dlio.net.exchange import LARGE
from s3dlio.net.message import Service
from s3dlio.net.multiplexer import Multiplexer
from s3dlio.net.pool import ConnectionPool
from s3dlio.net.resident import ResidentLane
from s3dlio.stores.base import ObjectStore
from s3dlio.stores.cloud.store import CloudStore
from s3dlio.stores.s3.sigv4 import Credentials
from s3dlio.types import NO_CONDITIONS
from tests.faults.test_forks import in_child
from tests.servers.delayed import DelayedServer
from tests.servers.proxy import FaultProxy
from tests.servers.scripted import Expect, ExpectClose, ScriptedServer, Send, Until, respond

FIELDS = [("ETag", '"e"')]


def client_at(endpoint: str, **settings: Any) -> Client:
    return Client(endpoint_url=endpoint, region="r", access_key_id="A", secret_access_key="B", **settings)


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Client], Client]]:
    """Makes a client the default one, for the time of a test."""
    used: list[Client] = []

    def use(client: Client) -> Client:
        monkeypatch.setattr(api, "_default", client)
        client.store_for("s3://b/k")  # the first time a thread opens it
        used.append(client)
        return client

    yield use
    for client in used:
        client.close()


@pytest.fixture(scope="module")
def near() -> Iterator[DelayedServer]:
    with DelayedServer(delay=0.001, size=4096) as server:
        yield server


def lanes_of(client: Client) -> list[awaiting.LoopLane]:
    return list(client.loops._by_loop.values())


def net_service(store: ObjectStore) -> Service:
    assert isinstance(store, CloudStore)
    return store.service.read_request("k", (), NO_CONDITIONS).service


def test_ten_thousand_at_once_hold_few_threads_and_connections(
    near: DelayedServer, use: Callable[[Client], Client]
) -> None:
    client = use(client_at(near.endpoint, http={"max_connections": 8}))
    threads_before = threading.active_count()
    most_threads, most_in_flight = 0, 0

    async def one(number: int) -> int:
        nonlocal most_threads, most_in_flight
        data = await s3dlio.get_async(f"s3://b/{number}")
        most_threads = max(most_threads, threading.active_count())
        most_in_flight = max(most_in_flight, len(lanes_of(client)[0]._multiplexer.in_flight))
        return len(data)

    async def work() -> list[int]:
        return await asyncio.gather(*(one(number) for number in range(10_000)))

    assert asyncio.run(work()) == [4096] * 10_000
    assert most_in_flight <= 8
    assert most_threads <= threads_before


def test_awaited_one_by_one_and_together_nothing_is_lost(near: DelayedServer, use: Callable[[Client], Client]) -> None:
    use(client_at(near.endpoint))

    async def work() -> None:
        assert len(await s3dlio.get_async("s3://b/k")) == 4096
        assert len(await s3dlio.get_object_async("b", "k")) == 4096
        assert await s3dlio.exists_async("s3://b/k")
        buffer = bytearray(4096)
        assert await s3dlio.get_into_async("s3://b/k", buffer, expected_len=4096) == 4096
        buffer.clear()
        with pytest.raises(s3dlio.LengthMismatchError):
            await s3dlio.get_into_async("s3://b/k", buffer)
        async with asyncio.TaskGroup() as group:
            for number in range(100):
                group.create_task(s3dlio.get_async(f"s3://b/{number}"))

    asyncio.run(work())
    asyncio.run(work())


@pytest.mark.parametrize("verb", ["get", "into", "range", "stat", "put"])
def test_a_cancelled_await_gives_its_request_up(verb: str, use: Callable[[Client], Client]) -> None:
    asked = threading.Event()
    with ScriptedServer([[Expect(lambda seen: asked.set() is None), ExpectClose()]]) as server:
        use(client_at(server.endpoint))
        buffer = bytearray(1000)
        start = {
            "get": lambda: s3dlio.get_async("s3://b/k"),
            "into": lambda: s3dlio.get_into_async("s3://b/k", buffer),
            "range": lambda: s3dlio.get_range_async("s3://b/k", 1, 5),
            "stat": lambda: s3dlio.stat_async("s3://b/k"),
            "put": lambda: s3dlio.put_bytes_async("s3://b/k", buffer),
        }[verb]

        async def work() -> None:
            task = asyncio.ensure_future(start())
            await asyncio.to_thread(asked.wait, 30)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            buffer.clear()  # nothing exports it

        asyncio.run(work())
        server.assert_consumed()


def test_a_time_out_of_the_task_frees_the_buffer(use: Callable[[Client], Client]) -> None:
    with ScriptedServer([[Expect(), ExpectClose()]]) as server:
        use(client_at(server.endpoint))
        buffer = bytearray(1000)

        async def work() -> None:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(s3dlio.get_into_async("s3://b/k", buffer), 0.05)
            buffer.clear()

        asyncio.run(work())
        server.assert_consumed()


def test_a_call_that_waits_for_room_never_begins_when_it_is_cancelled(use: Callable[[Client], Client]) -> None:
    go_on = threading.Event()
    script = [Expect(b"GET /b/first"), Until(go_on), respond(body=b"x", headers=FIELDS)]
    with ScriptedServer([script]) as server:
        use(client_at(server.endpoint, http={"max_connections": 1}))

        async def work() -> None:
            first = asyncio.create_task(s3dlio.get_async("s3://b/first"))
            await asyncio.sleep(0)
            later = [asyncio.create_task(s3dlio.get_async("s3://b/later")) for _ in range(3)]
            await asyncio.sleep(0)
            for task in later:
                task.cancel()
            ends = await asyncio.gather(*later, return_exceptions=True)
            assert {type(end) for end in ends} == {asyncio.CancelledError}
            go_on.set()
            assert await first == b"x"

        asyncio.run(work())
        server.assert_consumed()


def test_a_large_body_goes_on_on_a_thread(
    use: Callable[[Client], Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of it is there; what else the event loop does is not held up, nor is another object. Its end wakes the loop,
    which has no timer to wait for."""
    monkeypatch.setattr(awaiting.LoopLane, "_arm", lambda self, pause=None: None)
    size = 4 * LARGE
    body = os.urandom(size)
    go_on, over = threading.Event(), threading.Event()
    head = b"HTTP/1.1 200 OK\r\nETag: \"e\"\r\nContent-Length: %d\r\n\r\n" % size
    large = [Expect(), Send(head + body[:1000]), Until(go_on), Send(body[1000:]), Until(over)]
    small = [Expect(), respond(body=b"small", headers=FIELDS), Until(over)]  # it wakes nobody by closing
    with ScriptedServer([large, small]) as server:
        client = use(client_at(server.endpoint))

        async def work() -> None:
            reading = asyncio.create_task(s3dlio.get_async("s3://b/large"))
            while not client.lanes._threads:
                await asyncio.sleep(0.001)
            assert await s3dlio.get_async("s3://b/small") == b"small"
            go_on.set()
            assert await asyncio.wait_for(reading, 10) == body
            over.set()

        asyncio.run(work())
        server.assert_consumed()


def test_a_large_body_is_given_up_with_its_task(use: Callable[[Client], Client]) -> None:
    head = b"HTTP/1.1 200 OK\r\nETag: \"e\"\r\nContent-Length: %d\r\n\r\n" % (4 * LARGE)
    with ScriptedServer([[Expect(), Send(head + bytes(1000)), ExpectClose()]]) as server:
        client = use(client_at(server.endpoint))
        buffer = bytearray(4 * LARGE)

        async def work() -> None:
            reading = asyncio.create_task(s3dlio.get_into_async("s3://b/large", buffer))
            while not client.lanes._threads:
                await asyncio.sleep(0.001)
            reading.cancel()
            with pytest.raises(asyncio.CancelledError):
                await reading
            buffer.clear()

        asyncio.run(work())
        server.assert_consumed()


def test_a_loop_that_was_closed_with_awaits_pending_is_no_matter_of_the_next_one(
    use: Callable[[Client], Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    unraisable: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", unraisable.append)
    answer = respond(body=b"hello", headers=FIELDS)
    asked = threading.Event()

    async def until_asked() -> None:
        while not asked.is_set():
            await asyncio.sleep(0.001)

    first = [Expect(lambda request: not asked.set()), ExpectClose()]
    with ScriptedServer([first, [Expect(), answer]]) as server:
        use(client_at(server.endpoint))
        loop, buffer = asyncio.new_event_loop(), bytearray(5)
        pending = loop.create_task(s3dlio.get_into_async("s3://b/k", buffer))
        loop.run_until_complete(until_asked())
        loop.close()
        assert asyncio.run(s3dlio.get_async("s3://b/k")) == b"hello"
        pending._log_destroy_pending = False  # type: ignore[attr-defined]
        del pending, loop
        gc.collect()
        buffer.append(0)  # nothing exports it
        assert not unraisable
        server.assert_consumed()


@pytest.mark.parametrize(
    ("place", "step"), [(awaiting.LoopLane, "turn"), (Multiplexer, "start"), (awaiting.LoopLane, "cancel")]
)
def test_an_interrupt_amid_a_step_is_raised_and_leaves_nothing_waiting(
    near: DelayedServer, use: Callable[[Client], Client], monkeypatch: pytest.MonkeyPatch, place: type, step: str
) -> None:
    """As of a notebook, whose event loop goes on after an interrupt."""
    client = use(client_at(near.endpoint, http={"max_connections": 4}))
    plain = getattr(place, step)
    steps = 0

    def interrupted(*args: Any) -> Any:
        nonlocal steps
        steps += 1
        if steps == 3:
            raise KeyboardInterrupt
        return plain(*args)

    async def cell(tasks: list[asyncio.Task[Any]]) -> None:
        await asyncio.sleep(0)
        if step == "cancel":
            for task in tasks:
                task.cancel()
        await asyncio.wait(tasks)

    told: list[Any] = []
    loop = asyncio.new_event_loop()
    loop.set_exception_handler(lambda _, context: told.append(context))
    try:
        monkeypatch.setattr(place, step, interrupted)
        tasks = [loop.create_task(s3dlio.get_async(f"s3://b/{number}")) for number in range(20)]
        with pytest.raises(KeyboardInterrupt):
            loop.run_until_complete(cell(tasks))
        _, pending = loop.run_until_complete(asyncio.wait(tasks, timeout=10))
        assert not pending
        errors = [None if task.cancelled() else task.exception() for task in tasks]
        assert {type(error) for error in errors if error} <= {TransferCancelledError, KeyboardInterrupt}
        assert len(loop.run_until_complete(s3dlio.get_async("s3://b/k"))) == 4096
        assert not lanes_of(client)[-1].busy
        assert not told
    finally:
        loop.close()


def test_large_bodies_that_are_awaited_share_few_connections(
    use: Callable[[Client], Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that go on on a thread too, one after the other and side by side."""
    opened: list[None] = []
    fresh = ConnectionPool.acquire_fresh
    monkeypatch.setattr(ConnectionPool, "acquire_fresh", lambda pool: opened.append(None) or fresh(pool))  # type: ignore[func-returns-value]
    with DelayedServer(delay=0.001, size=4 * LARGE) as server:
        client = use(client_at(server.endpoint, http={"max_connections": 3}))

        async def work() -> None:
            for _ in range(5):
                assert len(await s3dlio.get_async("s3://b/k")) == 4 * LARGE
            assert len(opened) == 1
            views = await asyncio.gather(*(s3dlio.get_async("s3://b/k") for _ in range(12)))
            assert {len(view) for view in views} == {4 * LARGE}
            assert lanes_of(client)[0].window == 3

        asyncio.run(work())
    assert client.lanes._threads
    assert len(opened) <= 3


def test_the_error_of_one_call_keeps_no_buffer_of_another(use: Callable[[Client], Client]) -> None:
    """Their answers came together."""
    go = [threading.Event(), threading.Event()]
    part = Send(b'HTTP/1.1 200 OK\r\nETag: "e"\r\nContent-Length: 5\r\n\r\nhe')
    scripts = [
        [Expect(), Until(go[0]), respond(body=b"whole", headers=FIELDS), ExpectClose()],
        [Expect(), Until(go[1]), part, ExpectClose()],
    ]
    with ScriptedServer(scripts) as server:
        client = use(client_at(server.endpoint))
        buffer = bytearray(5)

        async def work() -> None:
            refused = asyncio.create_task(s3dlio.get_range_async("s3://b/k", 1, 2))
            reading = asyncio.create_task(s3dlio.get_into_async("s3://b/k", buffer))
            await asyncio.sleep(0)
            (lane,) = lanes_of(client)
            while not all(pending.exchange for pending in lane._multiplexer.in_flight.values()):
                await asyncio.sleep(0.001)
            for event, fd in zip(go, list(lane._multiplexer.in_flight), strict=True):
                event.set()
                assert select.select([fd], [], [], 20)[0]  # the loop does not run meanwhile
            with pytest.raises(ProtocolError) as kept:
                await refused
            reading.cancel()
            with pytest.raises(asyncio.CancelledError):
                await reading
            buffer.clear()
            assert kept.value

        asyncio.run(work())
        server.assert_consumed()


def test_the_event_loop_does_not_wait_for_credentials(
    use: Callable[[Client], Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are fetched once for all, on a thread."""
    with ScriptedServer([[Expect(), respond(body=b"x", headers=FIELDS)] * 3]) as server:
        client = use(client_at(server.endpoint, http={"max_connections": 1}))
        store, _ = client.store_for("s3://b/k")
        go_on, asked = threading.Event(), []

        class Slow:
            def ready(self) -> bool:
                return bool(asked) and go_on.is_set()

            def __call__(self) -> Credentials:
                assert threading.current_thread() is not threading.main_thread()
                asked.append(1)
                assert go_on.wait(30)
                return Credentials("A", "B", None)

        monkeypatch.setattr(net_service(store), "_source", Slow())

        async def work() -> None:
            reading = [asyncio.create_task(s3dlio.get_async("s3://b/k")) for _ in range(3)]
            gone = asyncio.create_task(s3dlio.get_async("s3://b/k"))
            while not asked:
                await asyncio.sleep(0.001)
            gone.cancel()
            with pytest.raises(asyncio.CancelledError):
                await gone
            go_on.set()
            assert await asyncio.gather(*reading) == [b"x"] * 3

        asyncio.run(work())
        assert asked == [1]
        server.assert_consumed()


def test_what_a_batch_has_in_flight_does_not_wait_for_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys that end in the middle of it are fetched on a thread."""
    first_is_there = threading.Event()

    class Ending:
        """Those that are there serve for one request; the next ones come when its answer has."""

        used = False

        def ready(self) -> bool:
            used, self.used = self.used, True
            return not used or first_is_there.is_set()

        def __call__(self) -> Credentials:
            assert threading.current_thread() is not threading.main_thread()
            assert first_is_there.wait(30)
            return Credentials("A", "B", None)

    with ScriptedServer([[Expect(), respond(body=b"x", headers=FIELDS)]] * 2) as server:
        client = client_at(server.endpoint)
        store, _ = client.store_for("s3://b/k")
        monkeypatch.setattr(net_service(store), "_source", Ending())
        client.stores.add_observer(lambda seen: first_is_there.set())
        assert [data for _, data in client.get_many(["s3://b/k", "s3://b/l"])] == [b"x", b"x"]


def test_credentials_that_cannot_be_had_are_the_error_of_each(
    use: Callable[[Client], Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    client = use(client_at("http://127.0.0.1:9"))
    store, _ = client.store_for("s3://b/k")

    class Missing:
        def ready(self) -> bool:
            return False

        def __call__(self) -> Credentials:
            raise PermissionDeniedError("there are none")

    monkeypatch.setattr(net_service(store), "_source", Missing())

    async def work() -> None:
        for error in await asyncio.gather(*(s3dlio.get_async("s3://b/k") for _ in range(3)), return_exceptions=True):
            assert isinstance(error, PermissionDeniedError)
            assert error.uri == "s3://b/k"

    asyncio.run(work())


def test_deadlines_are_kept_while_nothing_comes(use: Callable[[Client], Client]) -> None:
    with ScriptedServer([[Expect(), ExpectClose()]]) as server:
        use(client_at(server.endpoint, http={"read_timeout": 0.2}, retry={"max_attempts": 1}))

        async def work() -> None:
            with pytest.raises(TransferTimeoutError):
                await s3dlio.get_async("s3://b/k")

        asyncio.run(work())
        server.assert_consumed()


def test_loops_that_end_leave_no_lane_and_their_connections_serve_again(
    near: DelayedServer, use: Callable[[Client], Client]
) -> None:
    with FaultProxy(near.endpoint) as proxy:
        client = use(client_at(proxy.endpoint))
        for _ in range(3):
            asyncio.run(s3dlio.get_async("s3://b/k"))
        loop = asyncio.new_event_loop()
        loop.run_until_complete(s3dlio.get_async("s3://b/k"))
        loop.close()  # without shutdown_asyncgens
        del loop
        asyncio.run(s3dlio.get_async("s3://b/k"))
        gc.collect()
        assert [lane for lane in lanes_of(client) if not lane.closed] == []
        assert proxy.tally.connections <= 2


@pytest.mark.parametrize("end", ["reconfigure", "close", "drop"])
def test_a_loop_keeps_no_lane_of_settings_or_a_client_that_are_gone(
    end: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is in flight ends well."""
    go_on = threading.Event()
    with ScriptedServer([[Expect(), Until(go_on), respond(body=b"x", headers=FIELDS)]]) as server:
        client = client_at(server.endpoint)
        client.store_for("s3://b/k")
        monkeypatch.setattr(api, "_default", None)
        api._default = client

        async def work(client: Client) -> None:
            reading = asyncio.create_task(s3dlio.get_async("s3://b/k"))
            await asyncio.sleep(0)
            (lane,) = lanes_of(client)
            if end == "reconfigure":
                client.reconfigure(client.settings)
            elif end == "close":
                client.close()
            api._default = None
            del client
            gc.collect()
            assert not lane.closed
            go_on.set()
            assert await reading == b"x"
            del reading
            gc.collect()
            while not lane.closed:
                await asyncio.sleep(0.001)

        working = work(client)
        del client
        asyncio.run(working)


def test_an_idle_loop_is_not_woken(near: DelayedServer, use: Callable[[Client], Client]) -> None:
    client = use(client_at(near.endpoint))

    async def work() -> None:
        await s3dlio.get_async("s3://b/k")
        (lane,) = lanes_of(client)
        turns: list[float] = []
        turn = lane.turn

        def counted(timeout: float | None) -> None:
            turns.append(time.monotonic())
            turn(timeout)

        lane.turn = counted  # type: ignore[method-assign]
        lane._idle_until, lane._keeps = None, False  # as after its connections have gone
        if lane._timer is not None:
            lane._timer.cancel()
            lane._timer = None
        await asyncio.sleep(0.3)
        assert not turns
        assert len(await s3dlio.get_async("s3://b/k")) == 4096

    asyncio.run(work())


def test_errors_are_those_of_the_blocking_form(use: Callable[[Client], Client]) -> None:
    with ScriptedServer([[Expect(), respond("404 Not Found")] * 3]) as server:
        use(client_at(server.endpoint))

        async def work() -> None:
            with pytest.raises(ObjectNotFoundError) as caught:
                await s3dlio.get_async("s3://b/gone")
            assert caught.value.uri == "s3://b/gone"
            assert caught.value.operation == "GET"
            assert not await s3dlio.exists_async("s3://b/gone")
            assert await s3dlio.head_async("s3://b/gone") is None

        asyncio.run(work())


def test_files_are_read_on_threads(tmp_path: Path) -> None:
    uri = f"file://{tmp_path}/x"
    s3dlio.put_bytes(uri, b"x")

    async def work() -> None:
        assert await s3dlio.get_async(uri) == b"x"

    asyncio.run(work())
    threads.shutdown()


def test_a_large_body_stays_where_the_other_lane_has_just_ended(use: Callable[[Client], Client]) -> None:
    with DelayedServer(delay=0.0, size=4 * LARGE) as server:
        client = use(client_at(server.endpoint))
        ended = ResidentLane(window=1)
        ended.close()
        ended.serve()
        client.lanes.other = lambda: ended  # type: ignore[method-assign]
        assert len(asyncio.run(s3dlio.get_async("s3://b/large"))) == 4 * LARGE


def test_a_lane_that_fails_ends_its_calls_and_the_next_one_is_another(
    near: DelayedServer, use: Callable[[Client], Client]
) -> None:
    client = use(client_at(near.endpoint))

    async def work() -> None:
        loop, reported = asyncio.get_running_loop(), []
        loop.set_exception_handler(lambda _, context: reported.append(context["exception"]))
        await s3dlio.get_async("s3://b/k")
        (lane,) = lanes_of(client)

        def broken(timeout: float | None) -> None:
            raise MemoryError("of a test")

        lane.turn = broken  # type: ignore[method-assign]
        with pytest.raises(TransferCancelledError):
            await s3dlio.get_async("s3://b/k")
        assert lane.closed
        for _ in range(3):
            assert len(await s3dlio.get_async("s3://b/k")) == 4096
        assert [str(error) for error in reported] == ["of a test"]

    asyncio.run(work())


def test_a_forked_child_does_not_speak_on_connections_of_its_parents_loops(
    near: DelayedServer, use: Callable[[Client], Client]
) -> None:
    client = use(client_at(near.endpoint))
    loops = [asyncio.new_event_loop()]
    loops[0].run_until_complete(s3dlio.get_async("s3://b/k"))
    pool = net_service(client.store_for("s3://b/k")[0]).pool

    def child() -> bool:
        loops.clear()
        gc.collect()
        return not pool._idle

    assert in_child(child)
    loops[0].run_until_complete(loops[0].shutdown_asyncgens())
    loops[0].close()
    assert pool._idle  # they are the parent's still
