"""How far a transfer has come: the observer protocol, an observer that does nothing, and a bar on a terminal."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any, Protocol, TextIO

from s3dlio.foreign_errors import of_caller


class Progress(Protocol):
    """Observes what a transfer moves. Calls come from several threads, one at a time."""

    def add(self, total_objects: int, total_bytes: int) -> None:
        """That much more is to be done; totals grow while a listing goes on."""

    def advance(self, objects: int, bytes: int) -> None:
        """That much more is done. Bytes of an object may come before the object, and may be taken back."""

    def close(self) -> None:
        """The transfer has ended."""


class NoProgress:
    """An observer that does nothing."""

    def add(self, total_objects: int, total_bytes: int) -> None:
        return None

    def advance(self, objects: int, bytes: int) -> None:
        return None

    def close(self) -> None:
        return None


class SerializedProgress:
    """Another observer, called from several threads, one call at a time."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._lock = threading.Lock()

    def add(self, total_objects: int, total_bytes: int) -> None:
        with self._lock:
            self._progress.add(total_objects, total_bytes)

    def advance(self, objects: int, bytes: int) -> None:
        with self._lock:
            self._progress.advance(objects, bytes)

    def close(self) -> None:
        with self._lock:
            self._progress.close()


class ProgressBar:
    """One line on a terminal: share done, bytes, rate, objects, objects a second, time left.

    Args:
        title: the verb that stands before the bar.
        stream: where it is drawn.
        by_objects: the share and the rate are those of the objects, because no bytes move (deletes).
    """

    def __init__(self, title: str, stream: TextIO, *, by_objects: bool = False) -> None:
        self.title = title
        self._stream = stream
        self._by_objects = by_objects
        self._bar: Any = None
        self._objects = 0
        self._total_objects = 0

    def _open(self) -> Any:
        from tqdm import tqdm  # 20 ms: only those who see a bar pay for it

        unit: dict[str, Any] = {"unit": "B", "unit_scale": True, "unit_divisor": 1024}
        if self._by_objects:
            unit = {"unit": " objects"}
        return tqdm(
            desc=self.title, total=0, file=self._stream, dynamic_ncols=True, mininterval=0.2, smoothing=0.1, **unit
        )

    def add(self, total_objects: int, total_bytes: int) -> None:
        self._bar = self._bar or self._open()
        self._total_objects += total_objects
        self._bar.total += total_objects if self._by_objects else total_bytes

    def advance(self, objects: int, bytes: int) -> None:
        self._bar = self._bar or self._open()
        self._objects += objects
        if self._by_objects:
            self._bar.update(objects)
            return
        rate = self._objects / max(self._bar.format_dict["elapsed"], 0.01)
        self._bar.set_postfix_str(f"{self._objects}/{self._total_objects} objects, {rate:.0f}/s", refresh=False)
        self._bar.update(bytes)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.refresh()
            self._bar.close()


@contextlib.contextmanager
def reporting(progress: Progress | None) -> Iterator[Progress]:
    """The observer of a transfer, which is closed when the block ends."""
    watcher: Progress = NoProgress() if progress is None else progress
    if not isinstance(watcher, NoProgress):  # the tally alone calls who counts objects only
        watcher = SerializedProgress(watcher)
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
