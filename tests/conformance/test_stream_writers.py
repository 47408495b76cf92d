"""Streaming writers, as people use them, on every store."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
import zstandard

from s3dlio import errors
from s3dlio.memory.crc32c import crc32c
from s3dlio.stores.base import ObjectStore
from s3dlio.streams.writer import ObjectWriter, open_writer
from s3dlio.streams.writer_options import WriterOptions
from tests.conformance.stores import Case

MIB = 1 << 20


def some_bytes(size: int) -> bytes:
    """As many, which zstd makes half as long."""
    return random.Random(size).randbytes(size // 2) + bytes(size - size // 2)


def unpacked(data: Any) -> bytes:
    unpacker = zstandard.ZstdDecompressor().decompressobj()
    content = unpacker.decompress(bytes(data))
    assert unpacker.eof, "one whole frame"
    assert not unpacker.unused_data, "of which nothing follows"
    return content


def opened(case: Case, name: str = "object", **options: Any) -> ObjectWriter:
    return open_writer(case.store, case.key(name), WriterOptions(**options))


@pytest.mark.parametrize("level", [None, 1])
@pytest.mark.per_encoder("size", [0, 1, 70_000, MIB, 6 * MIB + 5, 11 * MIB], [0, 70_000, 6 * MIB + 5])
def test_what_is_written_piece_by_piece_is_stored_and_counted(
    case: Case, store: ObjectStore, size: int, level: int | None
) -> None:
    data = some_bytes(size)
    writer = opened(case, compression=level and "zstd", compression_level=level, part_size=5 * MIB)
    for start in range(0, size, 300_000):
        piece = bytearray(data[start : start + 300_000])
        if start % 900_000:
            assert writer.write(piece) == len(piece)
            piece[:] = bytes(len(piece))  # the memory is ours again
        else:
            writer.write_owned_bytes(piece)
        if start == 600_000:
            writer.flush()
    assert writer.bytes_written() == size
    stats = writer.finalize()

    key = case.key("object.zst" if level else "object")
    stored = store.get(key)
    assert (unpacked(stored) if level else stored) == data
    assert stats == (size, len(stored))
    assert (writer.bytes_written(), writer.compressed_bytes()) == stats
    assert writer.checksum() == stats.checksum == f"crc32c:{crc32c(data):08x}"
    assert stats.uri == writer.uri == store.uri(key)
    assert stats.etag == store.head(key).etag
    assert case.names() == [key.removeprefix(case.base)]


def write_and_fail(writer: ObjectWriter) -> None:
    with writer:
        writer.write(some_bytes(12 * MIB))
        raise KeyError("mine")


def test_a_writer_that_fails_in_its_block_leaves_nothing_and_keeps_the_error(case: Case, store: ObjectStore) -> None:
    store.put(case.key("object"), b"old")
    for options in ({}, {"compression": "zstd"}):
        writer = opened(case, **options, part_size=5 * MIB)
        with pytest.raises(KeyError, match="mine"):
            write_and_fail(writer)
        assert writer.closed
        with pytest.raises(errors.S3dlioError, match="aborted"):
            writer.write(b"more")
        with pytest.raises(errors.S3dlioError, match="aborted"):
            writer.finalize()
    assert case.names() == ["object"]
    assert store.get(case.key("object")) == b"old"


def test_the_end_of_the_block_finalizes_once(case: Case, store: ObjectStore) -> None:
    with opened(case) as writer:
        writer.write_chunk(np.arange(10, dtype="<u2")[::2])
        writer.flush()
    assert store.get(case.key("object")) == bytes([0, 0, 2, 0, 4, 0, 6, 0, 8, 0])
    with pytest.raises(errors.S3dlioError, match="already finalized"):
        writer.finalize()
    with pytest.raises(errors.S3dlioError, match="has been finalized"):
        writer.write(b"more")
    writer.abort()
    writer.close()
    with opened(case) as writer:
        writer.write(b"again")
        writer.finalize()
    assert store.get(case.key("object")) == b"again"
