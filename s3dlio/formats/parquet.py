"""Parquet files of random float32 columns (needs pyarrow)."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from typing import Any

from s3dlio.datagen.checks import fits_in_memory, whole_number
from s3dlio.datagen.source import DataSource
from s3dlio.errors import ConfigError
from s3dlio.formats.optional_packages import require
from s3dlio.memory import BytesView, default_pool

_FLOAT = 4


def generate_parquet_bytes(num_cols: int, rows_per_rg: int, num_row_groups: int) -> BytesView:
    """A Parquet file of float32 columns `col0`, `col1`, ... with values in [0, 1).

    Args:
        num_cols: how many columns, 1 or more.
        rows_per_rg: rows of each row group, 1 or more.
        num_row_groups: row groups, 0 or more.

    Returns:
        The file: not null, uncompressed, PLAIN, no dictionaries or statistics; so its size is that of its data.

    Raises:
        ConfigError: a number is out of range, or the data do not fit in memory.
        MissingDependencyError: pyarrow is not installed.
    """
    count = whole_number("num_cols", num_cols, 1)
    return generate_parquet_bytes_schema([(f"col{i}", 1) for i in range(count)], rows_per_rg, num_row_groups)


def generate_parquet_bytes_schema(
    columns: Sequence[tuple[str, int]], rows_per_rg: int, num_row_groups: int
) -> BytesView:
    """`generate_parquet_bytes` with columns of given names and widths.

    Args:
        columns: (name, floats in a row) of each: 1 makes a float32 column, more a fixed-size list of float32.
        rows_per_rg, num_row_groups: as of `generate_parquet_bytes`.

    Raises:
        ConfigError: no columns, two of one name, or a number is out of range.
        MissingDependencyError: pyarrow is not installed.
    """
    plan = _Plan(columns, rows_per_rg, num_row_groups)
    fits_in_memory(2 * plan.groups * plan.group_bytes)
    sink = require("pyarrow", "parquet", "Parquet").BufferOutputStream()
    for _ in plan.write(sink):
        pass
    return BytesView(sink.getvalue())


def iter_parquet_bytes_schema(
    columns: Sequence[tuple[str, int]], rows_per_rg: int, num_row_groups: int
) -> Iterator[bytes]:
    """`generate_parquet_bytes_schema` piece by piece, for files larger than memory: a row group, or the end, each.

    Arguments and errors are the same; those of arguments come before the first piece.
    """
    plan = _Plan(columns, rows_per_rg, num_row_groups)
    fits_in_memory(3 * plan.group_bytes)
    require("pyarrow", "parquet", "Parquet")
    return _pieces(plan)


def _pieces(plan: _Plan) -> Iterator[bytes]:
    sink = _Pieces()
    for _ in plan.write(sink):
        yield sink.take()


class _Plan:
    """The checked arguments, and how the file is written."""

    def __init__(self, columns: Sequence[tuple[str, int]], rows_per_rg: int, num_row_groups: int) -> None:
        self.widths = [whole_number(f"the width of column {name!r}", width, 1) for name, width in columns]
        self.names = [name for name, _ in columns]
        if not self.names or len(set(self.names)) < len(self.names):
            raise ConfigError(f"a Parquet file needs columns of distinct names, got {self.names!r}")
        self.rows = whole_number("rows_per_rg", rows_per_rg, 1)
        self.groups = whole_number("num_row_groups", num_row_groups)
        self.group_bytes = self.rows * sum(self.widths) * _FLOAT

    def write(self, sink: Any) -> Iterator[None]:
        """Write the file to `sink`, a row group at a step; the last step writes the footer."""
        pa, pq = require("pyarrow", "parquet", "Parquet"), require("pyarrow.parquet", "parquet", "Parquet")
        types = [_column_type(pa, width) for width in self.widths]
        schema = pa.schema([pa.field(name, kind, nullable=False) for name, kind in zip(self.names, types, strict=True)])
        source = DataSource(self.group_bytes)
        scratch = default_pool().lease(self.group_bytes)
        with pq.ParquetWriter(sink, schema, compression="NONE", use_dictionary=False, write_statistics=False) as writer:
            for group in range(self.groups):
                source.fill(scratch, index=group, threads=None)
                writer.write_table(_row_group(pa, schema, scratch, self.widths, self.rows), row_group_size=self.rows)
                yield
        yield


class _Pieces(io.RawIOBase):
    """A sink that hands out what was written since it was last asked."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._pieces.append(bytes(data))
        return len(data)

    def take(self) -> bytes:
        pieces, self._pieces = self._pieces, []
        return b"".join(pieces)


def _column_type(pa: Any, width: int) -> Any:
    if width == 1:
        return pa.float32()
    return pa.list_(pa.field("element", pa.float32(), nullable=False), width)


def _row_group(pa: Any, schema: Any, scratch: memoryview, widths: list[int], rows: int) -> Any:
    """A table over `scratch`, whose random bits are made floats in [0, 1) in place."""
    import numpy as np

    bits = np.frombuffer(scratch, np.uint32)
    # 23 random bits of mantissa under the exponent of 1.0 are uniform in [1, 2).
    np.right_shift(bits, 9, out=bits)
    np.bitwise_or(bits, 0x3F800000, out=bits)
    floats = bits.view(np.float32)
    floats -= 1
    arrays, at = [], 0
    for field, width in zip(schema, widths, strict=True):
        values = pa.array(floats[at : at + rows * width])
        arrays.append(values if width == 1 else pa.FixedSizeListArray.from_arrays(values, type=field.type))
        at += rows * width
    return pa.Table.from_arrays(arrays, schema=schema)
