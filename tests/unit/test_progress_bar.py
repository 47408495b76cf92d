"""The line that tells how far a command is: what it says, at any width, and that it is drawn while nothing ends."""

from __future__ import annotations

import io
import threading
import time

import pytest

from s3dlio.cli import progress_bar
from s3dlio.cli.progress_bar import ProgressBar


class Screen(io.StringIO):
    """A terminal that tells when it was drawn on."""

    def __init__(self) -> None:
        super().__init__()
        self.drawn = threading.Semaphore(0)

    def flush(self) -> None:
        super().flush()
        self.drawn.release()


def half_done(**options: bool) -> ProgressBar:
    bar = ProgressBar("DOWNLOAD", io.StringIO(), **options)
    bar.add(10, 4 << 30)
    bar.advance(0, 3 << 30)
    bar.advance(5, -(1 << 30))
    return bar


def at(bar: ProgressBar, seconds: float, columns: int, *, whole: bool = False) -> str:
    return bar.line(bar._began + seconds, columns, whole=whole)


def test_it_says_what_is_done_in_binary_units() -> None:
    bar = half_done()
    assert at(bar, 2, 100, whole=True) == "DOWNLOAD:  50% 2 GiB/4 GiB 1 GiB/s 5/10 objects"
    bar.close()


@pytest.mark.parametrize("columns", [1, 9, 20, 39, 40, 59, 60, 79, 200])
def test_it_fits_into_the_width(columns: int) -> None:
    bar = half_done()
    bar.look(12_000_000)
    line = at(bar, 1000, columns)
    assert len(line) <= columns
    assert "\n" not in line
    if columns >= 39:
        assert line.startswith("DOWNLOAD: ")
        assert " 50% " in f"{line} "
        assert "/s" in line
    if columns >= 59:
        assert "2 GiB/4 GiB" in line
    bar.close()


def test_it_is_not_done_before_the_last_object_is() -> None:
    bar = ProgressBar("UPLOAD", io.StringIO())
    bar.add(1, 100)
    bar.advance(0, 100)
    assert " 99% " in at(bar, 1, 100)
    bar.advance(1, 0)
    assert "100% " in at(bar, 1, 100)
    bar.close()


def test_what_is_compared_or_listed_is_told() -> None:
    bar = ProgressBar("SYNC", io.StringIO(), looked="compared")
    bar.look(1234)
    assert at(bar, 1, 100) == "SYNC: 1,234 compared"
    bar.add(2, 10)
    assert at(bar, 1, 100, whole=True) == "SYNC: 1,234 compared   0% 0 B/10 B 0 B/s 0/2 objects"
    bar.close()
    listing = ProgressBar("LIST", io.StringIO(), by_objects=True)
    listing.look(3000)
    assert at(listing, 2, 100, whole=True) == "LIST: 3,000 listed 1,500 objects/s"
    listing.close()


def test_deletes_count_objects() -> None:
    bar = ProgressBar("DELETE", io.StringIO(), by_objects=True)
    bar.add(4, 0)
    bar.advance(1, 0)
    assert at(bar, 1, 100, whole=True) == "DELETE:  25% 1/4 objects 1 objects/s"
    bar.close()


def test_it_is_drawn_again_while_no_object_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress_bar, "_TICK", 0.01)
    screen = Screen()
    bar = ProgressBar("GET", screen)
    bar.add(1, 100)
    for _ in range(5):
        assert screen.drawn.acquire(timeout=10)
    bar.close()
    assert screen.getvalue().endswith("\n")
    assert screen.getvalue().count("\r") >= 5


def test_a_shorter_line_leaves_nothing_of_a_longer_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress_bar, "_SOON", 0.0)
    screen = io.StringIO()
    bar = ProgressBar("SYNC", screen, looked="compared")
    monkeypatch.setenv("COLUMNS", "100")
    bar.look(1)
    bar.add(1, 1 << 20)
    monkeypatch.setenv("COLUMNS", "20")
    bar.advance(0, 1)
    wide, narrow = screen.getvalue().split("\r")[-2:]
    assert len(narrow) == len(wide)
    assert len(narrow.rstrip()) < 20
    bar.clear()
    assert screen.getvalue().endswith(f"\r{' ' * len(narrow.rstrip())}\r")
    bar.close()


def test_the_rate_is_that_of_the_last_seconds() -> None:
    bar = ProgressBar("GET", io.StringIO())
    bar.add(2, 200)
    bar.advance(0, 100)
    began = bar._began
    for second in range(1, 10):
        bar._draw(began + second)
    assert " 0 B/s " in bar.line(began + 10, 100)
    bar.close()


def test_nothing_happened_nothing_is_drawn() -> None:
    screen = io.StringIO()
    ProgressBar("GET", screen).close()
    assert screen.getvalue() == ""


def test_its_thread_ends_with_it() -> None:
    bar = half_done()
    bar.close()
    until = time.monotonic() + 10
    while any(thread.name == "s3dlio-progress" for thread in threading.enumerate()):
        assert time.monotonic() < until
