"""Programs with torch's DataLoader, each run as a process: ``python -m tests.torch_programs NAME URI``."""

from __future__ import annotations

import os
import signal
import sys
import time
from typing import Any

from torch.utils.data import DataLoader

import s3dlio
from s3dlio.torch import ObjectStoreIterableDataset


def spawned(uri: str) -> None:
    """That workers are new processes, and that the parent has read before, changes nothing."""
    data = ObjectStoreIterableDataset(uri)
    s3dlio.get(data.uris()[0])
    loader = DataLoader(data, batch_size=4, num_workers=2, multiprocessing_context="spawn", persistent_workers=True)
    for _ in range(2):
        tell(*sorted(int(number) for batch in loader for number in batch[:, 0]))


def kill(sample: Any) -> Any:
    """End the worker in the middle of the epoch."""
    if int(sample[0]) == 11:
        os.kill(os.getpid(), signal.SIGKILL)
    return sample


def slowly(sample: Any) -> Any:
    """Take some time."""
    time.sleep(0.05)
    return sample


def interrupted(uri: str) -> None:
    """One epoch whose worker is killed, then one that waits for Ctrl-C in its middle."""
    try:
        for _ in DataLoader(ObjectStoreIterableDataset(uri, transform=kill), batch_size=None, num_workers=2):
            pass
        tell("a short epoch")
    except (RuntimeError, OSError) as error:
        tell("error:", repr(error))
    data = ObjectStoreIterableDataset(uri, transform=slowly)
    for number, _ in enumerate(DataLoader(data, batch_size=None, num_workers=2)):
        if number == 2:
            tell("in the middle")


def tell(*words: Any) -> None:
    """Say something to who runs this."""
    print(*words, flush=True)  # noqa: T201


if __name__ == "__main__":
    {"spawned": spawned, "interrupted": interrupted}[sys.argv[1]](*sys.argv[2:])
