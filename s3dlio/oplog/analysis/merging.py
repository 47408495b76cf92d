"""Logs beside each other: what is odd about each, whether they are of the same time, and rows that several have."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from s3dlio.figures import count, duration, percent
from s3dlio.oplog.analysis.codes import Codes
from s3dlio.oplog.analysis.collector import Collector
from s3dlio.oplog.analysis.findings import Finding
from s3dlio.oplog.batch import Batch
from s3dlio.oplog.fields import Ints
from s3dlio.oplog.reader import Note

_SECOND = 1e9
#: Rows may come out of order by so much: threads that end at one moment wait for each other (nanoseconds).
_TOLERANCE = 50_000_000
_CLIENTS = 64
#: What every process finds that reads a log, whatever its share.
_OF_EACH = frozenset({"truncated", "damaged", "unknown-columns", "clock-backwards"})
#: Jumps that are followed in a batch: rows without an order have many.
_JUMPS = 16


class Log:
    """One log of an analysis.

    Args:
        path: its file.
        offset: what is taken off its times (nanoseconds).

    Attributes:
        records: how many rows were good; ``skipped`` of them are in the warm-up.
        begin, end: its first and last moment (nanoseconds since 1970); 0 if it has no rows.
        notes: what is odd about it.
    """

    def __init__(self, path: str, offset: int = 0) -> None:
        self.path = path
        self.offset = offset
        self.dialect = ""
        self.records = 0
        self.skipped = 0
        self.begin = self.end = 0
        self.notes: list[Note] = []
        self._clients = Codes(_CLIENTS)
        self._latest: dict[int, tuple[int, int]] = {}
        #: The latest start and end of all rows, while these are in order; from then on each client is followed.
        self._all: tuple[int, int] | None = None
        self._is_mixed = False

    def note(self, kind: str, lines: Ints, text: str) -> None:
        """Note what is odd about some lines."""
        for place, one in enumerate(self.notes):
            if one.kind == kind:
                self.notes[place] = one._replace(times=one.times + int(lines.size))
                return
        self.notes.append(Note(kind, self.path, int(lines[0]), f"line {int(lines[0])}: {text}", int(lines.size)))

    def look_at(self, batch: Batch) -> None:
        """Take in when its rows are, and whether their clock goes backwards."""
        starts, ends = batch.numbers["start"], batch.numbers["end"]
        low, high = int(starts.min()), int(ends.max())
        self.begin, self.end = (min(self.begin, low), max(self.end, high)) if self.records else (low, high)
        self.records += len(batch)
        backwards = ends < starts
        if backwards.any():
            text = "the operation ends before it begins, so its latency does not count: the clock went back"
            self.note("negative-duration", batch.lines[backwards], text)
        if self._is_mixed or not self._is_in_order(starts, ends):
            self._is_mixed = True
            clients = self._clients.of(batch.texts.get("client_id"), len(batch))
            for client in np.unique(clients).tolist():
                rows = np.flatnonzero(clients == client)
                self._follow(client, batch.lines[rows], starts[rows], ends[rows])

    def _is_in_order(self, starts: Ints, ends: Ints) -> bool:
        """Whether the rows of all clients together follow each other; most logs need no closer look."""
        before = self._all or (int(starts[0]), int(ends[0]))
        latest_starts = np.maximum.accumulate(np.maximum(starts, before[0]))
        latest_ends = np.maximum.accumulate(np.maximum(ends, before[1]))
        if (np.minimum(latest_starts - starts, latest_ends - ends) > _TOLERANCE).any():
            return False
        self._all = int(latest_starts[-1]), int(latest_ends[-1])
        return True

    def _follow(self, client: int, lines: Ints, starts: Ints, ends: Ints) -> None:
        """Rows are in the order of their starts, or of their ends: if both go back, so did the clock."""
        latest = self._latest.get(client) or self._all or (int(starts[0]), int(ends[0]))
        for _ in range(_JUMPS):
            latest_starts = np.maximum.accumulate(np.maximum(starts, latest[0]))
            latest_ends = np.maximum.accumulate(np.maximum(ends, latest[1]))
            back = np.minimum(latest_starts - starts, latest_ends - ends)
            row = int(np.argmax(back > _TOLERANCE))
            if back[row] <= _TOLERANCE:
                self._latest[client] = int(latest_starts[-1]), int(latest_ends[-1])
                return
            text = f"the time goes back by {duration(int(back[row]) / _SECOND)}"
            self.note("clock-backwards", lines[row : row + 1], text)
            latest = int(starts[row]), int(ends[row])  # from there on it goes on
            lines, starts, ends = lines[row:], starts[row:], ends[row:]
        self._latest[client] = int(starts.max()), int(ends.max())

    def take(self, other: Log) -> None:
        """Add what another process has found of the same log."""
        if other.records:
            self.begin, self.end = (
                (min(self.begin, other.begin), max(self.end, other.end)) if self.records else (other.begin, other.end)
            )
        self.records += other.records
        self.skipped += other.skipped
        for note in other.notes:
            mine = next((one for one in self.notes if one.kind == note.kind), None)
            if mine is None:
                self.notes.append(note)
                continue
            first = min(mine, note, key=lambda one: one.line)
            times = max(mine.times, note.times) if note.kind in _OF_EACH else mine.times + note.times
            self.notes[self.notes.index(mine)] = first._replace(times=times)

    def to_dict(self) -> dict[str, Any]:
        """The log as JSON takes it."""
        return {
            "path": self.path, "dialect": self.dialect, "records": self.records, "skipped": self.skipped,
            "begin_ns": self.begin, "end_ns": self.end, "seconds": (self.end - self.begin) / _SECOND,
            "clock_offset_s": self.offset / _SECOND,
        }  # fmt: skip


def overlap(logs: Sequence[Log], data: Collector) -> dict[str, Any] | None:
    """How much of the time several logs have in common, and how many rows; None of a single log."""
    logs = [log for log in logs if log.records]
    if len(logs) < 2:
        return None
    common = max(0, min(log.end for log in logs) - max(log.begin for log in logs))
    shortest = min(log.end - log.begin for log in logs)
    marks = data.marks
    marks.merge()
    several = (marks.bits & (marks.bits - 1)) != 0
    total = int(marks.counts.sum())
    twice = int((marks.counts[several] - 1).sum())
    return {
        "seconds": common / _SECOND,
        "share_of_shortest": common / shortest if shortest else float(common > 0),
        "whole_seconds": (max(log.end for log in logs) - min(log.begin for log in logs)) / _SECOND,
        "duplicate_records": round(twice / marks.share),
        "duplicate_share": twice / total if total else 0.0,
    }


def merge_findings(logs: Sequence[Log], found: dict[str, Any] | None) -> Iterator[Finding]:
    """What is to be said of logs that do not fit together."""
    if found is None:
        return
    if found["duplicate_records"] and found["duplicate_share"] >= 1e-3:
        yield Finding(
            "duplicate-records", "warning",
            f"{count(found['duplicate_records'])} records ({percent(found['duplicate_share'])}) stand in more than "
            "one of the logs and are counted more than once: one log is, or is part of, another.",
            {"records": found["duplicate_records"], "share": found["duplicate_share"]},
        )  # fmt: skip
    if found["share_of_shortest"] < 0.5:
        yield Finding(
            "no-overlap", "warning",
            f"The logs are hardly of the same time: {duration(found['seconds'])} are in all of them, "
            f"{percent(found['share_of_shortest'])} of the shortest, so that rates of the whole are those of one after "
            f"the other.{_zones(logs)} --clock-offset sets their clocks right.",
            {"seconds": found["seconds"], "share": found["share_of_shortest"]},
        )  # fmt: skip


def _zones(logs: Sequence[Log]) -> str:
    """Whether two clocks differ by whole hours, as those of two time zones do."""
    logs = [log for log in logs if log.records]
    for log in logs[1:]:
        away = (log.begin - logs[0].begin) / _SECOND / 3600
        if abs(away) > 0.9 and abs(away - round(away)) * 3600 < 0.05 * (log.end - log.begin) / _SECOND + 1:
            return f" {log.path} begins {round(away):+d} hours after {logs[0].path}: is its clock in another zone?"
    return ""
