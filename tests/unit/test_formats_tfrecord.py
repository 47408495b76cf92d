"""TFRecord files and DALI indexes: built, scanned, damaged."""

from __future__ import annotations

import itertools
import struct
import tracemalloc
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from s3dlio import formats
from s3dlio.errors import ConfigError, CorruptDataError
from tests.witnesses import crc32c_by_definition

RECORDS = [b"a" * 10, b"b" * 100, b""]
ENTRIES = [(0, 26), (26, 116), (142, 16)]
INDEX = "0 26\n26 116\n142 16\n"


def slow_record(data: bytes) -> bytes:
    def masked(part: bytes) -> bytes:
        crc = crc32c_by_definition(part)
        return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) % (1 << 32))

    length = struct.pack("<Q", len(data))
    return length + masked(length) + data + masked(data)


def scans(verify: bool) -> list[Callable[[bytes | bytearray], list[tuple[int, int]]]]:
    """What finds the records: in memory, and in pieces."""
    return [
        lambda data: formats.get_tfrecord_index_entries(data, verify=verify),
        lambda data: list(formats.scan_tfrecord([data[:5], data[5:]], verify=verify)),
        lambda data: list(formats.scan_tfrecord([data[i : i + 1] for i in range(len(data))], verify=verify)),
    ]


@pytest.fixture
def file() -> bytes:
    return bytes(formats.build_tfrecord(RECORDS))


def test_records_are_framed_and_summed_as_the_format_says(file: bytes) -> None:
    assert file == b"".join(slow_record(record) for record in RECORDS)
    generated = bytes(formats.ObjectSource("TFRECORD", 700, elements=2, seed=1).get())
    data = bytes(formats.ObjectSource("RAW", 1400, seed=1).get())
    assert generated == slow_record(data[:700]) + slow_record(data[700:])


def test_a_known_record() -> None:
    """CRC32C of nothing is 0, so its mask is the constant; of b'123456789' it is e3069283 (RFC 3720)."""
    assert bytes(formats.build_tfrecord([b""]))[-4:] == struct.pack("<I", 0xA282EAD8)
    assert bytes(formats.build_tfrecord([b"123456789"]))[-4:] == struct.pack("<I", 0xC78AB0E5)


@pytest.mark.parametrize("wrap", [bytes, bytearray, memoryview, lambda data: formats.build_tfrecord(RECORDS)])
def test_index_of_any_bytes_like(file: bytes, wrap: Any) -> None:
    assert formats.index_tfrecord_bytes(wrap(file)) == INDEX
    assert formats.get_tfrecord_index_entries(wrap(file)) == ENTRIES
    assert [bytes(record) for record in formats.iter_tfrecords(wrap(file))] == RECORDS


@pytest.mark.parametrize("step", [1, 5, 12, 13, 26, 27, 100, 1000])
def test_a_file_may_arrive_in_pieces_of_any_size(file: bytes, step: int) -> None:
    pieces = [file[start : start + step] for start in range(0, len(file), step)]
    assert list(formats.scan_tfrecord(pieces)) == ENTRIES


def test_empty_files_have_an_empty_index() -> None:
    assert formats.index_tfrecord_bytes(b"") == ""
    assert list(formats.scan_tfrecord([])) == list(formats.scan_tfrecord([b""])) == []
    assert formats.parse_index("") == []


def test_build_with_index() -> None:
    raw = bytes(range(200))
    built = formats.build_tfrecord_with_index(4, 50, raw)
    records = [bytes(record) for record in formats.iter_tfrecords(built.data)]
    assert records == [raw[i : i + 50] for i in range(0, 200, 50)]
    assert built.index.decode() == formats.index_tfrecord_bytes(built.data)
    assert len(formats.build_tfrecord_with_index(0, 50, b"").data) == 0
    with pytest.raises(ConfigError, match="raw has 200 bytes, but 3 records of 50 bytes are 150"):
        formats.build_tfrecord_with_index(3, 50, raw)
    with pytest.raises(ConfigError, match="record_size"):
        formats.build_tfrecord_with_index(3, -50, raw)


@pytest.mark.parametrize(
    ("cut", "message"),
    [
        (-1, "Truncated TFRecord at offset 142: expected 16 bytes, only 15 remaining"),
        (143, "Truncated TFRecord at offset 142: expected 12 bytes, only 1 remaining"),
        (100, "Truncated TFRecord at offset 26: expected 116 bytes, only 74 remaining"),
    ],
)
@pytest.mark.parametrize("verify", [False, True])
def test_truncation_is_found_with_its_offset(file: bytes, cut: int, message: str, verify: bool) -> None:
    for scan in scans(verify):
        with pytest.raises(CorruptDataError, match=message):
            scan(file[:cut])


@pytest.mark.parametrize(
    ("position", "message"),
    [
        (0, "offset 0: the checksum of the length"),
        (9, "offset 0: the checksum of the length"),
        (26 + 12 + 50, "offset 26: the checksum of its 100 bytes is 0x[0-9a-f]{8}, the file says 0x"),
        (141, "offset 26: the checksum of its 100 bytes"),
    ],
)
def test_a_flipped_bit_is_found_with_its_offset(file: bytes, position: int, message: str) -> None:
    damaged = bytearray(file)
    damaged[position] ^= 4
    for scan in (*scans(True), lambda data: list(formats.iter_tfrecords(data))):
        with pytest.raises(CorruptDataError, match=message):
            scan(damaged)


def test_an_index_looks_at_frames_only_and_reading_verifies_unless_told() -> None:
    dummies = b"".join(struct.pack("<QI", len(record), 0) + record + bytes(4) for record in RECORDS)
    assert formats.index_tfrecord_bytes(dummies) == INDEX
    for scan in scans(False):
        assert scan(dummies) == ENTRIES
    assert [bytes(record) for record in formats.iter_tfrecords(dummies, verify=False)] == RECORDS
    with pytest.raises(CorruptDataError, match="offset 0"):
        next(formats.iter_tfrecords(dummies))


def test_an_index_of_a_long_record_keeps_none_of_it(file: bytes) -> None:
    size = 1 << 30
    pieces = itertools.chain([struct.pack("<QI", size, 0)], itertools.repeat(bytes(1 << 20), 1 << 10), [bytes(4)])
    tracemalloc.start()
    try:
        assert list(formats.scan_tfrecord(pieces)) == [(0, size + 16)]
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


def test_a_binary_index(file: bytes) -> None:
    raw = bytes(range(100))
    built = formats.build_tfrecord_with_index(2, 50, raw, index_format="binary")
    assert built.index == struct.pack("<4Q", 0, 66, 66, 66)
    assert formats.parse_index(built.index) == formats.get_tfrecord_index_entries(built.data)
    stored: dict[str, bytes] = {"a": file}
    formats.create_tfrecord_index("a", read=lambda uri: [stored[uri]], write=stored.__setitem__, index_format="binary")
    assert formats.read_tfrecord_index("a.idx", read=lambda uri: [stored[uri]]) == ENTRIES
    with pytest.raises(CorruptDataError, match="47 bytes, not 16 for each"):
        formats.parse_index(stored["a.idx"][:-1])
    with pytest.raises(ConfigError, match="index format 'x': use one of text, binary"):
        formats.build_tfrecord_with_index(2, 50, raw, index_format="x")


def test_an_index_is_written_and_read_through_any_storage(file: bytes) -> None:
    stored: dict[str, bytes] = {"s3://b/train": file}

    def read(uri: str) -> Iterable[bytes]:
        return [stored[uri][:50], stored[uri][50:]]

    assert formats.create_tfrecord_index("s3://b/train", read=read, write=stored.__setitem__) == 3
    assert stored["s3://b/train.idx"] == INDEX.encode()
    assert formats.create_tfrecord_index("s3://b/train", "x", read=read, write=stored.__setitem__) == 3
    assert formats.read_tfrecord_index("x", read=read) == ENTRIES
    stored["s3://b/train"] = file[:-1]
    with pytest.raises(CorruptDataError):
        formats.create_tfrecord_index("s3://b/train", "y", read=read, write=stored.__setitem__)
    assert "y" not in stored


@pytest.mark.parametrize("text", ["0 26\n26", "0 26\nx 1", "0 26\n-1 5", "0 26\n1 2 3", b"0 26\n\xff\xfe 1"])
def test_a_damaged_index_is_found_with_its_line(text: str | bytes) -> None:
    with pytest.raises(CorruptDataError, match="line 2 of the TFRecord index"):
        formats.parse_index(text)


def test_index_text_of_other_writers() -> None:
    assert formats.parse_index(b"0\t26\r\n26 116\r\n\r\n") == ENTRIES[:2]
