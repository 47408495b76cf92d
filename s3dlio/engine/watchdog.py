"""Calls that do not come back: one thread of the process looks at those that run, every few milliseconds.

Being watched costs a call nothing: its thread keeps in an attribute what it runs. After a while in which nothing runs,
the watchdog's thread sleeps.
"""

from __future__ import annotations

import logging
import threading
from queue import SimpleQueue
from typing import Protocol

from s3dlio.forking import ForkLock, renewed_in_child
from s3dlio.net import system

log = logging.getLogger("s3dlio.engine")

#: Seconds between two looks: a call that is there at two of them takes more than this.
TICK = 4e-3
#: After so many looks at nothing the thread sleeps.
_QUIET_TICKS = 25


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
        self._wake: SimpleQueue[None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._sleeps = False

    def add(self, watched: Watched) -> None:
        """Look at ``watched`` from now on."""
        self._watched.add(watched)
        if self._sleeps or self._thread is None:
            self._begin()

    def remove(self, watched: Watched) -> None:
        """Do not look at it any more; a look that has begun may end after this."""
        self._watched.discard(watched)

    def _begin(self) -> None:
        with self._lock:
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="s3dlio-watchdog", daemon=True)
                try:
                    thread.start()
                except RuntimeError:  # no more threads, or the interpreter is shutting down
                    return
                self._thread = thread
            elif self._sleeps:
                self._sleeps = False
                self._wake.put(None)

    def _run(self) -> None:
        watched, quiet = self._watched, 0
        while True:
            system.sleep(TICK)
            for each in list(watched):
                try:
                    each.look()
                except Exception:
                    log.exception("what runs could not be looked at, and is not any more")
                    watched.discard(each)
            quiet = 0 if watched else quiet + 1
            if quiet >= _QUIET_TICKS:
                self._sleeps = True
                if not watched:  # whoever adds something from now on wakes this thread
                    self._wake.get()
                self._sleeps, quiet = False, 0


#: That of the process.
watchdog = Watchdog()
