"""How many operations a batch has in flight, when a service may throttle it."""

from __future__ import annotations


class AdaptiveLimit:
    """Additive increase, multiplicative decrease (as TCP, RFC 5681) below a ceiling: half as many after a throttled
    request, one more after as many operations have succeeded as may be in flight.

    One lane uses it: the lane reads ``current`` before it begins an operation and reports what happens. A service that
    never throttles gets the whole ceiling from the first operation on.

    Args:
        ceiling: operations in flight, at most.
    """

    def __init__(self, ceiling: int) -> None:
        self.ceiling = ceiling
        #: Operations that may be in flight now.
        self.current = ceiling
        self._successes = 0  # operations that have succeeded since the limit was changed
        self._ignored = 0  # throttled answers yet to come that belong to the burst for which the limit was halved

    def throttled(self) -> None:
        """A request was throttled. The answers to all requests that were in flight with it count as one."""
        self._successes = 0
        if self._ignored:
            self._ignored -= 1
            return
        self._ignored = self.current - 1
        self.current = max(1, self.current // 2)

    def succeeded(self) -> None:
        """An operation has succeeded."""
        self._successes += 1
        if self._successes >= self.current:
            self._successes = self._ignored = 0
            self.current = min(self.ceiling, self.current + 1)
