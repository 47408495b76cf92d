"""One line on a terminal that tells how far a command has come; it is drawn anew at least every second."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections import deque
from typing import TextIO

from s3dlio.figures import size as human_size

#: Seconds between two drawings: at most while something happens, and while nothing does.
_SOON, _TICK = 0.2, 1.0
#: The rate shown is that of so many seconds.
_RATE_SECONDS = 5.0
_COLUMNS = 80
#: What is left out first where the line is too narrow; the title stays.
_LEAST_FIRST = ("looked", "left", "objects", "bytes", "rate", "share")


class ProgressBar:
    """Shows what share is done, bytes, rate, objects, the time that is left, and how many names were looked at.

    Args:
        title: the verb that stands before it.
        stream: where it is drawn.
        by_objects: the share and the rate are those of the objects, because no bytes move (deletes, listings).
        looked: what was done to the names that were looked at: ``listed``, ``compared``.
        transient: the line goes when the command has ended.
    """

    def __init__(
        self, title: str, stream: TextIO, *, by_objects: bool = False, looked: str = "listed", transient: bool = False
    ) -> None:
        self.title = title
        #: Objects that are done.
        self.objects = 0
        self._stream = stream
        self._by_objects = by_objects
        self._looked = looked
        self._transient = transient
        self._bytes = self._total_objects = self._total_bytes = self._names = 0
        self._width = 0  # of what is drawn
        self._drawn = self._began = 0.0
        self._samples: deque[tuple[float, int]] = deque()  # when so much was done
        self._lock = threading.RLock()
        self._is_over = threading.Event()

    def add(self, total_objects: int, total_bytes: int) -> None:
        """That much more is to be done."""
        self._total_objects += total_objects
        self._total_bytes += total_bytes
        self._on_change()

    def advance(self, objects: int, bytes: int) -> None:
        """That much more is done."""
        self.objects += objects
        self._bytes += bytes
        self._on_change()

    def look(self, names: int) -> None:
        """So many more names were listed, or compared."""
        self._names += names
        self._on_change()

    def close(self) -> None:
        """The command has ended."""
        self._is_over.set()
        with self._lock:
            if not self._began:
                return
            if self._transient:
                self.clear()
                return
            self._draw(time.monotonic(), at_end=True)
            self._stream.write("\n")
            self._stream.flush()
            self._width = 0

    def clear(self) -> None:
        """Make room for other words; the line comes again."""
        with self._lock, contextlib.suppress(OSError, ValueError):
            if self._width:
                self._stream.write(f"\r{' ' * self._width}\r")
                self._stream.flush()
                self._width = 0

    def _on_change(self) -> None:
        now = time.monotonic()
        if not self._began:
            self._began = now
            self._samples.append((now, 0))
            threading.Thread(target=self._tick, name="s3dlio-progress", daemon=True).start()
        elif now - self._drawn < _SOON:
            return
        self._draw(now)

    def _tick(self) -> None:
        while not self._is_over.wait(_TICK):
            self._draw(time.monotonic())

    def _draw(self, now: float, *, at_end: bool = False) -> None:
        with self._lock, contextlib.suppress(OSError, ValueError):  # the terminal may have gone
            if self._is_over.is_set() and not at_end:
                return
            self._drawn = now
            done = self.objects + (self._names if not self._total_objects else 0) if self._by_objects else self._bytes
            self._samples.append((now, done))
            while len(self._samples) > 2 and now - self._samples[1][0] >= _RATE_SECONDS:
                self._samples.popleft()
            line = self.line(now, self._columns() - 1, whole=at_end)
            self._stream.write(f"\r{line.ljust(self._width)}")
            self._stream.flush()
            self._width = len(line)

    def _columns(self) -> int:
        try:
            return os.get_terminal_size(self._stream.fileno()).columns or _COLUMNS
        except (OSError, ValueError):  # no terminal
            return int(columns) if (columns := os.environ.get("COLUMNS", "")).isdecimal() and int(columns) else _COLUMNS

    def line(self, now: float, columns: int, *, whole: bool = False) -> str:
        """The line, which fits into so many columns.

        Args:
            now: the time (``time.monotonic``).
            columns: how many.
            whole: the rate is that of the whole time, and none is left.
        """
        parts = self._parts(now, whole=whole)
        for name in _LEAST_FIRST:
            line = " ".join((f"{self.title}:", *parts.values()))
            if len(line) <= columns:
                return line
            parts.pop(name, None)
        return f"{self.title}:"[:columns]

    def _parts(self, now: float, *, whole: bool) -> dict[str, str]:
        done, total = (self.objects, self._total_objects) if self._by_objects else (self._bytes, self._total_bytes)
        parts: dict[str, str] = {}
        if self._total_objects:
            # All is done when the last object is: bytes that were sent may not be there yet.
            share = (self.objects / self._total_objects) if self._by_objects or not total else done / total
            most = 100 if self.objects >= self._total_objects else 99
            parts["share"] = f"{max(0, min(most, int(100 * share))):3d}%"
            if not self._by_objects:
                parts["bytes"] = f"{human_size(self._bytes)}/{human_size(self._total_bytes)}"
        rate = self._rate(now, done, whole=whole)
        if self._total_objects and not self._by_objects:
            parts["rate"] = f"{human_size(rate)}/s"
        if self._total_objects:
            parts["objects"] = f"{self.objects}/{self._total_objects} objects"
        if self._by_objects:
            parts["rate"] = f"{rate:,.0f} objects/s"
        if not whole and rate > 0 and total > done:
            parts["left"] = f"{_clock((total - done) / rate)} left"
        if self._names > self._total_objects:
            parts = {"looked": f"{self._names:,} {self._looked}"} | parts
        return parts

    def _rate(self, now: float, done: int, *, whole: bool) -> float:
        began, before = (self._began, 0) if whole or not self._samples else self._samples[0]
        if self._by_objects and not self._total_objects:
            done = self._names
        return max(0.0, (done - before) / max(now - began, 1e-3 if whole else 1.0))


def _clock(seconds: float) -> str:
    """``0:07``, ``12:34``, ``1:02:03``."""
    minutes, rest = divmod(int(min(seconds, 359_999)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
