"""The fields of rows that tabs separate: a name or a text with a tab, a line end or a backslash has ``\\t``, ``\\n``,
``\\r`` or ``\\\\`` there, so that a row is one line; times are RFC 3339."""

from __future__ import annotations

import calendar
import re
import time

_ESCAPES = str.maketrans({"\t": "\\t", "\n": "\\n", "\r": "\\r", "\\": "\\\\"})
_ESCAPED = re.compile(r"\\([tnr\\])")
_MEANT = {"t": "\t", "n": "\n", "r": "\r", "\\": "\\"}
_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9})\d*)?(?:[Zz]|([+-])(\d\d):?(\d\d))")
_SECOND = 1_000_000_000


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
