"""Byte planes: lossless for any numbers, smaller for weights, and typed errors for anything else."""

from __future__ import annotations

import contextlib
import random
import struct

import numpy as np
import pytest

from s3dlio.errors import ConfigError, CorruptDataError
from s3dlio.formats.planes import BLOCK, decode_planes, encode_planes


def packed(data: bytes, width: int, level: int = 1) -> bytes:
    return b"".join(encode_planes(memoryview(data), width, level))


def unpacked(data: bytes, size: int) -> bytes:
    target = bytearray(size)
    decode_planes(memoryview(data), memoryview(target))
    return bytes(target)


@pytest.mark.parametrize("width", [2, 4, 8])
@pytest.mark.parametrize("size", [0, 8, 4096, BLOCK, BLOCK + 8, 3 * BLOCK])
def test_the_same_bytes_come_back(width: int, size: int) -> None:
    for data in (bytes(size), random.Random(1).randbytes(size)):
        assert unpacked(packed(data, width), size) == data
        assert len(packed(data, width)) <= size + (size // BLOCK + 1) * (5 + 4 * width)


def test_weights_become_smaller_than_by_zstd_alone() -> None:
    import zstandard

    weights = np.random.default_rng(1).normal(0, 0.02, 1 << 17).astype(np.float32)
    for width, data in ((4, weights.tobytes()), (2, (weights.view(np.uint32) >> 16).astype(np.uint16).tobytes())):
        alone = len(zstandard.ZstdCompressor(3).compress(data))
        assert len(packed(data, width)) < 0.95 * alone


def test_what_is_damaged_is_found_or_harmless() -> None:
    data = np.random.default_rng(1).normal(0, 1, 5000).astype(np.float32).tobytes()
    good = packed(data, 4)
    chance = random.Random(2)
    for _ in range(300):
        bad = bytearray(good)
        bad[chance.randrange(len(bad))] ^= 1 << chance.randrange(8)
        with contextlib.suppress(CorruptDataError):  # in a plane that is not packed the checksum of the whole finds it
            unpacked(bytes(bad), len(data))
    for bad in (good[:-1], good[:3], good + b"x", good + good, b"\xff" * 40):
        with pytest.raises(CorruptDataError):
            unpacked(bad, len(data))
    with pytest.raises(CorruptDataError):
        unpacked(good, len(data) + 4)


def test_a_frame_that_promises_more_than_its_plane_gets_no_memory() -> None:
    import zstandard

    bomb = zstandard.ZstdCompressor().compress(bytes(1 << 30))
    head = struct.pack("<IB", 1 << 18, 2) + struct.pack("<2I", len(bomb), len(bomb))
    with pytest.raises(CorruptDataError):
        unpacked(head + bomb + bomb, 1 << 18)


@pytest.mark.parametrize(
    ("size", "width", "level"), [(6, 4, 1), (8, 3, 1), (8, 1, 1), (8, 4, 0), (8, 4, 99), (8, 4, 1.0)]
)
def test_what_cannot_be_packed_is_refused(size: int, width: int, level: int) -> None:
    with pytest.raises(ConfigError):
        packed(bytes(size), width, level)
