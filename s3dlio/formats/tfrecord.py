"""TFRecord files and their index: built, scanned, verified.

A record is its length (u64, little-endian), the masked CRC32C of those 8 bytes (u32), the data, and the data's masked
CRC32C (u32); a file is records one after another (tensorflow/core/lib/io/record_writer.h). The index is the text that
NVIDIA DALI reads: a line `offset size` for each record, where the size includes the 16 bytes of framing. Its older,
binary form has the same two numbers as u64, little-endian: 16 bytes a record.

Whoever looks for records looks at their frames only, as DALI's tool does, and there are files with dummies in the
place of checksums; whoever reads records has them verified.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass

from s3dlio.datagen.checks import one_of, whole_number
from s3dlio.errors import ConfigError, CorruptDataError
from s3dlio.memory import BytesView, default_pool
from s3dlio.memory.buffers import byte_view
from s3dlio.memory.crc32c import crc32c
from s3dlio.types import Payload

FRAMING = 16
_HEAD = 12
_LENGTH = 8
_HEADER = struct.Struct("<QI")
_CHECKSUM = struct.Struct("<I")
_ENTRY = struct.Struct("<QQ")
INDEX_FORMATS = ("text", "binary")

Entry = tuple[int, int]
"""(offset, size with framing) of a record, in bytes."""
ReadChunks = Callable[[str], Iterable[Payload]]
"""What reads an object: a path or URI in, its bytes out, in pieces and in order."""
WriteObject = Callable[[str, bytes], object]
"""What writes an object: a path or URI and its bytes."""


@dataclass(frozen=True, slots=True)
class TFRecordWithIndex:
    """A TFRecord file and its index."""

    data: BytesView
    index: bytes


def masked_crc(crc: int) -> int:
    """The form in which TFRecord stores a CRC32C: rotated right by 15 bits, plus a constant."""
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def record_header(length: int) -> bytes:
    """The 12 bytes before the data of a record."""
    packed = length.to_bytes(8, "little")
    return packed + _CHECKSUM.pack(masked_crc(crc32c(packed)))


def record_footer(crc: int) -> bytes:
    """The 4 bytes after the data of a record whose CRC32C is `crc`."""
    return _CHECKSUM.pack(masked_crc(crc))


def build_tfrecord(records: Iterable[Payload]) -> BytesView:
    """A TFRecord file of the given records (bytes-like, each with any length)."""
    views = [byte_view(record) for record in records]
    buffer = default_pool().lease(sum(len(view) + FRAMING for view in views))
    at = 0
    for view in views:
        end = at + _HEAD + len(view)
        buffer[at : at + _HEAD] = record_header(len(view))
        buffer[at + _HEAD : end] = view
        buffer[end : end + 4] = record_footer(crc32c(view))
        at = end + 4
    return BytesView(buffer)


def build_tfrecord_with_index(
    num_records: int, record_size: int, raw: Payload, *, index_format: str = "text"
) -> TFRecordWithIndex:
    """A TFRecord file of equal records cut from `raw`, and its index.

    Args:
        num_records: how many records.
        record_size: bytes of data in each.
        raw: their data, `num_records * record_size` bytes.
        index_format: `text` (lines, as DALI reads them) or `binary` (16 bytes a record).

    Raises:
        ConfigError: `raw` has another length, a number is negative, or the format is unknown.
    """
    count, size = whole_number("num_records", num_records), whole_number("record_size", record_size)
    view = byte_view(raw)
    if len(view) != count * size:
        raise ConfigError(f"raw has {len(view)} bytes, but {count} records of {size} bytes are {count * size}")
    data = build_tfrecord(view[i * size : (i + 1) * size] for i in range(count))
    stride = size + FRAMING
    return TFRecordWithIndex(data, index_bytes([(i * stride, stride) for i in range(count)], index_format))


def scan_tfrecord(chunks: Iterable[Payload], *, verify: bool = False) -> Iterator[Entry]:
    """Find the records of a TFRecord file that arrives in pieces of any sizes.

    Memory: one piece; with `verify` one record where a record is longer than that.

    Args:
        chunks: the bytes of the file, in order.
        verify: check length and data of every record against their checksums.

    Yields:
        (offset, size) of each record, in order.

    Raises:
        CorruptDataError: the file ends inside a record, or a checksum is wrong; the message has the offset.
    """
    return _verified(chunks) if verify else _frames(chunks)


def _frames(chunks: Iterable[Payload]) -> Iterator[Entry]:
    """The records by their lengths alone; what lies between is not kept."""
    at = seen = 0  # where a record begins; how many bytes have come
    head, entry = b"", None  # of the record at `at`: as much of its length as has come; of the one before: all
    for chunk in chunks:
        view = byte_view(chunk)
        end = seen + len(view)
        while at <= end:
            if entry is not None:
                yield entry
                entry = None
            start = at + len(head) - seen
            head += view[start : start + _LENGTH - len(head)]
            if len(head) < _LENGTH:
                break
            entry = at, int.from_bytes(head, "little") + FRAMING
            at, head = sum(entry), b""
        seen = end
    if entry is not None or head:
        first, size = entry or (at, _HEAD)
        raise truncated_record(first, size, seen - first)


def _verified(chunks: Iterable[Payload]) -> Iterator[Entry]:
    """The records, each with its checksums."""
    pending, base = bytearray(), 0
    for chunk in chunks:
        pending += byte_view(chunk)
        with memoryview(pending) as view:
            used = yield from _whole_records(view, base)
        del pending[:used]
        base += used
    if pending:
        raise truncated_record(base, _expected(pending), len(pending))


def _drain(scan: Generator[Entry, None, int], entries: list[Entry]) -> int:
    """Run `scan` to its end; append what it yields to `entries` and return what it returns."""
    while True:
        try:
            entries.append(next(scan))
        except StopIteration as stop:
            used: int = stop.value
            return used


def _whole_records(view: memoryview, base: int) -> Generator[Entry, None, int]:
    """Yield the records that lie wholly within `view`, which starts at `base`; return where the next one starts."""
    at, end = 0, len(view)
    while end - at >= _HEAD:
        length = _checked_length(bytes(view[at : at + _HEAD]))
        if length is None:
            raise CorruptDataError(f"corrupt TFRecord at offset {base + at}: the checksum of the length is wrong")
        stop = at + length + FRAMING
        if stop > end:
            break
        expected = _CHECKSUM.unpack_from(view, stop - 4)[0]
        actual = masked_crc(crc32c(view[at + _HEAD : stop - 4]))
        if expected != actual:
            raise CorruptDataError(
                f"corrupt TFRecord at offset {base + at}: the checksum of its {length} bytes is {actual:#010x}, "
                f"the file says {expected:#010x}"
            )
        yield base + at, length + FRAMING
        at = stop
    return at


@functools.lru_cache(4096)  # most records of a file have one of a few lengths: 0.1 us instead of 1.2
def _checked_length(header: bytes) -> int | None:
    """The length that a record's header tells, or None where its checksum is wrong."""
    length: int
    length, stored = _HEADER.unpack(header)
    return length if stored == masked_crc(crc32c(header[:8])) else None


def _expected(rest: memoryview | bytearray) -> int:
    """How many bytes the record has of which only `rest` is there."""
    return _HEAD if len(rest) < _HEAD else int.from_bytes(rest[:_LENGTH], "little") + FRAMING


def truncated_record(offset: int, expected: int, remaining: int) -> CorruptDataError:
    """The error of a file that ends within the record at ``offset``."""
    return CorruptDataError(
        f"Truncated TFRecord at offset {offset}: expected {expected} bytes, only {remaining} remaining"
    )


def record_data(record: Payload, *, verify: bool = True) -> memoryview:
    """The data of one record, as a view without a copy.

    Args:
        record: the bytes of the record, with its framing.
        verify: check its length and its data against their checksums.

    Raises:
        CorruptDataError: it is not one record, whole.
    """
    view = byte_view(record)
    length = len(view) - FRAMING
    if length < 0 or int.from_bytes(view[:_LENGTH], "little") != length:
        raise CorruptDataError(f"a TFRecord of {max(length, 0)} bytes should be here, and is not")
    if verify and _drain(_whole_records(view, 0), []) != len(view):
        raise truncated_record(0, _expected(view), len(view))
    return view[_HEAD:-4]


def iter_tfrecords(data: Payload, *, verify: bool = True) -> Iterator[memoryview]:
    """The data of every record of a TFRecord file in memory, as views without a copy, each verified first; errors as of
    `scan_tfrecord`."""
    view = byte_view(data)
    for offset, size in get_tfrecord_index_entries(view, verify=verify):
        yield view[offset + _HEAD : offset + size - 4]


def index_bytes(entries: Iterable[Entry], index_format: str = "text") -> bytes:
    """The index of `entries`: `text`, as DALI reads it, or `binary`, 16 bytes a record.

    Raises:
        ConfigError: another format.
    """
    if one_of("index format", index_format, INDEX_FORMATS) == "text":
        return format_index(entries).encode()
    return b"".join([_ENTRY.pack(offset, size) for offset, size in entries])


def format_index(entries: Iterable[Entry]) -> str:
    """The DALI index text of `entries`."""
    return "".join([f"{offset} {size}\n" for offset, size in entries])


def parse_index(text: str | Payload) -> list[Entry]:
    """The entries of an index, text or binary: only a binary one has bytes that are zero.

    Raises:
        CorruptDataError: a line is not two non-negative integers, the message has its number; or a binary index ends
            within an entry.
    """
    if not isinstance(text, str):
        data = bytes(byte_view(text))
        if b"\0" in data:
            return _binary_entries(data)
        text = data.decode("utf-8", "replace")
    entries = []
    for number, line in enumerate(text.splitlines(), 1):
        fields = line.split()
        if not fields:
            continue
        if len(fields) != 2 or not all(field.isascii() and field.isdigit() for field in fields):
            raise CorruptDataError(f"line {number} of the TFRecord index is not 'offset size': {line[:80]!r}")
        entries.append((int(fields[0]), int(fields[1])))
    return entries


def _binary_entries(data: bytes) -> list[Entry]:
    if len(data) % _ENTRY.size:
        raise CorruptDataError(f"the binary TFRecord index has {len(data)} bytes, not {_ENTRY.size} for each record")
    return [(offset, size) for offset, size in _ENTRY.iter_unpack(data)]


def index_tfrecord_bytes(tfrecord_bytes: Payload) -> str:
    """The DALI index text of a TFRecord file in memory.

    Raises:
        CorruptDataError: the file ends inside a record; the message has the offset.
    """
    return format_index(get_tfrecord_index_entries(tfrecord_bytes))


def get_tfrecord_index_entries(tfrecord_bytes: Payload, *, verify: bool = False) -> list[Entry]:
    """(offset, size with framing) of every record of a TFRecord file in memory; as `scan_tfrecord`, without a copy."""
    view = byte_view(tfrecord_bytes)
    if not verify:
        return list(_frames([view]))
    entries: list[Entry] = []
    used = _drain(_whole_records(view, 0), entries)
    if used < len(view):
        raise truncated_record(used, _expected(view[used:]), len(view) - used)
    return entries


def create_tfrecord_index(
    tfrecord_path: str,
    index_path: str | None = None,
    *,
    read: ReadChunks,
    write: WriteObject,
    verify: bool = False,
    index_format: str = "text",
) -> int:
    """Write the index of a TFRecord file, wherever `read` and `write` reach.

    Args:
        tfrecord_path: the file, as `read` takes it.
        index_path: the index, as `write` takes it; default: the file's name with `.idx` appended.
        read: yields the file's bytes in pieces.
        write: stores the index.
        verify: as of `scan_tfrecord`.
        index_format: as of `build_tfrecord_with_index`.

    Returns:
        How many records there are.

    Raises:
        CorruptDataError: the file is damaged; no index is written.
    """
    entries = list(scan_tfrecord(read(tfrecord_path), verify=verify))
    write(f"{tfrecord_path}.idx" if index_path is None else index_path, index_bytes(entries, index_format))
    return len(entries)


def read_tfrecord_index(index_path: str, *, read: ReadChunks) -> list[Entry]:
    """The entries of the index, text or binary, at `index_path`, which `read` yields in pieces.

    Raises:
        CorruptDataError: as of `parse_index`.
    """
    return parse_index(b"".join(bytes(byte_view(chunk)) for chunk in read(index_path)))
