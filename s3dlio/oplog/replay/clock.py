"""Beginning things on time: a clock, sleep that ends when it should, and a process that is quiet meanwhile."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import sys
import time
from collections.abc import Iterator
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

T = TypeVar("T")

#: A longer sleep than this (nanoseconds) ends a while before its time, and a short one comes after it: a CPU that has
#: slept deeply wakes late. (Naps that halve what is left gained 10 us more, for 60 us of CPU an operation.)
_LONG = 5_000_000
_BEFORE = 1_000_000
#: A thread that computes gives the interpreter lock to one that wakes after so many seconds (Python's default is 5 ms).
_SWITCH_SECONDS = 0.0005
_PR_SET_TIMERSLACK, _PR_GET_TIMERSLACK = 29, 30


class Clock:
    """Monotonic nanoseconds. A test has one that it moves itself."""

    def now(self) -> int:
        """The present moment."""
        return time.monotonic_ns()

    def sleep_until(self, due: int) -> None:
        """Return at ``due``, and as little later as the system can do."""
        while (left := due - time.monotonic_ns()) > 0:
            time.sleep((left - _BEFORE if left > _LONG else left) / 1e9)


    def wait_for(self, queue: SimpleQueue[T], due: int | None) -> T | None:
        """Take from a queue, and wait until ``due`` for that; without, until there is something."""
        try:
            return queue.get(timeout=None if due is None else max(0, due - time.monotonic_ns()) / 1e9)
        except Empty:
            return None


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Have nothing in this process hold up a thread that wakes: what is there is taken from the garbage collector, the
    interpreter lock changes hands sooner, and timers of this thread are exact."""
    gc.collect()
    freezes = not gc.get_freeze_count()  # who has frozen objects keeps them so
    if freezes:
        gc.freeze()
    before = sys.getswitchinterval()
    sys.setswitchinterval(min(before, _SWITCH_SECONDS))
    slack = _timer_slack()
    _set_timer_slack(1 if slack else 0)
    try:
        yield
    finally:
        _set_timer_slack(slack)
        sys.setswitchinterval(before)
        if freezes:
            gc.unfreeze()


def _timer_slack() -> int:
    """How late the system may wake this thread (nanoseconds); 0 where it does not tell."""
    prctl = _prctl()
    return 0 if prctl is None else max(0, int(prctl(_PR_GET_TIMERSLACK, 0, 0, 0, 0)))


def _set_timer_slack(nanoseconds: int) -> None:
    prctl = _prctl()
    if nanoseconds and prctl is not None:
        prctl(_PR_SET_TIMERSLACK, nanoseconds, 0, 0, 0)


def _prctl() -> Any:
    if not sys.platform.startswith("linux"):
        return None
    prctl = ctypes.CDLL(None).prctl
    prctl.argtypes = (ctypes.c_int, *[ctypes.c_ulong] * 4)
    return prctl
