"""What each rank of a distributed checkpoint does, in processes of their own, which ``run`` starts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]


def run(
    scenarios: dict[str, str], world: int, env: dict[str, str] | None = None, timeout: float = 90
) -> list[dict[str, Any]]:
    """Run functions of this module on ``world`` ranks.

    Args:
        scenarios: by a name: the function and the place that it gets, with a space between.
        world: how many ranks.
        env: added to the environment.
        timeout: seconds.

    Returns:
        What each rank found, by those names.
    """
    with tempfile.TemporaryDirectory() as folder:
        commands = [
            [sys.executable, "-m", "tests.dcp_ranks", json.dumps(scenarios), str(rank), str(world), folder]
            for rank in range(world)
        ]
        # Several ranks on few cores: threads of torch would only wait for each other.
        env = os.environ | {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"} | (env or {})
        ranks = [
            subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            for command in commands
        ]
        try:
            said = [rank.communicate(timeout=timeout)[0] for rank in ranks]
        finally:
            for rank in ranks:
                rank.kill()
        for rank, text in zip(ranks, said, strict=True):
            assert rank.returncode == 0, text
        return [json.loads(Path(folder, f"result-{rank}").read_text()) for rank in range(world)]


def whole(name: str, rows: int = 64, columns: int = 48) -> Any:
    """A tensor that every rank makes alike."""
    import torch

    return torch.arange(rows * columns, dtype=torch.float32).reshape(rows, columns) + len(name)


def sharded(dim: int, names: tuple[str, ...] = ("a", "bcd")) -> dict[str, Any]:
    """Tensors that are distributed over all ranks along a dimension (replicated: -1)."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import Replicate, Shard, distribute_tensor

    mesh = init_device_mesh("cpu", (_world(),))
    placements = [Replicate() if dim < 0 else Shard(dim)]
    return {name: distribute_tensor(whole(name), mesh, placements) for name in names}


def _world() -> int:
    import torch.distributed as dist

    return dist.get_world_size()


def _blank(state: dict[str, Any]) -> dict[str, Any]:
    for value in state.values():
        value.to_local().zero_()
    return state


def save_and_reshard(place: str, rank: int) -> Any:
    """Save what is sharded along rows, load it in other ways."""
    import torch
    import torch.distributed.checkpoint as dcp

    from s3dlio.checkpoint.dcp import S3dlioStorageReader, S3dlioStorageWriter

    state = sharded(0) | {"same": torch.full((1000, 50), 3.0), "step": 7}
    dcp.save(state, storage_writer=S3dlioStorageWriter(place))
    right = []
    for dim in (0, 1, -1):
        found = _blank(sharded(dim)) | {"same": torch.zeros(1000, 50), "step": 0}
        dcp.load(found, storage_reader=S3dlioStorageReader(place))
        tensors = [torch.equal(found[name].full_tensor(), whole(name)) for name in ("a", "bcd")]
        right.append(all(tensors) and bool((found["same"] == 3).all()) and found["step"] == 7)
    return right


def save_in_the_background(place: str, rank: int) -> Any:
    """Two asynchronous saves by threads, of a state that goes on changing."""
    import torch
    import torch.distributed.checkpoint as dcp

    from s3dlio.checkpoint.dcp import S3dlioStorageReader, S3dlioStorageWriter

    writer = S3dlioStorageWriter(place)
    state = sharded(0)
    right = []
    for step in range(2):
        saved = dcp.async_save(state, checkpoint_id=f"{place}/{step}", storage_writer=writer)
        for value in state.values():
            value.to_local().add_(1)
        saved.result()
    for step in range(2):
        found = _blank(sharded(1))
        dcp.load(found, storage_reader=S3dlioStorageReader(f"{place}/{step}"))
        right.append(all(torch.equal(found[name].full_tensor(), whole(name) + step) for name in found))
    writer.close()
    return right


def save_by_another_process(place: str, rank: int) -> Any:
    """Two asynchronous saves by a process beside this one."""
    import torch
    import torch.distributed.checkpoint as dcp
    from torch.distributed.checkpoint.state_dict_saver import AsyncCheckpointerType

    from s3dlio.checkpoint.dcp import S3dlioStorageReader, S3dlioStorageWriter

    writer = S3dlioStorageWriter(place, shared_memory=True)
    tensor = torch.zeros(5000)
    for step in range(2):
        tensor.fill_(step)
        saved = dcp.async_save(
            {"t": tensor}, checkpoint_id=f"{place}/{step}", storage_writer=writer,
            async_checkpointer_type=AsyncCheckpointerType.PROCESS,
        )  # fmt: skip
        tensor.fill_(9)
        saved.result()
    values = []
    for step in range(2):
        found = {"t": torch.zeros(5000)}
        dcp.load(found, storage_reader=S3dlioStorageReader(f"{place}/{step}"))
        values.append(found["t"].unique().tolist())
    return values


def save_where_one_fails(place: str, rank: int) -> Any:
    """One rank cannot write: nobody sees the checkpoint, and what was there stays."""
    import torch
    import torch.distributed.checkpoint as dcp
    from torch.distributed.checkpoint.api import CheckpointException

    from s3dlio.checkpoint.dcp import S3dlioStorageReader, S3dlioStorageWriter

    dcp.save(sharded(0), storage_writer=S3dlioStorageWriter(place))

    class Failing(S3dlioStorageWriter):
        def write_data(self, plan: Any, planner: Any) -> Any:
            if rank == 1:
                raise OSError("no more room")
            return super().write_data(plan, planner)

    changed = sharded(0)
    for value in changed.values():
        value.to_local().zero_()
    told = ""
    try:
        dcp.save(changed, storage_writer=Failing(place, overwrite=True))
    except CheckpointException as error:
        told = str(error.failures[1][0])
    found = _blank(sharded(1))
    dcp.load(found, storage_reader=S3dlioStorageReader(place))
    return told, all(torch.equal(found[name].full_tensor(), whole(name)) for name in found)


def save_without_collectives(place: str, rank: int) -> Any:
    """Every rank saves and loads for itself."""
    import torch
    import torch.distributed.checkpoint as dcp

    from s3dlio.checkpoint.dcp import S3dlioStorageReader, S3dlioStorageWriter

    dcp.save({"t": torch.full((9,), float(rank))}, storage_writer=S3dlioStorageWriter(place), use_collectives=False)
    found = {"t": torch.zeros(9)}
    dcp.load(found, storage_reader=S3dlioStorageReader(place))
    return found["t"].unique().tolist()


def _main(scenarios: dict[str, str], rank: int, world: int, folder: str) -> None:
    import warnings

    import torch.distributed as dist

    warnings.simplefilter("ignore")
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=world)
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(world), "LOCAL_RANK": str(rank)}
    results = {}
    for name, spec in scenarios.items():
        function, place = spec.split(" ", 1)
        results[name] = globals()[function](place, rank)
    Path(folder, f"result-{rank}").write_text(json.dumps(results))
    dist.destroy_process_group()


if __name__ == "__main__":
    _main(json.loads(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
