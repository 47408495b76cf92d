"""One epoch of a torch DataLoader over objects, by one library: ``torch_epoch.py JSON``; prints its cost as JSON."""

from __future__ import annotations

import json
import os
import resource
import sys
import threading
import time
from typing import Any


def make(job: dict[str, Any]) -> Any:
    """The data set of the library of this job."""
    import torch

    uri, iterable = job["uri"], job["kind"] == "iterable"
    if job["library"] == "s3torch":
        from s3torchconnector import S3ClientConfig, S3IterableDataset, S3MapDataset

        arguments = {
            "region": "us-east-1", "endpoint": os.environ["AWS_ENDPOINT_URL"], "transform": tensor,
            "s3client_config": S3ClientConfig(force_path_style=True),
        }  # fmt: skip
        if iterable:
            return S3IterableDataset.from_prefix(uri, enable_sharding=True, **arguments)
        return S3MapDataset.from_prefix(uri, **arguments)
    from s3dlio.torch import ObjectStoreIterableDataset, ObjectStoreMapDataset

    assert torch
    if iterable:
        return ObjectStoreIterableDataset.from_prefix(uri, enable_sharding=True, **job.get("options", {}))
    return ObjectStoreMapDataset.from_prefix(uri, **job.get("options", {}))


def tensor(reader: Any) -> Any:
    """What s3torchconnector's examples do with an object."""
    import torch

    return torch.frombuffer(bytearray(reader.read()), dtype=torch.uint8)


def resident() -> int:
    """Bytes of memory that this process and its children have, shared ones once."""
    total = 0
    for process in [os.getpid(), *children()]:
        try:
            with open(f"/proc/{process}/smaps_rollup") as lines:
                total += sum(int(line.split()[1]) << 10 for line in lines if line.startswith("Pss:"))
        except OSError:
            continue
    return total


def children() -> list[int]:
    """The processes that this one has started."""
    try:
        with open(f"/proc/self/task/{os.getpid()}/children") as found:
            return [int(number) for number in found.read().split()]
    except OSError:
        return []


def watch(peak: list[int], over: threading.Event) -> None:
    """Keep the most memory that is seen."""
    while not over.wait(0.1):
        peak[0] = max(peak[0], resident())


def main() -> None:
    """Do the job."""
    job = json.loads(sys.argv[1])
    from torch.utils.data import DataLoader

    if job["library"] != "reference":  # it cannot fork, nor pickle, once it has read
        make(job)
    started = time.perf_counter()
    data = make(job)
    size = None if job["batch"] is None else int(job["batch"])
    loader = DataLoader(data, batch_size=size, num_workers=job["workers"])
    peak, over = [resident()], threading.Event()
    first = peak[0]
    if job.get("memory"):
        threading.Thread(target=watch, args=(peak, over), daemon=True).start()
    samples = size_read = 0
    before = resource.getrusage(resource.RUSAGE_SELF)
    for batch in loader:
        samples += 1 if size is None else len(batch)
        size_read += batch.nbytes
    del loader
    wall = time.perf_counter() - started
    over.set()
    cpu = 0.0
    for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN):
        used = resource.getrusage(who)
        cpu += used.ru_utime + used.ru_stime
    cpu -= before.ru_utime + before.ru_stime
    answer = {"wall": wall, "cpu": cpu, "samples": samples, "bytes": size_read, "memory": peak[0] - first}
    print(json.dumps(answer), flush=True)
    os._exit(0)


if __name__ == "__main__":
    main()
