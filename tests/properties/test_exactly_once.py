"""Every sample of an epoch exactly once, in one order, whatever stops and whoever goes on."""

from __future__ import annotations

import itertools
import json
import pickle
import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from s3dlio.errors import ConfigError
from s3dlio.loader.consumer import Consumer
from s3dlio.loader.permutation import Draws, Permutation
from s3dlio.loader.progress import Pass, Progress

RANKS = range(1, 9)
WORKERS = range(5)


def consumers(ranks: int, workers: int) -> list[Consumer]:
    return [
        Consumer(rank, ranks, worker, workers or 1) for rank in range(ranks) for worker in range(workers or 1)
    ]  # fmt: skip


class Job:
    """All consumers of an epoch, each with its own progress, as in processes of their own."""

    def __init__(self, samples: int, ranks: int, workers: int, states: Any = None, **options: Any) -> None:
        self.consumers = consumers(ranks, workers)
        self.progress = [Progress(samples, **options) for _ in self.consumers]
        for each in self.progress:
            if states is not None:
                each.load_state_dict(states)
        self.passes = [each.begin(consumer) for each, consumer in zip(self.progress, self.consumers, strict=True)]
        self.orders = [list(each.order) for each in self.passes]
        self.taken = [0] * len(self.passes)

    def take(self, which: int, samples: int) -> list[int]:
        """The next samples of one consumer."""
        start = self.taken[which]
        end = min(start + samples, len(self.orders[which]))
        self.passes[which].took(range(start, end))
        self.taken[which] = end
        return self.orders[which][start:end]

    def states(self) -> list[Any]:
        states = [each.state_dict(who) for each, who in zip(self.progress, self.consumers, strict=True)]
        for each in states:
            assert len(json.dumps(each)) <= 1024
        return json.loads(json.dumps(states))  # type: ignore[no-any-return]


def in_lockstep(job: Job, ranks: int, workers: int, batch: int) -> list[int]:
    """The order in which a training that runs in lockstep sees the samples: of every rank the next one; a rank asks
    its workers for batches in turn."""
    of_ranks: list[list[int]] = []
    for rank in range(ranks):
        streams = [job.orders[rank * workers + worker] for worker in range(workers)]
        batches = [[stream[at : at + batch] for at in range(0, len(stream), batch)] for stream in streams]
        of_ranks.append([x for turn in itertools.zip_longest(*batches, fillvalue=[]) for one in turn for x in one])
    return [x for turn in itertools.zip_longest(*of_ranks) for x in turn if x is not None]


@given(
    samples=st.integers(0, 400), shuffle=st.booleans(), seed=st.integers(0, 2**70),
    stops=st.lists(
        st.tuples(
            st.sampled_from(RANKS), st.sampled_from(WORKERS), st.sampled_from([1, 2, 3, 8]), st.integers(0, 60),
            st.lists(st.integers(0, 9), min_size=32, max_size=32),
        ),
        max_size=4,
    ),
    last=st.tuples(st.sampled_from(RANKS), st.sampled_from(WORKERS)),
)  # fmt: skip
@settings(max_examples=40, deadline=None)
def test_consumers_may_stop_anywhere_and_others_go_on(
    samples: int, shuffle: bool, seed: int, stops: list[Any], last: tuple[int, int]
) -> None:
    """Each consumer has got any number of samples when the job stops; other ranks and workers have the rest."""
    read: list[int] = []
    states = None
    for ranks, workers, batch, each, more in stops:
        job = Job(samples, ranks, workers, states, shuffle=shuffle, seed=seed, batch_size=batch)
        for which, ahead in enumerate(more[: len(job.passes)]):
            read += job.take(which, each + ahead)
        states = job.states()
    job = Job(samples, *last, states, shuffle=shuffle, seed=seed)
    for which in range(len(job.passes)):
        read += job.take(which, samples)
    assert sorted(read) == list(range(samples))


@pytest.mark.parametrize("workers", WORKERS)
@pytest.mark.parametrize("ranks", RANKS)
def test_the_order_of_all_is_one(ranks: int, workers: int) -> None:
    """1 to 8 ranks with 0 to 4 workers see the samples in the same order, and go on in it after a stop."""
    samples, batch = 5 * 64 + 7, 2
    whole = Job(samples, 1, 0, shuffle=True, seed=3).orders[0]
    job = Job(samples, ranks, workers, shuffle=True, seed=3, batch_size=batch)
    assert in_lockstep(job, ranks, workers or 1, batch) == whole
    steps = 3 * (workers or 1)  # batches of each rank
    read = sum(len(job.take(which, 3 * batch)) for which in range(len(job.passes)))
    assert read == steps * batch * ranks
    one = [job.progress[w].state_dict(job.consumers[w]) for w in range(workers or 1)]  # of rank 0 alone
    for other_ranks, other_workers in ((1, 0), (8, 4), (3, 2), (ranks, workers)):
        for states in (job.states(), one):
            then = Job(samples, other_ranks, other_workers, states, shuffle=True, seed=3, batch_size=batch)
            assert in_lockstep(then, other_ranks, other_workers or 1, batch) == whole[read:]


@given(
    samples=st.integers(0, 300), ranks=st.integers(1, 8), workers=st.integers(1, 4), batch=st.integers(1, 9),
    more=st.integers(1, 8), read=st.integers(0, 20),
)  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_ranks_drop_what_fills_no_batch_of_each(
    samples: int, ranks: int, workers: int, batch: int, more: int, read: int
) -> None:
    options = {"batch_size": batch, "drop_last": True}
    job = Job(samples, ranks, workers, **options)
    of_ranks = [sum(map(len, job.orders[r * workers : (r + 1) * workers])) for r in range(ranks)]
    assert set(of_ranks) == {samples // (ranks * batch) * batch}
    assert all(len(order) % batch == 0 for order in job.orders)
    had = [x for which in range(len(job.passes)) for x in job.take(which, read * batch)]
    then = Job(samples, more, 1, job.states(), **options)
    had += [x for order in then.orders for x in order]
    assert len(had) == len(set(had)) > samples - max(more, ranks) * batch * max(ranks, workers, 2)


@given(
    samples=st.integers(1, 200), ranks=st.integers(1, 4), taken=st.lists(st.integers(0, 40), unique=True, max_size=30),
    then=st.tuples(st.sampled_from(RANKS), st.sampled_from(WORKERS)),
)  # fmt: skip
@settings(max_examples=50, deadline=None)
def test_samples_that_arrived_before_others_are_not_read_again(
    samples: int, ranks: int, taken: list[int], then: tuple[int, int]
) -> None:
    """Out of order: what was overtaken is late, not lost."""
    job = Job(samples, ranks, 0, shuffle=True)
    read: list[int] = []
    for begun in job.passes:
        for position in taken:
            if position < len(begun.order):
                begun.took([position])
                read.append(begun.order[position])
    job = Job(samples, *then, job.states(), shuffle=True)
    assert sorted(read + [x for order in job.orders for x in order]) == list(range(samples))


def test_states_are_small_where_many_were_overtaken() -> None:
    """Eight ranks have each had half of 128 samples, far into an epoch, when others go on, and are stopped, too."""
    chance = random.Random(4)
    states: Any = None
    for ranks in (8, 7, 5):
        job = Job(100_000, ranks, 0, states)
        for begun in job.passes:
            begun.took(range(3000))
            begun.took(3000 + each for each in chance.sample(range(128), 64))
        states = job.states()  # which looks at their size
    assert sum(map(len, Job(100_000, 3, 1, states).orders)) == 100_000 - 20 * 3064


def test_a_state_of_one_consumer_is_enough_for_itself() -> None:
    """As torchdata does it: each worker is given its own state, and no other."""
    job = Job(100, 2, 3, shuffle=True, batch_size=4)
    states = []
    for which, (progress, consumer) in enumerate(zip(job.progress, job.consumers, strict=True)):
        job.take(which, 5 + which)
        states.append(progress.state_dict(consumer))
    for which, (state, consumer) in enumerate(zip(states, job.consumers, strict=True)):
        again = Progress(100, shuffle=True, batch_size=4)
        again.load_state_dict(state)
        assert list(again.begin(consumer).order) == job.orders[which][5 + which :]


def test_ten_million_samples_are_resumed_at_once() -> None:
    """No stored order: a pass that goes on in the middle computes what it is asked for."""
    samples = 10_000_000
    state = Progress(samples, shuffle=True, seed=1).state_dict(Consumer(0, 8))
    then = Progress(samples, shuffle=True, seed=1)
    then.load_state_dict([state | {"rank": rank, "consumed": 600_000 + 1000 * rank} for rank in range(8)])
    whole = Progress(samples, shuffle=True, seed=1).order(Consumer())
    orders = [then.order(Consumer(rank, 5)) for rank in range(5)]
    assert [order[0] for order in orders] == [whole[8 * (600_000 + turn)] for turn in range(5)]  # rank 0 was behind
    assert sum(map(len, orders)) == samples - 8 * 603_500
    assert len(pickle.dumps(then)) < 4096


class TestEpochs:
    def test_a_complete_pass_is_followed_by_the_next_epoch(self) -> None:
        progress = Progress(50, shuffle=True)
        orders = []
        for _ in range(3):
            begun = progress.begin(Consumer())
            orders.append(list(begun.order))
            begun.took(range(50))
            assert progress.state_dict(Consumer())["epoch"] == progress.epoch == len(orders) - 1
            begun.finish()
            assert progress.state_dict(Consumer())["epoch"] == progress.epoch == len(orders)
        assert len(set(map(tuple, orders))) == 3

    def test_one_that_does_not_advance_repeats_its_epoch_until_told(self) -> None:
        progress = Progress(50, shuffle=True, advances=False)
        first = finish(progress)
        assert finish(progress) == first
        progress.set_epoch(1)
        assert finish(progress) != first
        assert sorted(first) == list(range(50))

    def test_a_state_at_the_end(self) -> None:
        """Before the consumer knows, nothing is left of the epoch; afterwards, the next one is whole."""
        progress = Progress(50, shuffle=True)
        begun = progress.begin(Consumer())
        begun.took(range(50))
        again = loaded(progress, 50)
        assert len(again.begin(Consumer()).order) == 0
        begun.finish()
        again = loaded(progress, 50)
        assert len(again.begin(Consumer()).order) == 50
        assert again.epoch == 1

    def test_set_epoch_keeps_a_loaded_position_of_this_epoch_only(self) -> None:
        progress = Progress(50, shuffle=True, epoch=4)
        progress.begin(Consumer()).took(range(20))
        again = loaded(progress, 50)
        again.set_epoch(4)
        assert len(again.begin(Consumer()).order) == 30
        again.set_epoch(5)
        assert len(again.begin(Consumer()).order) == 50

    def test_a_state_of_the_end_leaves_the_epoch_that_was_chosen(self) -> None:
        """Torchdata hands a state on when the first batch is asked for, after ``set_epoch``."""
        progress = Progress(50, shuffle=True, advances=False, epoch=4)
        finish(progress)
        again = Progress(50, shuffle=True, advances=False)
        again.set_epoch(5)
        again.load_state_dict(progress.state_dict(Consumer()))
        assert (again.epoch, len(again.order(Consumer()))) == (5, 50)
        again.begin(Consumer())
        again.load_state_dict(progress.state_dict(Consumer()))
        assert (again.epoch, len(again.order(Consumer()))) == (4, 0)

    def test_a_pass_that_was_left_early_begins_anew(self) -> None:
        progress = Progress(50, shuffle=True)
        first = progress.begin(Consumer())
        first.took(range(20))
        assert progress.state_dict(Consumer())["consumed"] == 20
        assert list(progress.begin(Consumer()).order) == list(first.order)

    def test_a_loaded_position_is_for_one_pass(self) -> None:
        progress = Progress(50)
        progress.begin(Consumer()).took(range(20))
        again = loaded(progress, 50)
        begun = again.begin(Consumer())
        state = again.state_dict(Consumer())
        assert (state["consumed"], len(begun.order)) == (20, 30)
        begun.took([0])
        assert again.state_dict(Consumer())["consumed"] == 21
        assert len(again.begin(Consumer()).order) == 50

    def test_a_worker_that_has_given_all_gives_nothing_again(self) -> None:
        """Others are not as far; a state does not know whether the program asked for more."""
        job = Job(50, 1, 3, shuffle=True, advances=False)
        job.take(0, 17)
        job.passes[0].finish()
        again = Progress(50, shuffle=True, advances=False)
        again.load_state_dict(job.progress[0].state_dict(job.consumers[0]))
        assert len(again.begin(job.consumers[0]).order) == 0
        assert len(again.begin(job.consumers[0]).order) == 17

    def test_a_rank_that_has_gone_on_to_the_next_epoch_has_finished_this_one(self) -> None:
        job = Job(50, 2, 0, shuffle=True)
        job.take(0, 25)
        job.passes[0].finish()
        had = job.take(1, 10)
        then = Job(50, 3, 0, job.states(), shuffle=True)
        assert sorted([x for order in then.orders for x in order] + job.orders[0] + had) == list(range(50))

    @pytest.mark.parametrize("epoch", [-1, 1.0, "2", True, None])
    def test_what_is_no_epoch_is_refused(self, epoch: Any) -> None:
        with pytest.raises(ConfigError):
            Progress(50).set_epoch(epoch)


class TestStatesThatDoNotFit:
    def test_of_some_ranks_only(self) -> None:
        states = Job(50, 3, 2).states()
        with pytest.raises(ConfigError, match=r"missing: 1\.0, 1\.1"):
            Progress(50).load_state_dict([*states[:2], *states[4:]])

    @pytest.mark.parametrize("other", [{"samples": 51}, {"seed": 1}, {"shuffle": True}, {"drop_last": True}])
    def test_of_another_order(self, other: dict[str, Any]) -> None:
        name, value = next(iter(other.items()))
        with pytest.raises(ConfigError, match=f"{name} {value!r}"):
            Progress(50).load_state_dict(Progress(**{"samples": 50} | other).state_dict(Consumer()))

    @pytest.mark.parametrize("state", [{}, None, [], {"epoch": 3}, [{"a": {"b": [1]}}]])
    def test_that_are_none(self, state: Any) -> None:
        with pytest.raises(ConfigError, match="no position"):
            Progress(50).load_state_dict(state)

    @pytest.mark.parametrize(
        "damage",
        [
            {"consumed": -1}, {"consumed": "x"}, {"rank": 1}, {"late": "gA=="}, {"late": "?"}, {"read": [[1, 2]]},
            {"deal": [0, 1, 1]}, {"deal": []}, {"samples": None}, {"read": [[60, 1, 1, 1, "", ""]]},
            {"read": [[0, 2, 1, 1, "AQ==", ""]]}, {"s3dlio_position": 9},
        ],
    )  # fmt: skip
    def test_that_are_damaged(self, damage: dict[str, Any]) -> None:
        state = Progress(50).state_dict(Consumer())
        with pytest.raises(ConfigError, match=r"damaged|version"):
            Progress(50).load_state_dict(state | damage)

    def test_of_torchdata_between_its_snapshots(self) -> None:
        state = {"_steps_since_snapshot": 2, "_snapshot": {"w": Progress(50).state_dict(Consumer())}}
        with pytest.raises(ConfigError, match="snapshot_every_n_steps"):
            Progress(50).load_state_dict(state)


class TestPermutations:
    @given(st.integers(0, 3000), st.integers())
    @settings(max_examples=60, deadline=None)
    def test_each_comes_once(self, count: int, seed: int) -> None:
        order = Permutation(count, seed)
        assert sorted(order.at(np.arange(count)).tolist()) == list(range(count))

    def test_any_place_alone_is_the_same(self) -> None:
        order = Permutation(2**40, 5, 6)
        places = [0, 1, 2**39, 2**40 - 1]
        assert [order[place] for place in places] == order.at(np.array(places)).tolist()
        assert order[-1] == order[2**40 - 1]

    def test_the_order_of_a_seed_never_changes(self) -> None:
        """States outlive the release that wrote them."""
        assert Permutation(10, 1, 0).at(np.arange(10)).tolist() == FIXED[0]
        assert Permutation(10_000_000, 42, 7).at(np.arange(5)).tolist() == FIXED[1]
        assert Draws(1000, 42).at(np.arange(5)).tolist() == FIXED[2]

    def test_few_samples_are_in_every_order_equally_often(self) -> None:
        seen = np.zeros(24)
        orders = {each: index for index, each in enumerate(itertools.permutations(range(4)))}
        for seed in range(2400):
            seen[orders[tuple(Permutation(4, seed).at(np.arange(4)).tolist())]] += 1
        assert ((seen - 100) ** 2 / 100).sum() < 60  # chi-square with 23 degrees of freedom

    def test_neighbours_are_strangers(self) -> None:
        values = Permutation(1_000_000, 9).at(np.arange(100_000))
        assert abs(np.corrcoef(values[:-1], values[1:])[0, 1]) < 0.02
        assert abs(np.corrcoef(values, np.arange(100_000))[0, 1]) < 0.02

    def test_draws_are_of_all(self) -> None:
        drawn = Draws(1000, 1).at(np.arange(100_000))
        counts = np.bincount(drawn, minlength=1000)
        assert counts.min() > 50
        assert counts.max() < 160


FIXED: list[Sequence[int]] = [
    [1, 2, 5, 9, 0, 4, 6, 7, 3, 8], [8494984, 8826688, 1159242, 341124, 3639992], [485, 911, 832, 449, 366],
]  # fmt: skip


def finish(progress: Progress) -> list[int]:
    begun: Pass = progress.begin(Consumer())
    order = list(begun.order)
    begun.took(range(len(order)))
    begun.finish()
    return order


def loaded(progress: Progress, samples: int) -> Progress:
    """Another one that goes on where this one is."""
    again = Progress(samples, shuffle=progress.stream.shuffle)
    again.load_state_dict(progress.state_dict(Consumer()))
    return again
