"""Sorts op-logs by start times. Rows are written as operations end, so those that overlap are out of order."""

from __future__ import annotations

import heapq
import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from itertools import islice
from typing import IO

import zstandard

from s3dlio.foreign_errors import from_exception
from s3dlio.oplog.log_text import read_lines
from s3dlio.oplog.rows import parse_time

#: Rows that are sorted in memory (about 60 MB); more are sorted in runs, which are merged.
_RUN = 100_000


def sort_op_log(path: str | os.PathLike[str], output: str | os.PathLike[str] | None = None) -> None:
    """Sort an op-log by the times at which operations began. Rows stay as they are.

    Args:
        path: the log; any number of rows, in bounded memory.
        output: the sorted one; without, it takes the place of ``path``.

    Raises:
        CorruptDataError: it is no op-log, or ends in the middle; the files stay as they are then.
        S3dlioError: it cannot be read, or the sorted one not be written.
    """
    source = os.fspath(path)
    target = os.fspath(output if output is not None else path)
    hidden = os.path.join(os.path.dirname(target), f".{os.path.basename(target)}.{os.getpid()}.sorting")
    try:
        with ExitStack() as stack:
            lines = read_lines(source)
            header = next(lines)
            runs = _runs(lines, header.split("\t").index("start"), stack, os.path.dirname(target) or ".")
            with open(hidden, "wb") as file, zstandard.ZstdCompressor(write_checksum=True).stream_writer(file) as out:
                out.write(f"{header}\n".encode())
                for _, line in heapq.merge(*runs):
                    out.write(f"{line}\n".encode("utf-8", "surrogateescape"))
        os.replace(hidden, target)
    except OSError as error:
        raise from_exception(error, uri=target, operation="OPLOG") from error
    finally:
        with suppress(OSError):
            os.unlink(hidden)


def _runs(lines: Iterator[str], column: int, stack: ExitStack, directory: str) -> list[Iterator[tuple[int, str]]]:
    """Each run sorted; all but the last one in a file without a name, in ``directory``."""
    runs: list[Iterator[tuple[int, str]]] = []
    while run := [(_start(line, column), line) for line in islice(lines, _RUN)]:
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
        runs.append(_read_back(file, column))
    return runs


def _read_back(file: IO[bytes], column: int) -> Iterator[tuple[int, str]]:
    rest = b""
    with zstandard.ZstdDecompressor().stream_reader(file, closefd=False) as reader:
        while data := reader.read(64 << 10):
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                text = line.decode("utf-8", "surrogateescape")
                yield _start(text, column), text


def _start(line: str, column: int) -> int:
    try:
        return parse_time(line.split("\t", column + 1)[column])
    except (IndexError, ValueError):
        return 0  # a row that says nothing comes first
