"""Trains a little, keeps a checkpoint of each epoch, and goes on from the last one.

Written after the documentation of s3torchconnector; only the import differs.
"""

import sys

import torch

from s3dlio.compat.s3torchconnector import S3Checkpoint, S3ClientConfig, S3Exception

CHECKPOINT_URI, REGION, ENDPOINT = sys.argv[1], "us-east-1", sys.argv[2] or None


def step(model, optimizer):
    optimizer.zero_grad()
    loss = model(torch.ones(8, 16)).square().mean()
    loss.backward()
    optimizer.step()
    return loss.item()


def main():
    torch.manual_seed(0)
    config = S3ClientConfig(part_size=16 * 1024 * 1024, max_attempts=4, force_path_style=True)
    checkpoint = S3Checkpoint(region=REGION, endpoint=ENDPOINT, s3client_config=config)
    model = torch.nn.Sequential(torch.nn.Linear(16, 512), torch.nn.ReLU(), torch.nn.Linear(512, 600))
    optimizer = torch.optim.Adam(model.parameters())
    for epoch in range(3):
        step(model, optimizer)
        with checkpoint.writer(CHECKPOINT_URI + f"epoch{epoch}.ckpt") as writer:
            torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": epoch}, writer)
    expected = step(model, optimizer)

    with checkpoint.reader(CHECKPOINT_URI + "epoch2.ckpt") as reader:
        state = torch.load(reader)
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    sys.stdout.write(f"went on after epoch {state['epoch']}: {step(model, optimizer) == expected}\n")

    try:
        checkpoint.reader(CHECKPOINT_URI + "epoch3.ckpt").read()
    except S3Exception:
        sys.stdout.write("there is no epoch 3\n")


if __name__ == "__main__":
    main()
