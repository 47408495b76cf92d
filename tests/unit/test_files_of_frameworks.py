"""What frameworks do with an opened object."""

from __future__ import annotations

import csv
import pickle
import zipfile
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import s3dlio
from tests.servers.moto_server import MotoServer


@pytest.fixture(params=["memory", "file", "s3"])
def base(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> Iterator[str]:
    if request.param == "s3":
        server: MotoServer = request.getfixturevalue("moto_server")
        for name, value in server.env.items():
            monkeypatch.setenv(name, value)
        s3dlio.configure_s3()
        s3dlio.create_bucket("s3://frameworks/")
        yield "s3://frameworks"
        monkeypatch.undo()
        s3dlio.configure_s3()
    else:
        yield f"file://{tmp_path}" if request.param == "file" else "memory://frameworks"


class _Unpicklable:
    def __reduce__(self) -> Any:
        raise pickle.PicklingError


def test_numpy_saves_and_loads(base: str) -> None:
    array = np.arange(600_000, dtype="f8").reshape(1000, 600)
    with s3dlio.open(f"{base}/a.npy", "wb") as file:
        np.save(file, array)
    with s3dlio.open(f"{base}/a.npy", "rb") as file:
        assert np.array_equal(np.load(file), array)
    with s3dlio.open(f"{base}/a.npz", "wb") as file:
        np.savez_compressed(file, first=array[:10], second=array[10:20])
    with s3dlio.open(f"{base}/a.npz", "rb") as file, np.load(file) as loaded:
        assert np.array_equal(loaded["second"], array[10:20])
    s3dlio.save_numpy_array(f"{base}/b.npy", array, compress=True, validate=True)
    assert np.array_equal(s3dlio.load_numpy_array(f"{base}/b.npy"), array)


def test_torch_saves_and_loads(base: str) -> None:
    torch = pytest.importorskip("torch")
    state = {f"layer.{number}": torch.rand(300, 500) for number in range(8)} | {"step": 7}
    with s3dlio.open(f"{base}/model.pt", "wb") as file:
        torch.save(state, file)
    with s3dlio.open(f"{base}/model.pt", "rb") as file:
        loaded = torch.load(file, weights_only=True)
    assert loaded.keys() == state.keys()
    assert all(torch.equal(loaded[name], state[name]) for name in state if name != "step")
    with pytest.raises(pickle.PicklingError), s3dlio.open(f"{base}/model.pt", "wb") as file:
        torch.save(state | {"step": _Unpicklable()}, file)
    with s3dlio.open(f"{base}/model.pt", "rb") as file:
        assert torch.load(file, weights_only=True)["step"] == 7


def test_the_standard_library_reads_and_writes(base: str) -> None:
    with s3dlio.open(f"{base}/a.zip", "wb") as file, zipfile.ZipFile(file, "w") as archive:
        for number in range(20):
            archive.writestr(f"{number}.txt", f"{number}" * 10_000)
    with s3dlio.open(f"{base}/a.zip", "rb") as file, zipfile.ZipFile(file) as archive:
        assert archive.testzip() is None
        assert archive.read("7.txt") == b"7" * 10_000
    with s3dlio.open(f"{base}/a.pickle", "wb") as file:
        pickle.dump({"a": list(range(1000))}, file)
    with s3dlio.open(f"{base}/a.pickle", "rb") as file:
        assert pickle.load(file) == {"a": list(range(1000))}
    with s3dlio.open(f"{base}/a.csv", "w", newline="") as lines:
        csv.writer(lines).writerows([[1, "ä"], [2, 'b"']])
    with s3dlio.open(f"{base}/a.csv", newline="") as lines:
        assert list(csv.reader(lines)) == [["1", "ä"], ["2", 'b"']]
    with s3dlio.open(f"{base}/latin.txt", "w", encoding="latin-1") as lines:
        print("Grüße", file=lines)
    assert s3dlio.get(f"{base}/latin.txt") == "Grüße\n".encode("latin-1")
