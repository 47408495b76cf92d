"""Large files that several threads read: the same bytes, counts and errors as one; nobody is left behind."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

import s3dlio
from s3dlio.memory import parallel_read, pieces
from s3dlio.memory.crc32c import crc32c
from s3dlio.memory.parallel_read import pread_hashed, pread_parallel

SIZE = 1_000_003


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that is large enough for four threads."""
    monkeypatch.setattr(parallel_read, "_FROM", SIZE // 2)
    monkeypatch.setattr(parallel_read, "_PIECE", 64 << 10)
    monkeypatch.setattr(pieces, "usable_cpus", lambda: 4)
    path = tmp_path / "file"
    path.write_bytes(os.urandom(SIZE))
    return path


def test_it_reads_what_is_there(file: Path) -> None:
    data = file.read_bytes()
    uri = f"file://{file}"
    assert s3dlio.get(uri) == data
    assert s3dlio.get_range(uri, 12_345, 800_000) == data[12_345:812_345]
    buffer = bytearray(SIZE)
    assert s3dlio.get_into(uri, buffer) == SIZE
    assert buffer == data


def test_it_tells_where_the_file_ends(file: Path) -> None:
    with open(file, "rb") as opened:
        buffer = memoryview(bytearray(SIZE + 500_000))
        assert pread_parallel(opened.fileno(), buffer, 100) == SIZE - 100
        assert buffer[: SIZE - 100] == file.read_bytes()[100:]


def test_it_hashes_what_it_reads(file: Path) -> None:
    data = file.read_bytes()
    with open(file, "rb") as opened:
        for offset, size in ((0, SIZE), (77, SIZE - 77), (0, 1000), (100, SIZE + 5)):
            buffer = memoryview(bytearray(size))
            got, crc = pread_hashed(opened.fileno(), buffer, offset)
            assert (got, crc) == (min(size, SIZE - offset), crc32c(data[offset : offset + size]))


def test_an_error_is_raised_when_all_have_ended_and_keeps_no_memory(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = parallel_read.pread_full

    def failing(fd: int, view: memoryview, offset: int) -> int:
        if offset >= SIZE // 2:
            raise OSError(5, "broken")
        return read(fd, view, offset)

    monkeypatch.setattr(parallel_read, "pread_full", failing)
    before = threading.active_count()
    buffer = bytearray(SIZE)
    with pytest.raises(OSError, match="broken") as caught:
        s3dlio.get_into(f"file://{file}", buffer)
    assert threading.active_count() == before
    buffer.append(0)  # nobody exports it any more, though the error is kept
    assert caught.value is not None


def test_an_interrupt_leaves_nobody_behind(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read, me, struck = parallel_read.pread_full, threading.get_ident(), threading.Event()

    def interrupted(fd: int, view: memoryview, offset: int) -> int:
        if threading.get_ident() == me:
            struck.set()
            raise KeyboardInterrupt
        struck.wait(30)
        return read(fd, view, offset)

    monkeypatch.setattr(parallel_read, "pread_full", interrupted)
    before = threading.active_count()
    with open(file, "rb") as opened, pytest.raises(KeyboardInterrupt):
        pread_parallel(opened.fileno(), memoryview(bytearray(SIZE)), 0)
    assert threading.active_count() == before


def test_an_interrupt_while_a_thread_begins_leaves_nobody_behind(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read, start, struck = parallel_read.pread_full, threading.Thread.start, threading.Event()
    reading = threading.Event()

    def interrupted(thread: threading.Thread) -> None:
        start(thread)
        reading.wait(30)
        struck.set()
        raise KeyboardInterrupt

    def slow(fd: int, view: memoryview, offset: int) -> int:
        reading.set()
        struck.wait(30)
        return read(fd, view, offset)

    monkeypatch.setattr(threading.Thread, "start", interrupted)
    monkeypatch.setattr(parallel_read, "pread_full", slow)
    buffer = bytearray(SIZE)
    with open(file, "rb") as opened, pytest.raises(KeyboardInterrupt) as caught:
        pread_parallel(opened.fileno(), memoryview(buffer), 0)
    assert "s3dlio-pieces" not in {thread.name for thread in threading.enumerate()}
    assert caught.value is not None


def test_no_failure_of_a_thread_passes_for_bytes(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read, me, failed = parallel_read.pread_full, threading.get_ident(), threading.Event()

    def failing(fd: int, view: memoryview, offset: int) -> int:
        if threading.get_ident() == me:
            failed.wait(30)
            return read(fd, view, offset)
        failed.set()
        raise MemoryError

    monkeypatch.setattr(parallel_read, "pread_full", failing)
    with open(file, "rb") as opened, pytest.raises(MemoryError):
        pread_parallel(opened.fileno(), memoryview(bytearray(SIZE)), 0)


def test_where_no_thread_can_be_had_one_reads_alone(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", none)
    assert s3dlio.get(f"file://{file}") == file.read_bytes()
