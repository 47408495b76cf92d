"""The lane: many requests on one thread, none of which disturbs the others."""

from __future__ import annotations

import dataclasses
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from s3dlio.engine.cancel import CancelToken
from s3dlio.errors import (
    NetworkError,
    ObjectChangedError,
    S3dlioError,
    TransferCancelledError,
    TransferTimeoutError,
)
from s3dlio.memory.sinks import MemorySink
from s3dlio.memory.sources import MemorySource
from s3dlio.net import blocking, multiplexer, resolve, system
from s3dlio.net import lane as lane_module
from s3dlio.net import server as server_module
from s3dlio.net.lane import Lane
from s3dlio.net.message import Pause, Request, Service
from s3dlio.net.resolve import Resolution
from s3dlio.net.response import Response
from tests.servers.delayed import DelayedServer
from tests.servers.proxy import Fault, FaultProxy
from tests.servers.scripted import Expect, ExpectClose, Reset, ScriptedServer, Send, Until, Wait, respond
from tests.wire.harness import HTTP, QUICK, Calls, asking, get, put, service_of

HELLO = respond(body=b"hello")


@pytest.fixture(scope="module")
def far() -> Iterator[DelayedServer]:
    """A server 20 ms away."""
    with DelayedServer(delay=0.02, size=4096) as server:
        yield server


def run(calls: Calls, *, window: int = 8, cancel: CancelToken | None = None) -> None:
    Lane(window=window, cancel=cancel).run(calls, calls.done)


def test_distance_is_shared(far: DelayedServer) -> None:
    service = service_of(far.endpoint)
    calls = Calls([asking(get(service, MemorySink())) for _ in range(2000)])
    began = time.monotonic()
    run(calls, window=256)
    assert len(calls.results) == 2000
    assert all(response.size == 4096 for response in calls.results.values())
    assert time.monotonic() - began < 2000 * 0.02 / 4  # one after another it would be 40 s


def test_the_window_is_never_exceeded(far: DelayedServer) -> None:
    with FaultProxy(far.endpoint) as proxy:
        service = service_of(proxy.endpoint)
        in_flight, most, lock = 0, 0, threading.Lock()

        def counted() -> Any:
            nonlocal in_flight, most
            with lock:
                in_flight += 1
                most = max(most, in_flight)
            answer = yield get(service)
            in_flight -= 1
            return answer

        calls = Calls([counted] * 60)
        run(calls, window=5)
        assert len(calls.results) == 60
        assert most <= 6  # one more may wait for room
        assert proxy.tally.connections <= 5
        assert proxy.tally.requests == 60


def test_calls_are_pulled_as_there_is_room(far: DelayedServer) -> None:
    service = service_of(far.endpoint)
    pulled: list[int] = []
    finished: list[int] = []

    class Call:
        def steps(self) -> Any:
            return (yield get(service))

    def calls() -> Iterator[tuple[int, Call]]:
        for index in range(50):
            pulled.append(index)
            assert len(pulled) - len(finished) <= 8
            yield index, Call()

    Lane(window=6).run(calls(), lambda index, result, error: finished.append(index))
    assert sorted(finished) == list(range(50))


def test_answers_come_in_the_order_of_the_requests() -> None:
    gate = threading.Event()
    scripts = [[Expect(), Until(gate), respond(body=b"slow")], [Expect(), respond(body=b"quick"), Wait(0.05)]]
    with ScriptedServer(scripts) as server:
        service = service_of(server.endpoint)
        threading.Timer(0.2, gate.set).start()
        answers = Lane(window=2).gather([get(service, path="/0"), get(service, path="/1")])
        by_path = {seen.target: script for seen, script in zip(server.all_requests, (b"slow", b"quick"), strict=True)}
        assert [bytes(answer.body) for answer in answers] == [by_path["/0"], by_path["/1"]]
        server.assert_consumed()


def test_the_failure_of_one_does_not_disturb_the_others(far: DelayedServer) -> None:
    with (
        ScriptedServer([[Expect(), Reset()]] * 4) as broken,
        ScriptedServer([[Expect(), Send(b"nonsense\r\n")]]) as mad,
    ):
        good, bad, worse = service_of(far.endpoint), service_of(broken.endpoint), service_of(mad.endpoint)
        makes = [asking(get(good, MemorySink())) for _ in range(40)]
        makes.insert(3, asking(get(bad)))
        makes.insert(9, asking(get(worse)))
        calls = Calls(makes)
        run(calls)
        assert len(calls.results) == 40
        assert isinstance(calls.errors[3], NetworkError)
        assert isinstance(calls.errors[9], S3dlioError)
        broken.assert_consumed()
        mad.assert_consumed()


def test_a_failed_request_gives_up_its_set() -> None:
    """Of a set of concurrent requests the first failure is raised in the operation, and the others are dropped."""
    scripts = [[Expect(), ExpectClose()], [Expect(), ExpectClose()], [Expect(), Wait(0.1), respond("404 Gone")]]
    with ScriptedServer(scripts) as server:
        service = service_of(server.endpoint)
        seen: list[BaseException] = []

        def refuse(response: Response) -> None:
            if response.status != 200:
                raise LookupError("gone")

        def requests() -> Iterator[Request]:
            for index in range(100):  # only as many are made as there is room for
                request = get(service, path=f"/{index}")
                request.check = refuse
                yield request

        def steps() -> Any:
            try:
                yield requests()
            except LookupError as error:
                seen.append(error)
                raise

        calls = Calls([steps])
        run(calls, window=3)
        assert [str(error) for error in seen] == ["gone"]
        assert calls.errors[0] is seen[0]
        server.assert_consumed()


def impatient(endpoint: str) -> Service:
    """A service whose requests are made once, and time out soon."""
    http, once = dataclasses.replace(HTTP, read_timeout=0.2), dataclasses.replace(QUICK, max_attempts=1)
    return service_of(endpoint, http=http, retry=once)


def test_two_of_a_set_time_out_in_one_sweep() -> None:
    with ScriptedServer([[Expect(), ExpectClose()]] * 4) as server:
        service = impatient(server.endpoint)
        with pytest.raises(TransferTimeoutError):
            Lane(window=4).gather([get(service) for _ in range(4)])
        server.assert_consumed()


def test_the_calls_behind_one_that_timed_out_are_run() -> None:
    with ScriptedServer([[Expect(), ExpectClose()]] * 3) as server:
        service = impatient(server.endpoint)
        calls = Calls([asking(get(service)) for _ in range(3)])
        run(calls, window=1)
        assert sorted(calls.errors) == [0, 1, 2]
        server.assert_consumed()


def test_requests_that_cannot_be_made_fail_their_operation(far: DelayedServer) -> None:
    service = service_of(far.endpoint)

    def requests() -> Iterator[Request]:
        yield get(service)
        raise ValueError("no more")

    def steps() -> Any:
        return (yield requests())

    calls = Calls([steps, asking(get(service))])
    run(calls)
    assert str(calls.errors[0]) == "no more"
    assert calls.results[1].status == 200


def test_an_empty_set_is_answered_at_once() -> None:
    def steps() -> Any:
        return (yield [])

    calls = Calls([steps])
    run(calls)
    assert calls.results == {0: []}


@pytest.mark.parametrize("driver", ["blocking", "lane"])
def test_an_operation_may_pause(driver: str) -> None:
    def steps() -> Any:
        yield Pause(0.05)
        return "rested"

    if driver == "blocking":
        assert blocking.drive(steps()) == "rested"
    else:
        calls = Calls([steps, steps])
        run(calls, window=1)
        assert calls.results == {0: "rested", 1: "rested"}


def test_a_body_that_cannot_be_resumed_fails_its_operation_alone() -> None:
    half = Send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")

    def refuse(response: Response, received: int) -> Request | None:
        raise ObjectChangedError("another version")

    with ScriptedServer([[Expect(), half, Reset()]]) as server, ScriptedServer([[Expect(), HELLO]]) as other:
        broken = get(service_of(server.endpoint), MemorySink())
        broken.resume = refuse
        calls = Calls([asking(broken), asking(get(service_of(other.endpoint)))])
        run(calls)
        assert isinstance(calls.errors[0], ObjectChangedError)
        assert calls.results[1].status == 200


def test_a_retry_pause_holds_up_nobody(far: DelayedServer) -> None:
    patient = dataclasses.replace(QUICK, retry_after_cap=60.0)
    busy = respond("503 Busy", headers=[("Retry-After", "1")])
    with ScriptedServer([[Expect(), busy], [Expect(), HELLO]]) as server:
        order: list[int] = []
        calls = Calls([asking(get(service_of(server.endpoint, retry=patient)))])
        calls._makes = [*calls._makes, *[asking(get(service_of(far.endpoint))) for _ in range(10)]]
        Lane(window=1).run(calls, lambda index, result, error: order.append(index))
        assert sorted(order) == list(range(11))
        assert order[-1] == 0


def test_idle_connections_that_a_server_closes_are_let_go() -> None:
    """It closes the first connection while the lane works on with another server."""
    with ScriptedServer([[Expect(), HELLO], [Expect(), respond(body=b"new")]]) as server:
        service = service_of(server.endpoint)

        def steps() -> Any:
            first = yield get(service)
            yield Pause(0.1)
            second = yield get(service)
            return bytes(first.body), bytes(second.body), second.attempts

        calls = Calls([steps])
        run(calls)
        assert calls.results == {0: (b"hello", b"new", 1)}
        server.assert_consumed()


def test_connections_go_back_to_the_pool(far: DelayedServer) -> None:
    with FaultProxy(far.endpoint) as proxy:
        service = service_of(proxy.endpoint)
        for _ in range(3):
            Lane(window=4).gather([get(service) for _ in range(8)])
        assert blocking.perform(get(service)).status == 200
        assert proxy.tally.connections == 4


def test_stalled_and_cut_connections_do_not_stop_a_batch(far: DelayedServer) -> None:
    http = dataclasses.replace(HTTP, read_timeout=0.4)
    with FaultProxy(far.endpoint) as proxy:
        faults = [
            Fault(cut_after=1000),
            Fault(reset=True),
            Fault(stall_after=500),
            Fault(cut_after=100, reset=True),
            Fault(refuse=True),
        ]
        proxy.plan(*faults)
        calls = Calls([asking(get(service_of(proxy.endpoint, http=http), MemorySink())) for _ in range(60)])
        run(calls, window=8)
        assert len(calls.results) == 60
        proxy.assert_planned_faults_happened()


# -- the end before the end


def uploading(service: Any, cleaned: list[str]) -> Callable[[], Any]:
    """An operation like a multipart upload: many requests, and one more when it fails."""

    def steps() -> Any:
        try:
            yield [put(service, b"x" * 100, path=f"/part{index}") for index in range(100)]
        except GeneratorExit:
            raise
        except BaseException as error:
            cleaned.append(type(error).__name__)
            yield Request(service, "DELETE", "/upload")
            cleaned.append("aborted")
            raise

    return steps


def test_a_cancelled_operation_cleans_up() -> None:
    token = CancelToken()
    cleaned: list[str] = []
    stuck = [Expect(b"PUT"), ExpectClose()]
    with ScriptedServer([stuck, stuck, [Expect(b"DELETE /upload"), respond("204 No Content")]]) as server:
        threading.Timer(0.2, token.cancel).start()
        calls = Calls([uploading(service_of(server.endpoint), cleaned)])
        run(calls, window=2, cancel=token)
        assert cleaned == ["TransferCancelledError", "aborted"]
        assert isinstance(calls.errors[0], TransferCancelledError)
        server.assert_consumed()


@pytest.mark.parametrize("struck", ["poll", "done"])
def test_an_interrupted_operation_cleans_up(struck: str, monkeypatch: pytest.MonkeyPatch) -> None:
    cleaned: list[str] = []
    stuck = [Expect(b"PUT"), ExpectClose()]
    with ScriptedServer([stuck, stuck, [Expect(b"DELETE /upload"), respond("204 No Content")]]) as server:

        def later() -> Any:
            while len(server.all_requests) < 2:
                yield Pause(0.02)

        def interrupt(*args: Any) -> None:
            raise KeyboardInterrupt

        lane = Lane(window=2)
        real = lane._multiplexer.poll

        def poll(timeout: float) -> Iterator[None]:
            yield from real(timeout)
            if len(server.all_requests) == 2:
                interrupt()

        if struck == "poll":
            monkeypatch.setattr(lane._multiplexer, "poll", poll)
        calls = Calls([later, uploading(service_of(server.endpoint), cleaned)])
        with pytest.raises(KeyboardInterrupt):
            lane.run(calls, calls.done if struck == "poll" else interrupt)
        assert cleaned == ["TransferCancelledError", "aborted"]
        server.assert_consumed()


def test_an_interrupt_within_the_selector_hides_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is closed then may be unknown to the poller."""
    cleaned: list[str] = []
    stuck = [Expect(b"PUT"), ExpectClose()]
    with ScriptedServer([stuck, stuck, [Expect(b"DELETE /upload"), respond("204 No Content")]]) as server:
        lane = Lane(window=2)
        wire, real = lane._multiplexer, lane._multiplexer.poll

        def poll(timeout: float) -> Iterator[None]:
            yield from real(timeout)
            if len(server.all_requests) == 2:
                wire._poller.unregister(next(iter(wire.in_flight)))
                raise KeyboardInterrupt

        monkeypatch.setattr(wire, "poll", poll)
        calls = Calls([uploading(service_of(server.endpoint), cleaned)])
        with pytest.raises(KeyboardInterrupt):
            lane.run(calls, calls.done)
        assert cleaned == ["TransferCancelledError", "aborted"]
        server.assert_consumed()


def test_a_second_interrupt_gives_no_connection_back_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two users of one connection would read each other's answers."""
    with ScriptedServer([[Expect(), HELLO]] * 3) as server:
        service = service_of(server.endpoint)
        pool, release, struck = service.pool, service.pool.release, []

        def strike(connection: Any, *, reusable: bool) -> None:
            release(connection, reusable=reusable)
            if not struck:
                struck.append(connection)
                raise KeyboardInterrupt

        def done(index: int, result: Any, error: BaseException | None) -> None:
            ended.append(index)
            if len(ended) == 3:
                raise KeyboardInterrupt

        ended: list[int] = []
        monkeypatch.setattr(pool, "release", strike)
        calls = Calls([asking(get(service)) for _ in range(3)])
        with pytest.raises(KeyboardInterrupt):
            Lane(window=3).run(calls, done)
        assert struck
        assert len(set(map(id, pool._idle))) == len(pool._idle)
        server.assert_consumed()


def test_cleaning_up_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lane_module, "GRACE_SECONDS", 0.3)
    token = CancelToken()
    cleaned: list[str] = []
    stuck = [Expect(), ExpectClose()]
    with ScriptedServer([stuck, stuck, [Expect(b"DELETE"), ExpectClose()]]) as server:
        threading.Timer(0.1, token.cancel).start()
        calls = Calls([uploading(service_of(server.endpoint), cleaned)])
        run(calls, window=2, cancel=token)
        assert cleaned == ["TransferCancelledError"]
        assert isinstance(calls.errors[0], TransferCancelledError)
        server.assert_consumed()


def test_what_done_raises_ends_the_lane(far: DelayedServer) -> None:
    calls = Calls([asking(get(service_of(far.endpoint))) for _ in range(20)])

    def done(index: int, result: Any, error: BaseException | None) -> None:
        raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        Lane(window=4).run(calls, done)


def test_what_the_calls_raise_ends_the_lane(far: DelayedServer) -> None:
    def calls() -> Iterator[Any]:
        yield from Calls([asking(get(service_of(far.endpoint)))])
        raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        Lane(window=4).run(calls(), lambda index, result, error: None)


def test_a_source_that_fails_when_no_continue_comes_fails_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(MemorySource):
        def whole(self) -> memoryview | None:
            return None

        def read(self, start: int, length: int) -> memoryview:
            failed.set()
            raise ObjectChangedError("the file was changed")

    monkeypatch.setattr(multiplexer, "CONTINUE_SECONDS", 0.0)
    failed = threading.Event()
    with (
        ScriptedServer([[Expect(body=False), ExpectClose()]]) as held,
        ScriptedServer([[Expect(), Until(failed), HELLO]]) as other,
    ):
        upload = Request(service_of(held.endpoint), "PUT", "/k", body=Broken(memoryview(b"abc")))
        upload.expect_continue = True
        calls = Calls([asking(upload), asking(get(service_of(other.endpoint)))])
        run(calls)
    assert [type(error) for error in calls.errors.values()] == [ObjectChangedError]
    assert list(calls.results) == [1]


def test_a_copy_of_the_socket_that_waited_for_a_name_wakes_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """A forked child has one, and the selector goes by what is open."""
    copies: list[socket.socket] = []
    waits: list[float] = []

    class Copied(Resolution):
        def waiter(self) -> socket.socket | None:
            waiter = super().waiter()
            if waiter is not None:
                copies.append(waiter.dup())
            return waiter

    class Counting(system.Poller):
        def poll(self, timeout: float | None = None, maxevents: int = -1) -> list[tuple[int, int]]:
            waits.append(timeout or 0.0)
            asked.set()
            return super().poll(timeout, maxevents)

    asked = threading.Event()

    def looked_up(host: str, port: int) -> Any:
        asked.wait(5.0)
        return socket.getaddrinfo("127.0.0.1", port, type=socket.SOCK_STREAM)

    monkeypatch.setattr(resolve, "_look_up", looked_up)
    monkeypatch.setattr(server_module, "Resolution", Copied)
    monkeypatch.setattr(system, "poller", Counting)
    with ScriptedServer([[Expect(), Wait(0.3), HELLO]]) as server:
        service = service_of(server.endpoint.replace("127.0.0.1", "a-name.example"))
        lane = Lane(window=2)
        assert bytes(lane.gather([get(service)])[0].body) == b"hello"
    for copy in copies:
        copy.close()
    assert len(waits) < 100


def test_an_operation_goes_on_when_also_what_its_head_asked_for_has_come() -> None:
    """In a window of one the first answer has ended before the others are sent."""
    script = [Expect(b"GET /k"), HELLO, Expect(b"GET /more"), HELLO, Expect(b"GET /more"), HELLO]
    with ScriptedServer([script]) as server:
        service = service_of(server.endpoint)
        sinks = [MemorySink(), MemorySink(), MemorySink()]

        def on_head(response: Response, length: int | None) -> Any:
            sinks[0].begin(length)
            return None, [get(service, sink, "/more") for sink in sinks[1:]]

        def steps() -> Any:
            first = get(service, sinks[0])
            first.on_head = on_head
            answer = yield first
            return answer.size, [sink.size for sink in sinks]

        calls = Calls([steps])
        run(calls, window=1)
        assert calls.results == {0: (5, [5, 5, 5])}
        server.assert_consumed()
