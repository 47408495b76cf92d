"""Rank 0 reads what is to be done, and hands each rank its part while it reads on."""

from __future__ import annotations

import heapq
import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar

from s3dlio.cluster.messenger import Messenger

T = TypeVar("T")

#: Entries of one message: at first, so that work begins at once, and later.
_FEW, _MANY = 4, 256
#: Messages that a rank has not begun yet, at most; and entries of rank 0's own that wait.
_AHEAD = 64
#: Between two looks whether the others have gone on (seconds).
_LOOK = 0.2


class Dealer(Generic[T]):
    """At rank 0: entries go to the rank that has got the least so far. A thread deals, so that a rank 0 that is busy
    holds nobody up.

    Args:
        messenger: tells the others.
        number: of this division.
        size: how many ranks there are.
        entries: what is divided; closed in the end.
        weight: of an entry; less than 0: it is for rank 0.
    """

    def __init__(
        self, messenger: Messenger, number: int, size: int, entries: Iterator[T], weight: Callable[[T], int]
    ) -> None:
        self._messenger = messenger
        self._subject = "deal", number
        self._more = "more", number
        self._entries = entries
        self._weight = weight
        self._size = size
        self._own: deque[T] = deque()
        self._changed = threading.Condition()
        self._is_over = self._leaves = False
        self._error: BaseException | None = None

    def own(self) -> Iterator[T]:
        """The entries of rank 0.

        Raises:
            BaseException: what ``entries`` raised.
        """
        thread = threading.Thread(target=self._run, name="s3dlio-dealer", daemon=True)
        thread.start()
        try:
            while True:
                with self._changed:
                    while not self._own and not self._is_over:
                        self._changed.wait()
                    if not self._own:
                        break
                    entry = self._own.popleft()
                    if len(self._own) == _AHEAD * _MANY // 2:
                        self._changed.notify_all()
                yield entry
        finally:
            with self._changed:
                self._leaves = True
                self._changed.notify_all()
            thread.join()
            self._messenger.forget(self._more)
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            self._deal()
        except BaseException as error:
            self._error = error
        finally:
            if (close := getattr(self._entries, "close", None)) is not None:
                close()
            self._messenger.tell_all(self._subject, None)
            with self._changed:
                self._is_over = True
                self._changed.notify_all()

    def _deal(self) -> None:
        loads = [(0, rank) for rank in range(self._size)]
        waiting: list[list[T]] = [[] for _ in loads]
        limits = [_FEW] * self._size
        self._ahead = [0] * self._size
        for entry in self._entries:
            if self._leaves:
                return
            rank = 0
            if (weight := self._weight(entry)) >= 0:
                load, rank = loads[0]
                heapq.heapreplace(loads, (load + weight, rank))
            part = waiting[rank]
            part.append(entry)
            if len(part) >= limits[rank] or not rank:
                waiting[rank] = []
                limits[rank] = min(_MANY, 2 * limits[rank])
                self._give(rank, part)
        for rank, part in enumerate(waiting):
            if part:
                self._give(rank, part)

    def _give(self, rank: int, part: list[T]) -> None:
        if not rank:
            with self._changed:
                while len(self._own) >= _AHEAD * _MANY and not self._leaves:
                    self._changed.wait(_LOOK)
                self._own += part
                self._changed.notify_all()
            return
        while self._messenger.look(rank, self._more):
            self._messenger.receive(rank, self._more)
            self._ahead[rank] -= 1
        while self._ahead[rank] >= _AHEAD and not self._leaves:
            self._messenger.receive(rank, self._more, until=lambda: self._leaves)
            self._ahead[rank] -= 1
        self._messenger.send(rank, self._subject, part)
        self._ahead[rank] += 1


def received(messenger: Messenger, number: int) -> Iterator[Any]:
    """At another rank: the entries that it is dealt."""
    subject: Any = ("deal", number)
    try:
        while (part := messenger.receive(0, subject)) is not None:
            messenger.send(0, ("more", number), None)
            yield from part
    finally:
        messenger.forget(subject)
