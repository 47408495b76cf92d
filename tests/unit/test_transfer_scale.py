"""Transfers of any size in bounded memory; what is told while they run; the same on a real S3."""

from __future__ import annotations

import itertools
import os
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from perf.endless import Endless
from s3dlio.client import Client
from s3dlio.engine.prefetch import Prefetcher
from s3dlio.errors import S3dlioError
from s3dlio.memory import crc32c
from s3dlio.memory.sinks import DiscardSink
from s3dlio.memory.sources import MemorySource
from s3dlio.stores.base import ObjectStore
from s3dlio.stores.call import Call
from s3dlio.transfer.body_monitor import BodyMonitor, MonitoredSink, MonitoredSource
from s3dlio.transfer.delete import delete
from s3dlio.transfer.journal import Journal
from s3dlio.transfer.plan import Item
from s3dlio.transfer.progress import byte_meter, reporting
from s3dlio.transfer.route import Route, Transferred
from s3dlio.transfer.runner import RunOptions, run_plan
from s3dlio.transfer.select_remote import select_remote
from s3dlio.transfer.summary import Tally
from s3dlio.transfer.task import Task
from tests.threads import run_in_threads

#: Bytes. Pages ahead and items in flight hold half of it; all keys or items of a test below would hold more.
BOUND = 8 << 20


class Nowhere(Route):
    """Transfers without bytes."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    def source_uri(self, item: Item) -> str:
        return self._store.uri(item.key)

    def target_uri(self, item: Item) -> str:
        return "nowhere"

    def task(self, item: Item) -> Call[Transferred]:
        def steps() -> Iterator[None]:
            yield from ()
            return Transferred(item.size)  # type: ignore[return-value]

        return Task(self._store, "COPY", item.key, steps)  # type: ignore[arg-type]


@pytest.fixture
def endless() -> Iterator[tuple[Client, Endless]]:
    with Client() as client:
        store = Endless("memory://endless")
        find = client.store_for
        client.store_for = lambda uri: (store, uri[17:]) if uri.startswith(store.root) else find(uri)  # type: ignore[assignment, index, union-attr]
        yield client, store


def _transfer(client: Client, store: Endless, tmp_path: Path) -> int:
    return run_plan(client, select_remote(store, "p/"), Nowhere(store), RunOptions("COPY", 64)).succeeded


def _sync(client: Client, store: Endless, tmp_path: Path) -> int:
    return client.sync(f"{store.root}/p/", f"{store.root}/q/").skipped


def _delete(client: Client, store: Endless, tmp_path: Path) -> int:
    return delete(client, f"{store.root}/p/", recursive=True).succeeded


def _rehearse(client: Client, store: Endless, tmp_path: Path) -> int:
    return delete(client, f"{store.root}/p/", recursive=True, dry_run=True).attempted


def _record(client: Client, store: Endless, tmp_path: Path) -> int:
    journal = Journal(tmp_path / "journal", "copy", "a", "b")
    how = RunOptions("COPY", 64, journal=journal)
    done = run_plan(client, select_remote(store, "p/"), Nowhere(store), how).succeeded
    journal.close(finished=True)
    return done


@pytest.mark.parametrize(
    ("work", "objects"),
    [(_transfer, 30_000), (_sync, 30_000), (_record, 30_000), (_delete, 110_000), (_rehearse, 110_000)],
)
def test_memory_does_not_grow_with_the_objects(
    endless: tuple[Client, Endless], tmp_path: Path, work: Callable[[Client, Endless, Path], int], objects: int
) -> None:
    client, store = endless
    store.objects = objects
    tracemalloc.start()
    try:
        assert work(client, store, tmp_path) == objects
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < BOUND, f"{peak / 1e6:.0f} MB for {objects} objects"


def test_a_journal_of_many_is_small_in_memory(tmp_path: Path) -> None:
    items = (Item(f"directory/name-{number:09}", "k", number, '"etag"') for number in range(20_000))
    journal = Journal(tmp_path / "journal", "copy", "a", "b")
    for item in items:
        journal.add(item)
    journal.close(finished=False)
    Journal(tmp_path / "journal", "copy", "a", "b").close(finished=False)  # numpy is imported with the first
    tracemalloc.start()
    try:
        journal = Journal(tmp_path / "journal", "copy", "a", "b")
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert journal.has(Item("directory/name-000019999", "k", 19_999, '"etag"'))
    assert not journal.has(Item("directory/name-000020000", "k", 20_000, '"etag"'))
    journal.close(finished=True)
    assert held < 20_000 * 16 + (1 << 16)


# -- reading ahead


def test_reading_ahead_keeps_order_and_errors() -> None:
    def broken() -> Iterator[int]:
        yield from range(1000)
        raise ValueError("at its place")

    ahead = Prefetcher(broken(), depth=10)
    assert [next(ahead) for _ in range(1000)] == list(range(1000))
    for _ in range(2):
        with pytest.raises(ValueError, match="at its place"):
            next(ahead)
    ahead.close()


def test_reading_ahead_is_bounded_and_can_be_given_up() -> None:
    made = itertools.count()
    closed: list[bool] = []

    def endless() -> Iterator[int]:
        try:
            yield from made
        finally:
            closed.append(True)

    ahead = Prefetcher(endless(), depth=128)
    assert next(ahead) == 0
    ahead.close()
    assert closed == [True]
    assert next(made) < 1000


# -- bodies


def test_checksums_of_bodies_that_pass_in_pieces_and_twice() -> None:
    data = os.urandom(10_000)
    counted: list[int] = []
    monitor = BodyMonitor(counted.append, checksum=True)
    source = MonitoredSource(MemorySource(memoryview(data)), monitor)
    parts = [source.part(start, 2500) for start in range(0, 10_000, 2500)]
    for part in (parts[2], parts[0], parts[3], parts[1]):  # parts go out of order, each read twice
        for size in (1000, 2500):
            for start in range(0, 2500, size):
                part.read(start, size)
    assert monitor.crc(10_000) == crc32c.crc32c(data)
    assert sum(counted) == 10_000 == monitor.metered
    monitor = BodyMonitor(None, checksum=True)
    sink = MonitoredSink(DiscardSink(), monitor)
    sink.begin(10_000)
    for start, end in ((5000, 10_000), (0, 4000), (4000, 5000)):
        write = sink.at(start, end - start)
        assert callable(write)
        write(memoryview(data)[start:end])
    assert monitor.crc(10_000) == crc32c.crc32c(data)
    assert monitor.crc(9_999) is None
    assert BodyMonitor(None, checksum=False).idle


# -- progress


class Told:
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.total = [0, 0]
        self.done = [0, 0]
        self.closed = 0

    def add(self, total_objects: int, total_bytes: int) -> None:
        self.total[0] += total_objects
        self.total[1] += total_bytes

    def advance(self, objects: int, bytes: int) -> None:
        self.done[0] += objects
        self.done[1] += bytes

    def close(self) -> None:
        self.closed += 1


def test_progress_is_told_of_every_byte(tmp_path: Path) -> None:
    for name, size in (("a", 10), ("b", 3_000_000), ("c", 0)):
        (tmp_path / "t" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "t" / name).write_bytes(bytes(size))
    with Client() as client:
        steps = (
            lambda told: client.upload(tmp_path / "t", "memory://told/", progress=told),
            lambda told: client.download("memory://told/", tmp_path / "out", progress=told),
            lambda told: client.copy("memory://told/", f"direct://{tmp_path}/d", recursive=True, progress=told),
        )
        for step in steps:
            told = Told()
            assert step(told).bytes == 3_000_010
            assert told.total == told.done == [3, 3_000_010]
            assert told.closed == 1
        told = Told()
        delete(client, "memory://told/", recursive=True, progress=told)
        assert told.total == told.done == [3, 0]
        told = Told()
        with pytest.raises(S3dlioError):
            client.download("memory://told/", tmp_path / "none", progress=told)
        assert told.closed == 1


class OneThreadOnly:
    """An observer that notices when it is told of two things at a time."""

    def __init__(self) -> None:
        self.calls = 0
        self.overlaps = 0
        self._inside = 0

    def add(self, total_objects: int, total_bytes: int) -> None:
        self._inside += 1
        self.calls += 1
        self.overlaps += self._inside > 1
        time.sleep(0.0005)
        self._inside -= 1

    advance = add

    def close(self) -> None:
        return None


def test_whoever_watches_is_told_of_one_thing_at_a_time() -> None:
    """Listing, bytes of one lane and objects of another come from three threads."""
    observer = OneThreadOnly()
    with reporting(observer) as watcher:
        meter, tally = byte_meter(watcher), Tally(watcher)
        assert meter is not None
        tells: list[Callable[[], None]] = [
            lambda: watcher.add(1, 1), lambda: meter(1), lambda: tally.succeed(1),
        ]  # fmt: skip
        run_in_threads(lambda tell: [tell() for _ in range(50)], tells)
    assert observer.calls == 150
    assert not observer.overlaps


def test_items_that_cannot_be_closed_end_nevertheless() -> None:
    class Items(Iterator[int]):
        def __next__(self) -> int:
            raise StopIteration

        def close(self) -> None:
            raise S3dlioError("cannot be closed")

    with pytest.raises(S3dlioError, match="cannot be closed"):
        next(Prefetcher(Items()))
