"""Servers, and rounds in which contenders take turns, so that what else the machine does falls on all of them."""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from perf.contenders import Contender, Worker
from perf.rows import DELAY, FEW_KEYS, KEYS, LARGE, OBJECTS, SMALL, Row
from perf.workers.protocol import Cost, Target
from tests.servers.base import Server
from tests.servers.certs import make_authority
from tests.servers.delayed import DelayedServer
from tests.servers.nginx import NginxServer


@dataclass(frozen=True)
class Result:
    """What the rounds of one row gave: for each contender the costs, round by round."""

    row: Row
    costs: dict[str, list[Cost]]

    def rates(self, name: str) -> list[float]:
        """Bytes or operations a second of every round."""
        return [self._work(cost) / cost.wall for cost in self.costs[name]]

    def cpu(self, name: str) -> list[float]:
        """CPU seconds for a byte or an operation, of every round."""
        return [cost.cpu / self._work(cost) for cost in self.costs[name]]

    def _work(self, cost: Cost) -> int:
        return cost.bytes if self.row.by_bytes else cost.operations

    def rate_ratio(self, name: str, other: str) -> float:
        return _ratio(self.rates(name), self.rates(other))

    def cpu_ratio(self, name: str, other: str) -> float:
        return _ratio(self.cpu(name), self.cpu(other))


def _ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """The median of the rounds' ratios: the two of a round ran one after the other."""
    return statistics.median(one / other for one, other in zip(ours, theirs, strict=True))


def fill(server: NginxServer) -> None:
    """The objects that are read, under the paths of all three clouds."""
    for size, prefix in ((LARGE, "large"), (SMALL, "small")):
        data = os.urandom(size)
        for number in range(OBJECTS[size]):
            server.add_object(f"bucket/{prefix}/{number}", data)
    names = [f"data/{number:08}.bin" for number in range(KEYS)]
    server.add_listing("listed", names)
    server.add_listing("listed-few", names[:FEW_KEYS])
    clouds_too(server)


def clouds_too(server: NginxServer) -> None:
    """The objects of the bucket under the paths of Azure and Google, too."""
    (server.root / "perf").symlink_to(".")  # az: /account/container/blob
    for before in ("storage", "download/storage"):  # gs: .../b/bucket/o/object
        folder = server.root / before / "v1/b/bucket"
        folder.mkdir(parents=True)
        (folder / "o").symlink_to(server.root / "bucket")


class Servers:
    """The servers of the rows, each started when it is first needed."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._running: dict[str, Server] = {}

    def target(self, row: Row, scheme: str) -> Target:
        """Where a row's objects are."""
        server = self._running.get(row.server)
        if server is None:
            server = self._running[row.server] = self._start(row.server)
        return Target(scheme, server.endpoint, row.container, str(server.tls.bundle) if server.tls else None)

    def server(self, row: Row) -> NginxServer:
        """The server of a row that was asked for."""
        server = self._running[row.server]
        assert isinstance(server, NginxServer)
        return server

    def _start(self, kind: str) -> Server:
        if kind == "far":
            return self._stack.enter_context(DelayedServer(delay=DELAY, size=SMALL))
        authority = None
        if kind in ("tls", "h2"):
            authority = make_authority(Path(self._stack.enter_context(tempfile.TemporaryDirectory())))
        server = self._stack.enter_context(NginxServer(tls=authority, http2=kind == "h2"))
        fill(server)
        return server


def say(text: str) -> None:
    """Tell how far it is: on one line of a terminal, line by line elsewhere."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)
    elif text:
        print(text, file=sys.stderr, flush=True)


@contextmanager
def servers() -> Iterator[Servers]:
    with ExitStack() as stack:
        yield Servers(stack)


def measure(
    row: Row, contenders: Sequence[Contender], where: Servers, *, rounds: int, seconds: float
) -> Result:
    """Run all rounds of a row.

    Each contender does as many operations as it can in about *seconds*, found out by two runs that warm up.

    Raises:
        ContenderError: one of them failed.
    """
    with ExitStack() as stack:
        workers = {}
        for contender in contenders:
            target = where.target(row, contender.scheme or row.scheme)
            workers[contender.name] = stack.enter_context(Worker(contender, target))
        counts = {name: _calibrate(worker, row, seconds * row.longer) for name, worker in workers.items()}
        costs: dict[str, list[Cost]] = {name: [] for name in workers}
        for number in range(rounds):
            say(f"{row.name}: round {number + 1} of {rounds}")
            for name, worker in workers.items():
                costs[name].append(worker.do(replace(row.job, count=counts[name])))
    return Result(row, costs)


def _calibrate(worker: Worker, row: Row, seconds: float) -> int:
    """Warm up, and return how many operations make a job of about *seconds*.

    The last runs have the memory of a whole job: a virtual machine's costs several times as much the first time that it
    is touched.
    """
    if row.job.verb == "list":
        worker.do(row.job)
        return row.job.count
    width = row.job.in_flight
    count = width if row.by_bytes else max(width, 100)
    for part in (0.25, 1, 1):
        cost = worker.do(replace(row.job, count=count))
        wave = width * cost.wall / cost.operations
        # Whole waves, so that few jobs end with less in flight; two at least, but for what is very slow.
        waves = max(round(seconds * part / wave), 2 if wave < 2 * seconds else 1)
        count = min(row.most, waves * width)
    return count
