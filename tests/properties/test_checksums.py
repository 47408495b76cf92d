"""CRC32C: any division of any data gives the same checksum, and every written form is read back."""

from __future__ import annotations

from functools import reduce

from hypothesis import example, given
from hypothesis import strategies as st

from s3dlio.memory.crc32c import combine, crc32c, from_base64, to_base64
from tests.witnesses import crc32c_by_definition

CHECKSUMS = st.integers(0, 2**32 - 1)
PARTS = st.lists(st.binary(max_size=200), max_size=8)


@given(st.binary(max_size=300))
def test_it_is_the_checksum_by_definition(data: bytes) -> None:
    assert crc32c(data) == crc32c_by_definition(data)


@given(PARTS)
def test_parts_continued_and_combined(parts: list[bytes]) -> None:
    whole = crc32c(b"".join(parts))
    assert reduce(lambda crc, part: crc32c(part, crc), parts, 0) == whole
    assert reduce(lambda crc, part: combine(crc, crc32c(part), len(part)), parts, 0) == whole


@given(st.binary(max_size=50), st.integers(0, 300_000))
@example(b"x", 32 << 10)
@example(b"x", (32 << 10) + 1)
def test_combine_with_long_parts_and_both_ways_to_compute(head: bytes, length: int) -> None:
    tail = memoryview(bytes(range(251)) * (length // 251 + 1))[:length]
    assert combine(crc32c(head), crc32c(tail), length) == crc32c(head + bytes(tail)) == crc32c(tail, crc32c(head))


@given(CHECKSUMS, CHECKSUMS, CHECKSUMS, st.integers(0, 1 << 50), st.integers(0, 1 << 50))
def test_combining_is_associative(a: int, b: int, c: int, len_b: int, len_c: int) -> None:
    assert combine(combine(a, b, len_b), c, len_c) == combine(a, combine(b, c, len_c), len_b + len_c)


@given(CHECKSUMS)
def test_written_forms_are_read_back(crc: int) -> None:
    assert from_base64(to_base64(crc)) == crc
