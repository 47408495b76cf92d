"""file:// verb by verb, beside the floor: the same system calls with nothing around. Run: pytest perf/bench_file.py."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from s3dlio.memory.libc import allocate, pwrite_full
from s3dlio.memory.pool import default_pool
from s3dlio.memory.sinks import DiscardSink
from s3dlio.memory.sources import FileSource
from s3dlio.stores.local.file import FileStore

KIB, MIB = 1 << 10, 1 << 20
SIZES = [4 * KIB, 64 * KIB, MIB, 64 * MIB]


@pytest.fixture(params=SIZES, ids=lambda size: f"{size // KIB}KiB")
def size(request: pytest.FixtureRequest) -> int:
    found: int = request.param
    return found


@pytest.fixture
def key(tmp_path: Path, size: int) -> str:
    path = tmp_path / "object"
    path.write_bytes(os.urandom(size))
    return str(path)


def floor(key: str, size: int) -> int:
    fd = os.open(key, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.preadv(fd, [default_pool().lease(os.fstat(fd).st_size)], 0)
    finally:
        os.close(fd)


def test_read_floor(benchmark: Any, key: str, size: int) -> None:
    assert benchmark(floor, key, size) == size


def test_get(benchmark: Any, key: str, size: int) -> None:
    assert len(benchmark(FileStore().get, key)) == size


def test_get_into(benchmark: Any, key: str, size: int) -> None:
    assert benchmark(FileStore().get_into, key, bytearray(size)) == size


def test_discard(benchmark: Any, key: str, size: int) -> None:
    store = FileStore()
    assert benchmark(lambda: store.execute(store.read_call(key, DiscardSink()))).size == size


def test_head(benchmark: Any, key: str, size: int) -> None:
    assert benchmark(FileStore().head, key).size == size


def test_put_new(benchmark: Any, tmp_path: Path, size: int) -> None:
    store, data = FileStore(), os.urandom(size)

    def put() -> None:
        store.put(f"{tmp_path}/new", data)
        os.unlink(tmp_path / "new")

    benchmark(put)


def test_put_over(benchmark: Any, key: str, size: int) -> None:
    data = os.urandom(size)
    assert benchmark(FileStore().put, key, data).size == size


@pytest.mark.parametrize("reserve", [True, False])
def test_put_over_floor(benchmark: Any, key: str, size: int, reserve: bool) -> None:
    """What reserving the space first is worth when a file is replaced."""
    data = memoryview(os.urandom(size))

    def put() -> None:
        fd = os.open(key + ".new", os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        if reserve:
            allocate(fd, size)
        pwrite_full(fd, data, 0)
        os.close(fd)
        os.rename(key + ".new", key)

    benchmark(put)


def test_put_from_a_file(benchmark: Any, key: str, size: int) -> None:
    store = FileStore()
    with open(key, "rb") as source:
        benchmark(lambda: store.execute(store.write_call(key + ".copy", FileSource(source.fileno()))))


@pytest.mark.parametrize("recursive", [True, False])
def test_list(benchmark: Any, tmp_path: Path, recursive: bool) -> None:
    for directory in range(10):
        (tmp_path / str(directory)).mkdir()
        for number in range(1000):
            (tmp_path / f"{directory}/{number:04}").touch()
    store = FileStore()
    found = benchmark(lambda: sum(len(page.keys) for page in store.list(f"{tmp_path}/", recursive=recursive)))
    assert found == (10_000 if recursive else 0)
