"""The files of checkpoints: those of the Rust package are read, and ours are as it writes them."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import Any

import pytest

import s3dlio
from s3dlio.checkpoint.layout import Name
from s3dlio.checkpoint.manifest import Manifest, Pointer, ShardMeta, manifest_of, now

#: What version 0.10.0 wrote: of each strategy, with and without compression: name -> content.
GOLDEN: dict[str, dict[str, str]] = json.loads(
    (Path(__file__).parent / "data" / "checkpoints_of_the_rust_package.json").read_text()
)
TIMES = re.compile(r"20\d{6}-\d{6}")
VARYING = {"wall_time", "etag", "size"}  # zstd makes other bytes in other versions


@pytest.fixture(params=sorted(GOLDEN))
def golden(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Path]:
    for name, content in GOLDEN[request.param].items():
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        encoded = content.removeprefix("base64:")
        file.write_bytes(content.encode() if encoded is content else base64.b64decode(encoded))
    return request.param, tmp_path


def test_checkpoints_of_the_rust_package_are_loaded(golden: tuple[str, Path]) -> None:
    _, path = golden
    store = s3dlio.CheckpointStore(f"file://{path}")
    assert store.load_latest() == [b"rank %d " % rank * 40 for rank in range(3)]
    assert store.load(20) == b"single rank " * 20
    assert [(info.step, info.epoch, info.framework, info.world_size, info.status) for info in store.list()] == [
        (20, 2, "torch", 1, "complete"), (21, 3, "jax", 3, "complete")
    ]  # fmt: skip
    shard = store.manifest(20).shards[0]
    assert s3dlio.load_checkpoint_with_validation(f"file://{path}/{shard.key}") == b"single rank " * 20
    assert store.delete_checkpoint(21)
    assert store.load_latest() == b"single rank " * 20


def test_ours_have_the_same_names_and_contents(
    golden: tuple[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> None:
    kind, theirs = golden
    ours = tmp_path_factory.mktemp("ours")
    strategy, _, zstd = kind.partition(" ")
    store = s3dlio.CheckpointStore(f"file://{ours}", strategy, compression_level=3 if zstd else None)
    store.save(20, 2, "torch", b"single rank " * 20)
    metas = [store.writer(3, rank).save_distributed_shard(21, 3, "jax", b"rank %d " % rank * 40) for rank in range(3)]
    store.writer(3, 0).finalize_distributed_checkpoint(21, 3, "jax", metas)
    assert contents(ours) == contents(theirs)


def contents(folder: Path) -> dict[str, Any]:
    """Every file: its name and what is in it, without what differs from one time to another."""
    found = {}
    for file in folder.rglob("*"):
        if file.is_file():
            name = TIMES.sub("TIME", str(file.relative_to(folder)))
            found[name] = TIMES.sub("TIME", file.read_text()) if file.suffix == ".json" else "shard"
            if file.parent.name == "manifests":
                found[name] = list(_lines(found[name]))
    return found


def _lines(text: str) -> list[str]:
    """The lines of a manifest, each as it is, the values that vary left out."""
    return [re.sub(rf'("(?:{"|".join(VARYING)})": ).*?(,?)$', r"\1...\2", line) for line in text.split("\n")]


def test_the_pointer_is_byte_for_byte_the_same(golden: tuple[str, Path]) -> None:
    _, path = golden
    before = (path / "latest.json").read_bytes()
    manifest = next(path.glob("manifests/ckpt-21-*")).name
    (path / "latest.json").unlink()
    name = Name(21, manifest.removeprefix("ckpt-21-").removesuffix(".json"))
    s3dlio.CheckpointStore(f"file://{path}").delete_checkpoint(20)
    assert Pointer(name.manifest_key, 21, name.timestamp).to_bytes() == before


def manifest_with(**fields: Any) -> Manifest:
    shards = (ShardMeta(0, "shards/ckpt-1-20260101-000000/rank-0.bin", 4, "etag", "crc32c:00000000"),)
    given = {"framework": "torch", "epoch": 0, "user_meta": None} | fields
    return Manifest(format_version=1, global_step=1, wall_time=now(), world_size=1, shards=shards, **given)


@pytest.mark.parametrize("fields", [{}, {"framework": 'é "quoted"\n'}, {"user_meta": {"a": [1, None, "é"], "b": {}}}])
def test_a_manifest_is_read_as_it_was_written(fields: dict[str, Any]) -> None:
    manifest = manifest_with(**fields)
    read = manifest_of(manifest.to_bytes(), "file:///run/manifests/ckpt-1-20260101-000000.json")
    for name in ("framework", "user_meta", "shards", "epoch", "status"):
        assert getattr(read, name) == getattr(manifest, name)
    assert read.wall_time.startswith(manifest.wall_time.partition("+")[0])


def test_every_flipped_bit_of_a_manifest_is_found() -> None:
    data = manifest_with(user_meta={"note": "kept"}).to_bytes()
    uri = "file:///run/manifests/ckpt-1-20260101-000000.json"
    for position in range(len(data)):
        for bit in range(8):
            flipped = bytearray(data)
            flipped[position] ^= 1 << bit
            with pytest.raises(s3dlio.S3dlioError):
                manifest_of(bytes(flipped), uri)


@pytest.mark.parametrize("level", [None, 3])
def test_every_flipped_bit_of_a_stored_object_is_found(level: int | None) -> None:
    client = s3dlio.Client()
    store = s3dlio.CheckpointStore(f"memory://flipped-{level}", compression_level=level, client=client)
    for step in (20, 21):
        store.save(step, 0, "torch", bytes(range(16)) + b"text " * 8)
    for key in ("latest.json", store.manifest().shards[0].key):
        uri = store.base.uri(key)
        data = client.get(uri).to_bytes()
        for position in range(len(data)):
            for bit in range(8):
                flipped = bytearray(data)
                flipped[position] ^= 1 << bit
                client.put_bytes(uri, flipped)
                with pytest.raises(s3dlio.S3dlioError):
                    store.load_latest()
        client.put_bytes(uri, data)
    assert store.load_latest() == bytes(range(16)) + b"text " * 8
