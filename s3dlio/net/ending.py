"""How operations end that were interrupted: each may still ask for requests that clean up, for a while."""

from __future__ import annotations

import time
from typing import Any

from s3dlio.errors import TransferCancelledError

#: What a cancelled operation may take to clean up (abort its multipart upload).
GRACE_SECONDS = 10.0


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
