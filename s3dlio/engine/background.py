"""Threads for work that may wait for anything, such as a listing or a generator of the caller's.

They are daemon threads, kept for the next work for a while: nothing that a program waits for holds up its end.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue

from s3dlio.forking import ForkLock, renewed_in_child

log = logging.getLogger("s3dlio.engine")

#: Seconds for which a thread without work is kept.
_IDLE_SECONDS = 5.0

Work = Callable[[], None]


class Background:
    """Runs each piece of work at once, on an idle thread or a new one; there is no bound on their number."""

    def __init__(self) -> None:
        self._lock = ForkLock()
        self._idle: list[SimpleQueue[Work]] = []
        renewed_in_child(self)

    def start(self, work: Work) -> None:
        """Run ``work``, which raises nothing, on another thread.

        Raises:
            RuntimeError: no thread can be had.
        """
        with self._lock:
            box = self._idle.pop() if self._idle else None
        if box is not None:
            box.put(work)
            return
        box = SimpleQueue()
        box.put(work)  # a thread keeps its arguments
        threading.Thread(target=self._run, args=(box,), name="s3dlio-background", daemon=True).start()

    def run(self, work: Work) -> None:
        """The same; where no thread can be had, ``work`` is done here."""
        try:
            self.start(work)
        except RuntimeError:  # no more threads, or the interpreter is shutting down
            work()

    def _run(self, box: SimpleQueue[Work]) -> None:
        work = box.get()
        while True:
            try:
                work()
            except BaseException:
                log.exception("work in the background has failed")
            del work  # what it refers to is nobody's here
            with self._lock:
                self._idle.append(box)
            try:
                work = box.get(timeout=_IDLE_SECONDS)
            except Empty:
                with self._lock:
                    if box in self._idle:
                        self._idle.remove(box)
                        return
                work = box.get()  # it was taken at the last moment

    def renew(self) -> None:
        """In a forked child none of the threads exist."""
        self._idle = []


#: Those of the process.
background = Background()
