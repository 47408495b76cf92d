"""Dates in the heads of answers (RFC 9110, section 5.6.7). A server may send anything."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

#: A server's clock in another year is wrong, and no reason to correct ours.
_CLOCK_YEARS = range(2000, 2200)


def moment_of(text: str | None) -> datetime | None:
    """The moment of a date; None without one, or for one that no calendar has."""
    import email.utils  # 20 ms that a first small read does without
    from datetime import UTC

    try:
        moment = email.utils.parsedate_to_datetime(text or "")
    except (ValueError, OverflowError):  # the second: a zone that is millions of years ahead
        return None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def clock_of(text: str | None) -> float | None:
    """A service's clock in seconds since 1970, from its field Date; None where that has no plausible date."""
    moment = moment_of(text)
    return moment.timestamp() if moment is not None and moment.year in _CLOCK_YEARS else None


def rfc3339(text: str | None) -> str | None:
    """``Fri, 20 Nov 2026 23:52:48 GMT`` as ``2026-11-20T23:52:48Z``; None where it is no date."""
    moment = moment_of(text)
    return None if moment is None else moment.strftime("%Y-%m-%dT%H:%M:%SZ")
