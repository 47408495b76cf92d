"""Data sets with a format: what goes wrong, and what is asked for in vain."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

import s3dlio
from s3dlio.errors import ConfigError, CorruptDataError, ObjectNotFoundError, S3dlioError
from s3dlio.loader.dataset import Dataset
from tests.conformance.test_batches import archive


def dataset(folder: Path, **options: Any) -> Dataset:
    return Dataset(f"file://{folder}/", options)


async def _item(made: Dataset, index: int) -> Any:
    return await made.get_item(index)


def test_a_damaged_record_is_an_error_with_its_uri(tmp_path: Path) -> None:
    data = bytearray(s3dlio.build_tfrecord([b"a" * 100, b"b" * 100]))
    data[150] ^= 1
    (tmp_path / "x.tfrecord").write_bytes(data)
    uri = f"file://{tmp_path}/x.tfrecord"
    made = dataset(tmp_path, format="tfrecord")
    assert made[0] == b"a" * 100
    for read in (lambda: made[1], lambda: list(made), lambda: asyncio.run(_item(made, 1))):
        with pytest.raises(CorruptDataError) as caught:
            read()
        assert caught.value.uri == uri
    assert dataset(tmp_path, format="tfrecord", decode="unverified")[1] != b"b" * 100
    (tmp_path / "x.tfrecord").write_bytes(data[:130])
    with pytest.raises(S3dlioError):
        made[1]
    with pytest.raises(CorruptDataError) as caught:
        dataset(tmp_path, format="tfrecord")
    assert caught.value.uri == uri


def test_objects_without_samples_are_an_error(tmp_path: Path) -> None:
    (tmp_path / "s.tar").write_bytes(archive({"README": b"none"}))
    with pytest.raises(ObjectNotFoundError, match="no sample"):
        dataset(tmp_path, format="tar")
    with pytest.raises(CorruptDataError):
        dataset(tmp_path, format="parquet")


@pytest.mark.parametrize(
    "options",
    [{"format": "tarr"}, {"format": "tar", "decode": "arrow"}, {"columns": ["a"]}, {"format": "npz", "columns": [0]}],
)
def test_unknown_formats_and_decoders(tmp_path: Path, options: dict[str, Any]) -> None:
    (tmp_path / "0").write_bytes(b"0")
    with pytest.raises(ConfigError):
        dataset(tmp_path, **options)


def test_a_column_that_is_not_there(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    (tmp_path / "a.parquet").write_bytes(s3dlio.generate_parquet_bytes(2, 3, 1))
    with pytest.raises(ConfigError, match=r"no column 'col2' .* it has col0, col1"):
        dataset(tmp_path, format="parquet", columns=["col0", "col2"])


def test_loaders_give_samples(tmp_path: Path) -> None:
    for shard in range(3):
        files = {f"{shard}{number}.txt": b"%d" % number * 50 for number in range(4)}
        (tmp_path / f"{shard}.tar").write_bytes(archive(files))
        s3dlio.create_tar_index(f"file://{tmp_path}/{shard}.tar")
    options = {"format": "tar", "batch_size": 5}
    loader = s3dlio.create_async_loader(f"file://{tmp_path}/", options)
    batches = list(loader)
    assert [len(batch) for batch in batches] == [5, 5, 2]
    keys = [sample["__key__"] for batch in batches for sample in batch]
    assert keys == [f"{shard}{number}" for shard in range(3) for number in range(4)]
    item = next(loader.items())
    assert item["data"]["txt"] == item.data["txt"] == item[1]["txt"]
    assert item.uri.endswith(f"/{item.data['__key__'][0]}.tar")
    # The format of a loader, for a data set without one.
    objects = s3dlio.create_dataset(f"file://{tmp_path}/")
    assert len(objects) == 6
    shuffled = s3dlio.PyBytesAsyncDataLoader(
        objects, {"format": "tar", "shuffle": True, "seed": 3, "transform": lambda sample: sample["__key__"]}
    )
    assert sorted(shuffled) == sorted(keys)
    first = s3dlio.PyBytesAsyncDataLoader(s3dlio.create_dataset(f"file://{tmp_path}/", options), {"prefetch": 2})
    assert next(iter(first))["__key__"] == "00"


def test_a_damaged_sample_reaches_the_consumer_with_its_uri(tmp_path: Path) -> None:
    (tmp_path / "0.npz").write_bytes(s3dlio.generate_npz_bytes([4]))
    (tmp_path / "1.npz").write_bytes(s3dlio.generate_npz_bytes([4])[:200])
    loader = s3dlio.create_async_loader(f"file://{tmp_path}/", {"format": "npz"})
    seen = []
    with pytest.raises(CorruptDataError) as caught:
        seen.extend(loader)
    assert caught.value.uri == f"file://{tmp_path}/1.npz"
    assert [list(sample) for sample in seen] == [["x", "y"]]
