"""Large bodies for files are moved within the kernel: as exact as those that pass through memory."""

from __future__ import annotations

import base64
import contextlib
import errno
import os
import socket
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from s3dlio.engine import write_behind
from s3dlio.engine.write_behind import WriteBehind
from s3dlio.errors import IntegrityError, StorageFullError, TransferTimeoutError
from s3dlio.memory import crc32c, pipe
from s3dlio.memory.pipe import CAN_SPLICE, Pipe, Pipes
from s3dlio.memory.sinks import FileSink
from s3dlio.net import system
from s3dlio.net.splicing import Splicer
from s3dlio.transfer.body_monitor import BodyMonitor, MonitoredSink
from tests.servers.certs import Authority
from tests.servers.scripted import Close, Expect, ReceivedRequest, ScriptedServer, Send, Until, respond
from tests.wire.s3_harness import read, store_of

pytestmark = pytest.mark.skipif(not CAN_SPLICE, reason="this system has no splice")

KIB, MIB = 1 << 10, 1 << 20
BODY = os.urandom(MIB + 12_345) * 3


@pytest.fixture
def moved(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many bytes were moved by each step."""
    counts: list[int] = []
    drain = Pipe.drain

    def noted(self: Pipe, fd: int, count: int, position: int) -> None:
        drain(self, fd, count, position)
        counts.append(count)

    monkeypatch.setattr(Pipe, "drain", noted)
    return counts


@pytest.fixture
def target(tmp_path: Path) -> Iterator[tuple[FileSink, Path]]:
    path = tmp_path / "file"
    with path.open("wb") as file:
        yield FileSink(file.fileno(), path=str(path)), path


@pytest.mark.parametrize("size", [256 * KIB, 256 * KIB + 1, 700_001, MIB, len(BODY)])
def test_a_body_is_moved_to_its_file(size: int, target: tuple[FileSink, Path], moved: list[int]) -> None:
    sink, path = target
    with ScriptedServer([[Expect(), respond(body=BODY[:size]), Expect(), respond(body=b"next")]]) as server:
        store = store_of(server.endpoint)
        read(store, "k", sink, lane=True)
        assert sink.size == size
        assert path.read_bytes() == BODY[:size]
        assert store.get("k2") == b"next"  # the same connection serves again
        server.assert_consumed()
    assert sum(moved) <= size
    assert moved or size < 512 * KIB  # all of a small one may come with its head


def test_a_range_lands_where_it_belongs(tmp_path: Path, moved: list[int]) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"-" * 10)
    about = [("Content-Range", f"bytes 7-{len(BODY) - 1}/{len(BODY)}")]
    answer = respond("206 Partial Content", body=BODY[7:], headers=about)
    with ScriptedServer([[Expect(), answer]]) as server, path.open("r+b") as file:
        read(store_of(server.endpoint), "k", FileSink(file.fileno(), 10), lane=True, offset=7)
    assert path.read_bytes() == b"-" * 10 + BODY[7:]
    assert moved


def test_a_body_that_breaks_off_goes_on_where_it_stopped(target: tuple[FileSink, Path], moved: list[int]) -> None:
    sink, path = target
    first = respond(body=BODY, headers=[("ETag", '"v"')])
    came, last = len(BODY) - MIB, len(BODY) - 1
    rest = respond(
        "206 Partial Content", body=BODY[came:],
        headers=[("ETag", '"v"'), ("Content-Range", f"bytes {came}-{last}/{len(BODY)}")],
    )  # fmt: skip

    def asks_for_it(request: ReceivedRequest) -> bool:
        return request.headers["range"] == f"bytes={came}-{last}" and request.headers["if-match"] == '"v"'

    with ScriptedServer([[Expect(), Send(first.data[:-MIB]), Close()], [Expect(asks_for_it), rest]]) as server:
        read(store_of(server.endpoint), "k", sink, lane=True)
        server.assert_consumed()
    assert path.read_bytes() == BODY
    assert moved


def test_what_its_checksum_is_needed_of_is_seen(target: tuple[FileSink, Path], moved: list[int]) -> None:
    sink, path = target
    crc = base64.b64encode(crc32c.crc32c(BODY).to_bytes(4, "big")).decode()
    answers = [respond(body=body, headers=[("x-amz-checksum-crc32c", crc)]) for body in (BODY, BODY[:-1] + b"?")]
    with ScriptedServer([[Expect(), answers[0], Expect(), answers[1]]]) as server:
        store = store_of(server.endpoint, s3={"response_checksum_validation": "when_supported"})
        read(store, "k", sink, lane=True)
        assert path.read_bytes() == BODY
        with pytest.raises(IntegrityError):
            read(store, "k", sink, lane=True)
    assert moved == []


def test_bytes_are_counted(target: tuple[FileSink, Path], moved: list[int]) -> None:
    counted: list[int] = []
    monitored = MonitoredSink(target[0], BodyMonitor(counted.append, checksum=False))
    with ScriptedServer([[Expect(), respond(body=BODY)]]) as server:
        read(store_of(server.endpoint), "k", monitored, lane=True)
    assert moved
    assert sum(counted) == len(BODY)


def test_who_wants_checksums_sees_the_bytes(target: tuple[FileSink, Path], moved: list[int]) -> None:
    monitor = BodyMonitor(None, checksum=True)
    with ScriptedServer([[Expect(), respond(body=BODY)]]) as server:
        read(store_of(server.endpoint), "k", MonitoredSink(target[0], monitor), lane=True)
    assert moved == []
    assert monitor.crc(len(BODY)) == crc32c.crc32c(BODY)


def test_tls_is_not_moved(target: tuple[FileSink, Path], moved: list[int], authority: Authority) -> None:
    sink, path = target
    with ScriptedServer([[Expect(), respond(body=BODY)]], tls=authority) as server:
        read(store_of(server.endpoint, http={"ca_bundle": str(authority.bundle)}), "k", sink, lane=True)
    assert path.read_bytes() == BODY
    assert moved == []


@pytest.mark.parametrize("refuses", ["the socket", "the file", "a pipe"])
def test_where_it_cannot_be_done_bytes_pass_through_memory(
    refuses: str, target: tuple[FileSink, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    sink, path = target
    splice, asked = os.splice, []

    def refusing(source: int, to: int, count: int, **how: Any) -> int:
        asked.append(count)
        if (to == sink.fd) == (refuses == "the file"):
            raise OSError(errno.EINVAL, "not here")
        return splice(source, to, count, **how)

    def no_pipe() -> tuple[int, int]:
        raise OSError(errno.EMFILE, "too many open files")

    name, instead = ("pipe", no_pipe) if refuses == "a pipe" else ("splice", refusing)
    monkeypatch.setattr(pipe.os, name, instead)
    with ScriptedServer([[Expect(), respond(body=BODY)]]) as server:
        read(store_of(server.endpoint), "k", sink, lane=True)
    assert path.read_bytes() == BODY
    assert bool(asked) == (refuses != "a pipe")


def test_a_full_disk_is_no_fault_of_the_connection(
    target: tuple[FileSink, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    sink, path = target
    splice = os.splice

    def full(source: int, to: int, count: int, **how: Any) -> int:
        if to == sink.fd:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return splice(source, to, count, **how)

    monkeypatch.setattr(pipe.os, "splice", full)
    with ScriptedServer([[Expect(), respond(body=BODY)]]) as server:
        with pytest.raises(StorageFullError, match=str(path)):
            read(store_of(server.endpoint), "k", sink, lane=True)
        assert server.extra_connections == 0  # nobody tried again


def test_a_pipe_that_may_have_bytes_left_is_not_used_again() -> None:
    pipes, used = Pipes(), []

    def fails(pipe: Pipe, count: int, position: int) -> None:
        used.append(pipe)
        raise KeyboardInterrupt

    ours, theirs = socket.socketpair()
    with ours, theirs, tempfile.TemporaryFile() as file:
        theirs.sendall(b"old")
        with pytest.raises(KeyboardInterrupt):
            pipes.move(ours.fileno(), 3, fails, 0)
        theirs.sendall(b"new")
        assert pipes.move(ours.fileno(), 3, lambda *what: FileSink(file.fileno()).splice(*what), 0) == 3
        assert os.pread(file.fileno(), 10, 0) == b"new"
        with pytest.raises(BlockingIOError):
            pipes.move(ours.fileno(), 3, fails, 0)
        theirs.shutdown(socket.SHUT_WR)
        assert pipes.move(ours.fileno(), 3, fails, 0) == 0
    assert len(used) == 1


def test_bytes_that_come_slowly_are_no_silence(target: tuple[FileSink, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Less than a piece comes before the time-out: that is seen then."""
    sink, path = target
    go_on, late = threading.Event(), Splicer.is_late

    def looked(self: Splicer, connection: Any) -> bool:
        go_on.set()  # the server sends the rest only now
        return late(self, connection)

    monkeypatch.setattr(Splicer, "is_late", looked)
    data = respond(body=BODY).data
    begin, middle = Send(data[: MIB + 1]), Send(data[MIB + 1 : MIB + 1000])
    script = [Expect(), begin, middle, Until(go_on), Send(data[MIB + 1000 :])]
    with ScriptedServer([script]) as server:
        read(store_of(server.endpoint, http={"read_timeout": 0.3}), "k", sink, lane=True)
    assert path.read_bytes() == BODY


def test_silence_is_a_time_out(target: tuple[FileSink, Path]) -> None:
    data, never = respond(body=BODY).data, threading.Event()
    scripts = [[Expect(), Send(data[:MIB]), Until(never)]]
    with ScriptedServer(scripts) as server, contextlib.ExitStack() as end:
        end.callback(never.set)
        store = store_of(server.endpoint, http={"read_timeout": 0.2}, retry={"max_attempts": 1})
        with pytest.raises(TransferTimeoutError):
            read(store, "k", target[0], lane=True)


def test_a_disk_that_takes_long_gets_stages_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(write_behind, "usable_cpus", lambda: 2)
    behind = WriteBehind()
    with (tmp_path / "file").open("wb") as file, behind.sink(file.fileno()) as sink:
        sink.begin(64 * MIB)
        assert not sink.splices  # nothing is known of the disk
        behind.wrote(system.perf_counter())
        assert sink.splices
        behind.wrote(system.perf_counter() - 1)  # it took a second
        assert not sink.splices
        behind.wrote(system.perf_counter())
        assert not sink.splices  # for a while
        sink.begin(MIB)
        assert sink.splices  # as small bodies are written
        behind.slow = True
        assert not sink.splices
    behind.close()


def test_a_body_goes_from_stages_to_splices_and_back(tmp_path: Path, moved: list[int]) -> None:
    path = tmp_path / "file"
    body = BODY * 3
    with path.open("wb") as file:
        sink = Alternating(file.fileno(), path=str(path))
        with ScriptedServer([[Expect(), respond(body=body)]]) as server:
            read(store_of(server.endpoint), "k", sink, lane=True)
    assert path.read_bytes() == body
    assert moved
    assert sink.staged
    assert sum(moved) < len(body) - MIB


class Alternating(FileSink):
    """Does not splice at every third look."""

    def __init__(self, fd: int, path: str) -> None:
        super().__init__(fd, path=path)
        self.looks = self.staged = 0

    @property
    def splices(self) -> bool:  # type: ignore[override]
        self.looks += 1
        return self.looks % 3 != 0

    def stage(self, length: int) -> memoryview:
        self.staged += 1
        return super().stage(length)
