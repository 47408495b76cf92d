"""Reads logs and adds them up: clocks set right, warm-up left out, what is odd about them noted."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from s3dlio.errors import ConfigError
from s3dlio.oplog.analysis.collector import WANTED, Collector
from s3dlio.oplog.analysis.merging import Log
from s3dlio.oplog.batch import Batch
from s3dlio.oplog.fields import MISSING
from s3dlio.oplog.reader import LogReader

#: Times further from those that a log begins with are none of it (nanoseconds).
_PLAUSIBLE = 400 * 86_400 * 1_000_000_000

Paths = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]
Offsets = Mapping[str, float] | Sequence[float] | None


class Job(NamedTuple):
    """What is to be counted.

    Attributes:
        logs: path and clock offset (nanoseconds) of each.
        plausible: about when each is (nanoseconds since 1970).
        cut: what begins before is left out (nanoseconds since 1970); None: nothing.
    """

    logs: list[tuple[str, int]]
    plausible: list[int]
    cut: int | None


def count(readers: list[Reader], cut: int | None) -> Collector:
    """What logs have, as far as the readers' shares go."""
    data = Collector()
    for number, reader in enumerate(readers):
        for batch in reader.batches():
            skipped, batch = _after(batch, cut)
            reader.log.skipped += skipped
            if len(batch):
                data.add(batch, number, mark=len(readers) > 1)
    return data


def count_share(job: Job, share: tuple[int, int]) -> tuple[Collector, list[Log]]:
    """What another process than the first counts.

    Raises:
        S3dlioError: a log cannot be read.
    """
    logs = [Log(path, offset) for path, offset in job.logs]
    readers = [Reader(log, share, plausible) for log, plausible in zip(logs, job.plausible, strict=True)]
    return count(readers, job.cut), logs


def _offsets(names: Sequence[Any], given: Offsets) -> list[int]:
    if given is None:
        return [0] * len(names)
    if isinstance(given, Mapping):
        left = dict(given)
        found = [left.pop(os.fspath(name), 0.0) for name in names]
        if left:
            raise ConfigError(f"a clock offset is given for {next(iter(left))!r}, which is none of the logs")
    else:
        found = list(given)
        if len(found) != len(names):
            raise ConfigError(f"there are {len(names)} logs and {len(found)} clock offsets")
    return [round(one * 1e9) for one in found]


def _after(batch: Batch, cut: int | None) -> tuple[int, Batch]:
    """How many rows begin before ``cut``, and the others."""
    if cut is None:
        return 0, batch
    late = batch.numbers["start"] >= cut
    return int(late.size - late.sum()), batch if late.all() else batch.taken(late)


@contextmanager
def opened(paths: Paths, clock_offsets: Offsets = None) -> Iterator[list[Reader]]:
    """Logs, open: all of them before the first is read whole, since the run begins where the first one does.

    Raises:
        ObjectNotFoundError, LocalIOError, CorruptDataError: as of ``analyze_op_logs``.
        ConfigError: there is none, or an offset is of no log.
    """
    names = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
    if not names:
        raise ConfigError("there is no log to analyze", hint="name at least one file")
    offsets = _offsets(names, clock_offsets)
    readers: list[Reader] = []
    try:
        for name, offset in zip(names, offsets, strict=True):
            readers.append(Reader(Log(os.fspath(name), offset)))
        yield readers
    finally:
        for reader in readers:
            reader.close()


class Reader:
    """One log, read ahead.

    Args:
        log: which one; what is odd about it is noted there.
        share: which of its blocks, see ``LogReader``.
        plausible: about when it is (nanoseconds since 1970); None: by its first rows, which are read at once.

    Attributes:
        begin: when its first operations begin; None if it has none, or they were not read.
        plausible: about when it is.
    """

    def __init__(self, log: Log, share: tuple[int, int] = (0, 1), plausible: int | None = None) -> None:
        self.log = log
        self._reader = LogReader(log.path, WANTED, strict=False, share=share)
        self._source = self._reader.batches()
        self._first = self._next() if plausible is None else None
        self.begin: int | None = None if self._first is None else int(self._first.numbers["start"].min())
        if plausible is None and self._first is not None:
            plausible = int(np.median(self._first.numbers["start"]))
        self.plausible = plausible or 0

    def share(self, mine: int, of: int) -> None:
        """Read only some blocks from now on."""
        self._reader.share = mine, of

    def _next(self) -> Batch | None:
        for batch in self._source:
            if len(found := self._usable(batch)):
                return found
        return None

    def _usable(self, batch: Batch) -> Batch:
        """The rows that have times, with the log's clock set right."""
        log, numbers = self.log, batch.numbers
        for name in ("start", "end", "first_byte"):
            if log.offset and name in numbers:
                numbers[name] = np.where(numbers[name] == MISSING, MISSING, numbers[name] - log.offset)
        whole = (numbers["start"] != MISSING) & (numbers["end"] != MISSING)
        if not whole.all():
            log.note("no-duration", batch.lines[~whole], "an operation without its end or duration cannot be counted")
            batch = batch.taken(whole)
        return batch

    def batches(self) -> Iterator[Batch]:
        """The rows, each batch once."""
        log = self.log
        if self._first is not None:
            yield from filter(len, [self._checked(self._first)])
        for batch in self._source:
            if len(found := self._usable(batch)) and len(found := self._checked(found)):
                yield found
        log.dialect = self._reader.dialect
        log.notes += [note for note in self._reader.notes if note.kind not in {one.kind for one in log.notes}]

    def _checked(self, batch: Batch) -> Batch:
        far = np.abs(batch.numbers["start"] - self.plausible) > _PLAUSIBLE
        if far.any():
            self.log.note("implausible-time", batch.lines[far], "a time more than a year from the others is left out")
            batch = batch.taken(~far)
        if len(batch):
            self.log.look_at(batch)
        return batch

    def close(self) -> None:
        """Let go of the file."""
        self._source.close()  # type: ignore[attr-defined]
