"""Generated objects in bulk: names, bytes, formats, bounded reading ahead, failures."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest

from s3dlio.cli.parser_objects import OBJECT_TYPES
from s3dlio.client import Client
from s3dlio.datagen import DataSource
from s3dlio.errors import ConfigError, InvalidURIError
from s3dlio.formats import iter_tfrecords
from s3dlio.formats.objects import ObjectType
from s3dlio.transfer.generate import put_generated
from s3dlio.transfer.generated_sources import GeneratedObjects


@pytest.fixture
def client() -> Client:
    return Client()


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_names_have_the_index_and_the_number(client: Client, tmp_path: Path):
    put_generated(client, f"file://{tmp_path}", 3, template="o_{}_of_{}_{}.dat", size=1)
    assert names(tmp_path) == ["o_0_of_3_{}.dat", "o_1_of_3_{}.dat", "o_2_of_3_{}.dat"]


def test_the_template_may_stand_in_the_uri(client: Client, tmp_path: Path):
    put_generated(client, f"file://{tmp_path}/d{{}}/x-{{}}.bin", 2, size=1)
    assert names(tmp_path) == ["d0/x-2.bin", "d1/x-2.bin"]


def test_braces_of_a_prefix_are_literal_beside_a_template(client: Client, tmp_path: Path):
    put_generated(client, f"file://{tmp_path}/p{{}}/", 1, template="o{}", size=1)
    assert names(tmp_path) == ["p{}/o0"]


def test_the_default_template(client: Client, tmp_path: Path):
    put_generated(client, f"file://{tmp_path}/", 2, size=1)
    assert names(tmp_path) == ["object-0", "object-1"]


@pytest.mark.parametrize("mode", ["streaming", "single-pass"])
@pytest.mark.parametrize("size", [0, 1, 4096, (1 << 20) + 7])
def test_every_object_has_its_own_bytes_and_a_seed_repeats_them(client: Client, tmp_path: Path, mode: str, size: int):
    summary = put_generated(client, f"file://{tmp_path}/", 5, size=size, mode=mode, chunk_size=100_000, seed=7)
    assert (summary.attempted, summary.succeeded, summary.failed, summary.bytes) == (5, 5, 0, 5 * size)
    source = DataSource(size, seed=7)
    for index in range(5):
        expected = bytearray(size)
        source.fill(expected, index=index)
        assert (tmp_path / f"object-{index}").read_bytes() == expected


def test_without_a_seed_nothing_repeats(client: Client, tmp_path: Path):
    for run in "ab":
        put_generated(client, f"file://{tmp_path}/{run}", 2, size=64)
    assert len({path.read_bytes() for path in tmp_path.rglob("object-*")}) == 4


def test_dedup_and_compress_reach_the_data(client: Client, tmp_path: Path):
    put_generated(client, f"file://{tmp_path}/", 1, size=4 << 20, dedup=2, compress=4)
    data = (tmp_path / "object-0").read_bytes()
    assert data[: 2 << 20] == data[2 << 20 :]
    assert data[1 << 18 : 1 << 20] == bytes(3 << 18)


def test_objects_have_as_many_elements_as_asked_for(client: Client, tmp_path: Path):
    put_generated(client, f"file://{tmp_path}/t-{{}}", 2, object_type="TFRECORD", size=100, elements=7)
    data = [(tmp_path / f"t-{number}").read_bytes() for number in range(2)]
    assert [[len(record) for record in iter_tfrecords(file)] for file in data] == [[100] * 7] * 2
    client.put(f"file://{tmp_path}/", template="a.npy", object_type="npy", size=10, elements=3)
    assert np.load(tmp_path / "a.npy").shape == (3, 10)
    summary = put_generated(client, f"file://{tmp_path}/r-{{}}", 1, size=100, elements=7)
    assert summary.bytes == (tmp_path / "r-0").stat().st_size == 700


def test_npz_objects_are_read_by_numpy(client: Client, tmp_path: Path):
    put_generated(client, f"file://{tmp_path}/", 2, size=200_000, object_type="npz", chunk_size=1000)
    first, second = (np.load(io.BytesIO((tmp_path / f"object-{i}").read_bytes()))["data"] for i in range(2))
    assert first.shape == (200_000,)
    assert not np.array_equal(first, second)


@pytest.mark.parametrize("object_type", [kind for kind in OBJECT_TYPES if kind != "HDF5"])
def test_any_stretch_of_an_object_is_the_same_whenever_it_is_made(object_type: str):
    objects = GeneratedObjects(object_type, 300_000, 1, 1, chunk_size=4096, seed=1)
    whole = bytearray()
    source = objects.source(3)
    while len(whole) < source.size:
        whole += source.read(len(whole), 10_001)
    assert len(whole) == objects.size
    assert not len(source.read(source.size, 10))
    part = objects.source(3).part(100_001, 50_000)
    assert (part.size, part.whole()) == (50_000, None)
    assert bytes(part.read(30_000, 4000)) == whole[130_001:134_001]
    assert bytes(part.read(0, 4000)) == whole[100_001:104_001]
    assert bytes(part.read(49_999, 4000)) == whole[150_000:150_001]
    assert bytes(objects.source(3).part(0, 10).whole() or b"") == whole[:10]


def test_the_command_line_knows_every_object_type():
    assert set(OBJECT_TYPES) == set(ObjectType)


@pytest.mark.parametrize(
    "wrong",
    [{"size": -1}, {"object_type": "bogus"}, {"mode": "bogus"}, {"algorithm": "bogus"}, {"chunk_size": 0},
     {"max_in_flight": 0}, {"num": -1}, {"dedup": -1}, {"seed": -1}, {"size": 1 << 60, "mode": "single-pass"}],
)  # fmt: skip
def test_bad_arguments_are_refused_before_anything_is_written(client: Client, tmp_path: Path, wrong: dict[str, int]):
    with pytest.raises(ConfigError):
        put_generated(client, f"file://{tmp_path}/", **{"num": 1, "size": 1} | wrong)
    with pytest.raises(InvalidURIError):
        put_generated(client, "bogus://b/", 1, size=1)
    assert names(tmp_path) == []


def test_a_template_without_braces_is_refused_for_several_objects(client: Client, tmp_path: Path):
    with pytest.raises(ConfigError, match="where the index of the object"):
        put_generated(client, f"file://{tmp_path}/", 2, template="same.bin", size=1)
    assert names(tmp_path) == []
    put_generated(client, f"file://{tmp_path}/", 1, template="same.bin", size=1)
    assert names(tmp_path) == ["same.bin"]


def test_num_0_writes_nothing(client: Client, tmp_path: Path):
    assert put_generated(client, f"file://{tmp_path}/", 0, size=1).attempted == 0
    assert names(tmp_path) == []


def test_failures_are_in_the_summary_and_stop_the_rest_unless_asked(client: Client, tmp_path: Path):
    (tmp_path / "object-1").mkdir()
    (tmp_path / "object-1" / "in-the-way").touch()
    summary = put_generated(client, f"file://{tmp_path}/", 4, size=10, max_in_flight=1, continue_on_error=True)
    assert (summary.attempted, summary.succeeded, summary.failed) == (4, 3, 1)
    assert summary.failures[0].uri == f"file://{tmp_path}/object-1"
    summary = put_generated(client, f"file://{tmp_path}/", 4, size=10, max_in_flight=1)
    assert (summary.attempted, summary.succeeded, summary.failed) == (2, 1, 1)


def test_bytes_of_ones_own_are_for_put_bytes() -> None:
    with Client() as client, pytest.raises(TypeError, match="put_bytes"):
        client.put("memory://own/k", b"data")  # type: ignore[arg-type]
