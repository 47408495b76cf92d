"""A sampler for map-style data sets: the ranks of a job share the samples, and it goes on after a stop."""

from __future__ import annotations

from collections.abc import Iterator, Sized
from typing import Any

from s3dlio.checkpoint.ranks import torch_ranks
from s3dlio.loader.consumer import Consumer
from s3dlio.loader.progress import Progress


class ElasticSampler:
    """In the place of ``torch.utils.data.DistributedSampler``: each sample once, and no stored order.

    No sample is repeated so that ranks have as many: some may have one less, or with ``drop_last`` all have as many
    full batches. An epoch that was stopped goes on with any number of ranks. Torchdata's ``StatefulDataLoader`` keeps
    its state; of a plain ``DataLoader``, say how many samples were consumed: ``sampler.state_dict(consumed=n)``.

    Args:
        data_source: what is sampled; only its length counts.
        num_replicas, rank: how many ranks there are, and which one this is; default: those of ``torch.distributed``.
        shuffle: another order in each epoch.
        seed: chooses the orders; the same on all ranks.
        drop_last: leave out what does not fill a batch of each rank.
        batch_size: of the ``DataLoader``; it counts with ``drop_last``.

    Raises:
        ConfigError: (a ValueError) there is no such rank.
    """

    def __init__(
        self,
        data_source: Sized,
        num_replicas: int | None = None,
        rank: int | None = None,
        shuffle: bool = True,
        seed: int = 0,
        drop_last: bool = False,
        *,
        batch_size: int = 1,
    ) -> None:
        ranks = torch_ranks()
        self._consumer = Consumer(
            ranks.rank if rank is None else rank, ranks.world_size if num_replicas is None else num_replicas
        )
        self.progress = Progress(
            len(data_source), seed=seed, shuffle=shuffle, drop_last=drop_last, batch_size=batch_size, advances=False
        )
        self.progress.order(self._consumer)  # complain now

    def __iter__(self) -> Iterator[int]:
        begun = self.progress.begin(self._consumer)

        def asked() -> Iterator[int]:
            for position, sample in enumerate(begun.order):
                begun.took([position])
                yield sample

        return asked()

    def __len__(self) -> int:
        """How many samples this rank has of an epoch, or still has of one that goes on."""
        return len(self.progress.order(self._consumer))

    def set_epoch(self, epoch: int) -> None:
        """Which epoch comes next. The one that a loaded state is in goes on where that says.

        Raises:
            ConfigError: (a ValueError) it is not a whole number from 0 on.
        """
        self.progress.set_epoch(epoch)

    def state_dict(self, *, consumed: int | None = None) -> dict[str, Any]:
        """How far this rank got: less than 1 KiB.

        Args:
            consumed: how many samples of the last pass the program has had. Without, all that were asked for count,
                which are more where a ``DataLoader`` has workers that read ahead.

        Raises:
            ConfigError: so many were not asked for.
        """
        if consumed is None:
            return self.progress.state_dict(self._consumer)
        return self.progress.rewound(self._consumer, consumed)

    def load_state_dict(self, state: Any) -> None:
        """The next pass goes on where a state says.

        Args:
            state: what ``state_dict`` returned, here or on any other number of ranks; that of one rank says that the
                others got as far. Or a list of those of all ranks, or states of ``StatefulDataLoader``.

        Raises:
            ConfigError: (a ValueError) it is none, some are missing, or it is of other samples or another order.
        """
        self.progress.load_state_dict(state)
