"""Generated data: sizes, factors, reproducibility, bad input."""

from __future__ import annotations

import math
import os
import pickle
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import zstandard

from s3dlio import datagen
from s3dlio.datagen import DataSource, Generator
from s3dlio.errors import ConfigError

MIB = 1 << 20
ALGORITHMS = ("random", "prand")
FUNCTIONS = (datagen.generate_data, datagen.generate_controlled_data_prand)


def blocks_of(data: bytes, size: int = MIB) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]


def object_bytes(source: DataSource, index: int = 0, threads: int = 1) -> bytes:
    buffer = bytearray(source.size)
    assert source.fill(buffer, index=index, threads=threads) == source.size
    return bytes(buffer)


@pytest.mark.parametrize("size", [0, 1, 15, 16, 17, 4095, 4096, MIB - 1, MIB, MIB + 1, 5 * MIB + 12345])
@pytest.mark.parametrize("function", FUNCTIONS)
def test_any_size(function: Any, size: int) -> None:
    assert len(function(size, 1, 1)) == size
    assert len(bytes(function(size, 2, 3))) == size


@pytest.mark.parametrize(("dedup", "order"), [(1, 8), (2, 4), (3, 3), (4, 2), (8, 1), (10, 1), (0, 8)])
def test_dedup_repeats_blocks_in_turn(dedup: int, order: int) -> None:
    blocks = blocks_of(bytes(datagen.generate_data(8 * MIB, dedup)))
    assert len(set(blocks)) == order
    assert blocks == [blocks[i % order] for i in range(8)]


def test_dedup_below_one_block_has_no_effect() -> None:
    data = bytes(datagen.generate_data(MIB // 2, dedup=8))
    assert len(set(blocks_of(data, 4096))) == 128


@pytest.mark.parametrize("factor", [1, 2, 3, 5, 10, 100])
@pytest.mark.parametrize("function", FUNCTIONS)
def test_compress_is_the_ratio_of_zstd(function: Any, factor: int) -> None:
    data = bytes(function(4 * MIB, 1, factor))
    ratio = len(data) / len(zstandard.ZstdCompressor(level=3).compress(data))
    assert ratio == pytest.approx(factor, rel=0.01)
    if factor == 1:
        assert ratio <= 1


@pytest.mark.parametrize("size", [3000, 100_000, MIB + MIB // 2, 2 * MIB + 1])
def test_every_block_is_a_random_prefix_and_zeros_even_a_short_one(size: int) -> None:
    for block in blocks_of(bytes(datagen.generate_data(size, compress=3))):
        prefix = math.ceil(len(block) / 3)
        assert not any(block[prefix:])
        assert len(block.rstrip(b"\0")) >= prefix - 4


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_seed_makes_it_reproducible_and_none_makes_it_different(algorithm: str) -> None:
    def make(seed: int | None) -> bytes:
        return object_bytes(DataSource(70_001, algorithm=algorithm, seed=seed))

    assert make(5) == make(5)
    assert len({make(5), make(6), make(None), make(None)}) == 4


def test_a_seed_means_the_same_bytes_in_every_release() -> None:
    """Data sets that were made with a seed must stay reproducible: these bytes are a promise."""
    assert object_bytes(DataSource(20, seed=1)).hex() == "c6f0cd069a6c97b5d41da97333755c2bddb81a41"
    assert object_bytes(DataSource(20, seed=1), index=2).hex() == "cec77812bfa0c53f563b6fac0191c6ec6e92a680"
    assert object_bytes(DataSource(20, algorithm="prand", seed=1)).hex() == "24e14b12ed1bb3b3360c2f674402782d3fa99c55"


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_threads_do_not_change_the_bytes(algorithm: str) -> None:
    source = DataSource(34 * MIB + 77, 2, 3, algorithm=algorithm, seed=1)
    assert object_bytes(source, 3) == object_bytes(source, 3, threads=4)


def test_threads_share_one_stream_though_none_was_made_before() -> None:
    for _ in range(5):
        blocks = blocks_of(bytes(datagen.generate_data_with_threads(32 * MIB, dedup=32, threads=4)))
        assert len(set(blocks)) == 1


def test_objects_of_one_source_are_distinct_and_survive_pickling() -> None:
    source = DataSource(1000, seed=3)
    objects = [object_bytes(source, i) for i in range(50)]
    assert len(set(objects)) == 50
    assert object_bytes(pickle.loads(pickle.dumps(source)), 49) == objects[49]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_unseeded_copies_and_forked_children_write_other_bytes(algorithm: str) -> None:
    source = DataSource(4096, algorithm=algorithm)
    seen = {object_bytes(source), object_bytes(pickle.loads(pickle.dumps(source)))}
    for _ in range(2):
        reader, writer = os.pipe()
        child = os.fork()
        if not child:  # leaves without running the test runner's own exit handlers
            os.write(writer, object_bytes(source))
            os._exit(0)
        os.close(writer)
        with os.fdopen(reader, "rb") as pipe:
            seen.add(pipe.read())
        assert os.waitpid(child, 0)[1] == 0
    assert len(seen) == 4
    assert all(len(data) == 4096 for data in seen)


def test_separate_processes_share_no_block() -> None:
    program = "import sys, s3dlio.datagen as d; sys.stdout.buffer.write(d.generate_data(1 << 20))"
    blocks = [block for _ in range(2) for block in blocks_of(run_python(program), 4096)]
    assert len(set(blocks)) == len(blocks) == 512


def run_python(program: str) -> bytes:
    """What a fresh interpreter writes that runs `program` and sees the same modules."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    return subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, check=True, env=environment).stdout


@pytest.mark.parametrize("chunk", [1, 4097, 777_777, MIB, 3 * MIB])
def test_chunks_join_to_what_one_buffer_gets(chunk: int) -> None:
    size = 4000 if chunk == 1 else 3 * MIB + 5
    whole = bytearray(size)
    assert Generator(size, 2, 3, seed=9).fill_chunk(whole) == size
    generator = Generator(size, 2, 3, seed=9, chunk_size=chunk)
    buffer, out = bytearray(generator.chunk_size), bytearray()
    while not generator.is_complete():
        out += buffer[: generator.fill_chunk(buffer)]
    assert generator.fill_chunk(buffer) == 0
    assert out == whole


def test_generator_resets_to_the_same_bytes() -> None:
    generator = Generator(5000)
    first, second = bytearray(5000), bytearray(5000)
    generator.fill_chunk(first)
    assert generator.is_complete()
    generator.reset()
    assert not generator.is_complete()
    generator.fill_chunk(second)
    assert first == second
    assert Generator(1).chunk_size == 32 << 20
    assert Generator(0).is_complete()
    assert Generator(1, chunk_size=1000).chunk_size == 1000


def test_generate_into_buffer_fills_what_the_caller_owns() -> None:
    array = np.zeros((10, 1000), np.uint8)
    assert datagen.generate_into_buffer(array) == 10_000
    assert np.count_nonzero(array) > 9_900
    buffer = bytearray(3 * MIB)
    assert datagen.generate_into_buffer(memoryview(buffer)[1:-1], compress=2, threads=2) == 3 * MIB - 2
    assert buffer[0] == buffer[-1] == 0
    assert datagen.generate_into_buffer(bytearray()) == 0


@pytest.mark.parametrize(
    ("buffer", "error", "message"),
    [
        (b"read-only", ValueError, "Buffer must be writable"),
        (np.zeros(10, np.float32), BufferError, "not compatible with u8"),
        (np.zeros((10, 10), np.uint8)[:, :5], ValueError, "C-contiguous"),
        ([1, 2], TypeError, "bytes-like"),
    ],
)
def test_buffers_that_cannot_be_filled(buffer: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        datagen.generate_into_buffer(buffer)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: datagen.generate_data(-1), "size must be an integer from 0"),
        (lambda: datagen.generate_data(1 << 70), "size must be"),
        (lambda: datagen.generate_data(1 << 45), "piece by piece with s3dlio.Generator"),
        (lambda: datagen.generate_data(1, -1), "dedup"),
        (lambda: datagen.generate_data(1, 1, -1), "compress"),
        (lambda: datagen.generate_data_with_threads(1, threads=-1), "threads must be an integer from 0"),
        (lambda: datagen.generate_into_buffer(bytearray(1), threads=-1), "threads"),
        (lambda: Generator(1, chunk_size=-1), "chunk_size"),
        (lambda: Generator(1, seed=-1), "seed"),
        (lambda: Generator(1, seed=1 << 64), "seed"),
        (lambda: DataSource(1, algorithm="fast"), "'fast': use one of random, prand"),
        (lambda: DataSource(1).fill(bytearray(1), index=1 << 36), "index"),
        (lambda: DataSource(1).fill(bytearray(1), offset=-1), "offset"),
    ],
)
def test_bad_values_name_themselves(call: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        call()


@pytest.mark.parametrize("value", ["10", 1.5, None])
def test_sizes_that_are_no_integers(value: Any) -> None:
    with pytest.raises(TypeError, match="size must be an integer"):
        datagen.generate_data(value)


def test_sizes_may_be_numpy_integers() -> None:
    assert len(datagen.generate_data(np.int64(7))) == 7  # type: ignore[arg-type]


def test_default_threads_never_exceed_the_cpus() -> None:
    assert 1 <= datagen.default_data_gen_threads() <= datagen.total_cpus() <= (os.cpu_count() or 1)
    assert datagen.py_total_cpus() == datagen.total_cpus()
    assert datagen.py_default_data_gen_threads() == datagen.default_data_gen_threads()


def test_importing_the_package_loads_no_heavy_module() -> None:
    program = (
        "import sys, s3dlio.datagen, s3dlio.formats;"
        "print([m for m in ('numpy', 'cryptography', 'h5py', 'pyarrow') if m in sys.modules])"
    )
    assert run_python(program).strip() == b"[]"


# -- GeneratorConfig, XorStream


def test_a_config_says_what_single_arguments_say() -> None:
    config = datagen.GeneratorConfig(3 * MIB, dedup=3, compress=2, seed=5)
    buffer = bytearray(3 * MIB)
    assert Generator(config).fill_chunk(buffer) == 3 * MIB
    assert bytes(buffer) == object_bytes(DataSource(3 * MIB, 3, 2, seed=5)) == bytes(datagen.generate_data(config))
    for wrong in ({"dedup": 2}, {"seed": 1}, {"threads": 1}):
        with pytest.raises(TypeError, match=f"has {next(iter(wrong))} itself"):
            Generator(config, **wrong)
    with pytest.raises(TypeError, match="has compress itself"):
        datagen.generate_data(config, compress=3)


def test_the_size_of_a_block_can_be_chosen() -> None:
    data = bytes(datagen.generate_data(datagen.GeneratorConfig(64 << 10, dedup=4, compress=2, block_size=4096)))
    blocks = blocks_of(data, 4096)
    assert len(set(blocks)) == 4
    assert all(block[2048:] == bytes(2048) and block[:2048].count(0) < 50 for block in blocks)
    whole = object_bytes(DataSource(100_000, 3, 2, seed=1, block_size=1000))
    part = bytearray(777)
    DataSource(100_000, 3, 2, seed=1, block_size=1000).fill(part, offset=54_321)
    assert part == whole[54_321 : 54_321 + 777]


@pytest.mark.parametrize(
    "wrong", [{"size": -1}, {"block_size": 511}, {"threads": -1}, {"numa_node": 4096}, {"numa_node": -1}]
)
def test_a_config_is_checked_when_it_is_made(wrong: dict[str, int]) -> None:
    with pytest.raises(ConfigError):
        datagen.GeneratorConfig(**{"size": 1, **wrong})


def test_threads_of_a_node_run_on_its_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = datagen.source.cpus_of_node.__globals__["numa_nodes"]()
    if not nodes:
        pytest.skip("the system tells no NUMA nodes")
    node = next(iter(nodes))
    pinned: list[Any] = []
    real = os.sched_setaffinity

    def pin(thread: int, cpus: Any) -> None:
        pinned.append(cpus)
        real(thread, cpus)

    monkeypatch.setattr(os, "sched_setaffinity", pin)
    before = os.sched_getaffinity(0)
    data = bytes(datagen.generate_data(datagen.GeneratorConfig(MIB, numa_node=node)))
    assert len(set(data)) == 256
    assert pinned == [nodes[node] & before]
    assert os.sched_getaffinity(0) == before


def test_every_payload_of_an_xor_stream_is_new() -> None:
    stream = datagen.XorStream()
    buffer = bytearray(8 * MIB)
    stream.fill(buffer)
    blocks = set(blocks_of(bytes(buffer), 512))
    stream.fill(buffer)
    blocks |= set(blocks_of(bytes(buffer), 512))
    blocks |= set(blocks_of(bytes(stream.generate(MIB)), 512))
    assert len(blocks) == 17 * 2048
    assert stream.objects_generated == 3
    assert len(zstandard.ZstdCompressor().compress(bytes(buffer))) >= len(buffer)
    copied = pickle.loads(pickle.dumps(stream))
    assert copied.generate(512) != datagen.XorStream().generate(512)
    with pytest.raises(ConfigError):
        stream.generate(-1)


def test_filling_under_an_older_name() -> None:
    buffer = bytearray(MIB)
    datagen.fill_controlled_data(buffer, 1, 2)
    assert buffer[: MIB // 2].count(0) < MIB // 100
    assert buffer[MIB // 2 :] == bytes(MIB // 2)
