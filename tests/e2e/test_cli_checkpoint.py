"""``s3-cli checkpoint``: what it says of checkpoints, whether it finds what is damaged, and what it deletes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from s3dlio import Client
from s3dlio.checkpoint.store import CheckpointStore
from tests.e2e.conftest import Cli


@pytest.fixture
def base(tmp_path: Path) -> str:
    """Steps 10, 20 and 30 of two ranks; the latest is step 20."""
    uri = f"file://{tmp_path}/run"
    store = CheckpointStore(uri, client=Client())
    for step in (10, 30, 20):
        writers = [store.writer(2, rank) for rank in range(2)]
        shards = [writer.save_distributed_shard(step, 1, "torch", bytes([writer.rank]) * 1000) for writer in writers]
        writers[0].finalize_distributed_checkpoint(step, 1, "torch", shards, {"loss": 0.5}, make_latest=True)
    return uri


def damage(base: str, pattern: str) -> None:
    path = min(Path(base.removeprefix("file://")).glob(pattern))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_ls(cli: Cli, base: str) -> None:
    lines = [line.split() for line in cli("checkpoint", "ls", base).lines]
    assert [line[0] for line in lines] == ["10", "*", "30"]
    assert lines[1][1] == "20"
    assert lines[1][3:] == ["2", "ranks", "2000", "torch", "complete"]
    records = cli("checkpoint", "ls", base, "--json").records
    assert [(record["step"], record["bytes"], record["latest"]) for record in records] == [
        (10, 2000, False), (20, 2000, True), (30, 2000, False)
    ]  # fmt: skip
    assert "1.95 KiB" in cli("checkpoint", "ls", "-H", base).out


def test_ls_where_nothing_is(cli: Cli, tmp_path: Path) -> None:
    run = cli("checkpoint", "ls", f"file://{tmp_path}/nothing")
    assert (run.out, run.err) == ("", "no checkpoints\n")


def test_ls_with_a_damaged_pointer_lists_all_the_same(cli: Cli, base: str) -> None:
    damage(base, "latest.json")
    run = cli("checkpoint", "ls", base, code=1)
    assert [line.split()[0] for line in run.lines] == ["10", "20", "30"]
    assert "latest.json" in run.err


def test_words_of_a_manifest_move_no_cursor(cli: Cli, base: str) -> None:
    path = min(Path(base.removeprefix("file://")).glob("manifests/ckpt-20-*"))
    values = json.loads(path.read_text()) | {"wall_time": "2026-01-01T00:00:00Z", "framework": "\x1b[2J\ud800\n"}
    path.write_text(json.dumps(values))
    shown = r"\x1b[2J\ud800\n"
    assert cli("checkpoint", "ls", base).lines[1].split()[-2:] == [shown, "complete"]
    assert f"framework       : {shown}" in cli("checkpoint", "show", base).lines


def test_show(cli: Cli, base: str) -> None:
    (latest,) = cli("checkpoint", "show", base, "--json").records
    assert (latest["global_step"], latest["world_size"], latest["user_meta"]) == (20, 2, {"loss": 0.5})
    assert [shard["rank"] for shard in latest["shards"]] == [0, 1]
    text = cli("checkpoint", "show", base, "--step", 10).lines
    assert "global_step     : 10" in text
    assert 'user_meta       : {"loss": 0.5}' in text
    assert sum("rank-1.bin" in line for line in text) == 1
    assert "no checkpoint of step 11" in cli("checkpoint", "show", base, "--step", 11, code=1).err


def test_verify(cli: Cli, base: str) -> None:
    lines = cli("checkpoint", "verify", base).lines
    assert [line.split()[0] for line in lines] == ["whole"] * 3
    assert all("2000 of 2000 bytes read" in line for line in lines)
    damage(base, "shards/ckpt-30-*/rank-1.bin")
    run = cli("checkpoint", "verify", base, "--json", code=1)
    assert [len(record["damages"]) for record in run.records] == [0, 0, 1]
    (found,) = run.records[2]["damages"]
    assert found["uri"].endswith("rank-1.bin")
    assert run.errors[0]["error"]["type"] == "IntegrityError"
    assert cli("checkpoint", "verify", base, "--step", 10, "--step", 20).out.count("whole") == 2
    assert "rank-1.bin" in cli("checkpoint", "verify", base, code=1).out


def test_verify_reads_a_share(cli: Cli, base: str) -> None:
    def read(share: str) -> int:
        return sum(record["read"] for record in cli("checkpoint", "verify", base, share, "--json").records)

    assert [read(f"--read-data-subset={share}") for share in ("0%", "10%", "16.7%", "50%", "100%")] == [
        0, 1000, 2000, 3000, 6000
    ]  # fmt: skip
    damage(base, "shards/ckpt-30-*/rank-1.bin")
    assert read("--read-data-subset=0%") == 0  # its size is right
    path = min(Path(base.removeprefix("file://")).glob("shards/ckpt-30-*/rank-1.bin"))
    path.write_bytes(path.read_bytes()[:-1])
    cli("checkpoint", "verify", base, "--read-data-subset", "0%", code=1)


@pytest.mark.parametrize("share", ["ten", "101%", "-1%", "10%%", "nan", ""])
def test_a_share_that_is_none(cli: Cli, base: str, share: str) -> None:
    assert "invalid share" in cli("checkpoint", "verify", base, f"--read-data-subset={share}", code=2).err


@pytest.mark.parametrize("what", ["manifests/ckpt-10-*.json", "latest.json"])
def test_verify_finds_a_damaged_manifest_or_pointer(cli: Cli, base: str, what: str) -> None:
    damage(base, what)
    run = cli("checkpoint", "verify", base, code=1)
    assert what.partition("*")[0] in run.out + run.err
    assert run.out.count("whole") == (3 if what == "latest.json" else 2)


def test_prune(cli: Cli, base: str) -> None:
    dry = cli("checkpoint", "prune", base, "--keep-last", 1, "--dry-run")
    assert [line.split()[0] for line in dry.lines] == ["kept", "kept", "would"]
    assert dry.err == "2 kept, 1 to be deleted: 2000\n"
    assert len(cli("checkpoint", "ls", base).lines) == 3
    records = cli("checkpoint", "prune", base, "--keep-last", 1, "--json").records
    assert [(record["step"], record["action"]) for record in records] == [
        (20, "kept"), (30, "kept"), (10, "deleted")
    ]  # fmt: skip
    assert [record["step"] for record in cli("checkpoint", "ls", base, "--json").records] == [20, 30]
    assert cli("checkpoint", "prune", base, "--keep-every", 7).err == "1 kept, 1 deleted: 2000\n"


def test_prune_that_would_keep_nothing(cli: Cli, base: str) -> None:
    for words in ((), ("--keep-last", 0), ("--keep-every", 0)):
        cli("checkpoint", "prune", base, *words, code=2)
    assert len(cli("checkpoint", "ls", base).lines) == 3


def test_a_group_of_commands_wants_one(cli: Cli) -> None:
    assert "COMMAND" in cli("checkpoint", code=2).err
    assert "did you mean 'prune'" in cli("checkpoint", "prunes", "u", code=2).err


def test_no_framework_is_imported(base: str) -> None:
    code = (
        "import sys; from s3dlio.cli.main import main\n"
        f"assert main(['checkpoint', 'verify', {base!r}]) == 0\n"
        "sys.exit(bool({'torch', 'jax', 'tensorflow', 'safetensors'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, capture_output=True).returncode == 0
