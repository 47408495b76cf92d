"""How many requests and bytes the load of a distributed checkpoint takes, counted at the server."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.servers.memory_s3 import MemoryS3

torch = pytest.importorskip("torch", reason="torch is not installed: make finds no wheel without CUDA")

import torch.distributed.checkpoint as dcp  # noqa: E402

from s3dlio import Client  # noqa: E402
from s3dlio.checkpoint.dcp import S3dlioStorageReader, S3dlioStorageWriter  # noqa: E402
from tests.dcp_plans import read_regions  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore:torch.distributed is disabled")

PLACE = "s3://bucket/run"


@pytest.fixture(scope="module")
def server() -> Iterator[MemoryS3]:
    with MemoryS3() as running:
        yield running


@pytest.fixture
def client(server: MemoryS3, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    for name, value in server.env.items():
        monkeypatch.setenv(name, value)
    with Client() as made:
        yield made
    server.clear()


def state(tensors: int, rows: int, columns: int) -> dict[str, Any]:
    return {f"layer.{number}": torch.randn(rows, columns) for number in range(tensors)}


def test_many_small_tensors_take_few_requests(client: Client, server: MemoryS3) -> None:
    wanted = state(500, 10, 20) | {f"step.{number}": number for number in range(50)}
    dcp.save(wanted, storage_writer=S3dlioStorageWriter(PLACE, client=client))
    server.counts()
    found = {name: torch.zeros(10, 20) if name.startswith("layer") else -1 for name in wanted}
    dcp.load(found, storage_reader=S3dlioStorageReader(PLACE, client=client))
    assert server.counts()["GET"] <= 3
    assert all(torch.equal(torch.as_tensor(found[name]), torch.as_tensor(wanted[name])) for name in wanted)


@pytest.mark.parametrize(("half", "requests", "times"), [(0, 17, 1.1), (1, 3, 2.1)])
def test_half_of_every_tensor_takes_its_bytes_or_few_requests(
    client: Client, server: MemoryS3, half: int, requests: int, times: float
) -> None:
    wanted = state(16, 512, 1024)
    dcp.save(wanted, storage_writer=S3dlioStorageWriter(PLACE, client=client))
    server.counts()
    region = [(0, 256), (0, 1024)] if half == 0 else [(0, 512), (512, 1024)]
    found = read_regions(S3dlioStorageReader(PLACE, client=client), dict.fromkeys(wanted, region))
    counts = server.counts()
    needed = sum(tensor.nbytes for tensor in found.values())
    assert counts["GET"] <= requests
    assert counts["sent"] <= times * needed
    for name, tensor in found.items():
        assert torch.equal(tensor, wanted[name][:256] if half == 0 else wanted[name][:, 512:])


def test_a_save_takes_the_parts_of_its_object_and_few_requests_more(client: Client, server: MemoryS3) -> None:
    wanted = state(4, 1024, 1024)
    server.counts()
    dcp.save(wanted, storage_writer=S3dlioStorageWriter(PLACE, client=client))
    counts = server.counts()
    assert counts["received"] < 1.01 * sum(tensor.nbytes for tensor in wanted.values())
    assert counts["PUT"] + counts.get("POST", 0) + counts["HEAD"] <= 10
