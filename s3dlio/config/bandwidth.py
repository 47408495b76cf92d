"""Limits of bandwidth, and the times of the week at which they hold: what ``http.bwlimit`` says. No I/O.

====================================  ==========================================================================
``10MiB``                             so many bytes a second, each way
``10MB:1MB``                          up, down
``off:1MB``                           no limit up
``08:00,512k 19:00,10M 23:00,off``    from these times of the day on; before the first, as of the last
``Mon-08:00,512k Sat-00:00,off``      from these times of the week on
====================================  ==========================================================================
"""

from __future__ import annotations

import bisect
import re
import time
from collections.abc import Iterator
from typing import Any

from s3dlio.config.sizes import format_size, parse_size, shown
from s3dlio.errors import ConfigError
from s3dlio.records import Record

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DAY = 24 * 60  # minutes
_TIME = re.compile(r"(?:([a-z]{3})[a-z]*-)?(\d\d?):(\d\d)", re.IGNORECASE | re.ASCII)
_HINT = "write 10MiB, or 10MB:1MB (up:down), or times: '08:00,512k 19:00,10M 23:00,off'"


class Limit(Record):
    """Bytes a second that go up and come down at most; None: any number."""

    up: int | None = None
    down: int | None = None

    def __str__(self) -> str:
        up, down = ("off" if rate is None else format_size(rate) for rate in (self.up, self.down))
        return up if up == down else f"{up}:{down}"


class Timetable(Record):
    """Which limit holds when.

    Args:
        entries: the minute of the week at which each limit begins (0: Monday, 00:00, local time), in order; one that
            begins at no time holds always.
    """

    entries: tuple[tuple[int, Limit], ...]

    def at(self, moment: float) -> Limit:
        """The limit at a moment, in seconds since 1970."""
        local = time.localtime(moment)
        minute = (local.tm_wday * 24 + local.tm_hour) * 60 + local.tm_min
        begins = [begin for begin, _ in self.entries]
        return self.entries[bisect.bisect_right(begins, minute) - 1][1]

    def divided(self, number: int) -> Timetable:
        """What each of ``number`` processes may use, so that all of them keep to these limits."""

        def part(rate: int | None) -> int | None:
            return None if rate is None else max(1, rate // number)

        return Timetable(tuple((begin, Limit(part(limit.up), part(limit.down))) for begin, limit in self.entries))

    def __str__(self) -> str:
        """As :func:`parse_timetable` understands it."""
        if len(self.entries) == 1:
            return str(self.entries[0][1])
        return " ".join(
            f"{_DAYS[begin // _DAY].title()}-{begin % _DAY // 60:02}:{begin % 60:02},{limit}"
            for begin, limit in self.entries
        )


def parse_timetable(value: Any, *, name: str = "bwlimit") -> Timetable:
    """What a limit says; see the module.

    Args:
        value: text, or bytes a second as a number.
        name: what the value is, for the message.

    Raises:
        ConfigError: it cannot be understood.
    """
    words = str(value).split() if isinstance(value, int | str) and not isinstance(value, bool) else []
    if not words or len(words) > 1000:
        raise ConfigError(f"{name}={shown(value)} is no limit of bandwidth", hint=_HINT)
    if len(words) == 1 and "," not in words[0]:
        return Timetable(((0, _limit(words[0], name)),))
    found: dict[int, Limit] = {}
    for word in words:
        begin, comma, limit = word.partition(",")
        if not comma:
            raise ConfigError(f"'{word}' in {name} has no time", hint=_HINT)
        given = _limit(limit, name)
        found |= dict.fromkeys(_minutes(begin, name), given)
    return Timetable(tuple(sorted(found.items(), key=lambda entry: entry[0])))


def _minutes(text: str, name: str) -> Iterator[int]:
    """The minutes of the week that a time means: one, or without a day one of each."""
    match = _TIME.fullmatch(text)
    day = match[1].lower() if match is not None and match[1] else None
    if match is None or int(match[2]) > 23 or int(match[3]) > 59 or (day is not None and day not in _DAYS):
        raise ConfigError(f"'{text}' in {name} is no time", hint="write 08:00, or Mon-08:00")
    minute = int(match[2]) * 60 + int(match[3])
    for number in range(7) if day is None else (_DAYS.index(day),):
        yield number * _DAY + minute


def _limit(text: str, name: str) -> Limit:
    up, colon, down = text.partition(":")
    return Limit(_rate(up, name), _rate(down if colon else up, name))


def _rate(text: str, name: str) -> int | None:
    if text.lower() == "off":
        return None
    try:
        return parse_size(text.removesuffix("/s"), name=name, minimum=1)
    except ConfigError as error:
        raise ConfigError(f"'{text}' in {name} is no number of bytes a second", hint=_HINT) from error
