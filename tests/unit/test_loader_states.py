"""Loaders that stop and go on: what the program was given counts, not what was read ahead."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Callable
from typing import Any

import pytest

from s3dlio.errors import ConfigError, S3dlioError
from s3dlio.loader.bytes_loader import BytesLoader
from s3dlio.loader.dataset import Dataset

SAMPLES = 60


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("samples")
    for number in range(SAMPLES):
        (path / f"{number:03}").write_bytes(b"%d" % number)
    return path.as_uri() + "/"


@pytest.fixture
def make(root: str) -> Callable[..., BytesLoader]:
    return lambda **options: BytesLoader(Dataset(root), {"batch_size": 4, "shuffle": True, "seed": 7, **options})


def numbers(batches: Any) -> list[int]:
    return [int(bytes(view)) for batch in batches for view in batch]


def some(loader: BytesLoader, batches: int) -> list[int]:
    """What a program gets that leaves its loop early."""
    got = []
    for batch in loader:
        got += numbers([batch])
        if len(got) >= 4 * batches:
            break
    return got


def test_a_loader_goes_on_where_the_program_was(make: Callable[..., BytesLoader]) -> None:
    whole = numbers(make())
    assert sorted(whole) == list(range(SAMPLES))
    assert whole != sorted(whole)
    loader = make()
    assert some(loader, 3) == whole[:12]
    again = make()
    again.load_state_dict(loader.state_dict())
    assert len(again) == (SAMPLES - 12) / 4
    assert numbers(again) == whole[12:]
    assert again.epoch == 1
    assert sorted(numbers(again)) == list(range(SAMPLES))


@pytest.mark.parametrize("then", [1, 2, 3, 5])
def test_other_ranks_go_on(make: Callable[..., BytesLoader], then: int) -> None:
    before = [make(shard_rank=rank, shard_world_size=3) for rank in range(3)]
    read = [number for rank, loader in enumerate(before) for number in some(loader, 2 + rank)]
    states = [loader.state_dict() for loader in before]
    for rank in range(then):
        loader = make(shard_rank=rank, shard_world_size=then)
        loader.load_state_dict(states)
        read += numbers(loader)
    assert sorted(read) == list(range(SAMPLES))


def test_batches_of_an_event_loop_count_when_they_are_given(make: Callable[..., BytesLoader]) -> None:
    loader = make()

    async def part() -> list[int]:
        got = []
        async for batch in loader:
            got += numbers([batch])
            if len(got) >= 8:
                break
        return got

    got = asyncio.run(part())
    again = make()
    again.load_state_dict(loader.state_dict())
    assert sorted(got + numbers(again)) == list(range(SAMPLES))


def test_items_that_arrive_in_any_order(make: Callable[..., BytesLoader]) -> None:
    loader = make()
    items = loader.items()
    got = [int(bytes(item)) for item in items.collect_batch(11)]
    items.close()
    again = make()
    again.load_state_dict(loader.state_dict())
    assert sorted(got + numbers(again)) == list(range(SAMPLES))


def test_a_batch_that_was_not_given_is_read_again(make: Callable[..., BytesLoader]) -> None:
    """A transform raises in the middle of the third batch."""
    seen = []

    def transform(data: Any) -> Any:
        seen.append(data)
        if len(seen) == 11:
            raise ValueError("bad sample")
        return data

    loader = make(transform=transform)
    batches = iter(loader)
    got = numbers([next(batches), next(batches)])
    with pytest.raises(ValueError, match="bad sample"):
        next(batches)
    again = make()
    again.load_state_dict(loader.state_dict())
    rest = numbers(again)
    assert len(got) == 8
    assert sorted(got + rest) == list(range(SAMPLES))


def test_before_the_first_batch_and_without_any(make: Callable[..., BytesLoader]) -> None:
    loader = make()
    state = loader.state_dict()
    iter(loader).close()  # type: ignore[attr-defined]
    assert loader.state_dict() == state
    again = make()
    again.load_state_dict(state)
    assert len(numbers(again)) == SAMPLES


def test_every_epoch_has_its_order(make: Callable[..., BytesLoader]) -> None:
    loader = make()
    first, second = numbers(loader), numbers(loader)
    assert sorted(first) == sorted(second)
    assert first != second
    loader.set_epoch(0)
    assert numbers(loader) == first
    assert numbers(make(epoch=1)) == second
    assert numbers(make(seed=8)) != first


def test_samples_that_are_drawn_of_all(make: Callable[..., BytesLoader]) -> None:
    drawn = numbers(make(replacement=True))
    assert len(drawn) == SAMPLES
    assert len(set(drawn)) < SAMPLES


def test_a_loader_pickles_with_its_position(make: Callable[..., BytesLoader]) -> None:
    loader = make()
    got = some(loader, 2)
    other = pickle.loads(pickle.dumps(loader))
    assert other.state_dict() == loader.state_dict()
    other.load_state_dict(other.state_dict())
    assert sorted(got + numbers(other)) == list(range(SAMPLES))


def test_a_state_of_another_data_set_is_refused(make: Callable[..., BytesLoader], root: str) -> None:
    state = make().state_dict()
    smaller = BytesLoader(Dataset.from_uris(Dataset(root).uris()[1:]), {"batch_size": 4, "shuffle": True, "seed": 7})
    with pytest.raises(ConfigError, match=r"samples 60, .* samples 59"):
        smaller.load_state_dict(state)


def test_an_object_that_is_gone_ends_no_epoch(make: Callable[..., BytesLoader], root: str) -> None:
    dataset = Dataset.from_uris([*Dataset(root).uris()[:20], root + "gone", *Dataset(root).uris()[20:]])
    loader = BytesLoader(dataset, {"batch_size": 4})
    with pytest.raises(S3dlioError, match="gone"):
        list(loader)
    assert loader.epoch == 0
    assert loader.state_dict()["consumed"] == 20
