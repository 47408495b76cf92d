"""Programs written for s3torchconnector, with another import: on S3, files, Azure and Google."""

from __future__ import annotations

import runpy
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="torch is not installed: make finds no wheel without CUDA")

import s3dlio
from s3dlio import api
from tests.servers import Server

PROGRAMS = Path(__file__).parent / "torchconnector"
pytestmark = pytest.mark.filterwarnings("ignore:torch.distributed is disabled")


@pytest.fixture(params=["s3", "file", "az", "gs"])
def base(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A prefix of each scheme, which the default client reaches."""
    servers = {"s3": "moto_server", "az": "azurite_server", "gs": "gcs_server"}
    if request.param in servers:
        server: Server = request.getfixturevalue(servers[request.param])
        for name, value in server.env.items():
            monkeypatch.setenv(name, value)
    monkeypatch.setattr(api, "_default", None)
    roots = {"s3": "s3://torchconnector", "file": f"file://{tmp_path}", "gs": "gs://torchconnector"}
    root = roots.get(request.param, "az://torchconnector")
    if request.param != "file":
        api.default_client().store_for(root + "/")[0].create_container()
    yield root + "/run/"
    s3dlio.delete(root + "/run/", recursive=True)


Output = Callable[[str], list[str]]


@pytest.fixture
def output(base: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Output:
    """What a program prints, line by line."""

    def run(program: str) -> list[str]:
        endpoint = api.default_client().settings.s3.endpoint_url if base.startswith("s3:") else None
        monkeypatch.setattr(sys, "argv", [program, base, endpoint or ""])
        runpy.run_path(str(PROGRAMS / program), run_name="__main__")
        return capsys.readouterr().out.splitlines()

    return run


def test_a_dataset_is_read(base: str, output: Output) -> None:
    names = [f"img_{number:02}" for number in range(12)]
    s3dlio.put_many([(base + name, f"{name} {'x' * 40_000}".encode()) for name in names])
    texts = [f"{name} {'x' * 40_000}" for name in names]
    keys, first, middle, sharded, rank = output("read_dataset.py")
    assert keys == f"keys: {names}"
    assert first == "first: (12, 40007, b'img_0')"
    assert middle == "range: b'g_1'"
    assert sharded == f"sharded: {texts}"
    assert rank.startswith("rank 1: [")
    assert rank.count("img_") == 6


def test_a_training_goes_on(output: Output) -> None:
    assert output("train_with_checkpoints.py") == ["went on after epoch 2: True", "there is no epoch 3"]


def test_a_distributed_checkpoint(base: str, output: Output) -> None:
    loaded = output("distributed_checkpoint.py")
    assert loaded[:3] == ["loaded: True, step 12"] * 3
    if base.startswith("s3:"):
        assert loaded[3] == "['', '0000000000/epoch_5']"
