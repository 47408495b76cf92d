"""What a batch may have in flight: so many operations, as many of them as pay, and so many bytes."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from s3dlio.config.sections import TransferSettings
from s3dlio.config.sizes import shown
from s3dlio.engine.cancel import CancelToken
from s3dlio.errors import ConfigError, UnsupportedOperationError
from s3dlio.net import system
from s3dlio.net.adaptive import AdaptiveLimit, FixedLimit
from s3dlio.wording import option

#: More are taken for a mistake.
MOST_PROCESSES = 1024

if TYPE_CHECKING:
    from s3dlio.stores.call import BaseStore

log = logging.getLogger("s3dlio.engine")

#: After so many tenths of a second of waiting the log says so.
_TOLD_AFTER = 50
#: Seconds for which it is believed how many operations in flight pay.
_REMEMBERED = 60.0


def check_width(max_in_flight: Any, *aliases: Any) -> int:
    """How many operations may be in flight: ``max_in_flight``, or the last of its older names that was given.

    Raises:
        TypeError: it is no integer.
        ConfigError: it is less than 1.
    """
    if type(max_in_flight) is int and max_in_flight > 0 and aliases.count(None) == len(aliases):
        return max_in_flight
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


def several(procs: Any) -> int:
    """How many processes a call is to use beside this one; 0 where it is to run here (None, 1).

    Raises:
        TypeError: it is no integer.
        ConfigError: it is out of range.
        UnsupportedOperationError: this system has no memory that processes can share without a name.
    """
    if procs is None:
        return 0
    if isinstance(procs, bool) or not hasattr(procs, "__index__"):
        raise TypeError(f"procs must be an integer >= 1 or None, not {type(procs).__name__}")
    number = int(procs.__index__())
    if not 1 <= number <= MOST_PROCESSES:
        raise ConfigError(f"procs must be from 1 to {MOST_PROCESSES}, got {shown(number)}")
    if number > 1 and not hasattr(os, "memfd_create"):
        raise UnsupportedOperationError("several processes need Linux", hint=f"leave {option('procs')} out")
    return number if number > 1 else 0


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
        waits = 0
        with self._changed:
            while not self._fits(size):
                if cancel.cancelled:
                    return False
                self._changed.wait(0.1)  # the token has no lock to wait on, so look at it ten times a second
                waits += 1
                if waits == _TOLD_AFTER:
                    log.info("waiting for room: %d of %d bytes are in flight", self.in_flight, self.limit)
            self.in_flight += size
            return True

    def release(self, size: int) -> None:
        """Give ``size`` bytes back."""
        with self._changed:
            self.in_flight -= size
            self._changed.notify_all()


#: Makes the limit of a batch; processes of one host that do one job share it.
_adaptive: Callable[[int], AdaptiveLimit] = AdaptiveLimit


def limit_by(make: Callable[[int], AdaptiveLimit] | None) -> None:
    """Have ``make`` give batches from now on the limit for their operations in flight; None: each finds its own."""
    global _adaptive
    _adaptive = make or AdaptiveLimit


class Admission:
    """What one batch may have in flight, on its lane and in its blocking loops together.

    Args:
        width: operations, at most; on a lane requests, too, however many an operation makes.
        max_bytes: bytes that its writes hold in memory, at most; None: no limit.
        adaptive: fewer operations on the lane where more do not pay (:class:`s3dlio.net.adaptive.AdaptiveLimit`).
    """

    __slots__ = ("budget", "limit", "width")

    def __init__(self, width: int, max_bytes: int | None = None, *, adaptive: bool = True) -> None:
        self.width = width
        self.budget = None if max_bytes is None else ByteBudget(max_bytes)
        #: Of the operations on the lane; a call that blocks takes its place from there.
        self.limit = _adaptive(width) if adaptive else FixedLimit(width)

    @classmethod
    def of(cls, settings: TransferSettings, width: int, *, bounded: bool = False) -> Admission:
        """What a batch of ``width`` operations may have in flight under these settings; ``bounded``: its bytes, too."""
        return cls(width, settings.max_in_flight_bytes if bounded else None, adaptive=settings.adaptive)

    def recall(self, store: BaseStore, operation: str) -> None:
        """Begin with as many operations as the last batch of such operations has found to pay."""
        found, until = store.widths.get(operation, (0, 0.0))
        if found and system.monotonic() < until:
            self.limit.begin_with(found)

    def remember(self, store: BaseStore, operation: str) -> None:
        """Keep what this batch has found for the next one, for a minute."""
        if found := self.limit.found():
            store.widths[operation] = found, system.monotonic() + _REMEMBERED

    def part(self, width: int) -> Admission:
        """A share of the operations, and all of the bytes, for a batch that runs beside others of the same one."""
        part = Admission(width, adaptive=not isinstance(self.limit, FixedLimit))
        part.budget = self.budget
        return part
