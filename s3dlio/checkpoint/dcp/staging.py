"""Staging for asynchronous saves: one copy of the state in memory, which every save uses again."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from torch.distributed.checkpoint.staging import AsyncStager, DefaultStager, StagingOptions

T = TypeVar("T")

log = logging.getLogger("s3dlio.checkpoint")

#: Added to the niceness of threads that save beside others: these get some 30 times their share of a CPU.
_NICE = 15
#: How often (seconds) a stager that waits for the last save looks whether its thread is still there.
_LOOK = 0.1
#: After so many looks it says so.
_LONG = 100


def beside(work: Callable[[], T]) -> T:
    """Do ``work`` on a thread that leaves the CPU to others, as do the threads that it starts; returns its result."""
    done: Future[T] = Future()

    def run() -> None:
        thread = threading.get_native_id()
        with contextlib.suppress(OSError):  # a sandbox may refuse it
            os.setpriority(os.PRIO_PROCESS, thread, min(19, os.getpriority(os.PRIO_PROCESS, thread) + _NICE))
        try:
            done.set_result(work())
        except BaseException as error:
            done.set_exception(error)

    thread = threading.Thread(target=run, name="s3dlio-checkpoint", daemon=True)
    thread.start()
    thread.join()
    return done.result()


class _Staged(dict[str, Any]):
    """A staged state: a dict that can be referred to weakly."""

    __slots__ = ("__weakref__",)

    def __reduce__(self) -> tuple[Any, ...]:
        return dict, (dict(self),)


class ReusedStager(AsyncStager):
    """Copies the state to host memory that it keeps: the first save allocates the copy, later ones fill it again.

    While the save before still reads the copy, :meth:`stage` waits for it. A tensor that was not there at the last save
    gets new memory, and that of one that is gone is freed.

    Args:
        shared_memory: the copy lies in memory that another process can map: for
            ``AsyncCheckpointerType.PROCESS``, which moves it there otherwise.
    """

    _synchronize_after_execute = False  # the copy is there when stage returns

    def __init__(self, shared_memory: bool = False) -> None:
        self._shared = shared_memory
        self._stager: Any = None
        self._changed = threading.Event()
        self._staged: weakref.ref[_Staged] | None = None
        self._saver: threading.Thread | None = None
        self._trainer: threading.Thread | None = None

    def stage(self, state_dict: dict[str, Any]) -> dict[str, Any]:
        """A copy of the state that nothing but the next ``stage`` changes."""
        self._wait()
        if self._stager is None:
            self._stager = DefaultStager(StagingOptions(False, self._shared, False, False))
        staged = _Staged(self._stager.stage(state_dict))
        self._trainer, self._saver = threading.current_thread(), None
        self._changed.clear()
        self._staged = weakref.ref(staged, lambda _: self._changed.set())
        return staged

    def saving(self) -> None:
        """The save of the copy runs on this thread."""
        if self._staged is not None:
            self._saver = threading.current_thread()

    @property
    def is_beside(self) -> bool:
        """Whether what is saved is the copy, on another thread than staged it."""
        return self._staged is not None and self._saver is not self._trainer

    @property
    def is_for_another(self) -> bool:
        """Whether a copy is staged, by another thread than this one."""
        return self._staged is not None and self._trainer is not threading.current_thread()

    def saved(self) -> None:
        """All of the copy was stored, or never will be."""
        self._staged = None
        self._changed.set()

    def _wait(self) -> None:
        looks = 0
        while self._staged is not None and self._staged() is not None:
            saver = self._saver
            if saver is threading.current_thread() or (saver is not None and not saver.is_alive()):
                break  # it failed, and its error still refers to the copy
            if (looks := looks + 1) == _LONG:
                log.warning("a save waits for the one before, which still needs the staged state")
            self._changed.wait(_LOOK)

    def close(self) -> None:
        """Let the copy go: it is freed when the last save has ended."""
        if self._stager is not None:
            self._stager.close()
        self._stager = self._staged = None
