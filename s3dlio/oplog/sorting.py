"""Sorts op-logs by start times. Rows are written as operations end, so those that overlap are out of order."""

from __future__ import annotations

import csv
import heapq
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from itertools import chain, islice
from typing import IO, Any

import zstandard

from s3dlio.errors import CorruptDataError
from s3dlio.foreign_errors import from_exception
from s3dlio.oplog.columns import BY_NAME, match
from s3dlio.oplog.json_lines import JsonLines
from s3dlio.oplog.log_text import header, read_lines
from s3dlio.oplog.values import from_text

#: When the operation of a line began.
Start = Callable[[str], int]
#: Rows that are sorted in memory (about 60 MB); more are sorted in runs, which are merged.
_RUN = 100_000
_TIMES = ("start", "end", "duration_ns")


def sort_op_log(path: str | os.PathLike[str], output: str | os.PathLike[str] | None = None) -> None:
    """Sort an op-log by the times at which operations began. Rows stay as they are.

    Args:
        path: the log; any number of rows, in bounded memory.
        output: the sorted one; without, it takes the place of ``path``.

    Raises:
        CorruptDataError: it is no op-log, or ends in the middle; the files stay as they are then.
        S3dlioError: it cannot be read, or the sorted one not be written.
    """
    merge_op_logs([path], output if output is not None else path)


def merge_op_logs(paths: Sequence[str | os.PathLike[str]], output: str | os.PathLike[str]) -> None:
    """Make one op-log of those that several processes have written, sorted by the times at which operations began.

    Args:
        paths: the logs, all of one form; rows stay as they are.
        output: the new one, which takes the place of what is there.

    Raises:
        CorruptDataError: one is no op-log, or ends in the middle, or has other columns; no file is changed then.
        S3dlioError: one cannot be read, or the new one not be written.
    """
    target = os.fspath(output)
    hidden = os.path.join(os.path.dirname(target), f".{os.path.basename(target)}.{os.getpid()}.sorting")
    try:
        with ExitStack() as stack:
            first, lines = _all_lines([os.fspath(path) for path in paths])
            is_json = not first or first.startswith("{")
            start = _json_start(JsonLines(_TIMES)) if is_json else _field_start(first)
            runs = _runs(lines, start, stack, os.path.dirname(target) or ".")
            with open(hidden, "wb") as file, zstandard.ZstdCompressor(write_checksum=True).stream_writer(file) as out:
                if not is_json:
                    out.write(f"{first}\n".encode())
                for _, line in heapq.merge(*runs):
                    out.write(f"{line}\n".encode("utf-8", "surrogateescape"))
        os.replace(hidden, target)
    except OSError as error:
        raise from_exception(error, uri=target, operation="OPLOG") from error
    finally:
        with suppress(OSError):
            os.unlink(hidden)


def _all_lines(paths: Sequence[str]) -> tuple[str, Iterator[str]]:
    """The first line of the logs, and all that have an operation."""
    opened = [read_lines(path) for path in paths]
    firsts = [next(lines) for lines in opened]
    if firsts[0].startswith("{"):
        return firsts[0], chain(firsts, *opened)
    for path, first in zip(paths, firsts, strict=True):
        if first != firsts[0]:
            raise CorruptDataError("its columns are others than those of the first log", uri=path, operation="OPLOG")
    return firsts[0], chain(*opened)


def _runs(lines: Iterator[str], start: Start, stack: ExitStack, directory: str) -> list[Iterator[tuple[int, str]]]:
    """Each run sorted; all but the last one in a file without a name, in ``directory``."""
    runs: list[Iterator[tuple[int, str]]] = []
    while run := [(start(line), line) for line in islice(lines, _RUN)]:
        run.sort(key=lambda row: row[0])
        if len(run) < _RUN:
            runs.append(iter(run))
            break
        file: IO[bytes] = tempfile.TemporaryFile(dir=directory)  # noqa: SIM115 - the stack closes it
        stack.callback(file.close)
        with zstandard.ZstdCompressor(level=1).stream_writer(file, closefd=False) as out:
            for _, line in run:
                out.write(f"{line}\n".encode("utf-8", "surrogateescape"))
        file.seek(0)
        runs.append(_read_back(file, start))
    return runs


def _read_back(file: IO[bytes], start: Start) -> Iterator[tuple[int, str]]:
    rest = b""
    with zstandard.ZstdDecompressor().stream_reader(file, closefd=False) as reader:
        while data := reader.read(64 << 10):
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                text = line.decode("utf-8", "surrogateescape")
                yield start(text), text


def _field_start(names: str) -> Start:
    """What tells when the operation of a line began, by the first line of a table."""
    separator, found = header(names)
    columns = match(found)
    wanted = [(name, columns.places[name]) for name in _TIMES if name in columns.places]

    def start(line: str) -> int:
        try:
            fields = line.split(separator) if separator == "\t" else next(csv.reader([line]))
            return _begin({
                name: from_text(BY_NAME[name], columns.scales[name], fields[place]) for name, place in wanted
            })  # fmt: skip
        except (IndexError, ValueError, StopIteration, csv.Error):
            return 0  # a row that says nothing comes first

    return start


def _json_start(lines: JsonLines) -> Start:
    def start(line: str) -> int:
        try:
            return _begin(lines.values(json.loads(line)))
        except (ValueError, RecursionError):
            return 0

    return start


def _begin(values: dict[str, Any]) -> int:
    start, end, took = (values.get(name) for name in _TIMES)
    return int(start if start is not None else (end or 0) - (took or 0))
