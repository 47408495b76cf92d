"""Whether the buffers of the pool have come back."""

from __future__ import annotations

import gc
import time

from s3dlio.memory.pool import default_pool

_PATIENCE = 30.0


def assert_returned(before: int) -> None:
    """At most ``before`` buffers are leased, now or soon: a lane gives back what was given up when it gets to it."""
    if default_pool().stats().leased > before:
        gc.collect()  # tracebacks of expected errors are cycles
    deadline = time.monotonic() + _PATIENCE
    while default_pool().stats().leased > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert default_pool().stats().leased <= before
