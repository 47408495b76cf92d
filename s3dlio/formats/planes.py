"""Byte planes: numbers packed with their first bytes together, then their second ones, and so on. Lossless.

Of the weights of a neural network the exponents repeat, the mantissas do not. Byte by byte, zstd packs the former, and
the latter stay as they are. Blocks stand for themselves: how many bytes of numbers, how many planes, the length of each
plane as it is stored, and the planes: each a zstd frame, or as it is where that would be no shorter.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

from s3dlio.errors import ConfigError, CorruptDataError

#: Bytes of numbers in a block: it and its planes fit a CPU's second-level cache.
BLOCK = 1 << 20
#: Bytes of a number. (Of float64 the lower planes are noise, but so are they beside each other.)
WIDTHS = (2, 4, 8)
_HEAD = struct.Struct("<IB")


def encode_planes(data: memoryview, width: int, level: int = 1) -> Iterator[bytes]:
    """Pack numbers, block by block.

    Args:
        data: their bytes.
        width: bytes of a number: 2, 4 or 8.
        level: of zstd, 1 to 22. Exponents are packed by their frequency, so higher ones hardly pack more.

    Raises:
        ConfigError: the width or the level is none, or the bytes are no whole numbers.
    """
    import numpy as np
    import zstandard

    if width not in WIDTHS or len(data) % width:
        raise ConfigError(f"{len(data)} bytes are no numbers of {width} bytes each")
    compressor = zstandard.ZstdCompressor(check_level(level))
    for begin in range(0, len(data), BLOCK):
        block = np.frombuffer(data[begin : begin + BLOCK], np.uint8)
        planes = np.ascontiguousarray(block.reshape(-1, width).T)
        parts = []
        for plane in planes:
            packed = compressor.compress(plane)
            parts.append(packed if len(packed) < len(plane) else plane.tobytes())
        yield _HEAD.pack(len(block), width) + struct.pack(f"<{width}I", *map(len, parts))
        yield from parts


def check_level(level: Any) -> int:
    """A level of zstd.

    Raises:
        ConfigError: it is none.
    """
    if type(level) is not int or not 1 <= level <= 22:
        raise ConfigError(f"the level of zstd is from 1 to 22, not {level!r}")
    return level


def decode_planes(data: memoryview, target: memoryview) -> None:
    """Unpack what :func:`encode_planes` has made, into memory of just the size that it had.

    Raises:
        CorruptDataError: it is damaged, or of another size.
    """
    position = filled = 0
    try:
        while position < len(data):
            size, width = _HEAD.unpack_from(data, position)
            position += _HEAD.size
            if width not in WIDTHS or size % width or not 0 < size <= min(BLOCK, len(target) - filled):
                raise _damaged()
            lengths = struct.unpack_from(f"<{width}I", data, position)
            position += 4 * width
            end = position + sum(lengths)
            if end > len(data):
                raise _damaged()
            _decode_block(data[position:end], lengths, target[filled : filled + size])
            position, filled = end, filled + size
    except struct.error as error:
        raise _damaged() from error
    if filled != len(target):
        raise _damaged()


def _decode_block(data: memoryview, lengths: tuple[int, ...], target: memoryview) -> None:
    import numpy as np

    numbers = np.frombuffer(target, np.uint8).reshape(-1, len(lengths))
    position = 0
    for plane, length in enumerate(lengths):
        packed = data[position : position + length]
        numbers[:, plane] = np.frombuffer(_unpacked(packed, len(numbers)), np.uint8)
        position += length


def _unpacked(packed: memoryview, size: int) -> Any:
    """One plane of ``size`` bytes. What a frame promises is looked at before there is memory for it."""
    import zstandard

    if len(packed) == size:
        return packed
    try:
        promised = zstandard.frame_content_size(packed)
        found = zstandard.ZstdDecompressor().decompress(packed) if promised == size else b""
    except zstandard.ZstdError as error:
        raise _damaged() from error
    if len(found) != size:
        raise _damaged()
    return found


def _damaged() -> CorruptDataError:
    return CorruptDataError("byte planes are damaged, or something else")
