"""Which sample comes when, for one consumer of an epoch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import overload

import numpy as np

from s3dlio.errors import ConfigError
from s3dlio.loader.permutation import Draws, Permutation
from s3dlio.loader.remaining import Deal, Remaining

#: Samples whose places are computed at a time: 0.2 ms.
_STRETCH = 1024


class SampleOrder(Sequence[int]):
    """The samples of one consumer, as positions in the data set, in their order.

    All consumers of an epoch together have every sample once. The order of all is a function of the seed and the
    epoch alone: neither ranks nor workers, nor a stop in between, change it. Nothing of it is stored.

    Args:
        count: how many samples the data set has.
        seed, epoch: choose the order where it is shuffled.
        shuffle: otherwise, it is that of the data set.
        rank, world_size: which of how many ranks this is.
        worker, num_workers: which of how many workers of the rank; none and one are the same.
        drop_last: all ranks have as many full batches, and what does not fill one for each of them is left out.
        batch_size: workers take so many samples in turn.
        remaining: what is left of the epoch; default: all.
        start: this consumer has had so many already.
        late: those before that, as offsets in this consumer's order, that it has not had; they come first.
        replacement: each sample is drawn of all, so that some come twice and others not.

    Raises:
        ConfigError: a rank or worker that is none of them, or a number that makes no sense.
    """

    def __init__(
        self,
        count: int,
        *,
        seed: int = 0,
        shuffle: bool = False,
        epoch: int = 0,
        rank: int = 0,
        world_size: int = 1,
        worker: int = 0,
        num_workers: int = 0,
        drop_last: bool = False,
        batch_size: int = 1,
        remaining: Remaining | None = None,
        start: int = 0,
        late: Sequence[int] = (),
        replacement: bool = False,
    ) -> None:
        workers = num_workers or 1
        _check("rank", rank, "world_size", world_size)
        _check("worker", worker, "num_workers", workers)
        if batch_size < 1:
            raise ConfigError(f"batch_size must be 1 or more, not {batch_size}")
        self.samples = count
        self.deal = Deal(world_size, workers, batch_size)
        self.stream = (rank, worker)
        self.remaining = remaining if remaining is not None else Remaining(count)
        self.start = start
        self.late = tuple(late)
        shuffled = (Draws if replacement else Permutation)(count, seed, epoch) if shuffle else None
        self.shuffled: Draws | Permutation | None = shuffled
        self._limit = self.deal.share(self.stream, self.remaining.left, drop_last)

    def offset(self, position: int) -> int:
        """The offset, in the order of this consumer, of the sample at a position in this sequence."""
        return self.late[position] if position < len(self.late) else self.start + position - len(self.late)

    def __len__(self) -> int:
        return len(self.late) + max(self._limit - self.start, 0)

    @overload
    def __getitem__(self, position: int) -> int: ...
    @overload
    def __getitem__(self, position: slice) -> Sequence[int]: ...
    def __getitem__(self, position: int | slice) -> int | Sequence[int]:
        within = range(len(self))[position]
        return self._samples([within])[0] if isinstance(within, int) else self._samples(within)

    def __iter__(self) -> Iterator[int]:
        count = len(self)
        size = 16  # what comes first is wanted at once
        at = 0
        while at < count:
            yield from self._samples(range(at, min(at + size, count)))
            at += size
            size = _STRETCH

    def _samples(self, positions: Sequence[int]) -> list[int]:
        offsets = np.fromiter(map(self.offset, positions), np.int64, len(positions))
        places = self.remaining.at(self.deal.place(self.stream, offsets))
        samples: list[int] = (places if self.shuffled is None else self.shuffled.at(places)).tolist()
        return samples


def _check(name: str, index: int, total_name: str, total: int) -> None:
    if total < 1 or not 0 <= index < total:
        raise ConfigError(f"{name} must be from 0 to {total_name} - 1, got {index} of {total}")
