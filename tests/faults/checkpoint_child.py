"""Saves checkpoints in processes that are killed. ``python -m tests.faults.checkpoint_child`` reads one JSON object a
line and answers each with one: what the process that it forked for it came to, and the points that it passed."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from typing import Any

from s3dlio import Client
from s3dlio.checkpoint import commit
from s3dlio.checkpoint.store import CheckpointStore
from s3dlio.types import Observation


def data_of(step: int) -> bytes:
    """What is saved as the shards of a step."""
    return f"{step:06}".encode() * 500


def save_whole(store: CheckpointStore, step: int) -> None:
    """One rank, at once."""
    store.save(step, 0, "torch", data_of(step), None)


def save_ranks(store: CheckpointStore, step: int) -> None:
    """Two ranks, one of them piece by piece."""
    data = data_of(step)
    first, second = store.writer(2, 0), store.writer(2, 1)
    stream = second.get_distributed_shard_stream(step, 0, "torch")
    for start in range(0, len(data), 1000):
        stream.write_chunk(data[start : start + 1000])
    shards = [first.save_distributed_shard(step, 0, "torch", data), stream.finalize()]
    first.finalize_distributed_checkpoint(step, 0, "torch", shards)


#: How a step is saved.
WAYS: dict[str, Callable[[CheckpointStore, int], None]] = {"whole": save_whole, "ranks": save_ranks}


def delete(store: CheckpointStore, step: int) -> None:
    """All saves of a step."""
    store.delete_checkpoint(step)


_WORKS = WAYS | {"delete": delete}


class Points:
    """The places where work may be killed: before each step of a commit or deletion, after each operation of the store.

    Args:
        pipe: where their names go, a line each.
        kill_at: the number of the one where this process dies.
    """

    def __init__(self, pipe: int, kill_at: int) -> None:
        self._pipe = pipe
        self._left = kill_at
        self._lock = threading.Lock()

    def passed(self, name: str) -> None:
        with self._lock:  # of the threads of an SDK none passes another point meanwhile
            os.write(self._pipe, f"{name}\n".encode())
            if not self._left:
                os.kill(os.getpid(), signal.SIGKILL)
            self._left -= 1

    def ended(self, seen: Observation) -> None:
        """An operation of the store has ended."""
        self.passed(f"after {'failed ' if seen.error else ''}{seen.operation}")

    def before(self, name: str, step: Callable[[Any], Any]) -> tuple[str, Callable[[Any], Any]]:
        def run(attempt: Any) -> Any:
            self.passed(f"before {name}")
            return step(attempt)

        return name, run


def _work(order: dict[str, Any], points: Points | None) -> None:
    os.environ.clear()
    os.environ.update(order["env"])
    client = Client()
    store = CheckpointStore(order["uri"], client=client)
    if points is not None:
        for steps in (commit.STEPS, commit.DELETE_STEPS):
            steps[:] = [points.before(*named) for named in steps]  # type: ignore[index]
        if order["fine"]:
            client.add_observer(points.ended)
    for step in order["steps"]:
        _WORKS[order["work"]](store, step)
    if points is not None:
        points.passed("returned")


def _fork(order: dict[str, Any], writing: int) -> int:
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        _work(order, Points(writing, order["kill_at"]))
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def _run(order: dict[str, Any]) -> dict[str, Any]:
    """Work in a forked process; without a point to kill it at in this one, which imports all that the store needs."""
    if order["kill_at"] is None:
        _work(order, None)
        return {"code": 0, "passed": []}
    reading, writing = os.pipe()
    children = [_fork(order | {"steps": steps}, writing) for steps in order.get("at_once", [order["steps"]])]
    os.close(writing)
    with os.fdopen(reading) as pipe:
        passed = pipe.read().splitlines()
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    return {"code": min(codes, key=lambda code: code == 0), "passed": passed}


def main() -> None:
    for line in sys.stdin:
        sys.stdout.write(json.dumps(_run(json.loads(line))) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
