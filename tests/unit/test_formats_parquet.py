"""Parquet: generated files are read by pyarrow, row groups are read with few ranged reads."""

from __future__ import annotations

import io
import sys
from typing import Any

import numpy as np
import pytest

from s3dlio import formats
from s3dlio.errors import ConfigError, CorruptDataError, MissingDependencyError
from s3dlio.formats.parquet_read import FooterCache
from tests.threads import run_in_threads

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")


class MemoryReader:
    """Files in memory, and a record of what was read."""

    def __init__(self, **files: Any) -> None:
        self.files = {name: bytes(data) for name, data in files.items()}
        self.reads: list[tuple[str, int, int]] = []

    def size(self, uri: str) -> int:
        return len(self.files[uri])

    def read(self, uri: str, offset: int, length: int) -> memoryview:
        self.reads.append((uri, offset, length))
        return memoryview(self.files[uri])[offset : offset + length]


@pytest.fixture
def reader() -> MemoryReader:
    formats.parquet_cache_clear()
    return MemoryReader(
        flat=formats.generate_parquet_bytes(3, 10, 4),
        wide=formats.generate_parquet_bytes_schema([("a", 1), ("b", 5)], 8, 2),
        empty=formats.generate_parquet_bytes(2, 10, 0),
        written=_snappy_file(),
    )


def _snappy_file() -> bytes:
    """A file as pyarrow's users write it: compressed, dictionaries, nulls, nested columns."""
    table = pa.table(
        {
            "id": list(range(100)),
            "text": [None if i % 7 == 0 else f"t{i % 5}" for i in range(100)],
            "pair": [{"x": i, "y": -i} for i in range(100)],
        }
    )
    out = io.BytesIO()
    pq.write_table(table, out, row_group_size=30, compression="snappy")
    return out.getvalue()


def test_generated_files_hold_what_was_asked_for(reader: MemoryReader) -> None:
    file = pq.ParquetFile(io.BytesIO(reader.files["flat"]))
    assert (file.metadata.num_row_groups, file.metadata.num_rows, file.metadata.num_columns) == (4, 40, 3)
    assert file.schema_arrow.names == ["col0", "col1", "col2"]
    assert all(field.type == pa.float32() and not field.nullable for field in file.schema_arrow)
    chunk = file.metadata.row_group(3).column(1)
    assert (chunk.compression, chunk.has_dictionary_page, chunk.is_stats_set) == ("UNCOMPRESSED", False, False)
    assert pq.read_table(io.BytesIO(reader.files["empty"])).num_rows == 0
    wide = pq.read_table(io.BytesIO(reader.files["wide"]))
    assert wide.schema.field("b").type == pa.list_(pa.field("element", pa.float32(), nullable=False), 5)
    assert wide.num_rows == 16
    assert np.asarray(wide["b"].combine_chunks().values).shape == (80,)


def test_generated_values_are_uniform_in_0_to_1_and_all_different() -> None:
    table = pq.read_table(io.BytesIO(formats.generate_parquet_bytes(2, 5000, 2)))
    values = np.concatenate([table[name].to_numpy() for name in table.column_names])
    assert values.min() >= 0
    assert values.max() < 1
    assert abs(values.mean() - 0.5) < 0.02
    assert len(np.unique(values)) > 19_900


def test_a_file_made_in_pieces_is_a_whole_one() -> None:
    columns = [("a", 1), ("b", 3)]
    pieces = list(formats.iter_parquet_bytes_schema(columns, 1000, 3))
    assert [len(piece) > 15_000 for piece in pieces] == [True, True, True, False]
    file = pq.ParquetFile(io.BytesIO(b"".join(pieces)))
    assert (file.metadata.num_rows, file.metadata.num_row_groups) == (3000, 3)
    assert len(np.unique(file.read()["a"].to_numpy())) > 2990
    assert sum(map(len, pieces)) == len(formats.generate_parquet_bytes_schema(columns, 1000, 3))
    with pytest.raises(ConfigError, match="rows_per_rg"):
        formats.iter_parquet_bytes_schema(columns, 0, 1)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: formats.generate_parquet_bytes(0, 1, 1), "num_cols"),
        (lambda: formats.generate_parquet_bytes(1, 0, 1), "rows_per_rg"),
        (lambda: formats.generate_parquet_bytes(1, 1, -1), "num_row_groups"),
        (lambda: formats.generate_parquet_bytes(1, 1 << 30, 1 << 20), "memory"),
        (lambda: formats.generate_parquet_bytes_schema([], 1, 1), "distinct names"),
        (lambda: formats.generate_parquet_bytes_schema([("a", 1), ("a", 1)], 1, 1), "distinct names"),
        (lambda: formats.generate_parquet_bytes_schema([("a", 0)], 1, 1), "width of column 'a'"),
    ],
)
def test_generation_refuses(call: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        call()


@pytest.mark.parametrize("columns", [None, [0], [2], [0, 2], [2, 0]])
@pytest.mark.parametrize("uri", ["flat", "written"])
def test_a_row_group_is_one_read_after_the_footer(reader: MemoryReader, uri: str, columns: list[int] | None) -> None:
    assert formats.parquet_get_rg(uri, 0, columns, reader=reader)
    reader.reads.clear()
    stream = formats.parquet_get_rg(uri, 1, columns, reader=reader)
    table = pa.ipc.open_stream(stream).read_all()
    file = pq.ParquetFile(io.BytesIO(reader.files[uri]))
    group = file.metadata.row_group(1)
    wanted = sorted(columns or range(group.num_columns))
    expected = file.read_row_group(1, columns=[group.column(i).path_in_schema for i in wanted])
    assert table.equals(expected)
    (read,) = reader.reads
    raw = formats.parquet_get_rg(uri, 1, columns, decode="RAW", reader=reader)
    assert reader.files[uri][read[1] : read[1] + read[2]] == bytes(raw)


def test_row_offsets_and_the_cache(reader: MemoryReader) -> None:
    assert formats.parquet_rg_row_offsets("flat", reader=reader) == [0, 10, 20, 30, 40]
    assert formats.parquet_rg_row_offsets("written", reader=reader) == [0, 30, 60, 90, 100]
    assert formats.parquet_rg_row_offsets("empty", reader=reader) == [0]
    assert formats.parquet_cache_len() == 3
    reader.reads.clear()
    formats.parquet_rg_row_offsets("flat", reader=reader)
    assert reader.reads == []
    formats.parquet_cache_invalidate("flat")
    formats.parquet_cache_invalidate("unknown")
    assert formats.parquet_cache_len() == 2
    reader.files["flat"] = reader.files["empty"]
    assert formats.parquet_rg_row_offsets("flat", reader=reader) == [0]
    formats.parquet_cache_clear()
    assert formats.parquet_cache_len() == 0


def test_the_cache_is_bounded_and_forgets_what_was_used_longest_ago(reader: MemoryReader) -> None:
    cache = FooterCache(2)
    for uri in ("flat", "wide", "flat", "empty"):
        cache.get(reader, uri)
    assert len(cache) == 2
    reader.reads.clear()
    cache.get(reader, "flat")
    assert reader.reads == []
    cache.get(reader, "wide")
    assert len(reader.reads) == 1


def test_a_footer_larger_than_the_cap_takes_a_second_read(reader: MemoryReader) -> None:
    assert formats.parquet_get_rg("flat", 0, footer_cap=10, reader=reader)
    assert reader.reads[0][2] == 10
    assert len(reader.reads) == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rg_idx": 4}, r"rg_idx 4 out of range for 'flat' \(4 row groups\)"),
        ({"rg_idx": -1}, "rg_idx must be"),
        ({"rg_idx": 0, "col_indices": []}, "col_indices is empty"),
        ({"rg_idx": 0, "col_indices": [3]}, "column index 3 out of range: 'flat' has 3 columns"),
        ({"rg_idx": 0, "col_indices": [-1]}, "a column index must be"),
        ({"rg_idx": 0, "decode": "polars"}, "unknown decode 'polars': use one of arrow, raw"),
        ({"rg_idx": 0, "footer_cap": 0}, "footer_cap"),
    ],
)
def test_bad_requests_name_themselves(reader: MemoryReader, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        formats.parquet_get_rg("flat", reader=reader, **options)


def test_damaged_files_are_told(reader: MemoryReader) -> None:
    flat = reader.files["flat"]
    length = int.from_bytes(flat[-8:-4], "little")
    reader.files.update(
        text=b"no parquet here, but long enough",
        nothing=b"",
        short=flat[:-1],
        lying=flat[:-8] + (1 << 30).to_bytes(4, "little") + b"PAR1",
        scrambled=flat[: -8 - length] + bytes(length) + flat[-8:],
    )
    for uri in ("text", "nothing", "short"):
        with pytest.raises(CorruptDataError, match=f"'{uri}' is not a valid Parquet file .bad magic"):
            formats.parquet_rg_row_offsets(uri, reader=reader)
    with pytest.raises(CorruptDataError, match="footer of 1073741832 in"):
        formats.parquet_rg_row_offsets("lying", reader=reader)
    with pytest.raises(CorruptDataError, match="footer of 'scrambled' is damaged"):
        formats.parquet_rg_row_offsets("scrambled", reader=reader)
    formats.parquet_rg_row_offsets("written", reader=reader)
    reader.files["written"] = bytes(len(reader.files["written"]))
    with pytest.raises(CorruptDataError, match="row group 0 of 'written' cannot be decoded"):
        formats.parquet_get_rg("written", 0, reader=reader)
    reader.files["written"] = b""
    with pytest.raises(CorruptDataError, match="written again"):
        formats.parquet_get_rg("written", 0, reader=reader)


def test_the_index_finds_rows_without_io(reader: MemoryReader) -> None:
    index = formats.ParquetIndex(reader, [0, 2], footer_cap=4096)
    index.ensure_indexed(["flat", "written", "flat"], batch_size=2)
    assert repr(index) == "PyParquetIndex(files=2, rgs=8, col_indices=[0, 2], footer_cap=4096)"
    assert (len(index), index.file_count(), index.file_rg_count("flat"), index.file_rg_count("x")) == (8, 2, 4, None)
    reader.reads.clear()
    index.ensure_indexed(["flat", "written"], epoch=2)
    assert [index.rg_for_sample("flat", row) for row in (0, 9, 10, 39, 40, 1000)] == [0, 0, 1, 3, 3, 3]
    group, offset, length = index.rg_lookup("flat", 25)
    assert (offset, length) == index.rg_range("flat", group)
    assert reader.reads == []
    assert reader.files["flat"][offset : offset + length] == bytes(
        formats.parquet_get_rg("flat", 2, [0, 2], decode="raw", reader=reader)
    )
    index.invalidate_uri("flat")
    assert not index.is_indexed("flat")
    assert index.is_indexed("written")
    index.clear()
    assert len(index) == 0


def test_the_index_remembers_epochs(reader: MemoryReader) -> None:
    index = formats.ParquetIndex(reader)
    index.ensure_indexed(["flat"])
    assert not index.was_fetched("flat", 0, 1)
    index.mark_fetched("flat", 0, 1)
    assert index.was_fetched("flat", 0, 1)
    assert not index.was_fetched("flat", 0, 2)
    assert [index.check_and_mark("flat", 1, epoch) for epoch in (1, 1, 2, 2)] == [False, True, False, True]
    assert not index.was_fetched("x", 0, 1)
    assert not index.was_fetched("flat", 99, 1)


def test_of_many_threads_one_gets_to_fetch(reader: MemoryReader) -> None:
    index = formats.ParquetIndex(reader)
    index.ensure_indexed(["flat"])
    answers: list[bool] = []
    run_in_threads(lambda _: answers.append(index.check_and_mark("flat", 0, 1)), range(8))
    assert sorted(answers) == [False] + [True] * 7


def test_the_index_refuses_what_it_does_not_know(reader: MemoryReader) -> None:
    index = formats.ParquetIndex(reader)
    with pytest.raises(ConfigError, match=r"URI not indexed: flat; call ensure_indexed"):
        index.rg_lookup("flat", 0)
    index.ensure_indexed(["flat", "empty"])
    with pytest.raises(ConfigError, match=r"RG \(flat, 4\) not in index"):
        index.rg_range("flat", 4)
    with pytest.raises(ConfigError, match=r"RG \(flat, 4\) not in index"):
        index.mark_fetched("flat", 4, 1)
    with pytest.raises(ConfigError, match="'empty' has no row groups"):
        index.rg_for_sample("empty", 0)
    with pytest.raises(ConfigError, match="sample_idx"):
        index.rg_for_sample("flat", -1)
    with pytest.raises(ConfigError, match="batch_size"):
        index.ensure_indexed(["flat"], batch_size=0)
    with pytest.raises(ConfigError, match="column index 9"):
        formats.ParquetIndex(reader, [9]).ensure_indexed(["flat"])
    with pytest.raises(ConfigError, match="col_indices is empty"):
        formats.ParquetIndex(reader, []).ensure_indexed(["flat"])


@pytest.mark.parametrize(
    "call",
    [
        lambda reader: formats.generate_parquet_bytes(1, 1, 1),
        lambda reader: formats.parquet_get_rg("flat", 0, reader=reader),
    ],
)
def test_a_missing_package_names_the_line_that_installs_it(
    reader: MemoryReader, monkeypatch: pytest.MonkeyPatch, call: Any
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 's3dlio\[parquet\]'"):
        call(reader)
