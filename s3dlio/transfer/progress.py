"""How far a transfer has come: the observer protocol, and an observer that does nothing."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Protocol

from s3dlio.foreign_errors import of_caller


class Progress(Protocol):
    """Observes what a transfer moves. Calls come from several threads, one at a time."""

    def add(self, total_objects: int, total_bytes: int) -> None:
        """That much more is to be done; totals grow while a listing goes on."""

    def advance(self, objects: int, bytes: int) -> None:
        """That much more is done. Bytes of an object may come before the object, and may be taken back."""

    def close(self) -> None:
        """The transfer has ended."""


class Watcher(Progress, Protocol):
    """An observer that also hears of names that were listed or compared, of which not all are to be transferred."""

    def look(self, names: int) -> None:
        """So many more."""


class NoProgress:
    """An observer that does nothing."""

    def look(self, names: int) -> None:
        return None

    def add(self, total_objects: int, total_bytes: int) -> None:
        return None

    def advance(self, objects: int, bytes: int) -> None:
        return None

    def close(self) -> None:
        return None


class SerializedProgress:
    """Another observer, called from several threads, one call at a time; its ``look`` only if it has one."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._look: Callable[[int], None] | None = getattr(progress, "look", None)
        self._lock = threading.Lock()

    def look(self, names: int) -> None:
        if self._look is not None:
            with self._lock:
                self._look(names)

    def add(self, total_objects: int, total_bytes: int) -> None:
        with self._lock:
            self._progress.add(total_objects, total_bytes)

    def advance(self, objects: int, bytes: int) -> None:
        with self._lock:
            self._progress.advance(objects, bytes)

    def close(self) -> None:
        with self._lock:
            self._progress.close()


@contextlib.contextmanager
def reporting(progress: Progress | None) -> Iterator[Watcher]:
    """The observer of a transfer, which is closed when the block ends."""
    if progress is None:
        watcher: Watcher = NoProgress()
    else:  # the tally alone calls who counts objects only
        watcher = progress if isinstance(progress, NoProgress) else SerializedProgress(progress)
    try:
        yield watcher
    finally:
        watcher.close()


def byte_meter(progress: Progress) -> Callable[[int], None] | None:
    """Reports bytes to ``progress`` while they pass; None where nobody watches."""
    if isinstance(progress, NoProgress):
        return None

    def tell(count: int) -> None:
        try:
            progress.advance(0, count)
        except Exception as error:
            raise of_caller(error)  # noqa: B904 - it is the same

    return tell
