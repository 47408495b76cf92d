"""Data sets of torch over S3: workers that are forked after their parent has read, and objects that are gone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: make finds no wheel without CUDA")

from torch.utils.data import DataLoader  # noqa: E402

import s3dlio  # noqa: E402
from s3dlio.errors import ObjectNotFoundError  # noqa: E402
from s3dlio.torch import ObjectStoreIterableDataset, ObjectStoreMapDataset  # noqa: E402
from tests.servers.memory_s3 import MemoryS3  # noqa: E402

COUNT, SIZE = 40, 70_000
URIS = [f"s3://bucket/{number:02}" for number in range(COUNT)]
KINDS: Any = pytest.mark.parametrize("kind", [ObjectStoreMapDataset, ObjectStoreIterableDataset])


@pytest.fixture(scope="module")
def server() -> Iterator[MemoryS3]:
    with MemoryS3() as running:
        yield running


@pytest.fixture(autouse=True)
def _objects(server: MemoryS3, monkeypatch: pytest.MonkeyPatch, fresh_settings: None) -> None:
    for name, value in server.env.items():
        monkeypatch.setenv(name, value)
    s3dlio.put_many([(uri, bytes([number]) * SIZE) for number, uri in enumerate(URIS)])


@KINDS
def test_workers_that_are_forked_after_their_parent_has_read(kind: Any) -> None:
    data = kind.from_uris(URIS)
    assert len(s3dlio.get_many(URIS)) == COUNT  # connections, lanes and threads are there
    made = DataLoader(data, batch_size=8, num_workers=2, persistent_workers=True)
    for _ in range(2):
        found = list(made)
        assert sorted(int(sample[-1]) for batch in found for sample in batch) == list(range(COUNT))
        assert {batch.shape[1] for batch in found} == {SIZE}


@KINDS
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.timeout(30)
def test_an_object_that_is_gone(kind: Any, workers: int) -> None:
    s3dlio.delete(URIS[17])
    samples = iter(DataLoader(kind.from_uris(URIS), batch_size=8, num_workers=workers))
    with pytest.raises(ObjectNotFoundError, match=URIS[17]):
        list(samples)
    getattr(samples, "_shutdown_workers", int)()
