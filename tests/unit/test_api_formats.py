"""The formats by URI: the same results as on bytes, wherever the object is stored."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import numpy as np
import pytest

import s3dlio
from s3dlio import api_formats, formats
from s3dlio.errors import CorruptDataError, ObjectNotFoundError


@pytest.fixture(params=["memory", "file"])
def base(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return f"memory://stored-{os.getpid()}/" if request.param == "memory" else f"file://{tmp_path}/"


def test_an_array_of_an_archive(base: str) -> None:
    first, second = np.arange(6, dtype="<f4").reshape(2, 3), np.arange(4)
    s3dlio.put_bytes(base + "a.npz", s3dlio.build_multi_npz([("data", first), ("labels", second)]))
    assert np.array_equal(s3dlio.read_npz(base + "a.npz"), first)
    assert np.array_equal(s3dlio.read_npz(base + "a.npz", "labels"), second)
    with pytest.raises(ObjectNotFoundError):
        s3dlio.read_npz(base + "none.npz")


def test_the_index_of_a_tfrecord_file(base: str, monkeypatch: pytest.MonkeyPatch) -> None:
    built = s3dlio.build_tfrecord_with_index(20, 1000, bytes(20_000))
    monkeypatch.setattr(api_formats, "_CHUNK", 777)
    s3dlio.put_bytes(base + "a.tfrecord", built.data)
    assert s3dlio.create_tfrecord_index(base + "a.tfrecord") == 20
    entries = s3dlio.read_tfrecord_index(base + "a.tfrecord.idx")
    assert entries == [(i * 1016, 1016) for i in range(20)]
    assert s3dlio.create_tfrecord_index(base + "a.tfrecord", base + "other") == 20
    assert s3dlio.get(base + "other") == s3dlio.get(base + "a.tfrecord.idx")


def test_a_damaged_tfrecord_file_gets_no_index(base: str) -> None:
    built = s3dlio.build_tfrecord_with_index(2, 100, bytes(200))
    s3dlio.put_bytes(base + "b.tfrecord", bytes(built.data)[:-1])
    with pytest.raises(CorruptDataError):
        s3dlio.create_tfrecord_index(base + "b.tfrecord")
    assert not s3dlio.exists(base + "b.tfrecord.idx")


def test_a_local_path_will_do(tmp_path: Path) -> None:
    built = s3dlio.build_tfrecord_with_index(3, 10, bytes(30))
    (tmp_path / "a").write_bytes(built.data)
    assert s3dlio.create_tfrecord_index(str(tmp_path / "a")) == 3
    assert len(s3dlio.read_tfrecord_index(tmp_path / "a.idx")) == 3


def test_row_groups_of_a_parquet_file(base: str) -> None:
    pytest.importorskip("pyarrow")
    uri = base + "a.parquet"
    s3dlio.generate_and_write_parquet(uri, 3, 10, 4)
    s3dlio.parquet_cache_invalidate(uri)
    assert s3dlio.parquet_rg_row_offsets(uri) == [0, 10, 20, 30, 40]
    assert len(s3dlio.parquet_get_rg(uri, 1, [0], decode="raw")) > 0
    index = s3dlio.PyParquetIndex()
    index.ensure_indexed([uri])
    assert index.file_rg_count(uri) == 4


def test_several_footers_are_read_at_a_time_and_the_first_failure_is_raised(
    base: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("pyarrow")
    uris = [f"{base}{number}.parquet" for number in range(3)]
    for uri in uris:
        s3dlio.generate_and_write_parquet(uri, 2, 10, 4)
    together, size = threading.Barrier(3), api_formats._Objects.size

    def meet(self: api_formats._Objects, uri: str) -> int:
        together.wait(30)
        return size(self, uri)

    monkeypatch.setattr(api_formats._Objects, "size", meet)
    index = s3dlio.PyParquetIndex()
    index.ensure_indexed(uris, batch_size=3)
    assert [index.file_rg_count(uri) for uri in uris] == [4, 4, 4]
    monkeypatch.undo()
    with pytest.raises(ObjectNotFoundError):
        index.ensure_indexed([*uris, base + "missing.parquet"])


@pytest.mark.parametrize("streaming", [False, True])
def test_parquet_files_with_columns_of_given_widths(base: str, streaming: bool) -> None:
    pytest.importorskip("pyarrow")
    write = s3dlio.generate_and_write_parquet_schema
    if streaming:
        write = s3dlio.generate_and_write_parquet_schema_streaming
    write(base + "s.parquet", [("x", 1), ("y", 4)], 5, 2)
    s3dlio.parquet_cache_invalidate(base + "s.parquet")
    assert s3dlio.parquet_rg_row_offsets(base + "s.parquet") == [0, 5, 10]


def test_all_formats_are_public() -> None:
    own_reader = {"RangeReader"}  # for those who bring a reader of their own
    assert set(formats.__all__) - own_reader <= set(s3dlio.__all__)
