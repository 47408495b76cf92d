"""Cancellation: the tokens that stop the workers of a batch, and what an awaited call waits for."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

from s3dlio.errors import TransferCancelledError
from s3dlio.net.cancellation import cancel_scope

T = TypeVar("T")


class CancelToken:
    """Tells the workers of a batch to stop. Cancelling is one assignment: safe from any thread and signal handler."""

    __slots__ = ("cancelled", "reason")

    def __init__(self) -> None:
        self.cancelled = False
        self.reason = ""

    def cancel(self, reason: str = "cancelled") -> None:
        """Ask to stop; the first reason stays."""
        if not self.cancelled:
            self.reason = reason
            self.cancelled = True

    def check(self) -> None:
        """Raise if the batch was cancelled.

        Raises:
            TransferCancelledError: it was.
        """
        if self.cancelled:
            raise TransferCancelledError(self.reason)


class AwaitToken(CancelToken):
    """The token of an awaited call, which is the :class:`CancelScope` of its threads: cancelling it also ends their
    waiting."""

    __slots__ = ("_changed", "_ends")

    def __init__(self) -> None:
        super().__init__()
        self._changed = threading.Condition()
        self._ends: set[Callable[[], None]] = set()

    def cancel(self, reason: str = "cancelled") -> None:
        super().cancel(reason)
        with self._changed:
            for end in self._ends:
                end()
            self._changed.notify_all()

    def sleep(self, seconds: float) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self.cancelled, seconds)

    def enter(self, end: Callable[[], None]) -> None:
        with self._changed:
            self.check()
            self._ends.add(end)

    def leave(self, end: Callable[[], None]) -> None:
        with self._changed:
            self._ends.discard(end)


def surrounding_token() -> AwaitToken | None:
    """The token of the awaited call that this runs in; cancelling its task cancels it."""
    token = cancel_scope.get()
    assert token is None or isinstance(token, AwaitToken)
    return token


def cancelled_by(token: AwaitToken, work: Callable[[], T]) -> T:
    """Run ``work``; its requests are given up and its batches stop when ``token`` is cancelled."""
    before = cancel_scope.set(token)
    try:
        return work()
    finally:
        cancel_scope.reset(before)
