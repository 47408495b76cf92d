"""Checkpoints that are damaged, foreign, of the future or half there; and what callers get wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zstandard

import s3dlio
from s3dlio.checkpoint import commit, shards
from s3dlio.errors import (
    ConfigError,
    CorruptDataError,
    IntegrityError,
    LengthMismatchError,
    ObjectNotFoundError,
    OutOfMemoryError,
    S3dlioError,
    UnsafeKeyError,
    UnsupportedOperationError,
)


@pytest.fixture
def store(tmp_path: Path) -> s3dlio.CheckpointStore:
    store = s3dlio.CheckpointStore(f"file://{tmp_path}")
    store.save(1, 0, "torch", b"first")
    return store


def rewrite(path: Path, **fields: Any) -> None:
    """Change fields of the manifest of step 1, as a writer does who seals nothing."""
    (file,) = path.glob("manifests/ckpt-1-*")
    values = json.loads(file.read_text()) | {"wall_time": "2026-01-01T00:00:00.123456789+00:00"} | fields
    file.write_text(json.dumps({name: value for name, value in values.items() if value is not ...}))


def shard_with(path: Path, **fields: Any) -> dict[str, Any]:
    (file,) = path.glob("manifests/ckpt-1-*")
    shard: dict[str, Any] = json.loads(file.read_text())["shards"][0] | fields
    return shard


def test_a_foreign_manifest_is_read(store: s3dlio.CheckpointStore, tmp_path: Path) -> None:
    rewrite(tmp_path, more="fields", user_meta=...)
    assert store.load_latest() == b"first"


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"format_version": 2}, UnsupportedOperationError),
        ({"format_version": 0}, UnsupportedOperationError),
        ({"format_version": "1"}, CorruptDataError),
        ({"format_version": ...}, CorruptDataError),
        ({"global_step": 2}, CorruptDataError),
        ({"global_step": -1}, CorruptDataError),
        ({"global_step": 1.0}, CorruptDataError),
        ({"world_size": 0}, CorruptDataError),
        ({"world_size": 2}, CorruptDataError),
        ({"world_size": True}, CorruptDataError),
        ({"shards": []}, CorruptDataError),
        ({"shards": {}}, CorruptDataError),
        ({"shards": ["x"]}, CorruptDataError),
        ({"shards": [{"rank": 0}]}, CorruptDataError),
        ({"wall_time": "yesterday"}, CorruptDataError),
        ({"status": "writing"}, CorruptDataError),
        ({"framework": None}, CorruptDataError),
    ],
)
def test_manifests_that_cannot_be(
    store: s3dlio.CheckpointStore, tmp_path: Path, fields: dict[str, Any], error: type[S3dlioError]
) -> None:
    rewrite(tmp_path, **fields)
    with pytest.raises(error) as caught:
        store.load_latest()
    assert caught.value.uri is not None
    (info,) = store.list()
    assert not info.is_complete
    store.save(2, 0, "torch", b"second")
    assert store.load_latest() == b"second"
    assert store.delete_checkpoint(1)


@pytest.mark.parametrize(
    "key",
    ["/etc/passwd", "../x", "shards/../../x", "file:///etc/passwd", "manifests/x", "shards//x", "", "shards/"],
)
def test_a_manifest_that_points_outside_its_base_is_refused(
    store: s3dlio.CheckpointStore, tmp_path: Path, key: str
) -> None:
    rewrite(tmp_path, shards=[shard_with(tmp_path, key=key)])
    with pytest.raises(UnsafeKeyError):
        store.load_latest()
    store.delete_checkpoint(1)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"manifest_key": 1}', b"[" * 100_000])
@pytest.mark.parametrize("name", ["latest.json", "manifest"])
def test_files_that_are_no_json_of_ours(
    store: s3dlio.CheckpointStore, tmp_path: Path, name: str, content: bytes
) -> None:
    (file,) = [tmp_path / name] if name == "latest.json" else tmp_path.glob("manifests/*")
    file.write_bytes(content)
    with pytest.raises(CorruptDataError):
        store.load_latest()
    store.save(2, 0, "torch", b"second")
    assert store.load_latest() == b"second"


@pytest.mark.parametrize("key", ["../x.json", "/x.json", "manifests/../../x.json", "elsewhere/ckpt-1-20200101.json"])
def test_a_pointer_that_leads_outside_its_base_is_refused(
    store: s3dlio.CheckpointStore, tmp_path: Path, key: str
) -> None:
    (tmp_path / "latest.json").write_text(json.dumps({"manifest_key": key, "global_step": 1, "ts": "20200101-000000"}))
    with pytest.raises(UnsafeKeyError):
        store.load_latest()


def test_what_is_missing_is_named(store: s3dlio.CheckpointStore, tmp_path: Path) -> None:
    (shard,) = tmp_path.glob("shards/*/*")
    shard.rename(tmp_path / "away")
    with pytest.raises(ObjectNotFoundError) as caught:
        store.load_latest()
    assert caught.value.uri == f"file://{shard}"
    (tmp_path / "away").rename(shard)
    (manifest,) = tmp_path.glob("manifests/*")
    manifest.rename(tmp_path / "away")
    with pytest.raises(CorruptDataError, match="leads to"):
        store.load_latest()
    (tmp_path / "away").rename(manifest)
    (tmp_path / "latest.json").unlink()
    assert store.load_latest() == b"first"


def test_a_pointer_to_a_deleted_step_gives_way_to_the_newest_whole_one(
    store: s3dlio.CheckpointStore, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A step is deleted while it is saved: the pointer is written after the look of who deletes."""
    (first,) = tmp_path.glob("manifests/*")
    store.save(step=7, data=b"seventh")
    store.save(step=9, data=b"ninth")
    store.save(step=10, data=b"tenth")
    (damaged,) = tmp_path.glob("manifests/ckpt-9-*")
    damaged.write_bytes(b"{")
    (gone,) = tmp_path.glob("manifests/ckpt-10-*")
    gone.unlink()
    assert store.load_latest() == b"seventh"
    assert f"leads to manifests/{gone.name}, which is not there; manifests/ckpt-7-" in caplog.text
    info = store.latest()
    assert info is not None
    assert info.step == 7
    assert store.reader().load_latest_manifest() == store.manifest(7).as_dict()
    store.save(step=11, data=b"eleventh")
    assert store.load_latest() == b"eleventh"
    assert first.exists()


def test_shards_of_other_sizes_and_bytes_are_found(store: s3dlio.CheckpointStore, tmp_path: Path) -> None:
    (shard,) = tmp_path.glob("shards/*/*")
    shard.write_bytes(b"shorter"[:4])
    with pytest.raises(LengthMismatchError):
        store.load_latest()
    shard.write_bytes(b"fyrst")
    with pytest.raises(IntegrityError, match=r"expected crc32c:\w+, got crc32c:\w+"):
        store.load_latest()
    assert store.load_latest(verify=False) == b"fyrst"
    with pytest.raises(IntegrityError):
        list(store.reader().iter_shard(store.manifest(), 0))


def test_compressed_shards_that_are_damaged_or_never_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = s3dlio.CheckpointStore(f"file://{tmp_path}", compression_level=1)
    store.save(1, 0, "torch", bytes(50 << 20))
    (shard,) = tmp_path.glob("shards/*/*")
    whole = shard.read_bytes()
    shard.write_bytes(b"\0" * len(whole))
    with pytest.raises(CorruptDataError):
        store.load_latest()
    with pytest.raises(CorruptDataError):
        list(store.reader().iter_shard(store.manifest(), 0))
    shard.write_bytes(whole)
    monkeypatch.setattr(shards, "available_memory", lambda: 20 << 20)
    with pytest.raises(OutOfMemoryError, match="more than"):
        store.load_latest()
    assert sum(len(piece) for piece in store.reader().iter_shard(store.manifest(), 0)) == 50 << 20
    assert zstandard.ZstdDecompressor().decompress(whole, max_output_size=50 << 20) == bytes(50 << 20)


# -- what callers get wrong: nothing is written, and the checkpoint before is what is loaded


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ((-1, 0, "torch", b"x"), ConfigError),
        ((1 << 64, 0, "torch", b"x"), ConfigError),
        ((1.5, 0, "torch", b"x"), TypeError),
        ((True, 0, "torch", b"x"), TypeError),
        ((1, -1, "torch", b"x"), ConfigError),
        ((1, 0, None, b"x"), TypeError),
        ((1, 0, "\ud800", b"x"), ConfigError),
        ((1, 0, "torch", None), TypeError),
        ((1, 0, "torch", 5), TypeError),
        ((1, 0, "torch", "text"), TypeError),
        ((1, 0, "torch", b"x", {"a": float("nan")}), ConfigError),
        ((1, 0, "torch", b"x", {"a": object()}), TypeError),
    ],
)
def test_saves_that_cannot_be(
    store: s3dlio.CheckpointStore, arguments: tuple[Any, ...], error: type[Exception]
) -> None:
    with pytest.raises(error):
        store.save(*arguments)
    assert len(store.list()) == 1
    assert store.load_latest() == b"first"


@pytest.mark.parametrize("level", [0, 23, 99, -1])
def test_levels_that_zstd_has_not(tmp_path: Path, level: int) -> None:
    with pytest.raises(ConfigError, match="1 to 22"):
        s3dlio.CheckpointStore(f"file://{tmp_path}", compression_level=level)


def test_strategies_that_there_are_not(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Valid options: flat, round_robin, binary"):
        s3dlio.CheckpointStore(f"file://{tmp_path}", "hash")


@pytest.mark.parametrize(("world_size", "rank"), [(0, 0), (2, 2), (2, -1), (-1, 0)])
def test_ranks_that_there_are_not(store: s3dlio.CheckpointStore, world_size: int, rank: int) -> None:
    with pytest.raises(ConfigError):
        store.writer(world_size, rank)
    with pytest.raises(ConfigError):
        s3dlio.save_distributed_shard(store.base.uri(), 2, 0, "torch", b"x", world_size, rank)


def test_who_finalizes_what(store: s3dlio.CheckpointStore) -> None:
    writers = [store.writer(2, rank) for rank in range(2)]
    zero, one = (writer.save_distributed_shard(2, 0, "torch", b"x") for writer in writers)
    finalize = writers[0].finalize_distributed_checkpoint
    with pytest.raises(ConfigError, match="rank 0 does"):
        writers[1].finalize_distributed_checkpoint(2, 0, "torch", [zero, one])
    for metas in ([zero], [], [zero, zero], [zero, one, one], [zero, one | {"rank": 7}]):
        with pytest.raises(ConfigError):
            finalize(2, 0, "torch", metas)
    with pytest.raises(ConfigError, match="not of step 3"):
        finalize(3, 0, "torch", [zero, one])
    with pytest.raises(LengthMismatchError):
        finalize(2, 0, "torch", [zero, one | {"size": 2}])
    with pytest.raises(ObjectNotFoundError):
        finalize(2, 0, "torch", [zero, one | {"key": one["key"].replace("rank-1", "rank-01")}])
    with pytest.raises(TypeError):
        finalize(2, 0, "torch", zero)
    assert store.load_latest() == b"first"
    assert finalize(2, 0, "torch", [zero, one]) == finalize(2, 0, "torch", [zero, one])
    assert len(store.list()) == 2


def test_the_end_of_a_stream(store: s3dlio.CheckpointStore, tmp_path: Path) -> None:
    writer = store.writer(1, 0)
    stream = writer.get_distributed_shard_stream(2, 0, "torch")
    with pytest.raises(ConfigError, match="No data written"):
        stream.finalize()
    with pytest.raises(TypeError):
        stream.write_chunk(5)
    stream.write_chunk(b"x")
    meta = stream.finalize()
    with pytest.raises(S3dlioError, match="Stream already finalized"):
        stream.finalize()
    with pytest.raises(S3dlioError, match="Stream has been finalized"):
        stream.write_chunk(b"x")
    stream.cancel()
    with writer.get_distributed_shard_stream(3, 0, "torch") as dropped:
        dropped.write_chunk(b"x")
    with pytest.raises(S3dlioError, match="cancelled"):
        dropped.write_chunk(b"x")
    assert not list(tmp_path.glob("shards/ckpt-3-*/rank*"))
    writer.finalize_distributed_checkpoint(2, 0, "torch", [meta])
    assert store.load_latest() == b"x"


def test_buffers_of_any_kind(store: s3dlio.CheckpointStore) -> None:
    array = np.arange(100, dtype="f4").reshape(10, 10)
    array.setflags(write=False)
    for step, data in enumerate((array, array[::2, ::3], memoryview(bytearray(b"abc")), b"", bytearray(5)), 2):
        store.save(step, 0, "numpy", data)
        assert store.load_latest() == (data.tobytes() if hasattr(data, "tobytes") else bytes(data))


def test_ranks_never_overwrite_each_other_or_an_earlier_try(store: s3dlio.CheckpointStore) -> None:
    first = store.writer(2, 0).save_distributed_shard(5, 0, "torch", b"crashed")
    again = store.writer(2, 0).save_distributed_shard(5, 0, "torch", b"again")
    other = store.writer(2, 1).save_distributed_shard(5, 0, "torch", b"other")
    assert first["key"] != again["key"]
    assert other["key"].rpartition("/")[0] == again["key"].rpartition("/")[0]
    store.writer(2, 0).finalize_distributed_checkpoint(5, 0, "torch", [again, other])
    assert store.load_latest() == [b"again", b"other"]
    agreed = [store.writer(2, rank, timestamp="20260101-000000") for rank in range(2)]
    metas = [writer.save_distributed_shard(6, 0, "torch", b"x") for writer in agreed]
    assert {meta["timestamp"] for meta in metas} == {"20260101-000000"}
    with pytest.raises(s3dlio.AlreadyExistsError):
        agreed[0].save_distributed_shard(6, 0, "torch", b"y")
    with pytest.raises(ConfigError):
        store.writer(2, 0, timestamp="today")


def test_a_save_that_fails_leaves_the_checkpoint_before(
    store: s3dlio.CheckpointStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(len(commit.STEPS)):

        def fail(attempt: commit.Attempt) -> None:
            raise OSError("no space left")

        steps = list(commit.STEPS)
        steps[number] = (steps[number][0], fail)
        with monkeypatch.context() as patched:
            patched.setattr(commit, "STEPS", steps)
            with pytest.raises(OSError, match="no space left"):
                store.save(2, 0, "torch", b"second")
        assert store.load_latest() == b"first"
    store.save(2, 0, "torch", b"third")
    assert store.load_latest() == b"third"


@pytest.mark.parametrize("world_size", [1 << 34, 1 << 62, 10**30])
def test_a_manifest_of_countless_ranks_takes_no_memory(
    store: s3dlio.CheckpointStore, tmp_path: Path, world_size: int
) -> None:
    rewrite(tmp_path, world_size=world_size)
    with pytest.raises(CorruptDataError, match=f"a world_size of {world_size}"):
        store.load_latest()


def test_a_job_of_countless_ranks_takes_no_memory(store: s3dlio.CheckpointStore) -> None:
    writer = store.writer(1 << 40, 0)
    metas = [writer.save_distributed_shard(5, 0, "t", b"x")]
    with pytest.raises(ConfigError, match=r"Expected: \{0, 1, .*, \.\.\.\}, Got: \{0\}"):
        writer.finalize_distributed_checkpoint(5, 0, "t", metas)
    with pytest.raises(ConfigError, match=r"Missing shards for some ranks of step 5: \[1, 2,"):
        s3dlio.finalize_distributed_checkpoint(repr(store.base), 5, world_size=1 << 40)


def test_a_pointer_to_a_step_that_no_number_is(store: s3dlio.CheckpointStore, tmp_path: Path) -> None:
    pointer = {"manifest_key": f"manifests/ckpt-{'9' * 5000}-20260101-000000.json", "global_step": 1, "ts": "x"}
    (tmp_path / "latest.json").write_text(json.dumps(pointer))
    with pytest.raises(CorruptDataError, match="its key"):
        store.load_latest()


@pytest.mark.parametrize("argument", ["framework", "user_meta"])
def test_what_is_not_unicode_is_refused_before_anything_is_written(
    store: s3dlio.CheckpointStore, tmp_path: Path, argument: str
) -> None:
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ConfigError, match=argument):
        store.save(2, data=b"x", **{argument: "lone \ud800"})
    assert sorted(tmp_path.rglob("*")) == before


def test_an_etag_that_is_not_unicode_is_refused(store: s3dlio.CheckpointStore) -> None:
    writer = store.writer(1, 0)
    meta = writer.save_distributed_shard(2, 0, "t", b"x") | {"etag": "lone \ud800"}
    with pytest.raises(ConfigError, match="surrogates"):
        writer.finalize_distributed_checkpoint(2, 0, "t", [meta])
    assert store.load_latest() == b"first"


def test_user_meta_that_never_ends_is_refused(store: s3dlio.CheckpointStore) -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(ConfigError, match="user_meta"):
        store.save(2, data=b"x", user_meta=deep)
