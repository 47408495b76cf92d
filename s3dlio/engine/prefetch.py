"""Prefetching: an iterator is read ahead on another thread, so that calls in flight never wait for a listing."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from s3dlio.engine.background import background

T = TypeVar("T")

log = logging.getLogger("s3dlio.engine")

_LEAVE_SECONDS = 5.0  # how long an interrupted transfer waits for the listing's thread
_TOLD_AFTER = 25  # looks in vain after which the log says so
_LOOK_SECONDS = 0.2  # between two looks whether the reader has gone, or the transfer was stopped


class Prefetcher(Generic[T]):
    """An iterator whose items are read ahead, at most ``depth`` of them; an error comes at its place in the order.

    Items pass through a deque, without a lock; only who has to wait takes one.

    Args:
        items: read on another thread, and closed there.
        depth: how many items may wait; of plan items, each takes about 300 bytes.
        seen: called with every item when it is read, on the other thread.
        stopped: asked while nothing is there; True ends the iteration.
    """

    def __init__(
        self,
        items: Iterator[T],
        depth: int = 10_000,
        seen: Callable[[T], None] | None = None,
        stopped: Callable[[], bool] = bool,
    ) -> None:
        self._items = items
        self._depth = max(1, depth)
        self._seen = seen
        self._stopped = stopped
        self._ready: deque[T] = deque()
        self._ended = False
        self._error: BaseException | None = None
        self._left = False
        self._changed = threading.Condition()
        self._waiting = 0
        #: Whether the reader waits while nothing is there. Otherwise it gets None: an event loop with requests in
        #: flight must not wait.
        self.waits = True
        background.start(self._read)

    def _read(self) -> None:
        ready, seen, depth = self._ready, self._seen, self._depth
        try:
            for item in self._items:
                if seen is not None:
                    seen(item)
                ready.append(item)
                del item  # while the next one is made, this one is the reader's alone
                if self._waiting:
                    self._notify()
                while len(ready) >= depth and not self._left:
                    self._wait(lambda: len(ready) < depth or self._left)
                if self._left:
                    return
        except BaseException as error:
            self._error = error
        finally:
            self._close_items()
            self._ended = True
            self._notify()

    def _close_items(self) -> None:
        close = getattr(self._items, "close", None)
        try:
            if close is not None:
                close()
        except BaseException as error:  # the reader waits for the end
            self._error = self._error or error

    def _notify(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def _wait(self, over: Callable[[], bool]) -> None:
        """Wait for the other side, not for long. It looks at the counter after each step, and this at the state after
        counting itself, so that none misses the other."""
        with self._changed:
            self._waiting += 1
            try:
                self._changed.wait_for(over, _LOOK_SECONDS)
            finally:
                self._waiting -= 1

    def __iter__(self) -> Iterator[T | None]:
        return self

    def __next__(self) -> T | None:
        waits = 0
        while True:
            try:
                item = self._ready.popleft()
            except IndexError:
                if self._ended and not self._ready:
                    break
                if not self.waits:
                    return None
                waits += 1
                if waits == _TOLD_AFTER:
                    log.info("waiting for the next item: its listing, or generator, has given none for a while")
                self._wait(lambda: bool(self._ready) or self._ended)
                if not self._ready and self._stopped():
                    raise StopIteration from None
            else:
                if self._waiting:
                    self._notify()
                return item
        if self._error is not None:
            raise self._error
        raise StopIteration

    def close(self) -> None:
        """Stop reading ahead, and wait a while for the page that is being read."""
        self._left = True
        self._notify()
        with self._changed:
            self._changed.wait_for(lambda: self._ended, _LEAVE_SECONDS)
