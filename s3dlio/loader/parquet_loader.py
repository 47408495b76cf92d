"""A loader of Parquet files: their row groups, one ranged read each, as they arrive."""

from __future__ import annotations

from typing import Any, NamedTuple

from s3dlio.errors import ConfigError
from s3dlio.loader.bytes_loader import BytesLoader
from s3dlio.loader.dataset import Dataset, Options
from s3dlio.loader.decoders import RAW, ParquetFormat
from s3dlio.loader.entries import uri_of
from s3dlio.loader.items import ObjectItem
from s3dlio.loader.iterators import ObjectItems, Sample, Samples
from s3dlio.loader.options import LoaderOptions
from s3dlio.memory.view import BytesView
from s3dlio.uri import URI


class ParquetItem(ObjectItem):
    """One row group: its bytes, without a copy, the URI of its file and its number there.

    Args:
        uri: of the file.
        data: the bytes.
        rg_idx: which row group, from 0.
    """

    __slots__ = ("rg_idx",)
    rg_idx: int

    def __new__(cls, uri: str, data: BytesView, rg_idx: int = 0) -> ParquetItem:
        self = super().__new__(cls, uri, data)
        assert isinstance(self, ParquetItem)
        self.rg_idx = rg_idx
        return self

    @property
    def file_uri(self) -> str:
        """The URI of the file."""
        return self.uri

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        return ParquetItem, (self.uri, self.data, self.rg_idx)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.uri!r}, row group {self.rg_idx}, {len(self)} bytes)"


class TableItem(NamedTuple):
    """One row group that something was made of: a table, or what a transform gives."""

    file_uri: str
    rg_idx: int
    data: Any
    byte_count: int


class ParquetItems(ObjectItems):
    """Row groups with the files that they are of."""

    def __init__(self, samples: Samples, format: ParquetFormat) -> None:
        super().__init__(samples)
        self._format = format

    def _item(self, sample: Sample) -> Any:
        group, made = self._format.row_group(sample.entry), sample.made
        if isinstance(made, BytesView):
            return ParquetItem(uri_of(sample.entry), made, group)
        return TableItem(uri_of(sample.entry), group, made, sample.size)


class ParquetLoader(BytesLoader):
    """The row groups of Parquet files: ``for item in loader`` gives each with ``file_uri``, ``rg_idx``, ``byte_count``,
    ``data``, as they arrive (in their order with ``in_order=True``). ``async for`` gives batches of them.

    Args:
        dataset: of the format ``parquet``.
        opts: options, see docs/loaders.md; default: those of the data set.

    Raises:
        TypeError: the data set is of another format.
        ConfigError: (a ValueError) as of a loader.
    """

    def __init__(self, dataset: Dataset, opts: Options = None) -> None:
        super().__init__(dataset, opts)
        if not isinstance(dataset.format, ParquetFormat):
            raise TypeError("a loader of row groups reads a data set of the format 'parquet'")
        self._format = dataset.format

    def __iter__(self) -> ParquetItems:
        return self.items()

    def items(self) -> ParquetItems:
        """The row groups, as ``iter`` gives them; ``collect_batch(n)`` gives several."""
        return ParquetItems(self._samples(in_order=False), self._format)


ParquetStreamIter = ParquetItems
PyParquetItem = ParquetItem
PyParquetStreamLoader = ParquetLoader


def parquet_loader(uri: URI, opts: Options) -> ParquetLoader:
    """A loader of the row groups of the Parquet files below a URI: their stored bytes, if ``decode`` is not given.

    Raises:
        ObjectNotFoundError: nothing is there.
        CorruptDataError: one is no Parquet file; with its URI.
        ConfigError: (a ValueError) as of a loader; there is no such column.
    """
    options = LoaderOptions.from_any(opts)
    if options.values.format != "parquet":
        raise ConfigError("a loader of row groups has the option format='parquet'")
    return ParquetLoader(Dataset(uri, options if options.values.decode else options.replace(decode=RAW)))
