"""A process that saves a checkpoint is killed at every point of it, on every store: what is loaded afterwards is the
last checkpoint or the new one, whole, and the save can be done again."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from s3dlio import Client
from s3dlio.checkpoint.store import CheckpointStore
from s3dlio.stores.sdk.base import SdkStore
from tests.conformance.stores import Case
from tests.faults.checkpoint_child import WAYS, data_of

log = logging.getLogger(__name__)
pytestmark = pytest.mark.timeout(600)  # for the long forms

#: ``CRASH_POINTS=all``: after every operation of every store.
ALL = os.environ.get("CRASH_POINTS") == "all"
NEVER = 10**6
KILLED = -9


class Child:
    """Works in processes that it forks, and kills."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "tests.faults.checkpoint_child"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def run(self, uri: str, work: str, *steps: int, kill_at: int | None = NEVER, **more: Any) -> dict[str, Any]:
        """Save or delete ``steps``; how the process ended, and the points that it passed."""
        order = {"uri": uri, "work": work, "steps": steps, "kill_at": kill_at, "fine": False, "env": dict(os.environ)}
        assert self._process.stdin
        assert self._process.stdout
        print(json.dumps(order | more), file=self._process.stdin, flush=True)
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer

    def close(self) -> None:
        self._process.communicate()


@pytest.fixture(scope="module")
def child() -> Iterator[Child]:
    child = Child()
    yield child
    child.close()


class Place:
    """Where the checkpoints of a test are."""

    def __init__(self, case: Case) -> None:
        self.uri = case.store.uri(case.key("run"))
        self.store = CheckpointStore(self.uri, client=Client())
        by_sdk = isinstance(case.store, SdkStore)
        #: Whether only the steps of a commit are tried: each process of an SDK costs, and so does Swift's every object.
        self.is_slow = not ALL and (by_sdk or (case.page_size == 100 and not case.creates_only))

    def steps(self) -> set[int]:
        """Those of all checkpoints, whose shards are all there."""
        found = self.store.list_checkpoints()
        assert {each.status for each in found} <= {"complete"}
        assert not [verified.damages for verified in self.store.verify(*found, fraction=0.0) if verified.damages]
        return {each.step for each in found}


@pytest.fixture
def place(case: Case, child: Child) -> Place:
    if case.store.scheme == "memory":
        pytest.skip("its objects die with the process")
    if not ALL and (case.store.endpoint or "").startswith("https"):
        pytest.skip("CRASH_POINTS=all asks for it")
    place = Place(case)
    child.run(place.uri, "whole", 1, kill_at=None)  # imports what the store needs
    return place


def loaded(store: CheckpointStore) -> int:
    """The step of what is loaded, all of which is of that step."""
    found = store.load_latest()
    data = {bytes(part) for part in found} if isinstance(found, list) else {bytes(found or b"")}
    step = int(bytes(min(data))[:6])
    assert data == {data_of(step)}
    return step


@pytest.mark.parametrize("way", WAYS)
def test_a_process_is_killed_while_it_saves(place: Place, child: Child, way: str) -> None:
    if place.is_slow and way != "whole":
        pytest.skip("CRASH_POINTS=all asks for it")
    uri, store, fine = place.uri, place.store, not place.is_slow
    passed = child.run(uri, way, 2, fine=fine)["passed"]
    assert passed[-1] == "returned"
    latest = loaded(store)
    assert latest == 2
    row = []
    for point in range(len(passed)):
        step = point + 3
        died = child.run(uri, way, step, kill_at=point, fine=fine)
        assert died == {"code": KILLED, "passed": passed[: point + 1]}
        found = loaded(store)
        assert found in expected(died["passed"], latest, step), died
        row.append(f"{passed[point]}: {'new' if found == step else 'old'}")
        latest = found
    log.info("%s, %s: %s", uri, way, "; ".join(row))
    place.steps()
    assert child.run(uri, way, latest)["code"] == 0  # the same step once more
    assert loaded(store) == latest


def expected(passed: list[str], old: int, new: int) -> tuple[int, ...]:
    """What may be loaded after a process that died has passed these points."""
    if "before pointer" not in passed:
        return (old,)
    after = passed[passed.index("before pointer") :]
    return (new,) if {"after PUT", "returned"} & set(after) else (old, new)


def test_a_process_is_killed_while_it_deletes(place: Place, child: Child) -> None:
    if place.is_slow:
        pytest.skip("CRASH_POINTS=all asks for it")
    uri, store, fine = place.uri, place.store, ALL
    for step in (2, 3):
        WAYS["whole"](store, step)
    passed = child.run(uri, "delete", 3, fine=fine)["passed"]
    assert passed[-1] == "returned"
    assert loaded(store) == 2
    row = []
    for point in range(len(passed)):
        step = point + 4
        WAYS["whole"](store, step)
        died = child.run(uri, "delete", step, kill_at=point, fine=fine)
        assert died == {"code": KILLED, "passed": passed[: point + 1]}
        found, there = loaded(store), place.steps()
        assert found == max(there) or (found == max(there - {step}) and step in there)
        row.append(f"{passed[point]}: {'there' if step in there else 'gone'}, {'that' if found == step else 'last'}")
        store.delete_checkpoint(step)
        assert loaded(store) == 2
        assert place.steps() == {1, 2}
    log.info("%s, delete: %s", uri, "; ".join(row))


def test_processes_save_at_once(place: Place, child: Child, case: Case) -> None:
    """Each its own steps, and one that all save; the latest is the highest, wherever pointers can be replaced under a
    condition."""
    at_once = [[2, 5, 9], [3, 6, 9], [4, 7, 9]]
    done = child.run(place.uri, "whole", at_once=at_once)
    assert done["code"] == 0
    assert place.steps() == {1, 2, 3, 4, 5, 6, 7, 9}
    if case.is_local or case.replaces_if_match:
        assert loaded(place.store) == 9
    if case.is_local or case.creates_only:
        assert [each.step for each in place.store.list_checkpoints()].count(9) == 3
