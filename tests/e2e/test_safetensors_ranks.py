"""Ranks of torch.distributed: what they save in parts all of them make one model, here and by torch's own code."""

from __future__ import annotations

import multiprocessing
import os
import traceback
from pathlib import Path
from typing import Any

import pytest

from s3dlio.checkpoint.ranks import Ranks
from s3dlio.checkpoint.safetensors import load_safetensors, open_safetensors
from s3dlio.checkpoint.safetensors_consolidation import consolidate_safetensors
from s3dlio.checkpoint.safetensors_writer import save_safetensors, save_sharded_safetensors
from s3dlio.checkpoint.tensor_parts import TensorPart
from s3dlio.errors import AlreadyExistsError, ConfigError, CorruptDataError, S3dlioError
from tests.servers import Server

WORLD = 2
#: Which file each tensor goes to; torch's own consolidation wants it, too.
FILES = {"rows": 1, "columns": 2, "copy": 2, "plain": 1, "half": 1}


def tensors() -> dict[str, Any]:
    import torch

    torch.manual_seed(1)
    return {
        "rows": torch.randn(31, 8), "columns": torch.randn(6, 10), "copy": torch.randn(5), "plain": torch.arange(7),
        "half": torch.randn(4, 6).to(torch.bfloat16),
    }  # fmt: skip


def job(folder: str, base: str, environ: dict[str, str]) -> None:
    """All ranks, forked from one process that has imported what they need: that takes longer than all they do."""
    import torch.distributed.checkpoint
    import torch.distributed.tensor  # noqa: F401

    os.environ.update(environ)
    other = os.fork()
    if not other:
        try:
            rank_of_a_job(1, folder, base)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    rank_of_a_job(0, folder, base)
    assert os.waitpid(other, 0)[1] == 0


def rank_of_a_job(rank: int, folder: str, base: str) -> None:
    """One rank: saves its parts by both packages, takes part in their consolidation, and loads its parts of others."""
    import torch
    import torch.distributed as dist
    from torch.distributed.checkpoint import HuggingFaceStorageWriter, save
    from torch.distributed.checkpoint._consolidate_hf_safetensors import consolidate_safetensors_files_on_every_rank
    from torch.distributed.tensor import Replicate, Shard, distribute_tensor, init_device_mesh

    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=WORLD)
    mesh = init_device_mesh("cpu", (WORLD,))
    placements = {"rows": Shard(0), "columns": Shard(1), "copy": Replicate(), "half": Shard(0)}
    whole = tensors()
    sharded = {
        name: distribute_tensor(value, mesh, [placements[name]]) if name in placements else value
        for name, value in whole.items()
    }
    save(sharded, storage_writer=HuggingFaceStorageWriter(f"{folder}/torch", save_distributed=True))
    floats = {name: value for name, value in sharded.items() if name != "plain"}
    save_sharded_safetensors(floats, f"{folder}/ours")  # torch's own consolidation takes no others
    save_sharded_safetensors(sharded, f"{base}/parts")
    dist.barrier()
    consolidate_safetensors(f"{folder}/torch", f"{base}/of-torch", file_of=FILES)
    consolidate_safetensors(f"{base}/parts", f"{base}/whole", file_of=FILES)
    other = {"rows": Shard(1), "columns": Shard(0), "copy": Shard(0), "half": Replicate()}
    for source in (f"{base}/whole", f"{base}/parts"):  # resharded: each rank reads its own part
        targets = {
            name: distribute_tensor(torch.zeros_like(value), mesh, [other[name]]) if name in other else value * 0
            for name, value in whole.items()
        }
        targets["rows"] = targets["rows"].to(torch.float64)
        load_safetensors(source, into=targets)
        for name, value in targets.items():
            found = value.full_tensor() if name in other else value
            assert torch.equal(found, whole[name].to(found.dtype)), (source, name)
    os.makedirs(f"{folder}/by-torch", exist_ok=True)
    consolidate_safetensors_files_on_every_rank(
        f"{folder}/ours", f"{folder}/by-torch", {name: FILES[name] for name in floats}
    )
    dist.destroy_process_group()


def test_parts_of_ranks_become_one_model(
    tmp_path: Path, moto_server: Server, monkeypatch: pytest.MonkeyPatch, fresh_settings: None
) -> None:
    torch = pytest.importorskip("torch")
    package = pytest.importorskip("safetensors.torch")
    for name, value in moto_server.env.items():
        monkeypatch.setenv(name, value)
    import s3dlio

    s3dlio.create_bucket("s3://ranks")
    process = multiprocessing.get_context("spawn").Process(
        target=job, args=(str(tmp_path), "s3://ranks/m", moto_server.env)
    )
    process.start()
    process.join()
    assert process.exitcode == 0
    expected = tensors()

    floats = {name: value for name, value in expected.items() if name != "plain"}

    def right(found: dict[str, Any], expected: dict[str, Any]) -> bool:
        return found.keys() == expected.keys() and all(torch.equal(found[name], expected[name]) for name in expected)

    for where in (tmp_path / "torch", "s3://ranks/m/parts", "s3://ranks/m/of-torch", "s3://ranks/m/whole"):
        assert right(load_safetensors(where), expected), where
    for where in (tmp_path / "ours", tmp_path / "by-torch"):
        assert right(load_safetensors(where), floats), where
    assert [uri.rpartition("/")[2] for uri in s3dlio.list("s3://ranks/m/whole/")] == [
        "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "model.safetensors.index.json",
    ]  # fmt: skip
    files = [package.load(bytes(s3dlio.get(f"s3://ranks/m/whole/model-0000{number}-of-00002.safetensors")))
             for number in (1, 2)]  # fmt: skip
    assert right(files[0] | files[1], expected)
    assert dict.fromkeys(files[0], 1) | dict.fromkeys(files[1], 2) == FILES


def test_consolidation_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    np = pytest.importorskip("numpy")
    source, target = f"file://{tmp_path}/parts", f"file://{tmp_path}/whole"
    part = TensorPart(np.arange(4), (0,), (8,))
    save_sharded_safetensors({"t": part}, source, rank=0, world_size=2)
    with pytest.raises(CorruptDataError, match="2 ranks"):
        consolidate_safetensors(source, target)
    save_sharded_safetensors({"t": TensorPart(np.arange(4, 8), (4,), (8,))}, source, rank=1, world_size=2)
    for wrong in ({}, {"t": 2}, {"t": 1, "u": 1}):
        with pytest.raises(ConfigError):
            consolidate_safetensors(source, target, file_of=wrong)
    assert not (tmp_path / "whole").exists()
    assert consolidate_safetensors(source, target) == [f"{target}/model.safetensors"]
    assert open_safetensors(target, "np").get_tensor("t").tolist() == list(range(8))
    with pytest.raises(AlreadyExistsError):
        consolidate_safetensors(source, target)


def test_a_rank_that_fails_is_named_on_the_others_and_there_is_no_index(tmp_path: Path) -> None:
    np = pytest.importorskip("numpy")
    source, target = f"file://{tmp_path}/a.safetensors", f"file://{tmp_path}/whole"
    save_safetensors({"a": np.zeros(3), "b": np.zeros(3)}, source)
    rounds = iter(range(3))

    def exchange(value: Any) -> list[Any]:
        other = {"result": None, "error": "its disk is full" if next(rounds) else None}
        return [value, other]

    with pytest.raises(S3dlioError, match="rank 1 of 2 failed: its disk is full"):
        consolidate_safetensors(source, target, file_of={"a": 1, "b": 2}, ranks=Ranks(0, 2, exchange))
    assert [path.name for path in (tmp_path / "whole").iterdir()] == ["model-00001-of-00002.safetensors"]
