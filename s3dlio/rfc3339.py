"""Moments as RFC 3339 writes them, as nanoseconds since 1970. No I/O."""

from __future__ import annotations

import re
import time

_WRITTEN = re.compile(r"(\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d)(?:\.(\d+))?(?:[Zz]|([+-]\d\d:?\d\d))?", re.ASCII)
_SECOND = 1_000_000_000


def rfc3339(epoch_ns: int) -> str:
    """``epoch_ns`` in UTC with nanoseconds."""
    seconds, nanos = divmod(epoch_ns, _SECOND)
    year, month, day, hour, minute, second, *_ = time.gmtime(seconds)
    return f"{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{nanos:09}Z"


def parse_rfc3339(text: str) -> int | None:
    """Nanoseconds since 1970; None where it is something else, or no calendar has it. Without a zone it is UTC."""
    import datetime  # which a first small read does without

    match = _WRITTEN.fullmatch(text)
    if match is None:
        return None
    moment, decimals, zone = match.groups()
    try:
        seconds = int(datetime.datetime.fromisoformat(moment + (zone or "+00:00")).timestamp())
    except ValueError:
        return None
    return seconds * _SECOND + int((decimals or "0")[:9].ljust(9, "0"))
