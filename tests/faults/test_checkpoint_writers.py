"""Savers, deleters and readers of the same checkpoints at the same time, in every order of their operations: each save
is there whole, the latest is the highest step, and nothing is mixed."""

from __future__ import annotations

import itertools
import logging
import os
from collections.abc import Callable
from functools import partial

import pytest

from s3dlio import Client
from s3dlio.checkpoint.store import CheckpointStore
from tests.faults.checkpoint_child import WAYS
from tests.faults.schedules import Turns, explore
from tests.faults.test_checkpoint_states import check_whole, loaded

log = logging.getLogger(__name__)
pytestmark = pytest.mark.timeout(600)  # for the long forms

#: How often a thread that could go on waits; ``CRASH_PREEMPTIONS=3`` takes minutes.
PREEMPTIONS = int(os.environ.get("CRASH_PREEMPTIONS", "2"))
_numbers = itertools.count()

Work = Callable[[CheckpointStore], None]


def save(step: int, way: str = "whole") -> Work:
    return lambda store: WAYS[way](store, step)


def interleaved(before: list[int], *works: Work) -> list[CheckpointStore]:
    """A store for every order of the operations of ``works``, after these steps were saved."""
    stores = [_run(turns, before, works) for turns in explore(PREEMPTIONS)]
    log.info("%d orders", len(stores))
    return stores


def _run(turns: Turns, before: list[int], works: tuple[Work, ...]) -> CheckpointStore:
    uri = f"memory://interleaved-{next(_numbers)}/run"
    quiet = CheckpointStore(uri, client=Client())
    for step in before:
        save(step)(quiet)
    client = Client()
    client.add_observer(lambda seen: turns.pause())
    turns.run([partial(work, CheckpointStore(uri, client=client)) for work in works])
    return quiet


def test_two_steps_at_once() -> None:
    for store in interleaved([1], save(2), save(3)):
        assert loaded(store) == 3
        assert check_whole(store) == {1, 2, 3}


def test_the_first_two_steps_at_once() -> None:
    for store in interleaved([], save(2), save(1)):
        assert loaded(store) == 2
        assert check_whole(store) == {1, 2}


def test_the_same_step_at_once() -> None:
    for store in interleaved([1], save(2), save(2)):
        assert loaded(store) == 2
        assert [each.step for each in store.list_checkpoints()] == [1, 2, 2]
        check_whole(store)


def test_the_latest_is_deleted_while_the_next_is_saved() -> None:
    for store in interleaved([1, 2], lambda store: store.delete_checkpoint(2), save(3)):
        assert loaded(store) == 3
        assert check_whole(store) == {1, 3}


def test_the_two_latest_are_deleted_at_once() -> None:
    def delete(step: int) -> Work:
        return lambda store: store.delete(*(each for each in store.list_checkpoints() if each.step == step))

    for store in interleaved([1, 2, 3], delete(3), delete(2)):
        assert loaded(store) == 1
        assert check_whole(store) == {1}


def test_two_prune_at_once() -> None:
    def prune(store: CheckpointStore) -> None:
        store.prune(keep_last=1)

    for store in interleaved([1, 2, 3], prune, prune):
        assert loaded(store) == 3
        assert check_whole(store) == {3}


def test_a_reader_sees_one_or_the_other() -> None:
    seen = set()

    def read(store: CheckpointStore) -> None:
        seen.add(loaded(store))

    interleaved([1], read, save(2))
    assert seen == {1, 2}


def test_a_reader_while_old_ones_are_pruned() -> None:
    def read(store: CheckpointStore) -> None:
        assert loaded(store) in (2, 3)

    def save_and_prune(store: CheckpointStore) -> None:
        save(3)(store)
        store.prune(keep_last=1)

    interleaved([1, 2], read, save_and_prune)
