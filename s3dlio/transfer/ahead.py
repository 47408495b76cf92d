"""A plan read ahead on a thread of its own, so that transfers never wait for a listing and totals are known early."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")

_CHUNK = 64  # items handed over at once: a hand-over costs 10 us
_PATIENCE = 5.0  # seconds that an interrupted transfer waits for the listing's thread
_LOOK = 0.2  # seconds between two looks whether the reader has gone, or the transfer was stopped


class Ahead(Generic[T]):
    """An iterator whose items are made ahead, at most ``depth`` of them; an error comes at its place in the order.

    Args:
        items: read on another thread, and closed there.
        depth: how many items may wait; of plan items, each takes about 300 bytes.
        seen: told of every item when it is made, on the other thread.
        stopped: asked while nothing is there; True ends the iteration.
        chunk: how many items are handed over at once, at most: few where they are large.
    """

    def __init__(
        self,
        items: Iterator[T],
        depth: int = 10_000,
        seen: Callable[[T], None] | None = None,
        stopped: Callable[[], bool] = bool,
        chunk: int = _CHUNK,
    ) -> None:
        self._items = items
        self._seen = seen
        self._stopped = stopped
        self._queue: queue.Queue[list[T] | BaseException | None] = queue.Queue(max(1, depth // chunk))
        self._chunk_size = chunk
        self._left = threading.Event()
        self._chunk: Iterator[T] = iter(())
        self._thread = threading.Thread(target=self._read, name="s3dlio-listing", daemon=True)
        self._thread.start()

    def _read(self) -> None:
        chunk: list[T] = []
        end: BaseException | None = None
        try:
            for item in self._items:
                if self._seen is not None:
                    self._seen(item)
                chunk.append(item)
                if len(chunk) >= self._chunk_size or self._queue.empty():
                    if not self._put(chunk):
                        return
                    chunk = []
        except BaseException as error:
            end = error
        finally:
            close = getattr(self._items, "close", None)
            if close is not None:
                close()
        if chunk:
            self._put(chunk)
        self._put(end)

    def _put(self, what: list[T] | BaseException | None) -> bool:
        while not self._left.is_set():
            try:
                self._queue.put(what, timeout=_LOOK)
                return True
            except queue.Full:
                continue
        return False

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        while True:
            for item in self._chunk:
                return item
            try:
                what = self._queue.get(timeout=_LOOK)
            except queue.Empty:
                if self._stopped():
                    raise StopIteration from None
                continue
            if isinstance(what, list):
                self._chunk = iter(what)
                continue
            self._queue.put(what)  # every later call meets the same end
            if what is None:
                raise StopIteration
            raise what

    def close(self) -> None:
        """Stop reading ahead, and wait a while for the page that is being read."""
        self._left.set()
        self._thread.join(_PATIENCE)
