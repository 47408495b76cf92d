"""Save a model of torch while it trains, be killed, and go on from the last checkpoint.

Shows: checkpoints are there whole or not at all. The program starts itself twice; the first run is killed in epoch 3.

    python -m tests.servers run moto              # a local S3 (another terminal): export what it prints
    python examples/checkpoint_and_resume.py      # or: --bucket gs://a-bucket-of-yours
"""

import argparse
import io
import signal
import subprocess
import sys

import s3dlio


def train(uri: str, die_in: int) -> None:
    import torch  # here: the process that only starts the others needs none of it

    store = s3dlio.CheckpointStore(uri)
    model, first = torch.nn.Linear(16, 1), 0
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    if (data := store.load_latest()) is not None:
        states = torch.load(io.BytesIO(data), weights_only=True)
        model.load_state_dict(states["model"])
        optimizer.load_state_dict(states["optimizer"])
        first = states["epoch"] + 1
    for epoch in range(first, 6):
        loss = (model(torch.ones(8, 16)) - 3).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if epoch == die_in:
            signal.raise_signal(signal.SIGKILL)
        saved = io.BytesIO()
        torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": epoch}, saved)
        store.save(epoch, epoch, "torch", saved.getbuffer(), {"loss": loss.item()})
        print(f"epoch {epoch}: loss {loss.item():.4f}, saved", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bucket", default="s3://examples", help="of any scheme; made if missing")
    parser.add_argument("--train", type=int, metavar="N", help="only train, and be killed in epoch N")
    args = parser.parse_args()
    if args.train is not None:
        train(args.bucket + "/run", args.train)
        return
    s3dlio.create_bucket(args.bucket)
    uri = args.bucket + "/run"
    s3dlio.delete(uri + "/", recursive=True)  # of an earlier run
    program = [sys.executable, __file__, "--bucket", args.bucket, "--train"]
    print("killed by", signal.Signals(-subprocess.run([*program, "3"], check=False).returncode).name, flush=True)
    subprocess.run([*program, "-1"], check=True)
    print("checkpoints:", [info.step for info in s3dlio.CheckpointStore(uri).list()])


if __name__ == "__main__":
    main()
