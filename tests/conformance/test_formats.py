"""Samples of every format, on every store: as many as there are, at any position, damaged ones as errors."""

from __future__ import annotations

import asyncio
import pickle
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import s3dlio
from s3dlio.client import Client
from s3dlio.errors import CorruptDataError
from s3dlio.formats.tar import tar_members
from s3dlio.formats.tar_index import TarIndex
from s3dlio.loader.dataset import Dataset
from tests.conformance.stores import Case
from tests.conformance.test_batches import archive, put

CHANCE = random.Random(8)
RECORDS = [[CHANCE.randbytes(CHANCE.choice((0, 1, 100, 5000))) for _ in range(count)] for count in (7, 0, 30)]


@pytest.fixture(autouse=True)
def _native_stores(request: pytest.FixtureRequest) -> None:
    """What formats ask of SDKs and of TLS, ``test_batches`` asks, too."""
    if request.node.callspec.params["case"] in ("s3-swift-tls", "s3-boto3", "s3-arrow") or "sdk" in request.node.name:
        pytest.skip("another transport")


@pytest.fixture
def client() -> Iterator[Client]:
    with Client() as client:
        yield client


def dataset(case: Case, client: Client, **options: Any) -> Dataset:
    return Dataset(case.store.uri(case.key("data/")), options, client=client)


def every_way(made: Dataset, plain: Callable[[Any], Any]) -> list[Any]:
    """All samples, read in several ways, which agree."""
    found = [plain(sample) for sample in made]
    assert len(made) == len(found)
    shuffled = list(range(len(made)))
    CHANCE.shuffle(shuffled)
    by_batch = made.__getitems__(shuffled)
    assert [plain(sample) for sample in by_batch] == [found[index] for index in shuffled]
    again = pickle.loads(pickle.dumps(made))
    assert plain(again[-1]) == plain(made[-1]) == found[-1]
    again.session.close()  # its threads refer to nothing any more
    assert plain(asyncio.run(_item(made, len(found) // 2))) == found[len(found) // 2]
    assert [plain(sample) for sample in made[1:3]] == found[1:3]
    return found


async def _item(made: Dataset, index: int) -> Any:
    return await made.get_item(index)


@pytest.mark.parametrize("indexed", [True, False])
def test_records_are_samples(case: Case, client: Client, indexed: bool) -> None:
    for number, records in enumerate(RECORDS):
        data = s3dlio.build_tfrecord(records)
        put(case, f"data/{number}.tfrecord", data.to_bytes())
        if indexed and number != 1:
            put(case, f"data/{number}.tfrecord.idx", s3dlio.index_tfrecord_bytes(data).encode())
    made = dataset(case, client, format="tfrecord")
    assert every_way(made, bytes) == [record for records in RECORDS for record in records]
    assert len(dataset(case, client, format="tfrecord", decode="raw")[0]) == len(RECORDS[0][0]) + 16


def test_an_index_of_another_file_is_not_used(case: Case, client: Client) -> None:
    put(case, "data/a.tfrecord", s3dlio.build_tfrecord(RECORDS[2]).to_bytes())
    put(case, "data/a.tfrecord.idx", s3dlio.index_tfrecord_bytes(s3dlio.build_tfrecord(RECORDS[2][:9])).encode())
    put(case, "data/b.tar", archive({"1.x": b"1", "2.x": b"2", "3.x": b"3"}))
    put(case, "data/b.idx", TarIndex(tar_members(archive({"1.x": b"1", "2.x": b"2"}))).to_text().encode())
    base = case.store.uri(case.key("data/"))
    records = Dataset.from_uris([f"{base}a.tfrecord"], {"format": "tfrecord"}, client=client)
    assert list(records) == RECORDS[2]
    samples = Dataset.from_uris([f"{base}b.tar"], {"format": "tar"}, client=client)
    assert [sample["x"] for sample in samples] == [b"1", b"2", b"3"]


@pytest.mark.parametrize("indexed", [True, False])
def test_samples_of_tar_archives(case: Case, client: Client, indexed: bool) -> None:
    expected = []
    for shard in range(2):
        files: dict[str, bytes] = {"README": b"none"}
        for number in range(5):
            key = f"{shard}/{number:03d}"
            sample = {"jpg": CHANCE.randbytes(3000), "cls": str(number).encode()}
            files |= {f"{key}.{extension}": data for extension, data in sample.items()}
            expected.append({"__key__": key, **sample})
        uri = put(case, f"data/s-{shard}.tar", archive(files))
        if indexed:
            s3dlio.create_tar_index(uri, client=client)
    found = every_way(
        dataset(case, client, format="tar"),
        lambda sample: {name: value if isinstance(value, str) else bytes(value) for name, value in sample.items()},
    )
    assert [sample.pop("__url__").rpartition("/")[2] for sample in found] == ["s-0.tar"] * 5 + ["s-1.tar"] * 5
    assert found == expected


def test_arrays(case: Case, client: Client, tmp_path: Path) -> None:
    arrays = {"x": np.arange(24, dtype="<f4").reshape(2, 3, 4), "y": np.array([1, 2], "<i8").T}
    with Path(tmp_path / "c").open("wb") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
    put(case, "data/0.npz", s3dlio.build_multi_npz(list(arrays.items())).to_bytes())
    put(case, "data/1.npz", Path(tmp_path / "c").read_bytes())

    def plain(sample: dict[str, Any]) -> list[Any]:
        return [(name, array.dtype.str, array.tolist()) for name, array in sample.items()]

    assert every_way(dataset(case, client, format="npz"), plain) == [plain(arrays)] * 2
    damaged = bytearray(s3dlio.build_multi_npz(list(arrays.items())))
    damaged[200] ^= 1
    uri = put(case, "data/2.npz", bytes(damaged))
    with pytest.raises(CorruptDataError) as caught:
        dataset(case, client, format="npz")[2]
    assert caught.value.uri == uri


def test_row_groups(case: Case, client: Client) -> None:
    pa = pytest.importorskip("pyarrow")
    columns = [("label", 1), ("pixels", 4)]
    for number in range(2):
        put(case, f"data/{number}.parquet", s3dlio.generate_parquet_bytes_schema(columns, 10, 3).to_bytes())
    put(case, "data/_SUCCESS", b"")

    def read(data: Any) -> Any:
        return pa.ipc.open_stream(pa.py_buffer(data)).read_all().to_pylist()

    found = every_way(dataset(case, client, format="parquet"), read)
    assert [len(rows) for rows in found] == [10] * 6
    tables = every_way(dataset(case, client, format="parquet", decode="table", columns=["label"]), lambda table: table)
    assert [table.to_pylist() for table in tables] == [[{"label": row["label"]} for row in rows] for rows in found]
