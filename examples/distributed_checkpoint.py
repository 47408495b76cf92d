"""Save what several ranks of torch.distributed hold together, and load it in other shards.

Shows: S3dlioStorageWriter and S3dlioStorageReader below torch.distributed.checkpoint; two ranks (gloo, on CPUs).

    python -m tests.servers run moto              # a local S3 (another terminal): export what it prints
    python examples/distributed_checkpoint.py     # or: --bucket gs://a-bucket-of-yours
"""

import argparse
import os
import socket

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Shard, distribute_tensor

import s3dlio
from s3dlio.checkpoint.dcp import S3dlioStorageReader, S3dlioStorageWriter


def rank_main(rank: int, ranks: int, port: int, uri: str) -> None:
    """What each rank does."""
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "LOCAL_RANK": str(rank)}
    torch.set_num_threads(1)
    dist.init_process_group("gloo", rank=rank, world_size=ranks)
    mesh = init_device_mesh("cpu", (ranks,))
    whole = torch.arange(1024 * 256, dtype=torch.float32).reshape(1024, 256)

    state = {"weight": distribute_tensor(whole, mesh, [Shard(0)]), "step": 100}  # each rank has some rows
    dcp.save(state, storage_writer=S3dlioStorageWriter(uri, overwrite=True))

    found = {"weight": distribute_tensor(torch.zeros_like(whole), mesh, [Shard(1)]), "step": 0}  # now: some columns
    dcp.load(found, storage_reader=S3dlioStorageReader(uri))
    right = torch.equal(found["weight"].full_tensor(), whole) and found["step"] == 100
    local = tuple(found["weight"].to_local().shape)
    dist.barrier()
    if rank == 0:
        print(f"saved rows, loaded columns {local} on each of {ranks} ranks: {'equal' if right else 'DIFFERENT'}")
        for name in s3dlio.list(uri + "/"):
            print(f"  {name}: {s3dlio.stat(name)['size']:,} bytes")
    dist.destroy_process_group()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bucket", default="s3://examples", help="of any scheme; made if missing")
    parser.add_argument("--ranks", type=int, default=2)
    args = parser.parse_args()
    s3dlio.create_bucket(args.bucket)
    uri = args.bucket + "/dcp/step-100"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    torch.multiprocessing.start_processes(rank_main, (args.ranks, port, uri), nprocs=args.ranks, start_method="fork")


if __name__ == "__main__":
    main()
