"""Code that was written for s3torchconnector, with another import: on any scheme.

Shows: data sets, readers and checkpoints of that package's interface. The only change is in the import.

    python -m tests.servers run moto              # a local S3 (another terminal): export what it prints
    python examples/from_s3torchconnector.py      # or: --bucket gs://a-bucket-of-yours
"""

import argparse

import torch
from torch.utils.data import DataLoader

import s3dlio
from s3dlio.compat.s3torchconnector import S3Checkpoint, S3IterableDataset, S3MapDataset  # was: from s3torchconnector

REGION = "us-east-1"


def load(item):  # the type of `item` is that package's S3Reader
    return item.key.rpartition("/")[2], len(item.read())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bucket", default="s3://examples", help="of any scheme; made if missing")
    parser.add_argument("--objects", type=int, default=24, help="how many are made where there are none")
    args = parser.parse_args()
    s3dlio.create_bucket(args.bucket)
    uri = args.bucket + "/images/"
    if not s3dlio.list(uri):
        s3dlio.put_many([(f"{uri}img_{n:03}", s3dlio.generate_data(10_000 + n)) for n in range(args.objects)])

    # From here on as it was.
    mapped = S3MapDataset.from_prefix(uri + "img_", region=REGION, transform=load)
    print(f"map: {len(mapped)} objects, the last one {mapped[len(mapped) - 1]}")

    stream = S3IterableDataset.from_prefix(uri + "img_", region=REGION, transform=load, enable_sharding=True)
    total = sum(int(sizes.sum()) for _, sizes in DataLoader(stream, batch_size=8, num_workers=2))
    print(f"iterable, two workers: {total:,} bytes")

    model = torch.nn.Linear(8, 2)
    checkpoint = S3Checkpoint(region=REGION)
    with checkpoint.writer(uri + "model.pt") as writer:
        torch.save(model.state_dict(), writer)
    with checkpoint.reader(uri + "model.pt") as reader:
        loaded = torch.load(reader, weights_only=True)
    print(f"checkpoint: loaded equals saved: {torch.equal(loaded['weight'], model.weight)}")


if __name__ == "__main__":
    main()
