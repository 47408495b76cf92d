"""What each type of object is made of: fixed bytes, and spans that are filled with data.

A frame is a generator. It yields `bytes` that stand as they are, and `Span`s; after a span it is sent the checksum of
the span's bytes, so that formats which store one can write it next. Frames do no filling and know no buffers: the same
frame makes a whole object in memory, an upload in parts, or a size.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Generator
from dataclasses import dataclass

from s3dlio.formats.npz import npy_header
from s3dlio.formats.stored_zip import StoredZip
from s3dlio.formats.tfrecord import record_footer, record_header
from s3dlio.memory.crc32c import crc32c

Checksum = Callable[[memoryview, int], int]
"""Continues a checksum: (bytes, checksum so far) -> checksum."""


@dataclass(frozen=True, slots=True)
class Span:
    """`length` bytes of data. Their checksum, continued from `start`, is sent back where there is a `checksum`."""

    length: int
    checksum: Checksum | None = None
    start: int = 0


Frame = Generator[bytes | Span, int | None, None]


def raw_frame(size: int) -> Frame:
    """Nothing but data."""
    yield Span(size)


def npy_frame(shape: tuple[int, ...]) -> Frame:
    """A uint8 array as NPY."""
    yield npy_header(shape)
    yield Span(math.prod(shape))


def npz_frame(shape: tuple[int, ...]) -> Frame:
    """A uint8 array named `data` as NPZ; its checksum stands after the data, as ZIP allows for streams."""
    header, size = npy_header(shape), math.prod(shape)
    plan = StoredZip([("data.npy", len(header) + size)], streamed=True)
    yield plan.local_header(0) + header
    crc = (yield Span(size, zlib.crc32, zlib.crc32(header))) or 0
    yield plan.descriptor(0, crc) + plan.tail([crc])


def tfrecord_frame(count: int, size: int) -> Frame:
    """`count` TFRecords of `size` bytes."""
    header = record_header(size)
    for _ in range(count):
        yield header
        crc = (yield Span(size, crc32c)) or 0
        yield record_footer(crc)


def wrapped_frame(before: bytes, size: int, after: bytes) -> Frame:
    """Data between fixed bytes (HDF5)."""
    yield before
    yield Span(size)
    yield after


def frame_size(frame: Frame) -> int:
    """The bytes of the object that `frame` describes."""
    total = 0
    try:
        part = next(frame)
        while True:
            total += part.length if isinstance(part, Span) else len(part)
            part = frame.send(0)
    except StopIteration:
        return total
