"""Large downloads are written by a second thread: all of every file, and never through another one's descriptor."""

from __future__ import annotations

import base64
import contextlib
import errno
import gc
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from s3dlio.engine import write_behind as behind
from s3dlio.engine.write_behind import BehindSink, WriteBehind
from s3dlio.errors import StorageFullError
from s3dlio.memory import crc32c, sinks
from s3dlio.memory.pool import default_pool
from s3dlio.memory.sinks import Sink
from s3dlio.net.file_body import STAGE
from s3dlio.transfer.destination_directory import DestinationDirectory
from s3dlio.transfer.file_routes import StoreToFile
from s3dlio.transfer.plan import Item
from s3dlio.transfer.route import RouteOptions
from tests.leases import assert_returned
from tests.servers.scripted import Close, Expect, ScriptedServer, Send, respond
from tests.wire.s3_harness import read, store_of

BODY = os.urandom(256 * 1024) * 42  # 10.5 MiB: stages, and a rest


@pytest.fixture(autouse=True)
def _helps(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """On a machine with one CPU, too; and no stage is lost."""
    monkeypatch.setattr(behind, "usable_cpus", lambda: 2)
    monkeypatch.setattr(behind, "_SLOW", 3600.0)
    before = default_pool().stats().leased
    yield
    gc.collect()
    assert_returned(before)


@pytest.fixture
def writer() -> Iterator[WriteBehind]:
    made = WriteBehind()
    yield made
    made.close()


@pytest.fixture
def written_by(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the threads that wrote, on the writer's side."""
    names: list[str] = []
    plain = behind.pwrite_full

    def noted(fd: int, data: memoryview, position: int) -> int:
        names.append(threading.current_thread().name)
        return plain(fd, data, position)

    monkeypatch.setattr(behind, "pwrite_full", noted)
    return names


def stage_of(sink: Sink, data: bytes) -> memoryview:
    stage = sink.stage(len(data))
    stage[:] = data
    return stage


def write_all(sink: BehindSink, data: bytes, step: int) -> None:
    sink.begin(len(data))
    place = sink.at(0, len(data))
    assert not isinstance(place, memoryview)
    for start in range(0, len(data), step):
        place(stage_of(sink, data[start : start + step]))
    sink.end(len(data))


@pytest.mark.parametrize("step", [1, 4096, 100_000, STAGE])
def test_when_its_context_has_ended_all_is_written(tmp_path: Path, writer: WriteBehind, step: int) -> None:
    data = BODY[: 1000 * step]
    with (tmp_path / "file").open("wb") as file:
        with writer.sink(file.fileno()) as sink:
            write_all(sink, data, step)
        assert (tmp_path / "file").read_bytes() == data


def test_many_files_share_the_writer(tmp_path: Path, writer: WriteBehind, written_by: list[str]) -> None:
    with contextlib.ExitStack() as open_files:
        files = [open_files.enter_context((tmp_path / name).open("wb")) for name in "ab"]
        sinks = [open_files.enter_context(writer.sink(file.fileno())) for file in files]
        places = [sink.at(0, None) for sink in sinks]
        for start in range(0, len(BODY), STAGE):
            for sink, place in zip(sinks, places, strict=True):
                assert not isinstance(place, memoryview)
                place(stage_of(sink, BODY[start : start + STAGE]))
        for sink in sinks:
            sink.end(len(BODY))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes() == BODY
    assert set(written_by) == {"s3dlio-writer"}


def test_memory_that_is_used_again_is_written_at_once(
    tmp_path: Path, writer: WriteBehind, written_by: list[str]
) -> None:
    scratch = bytearray(STAGE)
    with (tmp_path / "file").open("wb") as file, writer.sink(file.fileno()) as sink:
        place = sink.at(0, None)
        assert not isinstance(place, memoryview)
        for value in b"abc":
            scratch[:] = bytes([value]) * STAGE
            place(memoryview(scratch))
        sink.end(3 * STAGE)
    assert (tmp_path / "file").read_bytes() == b"a" * STAGE + b"b" * STAGE + b"c" * STAGE
    assert written_by == []


def test_a_closed_writer_leaves_it_to_the_sinks(tmp_path: Path, written_by: list[str]) -> None:
    writer = WriteBehind()
    writer.close()
    with (tmp_path / "file").open("wb") as file, writer.sink(file.fileno()) as sink:
        write_all(sink, BODY, STAGE)
    assert (tmp_path / "file").read_bytes() == BODY
    assert written_by == []


def test_a_file_that_is_given_up_is_not_written_through_a_descriptor_that_others_have_now(
    tmp_path: Path, writer: WriteBehind, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on, done = threading.Event(), threading.Event(), threading.Event()
    plain = behind.pwrite_full

    def slow(fd: int, data: memoryview, position: int) -> int:
        begun.set()
        assert go_on.wait(10)
        try:
            return plain(fd, data, position)
        finally:
            done.set()

    monkeypatch.setattr(behind, "pwrite_full", slow)
    fd = os.open(tmp_path / "given-up", os.O_WRONLY | os.O_CREAT)
    with contextlib.suppress(KeyError), writer.sink(fd) as sink:
        place = sink.at(0, None)
        assert not isinstance(place, memoryview)
        place(stage_of(sink, b"x" * STAGE))
        assert begun.wait(10)
        place(stage_of(sink, b"y" * STAGE))  # waits behind the first, and is withdrawn
        raise KeyError
    os.close(fd)
    other = os.open(tmp_path / "other", os.O_WRONLY | os.O_CREAT)
    assert other == fd
    go_on.set()
    assert done.wait(10)
    writer.close()
    for thread in writer._threads:
        thread.join(10)
    os.close(other)
    assert (tmp_path / "other").stat().st_size == 0
    assert (tmp_path / "given-up").stat().st_size == STAGE
    assert sink.own == -1  # closed when the stage had been written


def test_a_read_that_starts_over_waits_for_what_is_on_its_way(tmp_path: Path, writer: WriteBehind) -> None:
    with (tmp_path / "file").open("wb") as file, writer.sink(file.fileno()) as sink:
        for content in (b"old", b"new") * 20:
            sink.begin(3)
            place = sink.at(0, 3)
            assert not isinstance(place, memoryview)
            place(stage_of(sink, content))
        sink.end(3)
    assert (tmp_path / "file").read_bytes() == b"new"


# -- over a connection


def _download(server: ScriptedServer, folder: Path, *, size: int = len(BODY), verify: bool = False) -> None:
    store = store_of(server.endpoint)
    with DestinationDirectory(str(folder)) as directory:
        task = StoreToFile(store, directory, RouteOptions(verify)).task(Item("k", "k", size))
        store.execute(task)


def test_a_download_is_written_behind(tmp_path: Path, written_by: list[str]) -> None:
    crc = base64.b64encode(crc32c.crc32c(BODY).to_bytes(4, "big")).decode()
    with ScriptedServer([[Expect(), respond(body=BODY, headers=[("x-amz-checksum-crc32c", crc)])]]) as server:
        _download(server, tmp_path / "down", verify=True)
    assert (tmp_path / "down" / "k").read_bytes() == BODY
    assert written_by


@pytest.mark.parametrize("lane", [False, True])
def test_a_body_that_breaks_off_starts_over(tmp_path: Path, writer: WriteBehind, lane: bool) -> None:
    broken = respond(body=b"-" * len(BODY))
    scripts = [[Expect(), Send(broken.data[: -3 * STAGE]), Close()], [Expect(), respond(body=BODY)]]
    with ScriptedServer(scripts) as server, (tmp_path / "file").open("wb") as file:
        with writer.sink(file.fileno()) as sink:
            read(store_of(server.endpoint), "k", sink, lane=lane)
        assert (tmp_path / "file").read_bytes() == BODY
        server.assert_consumed()


@pytest.mark.parametrize("failing", ["the writer", "the receiver", "the room"])
def test_a_full_disk_is_told_with_the_object_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    def full(*where: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    if failing == "the receiver":
        monkeypatch.setattr(behind, "usable_cpus", lambda: 1)
        monkeypatch.setattr("s3dlio.memory.sinks.pwrite_full", full)
    else:
        monkeypatch.setattr(behind, "LARGE", 0)
        monkeypatch.setattr(behind, "pwrite_full" if failing == "the writer" else "allocate", full)
    with ScriptedServer([[Expect(), respond(body=BODY)]]) as server, pytest.raises(StorageFullError) as caught:
        _download(server, tmp_path / "down")
    assert caught.value.uri == "s3://b/k"
    assert list((tmp_path / "down").iterdir()) == []


@pytest.mark.parametrize("size", [100, len(BODY)], ids=["small", "staged"])
def test_a_full_disk_is_no_broken_connection_and_names_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    for module in (sinks, behind):
        monkeypatch.setattr(module, "pwrite_full", full)
    monkeypatch.setattr(sinks, "pwrite", full)
    with ScriptedServer([[Expect(), respond(body=BODY[:size])]]) as server:
        with pytest.raises(StorageFullError) as caught:
            _download(server, tmp_path / "down", size=size)
        assert server.extra_connections == 0  # nobody tried again
    assert f"No space left on device: {tmp_path}/down/k" in str(caught.value)
    assert caught.value.uri == "s3://b/k"
    assert list((tmp_path / "down").iterdir()) == []
