"""direct:// verb by verb, beside one pread or pwrite of the device. Run: pytest perf/bench_direct.py on a real disk."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from s3dlio.config.sections import FileSettings
from s3dlio.memory.libc import O_DIRECT, pread_full, pwrite_full
from s3dlio.memory.pool import default_pool
from s3dlio.memory.sinks import DiscardSink
from s3dlio.stores.local.direct import DirectStore

KIB, MIB = 1 << 10, 1 << 20
SIZES = [4 * KIB, MIB, 64 * MIB]


@pytest.fixture(params=SIZES, ids=lambda size: f"{size // KIB}KiB")
def size(request: pytest.FixtureRequest) -> int:
    found: int = request.param
    return found


@pytest.fixture
def store() -> DirectStore:
    return DirectStore(settings=FileSettings(direct_fallback="error"))


@pytest.fixture
def key(tmp_path: Path, store: DirectStore, size: int) -> str:
    store.put(f"{tmp_path}/object", os.urandom(size))
    return f"{tmp_path}/object"


def test_read_floor(benchmark: Any, key: str, size: int) -> None:
    def read() -> int:
        fd = os.open(key, os.O_RDONLY | O_DIRECT)
        try:
            return pread_full(fd, default_pool().lease(size), 0, block=4096)
        finally:
            os.close(fd)

    assert benchmark(read) == size


def test_get(benchmark: Any, store: DirectStore, key: str, size: int) -> None:
    assert len(benchmark(store.get, key)) == size


def test_get_into_unaligned_memory(benchmark: Any, store: DirectStore, key: str, size: int) -> None:
    assert benchmark(store.get_into, key, default_pool().lease(size + 1)[1:]) == size


def test_discard(benchmark: Any, store: DirectStore, key: str, size: int) -> None:
    assert benchmark(lambda: store.execute(store.read_call(key, DiscardSink()))).size == size


def test_write_floor(benchmark: Any, tmp_path: Path, size: int) -> None:
    data = default_pool().lease(size)

    def write() -> None:
        fd = os.open(tmp_path / "floor", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | O_DIRECT)
        try:
            pwrite_full(fd, data, 0, block=4096)
        finally:
            os.close(fd)

    benchmark(write)


@pytest.mark.parametrize("shift", [0, 1], ids=["aligned", "unaligned"])
def test_put(benchmark: Any, store: DirectStore, tmp_path: Path, size: int, shift: int) -> None:
    data = default_pool().lease(size + shift)[shift:]
    assert benchmark(store.put, f"{tmp_path}/object", data).size == size
