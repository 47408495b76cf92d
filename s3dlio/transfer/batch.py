"""Many calls at once, pulled from one iterator: blocking stores under plain loops, cloud stores on lanes.

Nothing is kept for a call that is done, so a batch of fifty million runs in constant memory.
"""

from __future__ import annotations

import os
import resource
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from s3dlio.stores.base import Call
from s3dlio.transfer.executor import BaseExecutor, ByteBudget, CancelToken

if TYPE_CHECKING:
    from s3dlio.net.lane import Lane

#: Told of every call that has ended: its position in the input, its result, its error (None: it succeeded).
Done = Callable[[int, Any, BaseException | None], None]

#: Calls longer than this (seconds) may gain from another thread; shorter ones only hand the GIL around. From the page
#: cache, one loop read 71 k/s files of 4 KiB and two loops 37 to 74 k/s; files of 64 MiB, 13 to 15 and 16 to 17 GB/s.
_LONG_CALL = 300e-6

#: Calls of so many bytes are bulky: lanes share them. After so many others in a row, one lane goes on alone.
_BULKY = 16 << 20
_SMALL_IN_A_ROW = 32
#: Bytes of one request of a bulky call, about: what ranges and parts are by default.
_PER_REQUEST = 64 << 20
_CPUS = os.cpu_count() or 1


def run_calls(
    calls: Iterable[Call[Any]],
    *,
    width: int,
    on_done: Done,
    cancel: CancelToken,
    executor: BaseExecutor,
    budget: ByteBudget | None = None,
    adaptive: bool = False,
) -> None:
    """Run every call, at most ``width`` at a time, and return when all that were started have ended.

    Args:
        calls: pulled one by one when there is room, from one thread at a time. What it raises ends the batch.
        width: how many calls are in flight at most.
        on_done: called once for every call that was started, from any thread, never for two calls at a time of one
            loop, possibly of several. What it raises ends the batch.
        cancel: once cancelled, no call is started any more. Failed calls do not cancel: that is up to ``on_done``.
        executor: whose threads help.
        budget: bounds the bytes of the writes in flight. Where it is used up, a lane lets a call in flight end first.
        adaptive: keep fewer calls in flight for a while when a cloud service asks to slow down.
    """
    feed = _Feed(calls, cancel)
    if feed.next_is_blocking():
        _run_loops(feed, width, on_done, cancel, executor, budget)
    # Loops leave when they meet a call that wants a lane; a lane can do what a loop does, so it goes on to the end.
    if feed.peek() is not None:
        _run_lanes(feed, width, on_done, cancel, executor, budget, adaptive)


class _Feed:
    """The one iterator of a batch, shared by its workers: hands out (position, call)."""

    def __init__(self, calls: Iterable[Call[Any]], cancel: CancelToken) -> None:
        self._calls = enumerate(calls)
        self._returned: list[tuple[int, Call[Any]]] = []
        self._lock = threading.Lock()
        self._cancel = cancel

    def __iter__(self) -> Iterator[tuple[int, Call[Any]]]:
        """The calls that are left, for one worker among several; ends early when the batch is cancelled."""
        lock, cancel, calls, returned = self._lock, self._cancel, self._calls, self._returned
        while not cancel.cancelled:
            with lock:
                item = returned.pop() if returned else next(calls, None)
            if item is None:
                return
            yield item

    def take(self) -> tuple[int, Call[Any]] | None:
        """The next call, None when there is none or the batch was cancelled."""
        return next(iter(self), None)

    def give_back(self, item: tuple[int, Call[Any]]) -> None:
        with self._lock:
            self._returned.append(item)

    def peek(self) -> Call[Any] | None:
        if (item := self.take()) is None:
            return None
        self.give_back(item)
        return item[1]

    def next_is_blocking(self) -> bool:
        call = self.peek()
        return call is not None and not call.store.is_cloud


def _run_loops(
    feed: _Feed,
    width: int,
    on_done: Done,
    cancel: CancelToken,
    executor: BaseExecutor,
    budget: ByteBudget | None,
) -> None:
    """Plain loops over the calls of blocking stores, until the first call that wants a lane.

    The caller's thread begins alone, and others join when calls turn out to be long: as many as there are CPUs where
    calls copy, up to ``width`` where they wait (cold disks, network file systems, SDK transports).
    """

    def loop() -> None:
        for item in feed:
            index, call = item
            if call.store.is_cloud:
                feed.give_back(item)
                return
            _run_one(index, call, on_done, cancel, budget)

    loops = _probe(feed, width, on_done, cancel, budget)
    if loops:
        executor.share(loop, loops - 1, cancel)


def _probe(feed: _Feed, width: int, on_done: Done, cancel: CancelToken, budget: ByteBudget | None) -> int:
    """Run calls on this thread while they are short; returns how many loops the others deserve, 0 when none is left.

    A long call has the next one measured, and that one decides: the clock alone would take a thread that lost its CPU
    to others for one that waits (on a busy machine every second batch of 4 KiB files went to 64 threads).
    """
    before: _Usage | None = None
    for item in feed:
        index, call = item
        if call.store.is_cloud:
            feed.give_back(item)
            return 0
        began = time.perf_counter()
        _run_one(index, call, on_done, cancel, budget)
        took = time.perf_counter() - began
        if took <= _LONG_CALL:
            before = None
            continue
        now = _Usage.now()
        if before is not None and now.cpu_seconds - before.cpu_seconds > took / 2:
            return min(width, os.cpu_count() or 1)
        if before is not None and now.waits > before.waits:
            return width
        before = now
    return 0


class _Usage(NamedTuple):
    """What the calling thread has used: CPU time, and how often it gave the CPU up of its own, to wait."""

    cpu_seconds: float
    waits: int

    @classmethod
    def now(cls) -> _Usage:
        if not hasattr(resource, "RUSAGE_THREAD"):  # other systems do not tell: a call that did not compute waited
            return cls(time.thread_time(), time.perf_counter_ns())
        return cls(time.thread_time(), resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw)


def _run_one(index: int, call: Call[Any], on_done: Done, cancel: CancelToken, budget: ByteBudget | None) -> None:
    if budget is not None and not budget.acquire(call.size, cancel):
        return  # cancelled: it was not started
    result, failure = None, None
    try:
        result = call.run()
    except Exception as error:
        failure = error
    finally:
        if budget is not None:
            budget.release(call.size)
    on_done(index, result, failure)


def _run_lanes(
    feed: _Feed,
    width: int,
    on_done: Done,
    cancel: CancelToken,
    executor: BaseExecutor,
    budget: ByteBudget | None,
    adaptive: bool,
) -> None:
    """Event loops over the calls of cloud stores: one on the caller's thread, and another while the calls are bulky.

    Small calls are best on one lane, as two hand the GIL around; with bodies in memory one moves as much as a bare
    epoll loop (docs/performance). Between sockets and files two move more: 8 files of 512 MiB came down in 2.5 s
    instead of 3.3.
    """
    may_share = width > 1 and _CPUS > 1 and executor.threads > 0
    while (call := feed.peek()) is not None:
        shared = may_share and call.load >= _BULKY
        crew = _Crew(feed, width, on_done, cancel, budget, adaptive, may_share=may_share, shared=shared)
        executor.share(crew.lane, 1 if shared else 0, cancel)


class _Crew:
    """One lane, or two that begin with bulky calls. Two go on with whatever comes; after many small calls one leaves.

    A crew ends where there is none left, or where one lane meets a bulky call that two should begin with. That lane has
    only small ones to wait for then: nothing is held up by a bulky one that is on its way.

    Args:
        feed, width, on_done, cancel, budget, adaptive: as of :func:`run_calls`.
        may_share: there may be two lanes.
        shared: there are; each has half the width. One that ends leaves its half to the other.
    """

    def __init__(
        self,
        feed: _Feed,
        width: int,
        on_done: Done,
        cancel: CancelToken,
        budget: ByteBudget | None,
        adaptive: bool,
        *,
        may_share: bool,
        shared: bool,
    ) -> None:
        self._feed = feed
        self._windows = [width // 2, width - width // 2] if shared else [width]  # taken from the end
        self._on_done = on_done
        self._cancel = cancel
        self._budget = budget
        self._adaptive = adaptive
        self._may_share = may_share
        self._shared = shared
        self._lock = threading.Lock()
        self._lanes: list[Lane] = []  # those that run
        self._leaving = not shared  # one of two takes no more
        self._alone = not shared  # and has ended
        self._small = 0  # calls in a row that were not bulky, about

    def lane(self) -> None:
        """Run calls until there is none left, or the crew ends."""
        from s3dlio.net.lane import Lane
        from s3dlio.net.pace import Pace

        budget, on_done = self._budget, self._on_done
        taken: dict[int, Call[Any]] = {}  # what is in flight, where somebody has to know

        def done(index: int, result: Any, error: BaseException | None) -> None:
            call = taken.pop(index)
            if budget is not None:
                budget.release(call.size)
            on_done(index, result, error)

        with self._lock:
            window = self._windows.pop()
            lane = Lane(window=window, cancel=self._cancel, pace=Pace(window) if self._adaptive else None)
            self._lanes.append(lane)
        try:
            if self._shared or budget is not None:
                lane.run(self._counted(lane, taken, done), done)
            else:
                lane.run(self._plain(on_done), on_done)
        finally:
            with self._lock:
                self._lanes.remove(lane)
                self._alone = True
                for other in self._lanes:
                    other.window += lane.window

    def _plain(self, done: Done) -> Iterator[tuple[int, Call[Any]]]:
        """The calls of a lane that is alone and has no budget to keep."""
        for item in self._feed:
            index, call = item
            if call.load >= _BULKY and self._may_share:
                self._feed.give_back(item)
                return
            if call.store.is_cloud:
                yield item
            else:
                _run_one(index, call, done, self._cancel, None)

    def _counted(self, lane: Lane, taken: dict[int, Call[Any]], done: Done) -> Iterator[tuple[int, Call[Any]] | None]:
        """The calls of one lane of two, or of one with a budget; None while it must wait for some of its own to end.

        Of bulky calls it takes what its window has room for, so that the other lane gets its half.
        """
        feed, budget = self._feed, self._budget
        for item in feed:
            index, call = item
            if self._is_for_others(call, taken):
                feed.give_back(item)
                return
            full = self._shared and sum(map(_requests, taken.values())) + _requests(call) > lane.window
            if (taken and full) or (budget is not None and not self._in_budget(budget, call.size, wait=not taken)):
                feed.give_back(item)
                if not taken:
                    return  # cancelled while it waited
                yield None
                continue
            self._small = 0 if call.load >= _BULKY else self._small + 1
            taken[index] = call
            if call.store.is_cloud:
                yield item
            else:
                _run_one(index, call, done, self._cancel, None)

    def _in_budget(self, budget: ByteBudget, size: int, *, wait: bool) -> bool:
        return budget.acquire(size, self._cancel) if wait else budget.take(size)

    def _is_for_others(self, call: Call[Any], taken: dict[int, Call[Any]]) -> bool:
        """Whether a lane leaves this call, and takes no more: to two lanes anew, or to the other one."""
        if call.load >= _BULKY:
            bulky = any(other.load >= _BULKY for other in taken.values())
            return self._may_share and self._alone and not bulky
        if self._leaving or self._small < _SMALL_IN_A_ROW:
            return False
        with self._lock:
            leaves = not self._leaving and len(self._lanes) > 1
            self._leaving = self._leaving or leaves
        return leaves


def _requests(call: Call[Any]) -> int:
    """About as many requests as a call will have in flight."""
    return max(1, -(-call.load // _PER_REQUEST))
