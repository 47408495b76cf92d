"""Whatever pieces a stream is written in, and however they are handed on, it is stored and counted as one."""

from __future__ import annotations

import numpy as np
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

import s3dlio
from s3dlio.memory.crc32c import crc32c

_BYTES = np.random.default_rng(0).integers(0, 60, 3 << 20, "u1")
SIZES = st.one_of(
    st.integers(0, 300), st.integers(0, 200_000), st.sampled_from([4096, (64 << 10) - 1, 64 << 10, 1 << 20, 3 << 20])
)
KINDS = st.sampled_from(["bytes", "bytearray", "array", "owned", "owned copy", "flush"])


@settings(max_examples=40)
@given(
    pieces=st.lists(st.tuples(KINDS, SIZES), max_size=12),
    buffer_size=st.sampled_from([1, 5000, 64 << 10, 1 << 20, 8 << 20]),
    level=st.sampled_from([None, 1]),
)
def test_pieces(pieces: list[tuple[str, int]], buffer_size: int, level: int | None) -> None:
    options = s3dlio.WriterOptions(buffer_size=buffer_size).with_compression(level and "zstd", level)
    written = bytearray()
    with s3dlio.create_stream_writer("memory://pieces/k", options) as writer:
        for kind, size in pieces:
            piece = _BYTES[:size].tobytes()
            if kind == "flush":
                writer.flush()
                continue
            written += piece
            if kind.startswith("owned"):
                writer.write_owned_bytes(bytearray(piece), copy=kind == "owned copy")
            elif kind == "array":
                buffer = np.frombuffer(piece, "u1").copy()
                assert writer.write(buffer) == size
                buffer[:] = 255
            else:
                assert writer.write(piece if kind == "bytes" else bytearray(piece)) == size
            assert writer.bytes_written() == len(written)
            assert writer.checksum() == f"crc32c:{crc32c(written):08x}"
    stored = bytes(s3dlio.get(writer.uri))
    assert writer.stats() == (len(written), len(stored))
    if level is not None:
        stored = zstandard.ZstdDecompressor().decompressobj().decompress(stored)
    assert stored == written
