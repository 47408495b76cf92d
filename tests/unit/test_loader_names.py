"""Older names of data sets and loaders, and those of the documents: each is there, and does what it says."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

import s3dlio
from s3dlio.errors import InvalidURIError, ObjectNotFoundError


@pytest.fixture
def folder(tmp_path: Path) -> str:
    for number in range(5):
        (tmp_path / f"{number}.bin").write_bytes(bytes([number]) * 10)
    (tmp_path / "notes.txt").write_bytes(b"no sample")
    return f"file://{tmp_path}/"


async def collected(loader: Any) -> list[Any]:
    return [batch async for batch in loader]


def test_values_come_in_batches() -> None:
    values = s3dlio.PyVecDataset([1, 2, 3])
    assert (len(values), values[1]) == (3, 2)
    with pytest.raises(IndexError, match="Index 9 out of range"):
        values[9]
    assert asyncio.run(collected(s3dlio.PyAsyncDataLoader(values))) == [[1, 2, 3]]
    loader = s3dlio.PyAsyncDataLoader(values, {"batch_size": 2})
    assert asyncio.run(collected(loader)) == list(loader) == [[1, 2], [3]]
    assert len(loader) == 2
    assert list(s3dlio.PyAsyncDataLoader(values, {"batch_size": 2, "drop_last": True})) == [[1, 2]]
    assert list(s3dlio.PyAsyncDataLoader(values, {"transform": str})) == [["1", "2", "3"]]
    with pytest.raises(TypeError, match="a data set with a length"):
        s3dlio.PyAsyncDataLoader(3)  # type: ignore[arg-type]


def test_older_names(folder: str) -> None:
    with pytest.warns(DeprecationWarning, match="create_async_loader"):
        loader = s3dlio.PyS3AsyncDataLoader(folder, {"batch_size": 4, "pattern": "*.bin"})
    assert [len(batch) for batch in asyncio.run(collected(loader))] == [4, 1]
    assert isinstance(loader.items(), s3dlio.PyObjectDataLoaderSyncIter)
    with pytest.warns(DeprecationWarning, match="create_dataset"), pytest.raises(InvalidURIError, match="s3:// only"):
        s3dlio.PyS3Dataset(folder)


def test_a_pattern_chooses(folder: str) -> None:
    assert s3dlio.create_dataset(folder, {"pattern": "*.bin"}).keys() == [f"{number}.bin" for number in range(5)]
    with pytest.raises(ObjectNotFoundError, match="no objects were selected"):
        s3dlio.create_dataset(folder, {"pattern": "*.npz"})


def test_pools_and_modes(folder: str) -> None:
    dataset = s3dlio.create_dataset(folder)
    pool = s3dlio.AsyncPoolDataLoader(dataset, {"batch_size": 4}, s3dlio.PoolConfig.balanced())
    assert sorted(len(batch) for batch in pool.stream()) == [2, 4]
    assert pool.options.values.in_order is False
    options = s3dlio.LoaderOptions(batch_size=4, loading_mode="Sequential")
    unified = s3dlio.UnifiedDataLoader.from_prefix(folder, options)
    assert [bytes(data)[:1] for batch in unified.stream() for data in batch] == [*map(bytes, zip(range(5))), b"n"]


def test_data_sets_of_nothing() -> None:
    with pytest.raises(ValueError, match="uris list must be non-empty"):
        s3dlio.PyDataset.from_uris([])
    with pytest.raises(TypeError, match="several URIs"):
        s3dlio.PyDataset.from_uris("s3://b/k")
    with pytest.raises(TypeError, match="a PyDataset"):
        s3dlio.PyBytesAsyncDataLoader(["s3://b/k"])  # type: ignore[arg-type]


def test_items_are_used_by_name_and_as_bytes(folder: str) -> None:
    import numpy

    (item, *_) = s3dlio.PyBytesAsyncDataLoader(s3dlio.PyDataset(folder, {"pattern": "3.bin"})).items().collect_batch(9)
    assert isinstance(item, s3dlio.PyObjectItem)
    assert item["data"] is item.data
    assert (item["uri"], item["byte_count"], item[0], item[:2]) == (f"{folder}3.bin", 10, 3, b"\3\3")
    assert numpy.frombuffer(item, numpy.uint8).tolist() == [3] * 10
    with pytest.raises(KeyError):
        item["size"]
    assert repr(item) == f"ObjectItem('{folder}3.bin', 10 bytes)"
    with pytest.raises(ValueError, match="1 or more"):
        s3dlio.PyBytesAsyncDataLoader(s3dlio.PyDataset(folder)).items().collect_batch(0)
