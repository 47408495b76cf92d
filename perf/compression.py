"""Streaming writers that compress, beside zstandard alone on the same bytes: ``python -m perf.compression``.

Both are given 1 MiB at a time, at level 3, and keep nothing. ``threads`` is zstandard with a thread for each CPU, as it
divides the work by itself. Rounds alternate; a line has the median rate, the CPU time, and how long the result is.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable

import numpy as np
import zstandard

from perf.measure import say
from s3dlio.stores.writer import StoreWriter
from s3dlio.streams.compression import ZstdStream
from s3dlio.streams.writer import ObjectWriter
from s3dlio.types import Payload, PutResult

MIB = 1 << 20
SIZE, ROUNDS, LEVEL = 128 * MIB, 7, 3


class Nowhere(StoreWriter):
    """Keeps nothing."""

    def write(self, data: Payload) -> int:
        raise NotImplementedError

    def write_owned(self, data: Payload) -> int:
        return 0

    def flush(self) -> None:
        pass

    def close(self) -> PutResult:
        return PutResult(None, None, 0)

    def abort(self) -> None:
        pass


def pieces(data: memoryview) -> list[memoryview]:
    return [data[start : start + MIB] for start in range(0, len(data), MIB)]


def alone(data: memoryview, threads: int) -> int:
    chunker = zstandard.ZstdCompressor(level=LEVEL, threads=threads).chunker(chunk_size=MIB)
    size = sum(len(chunk) for piece in pieces(data) for chunk in chunker.compress(piece))
    return size + sum(map(len, chunker.finish()))


def written(data: memoryview, owned: bool) -> int:
    writer = ObjectWriter(Nowhere(), "nowhere", zstd=ZstdStream(LEVEL), buffer_size=MIB)
    for piece in pieces(data):
        if owned:
            writer.write_owned_bytes(piece)
        else:
            writer.write(piece)
    return writer.finalize().compressed_bytes


def inputs() -> dict[str, memoryview]:
    weights = np.random.default_rng(0).standard_normal(SIZE // 4, "f4")
    lines = b"".join(b"step %d: loss %d, took %d ms\n" % (i, i * 7919 % 100_003, i % 97) for i in range(400_000))
    return {
        "float32 weights": memoryview(weights).cast("B"),
        "bfloat16 weights": memoryview(np.tile((weights.view("u4") >> 16).astype("u2"), 2)).cast("B"),
        "text": memoryview((lines * (SIZE // len(lines) + 1))[:SIZE]),
    }


CONTENDERS: dict[str, Callable[[memoryview], int]] = {
    "zstandard": lambda data: alone(data, 0),
    "zstandard, threads": lambda data: alone(data, -1),
    "write": lambda data: written(data, owned=False),
    "write_owned_bytes": lambda data: written(data, owned=True),
}


def main() -> None:
    say(f"{os.cpu_count()} CPUs, {SIZE >> 20} MiB, {ROUNDS} rounds")
    for kind, data in inputs().items():
        took: dict[str, list[tuple[float, float]]] = {name: [] for name in CONTENDERS}
        sizes = {}
        for _ in range(ROUNDS):
            for name, compress in CONTENDERS.items():
                begun, spent = time.perf_counter(), time.process_time()
                sizes[name] = compress(data)
                took[name].append((time.perf_counter() - begun, time.process_time() - spent))
        best = min(("zstandard", "zstandard, threads"), key=lambda name: sum(wall for wall, _ in took[name]))
        for name, rounds in took.items():
            wall, cpu = (statistics.median(column) for column in zip(*rounds, strict=True))
            ratio = statistics.median(other[0] / one[0] for one, other in zip(rounds, took[best], strict=True))
            say(f"{kind:>17} {name:>18}: {SIZE / wall / 1e6:6.0f} MB/s ({ratio:.2f} of the faster zstandard), "
                f"{cpu / (SIZE / 1e9):.2f} CPU s/GB, {sizes[name] / SIZE:.3f} of the size")  # fmt: skip


if __name__ == "__main__":
    main()
