"""What a store reads is what was written: whole, in ranges, into any sink."""

from __future__ import annotations

import os
import pickle
import random
from pathlib import Path

import pytest

from s3dlio import errors
from s3dlio.memory.sinks import DiscardSink, FileSink, MemorySink
from s3dlio.stores.base import ObjectStore
from s3dlio.types import Conditions
from tests.conformance.stores import Case
from tests.sinks import WriterSink

SIZES = [0, 1, 511, 512, 513, 4095, 4097, 32 * 1024 - 1, 32 * 1024, (1 << 20) + 3, 20 << 20]
MIB = 1 << 20


def data_of(size: int) -> bytes:
    return random.Random(size).randbytes(size)


@pytest.mark.parametrize("size", SIZES)
def test_round_trip(case: Case, store: ObjectStore, size: int) -> None:
    key, data = case.key("object"), data_of(size)
    result = store.put(key, data)
    assert result.size == size
    assert store.get(key) == data
    assert store.head(key).size == size


@pytest.mark.parametrize("size", [0, 1, 5000, MIB + 3])
def test_ranges_are_slices(case: Case, store: ObjectStore, size: int) -> None:
    key, data = case.key("object"), data_of(size)
    store.put(key, data)
    edges = {0, 1, 511, 512, 4096, size // 2, max(0, size - 1), size, size + 1, size + 5000}
    for offset in sorted(edges):
        for length in (None, 0, 1, 513, 40_000, size, size + 10):
            end = None if length is None else offset + length
            assert store.get_range(key, offset, length) == data[offset:end], (offset, length)


@pytest.mark.parametrize("size", [0, 1, 5000, MIB + 3])
def test_tails_are_slices(case: Case, store: ObjectStore, size: int) -> None:
    key, data = case.key("object"), data_of(size)
    store.put(key, data)
    for length in (0, 1, 513, 40_000, max(0, size - 1), size, size + 10):
        sink = MemorySink()
        about = store.execute(store.tail_call(key, sink, length))
        assert sink.view() == data[max(0, size - length) :], length
        assert about.size == size
    with pytest.raises(errors.ObjectNotFoundError):
        store.execute(store.tail_call(case.key("nothing"), MemorySink(), 5))
    with pytest.raises(errors.RangeNotSatisfiableError):
        store.tail_call(key, MemorySink(), -1)


@pytest.mark.parametrize(("offset", "length"), [(-1, None), (0, -1), (1 << 63, None), (0, 1 << 70)])
def test_absurd_ranges_are_refused(case: Case, store: ObjectStore, offset: int, length: int | None) -> None:
    key = case.key("object")
    store.put(key, b"123")
    with pytest.raises(errors.RangeNotSatisfiableError) as caught:
        store.get_range(key, offset, length)
    assert caught.value.uri == store.uri(key)


def test_ranges_are_numbers(case: Case, store: ObjectStore) -> None:
    with pytest.raises(TypeError):
        store.get_range(case.key("object"), "0")  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        store.get_range(case.key("object"), 0, True)


@pytest.mark.parametrize("size", [0, 3, 4096, MIB + 3])
def test_into_a_buffer_of_the_size(case: Case, store: ObjectStore, size: int) -> None:
    key, data = case.key("object"), data_of(size)
    store.put(key, data)
    buffer = bytearray(size)
    assert store.get_into(key, buffer) == size
    assert buffer == data


@pytest.mark.parametrize("size", [10, 100_000])
def test_into_a_buffer_of_another_size(case: Case, store: ObjectStore, size: int) -> None:
    key, data = case.key("object"), data_of(size)
    store.put(key, data)
    for room, exact in ((size - 1, True), (size - 1, False), (size + 1, True)):
        buffer = bytearray(b"\xaa" * room)
        with pytest.raises(errors.LengthMismatchError) as caught:
            store.get_into(key, buffer, exact=exact)
        assert buffer == b"\xaa" * room
        assert (caught.value.expected, caught.value.actual) == (room, size)
        assert caught.value.uri == store.uri(key)
    buffer = bytearray(b"\xaa" * (size + 5))
    assert store.get_into(key, buffer, exact=False) == size
    assert buffer == data + b"\xaa" * 5


def test_into_a_read_only_buffer(case: Case, store: ObjectStore) -> None:
    store.put(case.key("object"), b"123")
    with pytest.raises(BufferError):
        store.get_into(case.key("object"), b"...")


@pytest.mark.parametrize("size", [0, 1, 4096, 100_001, 9 * MIB + 5])
def test_into_a_file(case: Case, store: ObjectStore, tmp_path: Path, size: int) -> None:
    key, data = case.key("object"), data_of(size)
    store.put(key, data)
    target = tmp_path / "target"
    fd = os.open(target, os.O_RDWR | os.O_CREAT)
    try:
        sink = FileSink(fd, 3)
        store.execute(store.read_call(key, sink))
        assert sink.size == size
        sink = FileSink(fd, size + 3)
        store.execute(store.read_call(key, sink, offset=size // 3, length=777))
    finally:
        os.close(fd)
    assert target.read_bytes().ljust(3, b"\0") == b"\0" * 3 + data + data[size // 3 :][:777]


@pytest.mark.parametrize("size", [0, 1, 100_001, 9 * MIB + 5])
def test_into_nothing_and_into_a_function(case: Case, store: ObjectStore, size: int) -> None:
    key, data = case.key("object"), data_of(size)
    store.put(key, data)
    nothing = DiscardSink()
    store.execute(store.read_call(key, nothing))
    assert nothing.size == size
    seen = bytearray()
    function = WriterSink(seen.extend)
    store.execute(store.read_call(key, function))
    assert seen == data
    assert function.size == size


def test_a_read_tells_what_it_read(case: Case, store: ObjectStore) -> None:
    case.needs("versions")
    key = case.key("object")
    store.put(key, b"0123456789")
    etag = store.head(key).etag
    for offset, length in ((0, None), (3, 4)):
        about = store.execute(store.read_call(key, DiscardSink(), offset=offset, length=length))
        assert (about.size, about.etag) == (10, etag)


def test_head(case: Case, store: ObjectStore) -> None:
    key = case.key("object")
    result = store.put(key, b"0123456789")
    about = store.head(key)
    assert about.size == 10
    assert about.etag
    assert result.etag == about.etag
    assert about.last_modified is not None
    assert about.last_modified[:2] == "20"
    assert about.last_modified.endswith("Z")
    assert about.as_dict()["size"] == 10


def test_conditions_of_a_read(case: Case, store: ObjectStore) -> None:
    case.needs("conditions")
    key = case.key("object")
    store.put(key, b"0123456789")
    etag = store.head(key).etag
    assert store.get(key, conditions=Conditions(if_match=etag)) == b"0123456789"
    assert store.get(key, conditions=Conditions(if_none_match='"other"')) == b"0123456789"
    for conditions in (Conditions(if_match='"other"'), Conditions(if_none_match=etag)):
        with pytest.raises(errors.PreconditionFailedError) as caught:
            store.get(key, conditions=conditions)
        assert caught.value.uri == store.uri(key)
        with pytest.raises(errors.PreconditionFailedError):
            store.head(key, conditions=conditions)


def test_what_is_missing_is_named(case: Case, store: ObjectStore) -> None:
    key = case.key("missing/object")
    buffer = bytearray(b"\xaa" * 4)
    for operation, act in (
        ("GET", lambda: store.get(key)),
        ("GET_RANGE", lambda: store.get_range(key, 5, 10)),
        ("GET", lambda: store.get_into(key, buffer)),
        ("HEAD", lambda: store.head(key)),
    ):
        with pytest.raises(errors.ObjectNotFoundError) as caught:
            act()
        assert isinstance(caught.value, FileNotFoundError)
        assert (caught.value.uri, caught.value.operation) == (store.uri(key), operation)
        again = pickle.loads(pickle.dumps(caught.value))
        assert (type(again), str(again), again.uri) == (type(caught.value), str(caught.value), store.uri(key))
    assert buffer == b"\xaa" * 4


def test_an_empty_key_is_refused(case: Case, store: ObjectStore) -> None:
    for act in (lambda: store.get(""), lambda: store.put("", b"x"), lambda: store.delete(""), lambda: store.head("")):
        with pytest.raises(errors.InvalidURIError):
            act()
