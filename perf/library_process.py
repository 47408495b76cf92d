"""A library in a process of its own, asked for work by lines of JSON, against one server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from perf.contenders import ROOT
from tests.servers.memory_s3 import MemoryS3


class LibraryProcess:
    """One library's process.

    Args:
        name: of the library: what the worker is told.
        python: an interpreter that has it.
        worker: a script in ``perf/workers``.
        server: whose address it has in its environment.
    """

    def __init__(self, name: str, python: str, worker: str, server: MemoryS3) -> None:
        environment = {key: value for key, value in os.environ.items() if not key.startswith(("AWS_", "S3DLIO_"))}
        environment |= server.env | {"PYTHONPATH": str(ROOT) if name == "s3dlio" else ""}
        environment |= {"AWS_EC2_METADATA_DISABLED": "true"}
        self.name = name
        self._process = subprocess.Popen(
            [python, str(ROOT / "perf/workers" / worker), name],
            env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self._answer()

    def do(self, job: dict[str, Any]) -> Any:
        """Do one job; what the worker tells of it."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        return json.loads(self._answer())

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()

    def _answer(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the process of {self.name} ended with {self._process.wait()}")
        return line


@contextmanager
def libraries(others: Mapping[str, str | None], worker: str, server: MemoryS3) -> Iterator[list[LibraryProcess]]:
    """s3dlio's process and those of the others that have an interpreter; they end with the ``with``."""
    pythons = {"s3dlio": sys.executable} | {name: python for name, python in others.items() if python}
    with ExitStack() as stack:
        found = []
        for name, python in pythons.items():
            found.append(LibraryProcess(name, python, worker, server))
            stack.callback(found[-1].close)
        yield found


def rounds_of(
    processes: Sequence[LibraryProcess], jobs: Mapping[str, dict[str, Any]], rounds: int
) -> dict[str, list[Any]]:
    """What came of the job of each library, which take turns; a first round warms up, and does not count."""
    found: dict[str, list[Any]] = {process.name: [] for process in processes}
    for turn in range(rounds + 1):
        for process in processes:
            result = process.do(jobs[process.name])
            if turn:
                found[process.name].append(result)
    return found
