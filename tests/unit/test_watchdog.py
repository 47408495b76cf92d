"""The watchdog: it looks at what runs, sleeps while nothing does, and begins again in a forked child."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from queue import SimpleQueue

import pytest

from s3dlio.engine import watchdog as module
from s3dlio.engine.alarm import Alarm, QueueAlarm, new_alarm
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


class ByHand:
    """An alarm that the test lets go off."""

    def __init__(self, seconds: float) -> None:
        self.times_set: SimpleQueue[None] = SimpleQueue()
        self.goes_off: SimpleQueue[None] = SimpleQueue()

    def set(self) -> None:
        self.times_set.put(None)

    def wait(self) -> None:
        self.goes_off.get()


def test_its_thread_wakes_only_for_what_still_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    alarm = ByHand(0)
    monkeypatch.setattr(module, "new_alarm", lambda seconds: alarm)
    monkeypatch.setattr(module, "TICK", 1000.0)
    watchdog, short, long = Watchdog(), Running(), Running()
    for _ in range(3):
        watchdog.add(short)
        watchdog.remove(short)
    watchdog.add(long)
    assert alarm.times_set.qsize() == 1
    alarm.goes_off.put(None)
    assert long.looked_at.wait(30)
    assert not short.looked_at.is_set()
    alarm.times_set.get(timeout=30)
    alarm.times_set.get(timeout=30)  # set again for what still runs
    watchdog.remove(long)
    last = Running()
    watchdog._watched.add(last)
    alarm.goes_off.put(None)
    assert last.looked_at.wait(30)


@pytest.mark.parametrize("kind", [new_alarm, QueueAlarm])
def test_an_alarm_wakes_the_thread_that_waits_for_it(kind: Callable[[float], Alarm | QueueAlarm]) -> None:
    alarm, awake = kind(0.001), threading.Event()

    def sleeper() -> None:
        alarm.wait()
        awake.set()

    threading.Thread(target=sleeper, daemon=True).start()
    alarm.set()
    assert awake.wait(30)


def test_without_a_timer_of_the_kernel_there_is_an_alarm_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "other")
    assert isinstance(new_alarm(1), QueueAlarm)


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


def test_it_keeps_nothing_of_what_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """What ran refers to the results of a batch."""
    alarm = ByHand(0)
    monkeypatch.setattr(module, "new_alarm", lambda seconds: alarm)
    watchdog, running = Watchdog(), Running()
    watchdog.add(running)
    alarm.goes_off.put(None)
    assert running.looked_at.wait(30)
    for _ in range(2):  # by the adding, and after the look
        alarm.times_set.get(timeout=30)
    watchdog.remove(running)
    alone = weakref.ref(running)
    del running
    assert alone() is None
