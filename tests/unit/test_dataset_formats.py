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
