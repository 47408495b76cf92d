"""One rank of a benchmark of distributed checkpoints, of this library or of s3torchconnector's.

It reads jobs, one JSON object a line, and answers each with one; see ``perf/dcp.py``.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import threading
import time
import warnings

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor, Replicate, Shard

warnings.simplefilter("ignore")
LIBRARY, RANK, WORLD, MEETING = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
ENDPOINT = os.environ["AWS_ENDPOINT_URL"]


def writer(path):
    if LIBRARY == "s3torch":
        from s3torchconnector import S3ClientConfig
        from s3torchconnector.dcp import S3StorageWriter

        made = S3StorageWriter("us-east-1", path, s3client_config=S3ClientConfig(force_path_style=True))
        made.fs._client = client()  # which takes the endpoint as an argument only
        return made
    if LIBRARY == "torch":
        return dcp.FileSystemWriter(path.removeprefix("file://"))
    from s3dlio.checkpoint.dcp import S3dlioStorageWriter

    return S3dlioStorageWriter(path)


def client():
    from s3torchconnector import S3ClientConfig
    from s3torchconnector._s3client import S3Client

    return S3Client("us-east-1", endpoint=ENDPOINT, s3client_config=S3ClientConfig(force_path_style=True))


def reader(path):
    if LIBRARY == "s3torch":
        from s3torchconnector.dcp import S3StorageReader

        made = S3StorageReader("us-east-1", path)
        made.fs._client = client()
        return made
    if LIBRARY == "torch":
        return dcp.FileSystemReader(path.removeprefix("file://"))
    from s3dlio.checkpoint.dcp import S3dlioStorageReader

    return S3dlioStorageReader(path)


def state(job, value=None):
    """Tensors of ``rows`` x ``columns`` floats, sharded along ``dim`` over all ranks; -1: each rank has all."""
    mesh = init_device_mesh("cpu", (WORLD,))
    dim, shape = job.get("dim", 0), [job["rows"], job["columns"]]
    if dim >= 0:
        shape[dim] //= WORLD
    made = {}
    for number in range(job["tensors"]):
        local = torch.full(shape, float(number) if value is None else value)
        if WORLD > 1:
            local = DTensor.from_local(local, mesh, [Shard(dim) if dim >= 0 else Replicate()], run_check=False)
        made[f"layer.{number}"] = local
    return made


def save(job):
    wanted = state(job)
    return timed(lambda: dcp.save(wanted, storage_writer=writer(job["path"])))


def load(job):
    found = state(job, -1.0)
    result = timed(lambda: dcp.load(found, storage_reader=reader(job["path"])))
    for number in range(job["tensors"]):
        local = found[f"layer.{number}"]
        local = local.to_local() if isinstance(local, DTensor) else local
        assert bool((local == float(number)).all()), f"layer.{number} is wrong"
    return result


def half(job):
    """One rank alone loads half of every tensor: what a rank of two needs whose tensors are sharded along ``dim``."""
    source = reader(job["path"])
    metadata = source.read_metadata()
    source.set_up_storage_reader(metadata, True)
    from torch.distributed.checkpoint.metadata import MetadataIndex
    from torch.distributed.checkpoint.planner import LoadItemType, LoadPlan, ReadItem

    rows, columns = job["rows"], job["columns"]
    wanted = [(0, rows // 2), (0, columns)] if job["half"] == 0 else [(0, rows), (0, columns // 2)]
    targets, items = {}, []
    for name, about in metadata.state_dict_metadata.items():
        targets[name] = torch.full([end - begin for begin, end in wanted], -1.0)
        for chunk in about.chunks:
            both = [
                (max(begin, at), min(end, at + size))
                for (begin, end), at, size in zip(wanted, chunk.offsets, chunk.sizes, strict=True)
            ]
            if all(begin < end for begin, end in both):
                items.append(ReadItem(
                    LoadItemType.TENSOR, MetadataIndex(name), torch.Size([begin for begin, _ in both]),
                    MetadataIndex(name, chunk.offsets),
                    torch.Size([begin - at for (begin, _), at in zip(both, chunk.offsets, strict=True)]),
                    torch.Size([end - begin for begin, end in both]),
                ))  # fmt: skip

    class Planner:
        def resolve_tensor(self, item):
            target = targets[item.dest_index.fqn]
            for dim, (at, size) in enumerate(zip(item.dest_offsets, item.lengths, strict=True)):
                target = target.narrow(dim, at, size)
            return target

        def commit_tensor(self, item, tensor):
            pass

    plan = source.prepare_local_plan(LoadPlan(items))
    result = timed(lambda: source.read_data(plan, Planner()).wait())
    for number in range(job["tensors"]):
        assert bool((targets[f"layer.{number}"] == float(number)).all())
    return result | {"needed": sum(target.nbytes for target in targets.values())}


def staging(job):
    """How long ``async_save`` blocks beside a copy of the state, and what a busy thread of this process loses."""
    wanted = state(job)
    tensors = [value.to_local() if isinstance(value, DTensor) else value for value in wanted.values()]
    copies = [tensor.clone() for tensor in tensors]
    used = writer(job["path"])
    copying, blocked, rates, alone = [], [], [], []
    for step in range(job["steps"]):
        alone.append(rate(lambda: False, 0.5))
        begun = time.perf_counter()
        for copy, tensor in zip(copies, tensors, strict=True):
            copy.copy_(tensor)
        copying.append(time.perf_counter() - begun)
        before = resident()
        begun = time.perf_counter()
        saved = dcp.async_save(wanted, checkpoint_id=f"{job['path']}/{step}", storage_writer=used)
        blocked.append(time.perf_counter() - begun)
        rates.append(rate(saved.done, 60))
        saved.result()
    return {"copy": copying, "blocked": blocked, "alone": alone, "beside": rates, "resident": resident() - before}


def rate(over, seconds):
    """Steps a second of a thread that computes, until ``over()``."""
    matrix = torch.full((256, 256), 0.001)
    begun, count = time.perf_counter(), 0
    while not over() and time.perf_counter() - begun < seconds:
        for _ in range(10):
            matrix = (matrix @ matrix).clamp_(0.0, 1.0)
        count += 10
    return count / (time.perf_counter() - begun), time.perf_counter() - begun


def timed(work):
    dist.barrier() if WORLD > 1 else None
    before, usage = resident(), resource.getrusage(resource.RUSAGE_SELF)
    peak = Peak()
    begun = time.perf_counter()
    work()
    seconds = time.perf_counter() - begun
    after = resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - usage.ru_utime - usage.ru_stime
    return {"seconds": seconds, "cpu": cpu, "added": peak.end() - before}


def resident():
    """Bytes of memory of this process, without files that it has mapped."""
    with open("/proc/self/status") as status:
        found = {line.split(":")[0]: line.split()[1] for line in status if line.startswith("Rss")}
    return (int(found["RssAnon"]) + int(found["RssShmem"])) * 1024


class Peak:
    """The most resident memory until ``end``, looked at often."""

    def __init__(self):
        self.most, self._over = resident(), threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def _look(self):
        while not self._over.wait(0.02):
            self.most = max(self.most, resident())

    def end(self):
        self._over.set()
        self._thread.join()
        return max(self.most, resident())


if __name__ == "__main__":
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{MEETING}", rank=RANK, world_size=WORLD)
    print("ready", flush=True)
    for line in sys.stdin:
        job = json.loads(line)
        print(json.dumps(globals()[job["do"]](job)), flush=True)
