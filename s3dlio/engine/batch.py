"""Many calls at once, pulled from one iterator: blocking stores under plain loops, cloud stores on lanes.

Nothing is kept for a call that is done, so a batch of fifty million runs in constant memory.
"""

from __future__ import annotations

import os
import resource
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from s3dlio.engine.admission import ByteBudget
from s3dlio.engine.cancel import CancelToken
from s3dlio.engine.executor import BaseExecutor
from s3dlio.engine.feed import Feed, Item, Source
from s3dlio.stores.base import Call

if TYPE_CHECKING:
    from s3dlio.net.lane import Lane

#: Told of every call that has ended: its position in the input, its result, its error (None: it succeeded).
Done = Callable[[int, Any, BaseException | None], None]

#: Calls longer than this (seconds) may gain from another thread; shorter ones only hand the GIL around. From the page
#: cache, one loop read 71 k/s files of 4 KiB and two loops 37 to 74 k/s; files of 64 MiB, 13 to 15 and 16 to 17 GB/s.
_LONG_CALL = 300e-6
#: A thread that lost its CPU to others has it again after so long.
_VERY_LONG_CALL = 50e-3

#: Calls of so many bytes are bulky: lanes share them. After so many others in a row, one lane goes on alone.
_BULKY = 16 << 20
_SMALL_IN_A_ROW = 32
#: Bytes of one request of a bulky call, about: what ranges and parts are by default.
_PER_REQUEST = 64 << 20
_CPUS = os.cpu_count() or 1


def run_calls(
    calls: Iterable[Call[Any] | None],
    *,
    width: int,
    on_done: Done,
    cancel: CancelToken,
    executor: BaseExecutor,
    budget: ByteBudget | None = None,
    adaptive: bool = False,
    ahead: Source | None = None,
) -> None:
    """Run every call, at most ``width`` at a time, and return when all that were started have ended.

    Args:
        calls: pulled one by one when there is room, from one thread at a time. What it raises ends the batch. They must
            be there at once, unless they come from ``ahead``.
        width: how many calls are in flight at most.
        on_done: called once for every call that was started, from any thread, never for two calls at a time of one
            loop, possibly of several. What it raises ends the batch.
        cancel: once cancelled, no call is started any more. Failed calls do not cancel: that is up to ``on_done``.
        executor: whose threads help.
        budget: bounds the bytes of the writes in flight. Where it is used up, a lane lets a call in flight end first.
        adaptive: keep fewer calls in flight for a while when a cloud service asks to slow down.
        ahead: the reader that the calls are made from, if there is one: then they are None where it gives None.
    """
    feed = Feed(calls, cancel, ahead)
    if feed.next_is_blocking():
        _run_loops(feed, width, on_done, cancel, executor, budget)
    # Loops leave when they meet a call that wants a lane; a lane can do what a loop does, so it goes on to the end.
    if feed.peek() is not None:
        _run_lanes(feed, width, on_done, cancel, executor, budget, adaptive)


def run_kinds(
    kinds: Sequence[bool],
    make: Callable[[int], Call[Any]],
    *,
    width: int,
    on_done: Done,
    cancel: CancelToken,
    executor: BaseExecutor,
    budget: ByteBudget | None = None,
) -> None:
    """Run a batch of any stores, as :func:`run_calls`: calls that block run beside those of cloud stores, since they
    would hold up a lane. Each kind has its share of the width.

    Args:
        kinds: for each call whether its store is a cloud store.
        make: makes the call at a position, when there is room for it.
        width, on_done, cancel, executor, budget: as of :func:`run_calls`.
    """
    cloud = sum(kinds)
    if width == 1 or not 0 < cloud < len(kinds):
        calls = map(make, range(len(kinds)))
        run_calls(calls, width=width, on_done=on_done, cancel=cancel, executor=executor, budget=budget)
        return
    wide = min(width - 1, max(1, round(width * cloud / len(kinds))))
    parts = [(False, width - wide), (True, wide)]

    def part() -> None:
        while not cancel.cancelled:
            try:
                kind, share = parts.pop()
            except IndexError:
                return
            of_kind = [index for index, is_cloud in enumerate(kinds) if is_cloud is kind]

            def done(index: int, result: Any, error: BaseException | None, of_kind: list[int] = of_kind) -> None:
                on_done(of_kind[index], result, error)

            run_calls(
                map(make, of_kind), width=share, on_done=done, cancel=cancel, executor=executor, budget=budget
            )

    executor.share(part, 1, cancel)


def _run_loops(
    feed: Feed,
    width: int,
    on_done: Done,
    cancel: CancelToken,
    executor: BaseExecutor,
    budget: ByteBudget | None,
) -> None:
    """Plain loops over the calls of blocking stores, until the first call that wants a lane.

    Calls of stores that wait (SDK transports, relays between services) get ``width`` threads. With files the caller's
    thread begins alone, and others join when calls turn out to be long: as many as there are CPUs where calls copy, up
    to ``width`` where they wait (cold disks, network file systems).
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


def _probe(feed: Feed, width: int, on_done: Done, cancel: CancelToken, budget: ByteBudget | None) -> int:
    """Run calls on this thread while they are short; returns how many loops the others deserve, 0 when none is left.

    A long call has the next one measured, and that one decides: the clock alone would take a thread that lost its CPU
    to others for one that waits (on a busy machine every second batch of 4 KiB files went to 64 threads). One that took
    very long and computed little did wait.
    """
    before: _Usage | None = None
    for item in feed:
        index, call = item
        if call.store.is_cloud or call.store.waits:
            feed.give_back(item)
            return 0 if call.store.is_cloud else width
        began, worked = time.perf_counter(), time.thread_time()
        _run_one(index, call, on_done, cancel, budget)
        took = time.perf_counter() - began
        if took <= _LONG_CALL:
            before = None
            continue
        now = _Usage.now()
        if took > _VERY_LONG_CALL and now.cpu_seconds - worked < took / 2:
            return width
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
    if budget is not None and not budget.acquire(call.held, cancel):
        return  # cancelled: it was not started
    result, failure = None, None
    try:
        result = call.run()
    except Exception as error:
        failure = error
    finally:
        if budget is not None:
            budget.release(call.held)
    on_done(index, result, failure)


def _run_lanes(
    feed: Feed,
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
    while (call := feed.peek()) is not None:
        may_share = width > 1 and _CPUS > 1 and executor.free > 0
        shared = may_share and call.load >= _BULKY
        lanes = _Lanes(feed, width, on_done, cancel, budget, adaptive, may_share=may_share, shared=shared)
        executor.share(lanes.run, 1 if shared else 0, cancel)


class _Lanes:
    """One lane, or two that begin with bulky calls. Two go on with whatever comes; after many small calls one leaves.

    They end where there is none left, or where one lane meets a bulky call that two should begin with. That lane has
    only small ones to wait for then: nothing is held up by a bulky one that is on its way.

    Args:
        feed, width, on_done, cancel, budget, adaptive: as of :func:`run_calls`.
        may_share: there may be two lanes.
        shared: there are; each has half the width. One that ends leaves its half to the other.
    """

    def __init__(
        self,
        feed: Feed,
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

    def run(self) -> None:
        """One lane: runs calls until there is none left for it."""
        from s3dlio.net.adaptive import AdaptiveLimit
        from s3dlio.net.lane import Lane

        budget, on_done = self._budget, self._on_done
        taken: dict[int, Call[Any]] = {}  # what is in flight, where somebody has to know

        def done(index: int, result: Any, error: BaseException | None) -> None:
            call = taken.pop(index)
            if budget is not None:
                budget.release(call.held)
            on_done(index, result, error)

        with self._lock:
            window = self._windows.pop()
            lane = Lane(window=window, cancel=self._cancel, limit=AdaptiveLimit(window) if self._adaptive else None)
            self._lanes.append(lane)
        try:
            if self._shared or budget is not None:
                lane.run(self._counted(lane, taken, done), done)
            else:
                lane.run(self._plain(lane, on_done), on_done)
        finally:
            with self._lock:
                self._lanes.remove(lane)
                self._alone = True
                for other in self._lanes:
                    other.window += lane.window

    def _plain(self, lane: Lane, done: Done) -> Iterator[Item | None]:
        """The calls of a lane that is alone and has no budget to keep."""
        for item in self._feed.for_lane(lambda: lane.busy):
            if item is None:
                yield None
                continue
            index, call = item
            if call.load >= _BULKY and self._may_share:
                self._feed.give_back(item)
                return
            if call.store.is_cloud:
                yield item
            else:
                _run_one(index, call, done, self._cancel, None)

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
