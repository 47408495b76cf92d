"""Durations and moments as people write them."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from s3dlio.config.durations import parse_duration, parse_moment
from s3dlio.errors import ConfigError
from s3dlio.transfer.limits import NO_LIMITS, limits

DAY = 86400


@pytest.mark.parametrize(
    ("written", "seconds"),
    [("7d", 7 * DAY), ("12h", 43200), ("1h30m", 5400), ("90", 90), ("1.5h", 5400), (3600, 3600), ("2w", 14 * DAY),
     ("1M", 30 * DAY), ("1m", 60), ("1y", 365 * DAY), ("500ms", 0.5), (timedelta(minutes=2), 120)],
)  # fmt: skip
def test_durations(written: Any, seconds: float) -> None:
    assert parse_duration(written) == seconds


@pytest.mark.parametrize("written", ["", -1, "-7d", "d", "7 days", "1e9", "7x", None, True, [], "9" * 200, 1e12,
                                     float("nan")])  # fmt: skip
def test_what_is_no_duration(written: Any) -> None:
    with pytest.raises(ConfigError, match="is no duration"):
        parse_duration(written)


def test_moments() -> None:
    nine = datetime(2026, 11, 28, 9, tzinfo=UTC)
    at = int(nine.timestamp()) * 10**9
    assert parse_moment("2026-11-28T09:00:00Z") == parse_moment(nine) == parse_moment("2026-11-28T10:00+01:00") == at
    assert parse_moment("1h", now_ns=at) == at - 3600 * 10**9
    assert parse_moment("2026-11-28") == parse_moment(date(2026, 11, 28)) == parse_moment("2026-11-28 00:00")
    with pytest.raises(ConfigError, match="is no date"):
        parse_moment("2026-13-28")
    with pytest.raises(ConfigError, match="is no duration") as caught:
        parse_moment("yesterday")
    assert "2026-11-28" in str(caught.value)


def test_limits_of_size_and_age() -> None:
    assert not limits()
    assert limits() is NO_LIMITS
    some = limits(min_size="1k", max_size=2000, max_age="1d")
    now = parse_moment(0)
    assert some.refusal(1000, now) is some.refusal(2000, None) is None
    assert "less than 1000" in str(some.refusal(999, now))
    assert "more than 2000" in str(some.refusal(2001, now))
    assert "too long ago" in str(some.refusal(1500, now - 2 * DAY * 10**9))
    assert "too lately" in str(limits(min_age="1h").refusal(0, now))


@pytest.mark.parametrize(
    "bad",
    [{"min_size": "much"}, {"max_age": "old"}, {"min_size": 2, "max_size": 1}, {"min_age": "2d", "max_age": "1d"}],
)
def test_limits_that_no_object_can_meet(bad: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        limits(**bad)
