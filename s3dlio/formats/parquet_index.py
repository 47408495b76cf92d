"""ParquetIndex: where the row groups of many files lie, and which were fetched in this epoch."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from s3dlio.datagen.checks import whole_number
from s3dlio.errors import ConfigError
from s3dlio.forking import ForkLock
from s3dlio.formats.parquet_read import FOOTER_CAP, RangeReader, fetch_footer


@dataclass(slots=True)
class _File:
    row_offsets: tuple[int, ...]
    ranges: list[tuple[int, int]]
    fetched_in: dict[int, int] = field(default_factory=dict)  # row group -> epoch


#: What a function gives for each of several URIs, in their order; so many are done at a time.
Together = Callable[[Callable[[str], _File], Sequence[str], int], Iterable[_File]]


def one_by_one(load: Callable[[str], _File], uris: Sequence[str], width: int) -> Iterator[_File]:
    """Without threads, which a reader in memory does not need."""
    return map(load, uris)


class ParquetIndex:
    """Byte ranges of row groups, looked up without I/O once a file is indexed. Safe to share among threads.

    Args:
        reader: what reads footers.
        col_indices: the columns that ranges cover; None: all.
        footer_cap: how many bytes from the end of a file are read for its footer.
        together: reads several of them at a time.
    """

    def __init__(
        self, reader: RangeReader, col_indices: Sequence[int] | None = None, footer_cap: int = FOOTER_CAP,
        together: Together = one_by_one,
    ) -> None:  # fmt: skip
        self._reader = reader
        self._together = together
        self._columns = None if col_indices is None else [whole_number("a column index", i) for i in col_indices]
        self._footer_cap = whole_number("footer_cap", footer_cap, 1)
        self._files: dict[str, _File] = {}
        self._lock = ForkLock()

    def ensure_indexed(self, uris: Iterable[str], epoch: int = 1, batch_size: int = 16) -> None:
        """Fetch the footers of those `uris` that are not indexed, `batch_size` at a time; keep their ranges only.

        Args:
            uris: files.
            epoch: the current epoch. Nothing was fetched in it yet, whatever its number, of files that are new.
            batch_size: how many footers are fetched at a time, 1 or more.

        Raises:
            CorruptDataError, ConfigError, MissingDependencyError: as of `fetch_footer` and for columns a file lacks;
                the files indexed before stay so.
        """
        whole_number("epoch", epoch)
        workers = whole_number("batch_size", batch_size, 1)
        missing = [uri for uri in dict.fromkeys(uris) if uri not in self._files]
        if not missing:
            return
        for uri, file in zip(missing, self._together(self._load, missing, workers), strict=True):
            self._files[uri] = file

    def _load(self, uri: str) -> _File:
        footer = fetch_footer(self._reader, uri, self._footer_cap)
        groups = range(len(footer.row_offsets) - 1)
        return _File(footer.row_offsets, [footer.row_group_range(uri, group, self._columns) for group in groups])

    def rg_lookup(self, uri: str, sample_idx: int) -> tuple[int, int, int]:
        """(row group, offset, length) for a row of a file; errors as of `rg_for_sample`."""
        group = self.rg_for_sample(uri, sample_idx)
        return (group, *self.rg_range(uri, group))

    def rg_for_sample(self, uri: str, sample_idx: int) -> int:
        """The row group that holds row `sample_idx` (from 0) of a file; beyond the last row, the last one.

        Raises:
            ConfigError: the file is not indexed or has no rows, or the row is negative.
        """
        offsets = self._file(uri).row_offsets
        row = whole_number("sample_idx", sample_idx)
        if len(offsets) < 2:
            raise ConfigError(f"'{uri}' has no row groups", uri=uri)
        return min(bisect_right(offsets, row), len(offsets) - 1) - 1

    def rg_range(self, uri: str, rg_idx: int) -> tuple[int, int]:
        """(offset, length) of a row group.

        Raises:
            ConfigError: it is not in the index.
        """
        ranges = self._file(uri).ranges
        index = whole_number("rg_idx", rg_idx)
        if index >= len(ranges):
            raise ConfigError(f"RG ({uri}, {index}) not in index: the file has {len(ranges)} row groups", uri=uri)
        return ranges[index]

    def was_fetched(self, uri: str, rg_idx: int, epoch: int) -> bool:
        """Whether the row group was marked in this epoch; False for files and row groups that are not indexed."""
        file = self._files.get(uri)
        return file is not None and file.fetched_in.get(rg_idx) == epoch

    def mark_fetched(self, uri: str, rg_idx: int, epoch: int) -> None:
        """Note that the row group was fetched in `epoch`; errors as of `rg_range`."""
        self.check_and_mark(uri, rg_idx, epoch)

    def check_and_mark(self, uri: str, rg_idx: int, epoch: int) -> bool:
        """`was_fetched` and `mark_fetched` in one step: of many threads one gets False; errors as of `rg_range`."""
        self.rg_range(uri, rg_idx)
        fetched_in = self._file(uri).fetched_in
        with self._lock:
            before = fetched_in.get(rg_idx)
            fetched_in[rg_idx] = whole_number("epoch", epoch)
        return before == epoch

    def is_indexed(self, uri: str) -> bool:
        """Whether the file is indexed."""
        return uri in self._files

    def file_count(self) -> int:
        """How many files are indexed."""
        return len(self._files)

    def file_rg_count(self, uri: str) -> int | None:
        """How many row groups a file has; None where it is not indexed."""
        file = self._files.get(uri)
        return None if file is None else len(file.ranges)

    def invalidate_uri(self, uri: str) -> None:
        """Forget a file, for example because it was replaced."""
        self._files.pop(uri, None)

    def clear(self) -> None:
        """Forget all files."""
        self._files.clear()

    def _file(self, uri: str) -> _File:
        file = self._files.get(uri)
        if file is None:
            raise ConfigError(f"URI not indexed: {uri}; call ensure_indexed([uri]) first", uri=uri)
        return file

    def __len__(self) -> int:
        """How many row groups are indexed."""
        return sum(len(file.ranges) for file in list(self._files.values()))

    def __repr__(self) -> str:
        return (
            f"PyParquetIndex(files={self.file_count()}, rgs={len(self)}, col_indices={self._columns}, "
            f"footer_cap={self._footer_cap})"
        )
