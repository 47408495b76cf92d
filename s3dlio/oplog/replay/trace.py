"""The operations of op-logs in the order in which they began: read as they are needed, merged, selected, dealt out."""

from __future__ import annotations

import heapq
import itertools
import os
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from s3dlio.config.durations import parse_duration, parse_moment
from s3dlio.errors import ConfigError, CorruptDataError
from s3dlio.oplog import columns
from s3dlio.oplog.reader import read_op_log
from s3dlio.oplog.replay.config import ReplayConfig
from s3dlio.oplog.replay.operation import KINDS, UNTOLD, WRITES, Operation, operation_of
from s3dlio.wording import either

_SECOND = 1_000_000_000


class Trace:
    """What is to be replayed, in order of time; to be iterated once.

    Args:
        config: which logs, and what of them.

    Raises:
        ConfigError: a value of the configuration cannot be used.
    """

    def __init__(self, config: ReplayConfig) -> None:
        self._config = config
        self._paths = config.logs()
        self._keeps = _selection(config)
        #: What is not replayed: why -> how many operations.
        self.skipped: Counter[str] = Counter()
        #: Rows of all logs, and rows that end before they begin.
        self.rows = self.backwards = 0
        #: The first of those that are replayed, by any rank (nanoseconds since 1970).
        self.first: int | None = None

    def __iter__(self) -> Iterator[Operation]:
        several = len(self._paths) > 1
        logs = [
            _in_order(self._read(path, os.path.basename(path) if several else ""), self._config.window, path)
            for path in self._paths
        ]
        operations = logs[0] if len(logs) == 1 else heapq.merge(*logs)
        kept = self._selected(operations)
        return kept if self._config.remap_clients is None and self._config.share is None else self._dealt(kept)

    def _read(self, path: str, client: str) -> Iterator[Operation]:
        for number, row in enumerate(read_op_log(path, allow_truncated=self._config.allow_truncated), 2):
            self.rows += 1
            operation = operation_of(row, client)
            if operation is None:
                self._skip("no start time", path, number)
                continue
            if (end := row.get("end")) is not None and end < operation.start:
                self.backwards += 1
            yield operation

    def _skip(self, why: str, path: str = "", row: int = 0) -> None:
        if self._config.strict:
            raise CorruptDataError(
                f"row {row} cannot be replayed: {why}" if row else f"the log has what cannot be replayed: {why}",
                uri=path or self._paths[0], hint="without --strict such rows are counted and left out",
            )  # fmt: skip
        self.skipped[why] += 1

    def _selected(self, operations: Iterator[Operation]) -> Iterator[Operation]:
        origin: int | None = None
        keeps = self._keeps
        for operation in operations:
            if origin is None:
                origin = operation.start
            kind = operation.kind
            if kind not in KINDS:
                reason = UNTOLD.get(kind)
                self._skip(f"{kind}: {reason}" if reason else f"unknown operation {kind[:40]!r}")
            elif not keeps(operation, origin):
                self.skipped["left out by a filter"] += 1
            elif operation.failed and kind in WRITES:
                self.skipped[f"{kind}: it failed when it was recorded"] += 1
            else:
                if self.first is None:
                    self.first = operation.start
                yield operation

    def _dealt(self, operations: Iterator[Operation]) -> Iterator[Operation]:
        """By other clients than those recorded; with a share, only those of this rank."""
        rank, ranks = self._config.share or (0, 1)
        count = self._config.remap_clients or ranks
        ahead = list(itertools.islice(operations, self._config.window))
        players = Players(count, dict.fromkeys(operation.client for operation in ahead))
        for operation in itertools.chain(ahead, operations):
            player = players.player(operation.client, operation.thread)
            if player % ranks == rank:
                yield operation._replace(client=f"client-{player}")


class Players:
    """Deals recorded clients to others, the same way in every process.

    Fewer than recorded: each gets whole ones. More: the threads of one are dealt to several. Threads and clients are
    numbered as they first appear.

    Args:
        count: how many play.
        known: those recorded, as far as they are known; later ones join the players in turn.
    """

    def __init__(self, count: int, known: dict[str, None]) -> None:
        self._count = count
        self._several = max(1, len(known))
        self._clients = {client: number for number, client in enumerate(known)}
        self._threads: dict[str, dict[int | str, int]] = {}

    def player(self, client: str, thread: int | str) -> int:
        """Who plays an operation, from 0."""
        number = self._clients.setdefault(client, len(self._clients))
        if self._count <= self._several:
            return number % self._count
        first = number % self._several
        shares = len(range(first, self._count, self._several))
        threads = self._threads.setdefault(client, {})
        return first + self._several * (threads.setdefault(thread, len(threads)) % shares)


def _in_order(operations: Iterator[Operation], window: int, path: str) -> Iterator[Operation]:
    """By their starts. Rows are written as operations end, so only those of a window can be out of order.

    Raises:
        CorruptDataError: the log is further out of order than the window.
    """
    waiting: list[tuple[int, int, Operation]] = []
    numbers = itertools.count()
    last = 0
    for operation in operations:
        entry = (operation.start, next(numbers), operation)
        if len(waiting) < window:
            heapq.heappush(waiting, entry)
            continue
        begun, _, first = heapq.heappushpop(waiting, entry)
        if begun < last:
            raise CorruptDataError(
                f"the log is not in order: an operation began {(last - begun) / _SECOND:.3f} s before one that stands "
                f"more than {window} rows before it",
                uri=path, hint=_sort_it(),
            )  # fmt: skip
        last = begun
        yield first
    waiting.sort()
    for begun, _, operation in waiting:
        if begun < last:
            raise CorruptDataError(
                "the log is not in order", uri=path,
                hint=_sort_it(),
            )  # fmt: skip
        yield operation


def _selection(config: ReplayConfig) -> Callable[[Operation, int], bool]:
    """Whether an operation is selected, given when the first of the log began."""
    tests: list[Callable[[Operation, int], bool]] = []
    if config.filter_ops is not None:
        kinds = {columns.operation(name) for name in config.filter_ops}
        tests.append(lambda operation, _: operation.kind in kinds)
    if config.pattern is not None:
        from s3dlio.transfer.selection import pattern_finder

        finds = pattern_finder(config.pattern)
        tests.append(lambda operation, _: bool(finds(operation.uri)))
    if config.clients is not None:
        clients = frozenset(config.clients)
        tests.append(lambda operation, _: operation.client in clients)
    least, most = config.min_size, config.max_size
    if least or most is not None:
        limit = float("inf") if most is None else most
        tests.append(lambda operation, _: least <= operation.size <= limit)
    for value, name in ((config.since, "since"), (config.until, "until")):
        if value is not None:
            tests.append(_in_time(value, name))
    return lambda operation, origin: all(test(operation, origin) for test in tests)


def _in_time(value: Any, name: str) -> Callable[[Operation, int], bool]:
    is_date = False
    try:
        moment = int(parse_duration(value, name=name) * _SECOND)
    except ConfigError:
        moment, is_date = parse_moment(value, name=name), True
    if name == "since":
        return lambda operation, origin: operation.start >= (moment if is_date else origin + moment)
    return lambda operation, origin: operation.start < (moment if is_date else origin + moment)


def _sort_it() -> str:
    return either(
        "sort it with s3dlio.sort_op_log(path), or sort more rows in memory (sort_window)",
        "sort more rows in memory: --sort-window",
    )
