"""When a directory has changed, so that it is worth a look: told by the kernel, or looked at again and again."""

from __future__ import annotations

import logging
import os
import time
from typing import Protocol

from s3dlio.errors import UnsupportedOperationError
from s3dlio.stores.base import ObjectStore
from s3dlio.uri import LOCAL_SCHEMES

log = logging.getLogger("s3dlio.transfer")

#: Seconds without a change after which many that come together are over; and the longest that they may go on.
QUIET, LONGEST = 0.5, 10.0


class Watch(Protocol):
    """Something to wait for."""

    def wait(self, timeout: float | None = None) -> bool:
        """Whether there may have been a change, within ``timeout`` seconds."""

    def close(self) -> None:
        """Watch no more."""


class Polling:
    """Whoever asks looks again after a while: stores tell of no changes.

    Args:
        interval: seconds.
    """

    def __init__(self, interval: float) -> None:
        self._interval = interval

    def wait(self, timeout: float | None = None) -> bool:
        """Let the time pass; there may have been a change."""
        time.sleep(self._interval if timeout is None else min(self._interval, timeout))
        return True

    def close(self) -> None:
        """Nothing to do."""


def watch(store: ObjectStore, key: str, interval: float) -> Watch:
    """A watch over a directory: of a local one by the kernel, where that can; elsewhere every ``interval`` seconds.

    Raises:
        ObjectNotFoundError: there is no such directory.
    """
    if store.scheme in LOCAL_SCHEMES:
        from s3dlio.stores.local.inotify import TreeWatch

        try:
            return TreeWatch(os.path.abspath(key))
        except UnsupportedOperationError as error:
            log.warning("%s; looked at every %g seconds", error, interval)
    return Polling(interval)


def settled(changes: Watch, timeout: float | None = None) -> bool:
    """Wait for a change, and until no more come for ``QUIET`` seconds, or for ``LONGEST`` in all."""
    if not changes.wait(timeout):
        return False
    if isinstance(changes, Polling):
        return True
    until = time.monotonic() + LONGEST
    while time.monotonic() < until and changes.wait(QUIET):
        pass
    return True
