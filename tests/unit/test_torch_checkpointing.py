"""torch-checkpointing on stores: its checkpoints saved and loaded, and its contract of a storage."""

from __future__ import annotations

import io
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from s3dlio.client import Client
from s3dlio.config.settings import Settings
from tests.servers import Server

pytest.importorskip("torch_checkpointing")
torch = pytest.importorskip("torch")


@pytest.fixture(params=["file", "direct", "memory", "s3"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Any, Path]]:
    from s3dlio.checkpoint.torch_checkpointing import S3dlioStorage

    if request.param == "s3":
        server: Server = request.getfixturevalue("moto_server")
        with Client(Settings.resolve(server.env)) as client:
            client.create_bucket("s3://torch-checkpointing")
            yield S3dlioStorage(client), Path(f"s3://torch-checkpointing/{request.node.name}")
    else:
        with Client() as client:
            base = f"memory://tc-{id(client)}/at" if request.param == "memory" else f"{request.param}://{tmp_path}/at"
            yield S3dlioStorage(client), Path(base)


def test_checkpoints_are_saved_and_loaded(where: tuple[Any, Path]) -> None:
    from torch_checkpointing import CheckpointManager, ItemSpec
    from torch_checkpointing.checkpoint_layout import LayoutInfo, SafetensorsSerialization

    from s3dlio.checkpoint.torch_checkpointing import S3dlioStorageConfig

    storage, base = where
    config = CheckpointManager.Config.with_sync_save()
    config.storage_config = S3dlioStorageConfig(storage._client)
    config.items = {"flat": ItemSpec(layout=LayoutInfo("flat.safetensors", SafetensorsSerialization()), required=False)}
    manager = CheckpointManager(config)
    net = torch.nn.Linear(300, 200)
    flat = {"w": torch.arange(12.0).reshape(3, 4)}
    checkpoint = str(base / "step_1")
    manager.save(checkpoint, {"model": net.state_dict(), "step": 7, "flat": flat})
    assert not storage.exists(base / "tmp_step_1")
    other = torch.nn.Linear(300, 200)
    target = {"w": torch.zeros(3, 4)}
    found = manager.load(checkpoint, into={"model": other.state_dict(), "step": 0, "flat": target})
    assert found["step"] == 7
    assert torch.equal(found["model"]["weight"], net.weight)
    assert torch.equal(found["flat"]["w"], flat["w"])
    with pytest.raises(OSError, match="there is something already"):
        manager.save(checkpoint, {"model": net.state_dict(), "step": 8, "flat": flat})
    assert manager.load(checkpoint, into={"step": 0})["step"] == 7
    manager.close()


def test_files(where: tuple[Any, Path]) -> None:
    storage, base = where
    storage.mkdir(base)
    storage.write(base / "a", b"12345")
    assert storage.read(base / "a") == b"12345"
    assert storage.getsize(base / "a") == 5
    with storage.stream_read(base / "a") as stream:
        assert isinstance(stream, io.RawIOBase)
        assert stream.seek(2) == 2
        buffer = bytearray(10)
        assert stream.readinto(buffer) == 3
        assert buffer[:3] == b"345"
    with storage.stream_write(base / "sub" / "b") as stream:
        stream.write(memoryview(b"xyz"))
    assert storage.read(base / "sub" / "b") == b"xyz"

    def fail() -> None:
        with storage.stream_write(base / "c") as stream:
            stream.write(b"half")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert not storage.exists(base / "c")
    assert sorted(storage.ls(base)) == ["a", "sub"]
    assert [storage.isdir(base / name) for name in ("a", "sub", "none")] == [False, True, False]
    assert [storage.exists(base / name) for name in ("a", "sub", "none")] == [True, True, False]
    storage.delete(base / "a")
    for verb in (storage.delete, storage.read, storage.getsize):
        with pytest.raises(FileNotFoundError):
            verb(base / "a")
    with pytest.raises(FileNotFoundError):
        storage.rename(base / "a", base / "b")
    storage.rmdir(base)
    assert not storage.exists(base)


def test_renaming(where: tuple[Any, Path]) -> None:
    storage, base = where
    for name in ("d/x", "d/sub/y", "d/.metadata", "full/z", "f", "g"):
        storage.mkdir((base / name).parent)
        storage.write(base / name, name.encode())
    for source, target in (("d", "full"), ("d", "f"), ("f", "full")):
        with pytest.raises(OSError, match="there is something already"):
            storage.rename(base / source, base / target)
    assert storage.read(base / "full" / "z") == b"full/z"
    storage.rename(base / "d", base / "e", is_directory=True)
    assert not storage.exists(base / "d")
    assert [storage.read(base / "e" / name) for name in ("x", "sub/y", ".metadata")] == [
        b"d/x", b"d/sub/y", b"d/.metadata",
    ]  # fmt: skip
    storage.rename(base / "f", base / "g")
    assert storage.read(base / "g") == b"f"
    assert not storage.exists(base / "f")
    storage.rename(base / "g", base / "h")
    assert storage.read(base / "h") == b"f"


def test_the_configuration_travels_to_worker_processes() -> None:
    from s3dlio.checkpoint.torch_checkpointing import S3dlioStorageConfig

    config = pickle.loads(pickle.dumps(S3dlioStorageConfig(Client(endpoint_url="http://127.0.0.1:1"))))
    assert config.create_storage()._session.settings.s3.endpoint_url == "http://127.0.0.1:1"


@pytest.mark.parametrize(
    ("path", "uri"),
    [
        ("s3://b/k/x", "s3://b/k/x"), ("gs://b/k", "gs://b/k"), ("s3://h:9000/b/k", "s3://h:9000/b/k"),
        ("file:///tmp/x", "file:///tmp/x"), ("direct:///tmp/x", "direct:///tmp/x"), ("/tmp/x", "file:///tmp/x"),
    ],
)  # fmt: skip
def test_paths_are_uris_again(path: str, uri: str) -> None:
    from s3dlio.checkpoint.torch_checkpointing import S3dlioStorage

    assert S3dlioStorage().remap_path(Path(path)) == uri
