"""Round trips, and damage anywhere: formats answer with data or with CorruptDataError, never with anything else."""

from __future__ import annotations

import contextlib
import io
from itertools import cycle, pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from s3dlio import formats
from s3dlio.errors import CorruptDataError
from s3dlio.memory.crc32c import crc32c

records = st.lists(st.binary(max_size=200), max_size=12)
arrays = hnp.arrays(
    st.one_of(hnp.integer_dtypes(), hnp.floating_dtypes(), hnp.boolean_dtypes(), hnp.unicode_string_dtypes()),
    hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=5),
)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:end] for start, end in pairwise(edges)]


@given(records, st.lists(st.integers(0, 10_000), max_size=5))
def test_tfrecords_round_trip_however_they_arrive(data: list[bytes], places: list[int]) -> None:
    file = bytes(formats.build_tfrecord(data))
    assert [bytes(record) for record in formats.iter_tfrecords(file)] == data
    entries = formats.get_tfrecord_index_entries(file)
    assert list(formats.scan_tfrecord(cut(file, places))) == entries
    assert formats.parse_index(formats.index_tfrecord_bytes(file)) == entries
    assert sum(size for _, size in entries) == len(file)


@given(records.filter(any), st.integers(0, 10_000), st.integers(1, 255), st.booleans())
def test_no_damage_of_a_tfrecord_goes_unnoticed(data: list[bytes], place: int, flip: int, truncate: bool) -> None:
    file = bytearray(formats.build_tfrecord(data))
    place %= len(file)
    whole_records = {0} | {offset + size for offset, size in formats.get_tfrecord_index_entries(file)}
    if truncate:
        del file[place:]
        if place in whole_records:  # shorter, but a file of its own right
            return
    else:
        file[place] ^= flip
    with pytest.raises(CorruptDataError):
        formats.get_tfrecord_index_entries(file, verify=True)


@settings(deadline=None)
@given(st.dictionaries(st.text("abcä_", min_size=1, max_size=5), arrays, max_size=3))
def test_npz_round_trips_both_ways(named: dict[str, npt.NDArray[Any]]) -> None:
    ours = formats.build_multi_npz(named.items())
    theirs = io.BytesIO()
    np.savez(theirs, **named)  # type: ignore[arg-type]
    loaded = np.load(io.BytesIO(ours))
    for name, array in named.items():
        np.testing.assert_array_equal(loaded[name], array)
        np.testing.assert_array_equal(formats.read_npz_bytes(theirs.getvalue(), name), array)


@settings(deadline=None)
@given(arrays, st.booleans(), st.integers(0, 10_000), st.integers(1, 255), st.booleans())
def test_a_damaged_npz_is_read_rightly_or_told(
    array: npt.NDArray[Any],
    deflate: bool,
    place: int,
    flip: int,
    truncate: bool,
) -> None:
    out = io.BytesIO()
    (np.savez_compressed if deflate else np.savez)(out, data=array)
    file = bytearray(out.getvalue())
    place %= len(file)
    if truncate:
        del file[place:]
    else:
        file[place] ^= flip
    with contextlib.suppress(CorruptDataError):  # where the damaged byte is one that does not matter
        np.testing.assert_array_equal(formats.read_npz_bytes(file), array)


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(["RAW", "ZEROS", "NPY", "NPZ", "TFRECORD"]),
    st.integers(0, 3000),
    st.integers(0, 5),
    st.integers(0, (1 << 36) - 1),
    st.lists(st.integers(1, 2000), min_size=1, max_size=6),
)
def test_a_stream_gives_the_object_whatever_the_buffers(
    kind: str, size: int, elements: int, index: int, buffers: list[int]
) -> None:
    source = formats.ObjectSource(kind, size, elements=elements, seed=2, algorithm="prand")
    stream, out = source.open(index, checksum=True), bytearray()
    for length in cycle(buffers):
        buffer = bytearray(length)
        written = stream.readinto(buffer)
        out += buffer[:written]
        if not written:
            break
    assert out == bytes(source.get(index))
    assert stream.crc32c == crc32c(out)
