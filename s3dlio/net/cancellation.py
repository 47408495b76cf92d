"""Cancellation: what tells a driver to stop, and how a cancelled operation cleans up with requests of its own."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from contextvars import ContextVar
from queue import Empty
from typing import Any, Protocol, TypeVar

from s3dlio.errors import TransferCancelledError
from s3dlio.net import system

T = TypeVar("T")

#: Seconds that a cancelled operation has to clean up (to abort its multipart upload).
GRACE_SECONDS = 10.0
#: The hint of a write that was given up at its end.
MAY_BE_THERE = "its last request was on its way: the object may be there"
#: So many requests are refused to an operation that has no time left; then it is closed.
_LAST_WISHES = 8


class Cancellation(Protocol):
    """What a lane looks at between events."""

    @property
    def cancelled(self) -> bool:
        """Whether the operations are to stop."""


class CancelScope(Cancellation, Protocol):
    """The awaited call that a blocking operation runs in. Its task may be cancelled at any time, by another thread."""

    def check(self) -> None:
        """Raise a TransferCancelledError if the task is cancelled."""

    def sleep(self, seconds: float) -> None:
        """Wait for ``seconds``, or until the task is cancelled."""

    def enter(self, end: Callable[[], None]) -> None:
        """Call ``end`` when the task is cancelled, from now until ``leave``."""

    def leave(self, end: Callable[[], None]) -> None:
        """Do not call ``end`` any more."""


#: The scope of the awaited call that this thread works for; None in a blocking call.
cancel_scope: ContextVar[CancelScope | None] = ContextVar("s3dlio_cancel_scope", default=None)


class AbortScope:
    """The scope of a write that may be given up from within: by a signal handler on its own thread. It also ends with
    the awaited call around it. Other calls that the handler makes are no part of it."""

    def __init__(self) -> None:
        self.cancelled = False
        self._lock = threading.RLock()
        self._ends: set[Callable[[], None]] = set()
        self._woken: Any = system.mailbox()

    def run(self, work: Callable[[CancelScope], T]) -> T:
        """Run the write in this scope; its requests are given up by ``cancel``.

        Raises:
            TransferCancelledError: they were, and it is not known whether the service had got enough of them.
        """
        around = cancel_scope.get()
        if around is not None:
            around.enter(self.cancel)
        try:
            return work(self)
        except TransferCancelledError as error:
            error.hint = error.hint or MAY_BE_THERE
            raise
        finally:
            if around is not None:
                around.leave(self.cancel)

    def cancel(self) -> None:
        """Give it up; does not wait."""
        self.cancelled = True
        with self._lock:
            for end in self._ends:
                end()
        self._woken.put(None)

    def check(self) -> None:
        if self.cancelled:
            raise TransferCancelledError("the write was aborted")

    def sleep(self, seconds: float) -> None:
        with contextlib.suppress(Empty):
            self._woken.get(timeout=seconds)

    def enter(self, end: Callable[[], None]) -> None:
        with self._lock:
            self._ends.add(end)
        self.check()

    def leave(self, end: Callable[[], None]) -> None:
        with self._lock:
            self._ends.discard(end)


class CleanupDeadline:
    """A cancellation that comes when the time for cleaning up is over."""

    def __init__(self) -> None:
        self._ends = system.monotonic() + GRACE_SECONDS

    @property
    def cancelled(self) -> bool:
        return system.monotonic() > self._ends


def abandoned(steps: Any) -> BaseException:
    """End an operation that still cleans up when the time for that is over: it gets no further request.

    Returns:
        Its error.
    """
    for _ in range(_LAST_WISHES):
        try:
            steps.throw(TransferCancelledError("given up while cleaning up after a cancellation"))
        except Exception as error:
            return error
    steps.close()
    return TransferCancelledError("given up while cleaning up after a cancellation")


class Rest:
    """What is left of an operation that has begun elsewhere.

    Args:
        steps: the operation.
        wanted: what it has asked for last.
    """

    def __init__(self, steps: Any, wanted: Any) -> None:
        self._steps = steps
        self._wanted = wanted

    def steps(self) -> Any:
        """The requests that it still asks for."""
        steps, wanted = self._steps, self._wanted
        try:
            while True:
                try:
                    answer = yield wanted
                except Exception as error:
                    wanted = steps.throw(error)
                else:
                    wanted = steps.send(answer)
        except StopIteration as stop:
            return stop.value
        finally:
            steps.close()


class Cleanup:
    """An operation that gives up: it sends no request, or only requests that clean up.

    Args:
        steps: the operation, begun.
    """

    def __init__(self, steps: Any) -> None:
        self._steps = steps

    def steps(self) -> Any:
        """The requests that clean up."""
        steps = self._steps
        wanted = steps.throw(TransferCancelledError("given up because its batch was interrupted"))
        return (yield from Rest(steps, wanted).steps())
