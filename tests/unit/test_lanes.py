"""The resident lanes of a client: calls of any thread on threads that sleep while there is nothing to do."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Iterator
from concurrent.futures import CancelledError, wait
from typing import Any

import pytest

from s3dlio.engine.lanes import Lanes
from s3dlio.errors import ObjectNotFoundError, TransferCancelledError
from s3dlio.memory.sinks import BufferSink, MemorySink
from s3dlio.net.inbox import Inbox
from s3dlio.net.resident import ResidentLane, Submission
from s3dlio.stores.call import Call
from s3dlio.stores.s3 import S3Store
from s3dlio.types import NO_CONDITIONS
from tests.servers.delayed import DelayedServer
from tests.servers.scripted import Expect, ExpectClose, ScriptedServer, respond
from tests.wire.s3_harness import store_of


@pytest.fixture(scope="module")
def near() -> Iterator[DelayedServer]:
    with DelayedServer(delay=0.001, size=4096) as server:
        yield server


@pytest.fixture
def lanes() -> Iterator[Lanes]:
    lanes = Lanes(window=8)
    yield lanes
    lanes.close()


def reading(store: S3Store, key: str = "k") -> tuple[Call[Any], MemorySink]:
    sink = MemorySink()
    return store.read_call(key, sink), sink


def threads_of_lanes() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "s3dlio-lane"]


def test_calls_of_several_threads_run_on_one_lane(near: DelayedServer, lanes: Lanes) -> None:
    store = store_of(near.endpoint)
    sizes: list[int | None] = []

    def ask() -> None:
        for _ in range(20):
            call, sink = reading(store)
            lanes.submit(call).result(30)
            sizes.append(sink.size)

    askers = [threading.Thread(target=ask) for _ in range(4)]
    for asker in askers:
        asker.start()
    for asker in askers:
        asker.join()
    assert sizes == [4096] * 80
    assert len(threads_of_lanes()) == 1


def test_more_calls_than_the_window_wait_in_order(near: DelayedServer, lanes: Lanes) -> None:
    store = store_of(near.endpoint)
    futures = [lanes.submit(reading(store)[0]) for _ in range(500)]
    done, left = wait(futures, 60)
    assert len(done) == 500
    assert not left



def test_an_error_is_that_of_the_blocking_call(lanes: Lanes) -> None:
    with ScriptedServer([[Expect(), respond("404 Not Found")]]) as server:
        with pytest.raises(ObjectNotFoundError) as caught:
            lanes.submit(reading(store_of(server.endpoint), "gone")[0]).result(30)
        assert caught.value.uri == "s3://b/gone"


def test_a_cancelled_call_gives_its_request_up_and_its_buffer_is_free(lanes: Lanes) -> None:
    asked = threading.Event()
    with ScriptedServer([[Expect(lambda seen: asked.set() is None), ExpectClose()]]) as server:
        buffer = bytearray(10)
        view = memoryview(buffer)
        sink = BufferSink(view, exact=False)
        future = lanes.submit(store_of(server.endpoint).read_call("k", sink))
        assert asked.wait(30)
        assert future.cancel()
        with pytest.raises(CancelledError):
            future.result(30)
        assert future.cancelled()
        sink.release()
        view.release()
        buffer.clear()  # nothing exports it
        server.assert_consumed()


def test_a_call_that_was_cancelled_before_it_began_never_begins(lanes: Lanes) -> None:
    begun: list[int] = []
    hold, held = threading.Event(), threading.Event()

    def block() -> None:
        held.set()
        hold.wait(30)

    lanes.first().post(block)
    assert held.wait(30)
    call: Call[Any] = Call(store_of("http://127.0.0.1:9"), "GET", "k", lambda: begun.append(1))
    future = lanes.submit(call)
    assert future.cancel()
    hold.set()
    with pytest.raises(CancelledError):
        future.result(30)
    assert not begun


def test_closing_waits_for_what_is_in_flight_and_the_lanes_start_again(near: DelayedServer, lanes: Lanes) -> None:
    store = store_of(near.endpoint)
    future = lanes.submit(reading(store)[0])
    lanes.close()
    assert future.done()
    assert not threads_of_lanes()
    lanes.submit(reading(store)[0]).result(30)


def test_lanes_that_nobody_refers_to_are_gone(near: DelayedServer) -> None:
    lanes = Lanes(window=8)
    lanes.submit(reading(store_of(near.endpoint))[0]).result(30)
    (thread,) = threads_of_lanes()
    del lanes
    gc.collect()
    thread.join(30)
    assert not thread.is_alive()


def test_an_idle_lane_sleeps_without_a_time_out(near: DelayedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its connections go to their pools, which close them in time; then it wakes for nothing."""
    lane = ResidentLane(window=8)
    store = store_of(near.endpoint)
    reads = Submission(reading(store)[0], 1)
    lane.submit(reads)
    while not reads.over:
        lane.turn(lane.pause())
    now = time.monotonic()
    first = lane.pause()
    assert first is not None
    assert 0 < first <= 1
    monkeypatch.setattr("s3dlio.net.system.monotonic", lambda: now + 2)
    second = lane.pause()
    assert second is not None
    assert 1 < second <= store.settings.http.pool_idle_seconds + 1
    monkeypatch.setattr("s3dlio.net.system.monotonic", lambda: now + 2 + second + 1)
    assert lane.pause() is None
    assert lane.pause() is None
    lane._close()


def test_what_is_posted_to_a_lane_that_has_ended_is_refused() -> None:
    inbox = Inbox()
    assert inbox.post(lambda: None)
    assert not inbox.close()  # something is left to run
    inbox.run()
    assert inbox.close()
    assert not inbox.post(lambda: None)


def test_a_lane_that_fails_gives_back_what_was_handed_to_it_meanwhile(near: DelayedServer) -> None:
    ended: list[BaseException | None] = []
    ran: list[int] = []

    class Told(Submission):
        __slots__ = ()

        def end(self, result: object, error: BaseException | None) -> None:
            ended.append(error)

    lane = ResidentLane(window=8)
    lane.post(lambda: ran.append(1))
    assert lane.submit(Told(reading(store_of(near.endpoint))[0], 1))
    lane.fail(RuntimeError("broken"))
    assert ran == [1]
    assert [type(error) for error in ended] == [TransferCancelledError]
    assert not lane.submit(Told(reading(store_of(near.endpoint))[0], 1))
    lane._close()


def test_a_call_whose_credentials_are_fetched_holds_up_no_other(near: DelayedServer, lanes: Lanes) -> None:
    go_on = threading.Event()

    class Slow:
        def ready(self) -> bool:
            return go_on.is_set()

        def __call__(self) -> None:
            assert go_on.wait(30)

    slow, other = store_of(near.endpoint), store_of(near.endpoint)
    call = reading(slow)[0]
    slow.service.read_request("k", (), NO_CONDITIONS).service._source = Slow()
    waiting = lanes.submit(call)
    lanes.submit(reading(other)[0]).result(30)
    assert not waiting.done()
    go_on.set()
    waiting.result(30)


def test_who_waits_hears_of_all_that_ended_in_a_turn_at_its_end(near: DelayedServer) -> None:
    lane, store = ResidentLane(window=4), store_of(near.endpoint)
    told: list[str] = []

    def after() -> None:
        told.append("after")

    class Told(Submission):
        def end(self, result: Any, error: BaseException | None) -> None:
            told.append("end")
            lane.after_turn(after)

    lane.begin(Told(reading(store, str(number))[0], 1) for number in range(3))
    while told.count("end") < 3:
        seen = len(told)
        lane.turn(1.0)
        this_turn = told[seen:]
        assert this_turn == ["end"] * (len(this_turn) - 1) + ["after"] * bool(this_turn)
    lane._close()
