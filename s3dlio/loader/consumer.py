"""Who reads: which rank of a job, and which of its workers."""

from __future__ import annotations

import sys
from typing import NamedTuple

from s3dlio.loader.remaining import Deal


class Consumer(NamedTuple):
    """One of those who share the samples of an epoch."""

    rank: int = 0
    world_size: int = 1
    worker: int = 0
    num_workers: int = 1

    @property
    def stream(self) -> tuple[int, int]:
        """Its rank and its worker."""
        return self.rank, self.worker

    def deal(self, batch_size: int) -> Deal:
        """How samples are dealt out to all of them."""
        return Deal(self.world_size, self.num_workers, batch_size)


def torch_worker() -> tuple[int, int] | None:
    """Which of how many workers of a ``torch`` ``DataLoader`` this process is; None where it is none."""
    data = sys.modules.get("torch.utils.data")
    about = data.get_worker_info() if data is not None else None
    return (about.id, about.num_workers) if about is not None else None
