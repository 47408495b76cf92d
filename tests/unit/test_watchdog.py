"""The watchdog: it looks at what runs, sleeps while nothing does, and begins again in a forked child."""

from __future__ import annotations

import threading
import time

import pytest

from s3dlio.engine import watchdog as module
from s3dlio.engine.watchdog import Watchdog


class Running:
    """Something that runs."""

    def __init__(self) -> None:
        self.looked_at = threading.Event()

    def look(self) -> None:
        self.looked_at.set()


class Broken(Running):
    def look(self) -> None:
        super().look()
        raise LookupError("not today")


def test_it_looks_at_what_is_added() -> None:
    watchdog, running = Watchdog(), Running()
    watchdog.add(running)
    assert running.looked_at.wait(30)
    watchdog.remove(running)


def test_what_cannot_be_looked_at_does_not_end_it() -> None:
    watchdog, broken, running = Watchdog(), Broken(), Running()
    watchdog.add(broken)
    assert broken.looked_at.wait(30)
    watchdog.add(running)
    assert running.looked_at.wait(30)
    watchdog.remove(running)


def test_it_sleeps_while_nothing_runs_and_wakes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_QUIET_TICKS", 1)
    watchdog = Watchdog()
    for _ in range(3):
        running = Running()
        watchdog.add(running)
        assert running.looked_at.wait(30)
        watchdog.remove(running)
        until = time.monotonic() + 30
        while not watchdog._sleeps and time.monotonic() < until:
            time.sleep(0.001)
        assert watchdog._sleeps


def test_a_forked_child_has_one_of_its_own() -> None:
    watchdog, running = Watchdog(), Running()
    parents = Running()
    watchdog.add(parents)
    watched = watchdog._watched
    watchdog.renew()  # as in the child: the thread of the parent is not there
    watchdog.add(running)
    assert running.looked_at.wait(30)
    watchdog.remove(running)
    watched.discard(parents)
