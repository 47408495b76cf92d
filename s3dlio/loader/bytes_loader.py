"""Loaders of objects: batches of their bytes for a loop or an event loop, or single objects with their URIs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

from s3dlio.loader.consumer import Consumer, torch_worker
from s3dlio.loader.dataset import Dataset, Options
from s3dlio.loader.fetching import fetch_with
from s3dlio.loader.iterators import AsyncBatches, Batches, ObjectItems, Samples, Views
from s3dlio.loader.option_fields import LoaderValues
from s3dlio.loader.options import LoaderOptions
from s3dlio.loader.progress import Progress
from s3dlio.uri import URI


class BytesLoader:
    """Reads the objects of a data set, the next ones while the program works on those before.

    ``async for`` gives batches (lists of views). ``for`` does, too, where ``batch_size`` was given; without
    it, it gives one view for each object. ``items()`` gives objects with their URIs, as they arrive. It can be used
    again and again; each pass is an epoch.

    Args:
        dataset: the objects.
        opts: options, see docs/loaders.md; default: those of the data set.

    Raises:
        ConfigError: (a ValueError) an unknown option, with the one that was probably meant, or a wrong value.
        S3dlioError: (while iterating) an object could not be read; it has its URI.
    """

    def __init__(self, dataset: Dataset, opts: Options = None) -> None:
        if not isinstance(dataset, Dataset):
            raise TypeError(f"a loader reads a PyDataset (create_dataset(uri)), not {type(dataset).__name__}")
        self.dataset = dataset
        self.options = dataset.options if opts is None else LoaderOptions.from_any(opts)
        values = self._values
        #: Which epoch comes, and where in it.
        self.progress = Progress(
            len(dataset), seed=values.order_seed, shuffle=values.shuffle, drop_last=values.drop_last,
            batch_size=values.items_per_batch, epoch=values.epoch, replacement=values.replacement,
        )  # fmt: skip

    @property
    def _values(self) -> LoaderValues:
        return self.options.values

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
        return self.progress.state_dict(self._consumer())

    def load_state_dict(self, state: Any) -> None:
        """The next pass goes on where a state says, whatever the number of ranks and workers was and is.

        Args:
            state: what ``state_dict`` returned; that of one rank says that the others got as far. Or a list of those of
                all ranks.

        Raises:
            ConfigError: (a ValueError) it is none, some are missing, or it is of other objects or another order.
        """
        self.progress.load_state_dict(state)

    def _consumer(self) -> Consumer:
        values = self._values
        worker, workers = values.worker_id, values.num_workers_pytorch
        if worker is None:
            worker, workers = torch_worker() or (0, workers or 1)
        return Consumer(values.shard_rank, values.shard_world_size, worker, workers or 1)

    def __len__(self) -> int:
        """How many batches there are; of a loader without ``batch_size``, objects."""
        values = self._values
        samples = len(self.progress.order(self._consumer()))
        size = values.items_per_batch
        return samples // size if values.drop_last else -(-samples // size)

    def _samples(self, *, in_order: bool) -> Samples:
        values, dataset = self._values, self.dataset
        begun = self.progress.begin(self._consumer())
        fetched = fetch_with(dataset.session, map(dataset.uri, begun.order), values, in_order=in_order)
        return Samples(fetched, values.applied, begun)

    def __iter__(self) -> Iterator[Any]:
        samples = self._samples(in_order=True)
        if self._values.batch_size is None:
            return Views(samples)
        return Batches(samples, self._values.batch_size, self._values.drop_last)

    def __aiter__(self) -> AsyncIterator[list[Any]]:
        values = self._values
        return AsyncBatches(lambda: self._samples(in_order=True), values.items_per_batch, values.drop_last)

    def items(self) -> ObjectItems:
        """The objects with their URIs, as they arrive (in their order with ``in_order=True``)."""
        return ObjectItems(self._samples(in_order=False))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.dataset!r}, {self.options!r})"


PyBytesAsyncDataLoader = BytesLoader


def create_async_loader(uri: URI, opts: Options = None) -> BytesLoader:
    """A loader of the objects below a URI.

    Args:
        uri: a directory, a prefix that ends in ``/``, a bucket, or a glob.
        opts: options, see docs/loaders.md.

    Raises:
        ObjectNotFoundError: nothing is there.
        ConfigError: (a ValueError) an unknown option, with the one that was probably meant, or a wrong value.
    """
    return BytesLoader(Dataset(uri, opts))
