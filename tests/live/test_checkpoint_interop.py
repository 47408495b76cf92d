"""Checkpoints beside the Rust package: each reads what the other saved. Only where REFERENCE_PYTHON names an
interpreter that has it (``pip install s3dlio==0.10.0`` in an environment of its own)."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

import s3dlio
from tests.conftest import USER_ENVIRON
from tests.servers.moto_server import MotoServer

PYTHON = USER_ENVIRON.get("REFERENCE_PYTHON", "")
pytestmark = pytest.mark.skipif(not PYTHON, reason="REFERENCE_PYTHON names no interpreter with the Rust package")

SAVE = """
store = s3dlio.PyCheckpointStore(uri, strategy=strategy, compression_level=level)
store.save(1, 0, "torch", b"one " * 1000, {"kept": False})
metas = [store.writer(3, rank).save_distributed_shard(2, 1, "jax", b"rank %d " % rank * 1000) for rank in range(2)]
stream = store.writer(3, 2).get_distributed_shard_stream(2, 1, "jax")
for _ in range(1000): stream.write_chunk(b"rank 2 ")
metas.append(stream.finalize())
store.writer(3, 0).finalize_distributed_checkpoint(2, 1, "jax", metas)
told = None
"""
LOAD = """
store = s3dlio.PyCheckpointStore(uri, strategy=strategy, compression_level=level)
reader = store.reader()
manifest = reader.load_latest_manifest()
shards = [bytes(reader.read_shard_by_rank(manifest, rank)) for rank in range(3)]
infos = [(info.step, info.epoch, info.framework, info.world_size, info.status) for info in store.list_checkpoints()]
shard = bytes(s3dlio.load_checkpoint_with_validation(f"{uri}/{manifest['shards'][1]['key']}"))
deleted = store.delete_checkpoint(2)
told = {
    "step": manifest["global_step"], "right": shards == [b"rank %d " % rank * 1000 for rank in range(3)],
    "infos": sorted(infos), "validated": shard == shards[1], "deleted": deleted,
    "before": bytes(store.load_latest()) == b"one " * 1000,
}
"""
EXPECTED: dict[str, Any] = {
    "step": 2, "right": True, "infos": [[1, 0, "torch", 1, "complete"], [2, 1, "jax", 3, "complete"]],
    "validated": True, "deleted": True, "before": True,
}  # fmt: skip


@pytest.fixture(params=["file", "s3"])
def base(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "file":
        return f"file://{tmp_path}"
    server: MotoServer = request.getfixturevalue("moto_server")
    for name, value in server.env.items():
        monkeypatch.setenv(name, value)
    request.getfixturevalue("fresh_settings")
    s3dlio.create_bucket("interop")
    return f"s3://interop/{tmp_path.name}"


def theirs(code: str, **names: Any) -> Any:
    """Run code with the Rust package; what it leaves as ``told``."""
    program = f"import json, s3dlio\nglobals().update({names!r})\n{code}\nprint(json.dumps(told))"
    ended = subprocess.run([PYTHON, "-I", "-c", program], capture_output=True, text=True, timeout=60)
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout.splitlines()[-1])


def ours(code: str, **names: Any) -> Any:
    """Run the same code with this package."""
    scope: dict[str, Any] = {"s3dlio": s3dlio, **names}
    exec(code, scope)
    return json.loads(json.dumps(scope["told"]))


@pytest.mark.parametrize("strategy", ["flat", "round_robin", "binary"])
@pytest.mark.parametrize("level", [None, 3])
def test_each_reads_what_the_other_saved(base: str, strategy: str, level: int | None) -> None:
    kind = {"strategy": strategy, "level": level}
    theirs(SAVE, uri=f"{base}/theirs-{strategy}-{level}", **kind)
    assert ours(LOAD, uri=f"{base}/theirs-{strategy}-{level}", **kind) == EXPECTED
    ours(SAVE, uri=f"{base}/ours-{strategy}-{level}", **kind)
    assert theirs(LOAD, uri=f"{base}/ours-{strategy}-{level}", **kind) == EXPECTED
