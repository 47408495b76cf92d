"""Saves and loads a distributed checkpoint, its names spread over prefixes.

Written after the documentation of s3torchconnector; only the import differs.
"""

import sys

import torch
import torch.distributed.checkpoint as dcp

from s3dlio.compat.s3torchconnector import S3ClientConfig, S3ReaderConstructor
from s3dlio.compat.s3torchconnector._s3client import S3Client
from s3dlio.compat.s3torchconnector.dcp import S3StorageReader, S3StorageWriter
from s3dlio.compat.s3torchconnector.dcp.s3_prefix_strategy import RoundRobinPrefixStrategy

CHECKPOINT_URI, REGION = sys.argv[1], "us-east-1"


def main():
    torch.manual_seed(0)
    config = S3ClientConfig(part_size=16 * 1024 * 1024, throughput_target_gbps=600, max_attempts=20)
    state = {"weight": torch.randn(1000, 300), "bias": torch.randn(300), "step": 12}
    strategy = RoundRobinPrefixStrategy(user_prefixes=["0000000000", "1000000000"], epoch_num=5)
    writer = S3StorageWriter(
        region=REGION, path=CHECKPOINT_URI, s3client_config=config, prefix_strategy=strategy, thread_count=2
    )
    dcp.save(state_dict=state, storage_writer=writer)
    for constructor in (None, S3ReaderConstructor.sequential(), S3ReaderConstructor.range_based()):
        loaded = {"weight": torch.zeros(1000, 300), "bias": torch.zeros(300), "step": 0}
        reader = S3StorageReader(
            region=REGION, path=CHECKPOINT_URI, s3client_config=config, reader_constructor=constructor
        )
        dcp.load(state_dict=loaded, storage_reader=reader)
        equal = torch.equal(loaded["weight"], state["weight"]) and torch.equal(loaded["bias"], state["bias"])
        sys.stdout.write(f"loaded: {equal}, step {loaded['step']}\n")

    if CHECKPOINT_URI.startswith("s3://"):
        bucket, _, prefix = CHECKPOINT_URI.removeprefix("s3://").partition("/")
        pages = S3Client(region=REGION).list_objects(bucket=bucket, prefix=prefix)
        keys = [info.key.removeprefix(prefix) for page in pages for info in page.object_info]
        sys.stdout.write(f"{sorted({key.rpartition('/')[0] for key in keys})}\n")


if __name__ == "__main__":
    main()
