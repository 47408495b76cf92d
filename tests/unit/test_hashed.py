"""CRC32C of large memory: by several threads, beside other work, of parts, and of what a sink has taken."""

from __future__ import annotations

import gc
import os
import threading
import weakref
from pathlib import Path

import pytest

import s3dlio
from s3dlio.memory import hashed, pieces
from s3dlio.memory.crc32c import crc32c
from s3dlio.memory.hashed import HashedSink, HashedSource, crc32c_parallel
from s3dlio.stores.local.file import FileStore

SIZE = 1_000_003


@pytest.fixture
def data(monkeypatch: pytest.MonkeyPatch) -> bytes:
    """Bytes that are many enough for four threads."""
    monkeypatch.setattr(hashed, "_FROM", SIZE // 2)
    monkeypatch.setattr(hashed, "_PIECE", 64 << 10)
    monkeypatch.setattr(pieces, "usable_cpus", lambda: 4)
    return os.urandom(SIZE)


def test_several_threads_find_what_one_finds(data: bytes) -> None:
    assert crc32c_parallel(memoryview(data)) == crc32c(data)
    assert crc32c_parallel(memoryview(data)[:1000]) == crc32c(data[:1000])
    assert crc32c_parallel(memoryview(b"")) == 0


def test_what_was_computed_of_all_parts_is_combined(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    source = HashedSource(memoryview(data))
    for start in (600_000, 0, 300_000, 0):  # in any order, and again where one is tried again
        part = source.part(start, SIZE - 600_000 if start == 600_000 else 300_000)
        assert part.crc32c() == crc32c(part.whole() or b"")
    assert source.part(900_000, 1000).whole() == data[900_000:901_000]  # asked for, and never hashed
    monkeypatch.setattr(hashed, "crc32c_parallel", None)
    assert source.crc32c() == crc32c(data)


def test_parts_that_are_not_the_whole_do_not_pass_for_it(data: bytes) -> None:
    for starts in ([300_000], [0], [0, 600_000]):
        source = HashedSource(memoryview(data))
        for start in starts:
            source.part(start, 300_000).crc32c()
        assert source.crc32c() == crc32c(data)
    assert HashedSource(memoryview(b"")).crc32c() == 0


def test_it_is_computed_while_the_bytes_are_written(data: bytes) -> None:
    source = HashedSource(memoryview(data))
    with source.hashed_meanwhile():
        pass
    assert source.crc32c() == crc32c(data)
    assert not [thread for thread in threading.enumerate() if thread.name == "s3dlio-pieces"]


def test_an_error_of_the_write_leaves_no_thread_and_no_memory(data: bytes) -> None:
    class Buffer(bytearray):
        pass

    buffer = Buffer(data)
    gone = weakref.ref(buffer)
    source = HashedSource(memoryview(buffer))
    with pytest.raises(KeyboardInterrupt), source.hashed_meanwhile():
        raise KeyboardInterrupt
    assert not [thread for thread in threading.enumerate() if thread.name == "s3dlio-pieces"]
    gc.disable()
    try:
        del source, buffer
        assert gone() is None  # no cycle keeps it
    finally:
        gc.enable()


def test_a_sink_knows_what_a_file_was_read_with(data: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    path.write_bytes(data)
    store, sink = FileStore(), HashedSink()
    store.execute(store.read_call(str(path), sink))
    assert sink.view() == data
    monkeypatch.setattr(hashed, "crc32c_parallel", None)  # it is known by now
    assert sink.crc32c() == crc32c(data)


@pytest.mark.parametrize("size", [0, 1, 100_000, SIZE])
def test_checkpoints_of_any_size_have_their_checksum(data: bytes, tmp_path: Path, size: int) -> None:
    store = s3dlio.CheckpointStore(f"file://{tmp_path}")
    store.save(1, 0, "torch", data[:size])
    assert store.manifest().shards[0].checksum == f"crc32c:{crc32c(data[:size]):08x}"
    assert store.load_latest() == data[:size]
