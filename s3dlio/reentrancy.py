"""Calls within calls: a signal handler, a finaliser that the garbage collector runs, a sink or an observer may make any
call in the middle of any other one, on the same thread.

So locks are reentrant (``forking.ForkLock``), scratch memory belongs to an exchange and never to a thread, what the
standard library locks without that is entered once (``submit``), and finalisers hand their work to a thread that is in
the middle of nothing (``finalize_elsewhere``).
"""

from __future__ import annotations

import atexit
import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue
from typing import TypeVar

from s3dlio.forking import ForkLock, call_in_child

T = TypeVar("T")

log = logging.getLogger("s3dlio.reentrancy")

_here = threading.local()  # .submitting: this thread is within ``submit``

#: How long the end of the program waits for what finalisers have left to do (seconds).
_LAST_SECONDS = 10.0


def submit(pool: ThreadPoolExecutor, work: Callable[[], T]) -> Future[T] | None:
    """Hand work to a pool. None where this thread is in the middle of doing that: the pools of a process share a lock
    that is not reentrant, so the caller has to do the work itself.

    Raises:
        RuntimeError: the interpreter is shutting down.
    """
    if getattr(_here, "submitting", False):
        return None
    _here.submitting = True
    try:
        return pool.submit(work)
    finally:
        _here.submitting = False


_left: SimpleQueue[Callable[[], None] | None] = SimpleQueue()  # whose put may interrupt itself
_worker: threading.Thread | None = None
_lock = ForkLock()


def expect_finalizers() -> None:
    """Start the thread of ``finalize_elsewhere``. For constructors: a finaliser cannot start one."""
    global _worker
    with _lock:
        if _worker is None:
            _worker = threading.Thread(target=_finalize, name="s3dlio-finalizer", daemon=True)
            _worker.start()


def finalize_elsewhere(work: Callable[[], None]) -> None:
    """Have a thread do what a finaliser may not: send requests, tell observers, wait. Takes no lock."""
    _left.put(work)


def _finalize() -> None:
    while (work := _left.get()) is not None:
        try:
            work()
        except Exception:
            log.warning("what was dropped could not be given up", exc_info=True)
        del work  # and with it what was dropped


@call_in_child
def _renew() -> None:
    """In a forked child there is no such thread, and what it was to do is the parent's."""
    global _left, _worker
    _left, _worker = SimpleQueue(), None


@atexit.register
def _finish() -> None:
    if _worker is not None:
        _left.put(None)
        _worker.join(_LAST_SECONDS)
