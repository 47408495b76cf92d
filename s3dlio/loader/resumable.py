"""What every loader has that goes over samples in epochs: it can stop anywhere and go on elsewhere."""

from __future__ import annotations

from typing import Any

from s3dlio.loader.consumer import Consumer, torch_worker
from s3dlio.loader.option_fields import LoaderValues
from s3dlio.loader.progress import Progress


class Resumable:
    """Epochs, and the position in one.

    Args:
        samples: how many there are.
        values: options of the loader.
        batch_size: samples of a batch.
        keys: what tells these samples from others.
    """

    def __init__(self, samples: int, values: LoaderValues, batch_size: int, keys: str = "") -> None:
        self._shares = values
        self._batch_size = batch_size
        #: Which epoch comes, and where in it.
        self.progress = Progress(
            samples, seed=values.order_seed, shuffle=values.shuffle, drop_last=values.drop_last,
            batch_size=batch_size, epoch=values.epoch, replacement=values.replacement, keys=keys,
        )  # fmt: skip

    @property
    def epoch(self) -> int:
        """The epoch of the pass that comes next; it goes on by itself after a complete one."""
        return self.progress.epoch

    def set_epoch(self, epoch: int) -> None:
        """Which epoch comes next: each has an order of its own where samples are shuffled.

        Raises:
            ConfigError: (a ValueError) it is not a whole number from 0 on.
        """
        self.progress.set_epoch(epoch)

    def state_dict(self) -> dict[str, Any]:
        """How far this consumer got: what it was given, not what was read ahead. Less than 1 KiB; JSON can have it."""
        return self.progress.state_dict(self.consumer)

    def load_state_dict(self, state: Any) -> None:
        """The next pass goes on where a state says, whatever the number of ranks and workers was and is.

        Args:
            state: what ``state_dict`` returned; that of one rank says that the others got as far. Or a list of those of
                all ranks, or states of torchdata's ``StatefulDataLoader``.

        Raises:
            ConfigError: (a ValueError) it is none, some are missing, or it is of other samples or another order.
        """
        self.progress.load_state_dict(state)

    @property
    def consumer(self) -> Consumer:
        """Who reads here: the rank that options say, and the worker of a ``torch`` loader that this process is."""
        values = self._shares
        worker, workers = values.worker_id, values.num_workers_pytorch
        if worker is None:  # where it is no worker of torch either, it has all samples of its rank
            worker, workers = torch_worker() or (0, 1)
        return Consumer(values.shard_rank, values.shard_world_size, worker, workers or 1)

    def __len__(self) -> int:
        """How many batches there are."""
        samples = len(self.progress.order(self.consumer))
        return samples // self._batch_size if self._shares.drop_last else -(-samples // self._batch_size)
