"""Checkpoints on a disk after a crash: whatever part of the operations that were not yet synced is there, the last
checkpoint is loaded or the new one, whole, and the new one once the save has returned."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from s3dlio.checkpoint import base as base_module
from s3dlio.checkpoint.store import CheckpointStore
from s3dlio.errors import S3dlioError
from s3dlio.types import PutOptions
from tests.faults import disk_states
from tests.faults.checkpoint_child import WAYS, data_of
from tests.faults.disk_states import Disk, Killed, write_tree

log = logging.getLogger(__name__)
pytestmark = pytest.mark.timeout(600)  # for the long forms

OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {}, "zstd": {"compression_level": 1}, "round_robin": {"strategy": "round_robin"}
}  # fmt: skip
Work = Callable[[CheckpointStore], object]


@pytest.fixture(autouse=True)
def _how_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """``CRASH_STATES=5`` looks at combinations of five operations."""
    monkeypatch.setattr(disk_states, "TOGETHER", int(os.environ.get("CRASH_STATES", disk_states.TOGETHER)))


class Replayed:
    """Some work on checkpoints, and every state of the disk that a crash may leave of it.

    Args:
        folder: room for the base and for the states.
        scheme, options: of the store.
        before: what is done first, and is durable.
        work: what the crash interrupts.
    """

    def __init__(self, folder: Path, scheme: str, options: dict[str, Any], before: Work, work: Work) -> None:
        self._scheme, self._options = scheme, options
        self._place = folder / "state"
        base = folder / "base"
        base.mkdir()
        before(self._store(base))
        self.disk = Disk(base)
        with self.disk.recording():
            work(self._store(base))
        self.count = 0

    def _store(self, path: Path) -> CheckpointStore:
        return CheckpointStore(f"{self._scheme}://{path}", **self._options)

    def states(self) -> Iterator[tuple[CheckpointStore, bool]]:
        """A store of each state, and whether the work had returned; a state that was seen so is not made again."""
        seen: set[tuple[str, bool]] = set()
        for state in self.disk.states():
            returned = state.after == len(self.disk.operations)
            looks = repr(state.tree), returned
            self.count += 1
            if looks not in seen:
                seen.add(looks)
                write_tree(self._place, state.tree)
                yield self._store(self._place), returned
                shutil.rmtree(self._place)
        log.info("%d states, %d different ones, %d operations", self.count, len(seen), len(self.disk.operations))


def loaded(store: CheckpointStore, step: int | None = None) -> int | None:
    """The step of what is loaded, all of which is of that step; None: nothing."""
    found = store.load_latest() if step is None else store.load(step)
    if found is None:
        return None
    data = {bytes(part) for part in found} if isinstance(found, list) else {bytes(found)}
    assert len(data) == 1
    number = int(bytes(next(iter(data)))[:6])
    assert data == {data_of(number)}
    return number


def check_whole(store: CheckpointStore) -> set[int]:
    """Every checkpoint that is listed is whole; their steps."""
    steps = set()
    for each in store.list_checkpoints():
        assert each.is_complete, each
        assert loaded(store, each.step) == each.step
        steps.add(each.step)
    return steps


every_way = pytest.mark.parametrize("way", WAYS)


@every_way
@pytest.mark.parametrize("scheme", ["file", "direct"])
@pytest.mark.parametrize("options", OPTIONS)
def test_the_last_checkpoint_or_the_new_one(tmp_path: Path, scheme: str, options: str, way: str) -> None:
    def save(step: int) -> Work:
        return lambda store: WAYS[way](store, step)

    replayed = Replayed(tmp_path, scheme, OPTIONS[options], save(1), save(2))
    found = set()
    for store, returned in replayed.states():
        step = loaded(store)
        assert step == 2 if returned else step in (1, 2)
        assert check_whole(store) >= ({1, 2} if returned else {1})
        found.add(step)
    assert found == {1, 2}


@every_way
def test_the_first_checkpoint_or_none(tmp_path: Path, way: str) -> None:
    replayed = Replayed(tmp_path, "file", {}, lambda store: None, lambda store: WAYS[way](store, 1))
    found = set()
    for store, returned in replayed.states():
        step = loaded(store)
        assert step == 1 if returned else step in (1, None)
        check_whole(store)
        found.add(step)
    assert found == {1, None}


def test_a_save_after_the_crash(tmp_path: Path) -> None:
    """The training resumes, and saves the same step once more."""
    replayed = Replayed(tmp_path, "file", {}, lambda s: WAYS["ranks"](s, 1), lambda s: WAYS["ranks"](s, 2))
    for store, _ in replayed.states():
        WAYS["ranks"](store, 2)
        assert loaded(store) == 2
        assert check_whole(store) == {1, 2}


@pytest.mark.parametrize("step", [1, 2, 3])
def test_a_deletion(tmp_path: Path, step: int) -> None:
    """What stays is whole, what goes is whole or gone, and what is loaded is there: the latest of them at the end."""

    def before(store: CheckpointStore) -> None:
        for each in (1, 2, 3):
            WAYS["ranks"](store, each)

    replayed = Replayed(tmp_path, "file", {}, before, lambda store: store.delete_checkpoint(step))
    left = {1, 2, 3} - {step}
    for store, returned in replayed.states():
        steps = check_whole(store)
        assert steps == left if returned else steps in (left, {1, 2, 3})
        assert loaded(store) in ({max(left)} if returned else {max(left), 3})


@pytest.mark.parametrize("options", OPTIONS)
def test_a_save_after_the_process_was_killed_and_before_the_crash(tmp_path: Path, options: str) -> None:
    """What a process did that was killed is there, and not on the disk: another one builds on it, and then the crash
    comes. Its checkpoint is there all the same."""
    killed_at = 0
    killed = True
    while killed:
        base = tmp_path / f"base-{killed_at}"
        base.mkdir()
        disk = Disk(base)
        with disk.recording():
            disk.kill_after = killed_at
            try:
                WAYS["ranks"](CheckpointStore(f"file://{base}", **OPTIONS[options]), 1)
                killed = False
            except Killed:
                pass
            disk.kill_after = None
            WAYS["ranks"](CheckpointStore(f"file://{base}", **OPTIONS[options]), 2)
        for state in disk.states(len(disk.operations)):
            write_tree(tmp_path / "state", state.tree)
            assert loaded(CheckpointStore(f"file://{tmp_path}/state")) == 2, killed_at
            shutil.rmtree(tmp_path / "state")
        killed_at += 1


def test_a_training(tmp_path: Path) -> None:
    """Saves and prunes, one after another: what a save has returned is never lost, and is whole."""
    base, place = tmp_path / "base", tmp_path / "state"
    base.mkdir()
    store = CheckpointStore(f"file://{base}")
    disk = Disk(base)
    returned = {0: 0}  # the operations that were done when a save returned -> its step
    with disk.recording():
        for step in range(1, 7):
            WAYS["whole" if step % 2 else "ranks"](store, step)
            returned[len(disk.operations)] = step
            store.prune(keep_last=2)
    count, seen = 0, set()
    for state in disk.states():
        last = max(step for done, step in returned.items() if done <= state.after)
        count += 1
        if (looks := (repr(state.tree), last)) not in seen:
            seen.add(looks)
            write_tree(place, state.tree)
            restored = CheckpointStore(f"file://{place}")
            assert loaded(restored) in (last or None, last + 1)
            assert check_whole(restored) >= {step for step in (last - 1, last) if step > 0}
            shutil.rmtree(place)
    log.info("%d states, %d different ones, %d operations", count, len(seen), len(disk.operations))


def test_a_deletion_of_the_only_one(tmp_path: Path) -> None:
    replayed = Replayed(tmp_path, "file", {}, lambda s: WAYS["ranks"](s, 1), lambda s: s.delete_checkpoint(1))
    for store, returned in replayed.states():
        assert loaded(store) in ({None} if returned else {None, 1})
        assert check_whole(store) in ([set()] if returned else [set(), {1}])


def test_without_durable_writes_it_would_be_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put = base_module.Base.write
    lazy = PutOptions(conditions=base_module.NEW.conditions)
    monkeypatch.setattr(base_module, "NEW", lazy)
    monkeypatch.setattr(base_module.Base, "write", lambda self, name, data, options=lazy: put(self, name, data, lazy))
    replayed = Replayed(tmp_path, "file", {}, lambda s: None, lambda s: WAYS["whole"](s, 1))
    with pytest.raises(S3dlioError):
        [loaded(store) for store, _ in replayed.states()]
