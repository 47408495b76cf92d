"""What reads local files to compare them does not hold up an event loop."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from s3dlio.client import Client
from s3dlio.engine import write_behind
from s3dlio.engine.admission import Admission
from s3dlio.engine.batch import run_calls
from s3dlio.engine.cancel import CancelToken
from s3dlio.engine.executor import Executor, InlineExecutor
from s3dlio.errors import StorageFullError, TransferCancelledError
from s3dlio.stores.local import file as local_files
from s3dlio.stores.memory import MemoryStore
from s3dlio.transfer.destination import choose_route
from s3dlio.transfer.destination_directory import DestinationDirectory, NewFile
from s3dlio.transfer.plan import Item
from s3dlio.transfer.route import RouteOptions
from s3dlio.transfer.source_file import crc_aside
from s3dlio.transfer.task import Task, aside, beside, written


class OnLane(MemoryStore):
    """Its calls are run by an event loop."""

    is_cloud = True


def test_a_lane_serves_others_while_work_goes_on_aside() -> None:
    store, executor, arrived = OnLane("memory://b"), Executor(2), threading.Event()

    def waits() -> Iterator[Any]:
        return (yield from aside(executor, lambda: arrived.wait(30)))

    def arrives() -> Iterator[Any]:
        yield from ()
        arrived.set()
        return True

    results: dict[int, Any] = {}

    def done(index: int, result: Any, error: BaseException | None) -> None:
        results[index] = error or result

    calls = [Task(store, "SYNC", "a", waits), Task(store, "SYNC", "b", arrives)]
    run_calls(calls, admission=Admission(2), on_done=done, cancel=CancelToken(), executor=executor)
    assert results == {0: True, 1: True}
    executor.shutdown()


@pytest.mark.parametrize("fails", [False, True])
def test_a_lane_serves_others_while_a_slow_disk_takes_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    """The disk takes what the first call has received only after the second call has run."""
    store, arrived, data = OnLane("memory://b"), threading.Event(), os.urandom(1 << 20)
    pwrite = write_behind.pwrite_full

    def slow(fd: int, piece: memoryview, position: int) -> None:
        assert arrived.wait(30)
        if fails:
            raise OSError(errno.ENOSPC, "full")
        pwrite(fd, piece, position)

    monkeypatch.setattr(write_behind, "usable_cpus", lambda: 2)
    monkeypatch.setattr(write_behind, "pwrite_full", slow)
    behind, path = write_behind.WriteBehind(), tmp_path / "x"

    def downloads() -> Iterator[Any]:
        with open(path, "wb") as file, behind.sink(file.fileno(), str(path)) as sink:
            sink.begin(len(data))
            stage = sink.stage(len(data))[: len(data)]
            stage[:] = data
            place = sink.at(0, len(data))
            assert callable(place)
            place(stage)
            sink.end(len(data))
            yield from written(sink, on_lane=True)
        return path.read_bytes() == data

    def arrives() -> Iterator[Any]:
        yield from ()
        arrived.set()
        return True

    results: dict[int, Any] = {}

    def done(index: int, result: Any, error: BaseException | None) -> None:
        results[index] = result if error is None else type(error)

    calls = [Task(store, "GET", "a", downloads), Task(store, "GET", "b", arrives)]
    run_calls(calls, admission=Admission(2), on_done=done, cancel=CancelToken(), executor=InlineExecutor())
    assert results == {0: StorageFullError if fails else True, 1: True}
    behind.close()


def test_what_fails_aside_fails_in_its_task() -> None:
    executor = Executor(1)

    def fails() -> None:
        raise OSError("gone")

    steps = aside(executor, fails)
    with pytest.raises(OSError, match="gone"):
        for _ in steps:
            pass
    executor.shutdown()


@pytest.mark.parametrize("executor", [None, InlineExecutor()], ids=["none", "no thread"])
def test_without_a_thread_it_is_done_in_place(executor: InlineExecutor | None) -> None:
    with pytest.raises(StopIteration) as ended:
        next(aside(executor, threading.get_ident))
    assert ended.value.value == threading.get_ident()


def test_a_task_that_is_given_up_may_close_its_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(os.urandom(1 << 20))
    before = set(os.listdir("/proc/self/fd"))
    executor = Executor(1)
    descriptor = os.open(path, os.O_RDONLY)
    steps = crc_aside(executor, descriptor, 1 << 20)
    next(steps, None)
    steps.close()
    os.close(descriptor)
    executor.shutdown()
    assert set(os.listdir("/proc/self/fd")) == before


HINTS = [("normal", []), ("sequential", ["sequential"]), ("dontneed", ["dontneed"])]


@pytest.mark.parametrize(("mode", "expected"), HINTS)
def test_uploads_hint_the_page_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str, expected: list[str]
) -> None:
    (tmp_path / "x").write_bytes(b"alpha")
    hints: list[str] = []
    monkeypatch.setattr(local_files, "advise", lambda fd, offset, length, hint: hints.append(hint))
    with Client(file={"page_cache": mode}) as client:
        source, _ = client.store_for("file:///")
        target = MemoryStore("memory://b")
        route = choose_route(source, target, "p/", RouteOptions())
        route.task(Item("x", str(tmp_path / "x"), 5)).run()
        assert target.get("p/x") == b"alpha"
    assert hints == expected


def test_what_is_given_up_before_a_thread_began_it_leaves_nothing(tmp_path: Path) -> None:
    """A file to be opened, and one to get its name: neither a descriptor nor a temporary file stays."""
    before = os.listdir("/dev/fd")
    directory = DestinationDirectory(str(tmp_path))
    unopened, unnamed = NewFile(directory, ["a"], "s3://b/a"), NewFile(directory, ["b"], "s3://b/b")
    opening = unopened.opening(10)
    steps = beside(opening, unopened.give_up)
    next(steps)
    steps.close()
    unnamed.open()
    ending = unnamed.ending(lambda: None)

    def ends() -> Iterator[Any]:
        with unnamed:
            yield from beside(ending)

    left = ends()
    next(left)
    left.close()
    directory.close()
    assert os.listdir("/dev/fd") == before
    assert os.listdir(tmp_path) == []
    ending()  # a thread that begins it late
    with pytest.raises(TransferCancelledError):
        opening()
    assert os.listdir(tmp_path) == []
