"""The formats, applied to stored objects: what `s3dlio.formats` does, with the default client reading and writing.

Wherever a URI is meant, a local path works too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from s3dlio import api, formats
from s3dlio.coroutines import coroutine_of
from s3dlio.engine.batch import each
from s3dlio.formats.parquet_read import FOOTER_CAP
from s3dlio.memory.view import BytesView
from s3dlio.signatures import either
from s3dlio.types import Conditions, Payload
from s3dlio.uri import URI, uri_or_path

if TYPE_CHECKING:
    import numpy.typing as npt

T = TypeVar("T")

#: Bytes of a large object that are read at a time.
_CHUNK = 8 << 20


class _Objects:
    """Reads stored objects for the formats (`formats.RangeReader`)."""

    def size(self, uri: str) -> int:
        return api.head(uri).size

    def read(self, uri: str, offset: int, length: int) -> Payload:
        return api.get_range(uri, offset, length)


def _chunks(uri: str) -> Iterator[Payload]:
    """The object's bytes in pieces, all of one version."""
    store, key = api.default_client().store_for(uri)
    about = store.head(key)
    same = Conditions(if_match=about.etag)
    for offset in range(0, about.size, _CHUNK):
        yield store.get_range(key, offset, _CHUNK, conditions=same)


def read_npz(uri: URI, array_name: str | None = None) -> npt.NDArray[Any]:
    """One array of a stored NPZ archive.

    Args:
        uri: the archive.
        array_name: which array, with or without ``.npy``; default: the first.

    Raises:
        CorruptDataError: it is no NPZ archive, is damaged, or holds Python objects, which are never unpickled.
        ConfigError: there is no such array.
    """
    return formats.read_npz_bytes(api.get(uri_or_path(uri)), array_name)


def create_tfrecord_index(
    tfrecord_path: URI | None = None,
    index_path: URI | None = None,
    *,
    input_path: URI | None = None,
    output_path: URI | None = None,
    verify: bool = False,
    index_format: str = "text",
) -> int:
    """Write the index of a TFRecord file, reading it in pieces of 8 MiB.

    Args:
        tfrecord_path: the file.
        index_path: the index; default: the file's name with ``.idx`` appended.
        input_path, output_path: other names of the first two.
        verify: check the CRC of every record, too; without, their frames alone are looked at.
        index_format: ``text``, as NVIDIA DALI reads it, or ``binary``: 16 bytes a record.

    Returns:
        How many records there are.

    Raises:
        CorruptDataError: the file is damaged; no index is written.
    """
    source = either("tfrecord_path", tfrecord_path, "input_path", input_path)
    if index_path is not None or output_path is not None:
        index_path = either("index_path", index_path, "output_path", output_path)
    return formats.create_tfrecord_index(
        uri_or_path(source),
        None if index_path is None else uri_or_path(index_path),
        read=_chunks,
        write=api.put_bytes,
        verify=verify,
        index_format=index_format,
    )


def read_tfrecord_index(index_path: URI) -> list[tuple[int, int]]:
    """The entries of a stored index, text or binary: (offset, size with framing) of every record.

    Raises:
        CorruptDataError: it is no such index.
    """
    return formats.read_tfrecord_index(uri_or_path(index_path), read=_chunks)


def parquet_rg_row_offsets(uri: URI) -> list[int]:
    """The first row of each row group of a Parquet file, and at the end its number of rows. The footer is kept.

    Raises:
        CorruptDataError: it is no Parquet file.
        MissingDependencyError: pyarrow is not installed.
    """
    return formats.parquet_rg_row_offsets(uri_or_path(uri), reader=_Objects())


def parquet_get_rg(
    uri: URI,
    rg_idx: int,
    col_indices: Sequence[int] | None = None,
    footer_cap: int = FOOTER_CAP,
    decode: str = "arrow",
) -> BytesView:
    """One row group of a Parquet file: one ranged read, after its footer is known.

    Args:
        uri: the file.
        rg_idx: which row group, from 0.
        col_indices: which columns (leaves of the schema, from 0); None: all.
        footer_cap: bytes from the end of the file that are read for the footer.
        decode: ``arrow`` for an Arrow IPC stream of the columns, ``raw`` for the stored bytes.

    Raises:
        ConfigError: there is no such row group, column or way to decode.
        CorruptDataError: it is no Parquet file, or was replaced: then call ``parquet_cache_invalidate``.
        MissingDependencyError: pyarrow is not installed.
    """
    return formats.parquet_get_rg(uri_or_path(uri), rg_idx, col_indices, footer_cap, decode, reader=_Objects())


def parquet_cache_invalidate(uri: URI) -> None:
    """Forget the footer of a Parquet file: needed after it was replaced."""
    formats.parquet_cache_invalidate(uri_or_path(uri))


class ParquetIndex(formats.ParquetIndex):
    """Byte ranges of the row groups of stored Parquet files, looked up without I/O once a file is indexed.

    Args:
        col_indices: the columns that ranges cover; None: all.
        footer_cap: bytes from the end of a file that are read for its footer.
    """

    def __init__(self, col_indices: Sequence[int] | None = None, footer_cap: int = FOOTER_CAP) -> None:
        super().__init__(_Objects(), col_indices, footer_cap, _together)


def _together(load: Callable[[str], T], uris: Sequence[str], width: int) -> Iterator[T]:
    found = each(api.default_client().executor, load, uris, width)
    for uri in uris:
        outcome = found[uri]
        if isinstance(outcome, BaseException):
            raise outcome
        yield outcome


PyParquetIndex = ParquetIndex


def generate_and_write_parquet(uri: URI, num_cols: int, rows_per_rg: int, num_row_groups: int) -> None:
    """Write a generated Parquet file of float32 columns ``col0``, ``col1``, ...; see ``generate_parquet_bytes``."""
    api.put_bytes(uri_or_path(uri), formats.generate_parquet_bytes(num_cols, rows_per_rg, num_row_groups))


def generate_and_write_parquet_schema(
    uri: URI, columns: Sequence[tuple[str, int]], rows_per_rg: int, num_row_groups: int
) -> None:
    """Write a generated Parquet file with columns of given names and widths; see ``generate_parquet_bytes_schema``."""
    api.put_bytes(uri_or_path(uri), formats.generate_parquet_bytes_schema(columns, rows_per_rg, num_row_groups))


def generate_and_write_parquet_schema_streaming(
    uri: URI, columns: Sequence[tuple[str, int]], rows_per_rg: int, num_row_groups: int
) -> None:
    """The same, one row group at a time: for files larger than memory."""
    pieces = formats.iter_parquet_bytes_schema(columns, rows_per_rg, num_row_groups)
    store, key = api.default_client().store_for(uri_or_path(uri))
    with store.writer(key) as writer:
        for piece in pieces:
            writer.write_owned(piece)


read_npz_async = coroutine_of(read_npz, __name__)
create_tfrecord_index_async = coroutine_of(create_tfrecord_index, __name__)
read_tfrecord_index_async = coroutine_of(read_tfrecord_index, __name__)
parquet_rg_row_offsets_async = coroutine_of(parquet_rg_row_offsets, __name__)
parquet_get_rg_async = coroutine_of(parquet_get_rg, __name__)
generate_and_write_parquet_async = coroutine_of(generate_and_write_parquet, __name__)
generate_and_write_parquet_schema_async = coroutine_of(generate_and_write_parquet_schema, __name__)
generate_and_write_parquet_schema_streaming_async = coroutine_of(generate_and_write_parquet_schema_streaming, __name__)
