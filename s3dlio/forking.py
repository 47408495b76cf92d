"""Forks: the one registry of what a child renews (locks, pools, SDK clients, executors, tokens), and what a fork waits
for.

Of all threads only the one that forked lives on in the child. A lock that another one held stays held there, a thread
that was to finish something never does, and sockets are shared with the parent. Whatever outlives a call and has one
of these registers here. The locks of modules that are being imported and those of system libraries cannot be replaced
from here: a fork waits until no other thread holds them (``wait_for_imports``, ``native``).
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

log = logging.getLogger("s3dlio.forking")

F = TypeVar("F", bound=Callable[[], None])


class Renewable(Protocol):
    """Something that a forked child renews."""

    def renew(self) -> None:
        """Let go of what the parent's threads hold and of what the parent's sockets are."""


class ForkLock:
    """A lock like ``threading.RLock``: a thread may take it again while it holds it, since a signal handler or a
    finaliser may run in the middle of what it guards. In a forked child it is new: a thread that held it in the parent
    does not exist there, and would never let go."""

    __slots__ = ("__weakref__", "_lock")

    def __init__(self) -> None:
        self._lock = threading.RLock()
        _locks.add(self)

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """Take the lock; whether that worked.

        Args:
            blocking: wait while another thread holds it.
            timeout: for so many seconds at most; -1: as long as it takes.
        """
        return self._lock.acquire(blocking, timeout)

    def release(self) -> None:
        """Give the lock back.

        Raises:
            RuntimeError: this thread does not hold it.
        """
        self._lock.release()

    def renew(self) -> None:
        """See :class:`Renewable`. What the thread that forked holds, in the middle of something, it holds still."""
        try:
            self._lock.release()
        except RuntimeError:  # nobody holds it, or a thread that is not here
            self._lock = threading.RLock()
        else:
            self._lock.acquire()


def renewed_in_child(holder: Renewable) -> None:
    """Have ``holder.renew()`` called in every forked child, as long as the holder lives; locks are new by then."""
    _holders.add(holder)


def call_in_child(function: F) -> F:
    """Have a function called in every forked child, after all holders are renewed. A decorator."""
    _functions.append(function)
    return function


def before_fork(function: F) -> F:
    """Have a function called in the parent before every fork; what it changes, the child has, too. A decorator."""
    _before.append(function)
    return function


_locks: weakref.WeakSet[ForkLock] = weakref.WeakSet()
_holders: weakref.WeakSet[Renewable] = weakref.WeakSet()
_functions: list[Callable[[], None]] = []
_before: list[Callable[[], None]] = []


def _renew_all() -> None:
    for lock in list(_locks):
        lock.renew()
    _call_all([holder.renew for holder in list(_holders)] + _functions)


def _call_all(functions: list[Callable[[], None]]) -> None:
    for function in functions:
        try:
            function()
        except Exception:  # the others matter as much
            log.exception("something could not be made ready for a fork, or renewed in a forked child")


class ForkBarrier:
    """Work during which other threads do not fork, for ``with``, in any number of threads.

    Args:
        patience: how long a fork waits for it (seconds).
    """

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._changed = threading.Condition()
        self._inside: dict[int, int] = {}  # thread -> how often it is in here

    def __enter__(self) -> None:
        me = threading.get_ident()
        with self._changed:
            self._inside[me] = self._inside.get(me, 0) + 1

    def __exit__(self, *_: object) -> None:
        me = threading.get_ident()
        with self._changed:
            self._inside[me] -= 1
            if not self._inside[me]:
                del self._inside[me]
                self._changed.notify_all()

    def before_fork(self) -> None:
        """Wait until no other thread is in here. None comes in until ``after_fork``."""
        me = threading.get_ident()
        self._changed.acquire()
        self._changed.wait_for(lambda: not self._inside.keys() - {me}, self._patience)

    def after_fork(self) -> None:
        """Let them in again. (Ctrl-C may have ended ``before_fork`` before it, or never let it begin; Python reports
        that, and forks.)"""
        with contextlib.suppress(RuntimeError):
            self._changed.release()

    def renew(self) -> None:
        """See :class:`Renewable`. Only this thread is left, with the identity that it had."""
        me = threading.get_ident()
        self._changed = threading.Condition()
        self._inside = {me: self._inside[me]} if me in self._inside else {}


#: Around look-ups of names and TLS handshakes: the system's resolver and OpenSSL have locks of their own. A resolver
#: may be silent for long, so a fork waits for what is quick only, such as reading files.
native = ForkBarrier(patience=1.0)


#: What this package imports, at any time: where several threads need it, one imports and the others wait.
_IMPORTED = sys.stdlib_module_names | {
    "s3dlio", "awscrt", "azure", "boto3", "botocore", "cryptography", "dotenv", "google", "google_crc32c", "numpy",
    "obstore", "requests", "tqdm", "urllib3", "zstandard",
}  # fmt: skip
#: Seconds that a fork waits for imports.
_IMPORT_PATIENCE = 30.0


def wait_for_imports() -> None:
    """Wait until no other thread imports a module that a call here may need: a child could never import it.

    Those of the program are not waited for: it may run for as long as its first module is imported.
    """
    locks: dict[str, Any] = getattr(sys.modules["_frozen_importlib"], "_module_locks", {})
    me, ends = threading.get_ident(), time.monotonic() + _IMPORT_PATIENCE
    while time.monotonic() < ends:
        held = [lock() for name, lock in locks.copy().items() if name.partition(".")[0] in _IMPORTED]
        if all(lock is None or lock.owner in (None, me) for lock in held):
            return
        time.sleep(0.001)


def _before_fork() -> None:
    _call_all(_before)
    native.before_fork()
    wait_for_imports()


def _after_fork() -> None:
    native.after_fork()


def _in_child() -> None:
    native.renew()
    _renew_all()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_in_child)
