"""Limits of a batch: the check of how many operations it may have in flight, and a budget of bytes in memory."""

from __future__ import annotations

import threading
from typing import Any

from s3dlio.config.sizes import shown
from s3dlio.engine.cancel import CancelToken
from s3dlio.errors import ConfigError


def check_width(max_in_flight: Any, *aliases: Any) -> int:
    """How many operations may be in flight: ``max_in_flight``, or the last of its older names that was given.

    Raises:
        TypeError: it is no integer.
        ConfigError: it is less than 1.
    """
    for alias in aliases:
        max_in_flight = max_in_flight if alias is None else alias
    if isinstance(max_in_flight, bool) or not hasattr(max_in_flight, "__index__"):
        raise TypeError(f"max_in_flight must be an integer >= 1, not {type(max_in_flight).__name__}")
    width = max_in_flight.__index__()
    if width < 1:
        raise ConfigError(
            f"max_in_flight must be an integer >= 1 (valid range: 1 or more), got {shown(width)}: "
            "a limit of 0 would allow no operation to start"
        )
    return int(width)


class ByteBudget:
    """A bound on the bytes in flight. What is larger than the whole budget passes alone, instead of never.

    Args:
        limit: bytes.
    """

    def __init__(self, limit: int) -> None:
        if limit < 1:
            raise ConfigError(f"the limit of bytes in flight must be at least 1, got {limit}")
        self.limit = limit
        self.in_flight = 0
        self._changed = threading.Condition()

    def _fits(self, size: int) -> bool:
        return not self.in_flight or self.in_flight + size <= self.limit

    def take(self, size: int) -> bool:
        """Take ``size`` bytes now if they fit; for an event loop, which must not wait."""
        with self._changed:
            if fits := self._fits(size):
                self.in_flight += size
            return fits

    def acquire(self, size: int, cancel: CancelToken) -> bool:
        """Take ``size`` bytes, waiting for others to be given back; False when ``cancel`` was cancelled meanwhile."""
        with self._changed:
            while not self._fits(size):
                if cancel.cancelled:
                    return False
                self._changed.wait(0.1)  # the token has no lock to wait on, so look at it ten times a second
            self.in_flight += size
            return True

    def release(self, size: int) -> None:
        """Give ``size`` bytes back."""
        with self._changed:
            self.in_flight -= size
            self._changed.notify_all()
