"""A write is whole or it is not there, whatever it is written from."""

from __future__ import annotations

import os
import random
import threading
from array import array
from collections.abc import Callable
from pathlib import Path

import pytest

from s3dlio import errors
from s3dlio.memory.pool import default_pool
from s3dlio.memory.sources import FileSource
from s3dlio.stores.base import ObjectStore
from s3dlio.types import Conditions, PutOptions
from tests.conformance.stores import Case
from tests.threads import run_in_threads

MIB = 1 << 20
CREATE_ONLY = PutOptions(conditions=Conditions(if_none_match="*"))


@pytest.mark.parametrize(
    "make",
    [
        bytearray,
        memoryview,
        lambda data: memoryview(data)[::1],
        lambda data: array("H", data),
        lambda data: memoryview(bytes(2 * len(data)))[::2],
    ],
    ids=["bytearray", "memoryview", "slice", "array", "strided"],
)
def test_payloads(case: Case, store: ObjectStore, make: Callable[[bytes], object]) -> None:
    payload = make(bytes(10_000))
    store.put(case.key("object"), payload)
    assert store.get(case.key("object")) == bytes(10_000)


@pytest.mark.parametrize("payload", ["text", 5, None, [b"x"]])
def test_what_is_no_payload(case: Case, store: ObjectStore, payload: object) -> None:
    with pytest.raises(TypeError):
        store.put(case.key("object"), payload)
    assert case.names() == []


def test_memory_at_any_address(case: Case, store: ObjectStore) -> None:
    """Aligned memory and memory one byte further: O_DIRECT has two ways for them."""
    slab = default_pool().lease(300_000)
    slab[:] = random.Random(1).randbytes(len(slab))
    for start, length in ((0, 300_000), (1, 299_999), (0, 262_144), (512, 4096), (0, 4097)):
        store.put(case.key("object"), slab[start : start + length])
        assert store.get(case.key("object")) == slab[start : start + length]


@pytest.mark.parametrize("size", [0, 1, 100_001, 9 * MIB + 5])
def test_from_a_file(case: Case, store: ObjectStore, tmp_path: Path, size: int) -> None:
    data = random.Random(size).randbytes(size)
    path = tmp_path / "source"
    path.write_bytes(b"123" + data)
    key = case.key("folder/object")
    with path.open("rb") as file:
        result = store.execute(store.write_call(key, FileSource(file.fileno(), 3)))
    assert result.size == size
    assert store.get(key) == data


def test_overwriting(case: Case, store: ObjectStore) -> None:
    key = case.key("object")
    for size in (100_000, 3, 0, 70_000):
        store.put(key, b"x" * size)
        assert store.get(key) == b"x" * size
    assert case.names() == ["object"]


def test_create_only(case: Case, store: ObjectStore) -> None:
    if not case.creates_only:
        pytest.skip("the service ignores If-None-Match")
    key = case.key("object")
    store.put(key, b"first", options=CREATE_ONLY)
    with pytest.raises(errors.AlreadyExistsError) as caught:
        store.put(key, b"second", options=CREATE_ONLY)
    assert isinstance(caught.value, FileExistsError)
    assert (caught.value.uri, caught.value.operation) == (store.uri(key), "PUT")
    assert store.get(key) == b"first"
    assert case.names() == ["object"]


def test_create_only_has_one_winner(case: Case, store: ObjectStore) -> None:
    if not case.creates_only:
        pytest.skip("the service ignores If-None-Match")
    key = case.key("object")
    start = threading.Barrier(8)
    won: list[int] = []
    lost: list[BaseException] = []

    def compete(number: int) -> None:
        start.wait()
        try:
            store.put(key, b"%d" % number, options=CREATE_ONLY)
            won.append(number)
        except BaseException as error:
            lost.append(error)

    run_in_threads(compete, range(8))
    assert len(won) == 1, lost
    # S3 may answer 409 to one that came while the other was being written.
    assert all(isinstance(e, (errors.AlreadyExistsError, errors.PreconditionFailedError)) for e in lost), lost
    assert store.get(key) == b"%d" % won[0]


def test_replacing_a_version_only(case: Case, store: ObjectStore) -> None:
    key = case.key("object")
    result = store.put(key, b"first")
    options = PutOptions(conditions=Conditions(if_match=result.etag))
    if case.is_local:
        with pytest.raises(errors.UnsupportedOperationError):
            store.put(key, b"second", options=options)
        assert store.get(key) == b"first"
        return
    if not case.replaces_if_match:
        pytest.skip("the service ignores If-Match on writes")
    store.put(key, b"second", options=options)
    with pytest.raises(errors.PreconditionFailedError):
        store.put(key, b"third", options=options)
    assert store.get(key) == b"second"


def test_metadata(case: Case, store: ObjectStore) -> None:
    key = case.key("object")
    options = PutOptions(content_type="text/x-test", metadata={"colour": "blue", "number": "7"})
    if not case.keeps_metadata:
        with pytest.raises(errors.UnsupportedOperationError, match="content type"):
            store.put(key, b"data", options=options)
        assert case.names() == []
        return
    store.put(key, b"data", options=options)
    about = store.head(key)
    assert about.content_type == "text/x-test"
    assert dict(about.metadata) == {"colour": "blue", "number": "7"}


def test_copy(case: Case, store: ObjectStore) -> None:
    source, target = case.key("a/source"), case.key("b/target")
    data = random.Random(3).randbytes(MIB + 3)
    store.put(source, data)
    result = store.copy(store, source, target)
    assert result is not None
    assert store.get(target) == data
    assert store.get(source) == data
    with pytest.raises(errors.ObjectNotFoundError):
        store.copy(store, case.key("missing"), target)
    assert store.get(target) == data


# -- streaming


@pytest.mark.per_encoder(
    "shape",
    [(size, step) for size in (0, 1, 4096, 100_001, 6 * MIB + 5) for step in (777, 64 * 1024, 7 * MIB)],
    [(0, 777), (100_001, 777), (6 * MIB + 5, 64 * 1024)],
)
def test_writer(case: Case, store: ObjectStore, shape: tuple[int, int]) -> None:
    size, step = shape
    data = random.Random(size).randbytes(size)
    key = case.key("folder/object")
    with store.writer(key, part_size=5 * MIB) as writer:
        chunk = bytearray(step)
        for start in range(0, size, step) if size // step < 200 else ():
            piece = data[start : start + step]
            chunk[: len(piece)] = piece
            assert writer.write(memoryview(chunk)[: len(piece)]) == len(piece)
            chunk[:] = bytes(step)  # the memory is ours again
        if size // step >= 200:
            writer.write(data)
    assert store.get(key) == data
    assert case.names() == ["folder/object"]


def test_writer_tells_the_result(case: Case, store: ObjectStore) -> None:
    key = case.key("object")
    writer = store.writer(key)
    writer.write(b"12345")
    result = writer.close()
    assert result.size == 5
    assert result.etag == store.head(key).etag
    with pytest.raises(errors.S3dlioError, match="closed"):
        writer.write(b"more")
    with pytest.raises(errors.S3dlioError, match="closed"):
        writer.close()
    writer.abort()
    assert store.get(key) == b"12345"


def test_a_writer_is_invisible_until_it_is_closed(case: Case, store: ObjectStore) -> None:
    key = case.key("object")
    store.put(key, b"old")
    writer = store.writer(key)
    writer.write(b"x" * 6 * MIB)
    assert store.get(key) == b"old"
    assert case.names() == ["object"]
    writer.close()
    assert store.get(key) == b"x" * 6 * MIB


def write_and_fail(store: ObjectStore, key: str) -> None:
    with store.writer(key) as writer:
        writer.write(b"y" * 100)
        raise KeyError


@pytest.mark.parametrize("before", [None, b"old"])
def test_an_aborted_writer_leaves_nothing(case: Case, store: ObjectStore, before: bytes | None) -> None:
    key = case.key("object")
    if before is not None:
        store.put(key, before)
    writer = store.writer(key, part_size=5 * MIB)
    writer.write(b"x" * 6 * MIB)
    writer.abort()
    writer.abort()
    with pytest.raises(KeyError):
        write_and_fail(store, key)
    assert case.names() == ([] if before is None else ["object"])
    if before is not None:
        assert store.get(key) == before
    if case.is_local:
        assert sorted(os.listdir(case.base)) == ([] if before is None else ["object"])


def test_owned_bytes_are_stored_with_the_others(case: Case, store: ObjectStore) -> None:
    """Copied and owned bytes, short and long, across the borders of parts and blocks."""
    chance = random.Random(5)
    pieces = [chance.randbytes(size) for size in (3, 70_000, 4096, 6 * MIB + 1, 100_000, 65_536, 1, 0, 5 * MIB, 17)]
    key = case.key("object")
    with store.writer(key, part_size=5 * MIB, max_in_flight=2) as writer:
        for number, piece in enumerate(pieces):
            assert (writer.write_owned if number % 3 else writer.write)(piece) == len(piece)
            if number == 6:
                writer.flush()
        strided = memoryview(bytes(range(256)) * 1000)[::2]
        assert writer.write_owned(strided) == 128_000
    assert store.get(key) == b"".join(pieces) + strided.tobytes()


def test_a_buffer_that_changes_afterwards_changes_nothing(case: Case, store: ObjectStore) -> None:
    key, buffer = case.key("object"), bytearray(b"x" * 11 * MIB)
    with store.writer(key, part_size=5 * MIB) as writer:
        writer.write(buffer)
        buffer[:] = b"y" * len(buffer)
        buffer.clear()  # nothing exports it any more
    assert store.get(key) == b"x" * 11 * MIB


def test_what_a_writer_refuses(case: Case, store: ObjectStore) -> None:
    key = case.key("object")
    for wrong in ({"part_size": "much"}, {"max_in_flight": 0}, {"expected_size": -1}, {"part_size": 0}):
        with pytest.raises(errors.ConfigError):
            store.writer(key, **wrong)  # type: ignore[arg-type]
    writer = store.writer(key)
    for data in ("text", 5, None):
        with pytest.raises(TypeError):
            writer.write(data)
        with pytest.raises(TypeError):
            writer.write_owned(data)
    writer.write(b"1")
    writer.close()
    for use in (writer.flush, writer.close, lambda: writer.write_owned(b"2")):
        with pytest.raises(errors.S3dlioError, match="closed"):
            use()
    assert store.get(key) == b"1"


def test_a_dropped_writer_leaves_nothing_and_says_so(case: Case, store: ObjectStore) -> None:
    key = case.key("object")
    writer = store.writer(key, part_size=5 * MIB)
    writer.write(b"x" * 6 * MIB)
    with pytest.warns(ResourceWarning, match="dropped without close"):
        del writer
    assert case.names() == []
    if case.is_local:
        assert os.listdir(case.base) == []


# -- many threads


def test_readers_see_one_version_or_another(case: Case, store: ObjectStore) -> None:
    key = case.key("object")
    versions = [bytes([number]) * (200_000 + number) for number in range(4)]
    store.put(key, versions[0])
    rounds = 5 if case.new_container and not case.is_local else 20
    wrong: list[object] = []

    def write(data: bytes) -> None:
        for _ in range(rounds):
            store.put(key, data)

    def read() -> None:
        for _ in range(rounds):
            try:
                seen = store.get(key).to_bytes()
                if seen not in versions:
                    wrong.append(seen[:20])
            except BaseException as error:
                wrong.append(error)

    threads = [threading.Thread(target=write, args=(data,)) for data in versions]
    threads += [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert case.names() == ["object"]


@pytest.mark.parametrize("size", [100, 33 << 20], ids=["small", "large"])
def test_a_file_that_changes_while_it_is_sent_is_not_stored(
    case: Case, store: ObjectStore, tmp_path_factory: pytest.TempPathFactory, size: int
) -> None:
    path = tmp_path_factory.mktemp("source") / "changing"
    path.touch()
    os.truncate(path, size)
    with path.open("rb") as file:
        about = os.fstat(file.fileno())
        os.utime(path, ns=(1, 1))
        source = FileSource(file.fileno(), 0, size, about)
        with pytest.raises(errors.ObjectChangedError):
            store.execute(store.write_call(case.key("changing"), source))
    assert case.names() == []
