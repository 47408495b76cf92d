"""The interface of s3torchconnector: readers, writers, clients and data sets."""

from __future__ import annotations

import io
import os
import pickle
from collections.abc import Iterator
from functools import partial
from itertools import chain, count
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: make finds no wheel without CUDA")

import s3dlio  # noqa: E402
from s3dlio.api import default_client  # noqa: E402
from s3dlio.compat.s3torchconnector import (  # noqa: E402
    S3Checkpoint,
    S3Client,
    S3ClientConfig,
    S3Exception,
    S3Item,
    S3IterableDataset,
    S3MapDataset,
    S3Reader,
    S3ReaderConstructor,
    S3Writer,
)
from s3dlio.compat.s3torchconnector.s3reader import (  # noqa: E402
    DCPOptimizedS3Reader,
    ItemRange,
    RangedS3Reader,
    SequentialS3Reader,
)
from s3dlio.compat.s3torchconnector.uris import parse_s3_uri, uri_of  # noqa: E402
from s3dlio.errors import S3dlioError  # noqa: E402
from s3dlio.types import Observation  # noqa: E402

DATA = bytes(range(256)) * 40_000  # longer than what opening an object reads
READERS = {
    "sequential": S3ReaderConstructor.sequential(),
    "ranged": S3ReaderConstructor.range_based(),
    "small buffer": S3ReaderConstructor.range_based(buffer_size=1000),
    "no buffer": S3ReaderConstructor.range_based(buffer_size=0),
}
_numbers = count(1)


@pytest.fixture
def bucket() -> str:
    name = f"memory://torchconnector-{next(_numbers)}"
    s3dlio.mkdir(name + "/")
    default_client().store_for(name + "/")[0].create_container()
    return name


@pytest.fixture
def requests() -> Iterator[list[Observation]]:
    seen: list[Observation] = []
    default_client().add_observer(seen.append)
    yield seen
    default_client().remove_observer(seen.append)


@pytest.mark.parametrize("kind", READERS)
def test_readers_read_like_files(bucket: str, kind: str) -> None:
    s3dlio.put_bytes(f"{bucket}/x", DATA)
    reader = S3Client("us-east-1").get_object(bucket, "x", reader_constructor=READERS[kind])
    truth = io.BytesIO(DATA)
    size = len(DATA)
    moves: list[Any] = [
        ("read", 5), ("seek", 100), ("read", 2000), ("seek", -50, os.SEEK_END), ("read", 100), ("read", 1), ("tell",),
        ("seek", 0, os.SEEK_END), ("read",), ("seek", 7), ("read", 3_000_000), ("seek", 10, os.SEEK_CUR), ("read", 0),
        ("seek", size - 3), ("read", -1), ("seek", 0), ("read",), ("read", None), ("seek", 1), ("read", None),
    ]  # fmt: skip
    for name, *arguments in moves:
        assert getattr(reader, name)(*arguments) == getattr(truth, name)(*arguments), (name, arguments)
    for start, length in [(0, 10), (500, 5000), (size - 5, 20), (size, 4), (3, 1)]:
        ours, theirs = bytearray(length), bytearray(length)
        assert reader.seek(start) == truth.seek(start)
        assert reader.readinto(ours) == truth.readinto(theirs)
        assert ours == theirs
    assert reader.readable()
    assert reader.seekable()
    assert not reader.writable()


@pytest.mark.parametrize("kind", READERS)
def test_what_readers_refuse(bucket: str, kind: str) -> None:
    s3dlio.put_bytes(f"{bucket}/x", b"0123456789")
    reader = S3Client("us-east-1").get_object(bucket, "x", reader_constructor=READERS[kind])
    assert reader.seek(100) == 10  # positions stay within the object
    with pytest.raises(ValueError, match="negative seek"):
        reader.seek(-1)
    with pytest.raises(ValueError, match="SEEK_CUR"):
        reader.seek(0, 3)
    for wrong in (1.5, "1"):
        with pytest.raises(TypeError):
            reader.seek(wrong)  # type: ignore[arg-type]
        with pytest.raises(TypeError):
            reader.read(wrong)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="writable bytes-like"):
        reader.readinto(b"123")
    assert reader.tell() == 10
    reader.close()
    with pytest.raises(ValueError, match="closed"):
        reader.read()


@pytest.mark.parametrize("kind", READERS)
def test_a_missing_object_is_an_error_of_the_first_read(bucket: str, kind: str) -> None:
    reader = S3Client("us-east-1").get_object(bucket, "none", reader_constructor=READERS[kind])
    with pytest.raises(S3Exception, match="none") as raised:
        reader.read()
    assert isinstance(raised.value, FileNotFoundError)


@pytest.mark.parametrize("kind", READERS)
def test_readers_pickle_with_their_position(bucket: str, kind: str) -> None:
    s3dlio.put_bytes(f"{bucket}/x", b"0123456789")
    reader = S3Client("us-east-1").get_object(bucket, "x", reader_constructor=READERS[kind])
    assert reader.read(3) == b"012"
    other = pickle.loads(pickle.dumps(reader))
    assert type(other) is type(reader)
    assert (other.bucket, other.key, other.tell(), other.read()) == (bucket, "x", 3, b"3456789")


@pytest.mark.parametrize("kind", [SequentialS3Reader, RangedS3Reader, partial(RangedS3Reader, buffer_size=3)])
def test_readers_take_streams_of_others(kind: Any) -> None:
    class Info:
        size = 10

    asked = []

    def stream(start: int | None = None, end: int | None = None) -> Iterator[bytes]:
        asked.append((start, end))
        return iter([b"0123456789"[start:end][i : i + 4] for i in range(0, 12, 4)])

    reader = kind("bucket", "key", Info, stream)
    assert (reader.read(2), reader.seek(-2, os.SEEK_END), reader.read(9), reader.seek(1), reader.read()) == (
        b"01", 8, b"89", 1, b"123456789"
    )  # fmt: skip
    assert asked
    with pytest.raises(ValueError, match="Bucket"):
        kind("", "key", Info, stream)


def test_a_whole_read_is_one_request_and_stays(bucket: str, requests: list[Observation]) -> None:
    s3dlio.put_bytes(f"{bucket}/x", DATA)
    reader = S3Client().get_object(bucket, "x")
    assert not [each for each in requests if each.operation != "PUT"]
    assert reader.read() == DATA
    reader.seek(0)
    assert reader.read() == DATA
    assert [each.operation for each in requests] == ["PUT", "GET"]
    assert isinstance(reader.read(), bytes)


def test_ranges_are_requests_of_their_own(bucket: str, requests: list[Observation]) -> None:
    s3dlio.put_bytes(f"{bucket}/x", DATA)
    reader = S3Client().get_object(bucket, "x", reader_constructor=S3ReaderConstructor.range_based(buffer_size=0))
    reader.seek(1_000_000)
    place = bytearray(10)
    assert reader.readinto(place) == 10
    assert place == DATA[1_000_000:1_000_010]
    assert [each.range for each in requests if each.operation == "GET_RANGE"] == [(1_000_000, 10)]


def test_a_range_of_an_object_by_its_first_and_last_byte(bucket: str) -> None:
    s3dlio.put_bytes(f"{bucket}/x", b"0123456789")
    client = S3Client("us-east-1")
    assert client.get_object(bucket, "x", start=2, end=5).read() == b"2345"
    assert client.get_object(bucket, "x", 7).read() == b"789"
    assert len(client.get_object(bucket, "x", 2, 100)) == 8


def test_ranges_of_two_versions_are_not_mixed(bucket: str) -> None:
    s3dlio.put_bytes(f"{bucket}/x", b"0123456789")
    reader = S3Client().get_object(bucket, "x", reader_constructor=S3ReaderConstructor.range_based(buffer_size=0))
    assert reader.read(3) == b"012"
    s3dlio.put_bytes(f"{bucket}/x", b"abcdefghij")
    with pytest.raises(S3Exception, match="replaced"):
        reader.read(3)


def test_a_writer_stores_on_close_only(bucket: str) -> None:
    client = S3Client("us-east-1")
    with client.put_object(bucket, "x") as writer:
        assert isinstance(writer, S3Writer)
        assert writer.write(b"abc") == 3
        assert writer.write(memoryview(bytearray(b"defg"))[::2]) == 2
        assert writer.write(bytes(200_000)) == 200_000
        writer.flush()
        assert (writer.tell(), writer.writable(), writer.readable(), writer.closed) == (200_005, True, False, False)
        assert not s3dlio.exists(f"{bucket}/x")
    writer.close()
    assert bytes(s3dlio.get(f"{bucket}/x")) == b"abcdf" + bytes(200_000)
    with pytest.raises(ValueError, match="closed"):
        writer.write(b"more")
    client.put_object(bucket, "empty").close()
    assert s3dlio.stat(f"{bucket}/empty")["size"] == 0


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_an_exception_and_a_dropped_writer_store_nothing(bucket: str) -> None:
    client = S3Client("us-east-1")
    writer = client.put_object(bucket, "x")

    def interrupted() -> None:
        with writer:
            writer.write(b"abc")
            raise KeyError

    with pytest.raises(KeyError):
        interrupted()
    assert writer.closed
    dropped = client.put_object(bucket, "y")
    dropped.write(b"abc")
    del dropped
    assert s3dlio.list(f"{bucket}/") == []


def test_the_client_lists_heads_copies_and_deletes(bucket: str) -> None:
    client = pickle.loads(pickle.dumps(S3Client("us-east-1")))
    for name in ("a/1", "a/2", "a/b/3", "ab", "b"):
        s3dlio.put_bytes(f"{bucket}/{name}", name.encode())

    def names(*arguments: Any) -> tuple[list[list[str]], list[str]]:
        pages = list(client.list_objects(bucket, *arguments))
        return [[info.key for info in page.object_info] for page in pages], [
            name for page in pages for name in page.common_prefixes
        ]

    assert names("a") == ([["a/1", "a/2", "a/b/3", "ab"]], [])
    assert names("a", "", 3) == ([["a/1", "a/2", "a/b/3"], ["ab"]], [])
    assert names("a/", "/") == ([["a/1", "a/2"]], ["a/b/"])
    assert names("none") == ([[]], [])
    stream = client.list_objects(bucket, "a", max_keys=1)
    next(stream)
    rest = [info.key for page in pickle.loads(pickle.dumps(stream)) for info in page.object_info]
    assert rest == ["a/2", "a/b/3", "ab"]
    (info, *_) = next(client.list_objects(bucket, "a/1")).object_info
    found = client.head_object(bucket, "a/1")
    assert (info.size, info.etag, info.last_modified) == (found.size, found.etag, found.last_modified)
    assert found.size == 3
    assert found.last_modified > 1_700_000_000
    client.copy_object(bucket, "a/1", bucket, "new name%20")
    assert bytes(s3dlio.get(f"{bucket}/new name%20")) == b"a/1"
    for _ in range(2):
        client.delete_object(bucket, "a/1")
    with pytest.raises(S3Exception):
        client.head_object(bucket, "a/1")


def test_the_configuration_becomes_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "other")
    plain = S3Client(default_client().settings.s3.region)
    assert plain.session is default_client()
    config = S3ClientConfig(
        throughput_target_gbps=20, part_size=32 << 20, unsigned=True, force_path_style=True, max_attempts=3, profile="p"
    )
    client = S3Client("eu-west-3", endpoint="http://127.0.0.1:1", s3client_config=config)
    settings = pickle.loads(pickle.dumps(client)).session.settings
    usual = default_client().settings
    assert (settings.s3.region, settings.s3.endpoint_url) == ("eu-west-3", "http://127.0.0.1:1")
    assert (settings.s3.anonymous, settings.s3.addressing, settings.s3.profile) == (True, "path", "p")
    assert (settings.retry.max_attempts, settings.range.chunk, settings.multipart.part_size) == (3, 32 << 20, 32 << 20)
    assert settings.range.concurrency == 2 * usual.range.concurrency
    assert (client.region, client.s3client_config) == ("eu-west-3", config)
    for wrong in ({"part_size": 1 << 20}, {"throughput_target_gbps": 0}, {"max_attempts": 0}):
        with pytest.raises(S3Exception):
            S3Client(s3client_config=S3ClientConfig(**wrong)).session  # type: ignore[arg-type] # noqa: B018


@pytest.mark.parametrize(
    ("uri", "bucket", "key"),
    [
        ("s3://b/k/x?y#z", "b", "k/x?y#z"), ("s3://b", "b", ""), ("gs://b/k", "gs://b", "k"),
        ("az://account/c/k", "az://account/c", "k"), ("file:///d/k", "file://", "/d/k"),
        ("s3://host:9000/b/k", "host:9000/b", "k"),
    ],
)  # fmt: skip
def test_bucket_and_key_of_a_uri(uri: str, bucket: str, key: str) -> None:
    assert parse_s3_uri(uri) == (bucket, key)
    assert uri_of(bucket, key).rstrip("/") == uri


@pytest.mark.parametrize("uri", ["", "s3://", "s3:///key", "s3a://b/k", None])
def test_what_is_no_uri_is_a_value_error(uri: Any) -> None:
    with pytest.raises(ValueError, match=r"."):
        S3Checkpoint("us-east-1").reader(uri)
    with pytest.raises(ValueError, match=r"."):
        list(S3IterableDataset.from_objects([uri], region="us-east-1"))


@pytest.mark.parametrize("scheme", ["file", "direct"])
def test_prefixes_of_files(tmp_path: Path, scheme: str) -> None:
    for name in ("train/img_1", "train/img_2", "train/other", "train/img_dir/3"):
        s3dlio.put_bytes(f"file://{tmp_path}/{name}", name.encode())
    dataset = S3MapDataset.from_prefix(f"{scheme}://{tmp_path}/train/img_", region="us-east-1")
    assert [reader.read().decode() for reader in dataset] == ["train/img_1", "train/img_2", "train/img_dir/3"]
    assert len(S3MapDataset.from_prefix(f"{scheme}://{tmp_path}/none", region="us-east-1")) == 0


@pytest.fixture
def filled(bucket: str) -> str:
    for number in range(10):
        s3dlio.put_bytes(f"{bucket}/train/{number}", b"%d" % number * (number + 1))
    s3dlio.put_bytes(f"{bucket}/test/0", b"test")
    return bucket


def test_a_map_dataset(filled: str) -> None:
    dataset = S3MapDataset.from_prefix(f"{filled}/train/", region="us-east-1", endpoint=None)
    assert len(dataset) == 10
    item = dataset[3]
    assert isinstance(item, S3Reader)
    assert S3Item is S3Reader
    assert (item.bucket, item.key, item.read(), len(item), bool(item)) == (filled, "train/3", b"3333", 4, True)
    assert (dataset[-1].read_all(), dataset[-1].read_bytes()) == (b"9" * 10, b"9" * 10)
    assert [reader.read() for reader in dataset] == [b"%d" % number * (number + 1) for number in range(10)]
    for wrong in (10, -11):
        with pytest.raises(IndexError, match=f"Index {wrong} out of range for dataset of size 10"):
            dataset[wrong]
    assert dataset.region == "us-east-1"
    given = S3MapDataset.from_objects(
        (f"{filled}/{name}" for name in ("test/0", "train/1")), region="us-east-1", transform=lambda r: r.read()
    )
    assert [given[0], given[1], len(given)] == [b"test", b"11", 2]
    assert S3MapDataset.from_objects(f"{filled}/test/0", region="us-east-1")[0].read() == b"test"


def _text(reader: S3Reader) -> str:
    return reader.read().decode()


def _key(reader: S3Reader) -> str:
    return reader.key


def test_an_iterable_dataset_may_be_iterated_again(filled: str) -> None:
    dataset = S3IterableDataset.from_prefix(f"{filled}/train/", region="us-east-1", transform=_text)
    expected = [str(number) * (number + 1) for number in range(10)]
    assert [list(dataset), list(dataset), len(dataset)] == [expected, expected, 10]
    assert list(S3IterableDataset.from_prefix(f"{filled}/none", region="us-east-1")) == []
    ranged = S3IterableDataset.from_prefix(
        f"{filled}/train/", region="us-east-1", transform=_text, reader_constructor=READERS["ranged"]
    )
    assert list(ranged) == expected


@pytest.fixture
def numbered(tmp_path: Path) -> str:
    for number in range(10):
        (tmp_path / str(number)).write_text(str(number))
    return f"file://{tmp_path}/"


@pytest.mark.parametrize(("context", "workers"), [("fork", 2), ("spawn", 1)])
def test_readers_travel_from_workers(numbered: str, context: str, workers: int) -> None:
    dataset = S3MapDataset.from_prefix(numbered, region="us-east-1")
    loader = torch.utils.data.DataLoader(
        dataset, batch_size=None, num_workers=workers, multiprocessing_context=context
    )
    assert [reader.read() for reader in loader] == [b"%d" % number for number in range(10)]


def test_workers_share_what_is_sharded(numbered: str) -> None:
    found = {}
    for sharded in (True, False):
        dataset = S3IterableDataset.from_prefix(
            numbered, region="us-east-1", transform=_text, enable_sharding=sharded
        )
        loader = torch.utils.data.DataLoader(pickle.loads(pickle.dumps(dataset)), batch_size=3, num_workers=2)
        found[sharded] = sorted(text for batch in loader for text in batch)
    assert found == {True: [str(n) for n in range(10)], False: sorted([str(n) for n in range(10)] * 2)}


def test_ranks_have_objects_of_their_own(filled: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for rank in range(3):
        monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
        monkeypatch.setattr(torch.distributed, "get_rank", lambda rank=rank: rank)
        monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 3)
        dataset = S3IterableDataset.from_prefix(
            f"{filled}/train/", region="us-east-1", transform=_key, enable_sharding=True
        )
        monkeypatch.undo()
        found.append(list(dataset))
        assert len(dataset) == len(found[-1])
    assert found[1] == ["train/1", "train/4", "train/7"]
    assert sorted(chain.from_iterable(found)) == [f"train/{number}" for number in range(10)]


def test_a_transform_that_raises_reaches_the_consumer(filled: str) -> None:
    def broken(reader: S3Reader) -> None:
        raise KeyError(reader.key)

    with pytest.raises(KeyError, match="train/0"):
        next(iter(S3IterableDataset.from_prefix(f"{filled}/train/", region="us-east-1", transform=broken)))


@pytest.mark.parametrize("kind", [S3IterableDataset, S3MapDataset])
@pytest.mark.parametrize("error", [StopIteration, IndexError])
def test_no_error_of_a_transform_passes_for_the_end(filled: str, kind: Any, error: type[Exception]) -> None:
    def broken(reader: S3Reader) -> None:
        raise error

    with pytest.raises((S3dlioError, IndexError)) as caught:
        list(kind.from_prefix(f"{filled}/train/", region="us-east-1", transform=broken))
    assert "train/0" in "".join([str(caught.value), *getattr(caught.value, "__notes__", ())])


@pytest.mark.parametrize("scheme", ["memory", "file"])
def test_torch_saves_and_loads(bucket: str, tmp_path: Path, scheme: str) -> None:
    place = f"{bucket}/run/" if scheme == "memory" else f"file://{tmp_path}/run/"
    checkpoint = S3Checkpoint(region="us-east-1")
    state = {"weight": torch.randn(1000, 700), "step": 7}
    with checkpoint.writer(place + "epoch0.ckpt") as writer:
        torch.save(state, writer)
    with checkpoint.reader(place + "epoch0.ckpt") as reader:
        loaded = torch.load(reader)
    assert loaded["step"] == 7
    assert torch.equal(loaded["weight"], state["weight"])


class TestDCPOptimizedReader:
    """Ranges that are known beforehand, in their order."""

    @staticmethod
    def reader(bucket: str, ranges: list[tuple[int, int]], **also: Any) -> DCPOptimizedS3Reader:
        s3dlio.put_bytes(f"{bucket}/x", DATA)
        source = S3Client().source(bucket, "x")
        items = [ItemRange(start, end) for start, end in ranges]
        return DCPOptimizedS3Reader(bucket, "x", items, lambda: s3dlio.head(f"{bucket}/x"), source, **also)

    @pytest.mark.parametrize("gap", [0, 100, float("inf")])
    def test_reads_items(self, bucket: str, gap: float) -> None:
        ranges = [(0, 10), (10, 50), (90, 3_000_000), (3_000_000, 3_000_001), (9_000_000, 9_000_100)]
        with self.reader(bucket, [*ranges, (9_000_100, 9_000_100)], max_gap_size=gap) as reader:
            for start, end in ranges:
                reader.seek(start)
                assert reader.read(min(4, end - start)) == DATA[start : min(end, start + 4)]
                reader.seek(start)
                place = bytearray(end - start)
                assert reader.readinto(place) == end - start
                assert place == DATA[start:end]
            assert reader.tell() == 9_000_100

    def test_refuses_other_orders(self, bucket: str) -> None:
        reader = self.reader(bucket, [(0, 10), (20, 30), (40, 50)])
        reader.seek(20)
        with pytest.raises(ValueError, match="sequentially accessing"):
            reader.read(1)
        reader.seek(0)
        reader.read(10)
        reader.seek(40)
        with pytest.raises(ValueError, match="sequentially accessing"):
            reader.read(1)
        for size in (None, -1):
            with pytest.raises(ValueError, match="full read"):
                reader.read(size)

    @pytest.mark.parametrize(
        ("ranges", "reason"), [([(10, 20), (0, 5)], "Unsorted"), ([(0, 10), (5, 20)], "Overlapping"),
                               ([(5, 2)], "Invalid"), ([(3, 3)], "non-empty"), ([], "non-empty")],
    )  # fmt: skip
    def test_refuses_ranges_that_cannot_be(self, bucket: str, ranges: list[tuple[int, int]], reason: str) -> None:
        with pytest.raises(ValueError, match=reason):
            self.reader(bucket, ranges)


def test_data_sets_as_in_the_rust_package(bucket: str) -> None:
    from s3dlio import compat

    for name in ("a", "b"):
        s3dlio.put_bytes(f"{bucket}/d/{name}", name.encode())
    assert compat.S3MapDataset is S3MapDataset
    assert compat.S3Checkpoint is S3Checkpoint
    kinds: list[Any] = [compat.S3MapDataset, compat.S3IterableDataset]
    for kind in kinds:
        made = [kind(f"{bucket}/d/"), kind(f"{bucket}/d/", "us-east-1"), kind(uri=f"{bucket}/d/", region=None)]
        made.append(kind.from_prefix(prefix=f"{bucket}/d/", region="us-east-1"))
        with pytest.warns(DeprecationWarning, match="batch_size, prefetch: without effect") as warned:
            made += [make(f"{bucket}/d/", None, prefetch=4, batch_size=2) for make in (kind, kind.from_prefix)]
        assert {warning.filename for warning in warned} == {__file__}
        for dataset in made:
            assert [item.read() for item in pickle.loads(pickle.dumps(dataset))] == [b"a", b"b"]
        with pytest.raises(TypeError):
            kind.from_prefix(f"{bucket}/d/", bogus=1)
    with pytest.raises(AttributeError, match="no attribute 'Bogus'"):
        compat.Bogus  # noqa: B018
    checkpoint: Any = S3Checkpoint(region="us-east-1")
    with checkpoint.writer(uri=f"{bucket}/c") as writer:
        writer.write(b"1")
    assert checkpoint.reader(uri=f"{bucket}/c").read() == b"1"
