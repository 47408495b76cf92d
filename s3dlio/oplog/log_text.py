"""The text of a log, in blocks of whole lines: plain, or compressed with zstd or gzip, whatever its name."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import zstandard

from s3dlio.errors import CorruptDataError
from s3dlio.foreign_errors import from_exception
from s3dlio.oplog.columns import match
from s3dlio.wording import either

_ZSTD = b"\x28\xb5\x2f\xfd"
_GZIP = b"\x1f\x8b"
#: What is before and behind the lines of a block: whoever looks at eight characters at a time may look beyond them.
PAD = 40
PADDING = bytes(PAD)
#: Bytes that are read at a time.
_CHUNK = 64 << 10
#: Bytes of a block: the columns of its rows stay in the CPU's cache.
BLOCK = 1 << 20
#: No line is longer.
MAX_LINE = 1 << 20


class Block(NamedTuple):
    """Whole lines.

    Attributes:
        padded: each line with its end, between ``PADDING``.
        is_unended: the last one had none: it is the last of the file, and the file may have been cut there.
    """

    padded: bytes
    is_unended: bool

    @property
    def data(self) -> bytes:
        """The lines alone."""
        return self.padded[PAD:-PAD]


def blocks(path: str, size: int, *, allow_truncated: bool = False) -> Iterator[Block]:
    """The lines of a file, in blocks of about ``size`` bytes.

    Raises:
        ObjectNotFoundError, LocalIOError: the file is not there, or cannot be read.
        CorruptDataError: it has a line that no log has, what is compressed in it is damaged, or, behind the lines that
            are whole and unless ``allow_truncated``, ends in the middle.
    """
    waiting: list[bytes] = []
    length = 0
    failure = None
    is_whole = False
    try:
        for data in _plain(path):
            if data is None:
                is_whole = True
                break
            waiting.append(data)
            length += len(data)
            if length >= size:
                yield from _whole_lines(waiting)
                length = len(waiting[0])
                if length > MAX_LINE:
                    raise CorruptDataError("this is no op-log: it has a line of more than 1 MiB", uri=path)
    except CorruptDataError as error:
        failure = error
    yield from _whole_lines(waiting)
    if failure is not None:
        raise failure
    if not is_whole and not allow_truncated:
        raise truncated(path)
    if is_whole and waiting[0]:
        yield Block(b"".join((PADDING, waiting[0], b"\n", PADDING)), is_unended=True)


def read_lines(path: str, *, allow_truncated: bool = False) -> Iterator[str]:
    """The lines of a log without their ends, first the one with the names, where it is no JSON; errors as of
    ``read_op_log``."""
    is_first = True
    for block in blocks(path, BLOCK, allow_truncated=allow_truncated):
        for line in filter(None, block.data.split(b"\n")):
            text = line.decode("utf-8", "surrogateescape")
            if is_first:
                is_first = False
                match(names_of(line) or () if text.startswith("{") else header(text)[1], path=path)
            yield text
    if is_first and not allow_truncated:
        raise CorruptDataError("this is no op-log: it is empty", uri=path)


def header(line: str) -> tuple[str, list[str]]:
    """What separates the fields of a table, and the names in its first line."""
    separator = "\t" if "\t" in line or "," not in line else ","
    return separator, [name.strip().strip('"') for name in line.removeprefix("\ufeff").rstrip("\r").split(separator)]


def names_of(text: bytes) -> list[str] | None:
    """The keys of a line of JSON; None if it is no JSON object."""
    try:
        record = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return list(record) if isinstance(record, dict) else None


def truncated(path: str) -> CorruptDataError:
    """The error of a log that ends in the middle."""
    return CorruptDataError(
        "the op-log ends in the middle", uri=path,
        hint="its process writes it still or was killed" + either("; allow_truncated=True reads what is there", ""),
    )  # fmt: skip


def _whole_lines(waiting: list[bytes]) -> Iterator[Block]:
    """The whole lines of what waits; the rest of it stays, as one piece."""
    last = waiting.pop() if waiting else b""
    cut = last.rfind(b"\n") + 1
    if not cut:  # a long line, or the end
        last = b"".join((*waiting, last))
        waiting.clear()
        cut = last.rfind(b"\n") + 1
    if cut:
        yield Block(b"".join((PADDING, *waiting, last[:cut], PADDING)), is_unended=False)
    waiting[:] = [last[cut:]]


def _plain(path: str) -> Iterator[bytes | None]:
    """The content piece by piece; None behind the last one where the file is whole."""
    try:
        with open(path, "rb") as file:
            data = file.read(_CHUNK)
            if not data.startswith((_ZSTD, _GZIP)):
                while data:
                    yield data
                    data = file.read(_CHUNK)
                yield None
                return
            is_zstd = data.startswith(_ZSTD)
            frame = _frame(is_zstd)
            while data:
                if frame.eof:
                    frame = _frame(is_zstd)
                if found := frame.decompress(data):
                    yield found
                data = frame.unused_data if frame.eof and frame.unused_data else file.read(_CHUNK)
            if frame.eof:
                yield None
    except (zstandard.ZstdError, zlib.error) as error:
        raise CorruptDataError(f"the op-log is damaged: {error}", uri=path) from error
    except OSError as error:
        raise from_exception(error, uri=path, operation="OPLOG") from error


def _frame(is_zstd: bool) -> Any:
    return zstandard.ZstdDecompressor().decompressobj() if is_zstd else zlib.decompressobj(wbits=31)
