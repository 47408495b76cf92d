"""SavedModel directories: there and back; what has a graph is whole."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from s3dlio.checkpoint.saved_model import download_saved_model, upload_saved_model
from s3dlio.client import Client
from s3dlio.config.settings import Settings
from s3dlio.errors import AlreadyExistsError, BatchError, ObjectNotFoundError
from s3dlio.types import Observation
from tests.servers import Server

FILES = {
    "saved_model.pb": b"graph", "fingerprint.pb": b"f", "variables/variables.index": b"index",
    "variables/variables.data-00000-of-00001": b"weights" * 1000, "assets/vocabulary.txt": b"a\nb\n",
}  # fmt: skip


@pytest.fixture(params=["file", "memory", "s3"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Client, str]]:
    if request.param == "s3":
        server: Server = request.getfixturevalue("moto_server")
        with Client(Settings.resolve(server.env)) as client:
            client.create_bucket("s3://saved-models")
            yield client, f"s3://saved-models/{request.node.name}"
    else:
        with Client() as client:
            yield client, f"file://{tmp_path}/at" if request.param == "file" else f"memory://saved-{id(client)}/at"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    for name, data in FILES.items():
        (tmp_path / "model" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "model" / name).write_bytes(data)
    return tmp_path / "model"


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_there_and_back(where: tuple[Client, str], model: Path, tmp_path: Path) -> None:
    client, base = where
    seen: list[Observation] = []
    client.add_observer(seen.append)
    assert sorted(upload_saved_model(model, base, client=client)) == sorted(f"{base}/{name}" for name in FILES)
    written = [one.uri for one in seen if one.operation == "PUT"]  # between files there is a copy, by its source
    assert base.startswith("file") or written[-1] == f"{base}/saved_model.pb"
    assert download_saved_model(base, tmp_path / "back", client=client) == str(tmp_path / "back")
    assert contents(tmp_path / "back") == FILES
    with pytest.raises(AlreadyExistsError):
        download_saved_model(base, tmp_path / "back", client=client)
    with pytest.raises(AlreadyExistsError):
        upload_saved_model(model, base, client=client)
    (model / "fingerprint.pb").unlink()
    (model / "saved_model.pb").write_bytes(b"new graph")
    upload_saved_model(model, base, overwrite=True, client=client)
    download_saved_model(base, tmp_path / "new", client=client)
    assert contents(tmp_path / "new") == contents(model)


def test_what_is_no_model_is_refused(where: tuple[Client, str], model: Path, tmp_path: Path) -> None:
    client, base = where
    (model / "saved_model.pb").rename(model / "graph.pb")
    with pytest.raises(ObjectNotFoundError, match="SavedModel"):
        upload_saved_model(model, base, client=client)
    client.put_bytes(f"{base}/variables/variables.index", b"")
    with pytest.raises(ObjectNotFoundError, match="SavedModel"):
        download_saved_model(base, tmp_path / "back", client=client)
    assert not (tmp_path / "back").exists()


def test_half_of_a_model_is_none(tmp_path: Path, model: Path) -> None:
    (model / "variables" / "unreadable").symlink_to("nowhere")
    with Client() as client:
        with pytest.raises(BatchError):
            upload_saved_model(model, "memory://half-model/at", client=client)
        assert not client.exists("memory://half-model/at/saved_model.pb")
    target = tmp_path / "occupied"
    target.write_bytes(b"")
    with pytest.raises(AlreadyExistsError):
        download_saved_model(f"file://{model}", target)
    assert [path.name for path in tmp_path.iterdir() if ".part" in path.name] == []
