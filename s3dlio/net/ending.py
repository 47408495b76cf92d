"""How operations end early: awaited ones when their task is cancelled; all may still ask for requests that clean up."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, Protocol

from s3dlio.errors import TransferCancelledError

#: What a cancelled operation may take to clean up (abort its multipart upload).
GRACE_SECONDS = 10.0


class Awaited(Protocol):
    """The awaited call that a blocking operation runs in; its task may be cancelled at any time."""

    @property
    def cancelled(self) -> bool:
        """It was."""

    def check(self) -> None:
        """Raise a TransferCancelledError if it was."""

    def sleep(self, seconds: float) -> None:
        """Wait so long, or until it is."""

    def enter(self, end: Callable[[], None]) -> None:
        """Have ``end`` called when it is, by another thread, until ``leave``."""

    def leave(self, end: Callable[[], None]) -> None:
        """What ``end`` would end is over."""


#: The awaited call that this runs in; None for a blocking call.
awaited: ContextVar[Awaited | None] = ContextVar("s3dlio_awaited", default=None)


class Deadline:
    """Cancels when the time for cleaning up is over."""

    def __init__(self) -> None:
        self._ends = time.monotonic() + GRACE_SECONDS

    @property
    def cancelled(self) -> bool:
        return time.monotonic() > self._ends


class Ending:
    """The rest of an operation that is told to give up: nothing, or requests that clean up."""

    def __init__(self, steps: Any) -> None:
        self._steps = steps

    def steps(self) -> Any:
        steps = self._steps
        wanted = steps.throw(TransferCancelledError("given up because its batch was interrupted"))
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
