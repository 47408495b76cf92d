"""How fast data are generated, beside the alternatives that were considered. Run: pytest perf/bench_datagen.py.

Every row writes the same 64 MiB into a buffer whose pages are resident, so that rows compare generators only.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from s3dlio import datagen
from s3dlio.datagen import DataSource
from s3dlio.formats import ObjectSource, generate_npz_bytes
from s3dlio.memory.crc32c import crc32c

MIB = 1 << 20
SIZE = 64 * MIB
ZEROS = bytes(MIB)

Fill = Callable[[memoryview], object]


@pytest.fixture(scope="module")
def buffer() -> memoryview:
    return memoryview(bytearray(os.urandom(MIB) * (SIZE // MIB)))


def pieces(view: memoryview) -> list[memoryview]:
    return [view[start : start + MIB] for start in range(0, len(view), MIB)]


def encrypt(cipher: Any) -> Fill:
    def fill(view: memoryview) -> None:
        encryptor = cipher.encryptor()
        for piece in pieces(view):
            encryptor.update_into(ZEROS, piece)

    return fill


def sfc64(view: memoryview) -> None:
    generator = np.random.SFC64(1)
    for piece in pieces(view):
        np.frombuffer(piece, np.uint64)[:] = generator.random_raw(MIB // 8)


def numpy_bytes(view: memoryview) -> None:
    generator = np.random.default_rng(1)
    for piece in pieces(view):
        piece[:] = generator.bytes(MIB)


def urandom(view: memoryview) -> None:
    for piece in pieces(view):
        piece[:] = os.urandom(MIB)


def copy(view: memoryview) -> None:
    for piece in pieces(view):
        piece[:] = ZEROS


def source(**options: Any) -> Fill:
    return DataSource(SIZE, **options).fill


ROWS: dict[str, Fill] = {
    "random": source(),
    "random, compress=3": source(compress=3),
    "random, dedup=4": source(dedup=4),
    "prand": source(algorithm="prand"),
    "random on every CPU": lambda view: DataSource(SIZE).fill(view, threads=None),
    "AES-256-CTR": encrypt(Cipher(algorithms.AES256(bytes(32)), modes.CTR(bytes(16)))),
    "ChaCha20": encrypt(Cipher(algorithms.ChaCha20(bytes(32), bytes(16)), None)),
    "numpy SFC64, 64-bit words": sfc64,
    "numpy Generator.bytes": numpy_bytes,
    "os.urandom": urandom,
    "copy of zeros (the bound)": copy,
}


@pytest.mark.parametrize("row", ROWS)
@pytest.mark.benchmark(group="fill 64 MiB", min_rounds=5, warmup=True, warmup_iterations=1)
def test_fill(benchmark: Any, buffer: memoryview, row: str) -> None:
    benchmark.extra_info["bytes"] = SIZE
    benchmark(ROWS[row], buffer)


@pytest.mark.parametrize("way", ["one pass", "two passes"])
@pytest.mark.benchmark(group="generate and sum 64 MiB", min_rounds=5)
def test_generate_and_sum(benchmark: Any, buffer: memoryview, way: str) -> None:
    objects = ObjectSource("RAW", SIZE, seed=1)

    def one_pass() -> int:
        stream = objects.open(1, checksum=True)
        stream.readinto(buffer)
        return stream.crc32c

    def two_passes() -> int:
        objects.open(1).readinto(buffer)
        return crc32c(buffer)

    assert one_pass() == two_passes()
    benchmark.extra_info["bytes"] = SIZE
    benchmark(one_pass if way == "one pass" else two_passes)


@pytest.mark.parametrize("kind", ["RAW", "NPY", "NPZ", "TFRECORD"])
@pytest.mark.parametrize("size", [4096, 8 * MIB])
@pytest.mark.benchmark(group="one object into a ready buffer")
def test_object(benchmark: Any, kind: str, size: int) -> None:
    objects = ObjectSource(kind, size)
    buffer = bytearray(objects.size)
    benchmark.extra_info["bytes"] = size
    benchmark(lambda: objects.open(1).readinto(buffer))


CALLS: dict[str, Callable[[], object]] = {
    "generate_data(256 MiB)": lambda: datagen.generate_data(256 * MIB),
    "generate_npz_bytes([6053, 6053, 1])": lambda: generate_npz_bytes([6053, 6053, 1]),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.benchmark(group="whole calls", min_rounds=5)
def test_calls(benchmark: Any, call: str) -> None:
    benchmark(CALLS[call])
