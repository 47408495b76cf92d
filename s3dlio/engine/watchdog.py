"""Calls that do not come back: one thread of the process looks at those that run, every few milliseconds.

Being watched costs a call next to nothing: its thread keeps in an attribute what it runs, and sets an alarm at most
every few milliseconds. The watchdog's thread wakes when that goes off, and looks on as long as something runs: for
work that is over by then it does not wake.
"""

from __future__ import annotations

import _thread
import logging
from typing import Protocol

from s3dlio.engine.alarm import Alarm, QueueAlarm, new_alarm
from s3dlio.forking import ForkLock, renewed_in_child
from s3dlio.net import system

log = logging.getLogger("s3dlio.engine")

#: Seconds between two looks: a call that is there at two of them takes more than this.
TICK = 4e-3


class Watched(Protocol):
    """What is looked at."""

    def look(self) -> None:
        """Called at every look, on the watchdog's thread; must not wait."""


class Watchdog:
    """Looks at whatever is added, until it is removed."""

    def __init__(self) -> None:
        self._lock = ForkLock()
        self.renew()
        renewed_in_child(self)

    def renew(self) -> None:
        """In a forked child there is no thread yet, and nothing that it looks at."""
        self._watched: set[Watched] = set()
        self._alarm: Alarm | QueueAlarm | None = None
        self._next = 0.0  # when the alarm goes off, or the next look is; not before this, in any case

    def add(self, watched: Watched) -> None:
        """Look at ``watched`` from now on, for the first time within two ticks."""
        self._watched.add(watched)
        now = system.perf_counter()
        if now >= self._next:
            alarm = self._alarm or self._begin()
            if alarm is not None:
                alarm.set()
                self._next = now + TICK

    def remove(self, watched: Watched) -> None:
        """Do not look at it any more; a look that has begun may end after this."""
        self._watched.discard(watched)

    def _begin(self) -> Alarm | QueueAlarm | None:
        with self._lock:
            if self._alarm is None:
                alarm = new_alarm(TICK)
                try:
                    # not of `threading`, which waits for a thread to begin
                    _thread.start_new_thread(self._run, (alarm, self._watched))
                except RuntimeError:  # no more threads, or the interpreter is shutting down
                    return None
                self._alarm = alarm
            return self._alarm

    def _run(self, alarm: Alarm | QueueAlarm, watched: set[Watched]) -> None:
        while True:
            alarm.wait()
            for each in list(watched):
                try:
                    each.look()
                except Exception:
                    log.exception("what runs could not be looked at, and is not any more")
                    watched.discard(each)
                del each  # what it works on is nobody's here
            if watched:
                now = system.perf_counter()
                alarm.set()
                self._next = now + TICK


#: That of the process.
watchdog = Watchdog()
