"""Event loops over the calls of cloud stores; what blocks among them runs beside, on threads."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from s3dlio.engine.admission import ByteBudget
from s3dlio.engine.batch_input import Feed, Item
from s3dlio.engine.blocking_calls import CPUS, Done, run_one
from s3dlio.engine.cancel import CancelToken
from s3dlio.engine.executor import BaseExecutor, Helpers
from s3dlio.stores.call import Call

if TYPE_CHECKING:
    from s3dlio.net.lane import Lane

#: Calls of so many bytes are bulky: lanes share them. After so many others in a row, one lane goes on alone.
BULKY = 16 << 20
_SMALL_IN_A_ROW = 32
#: Bytes of one request of a bulky call, about: what ranges and parts are by default.
PER_REQUEST = 64 << 20


def run_lanes(
    feed: Feed, width: int, on_done: Done, cancel: CancelToken, executor: BaseExecutor, budget: ByteBudget | None,
    adaptive: bool,
) -> None:  # fmt: skip
    """Event loops over the calls of cloud stores: one on the caller's thread, and another while the calls are bulky.

    Small calls are best on one lane, as two hand the GIL around; with bodies in memory one moves as much as a bare
    epoll loop (docs/performance). Between sockets and files two move more: 8 files of 512 MiB came down in 2.5 s
    instead of 3.3.
    """
    blocking = _BlockingCalls(width, on_done, cancel, executor, budget)
    with executor.helpers(blocking.run, cancel) as helpers:
        try:
            while (load := feed.next_load()) is not None:
                may_share = width > 1 and CPUS > 1 and executor.free > 0
                shared = may_share and load >= BULKY
                lanes = _Lanes(feed, blocking, helpers, on_done, cancel, budget, adaptive, may_share, shared)
                executor.share(lanes.run, 1 if shared else 0, cancel)
            blocking.drain()
        finally:
            blocking.end()


class _BlockingCalls:
    """Calls of blocking stores that lanes meet: they run on helpers, so that none holds up what is in flight.

    Each takes its place in the width from the window of the lane that met it.

    Args:
        width, on_done, cancel, executor, budget: as of :func:`s3dlio.engine.batch.run_calls`. The calls that are taken
            are in the budget already.
    """

    def __init__(
        self, width: int, on_done: Done, cancel: CancelToken, executor: BaseExecutor, budget: ByteBudget | None
    ) -> None:
        self.width = width
        self.lock = threading.Lock()
        #: The lanes that run.
        self.lanes: list[Lane] = []
        #: How many calls run here, or are about to.
        self.taken = 0
        self._on_done = on_done
        self._cancel = cancel
        self._budget = budget
        self._executor = executor
        self._calls: SimpleQueue[Item | None] = SimpleQueue()
        self._helpers = 0  # how many threads run calls, or are about to

    def take(self, item: Item, lane: Lane, helpers: Helpers) -> bool:
        """Have a call run here; False where there is no room for it, or no thread."""
        with self.lock:
            if lane.window < 2 or self.taken >= self.width // 2:
                return False
            if self.taken >= self._helpers and self._executor.free < 1:
                return False
            lane.window -= 1
            self.taken += 1
            self._helpers = max(self._helpers, self.taken)
        self._calls.put(item)
        helpers.grow(self._helpers)
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
        for _ in range(self._helpers):
            self._calls.put(None)

    def _run(self, item: Item) -> None:
        index, call = item
        try:
            if not self._cancel.cancelled:
                run_one(index, call, self._on_done, self._cancel, None)
        finally:
            if self._budget is not None:
                self._budget.release(call.held)
            with self.lock:
                self.taken -= 1
                if self.lanes:  # the one that met it may have ended
                    min(self.lanes, key=_window).window += 1


def _window(lane: Lane) -> int:
    return lane.window


class _Lanes:
    """One lane, or two that begin with bulky calls. Two go on with whatever comes; after many small calls one leaves.

    They end where there is none left, or where one lane meets a bulky call that two should begin with. That lane has
    only small ones to wait for then: nothing is held up by a bulky one that is on its way.

    Args:
        feed: the calls.
        blocking, helpers: where calls that block run.
        on_done, cancel, budget, adaptive: as of :func:`s3dlio.engine.batch.run_calls`.
        may_share: there may be two lanes.
        shared: there are; each has half the width. One that ends leaves its half to the other.
    """

    def __init__(
        self,
        feed: Feed,
        blocking: _BlockingCalls,
        helpers: Helpers,
        on_done: Done,
        cancel: CancelToken,
        budget: ByteBudget | None,
        adaptive: bool,
        may_share: bool,
        shared: bool,
    ) -> None:
        width = max(1, blocking.width - blocking.taken)
        self._feed = feed
        self._blocking = blocking
        self._helpers = helpers
        self._windows = [width // 2, width - width // 2] if shared else [width]  # taken from the end
        self._on_done = on_done
        self._cancel = cancel
        self._budget = budget
        self._adaptive = adaptive
        self._may_share = may_share
        self._shared = shared
        self._leaving = not shared  # one of two takes no more
        self._alone = not shared  # and has ended
        self._small = 0  # calls in a row that were not bulky, about

    def run(self) -> None:
        """One lane: runs calls until there is none left for it."""
        from s3dlio.net.adaptive import AdaptiveLimit
        from s3dlio.net.lane import Lane

        budget, on_done = self._budget, self._on_done
        taken: dict[int, Call[Any]] = {}  # calls in flight, kept where a budget or a second lane needs them

        def done(index: int, result: Any, error: BaseException | None) -> None:
            call = taken.pop(index)
            if budget is not None:
                budget.release(call.held)
            on_done(index, result, error)

        with self._blocking.lock:
            window = self._windows.pop()
            lane = Lane(window=window, cancel=self._cancel, limit=AdaptiveLimit(window) if self._adaptive else None)
            self._blocking.lanes.append(lane)
        try:
            if self._shared or budget is not None:
                lane.run(self._counted(lane, taken, done), done)
            else:
                lane.run(self._plain(lane, on_done), on_done)
        finally:
            with self._blocking.lock:
                self._blocking.lanes.remove(lane)
                self._alone = True
                for other in self._blocking.lanes:
                    other.window += lane.window

    def _plain(self, lane: Lane, done: Done) -> Iterator[Item | None]:
        """The calls of a lane that is alone and has no budget to keep."""
        for item in self._feed.for_lane(lambda: lane.busy):
            if item is None:
                yield None
                continue
            index, call = item
            if call.load >= BULKY and self._may_share:
                self._feed.give_back(item)
                return
            if call.store.is_cloud:
                yield item
            elif not self._blocking.take(item, lane, self._helpers):
                if lane.busy:
                    self._feed.give_back(item)
                    yield None
                else:
                    run_one(index, call, done, self._cancel, None)
            del item, call  # while there is none yet, the last one's buffer is free

    def _counted(self, lane: Lane, taken: dict[int, Call[Any]], done: Done) -> Iterator[Item | None]:
        """The calls of one lane of two, or of one with a budget; None while there is none yet for it.

        Of bulky calls it takes what its window has room for, so that the other lane gets its half.
        """
        feed, budget = self._feed, self._budget
        for item in feed.for_lane(lambda: bool(taken)):
            if item is None:
                yield None
                continue
            index, call = item
            if self._is_for_others(call, taken):
                feed.give_back(item)
                return
            full = self._shared and sum(map(_requests, taken.values())) + _requests(call) > lane.window
            if (taken and full) or (budget is not None and not self._in_budget(budget, call.held, wait=not taken)):
                feed.give_back(item)
                if not taken:
                    return  # cancelled while it waited
                yield None
                continue
            self._small = 0 if call.load >= BULKY else self._small + 1
            if call.store.is_cloud:
                taken[index] = call
                yield item
            elif not self._blocking.take(item, lane, self._helpers):
                if lane.busy:
                    if budget is not None:
                        budget.release(call.held)
                    feed.give_back(item)
                    yield None
                else:
                    taken[index] = call
                    run_one(index, call, done, self._cancel, None)
            del item, call  # while there is none yet, the last one's buffer is free

    def _in_budget(self, budget: ByteBudget, size: int, *, wait: bool) -> bool:
        if budget.take(size):
            return True
        if wait:
            self._blocking.drain()  # what has no thread yet would hold its bytes for ever
        return wait and budget.acquire(size, self._cancel)

    def _is_for_others(self, call: Call[Any], taken: dict[int, Call[Any]]) -> bool:
        """Whether a lane leaves this call, and takes no more: for two new lanes, or for the other one."""
        if call.load >= BULKY:
            bulky = any(other.load >= BULKY for other in taken.values())
            return self._may_share and self._alone and not bulky
        if self._leaving or self._small < _SMALL_IN_A_ROW:
            return False
        with self._blocking.lock:
            leaves = not self._leaving and len(self._blocking.lanes) > 1
            self._leaving = self._leaving or leaves
        return leaves


def _requests(call: Call[Any]) -> int:
    """About as many requests as a call will have in flight."""
    return max(1, -(-call.load // PER_REQUEST))
