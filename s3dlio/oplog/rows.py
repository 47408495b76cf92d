"""The rows of an op-log: 13 columns, separated by tabs, below a line with their names.

A name or a text with a tab, a line end or a backslash has ``\\t``, ``\\n``, ``\\r`` or ``\\\\`` there: a row is one
line.
"""

from __future__ import annotations

import calendar
import re
import time
from typing import NamedTuple

from s3dlio.masking import redact
from s3dlio.types import rfc3339

COLUMNS = (
    "idx", "thread", "op", "client_id", "n_objects", "bytes", "endpoint", "file", "error", "start", "first_byte", "end",
    "duration_ns",
)  # fmt: skip
HEADER = "\t".join(COLUMNS) + "\n"

_ESCAPES = str.maketrans({"\t": "\\t", "\n": "\\n", "\r": "\\r", "\\": "\\\\"})
_ESCAPED = re.compile(r"\\([tnr\\])")
_MEANT = {"t": "\t", "n": "\n", "r": "\r", "\\": "\\"}
_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9})\d*)?(?:[Zz]|([+-])(\d\d):?(\d\d))")
_SECOND = 1_000_000_000


class Record(NamedTuple):
    """What the calling thread notes of an operation. Times are nanoseconds since 1970; ``first_byte`` is 0 where there
    was none."""

    thread: int
    client_id: str
    operation: str
    objects: int
    size: int
    uri: str
    error: str
    start: int
    first_byte: int
    end: int


class RowFormatter:
    """Makes lines of records. The text of a second is made once: most times are in the one before."""

    def __init__(self) -> None:
        self._base = -_SECOND
        self._text = ""

    def line(self, number: int, record: tuple[int, str, str, int, int, str, str, int, int, int]) -> str:
        """The row of one :class:`Record` (any tuple of its fields), with its line end."""
        thread, client_id, operation, objects, size, uri, error, start, first_byte, end = record
        if "?" in uri or "@" in uri:
            uri = redact(uri)
        if not uri.isprintable() or "\\" in uri:
            uri = escaped(uri)
        if client_id:
            client_id = escaped(client_id)
        if error:
            error = escaped(error)
        scheme, _, name = uri.partition("://")
        place = f"{scheme}://{name[: name.find('/')] if '/' in name else name}"
        base = self._base
        if base <= start <= first_byte <= end < base + _SECOND:  # a read within the second of the row before
            text = self._text
            return (
                f"{number}\t{thread}\t{operation}\t{client_id}\t{objects}\t{size}\t{place}\t{name}\t{error}\t"
                f"{text}{start - base:09}Z\t{text}{first_byte - base:09}Z\t{text}{end - base:09}Z\t{end - start}\n"
            )
        first = self._time(first_byte) if first_byte else ""
        return (
            f"{number}\t{thread}\t{operation}\t{client_id}\t{objects}\t{size}\t{place}\t{name}\t{error}\t"
            f"{self._time(start)}\t{first}\t{self._time(end)}\t{max(0, end - start)}\n"
        )

    def _time(self, epoch_ns: int) -> str:
        nanos = epoch_ns - self._base
        if not 0 <= nanos < _SECOND:
            second, nanos = divmod(epoch_ns, _SECOND)
            self._base = second * _SECOND
            self._text = rfc3339(self._base)[:20]
        return f"{self._text}{nanos:09}Z"


def escaped(text: str) -> str:
    """``text`` without tabs and line ends."""
    return text.translate(_ESCAPES)


def unescaped(text: str) -> str:
    """What ``escaped`` was given."""
    return _ESCAPED.sub(lambda found: _MEANT[found[1]], text) if "\\" in text else text


def parse_time(text: str) -> int:
    """Nanoseconds since 1970 of an RFC 3339 time.

    Raises:
        ValueError: it is none.
    """
    found = _TIME.fullmatch(text)
    if found is None:
        raise ValueError(f"{text[:40]!r} is no RFC 3339 time")
    seconds = calendar.timegm(time.strptime(found[1], "%Y-%m-%dT%H:%M:%S"))
    if found[3]:
        away = int(found[4]) * 3600 + int(found[5]) * 60
        seconds -= away if found[3] == "+" else -away
    return seconds * _SECOND + int((found[2] or "0").ljust(9, "0"))
