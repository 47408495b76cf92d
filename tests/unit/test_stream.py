"""Reading any number of objects: order, bounds, errors, and leaving the loop early."""

from __future__ import annotations

import asyncio
import contextlib
import dis
import gc
import itertools
import os
import sys
import threading
import types
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

import s3dlio
from s3dlio.config.settings import Settings
from s3dlio.engine.batch_input import Feed
from s3dlio.engine.executor import Executor
from s3dlio.engine.session import Session
from s3dlio.errors import ConfigError, InvalidURIError, ObjectNotFoundError, S3dlioError, TransferTimeoutError
from s3dlio.memory.pool import default_pool
from s3dlio.memory.sinks import Sink
from s3dlio.stores.base import ObjectStore
from s3dlio.stores.memory import MemoryStore
from s3dlio.transfer.many_iterator import ManyIterator, check_room
from s3dlio.transfer.stream import Stream
from s3dlio.types import Conditions, ObjectMetadata
from tests.leases import assert_returned

MIB = 1 << 20


class Slow(MemoryStore):
    """Objects of any name, `size` bytes each; those that have a gate wait for it."""

    waits: ClassVar[bool] = True

    def __init__(self, size: int = 10) -> None:
        super().__init__("memory://slow")
        self.size = size
        self.gates: dict[str, threading.Event] = {}
        self.asked: list[str] = []

    def _read(self, key: str, sink: Sink, offset: int, length: int | None, conditions: Conditions) -> ObjectMetadata:
        self.asked.append(key)
        if gate := self.gates.get(key):
            assert gate.wait(30)
        if key.startswith("missing"):
            raise ObjectNotFoundError("no such object")
        sink.begin(self.size)
        place = sink.at(0, self.size)
        assert isinstance(place, memoryview)
        sink.end(self.size)
        return ObjectMetadata(self.size)

    def iterate(self, entries: Any, *, width: int = 4, prefetch: int | None = None, size: int = 1 << 30,
                ordered: bool = True, timeout: float | None = 30, continue_on_error: bool = False) -> ManyIterator:
        session = _OneStore(self, Executor(width))
        objects, size = check_room(prefetch, width, size)
        stream = Stream(session, entries, width, objects=objects, size=size, ordered=ordered)
        return ManyIterator(stream, timeout=timeout, continue_on_error=continue_on_error)


class _OneStore(Session):
    """All URIs are of one store."""

    def __init__(self, store: ObjectStore, executor: Executor) -> None:
        super().__init__(Settings())
        self.executor = executor
        self._store = store

    def store_for(self, uri: str | os.PathLike[str]) -> tuple[ObjectStore, str]:
        return self._store, str(uri).removeprefix("memory://slow/")


def names(count: int) -> list[str]:
    return [f"memory://slow/{number}" for number in range(count)]


def keys(iterator: Iterator[tuple[Any, Any]], count: int | None = None) -> list[str]:
    return [uri.rpartition("/")[2] for uri, _ in itertools.islice(iterator, count)]


@pytest.fixture
def base() -> str:
    base = "memory://streams/"
    s3dlio.put_many([(f"{base}{number}", str(number).encode()) for number in range(100)])
    return base


# -- what comes, and in which order


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("generated", [True, False])
def test_every_object_comes_once(base: str, ordered: bool, generated: bool) -> None:
    uris = s3dlio.list(base)
    entries = (uri for uri in uris) if generated else uris
    found = list(s3dlio.iter_many(entries, max_in_flight=8, ordered=ordered))
    assert sorted(found) == [(uri, uri.rpartition("/")[2].encode()) for uri in uris]
    if ordered:
        assert [uri for uri, _ in found] == uris
    assert list(s3dlio.iter_many([])) == []


def test_in_order_or_as_they_arrive() -> None:
    for ordered in (True, False):
        store = Slow()
        gate = store.gates["0"] = threading.Event()
        with store.iterate(names(4), width=2, ordered=ordered) as found:
            if not ordered:
                assert keys(found, 3) == ["1", "2", "3"]
            gate.set()
            assert keys(found) == (["0", "1", "2", "3"] if ordered else ["0"])


def test_an_object_may_come_again_and_stretches_of_it(base: str) -> None:
    uri = f"{base}42"
    entries = [uri, (uri, 1, 1), (uri, 0, None), uri]
    assert list(s3dlio.iter_many(entries)) == [(uri, b"42"), ((uri, 1, 1), b"2"), ((uri, 0, None), b"42"), (uri, b"42")]


def test_paths_and_several_stores(base: str, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"here")
    assert list(s3dlio.iter_many([f"{base}1", tmp_path / "x"])) == [
        (f"{base}1", b"1"), (f"file://{tmp_path}/x", b"here"),
    ]  # fmt: skip


# -- bounds


def test_an_endless_generator_is_read_no_further_than_needed() -> None:
    store, pulled = Slow(), itertools.count()
    entries = (f"memory://slow/{number}" for number in pulled)
    with store.iterate(entries, width=4, prefetch=6) as found:
        for taken in range(200):
            assert keys(found, 1) == [str(taken)]
            assert len(store.asked) <= taken + 1 + 6
    assert next(pulled) < 200 + 6 + 2 * 4 + 2


@pytest.mark.parametrize("size", [128 << 10, MIB])
def test_bytes_are_bounded(size: int) -> None:
    gc.collect()
    before = default_pool().stats().leased_bytes
    store = Slow(size)
    store.gates["0"] = threading.Event()
    uris = (f"memory://slow/{number}" for number in itertools.count())
    with store.iterate(uris, width=8, prefetch=100, size=8 * size) as found:
        store.gates["0"].set()
        for _, _view in itertools.islice(found, 100):
            assert default_pool().stats().leased_bytes - before <= 10 * size  # one is the caller's, one on its way


def test_an_object_larger_than_the_bound_passes_alone() -> None:
    store = Slow(MIB)
    found = store.iterate(names(20), size=1000)
    for taken in range(20):
        assert len(next(found)[1]) == MIB
        assert len(store.asked) <= max(8, taken + 2)  # before the first has come nobody knows how large they are


@pytest.mark.parametrize(
    "wrong", [{"max_in_flight": 0}, {"max_bytes": 0}, {"prefetch": 0}, {"max_bytes": "much"}, {"max_in_flight": True}]
)
def test_wrong_numbers_are_refused_at_once(wrong: Any) -> None:
    for iterate in (s3dlio.iter_many, s3dlio.iter_many_async):
        with pytest.raises((ConfigError, TypeError)):
            iterate([], **wrong)
        with pytest.raises(TypeError, match="several URIs"):
            iterate("memory://streams/1")


def test_a_pool_config_says_how() -> None:
    store, config = Slow(), s3dlio.PoolConfig(pool_size=16, readahead_batches=2, batch_timeout=7, max_inflight=8)
    assert config.options("Sequential") == {"max_in_flight": 8, "prefetch": 16, "timeout": 7, "ordered": True}
    del store
    s3dlio.put_bytes("memory://streams/x", b"x")
    assert list(s3dlio.iter_many(["memory://streams/x"], **config.options())) == [("memory://streams/x", b"x")]


# -- errors


def test_an_error_comes_in_its_place_and_ends_the_iteration() -> None:
    store = Slow()
    found = store.iterate([*names(3), "memory://slow/missing", *names(3)])
    assert keys(found, 3) == ["0", "1", "2"]
    with pytest.raises(ObjectNotFoundError) as caught:
        next(found)
    assert caught.value.uri == "memory://slow/missing"
    assert list(found) == []


@pytest.mark.parametrize("ordered", [True, False])
def test_or_it_is_given_in_the_place_of_the_data(base: str, ordered: bool) -> None:
    entries: list[Any] = [f"{base}1", f"{base}missing", "no-scheme", (f"{base}2", 1), f"{base}3"]
    found = dict(s3dlio.iter_many(entries, ordered=ordered, continue_on_error=True))
    assert (found[f"{base}1"], found[f"{base}3"]) == (b"1", b"3")
    assert isinstance(found[f"{base}missing"], ObjectNotFoundError)
    assert isinstance(found["no-scheme"], InvalidURIError)
    assert isinstance(found[(f"{base}2", 1)], TypeError)


def test_what_the_generator_raises_comes_after_all_before_it() -> None:
    def entries() -> Iterator[str]:
        yield from names(10)
        raise KeyError("the list ended badly")

    found = Slow().iterate(entries())
    assert keys(found, 10) == [str(number) for number in range(10)]
    with pytest.raises(KeyError, match="ended badly"):
        next(found)
    assert list(found) == []


def test_one_that_is_late_is_an_error() -> None:
    store = Slow()
    gate = store.gates["0"] = threading.Event()
    found = store.iterate(names(1), timeout=0.05)
    found.close = gate.set  # type: ignore[method-assign]
    with pytest.raises(TransferTimeoutError, match=r"no object arrived within 0\.05 seconds"):
        next(found)


# -- leaving early


def is_idle(stream: Stream) -> bool:
    return not (stream._asked or stream._is_filling)


def is_over(stream: Stream) -> bool:
    """Nothing of it is in flight, and nobody asks its input; waits for that."""
    with stream._changed:
        return stream._changed.wait_for(lambda: is_idle(stream), 10)


@pytest.mark.parametrize("generated", [True, False])
def test_leaving_the_loop_ends_the_work_and_gives_the_buffers_back(generated: bool) -> None:
    gc.collect()
    before = default_pool().stats().leased
    store, closed = Slow(MIB), threading.Event()

    def endless() -> Iterator[str]:
        try:
            for number in itertools.count():
                yield f"memory://slow/{number}"
        finally:
            closed.set()

    iterator = store.iterate(endless() if generated else names(1000), width=2, prefetch=8)
    stream, gone = iterator._stream, weakref.ref(iterator)
    for _ in iterator:
        break
    del iterator
    assert gone() is None
    assert is_over(stream)
    del stream
    assert len(store.asked) <= 1 + 8 + 2
    assert not generated or closed.wait(10)
    del _
    assert_returned(before)


def test_closing_waits_until_nothing_is_in_flight() -> None:
    store = Slow()
    with store.iterate(itertools.cycle(names(3))) as found:
        keys(found, 5)
    assert is_over(found._stream)
    assert list(found) == []


def test_what_a_loop_has_taken_when_the_reader_leaves_is_over_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """A loop looks whether it is to go on when it has an object's call, and then does not read it."""
    store, first = Slow(), threading.Event()
    gate = store.gates["2"] = threading.Event()
    found = store.iterate(itertools.cycle(names(3)), width=1)
    taken = Feed.__iter__

    def taking(feed: Feed) -> Iterator[Any]:
        for item in taken(feed):
            if item[1].key == "2" and not first.is_set():
                first.set()
                assert gate.wait(30)
            yield item

    monkeypatch.setattr(Feed, "__iter__", taking)
    assert keys(found, 2) == ["0", "1"]
    assert first.wait(30)
    found._stream.drop()
    gate.set()
    assert is_over(found._stream)


def test_a_forked_child_cannot_go_on_with_it() -> None:
    found = Slow().iterate(itertools.cycle(names(3)))
    next(found)
    child = os.fork()
    if not child:
        try:
            next(found)
        except S3dlioError as error:
            os._exit(0 if "another process" in str(error) else 1)
        os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    found.close()


# -- for an event loop


def test_awaited(base: str) -> None:
    async def main() -> list[Any]:
        uris = s3dlio.list(base)
        in_order = [found async for found in s3dlio.iter_many_async(uris, max_in_flight=8)]
        assert in_order == s3dlio.get_many(uris)
        some = []
        async for uri, data in s3dlio.iter_many_async(itertools.cycle(uris), ordered=False):
            some.append((uri, bytes(data)))
            if len(some) == 150:
                break
        with pytest.raises(ObjectNotFoundError):
            async for _ in s3dlio.iter_many_async([f"{base}missing"]):
                pass
        missing = [found async for found in s3dlio.iter_many_async([f"{base}missing"], continue_on_error=True)]
        assert isinstance(missing[0][1], ObjectNotFoundError)
        return some

    assert len(asyncio.run(main())) == 150


def test_the_event_loop_goes_on_while_an_object_is_awaited(base: str) -> None:
    asked, gate = threading.Event(), threading.Event()

    def entries() -> Iterator[str]:
        asked.set()
        assert gate.wait(30)
        yield f"{base}1"

    async def main() -> list[Any]:
        task = asyncio.ensure_future(anext(aiter(s3dlio.iter_many_async(entries(), timeout=30))))
        while not asked.is_set():
            await asyncio.sleep(0)
        gate.set()
        return [await task]

    assert asyncio.run(main()) == [(f"{base}1", b"1")]


def test_one_that_is_awaited_too_long_is_an_error() -> None:
    gate = threading.Event()

    def entries() -> Iterator[str]:
        assert gate.wait(30)
        yield from ()

    async def main() -> None:
        async for _ in s3dlio.iter_many_async(entries(), timeout=0.05):
            pass

    try:
        with pytest.raises(TransferTimeoutError, match=r"within 0\.05 seconds"):
            asyncio.run(main())
    finally:
        gate.set()


#: Python 3.12 does not always trace the instructions of a function that was called before.
traced = pytest.mark.skipif(sys.version_info[:2] == (3, 12), reason="not all instructions are traced")


@traced
@pytest.mark.parametrize("ordered", [True, False])
def test_a_signal_handler_may_end_it_at_any_point_of_taking(ordered: bool) -> None:
    for point in itertools.count():
        many = Slow().iterate([f"memory://slow/{i}" for i in range(4)], ordered=ordered)
        next(many)
        with _at(point, Stream.take.__code__, many._stream.end) as reached:
            next(many, None)
        assert next(many, None) is None or not reached
        if not reached:
            break
    assert point > 20


@traced
@pytest.mark.parametrize("ordered", [True, False])
def test_an_interrupt_at_any_point_of_taking_loses_nothing_in_silence(ordered: bool) -> None:
    """Who goes on after it has all, or an error."""

    def interrupt() -> None:
        raise KeyboardInterrupt

    uris = [f"memory://slow/{i}" for i in range(4)]
    for point in itertools.count():
        many = Slow().iterate(uris, ordered=ordered, timeout=20)
        had = [next(many)]
        with _at(point, Stream.take.__code__, interrupt) as reached, contextlib.suppress(KeyboardInterrupt):
            had.append(next(many))
        told = None
        try:
            had += many
        except S3dlioError as error:
            told = str(error)
        given = reached and dis.opname[Stream.take.__code__.co_code[reached[0]]] == "RETURN_VALUE"
        assert given or [uri for uri, _ in had] == uris or (told and "interrupted" in told)
        if not reached:
            break
    assert point > 20


@contextlib.contextmanager
def _at(point: int, code: types.CodeType, act: Callable[[], Any]) -> Iterator[list[int]]:
    """Act once before an instruction of a function, as a handler may; gives where it did."""
    left, reached = itertools.count(point, -1), list[int]()

    def trace(frame: types.FrameType, event: str, _: Any) -> Any:
        if frame.f_code is not code:
            return None
        frame.f_trace_opcodes = True
        if event == "opcode" and next(left) == 0:
            reached.append(frame.f_lasti)
            act()
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        yield reached
    finally:
        sys.settrace(before)
