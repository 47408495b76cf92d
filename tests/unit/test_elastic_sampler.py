"""The sampler of map-style data sets, with DataLoader and with torchdata's StatefulDataLoader."""

from __future__ import annotations

from itertools import islice
from typing import Any

import pytest

from s3dlio.errors import ConfigError
from s3dlio.loader.sampler import ElasticSampler
from s3dlio.loader.value_loader import ValueLoader

SAMPLES = range(50)


def numbers(batches: Any) -> list[int]:
    return [int(each) for batch in batches for each in batch]


def test_ranks_share_the_samples() -> None:
    ranks = [list(ElasticSampler(SAMPLES, 3, rank, seed=5)) for rank in range(3)]
    assert [*map(len, ranks)] == [17, 17, 16]
    assert sorted(each for rank in ranks for each in rank) == list(SAMPLES)
    assert [len(ElasticSampler(SAMPLES, 3, rank, drop_last=True, batch_size=4)) for rank in range(3)] == [16] * 3


def test_epochs_differ_where_they_are_set() -> None:
    sampler = ElasticSampler(SAMPLES)
    first = list(sampler)
    assert list(sampler) == first
    sampler.set_epoch(1)
    assert list(sampler) != first
    assert list(ElasticSampler(SAMPLES, shuffle=False)) == list(SAMPLES)


def test_it_goes_on_with_other_ranks() -> None:
    samplers = [ElasticSampler(SAMPLES, 2, rank) for rank in range(2)]
    read = [each for sampler in samplers for each in islice(sampler, 7)]
    rest: list[int] = []
    for rank in range(5):
        sampler = ElasticSampler(SAMPLES, 5, rank)
        sampler.load_state_dict(samplers[0].state_dict())
        rest += sampler
    assert sorted(read + rest) == list(SAMPLES)


def test_what_a_loader_asked_for_ahead_need_not_count() -> None:
    sampler = ElasticSampler(SAMPLES)
    asked = list(islice(sampler, 20))
    sampler.load_state_dict(sampler.state_dict(consumed=12))
    assert list(islice(sampler, 8)) == asked[12:]
    with pytest.raises(ConfigError, match="9 samples cannot have been consumed: 8 were asked for"):
        sampler.state_dict(consumed=9)
    sampler.load_state_dict(sampler.state_dict(consumed=3))
    assert next(iter(sampler)) == asked[15]


def test_a_rank_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigError, match="got 2 of 2"):
        ElasticSampler(SAMPLES, 2, 2)


class TestStatefulDataLoader:
    """The state of torchdata's loader is that of what the program was given; another number of ranks and workers takes
    it, too."""

    @pytest.fixture(autouse=True)
    def _torchdata(self) -> None:
        pytest.importorskip("torch")
        pytest.importorskip("torchdata")

    @pytest.mark.filterwarnings("ignore")
    @pytest.mark.parametrize(("workers", "batches"), [(0, 0), (0, 13), (2, 5)])
    def test_of_a_sampler(self, workers: int, batches: int) -> None:
        from torchdata.stateful_dataloader import StatefulDataLoader

        def loader(rank: int = 0, ranks: int = 2) -> Any:
            sampler = ElasticSampler(SAMPLES, ranks, rank)
            return StatefulDataLoader(Numbers(), batch_size=2, sampler=sampler, num_workers=workers)

        whole = list(ElasticSampler(SAMPLES, 2, 0))
        first = loader()
        read = numbers(islice(first, batches))
        state = first.state_dict()
        again = loader()
        again.load_state_dict(state)
        assert read + numbers(again) == whole
        others = [ElasticSampler(SAMPLES, 3, rank) for rank in range(3)]
        for each in others:
            each.load_state_dict(state)
        read += list(ElasticSampler(SAMPLES, 2, 1))[: len(read)]
        assert sorted(read + [sample for each in others for sample in each]) == list(SAMPLES)

    @pytest.mark.filterwarnings("ignore")
    @pytest.mark.parametrize(("workers", "then", "batches"), [(0, 2, 8), (2, 0, 7), (2, 0, 25), (2, 0, 26)])
    def test_of_an_iterable_data_set(self, workers: int, then: int, batches: int) -> None:
        from torch.utils.data import DataLoader
        from torchdata.stateful_dataloader import StatefulDataLoader

        whole = list(Iterable())
        first = StatefulDataLoader(Iterable(), batch_size=2, num_workers=workers)
        read = numbers(islice(first, batches))
        state = first.state_dict()
        if batches == 26:  # the loader knows that the epoch is over
            read = []
        again = StatefulDataLoader(Iterable(), batch_size=2, num_workers=workers)
        again.load_state_dict(state)
        assert read + numbers(again) == whole
        other = Iterable()
        other.load_state_dict(state)
        assert read + numbers(DataLoader(other, batch_size=2, num_workers=then)) == whole


try:
    from torch.utils.data import Dataset, IterableDataset
except ModuleNotFoundError:
    pass
else:

    class Numbers(Dataset[int]):
        def __len__(self) -> int:
            return len(SAMPLES)

        def __getitem__(self, index: int) -> int:
            return index

    class Iterable(IterableDataset[int]):
        """As an iterable data set over a loader is made."""

        def __init__(self) -> None:
            self.loader = ValueLoader(SAMPLES, {"shuffle": True, "batch_size": 2})
            self.loader.progress.advances = False
            self.state_dict = self.loader.state_dict
            self.load_state_dict = self.loader.load_state_dict

        def __iter__(self) -> Any:
            begun = self.loader.progress.begin(self.loader.consumer)
            for position, sample in enumerate(begun.order):
                begun.took([position])
                yield sample
            begun.finish()
