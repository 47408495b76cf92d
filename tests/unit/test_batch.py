"""run_calls: every call once, in any mixture of stores, lazily, and stopping when it is told to."""

from __future__ import annotations

import functools
import gc
import logging
import threading
import time
import weakref
from collections.abc import Iterator
from typing import Any, ClassVar

import hypothesis
import hypothesis.strategies as st
import pytest

from s3dlio.engine import blocking_calls, prefetch
from s3dlio.engine.admission import Admission, ByteBudget
from s3dlio.engine.batch import run_calls, run_kinds
from s3dlio.engine.cancel import CancelToken
from s3dlio.engine.executor import BaseExecutor, Executor, InlineExecutor
from s3dlio.engine.prefetch import Prefetcher
from s3dlio.errors import ObjectNotFoundError
from s3dlio.net import blocking
from s3dlio.net.message import Pause
from s3dlio.stores.blocking import BlockingStore
from s3dlio.stores.call import Call
from s3dlio.stores.memory import MemoryStore
from tests.witnesses import Outcomes


class Fake(MemoryStore):
    """A blocking store whose calls are functions."""

    def call(self, work: Any, size: int = 0) -> Call[Any]:
        return Call(self, "TEST", "key", work, size=size)


class FakeCloud(Fake):
    """A cloud store whose operations need no request."""

    is_cloud: ClassVar[bool] = True

    def execute(self, call: Call[Any]) -> Any:
        return blocking.drive(call.steps(), 1)

    def call(self, work: Any, size: int = 0) -> Call[Any]:
        def steps() -> Iterator[Any]:
            yield from ()
            return work()

        return super().call(steps, size)


LOCAL, CLOUD = Fake("memory://local"), FakeCloud("memory://cloud")


@pytest.fixture(params=[lambda: Executor(4), InlineExecutor], ids=["threads", "inline"])
def executor(request: pytest.FixtureRequest) -> Iterator[BaseExecutor]:
    made: BaseExecutor = request.param()
    yield made
    made.shutdown()


class Seen(Outcomes):
    """Keeps what a batch reports; cancels it after one call."""

    def __init__(self, stop_at: int | None = None) -> None:
        super().__init__()
        self.cancel = CancelToken()
        self._stop_at = stop_at

    def done(self, index: int, result: Any, error: BaseException | None) -> None:
        super().done(index, result, error)
        if index == self._stop_at:
            self.cancel.cancel("enough")

    def run(self, calls: Any, executor: BaseExecutor, width: int = 4, budget: ByteBudget | None = None) -> None:
        admission = admitting(width, budget)
        run_calls(calls, admission=admission, on_done=self.done, cancel=self.cancel, executor=executor)


def admitting(width: int, budget: ByteBudget | None) -> Admission:
    """With a budget that the test looks at."""
    admission = Admission(width)
    admission.budget = budget
    return admission


class Gauge:
    """Work that takes some seconds; how many calls of it ran at a time, at most."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._lock = threading.Lock()
        self._running = 0
        self.most = 0

    def __call__(self) -> None:
        with self._lock:
            self._running += 1
            self.most = max(self.most, self._running)
        time.sleep(self._seconds)
        with self._lock:
            self._running -= 1


def value(number: int) -> Any:
    return lambda: number


def fail() -> None:
    raise ObjectNotFoundError("gone")


@pytest.mark.parametrize("stores", [[LOCAL], [CLOUD], [LOCAL, CLOUD], [CLOUD, LOCAL], [LOCAL, LOCAL, CLOUD]])
def test_every_call_is_reported_once_with_its_position(stores: list[Fake], executor: BaseExecutor) -> None:
    seen = Seen()
    seen.run((stores[i % len(stores)].call(value(i)) for i in range(200)), executor)
    assert seen.results == {i: i for i in range(200)}


@pytest.mark.parametrize("store", [LOCAL, CLOUD])
def test_a_failure_is_reported_and_stops_nothing(store: Fake, executor: BaseExecutor) -> None:
    seen = Seen()
    seen.run((store.call(fail if i % 3 == 0 else value(i)) for i in range(30)), executor)
    assert sorted(seen.errors) == list(range(0, 30, 3))
    assert len(seen.results) == 20
    error = seen.errors[0]
    assert isinstance(error, ObjectNotFoundError)
    assert error.uri == store.uri("key")


@pytest.mark.parametrize("store", [LOCAL, CLOUD])
def test_an_empty_batch(store: Fake, executor: BaseExecutor) -> None:
    seen = Seen()
    seen.run([], executor)
    assert not seen.results


@pytest.mark.parametrize("store", [LOCAL, CLOUD])
def test_calls_are_pulled_only_when_there_is_room(store: Fake, executor: BaseExecutor) -> None:
    ended = 0
    most = 0

    def calls() -> Iterator[Call[Any]]:
        nonlocal most
        for pulled in range(500):
            most = max(most, pulled - ended)
            yield store.call(value(pulled))

    def done(index: int, result: Any, error: BaseException | None) -> None:
        nonlocal ended
        ended += 1

    run_calls(calls(), admission=Admission(4), on_done=done, cancel=CancelToken(), executor=executor)
    assert ended == 500
    assert most <= 8


@pytest.mark.parametrize("store", [LOCAL, CLOUD])
def test_a_cancelled_batch_starts_no_more(store: Fake, executor: BaseExecutor) -> None:
    seen = Seen(stop_at=10)
    started: list[int] = []

    def calls() -> Iterator[Call[Any]]:
        for i in range(100_000):
            started.append(i)
            yield store.call(value(i))

    seen.run(calls(), executor)
    assert 10 in seen.results
    assert len(started) < 1000


@pytest.mark.parametrize("store", [LOCAL, CLOUD])
def test_what_the_input_raises_ends_the_batch(store: Fake, executor: BaseExecutor) -> None:
    def calls() -> Iterator[Call[Any]]:
        yield store.call(value(0))
        raise LookupError("the input's")

    seen = Seen()
    with pytest.raises(LookupError, match="the input's"):
        seen.run(calls(), executor)


@pytest.mark.parametrize("store", [LOCAL, CLOUD])
def test_what_on_done_raises_ends_the_batch(store: Fake, executor: BaseExecutor) -> None:
    def done(index: int, result: Any, error: BaseException | None) -> None:
        raise LookupError("on_done's")

    calls = (store.call(value(i)) for i in range(100))
    with pytest.raises(LookupError, match="on_done's"):
        run_calls(calls, admission=Admission(4), on_done=done, cancel=CancelToken(), executor=executor)


def test_an_interrupt_passes_through() -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Seen().run([LOCAL.call(interrupt)], InlineExecutor())


def test_calls_that_wait_get_as_many_threads_as_the_width(monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight calls that can only end together, after two that show that calls wait."""
    together = threading.Barrier(8)
    gc.collect()  # a collection within the first two calls would be seen as work
    monkeypatch.setattr(blocking_calls, "LONG_CALL", 0.005)
    work = [lambda: time.sleep(0.05)] * 2 + [lambda: together.wait(30)] * 8
    seen = Seen()
    executor = Executor(16)
    seen.run((LOCAL.call(one_call) for one_call in work), executor, width=8)
    assert not seen.errors
    executor.shutdown()


class Waiting(Fake):
    """Its calls wait, as those of an SDK do."""

    waits: ClassVar[bool] = True


def test_calls_that_say_that_they_wait_run_side_by_side_from_the_first_on() -> None:
    together = threading.Barrier(4)
    store, seen, executor = Waiting("memory://waiting"), Seen(), Executor(16)
    seen.run((store.call(lambda: together.wait(30)) for _ in range(4)), executor, width=4)
    assert not seen.errors
    executor.shutdown()


@pytest.mark.parametrize("first", [LOCAL, CLOUD])
def test_calls_that_block_run_beside_those_of_lanes_each_at_its_width(first: Fake) -> None:
    """Three blocking calls can only end together, and a cloud call only after them."""
    together, over = threading.Barrier(3), threading.Event()
    store = Waiting("memory://waiting")

    def wait() -> None:
        together.wait(30)
        over.set()

    def steps() -> Iterator[Any]:
        until = time.monotonic() + 30
        while not over.is_set() and time.monotonic() < until:
            yield Pause(0.001)
        return over.is_set()

    def make(index: int) -> Call[Any]:
        return Call(CLOUD, "TEST", "key", steps) if kinds[index] else store.call(wait)

    kinds = [True, False, False, False] if first is CLOUD else [False, False, False, True]
    seen, executor = Seen(), Executor(16)
    run_kinds(kinds, make, admission=Admission(8), on_done=seen.done, cancel=seen.cancel, executor=executor)
    assert not seen.errors
    assert seen.results[kinds.index(True)] is True
    executor.shutdown()


@pytest.mark.parametrize("width", [1, 2, 8])
def test_a_batch_of_both_kinds_keeps_its_positions(executor: BaseExecutor, width: int) -> None:
    kinds = [index % 3 == 0 for index in range(30)]
    seen = Seen()
    run_kinds(
        kinds, lambda index: (CLOUD if kinds[index] else LOCAL).call(value(index)),
        admission=Admission(width), on_done=seen.done, cancel=seen.cancel, executor=executor,
    )  # fmt: skip
    assert seen.results == {index: index for index in range(30)}


@pytest.mark.parametrize("budget", [None, 1000])
def test_a_lane_goes_on_while_its_input_is_slow(budget: int | None) -> None:
    """The input goes on when the first call has ended, which takes a few turns of the lane."""
    ended = threading.Event()
    seen, executor = Seen(), Executor(4)

    def steps() -> Iterator[Any]:
        for _ in range(5):
            yield Pause(0.001)
        ended.set()
        return True

    def produced() -> Iterator[Call[Any]]:
        yield Call(CLOUD, "TEST", "key", steps)
        assert ended.wait(30)
        yield Call(CLOUD, "TEST", "key", steps)

    ahead = Prefetcher(produced())
    run_calls(
        ahead, ahead=ahead, admission=Admission(8, budget), on_done=seen.done, cancel=seen.cancel, executor=executor,
    )  # fmt: skip
    assert seen.results == {0: True, 1: True}
    ahead.close()
    executor.shutdown()


def test_short_calls_stay_on_the_callers_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocking_calls, "LONG_CALL", 5.0)
    monkeypatch.setattr(blocking_calls._First, "look", lambda loop: None)  # a busy machine may make a call a long one
    me = threading.get_ident()
    threads: set[int] = set()
    seen = Seen()
    executor = Executor(16)
    seen.run((LOCAL.call(lambda: threads.add(threading.get_ident())) for _ in range(100)), executor, width=16)
    assert threads == {me}
    executor.shutdown()


def test_no_more_than_the_width_run_at_a_time() -> None:
    work, executor = Gauge(0.002), Executor(16)
    Seen().run((LOCAL.call(work) for _ in range(40)), executor, width=3)
    assert work.most <= 3
    executor.shutdown()


class Passing:
    """Cloud calls that take a moment, and who runs how many of them at a time."""

    def __init__(self) -> None:
        self.threads: list[str] = []
        self.most = 0
        self._running = 0
        self._lock = threading.Lock()

    def call(self, result: int) -> Call[Any]:
        def steps() -> Iterator[Any]:
            with self._lock:
                self.threads.append(threading.current_thread().name)
                self._running += 1
                self.most = max(self.most, self._running)
            yield Pause(0.005)
            with self._lock:
                self._running -= 1
            return result

        return Call(CLOUD, "GET", "key", steps)


def test_calls_pass_one_that_takes_long() -> None:
    """The first call ends when the last one has: none in between waits for it."""
    seen, executor = Seen(), Executor(4)
    last = threading.Event()

    def call(number: int) -> Call[Any]:
        def steps() -> Any:
            if number == 0:
                until = time.monotonic() + 5
                while not last.is_set() and time.monotonic() < until:
                    yield Pause(0.001)
            if number == 299:
                last.set()
            yield Pause(0.001)
            return last.is_set() or number

        return Call(CLOUD, "GET", "key", steps)

    seen.run((call(number) for number in range(300)), executor, width=8)
    assert len(seen.results) == 300
    assert seen.results[0] is True
    assert seen.results[1] == 1
    executor.shutdown()


def test_calls_of_clouds_stay_on_the_callers_thread(executor: BaseExecutor) -> None:
    passing, seen = Passing(), Seen()
    seen.run((passing.call(i) for i in range(40)), executor, width=9)
    assert 1 < passing.most <= 9
    assert set(passing.threads) == {threading.current_thread().name}


@hypothesis.given(st.integers(0, 300), st.integers(1, 9), st.sampled_from([None, 1, 50]), st.booleans())
@hypothesis.settings(max_examples=30)
def test_any_number_of_calls_with_any_limits(count: int, width: int, bytes_: int | None, adaptive: bool) -> None:
    executor, seen = Executor(2), Seen()
    admission = Admission(width, bytes_, adaptive=adaptive)

    def call(index: int) -> Call[Any]:
        def steps() -> Iterator[Any]:
            if index % 7 == 0:
                yield Pause(0.0002)
            return index

        return Call(CLOUD, "GET", "key", steps, size=index % 60)

    calls = (call(index) for index in range(count))
    run_calls(calls, admission=admission, on_done=seen.done, cancel=seen.cancel, executor=executor)
    assert seen.results == {index: index for index in range(count)}
    assert admission.budget is None or admission.budget.in_flight == 0
    executor.shutdown()


@pytest.mark.parametrize("store", [LOCAL, CLOUD])
def test_the_bytes_in_flight_are_bounded(store: Fake) -> None:
    budget = ByteBudget(100)
    most = 0

    def work() -> None:
        nonlocal most
        most = max(most, budget.in_flight)
        time.sleep(0.001)

    executor = Executor(8)
    seen = Seen()
    seen.run((store.call(work, size=40 if i else 400) for i in range(30)), executor, width=8, budget=budget)
    assert len(seen.results) == 30
    assert most == 400  # alone; the others never exceed the budget
    assert budget.in_flight == 0
    most = 0
    seen = Seen()
    seen.run((store.call(work, size=40) for _ in range(30)), executor, width=8, budget=budget)
    assert len(seen.results) == 30
    assert most <= 80
    assert budget.in_flight == 0
    executor.shutdown()


@pytest.mark.parametrize("store", [LOCAL, CLOUD])
def test_cancelling_while_others_wait_for_bytes(store: Fake) -> None:
    executor = Executor(8)
    budget = ByteBudget(10)
    cancel = CancelToken()
    ended: list[int] = []

    def done(index: int, result: Any, error: BaseException | None) -> None:
        ended.append(index)
        if len(ended) == 5:
            cancel.cancel("enough")

    calls = (store.call(lambda: time.sleep(0.001), size=10) for _ in range(1000))
    run_calls(calls, admission=admitting(8, budget), on_done=done, cancel=cancel, executor=executor)
    assert 5 <= len(ended) < 50
    assert budget.in_flight == 0
    executor.shutdown()


def test_a_file_among_objects_waits_until_the_lane_has_given_bytes_back() -> None:
    """On one thread: a lane that waited for bytes that its own calls hold would wait for ever."""
    budget = ByteBudget(100)
    most = 0

    def note() -> int:
        nonlocal most
        most = max(most, budget.in_flight)
        return budget.in_flight

    def slow() -> Iterator[Any]:
        yield Pause(0.01)
        return note()

    def calls() -> Iterator[Call[Any]]:
        for _ in range(5):
            yield Call(CLOUD, "TEST", "key", slow, size=80)
            yield LOCAL.call(note, size=80)

    seen = Seen()
    seen.run(calls(), InlineExecutor(), width=8, budget=budget)
    assert len(seen.results) == 10
    assert most == 80
    assert budget.in_flight == 0


def test_a_blocking_store_runs_its_own_calls() -> None:
    assert isinstance(LOCAL, BlockingStore)
    assert LOCAL.execute(LOCAL.call(value(3))) == 3


def test_calls_that_do_not_come_back_are_joined_by_others() -> None:
    """From the first call on: eight calls can only end together."""
    together = threading.Barrier(8)
    seen, executor = Seen(), Executor(16)
    seen.run((LOCAL.call(lambda: together.wait(30)) for _ in range(8)), executor, width=8)
    assert not seen.errors
    assert len(seen.results) == 8
    executor.shutdown()


def test_a_call_that_does_not_come_back_is_joined_by_no_more_than_the_width() -> None:
    work, executor = Gauge(0.05), Executor(16)
    Seen().run((LOCAL.call(work) for _ in range(12)), executor, width=3)
    assert work.most == 3
    executor.shutdown()


@pytest.mark.parametrize("budget", [None, 1000])
def test_a_blocking_call_among_those_of_a_lane_holds_none_of_them_up(budget: int | None) -> None:
    """It can only end when the cloud call that follows has, while another one is in flight."""
    over = threading.Event()

    def steps() -> Iterator[Any]:
        yield Pause(0.001)
        over.set()
        return 2

    def before() -> Iterator[Any]:
        while not over.is_set():
            yield Pause(0.001)
        return 0

    calls = [
        Call(CLOUD, "TEST", "key", before), LOCAL.call(lambda: over.wait(30)), Call(CLOUD, "TEST", "key", steps),
    ]  # fmt: skip
    seen, executor = Seen(), Executor(4)
    seen.run(iter(calls), executor, width=4, budget=None if budget is None else ByteBudget(budget))
    assert seen.results == {0: 0, 1: True, 2: 2}
    executor.shutdown()


@pytest.mark.parametrize("store", [LOCAL, CLOUD])
def test_while_the_input_is_slow_the_last_call_is_let_go(store: Fake) -> None:
    class Body:
        """What a call works on."""

    body = Body()
    bodies = [weakref.ref(body)]
    gone: list[bool] = []
    ended = threading.Event()

    def done(index: int, result: Any, error: BaseException | None) -> None:
        ended.set()

    def entries(body: Body) -> Iterator[Call[Any]]:
        yield store.call(functools.partial(id, body))
        del body
        assert ended.wait(30)
        until = time.monotonic() + 30
        while bodies[0]() is not None and time.monotonic() < until:
            time.sleep(0.001)
        gone.append(bodies[0]() is None)

    made = entries(body)
    del body
    ahead = Prefetcher(made)
    executor = Executor(4)
    run_calls(ahead, ahead=ahead, admission=Admission(4), on_done=done, cancel=CancelToken(), executor=executor)
    assert gone == [True]
    ahead.close()
    executor.shutdown()


def test_a_batch_that_waits_for_its_input_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    told = threading.Event()
    monkeypatch.setattr(prefetch, "_TOLD_AFTER", 1)

    class Told(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            told.set()

    def produced() -> Iterator[Call[Any]]:
        assert told.wait(30)
        yield LOCAL.call(value(1))

    caplog.set_level(logging.INFO, "s3dlio.engine")
    handler = Told()
    logging.getLogger("s3dlio.engine").addHandler(handler)
    ahead, seen = Prefetcher(produced()), Seen()
    run_calls(ahead, ahead=ahead, admission=Admission(2), on_done=seen.done, cancel=seen.cancel,
              executor=InlineExecutor())  # fmt: skip
    logging.getLogger("s3dlio.engine").removeHandler(handler)
    assert seen.results == {0: 1}
    assert "waiting for the next item" in caplog.text
    ahead.close()
