"""Distributed checkpoints of torch by several processes (gloo, on CPUs): shards, resharding, asynchronous saves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests import dcp_ranks
from tests.servers import Server

torch = pytest.importorskip("torch", reason="torch is not installed: make finds no wheel without CUDA")

import torch.distributed.checkpoint as dcp  # noqa: E402

from s3dlio import Client  # noqa: E402
from s3dlio.checkpoint.dcp import S3dlioStorageReader  # noqa: E402

pytestmark = [pytest.mark.filterwarnings("ignore:torch.distributed is disabled"), pytest.mark.timeout(100)]

SCENARIOS = (
    "save_and_reshard", "save_in_the_background", "save_where_one_fails", "save_without_collectives",
    "save_by_another_process",
)  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("checkpoints")


@pytest.fixture(scope="module")
def results(place: Path, moto_server: Server) -> list[dict[str, Any]]:
    """What each of two ranks found: they start once, for all scenarios."""
    scenarios = {name: f"{name} file://{place}/{name}" for name in SCENARIOS}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in moto_server.env.items():
            patch.setenv(name, value)
        with Client() as client:
            client.create_bucket("dcp-ranks")
        return dcp_ranks.run(scenarios | {"on_s3": "save_and_reshard s3://dcp-ranks/run/1"}, 2)


def test_what_ranks_saved_is_loaded_sharded_along_any_dimension(results: list[dict[str, Any]]) -> None:
    assert [result["save_and_reshard"] for result in results] == [[True] * 3] * 2


def test_one_process_loads_what_two_have_saved(results: list[dict[str, Any]], place: Path) -> None:
    found = {"a": torch.zeros(64, 48), "same": torch.zeros(1000, 50), "step": 0}
    for reader in (S3dlioStorageReader, dcp.FileSystemReader):
        dcp.load(found, storage_reader=reader(str(place / "save_and_reshard")))
        assert torch.equal(found["a"], dcp_ranks.whole("a"))
        assert found["step"] == 7


def test_what_all_ranks_have_is_stored_once(results: list[dict[str, Any]], place: Path) -> None:
    sizes = [path.stat().st_size for path in (place / "save_and_reshard").glob("*.distcp")]
    assert len(sizes) == 2
    tensors = 2 * 64 * 48 * 4 + 1000 * 50 * 4
    assert tensors < sum(sizes) < tensors + 20_000


def test_async_saves_by_threads_store_what_was_there_when_they_began(results: list[dict[str, Any]]) -> None:
    assert [result["save_in_the_background"] for result in results] == [[True, True]] * 2


def test_async_saves_by_a_process_store_what_was_there_when_they_began(results: list[dict[str, Any]]) -> None:
    assert [result["save_by_another_process"] for result in results] == [[[0.0], [1.0]]] * 2


def test_where_one_rank_fails_the_checkpoint_before_stays(results: list[dict[str, Any]]) -> None:
    assert [result["save_where_one_fails"] for result in results] == [["no more room", True]] * 2


def test_ranks_save_and_load_for_themselves_without_collectives(results: list[dict[str, Any]]) -> None:
    assert [result["save_without_collectives"] for result in results] == [[0.0], [1.0]]


def test_ranks_save_and_load_on_s3(
    results: list[dict[str, Any]], moto_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert [result["on_s3"] for result in results] == [[True] * 3] * 2
    for name, value in moto_server.env.items():
        monkeypatch.setenv(name, value)
    with Client() as client:
        names = sorted(key.rpartition("/")[2] for key in client.list_keys("s3://dcp-ranks/run/1/", recursive=True))
    assert [name[:5] for name in names] == [".meta", "__0_0", "__1_0"]
