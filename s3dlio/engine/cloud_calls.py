"""Calls of cloud stores on an event loop: the caller's. What blocks among them runs beside, on threads."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from itertools import chain
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from s3dlio.engine.admission import Admission, ByteBudget
from s3dlio.engine.batch_input import Feed, Item
from s3dlio.engine.blocking_calls import Done, run_one
from s3dlio.engine.cancel import CancelToken
from s3dlio.engine.executor import BaseExecutor, Helpers, aside, reads
from s3dlio.stores.call import Call

if TYPE_CHECKING:
    from s3dlio.net.lane import Lane


def run_lane(feed: Feed, admission: Admission, on_done: Done, cancel: CancelToken, executor: BaseExecutor) -> None:
    """Run the calls on a lane on the caller's thread. Where that is busy with large bodies, other lanes help."""
    from s3dlio.net.lane import Lane

    if (first := feed.peek()) is None:
        return
    store, operation = first.store, first.operation
    del first  # it holds a payload
    admission.recall(store, operation)
    blocking = _BlockingCalls(admission, on_done, cancel, executor)
    lane = Lane(
        window=admission.width, cancel=cancel, limit=admission.limit, spare=store.spare, aside=aside, reads=reads
    )
    with executor.helpers(blocking.run, cancel) as helpers:
        blocking.helpers = helpers
        try:
            if admission.budget is None:
                lane.run(_plain(feed, lane, blocking, on_done, cancel), on_done)
            else:
                calls = _Budgeted(feed, blocking, on_done, cancel, admission.budget)
                lane.run(calls, calls.done)
            blocking.drain()
            admission.remember(store, operation)
        finally:
            blocking.end()


def run_cloud(calls: Iterable[Call[Any]], admission: Admission, on_done: Done, cancel: CancelToken) -> None:
    """The same for calls of cloud stores alone that hold no memory: nothing is made here for any other."""
    from s3dlio.net.lane import Lane

    items: Iterator[Item] = _numbered(calls, cancel)
    if cancel.cancelled or (first := next(items, None)) is None:
        return
    store, operation = first[1].store, first[1].operation
    items = chain([first], items)
    del first  # what it refers to is the lane's
    admission.recall(store, operation)
    lane = Lane(
        window=admission.width, cancel=cancel, limit=admission.limit, spare=store.spare, aside=aside, reads=reads
    )
    with Helpers(cancel):
        lane.run(items, on_done)
    admission.remember(store, operation)


def _numbered(calls: Iterable[Call[Any]], cancel: CancelToken) -> Iterator[Item]:
    for item in enumerate(calls):
        yield item
        del item
        if cancel.cancelled:
            return


class _BlockingCalls:
    """Calls of blocking stores that a lane meets: they run on helpers, so that none holds up what is in flight.

    Each takes its place among those that may be in flight.

    Args:
        admission, on_done, cancel, executor: as of :func:`s3dlio.engine.batch.run_calls`. The calls that are taken are
            in the budget already.
    """

    #: The threads for them.
    helpers: Helpers

    def __init__(self, admission: Admission, on_done: Done, cancel: CancelToken, executor: BaseExecutor) -> None:
        self._most = admission.width // 2
        self._limit = admission.limit
        self._lock = threading.Lock()
        self._taken = 0  # how many calls run here, or are about to
        self._on_done = on_done
        self._cancel = cancel
        self._budget = admission.budget
        self._executor = executor
        self._calls: SimpleQueue[Item | None] = SimpleQueue()
        self._threads = 0  # how many run calls, or are about to

    def take(self, item: Item) -> bool:
        """Have a call run here; False where there is no room for it, or no thread."""
        with self._lock:
            if self._taken >= self._most or (self._taken >= self._threads and self._executor.free < 1):
                return False
            if not self._limit.take_place():
                return False
            self._taken += 1
            self._threads = max(self._threads, self._taken)
        self._calls.put(item)
        self.helpers.grow(self._threads)
        return True

    def run(self) -> None:
        """Run calls until the end."""
        while (item := self._calls.get()) is not None:
            self._run(item)
            del item  # while this thread waits for the next one, the last one's buffer is free

    def drain(self) -> None:
        """Run what is left on this thread: there may have been no helper for it."""
        while True:
            try:
                item = self._calls.get_nowait()
            except Empty:
                return
            if item is not None:
                self._run(item)

    def end(self) -> None:
        """Let the helpers go."""
        for _ in range(self._threads):
            self._calls.put(None)
        del self.helpers  # a cycle: what the batch refers to, its client too, would stay until the next collection

    def _run(self, item: Item) -> None:
        index, call = item
        try:
            if not self._cancel.cancelled:
                run_one(index, call, self._on_done, self._cancel, None)
        finally:
            if self._budget is not None:
                self._budget.release(call.held)
            with self._lock:
                self._taken -= 1
                self._limit.give_place_back()


def _plain(
    feed: Feed, lane: Lane, blocking: _BlockingCalls, done: Done, cancel: CancelToken
) -> Iterator[Item | None]:
    """The calls of a lane that has no budget to keep; None while there is none yet for it."""
    for item in feed.for_lane(lambda: lane.busy):
        if item is None or item[1].store.is_cloud:
            yield item
        elif not blocking.take(item):
            if lane.busy:
                feed.give_back(item)
                yield None
            else:
                run_one(*item, done, cancel, None)
        del item  # while there is none yet, the last one's buffer is free


class _Budgeted:
    """The same for a lane with a budget of bytes.

    Args:
        feed, blocking, on_done, cancel: as of :func:`_plain`. (It does not know its lane, which knows it: in a cycle,
            payloads would stay until the next collection.)
        budget: of which each call takes what it holds.
    """

    def __init__(
        self, feed: Feed, blocking: _BlockingCalls, on_done: Done, cancel: CancelToken, budget: ByteBudget
    ) -> None:
        self._feed = feed
        self._blocking = blocking
        self._on_done = on_done
        self._cancel = cancel
        self._budget = budget
        self._taken: dict[int, Call[Any]] = {}  # in flight on the lane

    def done(self, index: int, result: Any, error: BaseException | None) -> None:
        """A call on the lane has ended."""
        self._budget.release(self._taken.pop(index).held)
        self._on_done(index, result, error)

    def __iter__(self) -> Iterator[Item | None]:
        feed, budget, taken = self._feed, self._budget, self._taken
        for item in feed.for_lane(lambda: bool(taken)):
            if item is None:
                yield None
                continue
            index, call = item
            if not self._in_budget(call.held, wait=not taken):
                feed.give_back(item)
                if not taken:
                    return  # cancelled while it waited
                yield None
                continue
            if call.store.is_cloud:
                taken[index] = call
                yield item
            elif not self._blocking.take(item):
                if taken:
                    budget.release(call.held)
                    feed.give_back(item)
                    yield None
                else:
                    try:
                        run_one(index, call, self._on_done, self._cancel, None)
                    finally:
                        budget.release(call.held)
            del item, call

    def _in_budget(self, size: int, *, wait: bool) -> bool:
        if self._budget.take(size):
            return True
        if wait:
            self._blocking.drain()  # what has no thread yet would hold its bytes for ever
        return wait and self._budget.acquire(size, self._cancel)
