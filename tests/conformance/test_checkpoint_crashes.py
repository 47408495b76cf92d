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

#: ``CRASH_POINTS=all``: after every operation of every store.
FINE = os.environ.get("CRASH_POINTS") == "all"
NEVER = 10**6
KILLED = -9


class Child:
    """Saves in processes that it forks, and kills."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "tests.faults.checkpoint_child"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def save(self, uri: str, step: int, way: str, kill_at: int | None, fine: bool = False) -> dict[str, Any]:
        order = {"uri": uri, "step": step, "way": way, "kill_at": kill_at, "fine": fine, "env": dict(os.environ)}
        assert self._process.stdin
        assert self._process.stdout
        print(json.dumps(order), file=self._process.stdin, flush=True)
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer

    def close(self) -> None:
        self._process.communicate()


@pytest.fixture(scope="module")
def child() -> Iterator[Child]:
    child = Child()
    yield child
    child.close()


def loaded(store: CheckpointStore) -> int:
    """The step of what is loaded, all of which is of that step."""
    found = store.load_latest()
    data = {bytes(part) for part in found} if isinstance(found, list) else {bytes(found or b"")}
    step = int(bytes(min(data))[:6])
    assert data == {data_of(step)}
    return step


@pytest.mark.parametrize("way", WAYS)
def test_a_process_is_killed_while_it_saves(case: Case, child: Child, way: str) -> None:
    if case.store.scheme == "memory":
        pytest.skip("its objects die with the process")
    fine = FINE or not isinstance(case.store, SdkStore)
    encrypted = (case.store.endpoint or "").startswith("https")
    if not FINE and (encrypted or (not fine and way != "whole")):
        pytest.skip("CRASH_POINTS=all asks for it")
    uri = case.store.uri(case.key("run"))
    store = CheckpointStore(uri, client=Client())
    child.save(uri, 1, way, None)
    passed = child.save(uri, 2, way, NEVER, fine)["passed"]
    assert passed[-1] == "returned"
    latest = loaded(store)
    assert latest == 2
    row = []
    for point in range(len(passed)):
        step = point + 3
        died = child.save(uri, step, way, point, fine)
        assert died == {"code": KILLED, "passed": passed[: point + 1]}
        found = loaded(store)
        assert found in expected(died["passed"], latest, step), died
        row.append(f"{passed[point]}: {'new' if found == step else 'old'}")
        latest = found
    log.info("%s, %s: %s", case.store.uri(""), way, "; ".join(row))
    assert {each.status for each in store.list_checkpoints()} == {"complete"}
    assert child.save(uri, latest, way, NEVER)["code"] == 0  # the same step once more
    assert loaded(store) == latest


def expected(passed: list[str], old: int, new: int) -> tuple[int, ...]:
    """What may be loaded after a process that died has passed these points."""
    if "before pointer" not in passed:
        return (old,)
    after = passed[passed.index("before pointer") :]
    return (new,) if {"after PUT", "returned"} & set(after) else (old, new)
