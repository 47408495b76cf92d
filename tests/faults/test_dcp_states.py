"""Distributed checkpoints of torch on a disk after a crash: the one that was replaced, or the new one, whole."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
dcp = pytest.importorskip("torch.distributed.checkpoint")

from s3dlio.checkpoint.dcp import S3dlioStorageReader, S3dlioStorageWriter  # noqa: E402
from tests.faults.disk_states import Disk, write_tree  # noqa: E402


def state(step: int) -> dict[str, Any]:
    return {"a": torch.full((40, 30), float(step)), "b": torch.arange(100) * step, "step": step}


def save(path: Path, step: int) -> None:
    dcp.save(state(step), storage_writer=S3dlioStorageWriter(path, overwrite=True), no_dist=True)


def loaded(path: Path) -> int:
    """The step of the checkpoint, all of which is of that step."""
    found = state(0)
    dcp.load(found, storage_reader=S3dlioStorageReader(path), no_dist=True)
    step: int = found["step"]
    assert torch.equal(found["a"], state(step)["a"])
    assert torch.equal(found["b"], state(step)["b"])
    return step


@pytest.mark.parametrize("replaces", [True, False])
def test_the_checkpoint_that_was_there_or_the_new_one(tmp_path: Path, replaces: bool) -> None:
    base, place = tmp_path / "base", tmp_path / "state"
    base.mkdir()
    if replaces:
        save(base / "run", 1)
    disk = Disk(base)
    with disk.recording():
        save(base / "run", 2)
    outcomes = set()
    seen: set[tuple[str, bool]] = set()
    for each in disk.states():
        returned = each.after == len(disk.operations)
        if (looks := (repr(each.tree), returned)) in seen:
            continue
        seen.add(looks)
        write_tree(place, each.tree)
        there = (place / "run" / ".metadata").exists()
        step = loaded(place / "run") if there else None
        assert step == 2 if returned else step in ((1, 2) if replaces else (None, 2))
        outcomes.add(step)
        shutil.rmtree(place)
    assert outcomes == ({1, 2} if replaces else {None, 2})
