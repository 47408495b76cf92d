"""Reads op-logs of this library, of warp and of others: tables and JSON lines, by the names of their columns."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from contextlib import closing
from typing import Any, NamedTuple

import numpy as np

from s3dlio.engine.prefetch import Prefetcher
from s3dlio.errors import CorruptDataError
from s3dlio.oplog.batch import Batch
from s3dlio.oplog.columns import COLUMNS, Match, match
from s3dlio.oplog.delimited import Table
from s3dlio.oplog.fields import MISSING
from s3dlio.oplog.json_lines import JsonLines
from s3dlio.oplog.log_text import BLOCK, PADDING, Block, blocks, header, names_of, truncated

#: Blocks that wait for who reads them.
_AHEAD = 4


class Note(NamedTuple):
    """Something about a log that a reader may want to know.

    Attributes:
        kind: ``bad-row``, ``truncated``, ``damaged``, ``unknown-columns``, and those of the analysis.
        path: the log.
        line: where in it; 0 if nowhere in particular.
        text: the same in words.
        times: how often that was found; ``line`` and ``text`` are those of the first.
    """

    kind: str
    path: str
    line: int
    text: str
    times: int = 1


class LogReader:
    """One log. Its batches are read once.

    Args:
        path: a local file: a table with tabs or commas, or JSON lines; plain, or compressed with zstd or gzip.
        wanted: the columns to read, by our names; None: all, those that are unknown too.
        strict: what is wrong with it is raised; otherwise it is noted, and the rows that are good are given.
        allow_truncated: a log that ends in the middle is no error.
        share: which blocks to read, by their number from 0 on: those that leave the first number when they are divided
            by the second. Others are decompressed, and their lines counted.

    Raises:
        ObjectNotFoundError, LocalIOError: the file is not there, or cannot be read.
        CorruptDataError: it is no op-log.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        wanted: Collection[str] | None = None,
        *,
        strict: bool = True,
        allow_truncated: bool = False,
        share: tuple[int, int] = (0, 1),
    ) -> None:
        self.path = os.fspath(path)
        self._wanted = None if wanted is None else {*wanted, "op", "start", "end", "duration_ns"}
        self._strict = strict
        self._allow_truncated = allow_truncated
        #: As given; it may change until the second block is read.
        self.share = share
        #: The columns that are unknown here.
        self.unknown: tuple[str, ...] = ()
        #: Whose the names of the columns are; see ``columns.DIALECTS``. ``jsonl`` for JSON lines.
        self.dialect = ""
        self._notes: dict[str, Note] = {}
        self._blocks = blocks(self.path, BLOCK, allow_truncated=allow_truncated)
        self._first: Block | None = None
        self._form: Table | JsonLines | None = None
        self._line = 1
        self._begin()

    @property
    def notes(self) -> list[Note]:
        """What was found so far."""
        return list(self._notes.values())

    def _begin(self) -> None:
        """Read the first line: it says what this is."""
        try:
            block = next(self._blocks, None)
        except CorruptDataError as error:
            self._note_end(error)
            block = None
        if block is None:
            if not self._allow_truncated and not self._notes:
                raise CorruptDataError("this is no op-log: it is empty", uri=self.path)
            return
        head, _, rest = block.data.partition(b"\n")
        text = head.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape").rstrip("\r")
        if text.lstrip().startswith("{"):
            names = names_of(head)
            if names is None and not block.is_unended:
                raise CorruptDataError("this is no op-log: its first line is no JSON object", uri=self.path)
            if names is not None:
                found = match(names, path=self.path)
                self._note_unknown(found)
            self.dialect = "jsonl"
            self._form = JsonLines(self._wanted)
            self._first = block
            return
        separator, names = header(text)
        found = match(names, path=self.path)
        self._note_unknown(found)
        self.dialect = found.dialect
        if self._wanted is not None and {"start", "end"} <= found.places.keys():
            self._wanted.discard("duration_ns")  # it follows
        self._form = Table(found, separator, self._wanted)
        self._line = 2
        self._first = Block(PADDING + rest + PADDING, block.is_unended) if rest else None

    def _note_unknown(self, found: Match) -> None:
        self.unknown = found.unknown
        if found.unknown:
            names = ", ".join(map(repr, found.unknown[:8]))
            self._note("unknown-columns", 1, f"columns that mean nothing here: {names}")

    def _note(self, kind: str, line: int, text: str, count: int = 1) -> None:
        before = self._notes.get(kind)
        if before is not None:
            self._notes[kind] = before._replace(times=before.times + count)
        else:
            self._notes[kind] = Note(kind, self.path, line, text, count)

    def _guarded(self, found: Iterator[Block]) -> Iterator[Block]:
        """The blocks; unless ``strict``, what is wrong with the file is noted where it ends early."""
        try:
            yield from found
        except CorruptDataError as error:
            self._note_end(error)

    def _note_end(self, error: CorruptDataError) -> None:
        if self._strict or "no op-log" in error.reason:
            raise error
        self._note("damaged" if "damaged" in error.reason else "truncated", self._line, error.reason)

    def batches(self) -> Iterator[Batch]:
        """The rows, some thousands at a time; the text is read and decompressed on another thread, unless other
        processes have shares.

        Raises:
            CorruptDataError: behind the good rows, where ``strict``: a row is none, or the file ends in the middle.
        """
        if self._form is None:
            return
        mine, _ = self.share
        if self._first is not None:
            yield from self._read(self._first, self._form) if mine == 0 else self._passed(self._first)
        source: Any = Prefetcher(self._blocks, _AHEAD) if self.share[1] == 1 else self._blocks
        with closing(source) as ahead:
            for number, block in enumerate(self._guarded(iter(ahead)), 1):
                mine, of = self.share
                yield from self._read(block, self._form) if number % of == mine else self._passed(block)

    def _passed(self, block: Block) -> tuple[()]:
        """Leave a block to who has its share."""
        self._line += block.padded.count(b"\n")
        return ()

    def _read(self, block: Block, form: Table | JsonLines) -> Iterator[Batch]:
        first = self._line
        batch, wrong, lines = form.read(block, first)
        self._line += lines
        if isinstance(form, JsonLines) and form.unknown and "unknown-columns" not in self._notes:
            self._note("unknown-columns", first, f"keys that mean nothing here: {', '.join(list(form.unknown)[:8])}")
        batch = _completed(batch)
        if block.is_unended and len(batch) and batch.lines[-1] == self._line - 1 and _is_cut(batch):
            batch = batch.taken(slice(0, -1))
            wrong.append((self._line - 1, "its last field is cut"))
        if block.is_unended and wrong and wrong[-1][0] == self._line - 1:  # half a line
            line, _ = wrong.pop()
            if not self._strict:
                self._note("truncated", line, truncated(self.path).reason)
            elif not self._allow_truncated:
                yield _before(batch, wrong)
                self._refuse(wrong)
                raise truncated(self.path)
        if wrong and self._strict:
            yield _before(batch, wrong)
            self._refuse(wrong)
        for line, text in wrong[:1]:
            self._note("bad-row", line, f"line {line} of the op-log: {text}", len(wrong))
        if len(batch):
            yield batch

    def _refuse(self, wrong: list[tuple[int, str]]) -> None:
        for line, text in wrong:
            raise CorruptDataError(f"line {line} of the op-log: {text}", uri=self.path)


def _before(batch: Batch, wrong: list[tuple[int, str]]) -> Batch:
    return batch.taken(batch.lines < wrong[0][0]) if wrong else batch


def _completed(batch: Batch) -> Batch:
    """The batch with starts, ends and durations: each follows from the other two."""
    start, end, took = batch.number("start"), batch.number("end"), batch.number("duration_ns")
    has_start, has_end, has_took = start != MISSING, end != MISSING, took != MISSING
    batch.numbers["start"] = np.where(~has_start & has_end & has_took, end - took, start)
    batch.numbers["end"] = np.where(~has_end & has_start & has_took, start + took, end)
    batch.numbers["duration_ns"] = np.where(~has_took & has_start & has_end, end - start, took)
    return batch


def _is_cut(batch: Batch) -> bool:
    """Whether the duration in the last row is not what lies between its times: digits of it are missing."""
    start, end, took = (int(batch.number(name)[-1]) for name in ("start", "end", "duration_ns"))
    return MISSING not in (start, end, took) and end >= start and 0 <= took < end - start


def read_op_log(
    path: str | os.PathLike[str], *, allow_truncated: bool = False, notes: list[Note] | None = None
) -> Iterator[dict[str, Any]]:
    """The rows of an op-log, one dictionary each, by the names in its first line.

    Args:
        path: a local file: a table with tabs or commas, or JSON lines, as this library, the Rust package, warp and
            warp-replay write them; plain, or compressed with zstd or gzip.
        allow_truncated: a log that ends in the middle, since its process still writes it or was killed, is no error.
        notes: what is wrong with the file is added to this list instead of raised, and the good rows are given:
            ``kind``, ``path``, ``line``, ``text`` and ``times`` of each kind of fault.

    Returns:
        An iterator. Columns that other programs name otherwise have our names. ``idx``, ``thread``, ``n_objects``,
        ``bytes``, ``duration_ns``, ``cat``, ``attempts`` and ``status`` are int; ``start``, ``first_byte``,
        ``last_byte`` and ``end`` nanoseconds since 1970; an empty number or time is None. All else is str, columns
        that are unknown here too. ``start``, ``end`` and ``duration_ns`` are always there.

    Raises:
        ObjectNotFoundError, LocalIOError: the file is not there, or cannot be read.
        CorruptDataError: it is no op-log; or, behind the rows that are whole, a row is none or it ends in the middle.
    """
    reader = LogReader(path, strict=notes is None, allow_truncated=allow_truncated)
    try:
        for batch in reader.batches():
            names = [column.name for column in COLUMNS if column.name in batch.numbers or column.name in batch.texts]
            names += [name for name in batch.texts if name not in names]
            yield from batch.rows([(name, name) for name in names])
    finally:
        if notes is not None:
            notes += reader.notes
