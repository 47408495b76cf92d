"""Reads op-logs: compressed or not, rows by the names of their columns."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import zstandard

from s3dlio.errors import CorruptDataError
from s3dlio.foreign_errors import from_exception
from s3dlio.oplog.rows import parse_time, unescaped

_MAGIC = b"\x28\xb5\x2f\xfd"
_CHUNK = 64 << 10
#: No row is longer.
_MAX_LINE = 1 << 20
_NUMBERS = frozenset({"idx", "thread", "n_objects", "bytes", "duration_ns"})
_TIMES = frozenset({"start", "first_byte", "end"})
#: Without these columns a table is no op-log.
_NEEDED = ("op", "file", "start", "end")


def read_op_log(path: str | os.PathLike[str], *, allow_truncated: bool = False) -> Iterator[dict[str, Any]]:
    """The rows of an op-log, one dictionary each, by the names in its first line.

    Args:
        path: a local file, compressed with zstd or not.
        allow_truncated: a log that ends in the middle, since its process still writes it or was killed, is no error.

    Returns:
        An iterator. ``idx``, ``thread``, ``n_objects``, ``bytes`` and ``duration_ns`` are int; ``start``,
        ``first_byte`` and ``end`` nanoseconds since 1970; an empty number or time is None. All else is str, columns
        that are unknown here too.

    Raises:
        ObjectNotFoundError, LocalIOError: the file is not there, or cannot be read.
        CorruptDataError: it is no op-log; or, behind the rows that are whole, it ends in the middle.
    """
    lines = read_lines(os.fspath(path), allow_truncated=allow_truncated)
    names = next(lines, "").split("\t")
    for number, line in enumerate(lines, 2):
        fields = line.split("\t")
        if len(fields) != len(names):
            raise CorruptDataError(
                f"line {number} of the op-log has {len(fields)} columns instead of {len(names)}", uri=os.fspath(path)
            )
        try:
            yield {name: _value(name, field) for name, field in zip(names, fields, strict=True)}
        except ValueError as error:
            raise CorruptDataError(f"line {number} of the op-log: {error}", uri=os.fspath(path)) from error


def _value(name: str, field: str) -> Any:
    if name in _NUMBERS:
        return int(field) if field else None
    if name in _TIMES:
        return parse_time(field) if field else None
    return unescaped(field)


def read_lines(path: str, *, allow_truncated: bool = False) -> Iterator[str]:
    """The lines of an op-log without their ends, the one with the names first; errors as of ``read_op_log``."""
    rest = b""
    is_first = True
    for data in _plain(path, allow_truncated):
        *lines, rest = (rest + (data or b"\n")).split(b"\n")
        if len(rest) > _MAX_LINE:
            raise CorruptDataError("this is no op-log: it has a line of more than 1 MiB", uri=path)
        for line in filter(None, lines):
            text = line.decode("utf-8", "surrogateescape")
            if is_first:
                is_first = False
                _check_header(text, path)
            yield text
    if is_first and not allow_truncated:
        raise CorruptDataError("this is no op-log: it is empty", uri=path)


def _check_header(text: str, path: str) -> None:
    names = text.split("\t")
    missing = [name for name in _NEEDED if name not in names]
    if missing:
        raise CorruptDataError(f"this is no op-log: its first line has no column {missing[0]!r}", uri=path)


def _plain(path: str, allow_truncated: bool) -> Iterator[bytes]:
    """The content piece by piece; an empty piece behind the last one where it ends with its last line."""
    try:
        with open(path, "rb") as file:
            data = file.read(_CHUNK)
            if not data.startswith(_MAGIC):
                while data:
                    yield data
                    data = file.read(_CHUNK)
                yield b""
                return
            frame = zstandard.ZstdDecompressor().decompressobj()
            while data:
                if frame.eof:
                    frame = zstandard.ZstdDecompressor().decompressobj()
                if found := frame.decompress(data):
                    yield found
                data = frame.unused_data if frame.eof and frame.unused_data else file.read(_CHUNK)
            if frame.eof:
                yield b""
            elif not allow_truncated:
                raise CorruptDataError(
                    "the op-log ends in the middle", uri=path,
                    hint="its process writes it still or was killed; allow_truncated=True reads what is there",
                )  # fmt: skip
    except zstandard.ZstdError as error:
        raise CorruptDataError(f"the op-log is damaged: {error}", uri=path) from error
    except OSError as error:
        raise from_exception(error, uri=path, operation="OPLOG") from error
