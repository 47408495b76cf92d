"""An alarm clock between threads: to set it wakes nobody, and costs a microsecond."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
from queue import SimpleQueue
from typing import Any

from s3dlio.net import system


class Alarm:
    """Wakes the thread that waits for it, some seconds after it was set. As a timer of the kernel (timerfd): a thread
    that is not to wake for nothing need not wake when it is set.

    Args:
        seconds: how long after.

    Raises:
        OSError: the system has none; :class:`QueueAlarm` does.
    """

    def __init__(self, seconds: float) -> None:
        create, self._set_time = _functions()
        self._fd = create(1, os.O_CLOEXEC)  # CLOCK_MONOTONIC of linux/time.h
        if self._fd < 0:
            raise OSError(ctypes.get_errno(), "no timer can be had")
        # struct itimerspec: interval (none) and value, seconds and nanoseconds each
        self._when = (ctypes.c_long * 4)(0, 0, int(seconds), int(seconds % 1 * 1e9))

    def set(self) -> None:
        """Have it go off once; one that was set goes off later."""
        self._set_time(self._fd, 0, self._when, None)

    def wait(self) -> None:
        """Wait until it goes off."""
        os.read(self._fd, 8)

    def __del__(self) -> None:
        with contextlib.suppress(AttributeError, OSError):
            os.close(self._fd)


def _functions() -> tuple[Any, Any]:
    if not sys.platform.startswith("linux") or ctypes.sizeof(ctypes.c_long) < 8:
        raise OSError("no timer is known here")
    libc = ctypes.CDLL(None, use_errno=True)
    set_time = libc.timerfd_settime
    set_time.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)
    return libc.timerfd_create, set_time


class QueueAlarm:
    """As :class:`Alarm`, anywhere: the thread wakes when it is set, and sleeps then."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._queue: SimpleQueue[None] = SimpleQueue()

    def set(self) -> None:
        self._queue.put(None)

    def wait(self) -> None:
        self._queue.get()
        system.sleep(self._seconds)


def new_alarm(seconds: float) -> Alarm | QueueAlarm:
    """An alarm that goes off so many seconds after it was set."""
    try:
        return Alarm(seconds)
    except (OSError, AttributeError):  # another system or libc, or no descriptor is left
        return QueueAlarm(seconds)
