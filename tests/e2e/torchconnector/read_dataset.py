"""Reads a data set: names and contents, by number, and shared out among workers.

Written after the documentation of s3torchconnector; only the import differs.
"""

import sys

from torch.utils.data import DataLoader
from torch.utils.data.distributed import DistributedSampler

from s3dlio.compat.s3torchconnector import S3IterableDataset, S3MapDataset, S3ReaderConstructor

DATASET_URI, REGION, ENDPOINT = sys.argv[1], "us-east-1", sys.argv[2] or None


def load_text(item):
    return item.key.rpartition("/")[2], item.read().decode()


def show(what, found):
    sys.stdout.write(f"{what}: {found}\n")


def main():
    iterable_dataset = S3IterableDataset.from_prefix(DATASET_URI, region=REGION, endpoint=ENDPOINT)
    show("keys", [item.key.rpartition("/")[2] for item in iterable_dataset])

    map_dataset = S3MapDataset.from_prefix(DATASET_URI, region=REGION, endpoint=ENDPOINT)
    item = map_dataset[0]
    content = item.read()
    show("first", (len(map_dataset), len(content), content[:5]))

    ranged = S3MapDataset.from_prefix(
        DATASET_URI,
        region=REGION,
        endpoint=ENDPOINT,
        reader_constructor=S3ReaderConstructor.range_based(buffer_size=16 * 1024),
    )
    item = ranged[len(ranged) - 1]
    item.seek(2)
    show("range", item.read(3))

    sharded = S3IterableDataset.from_prefix(
        DATASET_URI, region=REGION, endpoint=ENDPOINT, transform=load_text, enable_sharding=True
    )
    loader = DataLoader(sharded, batch_size=4, num_workers=2)
    show("sharded", sorted(text for _, texts in loader for text in texts))

    mapped = S3MapDataset.from_prefix(DATASET_URI, region=REGION, endpoint=ENDPOINT, transform=load_text)
    sampler = DistributedSampler(mapped, num_replicas=2, rank=1, shuffle=True, seed=7)
    loader = DataLoader(mapped, sampler=sampler, batch_size=3)
    show("rank 1", [name for names, _ in loader for name in names])


if __name__ == "__main__":
    main()
