"""How many operations a batch keeps on their way, where a service may ask it to slow down."""

from __future__ import annotations


class Pace:
    """Additive increase, multiplicative decrease (as TCP, RFC 5681) within a ceiling: half as many after an answer that
    says "slow down", one more after as many operations have ended well as are allowed at a time.

    Used by one lane, which asks before it begins an operation and tells what it sees. Services that never throttle are
    met with the whole ceiling from the first operation on.

    Args:
        ceiling: operations on their way, at most.
    """

    def __init__(self, ceiling: int) -> None:
        self.ceiling = ceiling
        self.limit = ceiling
        self._calm = 0  # operations that have ended well since the limit was changed
        self._deaf = 0  # throttled answers that belong to the burst that the limit was halved for

    def throttled(self) -> None:
        """A request was answered with "slow down". The answers to what was on its way with it count as one."""
        self._calm = 0
        if self._deaf:
            self._deaf -= 1
            return
        self._deaf = self.limit - 1
        self.limit = max(1, self.limit // 2)

    def ended_well(self) -> None:
        """An operation has succeeded."""
        self._calm += 1
        if self._calm >= self.limit:
            self._calm = self._deaf = 0
            self.limit = min(self.ceiling, self.limit + 1)
