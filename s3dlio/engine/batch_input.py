"""The input of a batch, which its workers share: loops may wait for it, event loops that are busy may not."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

from s3dlio.engine.cancel import CancelToken
from s3dlio.stores.call import Call

#: A call, and its position in the input.
Item = tuple[int, Call[Any]]
_END: Any = object()


class SlowInput(Protocol):
    """An input whose next call may be a while in coming."""

    #: Whether it waits for the next one. Otherwise it gives None where there is none yet.
    waits: bool


def _numbered(calls: Iterable[Call[Any] | None]) -> Iterator[Item | None]:
    """``enumerate`` for an input that gives None at times."""
    position = 0
    for call in calls:
        if call is None:
            yield None
        else:
            yield position, call
            position += 1
        call = None  # while there is no next one, nothing keeps this one


class Feed:
    """The one iterator of a batch, shared by its workers: hands out (position, call)."""

    def __init__(
        self, calls: Iterable[Call[Any] | None], cancel: CancelToken, ahead: SlowInput | None = None
    ) -> None:
        self._calls: Iterator[Any] = enumerate(calls) if ahead is None else _numbered(calls)
        self._returned: list[Item] = []
        self._lock = threading.Lock()
        self._cancel = cancel
        self._ahead = ahead

    def __iter__(self) -> Iterator[Item]:
        """The calls that are left, for one worker among several; ends early when the batch is cancelled."""
        lock, cancel, calls, returned = self._lock, self._cancel, self._calls, self._returned
        while not cancel.cancelled:
            with lock:
                item = returned.pop() if returned else next(calls, None)
            if item is None:
                return
            yield item
            item = None  # while there is no next one, nothing keeps this one

    def for_lane(self, is_busy: Callable[[], bool]) -> Iterator[Item | None]:
        """The same for a lane, which must not wait for the input while it is busy: then it gets None."""
        return iter(self) if self._ahead is None else self._for_lane(self._ahead, is_busy)

    def _for_lane(self, ahead: SlowInput, is_busy: Callable[[], bool]) -> Iterator[Item | None]:
        while not self._cancel.cancelled:
            wait = not is_busy()
            item: Item | None
            try:
                item = self._returned.pop()
            except IndexError:
                item = self._next(ahead, wait)
            if item is _END:
                return
            yield item
            item = None

    def _next(self, ahead: SlowInput, wait: bool) -> Item | None:
        if not self._lock.acquire(blocking=wait):
            return None  # the other lane is not busy, and waits
        try:
            ahead.waits = wait
            item: Item | None = next(self._calls, _END)
            return item
        finally:
            self._lock.release()

    def blocking(self, waiting: bool) -> Iterator[Item]:
        """As ``iter``, until the first call of a cloud store; without ``waiting``, or of a store that waits."""
        for item in self:
            store = item[1].store
            if store.is_cloud or (store.waits and not waiting):
                self.give_back(item)
                return
            yield item
            del item, store

    def take(self) -> Item | None:
        """The next call, None when there is none or the batch was cancelled."""
        if self._cancel.cancelled:
            return None
        with self._lock:
            item: Item | None = self._returned.pop() if self._returned else next(self._calls, None)
            return item

    def give_back(self, item: Item) -> None:
        """Let another worker have the call. It takes no lock: another one may hold it and wait for the input."""
        self._returned.append(item)

    def peek(self) -> Call[Any] | None:
        """The next call, which stays where it is; None when there is none left."""
        if (item := self.take()) is None:
            return None
        self.give_back(item)
        return item[1]
