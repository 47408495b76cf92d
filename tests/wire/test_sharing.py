"""Large bodies in flight on one lane are carried by others, and come back to it."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import gc
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from s3dlio.engine import lanes as engine_lanes
from s3dlio.engine.cancel import CancelToken
from s3dlio.engine.lanes import Lanes
from s3dlio.errors import LocalIOError, StorageFullError, TransferCancelledError, TransferTimeoutError
from s3dlio.memory.sinks import BufferSink, FileSink, MemorySink, Sink
from s3dlio.memory.waiting import Then, Waiting
from s3dlio.net import balancer, sharing, system
from s3dlio.net.inbox import Inbox
from s3dlio.net.lane import Lane
from s3dlio.net.resident import ResidentLane
from tests.servers.delayed import DelayedServer
from tests.servers.scripted import Expect, ExpectClose, Receive, Reset, ScriptedServer, Send, Until, respond
from tests.wire.harness import HTTP, QUICK, Calls, asking, get, put, service_of
from tests.wire.s3_harness import store_of

SIZE = 3 << 20
DATA = bytes(range(256)) * (SIZE // 256)


@pytest.fixture(scope="module")
def server() -> Iterator[DelayedServer]:
    with DelayedServer(delay=0.001, size=SIZE) as server:
        yield server


@pytest.fixture
def lanes(monkeypatch: pytest.MonkeyPatch) -> Iterator[Lanes]:
    """Lanes for a machine with four CPUs, of which every one counts as busy: whatever can move does."""
    for name, number in {"_BUSY": -1.0, "_COMPUTING": -1.0, "_EACH": 1, "_LOOK": 0.0, "_REST": 0.0}.items():
        monkeypatch.setattr(balancer, name, number)
    monkeypatch.setattr(engine_lanes, "usable_cpus", lambda: 4)
    lanes = Lanes(window=8)
    yield lanes
    lanes.close()


class Moves:
    """Which lanes have carried bodies of others."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.lanes: list[ResidentLane] = []
        self.moved = threading.Event()
        self.then: Callable[[], None] = lambda: None
        carry = ResidentLane.carry

        def noted(lane: ResidentLane, pending: Any) -> None:
            self.lanes.append(lane)
            carry(lane, pending)
            self.then()
            self.moved.set()

        patch.setattr(ResidentLane, "carry", noted)


@pytest.fixture
def moves(monkeypatch: pytest.MonkeyPatch) -> Moves:
    return Moves(monkeypatch)


def nothing_is_left(lanes: Lanes) -> bool:
    """No lane carries anything for another one."""
    idle: list[bool] = []
    for lane in lanes._threads:
        looked = threading.Event()
        lane.post(lambda lane=lane, looked=looked: (idle.append(not lane._multiplexer.in_flight), looked.set()))  # type: ignore[misc]
        assert looked.wait(30)
    return all(idle)


def test_bodies_of_a_batch_are_carried_by_several_lanes(server: DelayedServer, lanes: Lanes, moves: Moves) -> None:
    service = service_of(server.endpoint)
    (whole,) = Lane(window=1).gather([get(service, (reference := MemorySink()))])
    sinks = [MemorySink() for _ in range(24)]
    calls = Calls([asking(get(service, sink)) for sink in sinks])
    ended: set[int] = set()

    def done(*outcome: Any) -> None:
        ended.add(threading.get_ident())
        calls.done(*outcome)

    Lane(window=8, spare=lanes.spare).run(calls, done)
    assert whole.size == SIZE
    assert len(calls.results) == 24
    assert all(sink.view() == reference.view() for sink in sinks)
    assert 1 <= len(set(moves.lanes)) <= 3  # there are four CPUs
    assert ended == {threading.get_ident()}
    assert len(service.pool._idle) <= 8
    assert nothing_is_left(lanes)


HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % SIZE
BEGUN = Send(HEAD + DATA[: 1 << 20])
REST = Send(DATA[1 << 20 :])


def begun(moves: Moves, *then: Any) -> list[Any]:
    """The script of a body that goes on when some have moved."""
    return [Expect(), BEGUN, Until(moves.moved), *then]


def quick_beside_three(moves: Moves) -> list[list[Any]]:
    """A request that is answered when all of three bodies have begun and some have moved, and those."""
    asked: list[int] = []
    all_asked = threading.Event()

    def note(seen: Any) -> bool:
        asked.append(1)
        if len(asked) == 3:
            all_asked.set()
        return True

    quick = [Expect(b"GET /quick"), Until(all_asked), Until(moves.moved), respond()]
    return [quick, *[[Expect(note), *begun(moves, ExpectClose())[1:]]] * 3]


def test_what_came_back_goes_on_as_before(lanes: Lanes, moves: Moves) -> None:
    """Its connection serves again."""
    with ScriptedServer([[*begun(moves, REST), Expect(), respond(body=b"next")] for _ in range(3)]) as server:
        service = service_of(server.endpoint)
        sinks = [MemorySink() for _ in range(3)]

        def steps(sink: MemorySink) -> Any:
            yield get(service, sink)
            return bytes((yield get(service)).body)

        calls = Calls([partial(steps, sink) for sink in sinks])
        Lane(window=3, spare=lanes.spare).run(calls, calls.done)
        assert calls.results == dict.fromkeys(range(3), b"next")
        assert all(bytes(sink.view()) == DATA for sink in sinks)
        server.assert_consumed()


def test_bodies_that_are_sent_are_carried_too(lanes: Lanes, moves: Moves) -> None:
    with ScriptedServer([[Expect(body=False), Until(moves.moved), Receive(8 * SIZE), respond()]] * 3) as server:
        service = service_of(server.endpoint)
        body = bytes(8 * SIZE)  # more than the system's buffers hold
        calls = Calls([asking(put(service, body)) for _ in range(3)])
        Lane(window=3, spare=lanes.spare).run(calls, calls.done)
        assert len(calls.results) == 3
        server.assert_consumed()
        assert nothing_is_left(lanes)


def test_a_body_that_breaks_off_elsewhere_is_tried_again_by_its_own_lane(lanes: Lanes, moves: Moves) -> None:
    with ScriptedServer([*[begun(moves, Reset())] * 3, *[[Expect(), Send(HEAD + DATA)]] * 3]) as server:
        sinks = [MemorySink() for _ in range(3)]
        calls = Calls([asking(get(service_of(server.endpoint), sink)) for sink in sinks])
        Lane(window=3, spare=lanes.spare).run(calls, calls.done)
        assert [calls.results[index].attempts for index in range(3)] == [2, 2, 2]
        assert all(bytes(sink.view()) == DATA for sink in sinks)
        server.assert_consumed()


def test_a_body_that_stalls_elsewhere_times_out(lanes: Lanes, moves: Moves) -> None:
    http, once = dataclasses.replace(HTTP, read_timeout=0.3), dataclasses.replace(QUICK, max_attempts=1)
    with ScriptedServer([begun(moves, ExpectClose())] * 3) as server:
        service = service_of(server.endpoint, http=http, retry=once)
        calls = Calls([asking(get(service, MemorySink())) for _ in range(3)])
        Lane(window=3, spare=lanes.spare).run(calls, calls.done)
        assert [type(calls.errors[index]) for index in range(3)] == [TransferTimeoutError] * 3
        server.assert_consumed()
        assert nothing_is_left(lanes)


def test_an_inbox_keeps_nothing_of_what_it_has_run() -> None:
    """An error that comes back has frames, which refer to that of the inbox: in a cycle a buffer would stay leased."""

    class Body:
        """What comes back."""

    def run(body: Body) -> None:
        frames.append(sys._getframe(1))

    frames: list[Any] = []
    body, inbox = Body(), Inbox()
    gone = weakref.ref(body)
    inbox.post(partial(run, body))
    del body
    inbox.run()
    assert frames
    assert gone() is None


def test_a_sink_that_fails_elsewhere_fails_its_own_operation(lanes: Lanes, moves: Moves) -> None:
    class Full(Sink):
        def at(self, start: int, length: int | None) -> Any:
            return self.write

        def write(self, data: memoryview) -> None:
            if moves.moved.is_set():
                raise StorageFullError("no room")

    with ScriptedServer([begun(moves, REST)] * 3) as server:
        calls = Calls([asking(get(service_of(server.endpoint), Full())) for _ in range(3)])
        Lane(window=3, spare=lanes.spare).run(calls, calls.done)
        assert [type(calls.errors[index]) for index in range(3)] == [StorageFullError] * 3
        assert nothing_is_left(lanes)


def test_a_cancelled_batch_gets_back_what_others_carry(lanes: Lanes, moves: Moves) -> None:
    """And the caller's buffers are the caller's again."""
    token = CancelToken()
    buffers = [bytearray(SIZE) for _ in range(3)]
    with ScriptedServer([begun(moves, ExpectClose())] * 3) as server:
        service = service_of(server.endpoint)
        calls = Calls([asking(get(service, BufferSink(memoryview(buffer)))) for buffer in buffers])
        moves.then = token.cancel
        Lane(window=3, spare=lanes.spare, cancel=token).run(calls, calls.done)
        assert [type(calls.errors[index]) for index in range(3)] == [TransferCancelledError] * 3
        server.assert_consumed()
        assert nothing_is_left(lanes)
    del calls
    gc.collect()
    for buffer in buffers:
        buffer.append(0)  # a BufferError where anything exports it


def test_an_interrupted_batch_gets_back_what_others_carry(lanes: Lanes, moves: Moves) -> None:
    def done(index: int, result: Any, error: BaseException | None) -> None:
        raise KeyboardInterrupt

    with ScriptedServer(quick_beside_three(moves)) as server:
        service = service_of(server.endpoint)
        bodies = [asking(get(service, MemorySink())) for _ in range(3)]
        calls = Calls([asking(get(service, path="/quick")), *bodies])
        with pytest.raises(KeyboardInterrupt):
            Lane(window=4, spare=lanes.spare).run(calls, done)
        server.assert_consumed()
        assert nothing_is_left(lanes)


def test_lanes_that_are_let_go_carry_to_the_end_what_they_have(lanes: Lanes, moves: Moves) -> None:
    closing = threading.Event()

    def close() -> None:
        moves.moved.wait(30)
        threading.Thread(target=lanes.close).start()
        closing.set()

    with ScriptedServer([begun(moves, Until(closing), REST)] * 3) as server:
        sinks = [MemorySink() for _ in range(3)]
        calls = Calls([asking(get(service_of(server.endpoint), sink)) for sink in sinks])
        closer = threading.Thread(target=close)
        closer.start()
        Lane(window=3, spare=lanes.spare).run(calls, calls.done)
        assert all(bytes(sink.view()) == DATA for sink in sinks)
        closer.join()


def test_a_call_on_the_thread_of_a_lane_hands_nothing_to_a_lane(server: DelayedServer, lanes: Lanes) -> None:
    """It would wait for the lane, which waits for it."""
    service, store = service_of(server.endpoint), store_of(server.endpoint)
    inner: list[int] = []

    class Nested(MemorySink):
        def end(self, size: int) -> None:
            super().end(size)
            calls = Calls([asking(get(service, MemorySink())) for _ in range(6)])
            Lane(window=6, spare=lanes.spare).run(calls, calls.done)
            inner.append(len(calls.results))

    lanes.submit(store.read_call("k", Nested())).result(30)
    assert inner == [6]


def test_a_lane_that_is_late_to_give_back_lets_go_of_it_in_the_end(
    lanes: Lanes, moves: Moves, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It goes on with what others have handed to it."""
    go_on = threading.Event()

    def hold_up() -> None:
        moves.moved.set()
        assert go_on.wait(30)

    def done(index: int, result: Any, error: BaseException | None) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(sharing, "_PATIENCE", 0.01)
    moves.then = hold_up
    with ScriptedServer(quick_beside_three(moves)) as server:
        service = service_of(server.endpoint)
        bodies = [asking(get(service, MemorySink())) for _ in range(3)]
        calls = Calls([asking(get(service, path="/quick")), *bodies])
        with pytest.raises(KeyboardInterrupt):
            Lane(window=4, spare=lanes.spare).run(calls, done)
        go_on.set()
        assert nothing_is_left(lanes)
        server.assert_consumed()
    assert all(thread.is_alive() for thread in lanes._threads.values())


@pytest.mark.parametrize("what", ["lane", "inbox"])
def test_bodies_stay_where_no_descriptor_is_left(
    lanes: Lanes, moves: Moves, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    def none_left(*_: Any, **__: Any) -> Any:
        moves.moved.set()
        raise LocalIOError("too many open files") if what == "lane" else OSError(errno.EMFILE, "too many open files")

    if what == "lane":
        monkeypatch.setattr(engine_lanes, "ResidentLane", none_left)
    else:
        lanes.first()
        monkeypatch.setattr(sharing.SharingMultiplexer, "open_inbox", none_left)
        monkeypatch.setattr(engine_lanes, "usable_cpus", lambda: 3)
    with ScriptedServer([begun(moves, REST)] * 3) as server:
        calls = Calls([asking(get(service_of(server.endpoint), MemorySink())) for _ in range(3)])
        Lane(window=3, spare=lanes.spare).run(calls, calls.done)
        assert len(calls.results) == 3
        server.assert_consumed()
    assert not moves.lanes


def test_the_window_counts_what_others_carry(lanes: Lanes, moves: Moves) -> None:
    script = [*begun(moves, REST), *[Expect(), Send(HEAD + DATA)] * 3]
    with ScriptedServer([script] * 3) as server:
        service = service_of(server.endpoint)
        calls = Calls([asking(get(service, MemorySink())) for _ in range(6)])
        Lane(window=3, spare=lanes.spare).run(calls, calls.done)
        assert len(calls.results) == 6
        assert moves.lanes
        assert server.extra_connections == 0


def test_small_bodies_stay(lanes: Lanes, moves: Moves) -> None:
    with DelayedServer(delay=0.001, size=100_000) as server:
        service = service_of(server.endpoint)
        calls = Calls([asking(get(service, MemorySink())) for _ in range(100)])
        Lane(window=16, spare=lanes.spare).run(calls, calls.done)
    assert len(calls.results) == 100
    assert not moves.lanes


def test_ranges_of_one_object_are_carried_by_several_lanes(lanes: Lanes, moves: Moves) -> None:
    with DelayedServer(delay=0.001, size=24 << 20) as server:
        store = store_of(server.endpoint, range={"chunk": 8 << 20, "threshold": 8 << 20})
        alone = store.get("k")
        store.spare = lanes.spare
        for _ in range(50):  # one that comes at once has nothing to carry
            assert store.get("k") == alone
            if moves.lanes:
                break
    assert moves.lanes
    assert nothing_is_left(lanes)


class Hesitant(FileSink):
    """Takes nothing of a body for the moment when its head has come."""

    splices = False

    def __init__(self, fd: int, waiting: list[Then]) -> None:
        super().__init__(fd)
        self._waiting: list[Then] | None = waiting

    def stage_now(self, length: int) -> memoryview:
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            raise Waiting(lambda run, then: waiting.append(then))
        return self.stage(length)


def test_a_body_whose_other_ranges_have_not_begun_since_it_waits_for_a_disk_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lanes: Lanes
) -> None:
    waiting: list[Then] = []
    look = balancer.Balancer.look

    def look_while_both_wait(self: balancer.Balancer, now: float) -> None:
        look(self, now)
        if len(waiting) == 2:
            while waiting:
                waiting.pop()(None)

    monkeypatch.setattr(balancer.Balancer, "look", look_while_both_wait)
    outcomes: list[BaseException | None] = []
    with DelayedServer(delay=0.001, size=24 << 20) as server, contextlib.ExitStack() as open_files:
        store = store_of(server.endpoint, range={"chunk": 8 << 20, "threshold": 8 << 20})
        files = [open_files.enter_context((tmp_path / name).open("wb")) for name in "ab"]
        calls = [store.read_call("k", Hesitant(file.fileno(), waiting)) for file in files]
        lane = Lane(window=8, spare=lanes.spare, reads=lambda work: pytest.fail("nothing is read"))
        lane.run(enumerate(calls), lambda index, result, error: outcomes.append(error))
        whole = store.get("k")
    assert outcomes == [None, None]
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes() == whole
    assert all(thread.is_alive() for thread in lanes._threads.values())
    assert nothing_is_left(lanes)


class Gauges:
    """A lane with bodies in flight, and what the clocks of it and of others say."""

    def __init__(self, patch: pytest.MonkeyPatch, bodies: int, lanes: int = 8) -> None:
        self.now = 0.0
        self.waits = self.computes = 0.0  # shares of their time, of all lanes
        self.in_flight = {number: Body() for number in range(bodies)}
        self.lent: set[Any] = set()
        self.timed = False
        self._spare = [Other(self) for _ in range(lanes - 1)]
        patch.setattr(system, "thread_time", lambda: self.now * self.computes)
        self.balancer = balancer.Balancer(self, set(), _unused, _unused, self.spare)  # type: ignore[arg-type]

    def waited(self) -> float:
        return self.now * self.waits

    def spare(self, taken: int) -> Any:
        return self._spare[taken] if taken < len(self._spare) else None

    def lend(self, pending: Any, carrier: Any, returned: Any) -> bool:
        del self.in_flight[next(number for number, body in self.in_flight.items() if body is pending)]
        pending.carrier = carrier
        self.lent.add(pending)
        return True

    def look(self, waits: float, computes: float) -> list[int]:
        """Look again, after a while in which all lanes have waited and computed so much; bodies of each lane."""
        self.waits, self.computes = (self.now * self.waits + waits) / (self.now + 1), (
            self.now * self.computes + computes
        ) / (self.now + 1)
        self.now += 1
        self.balancer.look(self.now)
        carried = [sum(body.carrier is other for body in self.lent) for other in self._spare]
        return [len(self.in_flight), *filter(None, carried)]


class Body:
    """64 MiB of which nothing has come yet."""

    carrier: Any = None
    remaining = 64 << 20
    awaiting_continue = False
    more = ()
    body = None

    def __init__(self, in_memory: bool = False) -> None:
        self.wanted = self.remaining if in_memory else 0

    @property
    def exchange(self) -> Body:
        return self

    request = exchange


class Other:
    """Another lane, whose clocks go as those of the first."""

    def __init__(self, gauges: Gauges) -> None:
        self.waited = gauges.waited
        self.computed = lambda: gauges.now * gauges.computes


def _unused(*args: Any) -> None:
    raise AssertionError


def test_a_lane_that_waits_for_its_sockets_keeps_its_bodies(monkeypatch: pytest.MonkeyPatch) -> None:
    gauges = Gauges(monkeypatch, bodies=16)
    assert [gauges.look(waits=0.5, computes=0.5) for _ in range(5)] == [[16]] * 5


def test_a_lane_that_is_busy_spreads_its_bodies_over_all_lanes(monkeypatch: pytest.MonkeyPatch) -> None:
    gauges = Gauges(monkeypatch, bodies=16)
    assert gauges.look(waits=0.1, computes=0.9) == [16]
    assert gauges.look(waits=0.1, computes=0.9) == [2] * 8


def test_bodies_in_memory_leave_a_cpu_to_the_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    gauges = Gauges(monkeypatch, bodies=4, lanes=2)
    gauges.in_flight = {number: Body(in_memory=True) for number in range(4)}
    assert [gauges.look(waits=0.0, computes=1.0) for _ in range(5)] == [[4]] * 5
    gauges = Gauges(monkeypatch, bodies=4, lanes=2)
    assert [gauges.look(waits=0.0, computes=1.0) for _ in range(5)][-1] == [2, 2]


def test_one_body_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    gauges = Gauges(monkeypatch, bodies=1)
    assert [gauges.look(waits=0.0, computes=1.0) for _ in range(5)] == [[1]] * 5


def test_lanes_that_wait_for_the_interpreter_or_a_cpu_get_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    gauges = Gauges(monkeypatch, bodies=2)
    assert [gauges.look(waits=0.1, computes=0.3) for _ in range(2)] == [[2], [1, 1]]
    gauges.in_flight.update({number: Body() for number in range(10, 20)})
    for _ in range(5):
        found = gauges.look(waits=0.1, computes=0.3)
    assert found == [6, 6]
    assert len(gauges.look(waits=0.1, computes=0.9)) > 2


def test_lanes_that_are_not_needed_are_given_up_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    gauges = Gauges(monkeypatch, bodies=16)
    gauges.look(waits=0.1, computes=0.9)
    gauges.look(waits=0.1, computes=0.9)
    for _ in range(10):
        gauges.look(waits=0.9, computes=0.1)
    gauges.lent.clear()
    gauges.in_flight.update({number: Body() for number in range(100, 116)})
    assert len(gauges.look(waits=0.9, computes=0.1)) <= 2
