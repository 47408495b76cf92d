"""What a worker process does: read jobs from standard input, do them with one library, answer what they cost.

Workers run in virtual environments of other libraries, as programs: they import nothing of this project but their
neighbours in this folder. A job is one line of JSON, and so is its answer.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import resource
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Target:
    """Where the objects are."""

    scheme: str
    """s3, az or gs."""
    endpoint: str
    container: str
    ca_bundle: str | None = None


@dataclass(frozen=True)
class Job:
    """What to do once."""

    verb: str
    """get, read (and drop), download, put, stat or list."""
    prefix: str = ""
    """The keys are this and a number; of a download, the container."""
    count: int = 1
    """Operations; keys for list."""
    size: int = 0
    """Bytes of each object."""
    in_flight: int = 1
    """Operations at a time; 1: one after the other."""
    by: str = ""
    """threads: each asks for one object after the other; awaits: coroutines do; procs: a process for each CPU.
    Otherwise as the library does best."""

    def keys(self) -> list[str]:
        return [f"{self.prefix}{number}" for number in range(self.count)]


@dataclass(frozen=True)
class Cost:
    """What a job took."""

    wall: float
    """Seconds."""
    cpu: float
    """Seconds of all threads of the process, user and system."""
    operations: int
    bytes: int
    user: float = 0.0
    """Seconds of ``cpu`` outside of the kernel."""

    @property
    def system(self) -> float:
        """Seconds of ``cpu`` in the kernel."""
        return self.cpu - self.user


class Library(ABC):
    """One library, used as its own documents say for speed. Every method returns how many bytes or keys it saw."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self._threads: ThreadPoolExecutor | None = None

    def get_one(self, key: str) -> int:
        """Read one object, blocking."""
        raise NotImplementedError(f"{type(self).__name__} does not get one by one")

    async def get_awaited(self, key: str) -> int:
        """Read one object, as a coroutine."""
        raise NotImplementedError(f"{type(self).__name__} has no coroutines")

    @abstractmethod
    def get(self, keys: Sequence[str], size: int, in_flight: int) -> int:
        """Read whole objects into memory."""

    def read(self, keys: Sequence[str], size: int, in_flight: int) -> int:
        """Read whole objects and drop them."""
        return self.get(keys, size, in_flight)

    def by_processes(self, keys: Sequence[str], in_flight: int) -> int:
        """Read whole objects into memory with a process for each CPU."""
        raise NotImplementedError(f"{type(self).__name__} has no processes")

    def download(self, container: str, in_flight: int) -> int:
        """Read all objects of a container into files, which are in memory."""
        raise NotImplementedError(f"{type(self).__name__} does not download")

    def put(self, keys: Sequence[str], data: bytes, in_flight: int) -> int:
        raise NotImplementedError(f"{type(self).__name__} does not put")

    def stat(self, keys: Sequence[str]) -> int:
        """Ask for the size of each; return the sum."""
        raise NotImplementedError(f"{type(self).__name__} does not stat")

    def list(self) -> int:
        """List the whole container, with the keys as Python strings; return how many there are."""
        raise NotImplementedError(f"{type(self).__name__} does not list")

    def in_threads(self, function: Callable[[str], int], keys: Sequence[str], in_flight: int) -> int:
        """The sum of *function* over *keys*: threads that pull from one iterator, for libraries that block."""
        if in_flight == 1:
            return sum(map(function, keys))
        if self._threads is None:
            self._threads = ThreadPoolExecutor(in_flight)
        left = iter(keys)  # a list's iterator hands out each item once, whoever asks
        loops = [self._threads.submit(lambda: sum(map(function, left))) for _ in range(in_flight)]
        return sum(loop.result() for loop in loops)

    async def in_coroutines(self, keys: Sequence[str], in_flight: int) -> int:
        """Coroutines that each await one object after the other."""
        left = iter(keys)

        async def loop() -> int:
            seen = 0
            for key in left:
                seen += await self.get_awaited(key)
            return seen

        return sum(await asyncio.gather(*(loop() for _ in range(in_flight))))


def perform(library: Library, job: Job) -> Cost:
    """Do a job and measure it.

    Raises:
        ValueError: the library did not see what is there.
    """
    keys, data = job.keys(), os.urandom(job.size) if job.verb == "put" else b""
    gc.collect()
    cpu, user, wall = time.process_time(), _user_time(), time.perf_counter()
    if job.by == "threads":
        seen = library.in_threads(library.get_one, keys, job.in_flight)
    elif job.by == "awaits":
        seen = asyncio.run(library.in_coroutines(keys, job.in_flight))
    elif job.by == "procs":
        seen = library.by_processes(keys, job.in_flight)
    elif job.verb == "download":
        seen = library.download(job.prefix, job.in_flight)
    elif job.verb == "get":
        seen = library.get(keys, job.size, job.in_flight)
    elif job.verb == "read":
        seen = library.read(keys, job.size, job.in_flight)
    elif job.verb == "put":
        seen = library.put(keys, data, job.in_flight)
    elif job.verb == "stat":
        seen = library.stat(keys)
    else:
        seen = library.list()
    wall, user, cpu = time.perf_counter() - wall, _user_time() - user, time.process_time() - cpu
    wanted = job.count * (1 if job.verb == "list" else job.size)
    if seen != wanted:
        raise ValueError(f"{job.verb} saw {seen} instead of {wanted}")
    return Cost(wall, cpu, job.count, 0 if job.verb in ("list", "stat") else seen, user)


def _user_time() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_utime


def jobs(lines: Iterator[str]) -> Iterator[Job]:
    for line in lines:
        yield Job(**json.loads(line))


def serve(library: Callable[[Target], Library]) -> None:
    """The main program of a worker: its first argument is the target as JSON, its input the jobs."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints must not be taken for an answer
    worker = library(Target(**json.loads(sys.argv[1])))
    for job in jobs(iter(sys.stdin.readline, "")):
        try:
            answer: dict[str, Any] = asdict(perform(worker, job))
        except Exception as error:  # told to the other side, which raises it
            answer = {"error": f"{type(error).__name__}: {error}"}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()
    os._exit(0)  # threads of native libraries may not end by themselves
