"""Durations and moments as people write them: ``7d``, ``1h30m``, ``2026-11-28``. No I/O."""

from __future__ import annotations

import math
import re
import time
from datetime import date, datetime, timedelta
from typing import Any

from s3dlio.config.sizes import shown
from s3dlio.errors import ConfigError

#: Seconds of each unit; months and years as rclone counts them.
_UNITS = {
    "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 7 * 86400.0, "M": 30 * 86400.0,
    "y": 365 * 86400.0,
}  # fmt: skip
_STEP = r"(\d+(?:\.\d+)?)(ms|s|m|h|d|w|M|y)"
_WRITTEN = re.compile(rf"(?:{_STEP})+", re.ASCII)
_NUMBER = re.compile(r"\d+(?:\.\d+)?", re.ASCII)
_DATE = re.compile(r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:?\d\d)?)?", re.ASCII)
_HINT = "write seconds, or 90s, 30m, 12h, 7d, 2w, 3M, 1y, or several: 1h30m"


def parse_duration(value: Any, *, name: str = "duration") -> float:
    """Seconds.

    Args:
        value: seconds as a number, a ``timedelta``, or text: numbers with the units ``ms s m h d w M y`` one after
            another (a month has 30 days, a year 365); without a unit, seconds.
        name: what the value is, for the message.

    Raises:
        ConfigError: it is none of these, is negative, or is longer than the calendar.
    """
    seconds = _seconds(value, name)
    if not 0 <= seconds < 1e11:
        raise ConfigError(f"{name}={shown(value)} is no duration", hint="write one from 0 to 3000 years")
    return seconds


def _seconds(value: Any, name: str) -> float:
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return float(value)
    if isinstance(value, str) and len(value) <= 100:
        text = value.strip()
        if _NUMBER.fullmatch(text):
            return float(text)
        if _WRITTEN.fullmatch(text):
            return sum(float(number) * _UNITS[unit] for number, unit in re.findall(_STEP, text))
    raise ConfigError(f"{name}={shown(value)} is no duration", hint=_HINT)


def parse_moment(value: Any, *, now_ns: int | None = None, name: str = "age") -> int:
    """A moment in nanoseconds since 1970, given as an age or as a date.

    Args:
        value: a duration (see :func:`parse_duration`) before now; a ``datetime`` or ``date``, or one as text:
            ``2026-11-28``, ``2026-11-28T09:30``, ``2026-11-28T09:30:00Z``. Without a zone it is local time.
        now_ns: the time that counts as now; default: now.
        name: what the value is, for the message.

    Raises:
        ConfigError: it is none of these.
    """
    moment = _date(value, name)
    if moment is not None:
        return moment
    try:
        seconds = parse_duration(value, name=name)
    except ConfigError as error:
        error.hint = f"{_HINT}; or a date: 2026-11-28, 2026-11-28T09:30:00Z"
        raise
    return (time.time_ns() if now_ns is None else now_ns) - int(seconds * 1_000_000_000)


def _date(value: Any, name: str) -> int | None:
    if isinstance(value, str):
        text = value.strip()
        if not _DATE.fullmatch(text):
            return None
        try:
            value = datetime.fromisoformat(text)
        except ValueError as error:
            raise ConfigError(f"{name}={value!r} is no date: {error}") from None
    elif isinstance(value, date) and not isinstance(value, datetime):
        value = datetime(value.year, value.month, value.day)
    if not isinstance(value, datetime):
        return None
    try:
        return int(value.timestamp() * 1_000_000) * 1000
    except (OverflowError, ValueError, OSError) as error:
        raise ConfigError(f"{name}={shown(value)} is no date: {error}") from None
