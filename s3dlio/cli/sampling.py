"""What a process does, by looking at the stacks of its threads many times a second (``--profile-run``).

A sample of a thread counts the time since the one before. Whether the thread ran or waited meanwhile its own CPU clock
tells: waiting for the network, the disk or the interpreter lock is shown as such, above the function that waits.
"""

from __future__ import annotations

import sys
import threading
import time
from collections import Counter
from types import FrameType
from typing import Self

#: Seconds between samples.
INTERVAL = 0.005
WAITING = "(waiting)"
_DEEPEST = 120
#: A thread that used less of the time than this share of it waited.
_RAN = 0.5

Stack = tuple[str, ...]


class Sampler:
    """Samples all other threads of this process while its ``with`` block runs.

    Attributes:
        seconds: by stack (the thread's name first, then functions from the outermost one on) how long it was seen.
        samples: how often was looked.
    """

    def __init__(self, interval: float = INTERVAL) -> None:
        self.seconds: Counter[Stack] = Counter()
        self.samples = 0
        self._interval = interval
        self._ended = threading.Event()
        self._cpu: dict[int, float] = {}
        self._thread = threading.Thread(target=self._run, name="profiler", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        before = time.perf_counter()
        while not self._ended.wait(self._interval):
            now = time.perf_counter()
            self.sample(now - before)
            before = now

    def sample(self, seconds: float) -> None:
        """Look at all other threads once, and count so many seconds for each of their stacks."""
        names = {thread.ident: thread.name for thread in threading.enumerate()}
        self.samples += 1
        for ident, frame in sys._current_frames().items():
            if ident != threading.get_ident():
                stack = (names.get(ident, "thread"), *_functions(frame))
                ran = self._ran(ident, seconds)
                self.seconds[stack if ran else (*stack, WAITING)] += seconds  # type: ignore[assignment]

    def _ran(self, ident: int, seconds: float) -> bool:
        """Whether a thread used its CPU since the last sample; where its clock cannot be read, it is taken to have."""
        if not hasattr(time, "pthread_getcpuclockid"):
            return True
        try:
            used = time.clock_gettime(time.pthread_getcpuclockid(ident))
        except OSError:  # it has just ended
            return True
        before, self._cpu[ident] = self._cpu.get(ident, used), used
        return used - before >= _RAN * seconds


def _functions(frame: FrameType | None) -> list[str]:
    """Names of the functions of a stack, the outermost first."""
    names: list[str] = []
    while frame is not None and len(names) < _DEEPEST:
        module = frame.f_globals.get("__name__", "?")
        names.append(f"{module}.{frame.f_code.co_qualname}")
        frame = frame.f_back
    return names[::-1]
