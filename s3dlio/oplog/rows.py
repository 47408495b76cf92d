"""The fields of rows that tabs separate: a name or a text with a tab, a line end or a backslash has ``\\t``, ``\\n``,
``\\r`` or ``\\\\`` there, so that a row is one line; times are RFC 3339."""

from __future__ import annotations

import re

from s3dlio.rfc3339 import parse_rfc3339

_ESCAPES = str.maketrans({"\t": "\\t", "\n": "\\n", "\r": "\\r", "\\": "\\\\"})
_ESCAPED = re.compile(r"\\([tnr\\])")
_MEANT = {"t": "\t", "n": "\n", "r": "\r", "\\": "\\"}
#: Moments (of 1896 to 2116) and durations that logs may have, in nanoseconds: their differences and sums fit 64 bits.
TIMES = range(-(1 << 61), 1 << 62)
DURATIONS = range(-(1 << 61), 1 << 61)


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
    found = parse_rfc3339(text)
    if found is None or found not in TIMES:
        raise ValueError(f"{text[:40]!r} is no RFC 3339 time of 1896 to 2116")
    return found
