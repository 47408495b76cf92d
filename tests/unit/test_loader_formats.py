"""Loaders of data sets whose samples are in objects: records, row groups, arrays."""

from __future__ import annotations

import asyncio
import pickle
from pathlib import Path
from typing import Any

import numpy
import pytest

import s3dlio
from s3dlio.errors import ConfigError, CorruptDataError, ObjectNotFoundError


@pytest.fixture
def tables(tmp_path: Path) -> str:
    pytest.importorskip("pyarrow")
    for number in range(2):
        (tmp_path / f"{number}.parquet").write_bytes(s3dlio.generate_parquet_bytes(3, 10, 4))
    return f"file://{tmp_path}/"


def test_row_groups_come_with_their_file_and_number(tables: str) -> None:
    loader = s3dlio.create_async_loader(tables, {"format": "parquet"})
    assert isinstance(loader, s3dlio.PyParquetStreamLoader)
    items = list(loader)
    assert isinstance(iter(loader), s3dlio.ParquetStreamIter)
    found = sorted((item.file_uri, item.rg_idx) for item in items)
    assert found == [(f"{tables}{file}.parquet", group) for file in range(2) for group in range(4)]
    for item in items:
        assert isinstance(item, s3dlio.PyParquetItem)
        stored = s3dlio.parquet_get_rg(item.file_uri, item.rg_idx, decode="raw")
        assert bytes(item) == bytes(item.data) == bytes(stored)
        assert item.byte_count == len(item) == len(stored)
    again = pickle.loads(pickle.dumps(items[0]))
    assert (again.file_uri, again.rg_idx, bytes(again)) == (items[0].file_uri, items[0].rg_idx, bytes(items[0]))
    assert "row group" in repr(again)


def test_row_groups_are_decoded_and_chosen(tables: str) -> None:
    import pyarrow

    options = {"format": "parquet", "decode": "arrow", "columns": [0], "in_order": True}
    items = list(s3dlio.create_async_loader(tables, options))
    assert [item.rg_idx for item in items] == [0, 1, 2, 3] * 2
    table = pyarrow.ipc.open_stream(pyarrow.py_buffer(items[0].data)).read_all()
    assert (table.column_names, table.num_rows) == (["col0"], 10)
    item = next(iter(s3dlio.create_async_loader(tables, options | {"decode": "table"})))
    assert (item.data.num_rows, item.rg_idx, item.file_uri) == (10, 0, f"{tables}0.parquet")


async def sizes(loader: Any) -> list[int]:
    return [len(batch) async for batch in loader]


def test_row_groups_come_in_batches_too(tables: str) -> None:
    loader = s3dlio.create_async_loader(tables, {"format": "parquet", "batch_size": 3, "shuffle": True, "prefetch": 2})
    assert asyncio.run(sizes(loader)) == [3, 3, 2]
    assert len(loader.items().collect_batch(5)) == 5


def test_what_is_no_parquet_file_is_an_error_with_its_uri(tables: str, tmp_path: Path) -> None:
    (tmp_path / "1.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(CorruptDataError) as caught:
        s3dlio.create_async_loader(tables, {"format": "parquet"})
    assert caught.value.uri == f"{tables}1.parquet"
    with pytest.raises(ObjectNotFoundError):
        s3dlio.create_async_loader(f"{tables}none/", {"format": "parquet"})


def test_arrays_are_samples(tmp_path: Path) -> None:
    for number in range(4):
        numpy.savez(tmp_path / f"{number}.npz", x=numpy.full((2, 3), number, numpy.float32), y=numpy.array([number]))
    dataset = s3dlio.create_dataset(f"file://{tmp_path}/", {"format": "npz"})
    batches = list(s3dlio.PyBytesAsyncDataLoader(dataset, {"batch_size": 2}))
    assert [[int(sample["y"][0]) for sample in batch] for batch in batches] == [[0, 1], [2, 3]]
    (item, *_) = s3dlio.PyBytesAsyncDataLoader(dataset, {"in_order": True}).items().collect_batch(1)
    assert item["data"]["x"].shape == (2, 3)
    assert (item.uri, item["byte_count"]) == (f"file://{tmp_path}/0.npz", (tmp_path / "0.npz").stat().st_size)
    transformed = s3dlio.PyBytesAsyncDataLoader(dataset, {"transform": lambda sample: sample["x"].sum()})
    assert [float(total) for total in transformed] == [0.0, 6.0, 12.0, 18.0]


def test_records_are_samples_of_which_ranks_have_their_part(tmp_path: Path) -> None:
    records = [bytes([number]) * 10 for number in range(10)]
    (tmp_path / "a.tfrecord").write_bytes(s3dlio.build_tfrecord(records))
    dataset = s3dlio.create_dataset(f"file://{tmp_path}/", {"format": "tfrecord"})
    found = [
        bytes(record)
        for rank in range(3)
        for record in s3dlio.PyBytesAsyncDataLoader(dataset, {"shard_rank": rank, "shard_world_size": 3})
    ]
    assert sorted(found) == records


def test_options_of_a_data_set_and_of_its_loader(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"a")
    dataset = s3dlio.create_dataset(f"file://{tmp_path}/")
    with pytest.raises(ConfigError, match=r"create_dataset\(uri, \{'pattern': 'b'\}\)"):
        s3dlio.PyBytesAsyncDataLoader(dataset, {"pattern": "b"})
    with pytest.raises(TypeError, match="format 'parquet'"):
        s3dlio.PyParquetStreamLoader(dataset)
    assert list(s3dlio.PyBytesAsyncDataLoader(dataset, {"return_type": "bytes"})) == [b"a"]
    assert [file.read() for file in s3dlio.PyBytesAsyncDataLoader(dataset, {"return_type": "reader"})] == [b"a"]
    with pytest.raises(ConfigError, match=r"s3dlio\.torch"):
        s3dlio.PyBytesAsyncDataLoader(dataset, {"return_type": "tensor"})
    again = pickle.loads(pickle.dumps(s3dlio.PyBytesAsyncDataLoader(dataset, {"batch_size": 1})))
    assert list(again) == [[b"a"]]
