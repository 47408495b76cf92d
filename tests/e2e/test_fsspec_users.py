"""Packages that open files by fsspec read and write through s3dlio."""

from __future__ import annotations

import pickle
import uuid
from typing import Any

import pytest

pytest.importorskip("fsspec")

import fsspec

import s3dlio.fsspec  # noqa: F401 - registers s3dlio:// where the package is not installed
from s3dlio.errors import AlreadyExistsError


@pytest.fixture
def base() -> str:
    """An empty bucket."""
    return f"memory/users-{uuid.uuid4()}"


@pytest.fixture
def fs() -> Any:
    return fsspec.filesystem("s3dlio")


def test_pandas_reads_and_writes_tables(base: str, tmp_path: Any) -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"a": range(500), "b": [f"grüße {n}" for n in range(500)]})
    for name in ("t.csv", "t.csv.gz"):
        frame.to_csv(f"s3dlio://{base}/{name}", index=False)
        assert pandas.read_csv(f"s3dlio://{base}/{name}").equals(frame)
    frame.to_csv(tmp_path / "t.csv", index=False)
    frame.to_parquet(f"s3dlio://{base}/t.parquet")
    options = {"retry": {"max_attempts": 2}}
    assert pandas.read_csv(f"s3dlio://file{tmp_path}/t.csv", storage_options=options).equals(frame)
    assert pandas.read_parquet(f"s3dlio://{base}/t.parquet").equals(frame)
    with pytest.raises(FileNotFoundError):
        pandas.read_csv(f"s3dlio://{base}/missing.csv")


def test_arrow_reads_and_writes_data_sets(base: str, fs: Any) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    dataset, parquet = pytest.importorskip("pyarrow.dataset"), pytest.importorskip("pyarrow.parquet")
    table = pyarrow.table({"a": range(1000), "part": [n % 3 for n in range(1000)]})
    dataset.write_dataset(table, f"{base}/set", format="parquet", filesystem=fs, partitioning=["part"])
    found = dataset.dataset(f"{base}/set", filesystem=fs, partitioning=["part"])
    assert len(found.files) == 3
    assert found.to_table(filter=dataset.field("a") < 10).num_rows == 10
    parquet.write_table(table, f"{base}/one.parquet", filesystem=fs)
    assert parquet.read_table(f"{base}/one.parquet", filesystem=fs).equals(table)


def test_dask_reads_a_table_in_blocks(base: str) -> None:
    dd = pytest.importorskip("dask.dataframe")
    import pandas

    frame = pandas.DataFrame({"a": range(500)})
    frame.to_csv(f"s3dlio://{base}/t.csv", index=False)
    assert dd.read_csv(f"s3dlio://{base}/t.csv", blocksize=700).a.sum().compute(scheduler="sync") == frame.a.sum()
    dd.from_pandas(frame, npartitions=3).to_parquet(f"s3dlio://{base}/set", compute_kwargs={"scheduler": "sync"})
    assert len(dd.read_parquet(f"s3dlio://{base}/set").compute(scheduler="sync")) == 500


@pytest.mark.filterwarnings("ignore")
def test_ray_reads_and_writes_data_sets(tmp_path: Any, fs: Any) -> None:
    ray = pytest.importorskip("ray", reason="ray is not installed: 79 MB, and processes of its own")
    data = pytest.importorskip("ray.data")
    base = f"file{tmp_path}"
    ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False, object_store_memory=80 << 20)
    try:
        data.range(1000, override_num_blocks=2).write_parquet(f"{base}/set", filesystem=fs)
        found = data.read_parquet(f"{base}/set", filesystem=fs)
        assert found.count() == 1000
        assert found.sum("id") == sum(range(1000))
        fs.pipe(f"{base}/raw/a", b"abc")
        files = data.read_binary_files(f"{base}/raw/", filesystem=fs)
        assert [row["bytes"] for row in files.take_all()] == [b"abc"]
    finally:
        ray.shutdown()


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_torch_saves_and_loads_distributed_checkpoints(base: str, fs: Any) -> None:
    torch = pytest.importorskip("torch")
    checkpoint = pytest.importorskip("torch.distributed.checkpoint")
    storage = pytest.importorskip("torch.distributed.checkpoint._fsspec_filesystem")
    for step in (1, 2):  # the second takes the place of the first
        state = {"w": torch.full((100, 100), float(step)), "step": torch.tensor(step)}
        checkpoint.save(state, storage_writer=storage.FsspecWriter(f"s3dlio://{base}/ckpt", sync_files=False))
    loaded = {"w": torch.zeros(100, 100), "step": torch.tensor(0)}
    checkpoint.load(loaded, storage_reader=storage.FsspecReader(f"s3dlio://{base}/ckpt"))
    assert torch.equal(loaded["w"], state["w"])
    assert fs.ls(f"{base}/ckpt", detail=False) == [f"{base}/ckpt/.metadata", f"{base}/ckpt/__0_0.distcp"]


def test_paths_of_universal_pathlib(base: str, tmp_path: Any) -> None:
    upath = pytest.importorskip("upath")
    pytest.importorskip("s3dlio.upath")
    path = upath.UPath(f"s3dlio://{base}/dir/x.txt")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("grüße")
    assert (type(path).__name__, path.drive, path.name) == ("S3dlioPath", "memory", "x.txt")
    assert str(path) == f"s3dlio://{base}/dir/x.txt"
    assert path.parent / "x.txt" == path
    assert (path.read_text(), path.stat().st_size, path.is_file(), path.parent.is_dir()) == ("grüße", 7, True, True)
    (path.parent / "deep" / "y.txt").write_bytes(b"1")
    assert sorted(each.name for each in path.parent.iterdir()) == ["deep", "x.txt"]
    assert [str(each) for each in path.parent.rglob("y*")] == [f"s3dlio://{base}/dir/deep/y.txt"]
    moved = path.rename(path.with_name("z.txt"))
    assert (path.exists(), moved.read_text()) == (False, "grüße")
    assert pickle.loads(pickle.dumps(moved)) == moved
    with pytest.raises(FileExistsError), moved.open("x"):
        pass
    direct = upath.UPath(f"direct://{tmp_path}") / "deep" / "x"
    direct.parent.mkdir()
    direct.write_bytes(b"1")
    assert (type(direct).__name__, direct.read_bytes()) == ("DirectPath", b"1")


def test_mappings_caches_and_copies_of_fsspec(base: str, fs: Any, tmp_path: Any) -> None:
    mapping = fs.get_mapper(f"{base}/map")
    mapping.update({"a": b"1", "b/c": b"2"})
    assert dict(mapping) == {"a": b"1", "b/c": b"2"}
    assert mapping.getitems(["a", "missing"], on_error="omit") == {"a": b"1"}
    with fsspec.open(f"simplecache::s3dlio://{base}/map/a", simplecache={"cache_storage": str(tmp_path)}) as file:
        assert file.read() == b"1"
    assert fs.from_json(fs.to_json()) is fs
    with pytest.raises(AlreadyExistsError):
        fs.pipe_file(f"{base}/map/a", b"3", mode="create")
