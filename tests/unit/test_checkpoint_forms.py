"""Checkpoints by every form of call that scripts and documents of the Rust package use."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest

import s3dlio
from s3dlio.errors import ConfigError, CorruptDataError, IntegrityError, InvalidURIError, ObjectNotFoundError


@pytest.fixture
def base(tmp_path: Path) -> str:
    return f"file://{tmp_path}/run"


def test_the_class_has_both_names(base: str) -> None:
    assert s3dlio.PyCheckpointStore is s3dlio.CheckpointStore
    store = s3dlio.PyCheckpointStore(base, strategy="Round_Robin", multipart_threshold=None, compression_level=9)
    store.save(100, 1, "torch", b"data", None)
    assert store.load_latest() == b"data"
    assert s3dlio.PyCheckpointStore.open(base).load() == b"data"
    assert s3dlio.PyCheckpointStore.open_auto_config(base).load(100) == b"data"
    assert "round_robin" in repr(store)


def test_what_a_listing_tells(base: str) -> None:
    store = s3dlio.CheckpointStore(base)
    store.save(5, 2, "jax", b"x" * (1 << 20))
    (info,) = store.list_checkpoints()
    assert isinstance(info, s3dlio.PyCheckpointInfo)
    assert (info.step, info.epoch, info.framework, info.world_size, info.total_size) == (5, 2, "jax", 1, 1 << 20)
    assert (info.size_mb, info.size_gb) == (1.0, 1 / 1024)
    assert info.status == "complete"
    assert info.is_complete
    assert info.is_single_rank
    assert info.timestamp in info.manifest_key


def test_distributed_by_methods(base: str) -> None:
    store = s3dlio.CheckpointStore(base)
    meta = store.writer(world_size=2, rank=0).save_distributed_shard(3, 1, "torch", b"zero")
    assert list(meta) == ["step", "timestamp", "rank", "key", "size", "etag", "checksum"]
    with store.writer(2, 1).get_distributed_shard_stream(3, 1, "torch") as stream:
        assert stream.write_chunk(b"o") == 1
        stream.write_chunk(b"ne")
        assert stream.bytes_written() == 3
        other = stream.finalize()
    assert list(other) == ["step", "timestamp", "epoch", "rank", "key", "size", "etag", "checksum"]
    writer = store.writer(2, 0)
    key = writer.finalize_distributed_checkpoint(step=3, epoch=1, framework="torch", shard_metas=[other, meta])
    reader = store.reader()
    manifest = reader.load_latest_manifest()
    assert manifest is not None
    assert key == f"manifests/ckpt-3-{meta['timestamp']}.json"
    assert [shard["rank"] for shard in manifest["shards"]] == [0, 1]
    assert reader.read_shard_by_rank(manifest, 1) == b"one"
    with pytest.raises(ConfigError, match="Rank 5 not found"):
        reader.read_shard_by_rank(manifest, 5)
    assert s3dlio.load_checkpoint(base) == [b"zero", b"one"]


def test_distributed_by_functions(base: str) -> None:
    metas = [s3dlio.save_distributed_shard(base, 8, 1, "torch", b"%d" % rank, 2, rank) for rank in range(2)]
    s3dlio.finalize_distributed_checkpoint(base, 8, 1, "torch", metas, 2, 0, {"a": 1})
    assert s3dlio.load_checkpoint(base) == [b"0", b"1"]
    for rank in range(2):
        s3dlio.save_distributed_shard(base, shard_data=b"next %d" % rank, rank=rank, world_size=2)
    s3dlio.finalize_distributed_checkpoint(base_uri=base, world_size=2)
    assert s3dlio.load_checkpoint(base) == [b"next 0", b"next 1"]
    assert s3dlio.CheckpointStore(base).list()[-1].step == 9
    with pytest.raises(ConfigError, match="Missing shards"):
        s3dlio.finalize_distributed_checkpoint(base_uri=base, world_size=2, step=99)


def test_shards_that_nobody_described_are_found_compressed_or_not(base: str) -> None:
    for rank, compress in enumerate((None, True, 19)):
        s3dlio.save_distributed_shard(
            base, 1, data=b"%d" % rank * 1000, rank=rank, world_size=3, compress=compress, strategy="binary"
        )
    s3dlio.finalize_distributed_checkpoint(base, 1, world_size=3)
    assert s3dlio.load_checkpoint(base) == [b"%d" % rank * 1000 for rank in range(3)]


def test_save_and_load_by_functions(base: str) -> None:
    assert s3dlio.load_checkpoint(base) is None
    s3dlio.save_checkpoint(base, 4, 1, "torch", b"four", {"loss": 1})
    s3dlio.save_checkpoint(base, data=b"five" * 100, compress=True)
    assert s3dlio.load_checkpoint(base) == b"five" * 100
    assert s3dlio.load_checkpoint(base, step=4) == b"four"
    assert [info.step for info in s3dlio.CheckpointStore(base).list()] == [4, 5]
    with pytest.raises(TypeError):
        s3dlio.save_checkpoint(base, 6, 1, "torch")


def test_one_shard_with_validation(base: str) -> None:
    store = s3dlio.CheckpointStore(base, compression_level=3)
    store.save(1, 0, "torch", b"x" * 100)
    shard = store.manifest().shards[0]
    uri = f"{base}/{shard.key}"
    assert s3dlio.load_checkpoint_with_validation(uri) == b"x" * 100
    assert type(s3dlio.load_checkpoint_with_validation(uri)) is bytes
    assert s3dlio.load_checkpoint_with_validation_view(uri, True) == b"x" * 100
    assert s3dlio.load_checkpoint_with_validation(uri, False) == s3dlio.get(uri)
    assert s3dlio.load_checkpoint_with_validation(base) == b"x" * 100
    assert s3dlio.load_checkpoint_with_validation(base, shard.checksum) == b"x" * 100
    with pytest.raises(IntegrityError, match="Integrity validation failed"):
        s3dlio.load_checkpoint_with_validation(base, expected_checksum="crc32c:00000000")
    with pytest.raises(InvalidURIError, match="not a checkpoint shard URI"):
        s3dlio.load_checkpoint_with_validation(f"{base}/elsewhere")
    with pytest.raises(ConfigError, match="no manifest names this shard"):
        s3dlio.load_checkpoint_with_validation(f"{base}/shards/ckpt-1-20200101-000000/rank-0.bin")


def test_expected_names_are_looked_for(base: str) -> None:
    file = io.BytesIO()
    np.savez(file, weight=np.zeros(3), bias=np.ones(2))
    s3dlio.save_checkpoint(base, data=file.getvalue())
    assert s3dlio.load_checkpoint_with_validation(base, expected_keys=["weight", "bias"])
    with pytest.raises(IntegrityError, match="has no 'momentum'"):
        s3dlio.load_checkpoint_with_validation(base, expected_keys=["weight", "momentum"])
    s3dlio.save_checkpoint(base, data=b"plain bytes")
    with pytest.raises(ConfigError, match="no names"):
        s3dlio.load_checkpoint_with_validation(base, expected_keys=["weight"])


def test_expected_names_in_a_file_of_torch(base: str) -> None:
    torch = pytest.importorskip("torch")
    file = io.BytesIO()
    torch.save({"weight": torch.zeros(3)}, file)
    s3dlio.save_checkpoint(base, data=file.getbuffer())
    assert s3dlio.load_checkpoint_with_validation(base, expected_keys=["weight"])
    with pytest.raises(IntegrityError, match="has no 'bias'"):
        s3dlio.load_checkpoint_with_validation(base, expected_keys=["bias"])


def test_arrays_beside_checkpoints(base: str) -> None:
    array = np.arange(12.0).reshape(3, 4)
    writer = s3dlio.create_checkpoint_writer(base)
    writer.save_array("layer/weight", array * 2)
    writer.save_array("layer/weight", array)
    reader = s3dlio.create_checkpoint_reader(base)
    assert (reader.load_array("layer/weight") == array).all()
    with pytest.raises(ObjectNotFoundError):
        reader.load_array("layer/bias")
    s3dlio.save_array(f"{base}.npy", array)
    assert (s3dlio.load_array(f"{base}.npy") == array).all()


@pytest.mark.parametrize("name", ["", "/a", "a/../b", "..", "a//b", "latest.json", "manifests/x", "shards", "a\nb"])
def test_names_that_lead_elsewhere_are_refused(base: str, name: str) -> None:
    store = s3dlio.CheckpointStore(base)
    for call in (lambda: store.save(name, b"x"), lambda: store.load(name), lambda: store.put_shard(name, 0, b"x")):
        with pytest.raises(ConfigError):
            call()


def test_a_client_of_ones_own_is_used(base: str) -> None:
    client = s3dlio.Client()
    seen: list[str] = []
    client.add_observer(lambda observation: seen.append(observation.operation))
    s3dlio.CheckpointStore(base, client=client).save(1, 0, "torch", b"x")
    assert "PUT" in seen


def test_arrays_that_are_none_are_told(base: str) -> None:
    writer, reader = s3dlio.create_checkpoint_writer(base), s3dlio.create_checkpoint_reader(base)
    with pytest.raises(ConfigError, match="array"):
        writer.save_array("ragged", [[1, 2], [3]])
    url = f"{base}/damaged.npy"
    s3dlio.put_bytes(url, b"no array")
    for load in (lambda: reader.load_array("damaged"), lambda: s3dlio.load_array(url, validate_checksum="x")):
        with pytest.raises((CorruptDataError, IntegrityError)) as raised:
            load()
        assert raised.value.uri == url


def test_readers_and_writers_are_made_of_a_uri(base: str) -> None:
    metas = [s3dlio.CheckpointWriter(base, 2, rank).save_distributed_shard(1, 0, "t", b"%d" % rank) for rank in (0, 1)]
    s3dlio.CheckpointWriter(base, world_size=2, rank=0).finalize_distributed_checkpoint(1, 0, "t", metas)
    reader = s3dlio.PyCheckpointReader(base)
    assert [reader.read_shard_by_rank(reader.load_latest_manifest() or {}, rank) for rank in (0, 1)] == [b"0", b"1"]
    with pytest.raises(ConfigError, match="strategy"):
        s3dlio.CheckpointWriter(base, 1, 0, strategy="hash")


def test_the_module_of_the_functions_has_those_of_checkpoints(base: str) -> None:
    module = s3dlio.api
    module.create_checkpoint_writer(base).save_array("a", np.arange(3))
    assert list(module.create_checkpoint_reader(base).load_array("a")) == [0, 1, 2]
    with pytest.raises(AttributeError, match=r"'s3dlio\.api' has no attribute 'nothing'"):
        module.nothing  # noqa: B018
