"""Data sets of s3torchconnector's interface ask a service for what is read, and for nothing else; counted there."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from itertools import islice

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: make finds no wheel without CUDA")

import s3dlio  # noqa: E402
from s3dlio import api  # noqa: E402
from s3dlio.compat.s3torchconnector import (  # noqa: E402
    S3IterableDataset,
    S3MapDataset,
    S3Reader,
    S3ReaderConstructor,
)
from s3dlio.memory.pool import default_pool  # noqa: E402
from tests.leases import assert_returned  # noqa: E402
from tests.servers.memory_s3 import MemoryS3  # noqa: E402

COUNT = 200
URIS = [f"s3://bucket/{number:03}" for number in range(COUNT)]


def content(number: int) -> bytes:
    return b"%03d" % number * 20_000


@pytest.fixture(scope="module")
def _running() -> Iterator[MemoryS3]:
    with MemoryS3() as server, pytest.MonkeyPatch.context() as patch:
        for name, value in server.env.items():
            patch.setenv(name, value)
        patch.setattr(api, "_default", None)
        s3dlio.put_many([(uri, content(number)) for number, uri in enumerate(URIS)])
        yield server


@pytest.fixture
def server(_running: MemoryS3) -> MemoryS3:
    _running.counts()
    return _running


def whole(reader: S3Reader) -> bytes:
    return reader.read()


def test_names_take_no_request(server: MemoryS3) -> None:
    for kind in (S3IterableDataset, S3MapDataset):
        dataset = kind.from_objects(URIS, region="us-east-1")
        assert [reader.key for reader in dataset] == [uri.removeprefix("s3://bucket/") for uri in URIS]
    assert server.counts() == {}


def test_headers_take_what_they_take(server: MemoryS3) -> None:
    dataset = S3IterableDataset.from_objects(URIS, region="us-east-1", transform=lambda reader: reader.read(3))
    assert list(islice(dataset, 10)) == [content(number)[:3] for number in range(10)]
    assert server.counts()["GET"] == 10


def test_whole_objects_are_asked_for_once_each(server: MemoryS3) -> None:
    dataset = S3IterableDataset.from_objects(URIS, region="us-east-1", transform=whole)
    for _ in range(2):
        assert list(dataset) == [content(number) for number in range(COUNT)]
        assert server.counts() == {"GET": COUNT, "sent": COUNT * 60_000, "received": 0}


@pytest.mark.parametrize("reads", ["first", "last"])
def test_batches_that_are_read_after_they_were_collected(server: MemoryS3, reads: str) -> None:
    dataset = S3MapDataset.from_objects(URIS, region="us-east-1", transform=whole if reads == "first" else _itself)
    loader = torch.utils.data.DataLoader(dataset, batch_size=32, collate_fn=_whole_batch)
    assert [data for batch in loader for data in batch] == [content(number) for number in range(COUNT)]
    assert server.counts()["GET"] == COUNT


def _itself(reader: S3Reader) -> S3Reader:
    return reader


def _whole_batch(batch: list[S3Reader | bytes]) -> list[bytes]:
    return [item if isinstance(item, bytes) else item.read() for item in batch]


def test_who_leaves_early_gives_back_what_was_read_ahead(server: MemoryS3) -> None:
    gc.collect()
    before = default_pool().stats().leased
    samples = iter(S3IterableDataset.from_objects(URIS, region="us-east-1", transform=whole))
    assert [next(samples)[:3] for _ in range(5)] == [b"000", b"001", b"002", b"003", b"004"]
    samples.close()  # type: ignore[attr-defined]
    assert bytes(s3dlio.get(URIS[-1])) == content(COUNT - 1)  # the connections are in order
    assert_returned(before)
    assert server.counts()["GET"] <= 5 + 64 + 1


def test_an_object_that_is_gone_is_an_error_in_its_place(server: MemoryS3) -> None:
    s3dlio.delete(URIS[20])
    try:
        samples = iter(S3IterableDataset.from_objects(URIS, region="us-east-1"))
        for number in range(20):
            assert next(samples).read() == content(number)
        gone = next(samples)
        with pytest.raises(FileNotFoundError, match=URIS[20]):
            gone.read()
        assert next(samples).read() == content(21)
        with pytest.raises(FileNotFoundError, match=URIS[20]):
            list(S3IterableDataset.from_objects(URIS, region="us-east-1", transform=whole))
    finally:
        s3dlio.put_bytes(URIS[20], content(20))


def test_workers_are_forked_beside_connections(server: MemoryS3) -> None:
    mapped = S3MapDataset.from_objects(URIS, region="us-east-1", transform=whole)
    assert mapped[7] == content(7)
    half_read = iter(S3IterableDataset.from_objects(URIS, region="us-east-1", transform=whole, enable_sharding=True))
    assert [next(half_read), next(half_read)] == [content(0), content(1)]
    for dataset in (mapped, S3IterableDataset.from_objects(URIS, region="us-east-1", transform=whole,
                                                           enable_sharding=True)):  # fmt: skip
        loader = torch.utils.data.DataLoader(dataset, batch_size=8, num_workers=2, collate_fn=_whole_batch)
        assert sorted(data for batch in loader for data in batch) == [content(number) for number in range(COUNT)]
    assert list(half_read) == [content(number) for number in range(2, COUNT)]


def test_a_forked_child_reads_what_its_parent_had_begun_to_read(server: MemoryS3) -> None:
    samples = iter(S3IterableDataset.from_objects(URIS, region="us-east-1"))
    for number in range(3):
        assert next(samples).read() == content(number)
    readers = list(islice(samples, 10))
    child = os.fork()
    if not child:
        right = False
        try:
            right = all(reader.read() == content(number) for number, reader in enumerate(readers, 3))
        finally:
            os._exit(0 if right else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert [reader.read() for reader in readers] == [content(number) for number in range(3, 13)]


def test_other_readers_read_nothing_ahead(server: MemoryS3) -> None:
    dataset = S3IterableDataset.from_objects(
        URIS, region="us-east-1", transform=lambda reader: reader.read(10),
        reader_constructor=S3ReaderConstructor.range_based(buffer_size=0),
    )  # fmt: skip
    assert list(islice(dataset, 5)) == [content(number)[:10] for number in range(5)]
    assert server.counts() == {"HEAD": 5, "GET": 5, "sent": 50, "received": 0}
