"""Limits of bandwidth: how they are written, when they hold, and what a bucket lets through."""

from __future__ import annotations

import math
import time
from typing import Any

import pytest

from s3dlio.client import Client
from s3dlio.config.bandwidth import Limit, Timetable, parse_timetable
from s3dlio.config.settings import Settings
from s3dlio.engine.process_batch import of_each
from s3dlio.errors import ConfigError
from s3dlio.net import system
from s3dlio.net.bandwidth import TokenBucket, bandwidth_of


def moment(text: str) -> float:
    """A local time of the week of Monday, 2026-11-23."""
    return time.mktime(time.strptime(text, "%Y-%m-%d %H:%M"))


@pytest.mark.parametrize(
    ("written", "up", "down"),
    [("10MiB", 10 << 20, 10 << 20), (1000, 1000, 1000), ("10M:1M", 10_000_000, 1_000_000), ("off:100k", None, 100_000),
     ("1MB/s", 1_000_000, 1_000_000), ("off", None, None), ("512KiB:off", 512 << 10, None)],
)  # fmt: skip
def test_one_limit(written: Any, up: int | None, down: int | None) -> None:
    table = parse_timetable(written)
    assert table.at(0.0) == table.at(time.time()) == Limit(up, down)
    assert parse_timetable(str(table)) == table


def test_the_time_of_the_day() -> None:
    table = parse_timetable("08:00,512k 19:00,10M:5M 23:00,off")
    for when, up in (("2026-11-23 08:00", 512_000), ("2026-11-23 18:59", 512_000), ("2026-11-24 19:00", 10_000_000),
                     ("2026-11-29 23:00", None), ("2026-11-29 07:59", None), ("2026-11-23 07:59", None)):  # fmt: skip
        assert table.at(moment(when)).up == up, when
    assert table.at(moment("2026-11-24 20:00")).down == 5_000_000
    assert parse_timetable(str(table)) == table


def test_the_time_of_the_week() -> None:
    table = parse_timetable("Mon-08:00,1M sat-00:00,off")
    assert table.at(moment("2026-11-23 07:59")).up is None  # as at the end of the week before
    assert table.at(moment("2026-11-23 08:00")).up == table.at(moment("2026-11-27 23:59")).up == 1_000_000
    assert table.at(moment("2026-11-28 00:00")).up is None
    assert str(table) == "Mon-08:00,1000000 Sat-00:00,off"


@pytest.mark.parametrize("written", ["", "fast", "10X", "0", "-1", "1:2:3", "08:00", "8,1M", "25:00,1M", "08:60,1M",
                                     "Xyz-08:00,1M", "08:00,1M fast", True, None, 1.5, ":", "1M:"])  # fmt: skip
def test_what_is_no_limit(written: Any) -> None:
    with pytest.raises(ConfigError):
        parse_timetable(written)
    if written not in (None, "0"):  # which say that there is none
        with pytest.raises(ConfigError):
            Client(http={"bwlimit": written})


def test_workers_divide_a_limit() -> None:
    settings = Settings.resolve(http={"bwlimit": "08:00,10M:3 20:00,off"})
    assert of_each(settings, 4).http.bwlimit == str(parse_timetable("08:00,2500000:1 20:00,off"))
    plain = Settings.resolve()
    assert of_each(plain, 4) is plain
    assert Settings.resolve(http={"bwlimit": "off"}).http.bwlimit is None


class Clock:
    """A clock that only moves when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(system, "monotonic", clock.monotonic)
    monkeypatch.setattr(system, "sleep", clock.sleep)
    return clock


def test_a_bucket_keeps_to_its_rate(clock: Clock) -> None:
    bucket = TokenBucket(parse_timetable("1MB:off"), upward=True)
    start, sent = clock.now, 0
    while sent < 2_000_000:
        while wait := bucket.wait():
            clock.sleep(wait)
        piece = min(bucket.turn, 2_000_000 - sent)
        bucket.spend(piece)
        sent += piece
    while wait := bucket.wait():
        clock.sleep(wait)
    assert clock.now - start == pytest.approx(2.0, abs=0.15)  # a tenth of a second may be gone ahead
    other = TokenBucket(parse_timetable("1MB:off"), upward=False)
    assert other.wait() == 0.0
    other.spend(1 << 40)
    assert other.wait() == 0.0


def test_a_bucket_changes_with_the_time(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    hour = moment("2026-11-23 07:59")
    monkeypatch.setattr(system, "time", lambda: hour)
    bucket = TokenBucket(parse_timetable("08:00,1000 20:00,off"), upward=True)
    assert bucket.wait() == 0.0
    bucket.spend(10**9)
    assert bucket.wait() == 0.0
    hour = moment("2026-11-23 08:00")
    clock.now += 2
    bucket.wait()
    bucket.spend(1000)
    assert bucket.wait() == pytest.approx(0.9)
    assert bucket.turn == 1024
    hour = moment("2026-11-23 20:00")
    clock.now += 1
    assert bucket.wait() == 0.0


def test_who_has_the_same_limit_shares_it() -> None:
    assert bandwidth_of("123456") is bandwidth_of("123456")
    assert bandwidth_of("123456") is not bandwidth_of("123457")
    assert isinstance(parse_timetable("1"), Timetable)
    assert math.isinf(bandwidth_of("off:1").up._rate)
