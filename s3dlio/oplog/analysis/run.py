"""Reads logs and adds them up: clocks set right, warm-up left out, what is odd about them noted."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from typing import Any

import numpy as np

from s3dlio.engine.prefetch import Prefetcher
from s3dlio.errors import ConfigError, CorruptDataError
from s3dlio.oplog.analysis.collector import WANTED, Collector
from s3dlio.oplog.analysis.merging import Log
from s3dlio.oplog.analysis.report import Report
from s3dlio.oplog.batch import Batch
from s3dlio.oplog.fields import MISSING
from s3dlio.oplog.reader import LogReader

#: Batches that wait for being counted.
_AHEAD = 2
#: Times further from those that a log begins with are none of it (nanoseconds).
_PLAUSIBLE = 400 * 86_400 * 1_000_000_000

Paths = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]
Offsets = Mapping[str, float] | Sequence[float] | None


def analyze_op_logs(paths: Paths, *, skip_warmup: float = 0, clock_offsets: Offsets = None) -> Report:
    """What op-logs tell, of one client or of several.

    Args:
        paths: the logs, in any form that ``read_op_log`` reads; several are one run.
        skip_warmup: operations that begin in the first so many seconds are left out.
        clock_offsets: how far the clocks of logs are ahead (seconds), which is taken off their times: by path, or in
            the order of the logs.

    Returns:
        The report; its ``to_dict`` has all figures.

    Raises:
        ObjectNotFoundError, LocalIOError: a log is not there, or cannot be read.
        CorruptDataError: one is no op-log, or nothing in them can be counted. What else is wrong with them the
            report's notes tell; the good rows are counted.
        ConfigError: an offset is of no log.
    """
    data = Collector()
    with opened(paths, clock_offsets) as readers:
        logs = [reader.log for reader in readers]
        begin = min((reader.begin for reader in readers if reader.begin is not None), default=0)
        cut = begin + round(skip_warmup * 1e9) if skip_warmup else None
        for number, reader in enumerate(readers):
            for batch in reader.batches():
                skipped, batch = _after(batch, cut)
                logs[number].skipped += skipped
                if len(batch):
                    data.add(batch, number, mark=len(logs) > 1)
    if not data.rows:
        left_out = sum(log.skipped for log in logs)
        reason = (
            f"all {left_out} operations are in the warm-up that is left out" if left_out else "no operation is in it"
        )
        raise CorruptDataError(f"there is nothing to analyze: {reason}", uri=logs[0].path)
    return Report(data, logs, skip_warmup)


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

    Attributes:
        begin: when its first operations begin; None if it has none.
    """

    def __init__(self, log: Log) -> None:
        self.log = log
        self._reader = LogReader(log.path, WANTED, strict=False)
        self._source = self._reader.batches()
        self._first = self._next()
        self.begin: int | None = None if self._first is None else int(self._first.numbers["start"].min())
        self._plausible = 0 if self._first is None else int(np.median(self._first.numbers["start"]))

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
            with closing(Prefetcher(self._source, _AHEAD)) as ahead:
                yield from filter(len, [self._checked(self._first)])
                for batch in ahead:
                    if batch is not None and len(found := self._usable(batch)) and len(found := self._checked(found)):
                        yield found
        log.dialect = self._reader.dialect
        log.notes += [note for note in self._reader.notes if note.kind not in {one.kind for one in log.notes}]

    def _checked(self, batch: Batch) -> Batch:
        far = np.abs(batch.numbers["start"] - self._plausible) > _PLAUSIBLE
        if far.any():
            self.log.note("implausible-time", batch.lines[far], "a time more than a year from the others is left out")
            batch = batch.taken(~far)
        if len(batch):
            self.log.look_at(batch)
        return batch

    def close(self) -> None:
        """Let go of the file."""
        self._source.close()  # type: ignore[attr-defined]
