"""Loaders of objects: batches of their bytes for a loop or an event loop, or single objects with their URIs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

from s3dlio.errors import ConfigError
from s3dlio.loader.dataset import Dataset, Options
from s3dlio.loader.entries import SizesAhead
from s3dlio.loader.fetching import fetch_with
from s3dlio.loader.iterators import AsyncBatches, Batches, ObjectItems, Samples, Views
from s3dlio.loader.option_fields import LoaderValues
from s3dlio.loader.options import LoaderOptions
from s3dlio.loader.resumable import Resumable
from s3dlio.memory.reader import BytesReader


class BytesLoader(Resumable):
    """Reads the objects of a data set, the next ones while the program works on those before.

    ``async for`` gives batches (lists of views). ``for`` does, too, where ``batch_size`` was given; without
    it, it gives one view for each object. ``items()`` gives objects with their URIs, as they arrive. It can be used
    again and again; each complete pass is an epoch. ``len`` counts batches; without ``batch_size``, objects.
    With a ``format`` the samples are what that has, see docs/batches.md.

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
        self.options = dataset.options if opts is None else LoaderOptions.from_any(opts)
        self.dataset = dataset if opts is None else _with_format(dataset, self.options.values)
        values = self._values
        self._session = self.dataset.session_with(values)
        self._make = self._maker()
        super().__init__(len(self.dataset), values, values.items_per_batch, self.dataset.identity)

    @property
    def _values(self) -> LoaderValues:
        return self.options.values

    def _samples(self, *, in_order: bool, here: bool = True) -> Samples:
        values, dataset = self._values, self.dataset
        begun = self.progress.begin(self.consumer)
        sizes = SizesAhead(dataset.sizes) if values.check_sizes and dataset.sizes is not None else None
        entries = dataset.entries_at(begun.order if sizes is None else sizes.noting(begun.order))
        fetched = fetch_with(
            self._session, entries, values, in_order=in_order, here=here, near=dataset.has_stretches, pins=dataset.pins
        )  # fmt: skip
        return Samples(fetched, self._make, begun, sizes)

    def _maker(self) -> Callable[[Any, Any], Any] | None:
        """What makes a sample of what was read and its bytes; None: these are the sample."""
        dataset, kind = self.dataset, self._values.return_type
        transform = self._values.applied or _RETURNS.get(kind or "view")
        if transform is None and kind not in (None, "view"):
            raise ConfigError(
                f"this loader has no return_type {kind!r}", hint="use s3dlio.torch's data sets, or a transform"
            )
        if transform is None:
            return dataset.decoded if dataset.decodes else None
        return lambda entry, data: transform(dataset.decoded(entry, data))

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name not in ("_session", "_make")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._session = self.dataset.session_with(self._values)
        self._make = self._maker()

    def __iter__(self) -> Iterator[Any]:
        samples = self._samples(in_order=True)
        if self._values.batch_size is None:
            return Views(samples)
        return Batches(samples, self._values.batch_size, self._values.drop_last)

    def views(self) -> Views:
        """One object after the other, whatever ``batch_size`` says."""
        return Views(self._samples(in_order=True))

    def __aiter__(self) -> AsyncIterator[list[Any]]:
        values = self._values
        return AsyncBatches(lambda: self._samples(in_order=True, here=False), values.items_per_batch, values.drop_last)

    def items(self) -> ObjectItems:
        """The objects with their URIs, as they arrive (in their order with ``in_order=True``)."""
        return ObjectItems(self._samples(in_order=False))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.dataset!r}, {self.options!r})"


def _with_format(dataset: Dataset, values: LoaderValues) -> Dataset:
    """The data set, with the samples that the options of its loader name, if they name any."""
    named = {
        name: value for name in ("format", "columns", "decode") if (value := getattr(values, name)) is not None
    }  # fmt: skip
    return dataset.with_options(dataset.options.replace(footer_cap=values.footer_cap, **named)) if named else dataset


PyBytesAsyncDataLoader = BytesLoader


#: What becomes of a sample where no transform says so.
_RETURNS: dict[str, Callable[[Any], Any]] = {"bytes": bytes, "reader": BytesReader}
