"""Train a model of torch on samples that lie in S3, read by worker processes.

Shows: a data set of NPZ objects, shuffled, shared among the workers of a DataLoader.

    python -m tests.servers run moto              # a local S3 (another terminal): export what it prints
    python examples/train_from_s3.py              # or: --bucket gs://a-bucket-of-yours
"""

import argparse

import numpy as np
import torch
from torch.utils.data import DataLoader

import s3dlio
from s3dlio.torch import ObjectStoreIterableDataset

WEIGHTS = np.array([2.0, -1.0, 0.5, 3.0], np.float32)


def make_samples(uri: str, count: int) -> None:
    x = np.random.default_rng(1).normal(size=(count, 4)).astype(np.float32)
    archives = (s3dlio.build_multi_npz([("x", row), ("y", row @ WEIGHTS)]) for row in x)
    s3dlio.put_many([(f"{uri}{number:05}.npz", data) for number, data in enumerate(archives)])


def to_tensors(arrays: dict[str, np.ndarray]) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.tensor(arrays["x"]), torch.tensor(arrays["y"])  # copies: arrays over objects are read-only


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bucket", default="s3://examples", help="of any scheme; made if missing")
    parser.add_argument("--samples", type=int, default=512, help="how many are made where there are none")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    s3dlio.create_bucket(args.bucket)
    uri = args.bucket + "/train/"
    if not s3dlio.list(uri):
        make_samples(uri, args.samples)
    options = {"format": "npz", "batch_size": 32}  # that of the DataLoader: workers then take whole batches in turn
    data = ObjectStoreIterableDataset(uri, shuffle=True, seed=7, transform=to_tensors, loader_opts=options)
    loader = DataLoader(data, batch_size=32, num_workers=args.workers, persistent_workers=args.workers > 0)
    model = torch.nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for epoch in range(args.epochs):
        data.set_epoch(epoch)
        losses = []
        for x, y in loader:
            loss = torch.nn.functional.mse_loss(model(x).squeeze(1), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        print(f"epoch {epoch}: {len(losses)} batches, loss {np.mean(losses):.5f}")


if __name__ == "__main__":
    main()
