"""Reading Parquet row groups with ranged reads, wherever they are stored (needs pyarrow).

Nothing here does I/O of its own: whoever calls brings a `RangeReader`.
"""

from __future__ import annotations

import io
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from s3dlio.datagen.checks import one_of, whole_number
from s3dlio.errors import ConfigError, CorruptDataError
from s3dlio.forking import ForkLock
from s3dlio.formats.corruption import as_corruption
from s3dlio.formats.npz import ViewFile
from s3dlio.formats.optional_packages import require
from s3dlio.memory import BytesView
from s3dlio.memory.buffers import byte_view
from s3dlio.types import Payload

FOOTER_CAP = 4 << 20
DECODES = ("arrow", "raw")
_MAGIC = b"PAR1"
_TAIL = 8  # the length of the metadata (u32, little-endian) and the magic bytes


class RangeReader(Protocol):
    """What reads stored objects."""

    def size(self, uri: str) -> int:
        """The bytes of the object at `uri`."""

    def read(self, uri: str, offset: int, length: int) -> Payload:
        """Bytes `[offset, offset + length)` of the object at `uri`, all of them."""


@dataclass(frozen=True, slots=True)
class Footer:
    """What a Parquet file says of itself.

    Attributes:
        metadata: its `pyarrow.parquet.FileMetaData`.
        row_offsets: the first row of each row group, and at the end the number of rows.
    """

    metadata: Any
    row_offsets: tuple[int, ...]

    def row_group_range(self, uri: str, rg_idx: int, col_indices: Sequence[int] | None = None) -> tuple[int, int]:
        """(offset, length) of the bytes from the first to the last wanted column of a row group.

        Raises:
            ConfigError: there is no such row group or column, or `col_indices` is empty.
        """
        group = self.metadata.row_group(self._checked(uri, rg_idx))
        wanted = checked_columns(uri, col_indices, group.num_columns)
        if not wanted:
            return 0, 0  # a file without columns
        with as_corruption(f"the Parquet footer of '{uri}' is damaged", uri):
            chunks = [group.column(i) for i in wanted]
            starts = [_chunk_start(chunk) for chunk in chunks]
            end = max(start + chunk.total_compressed_size for start, chunk in zip(starts, chunks, strict=True))
        if min(starts) < 0 or end < min(starts):
            raise CorruptDataError(f"the Parquet footer of '{uri}' is damaged: columns beyond the file", uri=uri)
        return min(starts), end - min(starts)

    def _checked(self, uri: str, rg_idx: int) -> int:
        count = self.metadata.num_row_groups
        index = whole_number("rg_idx", rg_idx)
        if index >= count:
            raise ConfigError(f"rg_idx {index} out of range for '{uri}' ({count} row groups)", uri=uri)
        return index


def checked_columns(uri: str, col_indices: Sequence[int] | None, count: int) -> list[int]:
    """The wanted columns in the order of the file (None: all `count`).

    Raises:
        ConfigError: there are none, or there is no such column.
    """
    if col_indices is None:
        return list(range(count))
    wanted = sorted({whole_number("a column index", i) for i in col_indices})
    if not wanted:
        raise ConfigError("col_indices is empty; name at least one column, or None for all", uri=uri)
    if wanted[-1] >= count:
        raise ConfigError(f"column index {wanted[-1]} out of range: '{uri}' has {count} columns", uri=uri)
    return wanted


def column_indices(footer: Footer, uri: str, columns: Iterable[int | str] | None) -> list[int] | None:
    """The leaves that are wanted, of indices and names; a name stands for all leaves below it. None: all.

    Raises:
        ConfigError: there is no column of a name.
    """
    if columns is None:
        return None
    schema = footer.metadata.schema
    paths = [schema.column(i).path for i in range(len(schema))]
    wanted: list[int] = []
    for column in columns:
        if not isinstance(column, str):
            wanted.append(whole_number("a column index", column))
            continue
        named = [i for i, path in enumerate(paths) if path == column or path.startswith(f"{column}.")]
        if not named:
            raise ConfigError(f"no column {column!r} in '{uri}'; it has {', '.join(paths)}", uri=uri)
        wanted += named
    return wanted


def _chunk_start(chunk: Any) -> int:
    dictionary: int | None = chunk.dictionary_page_offset
    data: int = chunk.data_page_offset
    return min(dictionary, data) if dictionary else data


def fetch_footer(reader: RangeReader, uri: str, footer_cap: int = FOOTER_CAP) -> Footer:
    """Read the footer of the Parquet file at `uri`: one ranged read, a second where it is larger than `footer_cap`.

    Raises:
        CorruptDataError: this is no Parquet file, or its footer is damaged.
        MissingDependencyError: pyarrow is not installed.
    """
    pa, pq = require("pyarrow", "parquet", "reading Parquet"), require("pyarrow.parquet", "parquet", "reading Parquet")
    size = reader.size(uri)
    first = min(size, max(_TAIL, whole_number("footer_cap", footer_cap, 1)))
    tail = byte_view(reader.read(uri, size - first, first))
    if size < len(_MAGIC) + _TAIL or tail[-4:] != _MAGIC:
        raise CorruptDataError(f"'{uri}' is not a valid Parquet file (bad magic bytes)", uri=uri)
    length = int.from_bytes(tail[-8:-4], "little") + _TAIL
    if length > size - len(_MAGIC):
        raise CorruptDataError(f"'{uri}' is not a valid Parquet file (footer of {length} in {size} bytes)", uri=uri)
    if length > len(tail):
        tail = byte_view(reader.read(uri, size - length, length))
    offsets = [0]
    with as_corruption(f"the Parquet footer of '{uri}' is damaged", uri):
        metadata = pq.read_metadata(pa.BufferReader(_MAGIC + bytes(tail[-length:])))
        for group in range(metadata.num_row_groups):
            offsets.append(offsets[-1] + metadata.row_group(group).num_rows)
    return Footer(metadata, tuple(offsets))


class FooterCache:
    """The footers of the files that were used last. Safe to share among threads.

    Args:
        capacity: how many files; a footer is some KiB to some MiB.
    """

    def __init__(self, capacity: int = 4096) -> None:
        self._capacity = capacity
        self._footers: OrderedDict[str, Footer] = OrderedDict()
        self._lock = ForkLock()

    def get(self, reader: RangeReader, uri: str, footer_cap: int = FOOTER_CAP) -> Footer:
        """The footer of `uri`, fetched where it is not known; errors as of `fetch_footer`.

        Two threads that miss at the same time both fetch: that is rarer and cheaper than a lock held during I/O.
        """
        with self._lock:
            footer = self._footers.get(uri)
            if footer is not None:
                self._footers.move_to_end(uri)
                return footer
        footer = fetch_footer(reader, uri, footer_cap)
        with self._lock:
            self._footers[uri] = footer
            if len(self._footers) > self._capacity:
                self._footers.popitem(last=False)
        return footer

    def invalidate(self, uri: str) -> None:
        """Forget `uri`, for example because it was replaced."""
        with self._lock:
            self._footers.pop(uri, None)

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._footers.clear()

    def __len__(self) -> int:
        return len(self._footers)


_cache = FooterCache()


def parquet_cache_len() -> int:
    """How many files' footers this process keeps."""
    return len(_cache)


def parquet_cache_clear() -> None:
    """Forget the footers of all files."""
    _cache.clear()


def parquet_cache_invalidate(uri: str) -> None:
    """Forget the footer of `uri`: needed after the file was replaced."""
    _cache.invalidate(uri)


def parquet_rg_row_offsets(uri: str, *, reader: RangeReader) -> list[int]:
    """The first row of each row group of the file at `uri`, and at the end its number of rows.

    The footer is fetched once and kept; errors as of `fetch_footer`.
    """
    return list(_cache.get(reader, uri).row_offsets)


def parquet_get_rg(
    uri: str,
    rg_idx: int,
    col_indices: Sequence[int] | None = None,
    footer_cap: int = FOOTER_CAP,
    decode: str = "arrow",
    *,
    reader: RangeReader,
) -> BytesView:
    """One row group of the Parquet file at `uri`: one ranged read, after the file's footer is known.

    Args:
        uri: the file.
        rg_idx: which row group, from 0.
        col_indices: which columns (leaves of the schema, from 0); None: all.
        footer_cap: how many bytes from the end of the file are read for the footer.
        decode: 'arrow' for an Arrow IPC stream of the wanted columns, 'raw' for the stored bytes from the first of
            them to the last.
        reader: what reads the file.

    Raises:
        ConfigError: there is no such row group, column or way to decode.
        CorruptDataError: this is no Parquet file, or it is damaged.
        MissingDependencyError: pyarrow is not installed.
    """
    decode = one_of("decode", decode, DECODES)
    footer = _cache.get(reader, uri, footer_cap)
    offset, length = footer.row_group_range(uri, rg_idx, col_indices)
    raw = byte_view(reader.read(uri, offset, length))
    if len(raw) != length:
        raise CorruptDataError(f"'{uri}' ends within row group {rg_idx}: was it written again? "
                               "then call parquet_cache_invalidate(uri)", uri=uri)  # fmt: skip
    return BytesView(raw) if decode == "raw" else decode_row_group(footer, uri, rg_idx, col_indices, offset, raw)


def decode_row_group(
    footer: Footer, uri: str, rg_idx: int, col_indices: Sequence[int] | None, offset: int, raw: memoryview
) -> BytesView:
    """The Arrow IPC stream of a row group whose stored bytes from `offset` on are `raw`."""
    pa = require("pyarrow", "parquet", "reading Parquet")
    table = row_group_table(footer, uri, rg_idx, col_indices, offset, raw)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return BytesView(sink.getvalue())


def row_group_table(
    footer: Footer, uri: str, rg_idx: int, col_indices: Sequence[int] | None, offset: int, raw: memoryview
) -> Any:
    """The `pyarrow.Table` of a row group whose stored bytes from `offset` on are `raw`."""
    pa, pq = require("pyarrow", "parquet", "reading Parquet"), require("pyarrow.parquet", "parquet", "reading Parquet")
    group = footer.metadata.row_group(rg_idx)
    wanted = checked_columns(uri, col_indices, group.num_columns)
    with as_corruption(f"row group {rg_idx} of '{uri}' cannot be decoded", uri):
        paths = [group.column(i).path_in_schema for i in wanted]
        file = pq.ParquetFile(pa.PythonFile(_PartFile(offset, raw), mode="r"), metadata=footer.metadata)
        return file.read_row_group(rg_idx, columns=paths)


class _PartFile(ViewFile):
    """The part of a file that was fetched, at its place in the file."""

    def __init__(self, offset: int, view: memoryview) -> None:
        super().__init__(view)
        self._offset = offset

    def read(self, size: int = -1) -> memoryview:  # type: ignore[override]  # Arrow takes any buffer, uncopied
        start = self._position
        piece = self._view[start:] if size < 0 else self._view[start : start + size]
        self._position += len(piece)
        return piece

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        moved = offset - self._offset if whence == io.SEEK_SET else offset
        return super().seek(moved, whence) + self._offset

    def tell(self) -> int:
        return super().tell() + self._offset
