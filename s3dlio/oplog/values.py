"""Values of a log's fields, one at a time: what has another form than most, and what JSON has."""

from __future__ import annotations

import json
from typing import Any

from s3dlio.oplog.columns import Column
from s3dlio.oplog.rows import DURATIONS, TIMES, parse_time

_NULLS = frozenset({"", "null", "none", "-"})
_BOUNDS = {"number": range(-(1 << 62), 1 << 64), "time": TIMES, "duration": DURATIONS}


def from_text(column: Column, scale: int, text: str) -> int | None:
    """The number, moment or duration that a field says; None if it is empty.

    Raises:
        ValueError: it says none.
    """
    text = text.strip()
    if text.lower() in _NULLS:
        return None
    if column.kind == "time" and text[4:5] == "-":
        return parse_time(text)
    try:
        found = int(text) * scale if text.lstrip("+-").isdigit() else round(float(text) * scale)
    except (ValueError, OverflowError):
        raise ValueError(_refusal(column, text)) from None
    if found not in _BOUNDS[column.kind]:
        raise ValueError(_refusal(column, text))
    return found


def from_json(column: Column, scale: int, value: Any) -> int | str | None:
    """The same of a value in JSON.

    Raises:
        ValueError: it says none.
    """
    if value is None:
        return None
    if column.kind == "text":
        if isinstance(value, list) and len(value) == 2:
            return f"{value[0]}-{value[1]}"
        return value if isinstance(value, str) else json.dumps(value)
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(_refusal(column, str(value)))
    return from_text(column, scale, value if isinstance(value, str) else repr(value))


def _refusal(column: Column, text: str) -> str:
    if column.kind == "time":
        return f"{text[:40]!r} is no RFC 3339 time and no whole number ({column.name})"
    return f"{text[:40]!r} is no number ({column.name})"
