"""Distributed checkpoints by the classes of s3torchconnector's interface, and Lightning's plugin."""

from __future__ import annotations

import copy
import os
import pickle
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: make finds no wheel without CUDA")

import torch.distributed.checkpoint as dcp  # noqa: E402
from torch.distributed.checkpoint._extension import ZStandard  # noqa: E402
from torch.distributed.checkpoint.api import CheckpointException  # noqa: E402
from torch.distributed.checkpoint.filesystem import FileSystemReader, FileSystemWriter  # noqa: E402

import s3dlio  # noqa: E402
from s3dlio.compat.s3torchconnector import S3Client, S3ClientConfig, S3ReaderConstructor  # noqa: E402
from s3dlio.compat.s3torchconnector.dcp import (  # noqa: E402
    BinaryPrefixStrategy,
    DefaultPrefixStrategy,
    HexPrefixStrategy,
    RoundRobinPrefixStrategy,
    S3FileSystem,
    S3PrefixStrategyBase,
    S3StorageReader,
    S3StorageWriter,
)

pytestmark = pytest.mark.filterwarnings(
    "ignore:torch.distributed is disabled", "ignore:Detected an existing checkpoint"
)


def state() -> dict[str, Any]:
    return {"weight": torch.arange(6000.0).reshape(60, 100), "bias": torch.ones(7, dtype=torch.bfloat16), "step": 3}


def empty() -> dict[str, Any]:
    return {"weight": torch.zeros(60, 100), "bias": torch.zeros(7, dtype=torch.bfloat16), "step": 0}


def equal(found: dict[str, Any]) -> bool:
    wanted = state()
    return all(torch.equal(torch.as_tensor(found[name]), torch.as_tensor(wanted[name])) for name in wanted)


@pytest.fixture
def place(tmp_path: Path) -> str:
    return f"file://{tmp_path}/run/"


def load(place: str, constructor: Any = None) -> dict[str, Any]:
    found = empty()
    reader = S3StorageReader(region="us-east-1", path=place, reader_constructor=constructor)
    dcp.load(found, storage_reader=reader)
    return found


def files(place: str) -> list[str]:
    root = place.removeprefix("file://")
    found = (os.path.relpath(os.path.join(folder, name), root) for folder, _, names in os.walk(root) for name in names)
    return sorted(found)


@pytest.mark.parametrize(
    "options",
    [
        {}, {"thread_count": 3}, {"s3client_config": S3ClientConfig(part_size=5 << 20)},
        {"single_file_per_rank": False}, {"_extensions": [ZStandard()]},
    ],
    ids=["plain", "threads", "part size", "file an item", "extension"],
)  # fmt: skip
def test_every_reader_reads_what_every_writer_saves(place: str, options: dict[str, Any]) -> None:
    if "_extensions" in options and not ZStandard.is_available():
        pytest.skip("torch finds no zstandard")
    writer = S3StorageWriter(region="us-east-1", path=place, **options)
    for _ in range(2):  # the second save replaces the first
        dcp.save(state(), storage_writer=writer)
    constructors = [
        None, S3ReaderConstructor.dcp_optimized(0), S3ReaderConstructor.dcp_optimized(float("inf")),
        S3ReaderConstructor.sequential(), S3ReaderConstructor.range_based(), S3ReaderConstructor.range_based(0),
    ]  # fmt: skip
    for constructor in constructors:
        assert equal(load(place, constructor))
    found = empty()
    dcp.load(found, storage_reader=FileSystemReader(place.removeprefix("file://")))  # torch's own
    assert equal(found)


def test_they_are_torch_readers_and_writers(place: str) -> None:
    writer, reader = S3StorageWriter("us-east-1", place), S3StorageReader("us-east-1", place)
    assert isinstance(writer, FileSystemWriter)
    assert isinstance(reader, FileSystemReader)
    dcp.save(state(), storage_writer=pickle.loads(pickle.dumps(writer)))
    for kind in (copy.copy, lambda it: pickle.loads(pickle.dumps(it))):
        found = empty()
        dcp.load(found, storage_reader=kind(reader))
        assert equal(found)
    other = place + "other"
    dcp.save(state(), checkpoint_id=other, storage_writer=writer)
    assert equal(load(other))
    assert ".metadata" in files(other)
    for kind in (S3StorageWriter, S3StorageReader, S3FileSystem):
        assert kind.validate_checkpoint_id("s3://bucket/run")
        assert kind.validate_checkpoint_id(Path("/tmp"))
        assert not kind.validate_checkpoint_id("run")


@pytest.mark.parametrize("single", [True, False])
def test_overwrite_false_keeps_what_is_there(place: str, single: bool) -> None:
    options: dict[str, Any] = {"overwrite": False, "single_file_per_rank": single}
    dcp.save(state(), storage_writer=S3StorageWriter("us-east-1", place, **options))
    before = files(place)
    with pytest.raises(CheckpointException):
        dcp.save(state(), storage_writer=S3StorageWriter("us-east-1", place, **options))
    assert files(place) == before


@pytest.mark.parametrize("single", [True, False])
def test_an_asynchronous_save(place: str, single: bool) -> None:
    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    try:
        writer = S3StorageWriter("us-east-1", place, single_file_per_rank=single)
        dcp.async_save(state(), storage_writer=writer).result()
        assert equal(load(place))
    finally:
        torch.distributed.destroy_process_group()


@pytest.mark.parametrize("single", [True, False])
def test_prefixes_of_ranks(place: str, single: bool) -> None:
    class Custom(S3PrefixStrategyBase):
        def generate_prefix(self, rank: int) -> str:
            return f"custom_{rank}/"

    writer = S3StorageWriter("us-east-1", place, prefix_strategy=Custom(), single_file_per_rank=single)
    dcp.save(state(), storage_writer=writer)
    assert {os.path.dirname(name) for name in files(place)} == {"", "custom_0"}
    assert equal(load(place))


def test_prefix_strategies() -> None:
    assert DefaultPrefixStrategy()(3) == "__3_"
    spread = RoundRobinPrefixStrategy(["a", "b"], epoch_num=5)
    assert [spread(rank) for rank in range(3)] == ["a/epoch_5/__0_", "b/epoch_5/__1_", "a/epoch_5/__2_"]
    binary = BinaryPrefixStrategy(epoch_num=1, prefix_count=4)
    assert [binary(rank) for rank in (1, 2)] == ["1000000000/epoch_1/__1_", "0100000000/epoch_1/__2_"]
    digits = HexPrefixStrategy(min_prefix_length=4, prefix_count=16)
    assert [digits(rank) for rank in (0, 15, 16)] == ["0000/__0_", "f000/__15_", "0000/__16_"]
    assert len(BinaryPrefixStrategy(min_prefix_length=1, prefix_count=5).prefix_map[0]) == 3
    for wrong in ({"min_prefix_length": 0}, {"epoch_num": "1"}, {"prefix_count": 0}):
        with pytest.raises(ValueError, match=r"."):
            BinaryPrefixStrategy(**wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="must not be empty"):
        RoundRobinPrefixStrategy([])


def test_the_file_system(place: str) -> None:
    system = S3FileSystem("us-east-1", s3_client=S3Client("us-east-1"))
    path = system.concat_path(place, "a b%20c")
    system.mkdir(place)
    assert not system.exists(path)
    with system.create_stream(path, "wb") as stream:
        stream.write(b"abc")
    assert system.exists(path)
    system.rename(path, place + "new")
    assert [system.exists(path), system.exists(place + "new")] == [False, True]
    with system.create_stream(place + "new", "rb") as stream:
        assert stream.read() == b"abc"
    with pytest.raises(ValueError, match="Invalid mode"), system.create_stream(path, "r"):
        pass
    with pytest.raises(ValueError, match="cannot be different"):
        system.rename("s3://one/a", "s3://two/a")
    for _ in range(2):
        system.rm_file(place + "new")
    assert files(place) == []


def test_the_plugin_of_lightning(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["lightning", "lightning.pytorch", "lightning.pytorch.plugins", "lightning.pytorch.plugins.io"]
    for name in names:
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    sys.modules[names[0]].__version__ = "2.6.1"  # type: ignore[attr-defined]
    sys.modules[names[-1]].CheckpointIO = object  # type: ignore[attr-defined]
    monkeypatch.delitem(sys.modules, "s3dlio.compat.s3torchconnector.lightning", raising=False)
    from s3dlio.compat.s3torchconnector.lightning import S3LightningCheckpoint

    plugin = S3LightningCheckpoint("us-east-1")
    plugin.save_checkpoint({"state": state(), "epoch": 1}, place + "last.ckpt")
    loaded = plugin.load_checkpoint(place + "last.ckpt")
    assert equal(loaded["state"])
    plugin.remove_checkpoint(place + "last.ckpt")
    assert not s3dlio.exists(place + "last.ckpt")
    with pytest.raises(TypeError, match="supported type"):
        plugin.remove_checkpoint(Path("/x"))  # type: ignore[arg-type]
    plugin.teardown()
    monkeypatch.delitem(sys.modules, "s3dlio.compat.s3torchconnector.lightning")
