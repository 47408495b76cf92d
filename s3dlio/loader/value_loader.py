"""A loader of values that are at hand, with the batches and the order of the loaders of objects."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

from s3dlio.loader.bytes_loader import order
from s3dlio.loader.dataset import Options
from s3dlio.loader.options import LoaderOptions

#: Values in a batch, where nobody says.
_BATCH = 32


class ValueLoader:
    """Batches (lists) of the values of a sequence, for ``async for`` and ``for``.

    Args:
        dataset: ``PyVecDataset([...])``, or anything with a length whose items are had by their index.
        opts: options, see docs/loaders.md; ``batch_size`` is 32 without.

    Raises:
        ConfigError: (a ValueError) an unknown option, with the one that was probably meant, or a wrong value.
        TypeError: this is no data set.
    """

    def __init__(self, dataset: Sequence[Any], opts: Options = None) -> None:
        if not (hasattr(dataset, "__getitem__") and hasattr(dataset, "__len__")):
            raise TypeError(f"a loader reads a data set with a length and an index, not {type(dataset).__name__}")
        self.dataset = dataset
        self.options = LoaderOptions.from_any(opts)
        self.epoch = self.options.values.epoch

    def set_epoch(self, epoch: int) -> None:
        """Which epoch comes next: each has an order of its own where values are shuffled. It goes on by itself."""
        self.epoch = epoch

    @property
    def _size(self) -> int:
        return self.options.values.batch_size or _BATCH

    def __len__(self) -> int:
        """How many batches there are."""
        count = len(order(self.options.values, len(self.dataset), self.epoch))
        return count // self._size if self.options.values.drop_last else -(-count // self._size)

    def __iter__(self) -> Iterator[list[Any]]:
        values = self.options.values
        transform = values.applied or _same
        batch: list[Any] = []
        for index in order(values, len(self.dataset), self.epoch):
            batch.append(transform(self.dataset[index]))
            if len(batch) == self._size:
                yield batch
                batch = []
        if batch and not values.drop_last:
            yield batch
        self.epoch += 1

    async def __aiter__(self) -> AsyncIterator[list[Any]]:
        for batch in self:
            yield batch

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.dataset!r}, {self.options!r})"


PyAsyncDataLoader = ValueLoader


def _same(value: Any) -> Any:
    return value
