"""A loader of values that are at hand, with the batches and the order of the loaders of objects."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from itertools import islice
from typing import Any

from s3dlio.loader.dataset import Options
from s3dlio.loader.options import LoaderOptions
from s3dlio.loader.resumable import Resumable

#: Values in a batch, where nobody says.
_BATCH = 32


class ValueLoader(Resumable):
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
        size = self.options.values.batch_size or _BATCH
        super().__init__(len(dataset), self.options.values, size)

    def __iter__(self) -> Iterator[list[Any]]:
        values = self.options.values
        transform = values.applied or _same
        begun = self.progress.begin(self.consumer)
        indices = iter(begun.order)
        given = 0
        while batch := [transform(self.dataset[index]) for index in islice(indices, self._batch_size)]:
            if len(batch) < self._batch_size and values.drop_last:
                break
            begun.took(range(given, given + len(batch)))
            given += len(batch)
            yield batch
        begun.finish()

    async def __aiter__(self) -> AsyncIterator[list[Any]]:
        for batch in self:
            yield batch

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.dataset!r}, {self.options!r})"


PyAsyncDataLoader = ValueLoader


def _same(value: Any) -> Any:
    return value
