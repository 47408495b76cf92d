"""Tensors on their way from the workers of a DataLoader to the program."""

from __future__ import annotations

import copy
import io
import pickle
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: make finds no wheel without CUDA")

from torch.utils.data import DataLoader, Dataset, default_collate  # noqa: E402

from s3dlio.loader import worker_tensors  # noqa: E402
from s3dlio.torch import ObjectStoreIterableDataset, ObjectStoreMapDataset  # noqa: E402

COUNT, SIZE = 40, 70_000
KINDS: Any = pytest.mark.parametrize("kind", [ObjectStoreMapDataset, ObjectStoreIterableDataset])


@pytest.fixture
def folder(tmp_path: Path) -> str:
    """Objects of one number each, repeated."""
    for number in range(COUNT):
        (tmp_path / f"{number:03}").write_bytes(bytes([number]) * SIZE)
    return f"file://{tmp_path}/"


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What this process takes over from its workers."""
    found: list[Any] = []

    def take(handed: Any) -> Any:
        found.append(handed)
        return take_over(handed)

    take_over = worker_tensors.take_over
    monkeypatch.setattr(worker_tensors, "take_over", take)
    return found


def values(batch: Any) -> list[int]:
    """The number of each sample, all of which must be whole."""
    assert type(batch) is torch.Tensor
    rows = batch if batch.dim() == 2 else batch[None]
    assert bool((rows == rows[:, :1]).all())
    assert rows.shape[1] == SIZE
    return [int(row[0]) for row in rows]


@KINDS
@pytest.mark.parametrize("size", [None, 1, 4])
def test_batches_that_are_kept_stay_as_they_are(folder: str, taken: list[Any], kind: Any, size: int | None) -> None:
    batches = list(DataLoader(kind(folder), batch_size=size, num_workers=2))
    assert sorted(number for batch in batches for number in values(batch)) == list(range(COUNT))
    assert len(taken) == len(batches)


@pytest.mark.parametrize("size", [None, 2])
def test_batches_that_are_over_make_room_for_the_next_ones(folder: str, taken: list[Any], size: int | None) -> None:
    seen = []
    for batch in DataLoader(ObjectStoreMapDataset(folder), batch_size=size, num_workers=1):
        seen += values(batch)
        batch += 1  # it is the program's own
        assert int(batch.view(-1)[-1]) == seen[-1] + 1
        del batch
    assert seen == list(range(COUNT))
    assert len({handed.fd for handed in taken}) <= 6 < len(taken)


@pytest.mark.parametrize("context", ["spawn", "forkserver"])
def test_workers_of_every_kind(folder: str, taken: list[Any], context: str) -> None:
    loader = DataLoader(
        ObjectStoreMapDataset(folder), batch_size=8, num_workers=1, multiprocessing_context=context
    )
    assert [number for batch in loader for number in values(batch)] == list(range(COUNT))
    assert len(taken) == COUNT // 8


def test_a_program_that_can_take_nothing_over_gets_its_batches(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """They go the way that torch has for them."""
    monkeypatch.setattr(worker_tensors, "can_be_taken_by", lambda process: False)
    loader = DataLoader(ObjectStoreMapDataset(folder), batch_size=8, num_workers=1)
    assert [number for batch in loader for number in values(batch)] == list(range(COUNT))


class Used(Dataset[Any]):
    """What a worker does with a sample before it sends something."""

    def __init__(self, data: Any, use: Any) -> None:
        self.data = data
        self.use = use

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> Any:
        return self.use(self.data[index])


def plain(sample: Any) -> Any:
    """Whatever is made of a sample is a plain tensor."""
    file = io.BytesIO()
    torch.save(sample, file)
    file.seek(0)
    made = [
        sample[:5], sample + 0, sample.view(-1, 10), sample.clone(), copy.deepcopy(sample), copy.copy(sample),
        pickle.loads(pickle.dumps(sample)), torch.load(file), torch.stack([sample]), sample.float(),
    ]  # fmt: skip
    assert isinstance(sample, torch.Tensor)
    assert sample.numpy()[0] == sample[0] == sample.tolist()[0]
    return {type(tensor).__name__ for tensor in made}


def twice(sample: Any) -> Any:
    return sample, default_collate([sample, sample])


def identity(sample: Any) -> Any:
    return sample


def test_a_sample_in_a_worker_is_a_tensor_as_any_other(folder: str) -> None:
    kinds = next(iter(DataLoader(Used(ObjectStoreMapDataset(folder), plain), batch_size=None, num_workers=1)))
    assert kinds == {"Tensor"}


def test_a_sample_may_be_sent_more_than_once(folder: str) -> None:
    loader = DataLoader(Used(ObjectStoreMapDataset(folder), twice), batch_size=None, num_workers=1)
    for number, (first, both) in enumerate(loader):
        assert values(first) + values(both) == [number] * 3
        first.fill_(255)
        assert values(both) == [number] * 2


def test_samples_of_several_sizes_make_no_batch(folder: str, tmp_path: Path) -> None:
    (tmp_path / "000").write_bytes(bytes(10))
    with pytest.raises(RuntimeError, match="equal size"):
        list(DataLoader(ObjectStoreMapDataset(folder), batch_size=4, num_workers=1))


def test_a_batch_may_be_sent_on(folder: str) -> None:
    loader = DataLoader(Used(ObjectStoreMapDataset(folder), identity), batch_size=4, num_workers=1)
    batch = next(iter(loader))
    assert values(pickle.loads(pickle.dumps(batch))) == values(copy.deepcopy(batch)) == [0, 1, 2, 3]
    assert values(batch.share_memory_()) == [0, 1, 2, 3]
