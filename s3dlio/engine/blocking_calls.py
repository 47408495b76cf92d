"""Plain loops over the calls of blocking stores: one while calls are short, more where they are long or wait."""

from __future__ import annotations

import resource
import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from s3dlio.engine.admission import ByteBudget
from s3dlio.engine.batch_input import Feed
from s3dlio.engine.cancel import CancelToken
from s3dlio.engine.executor import BaseExecutor, Helpers
from s3dlio.engine.watchdog import TICK, watchdog
from s3dlio.hardware import available_cpus
from s3dlio.net import system
from s3dlio.stores.call import Call

#: Called for every call that has ended: its position in the input, its result, its error (None: it succeeded).
Done = Callable[[int, Any, BaseException | None], None]

#: Calls longer than this (seconds) may gain from another thread; shorter ones only hand the GIL around. From the page
#: cache, one loop read 71 k/s files of 4 KiB and two loops 37 to 74 k/s; files of 64 MiB, 13 to 15 and 16 to 17 GB/s.
LONG_CALL = 300e-6
CPUS = available_cpus()


def run_loops(
    feed: Feed, width: int, on_done: Done, cancel: CancelToken, executor: BaseExecutor, budget: ByteBudget | None
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
            run_one(index, call, on_done, cancel, budget)
            del item, call  # while this thread waits for the next one, the last one's buffer is free

    with executor.helpers(loop, cancel) as helpers:
        first = _First(feed, width, helpers)
        if first.watched:
            watchdog.add(first)
        try:
            loops = first.run(on_done, cancel, budget)
        finally:
            if first.watched:
                watchdog.remove(first)
        if loops:
            helpers.grow(loops - 1)
            loop()


class _First:
    """The loop that begins alone: the caller's. It is joined by others when its calls turn out to be long.

    Args:
        feed, width: as of :func:`run_loops`.
        helpers: the threads of the other loops.
    """

    def __init__(self, feed: Feed, width: int, helpers: Helpers) -> None:
        self._feed = feed
        self._width = width
        self._helpers = helpers
        self._running = -1  # position of the call that runs
        self._seen = -1  # the same at the last look
        self._more = 0  # loops that have joined this one because of that call
        self._cpu_clock = 0
        self._computed = 0.0
        #: Whether a call that does not come back is noticed.
        self.watched = width > 1 and helpers.most > 0
        if self.watched and hasattr(time, "pthread_getcpuclockid"):
            self._cpu_clock = time.pthread_getcpuclockid(threading.get_ident())

    def run(self, on_done: Done, cancel: CancelToken, budget: ByteBudget | None) -> int:
        """Run calls while they are short; returns how many loops the others deserve, 0 when none is left.

        A long call has the next one measured, and that one decides: the clock alone would take a thread that lost its
        CPU to others for one that waits (on a busy machine every second batch of 4 KiB files went to 64 threads).
        """
        before: _Usage | None = None
        for item in self._feed:
            index, call = item
            if call.store.is_cloud or call.store.waits:
                self._feed.give_back(item)
                return 0 if call.store.is_cloud else self._width
            began = system.perf_counter()
            self._running = index
            run_one(index, call, on_done, cancel, budget)
            self._running = -1
            took = system.perf_counter() - began
            del item, call
            if took <= LONG_CALL:
                before = None
                continue
            now = _Usage.now()
            if before is not None and now.cpu_seconds - before.cpu_seconds > took / 2:
                return min(self._width, CPUS)
            if before is not None and now.waits > before.waits:
                return self._width
            before = now
        return 0

    def look(self) -> None:
        """Where the call of the last look is still running, have others begin: at every look twice as many, since one
        that has only lost its CPU comes back soon."""
        running = self._running
        computed = time.clock_gettime(self._cpu_clock) if self._cpu_clock else 0.0
        if running >= 0 and running == self._seen:
            copies = computed - self._computed > TICK / 2
            most = min(self._width, CPUS) if copies else self._width
            self._more = min(most - 1, 2 * self._more + 1)
            self._helpers.grow(self._more)
        else:
            self._more = 0
        self._seen, self._computed = running, computed


class _Usage(NamedTuple):
    """What the calling thread has used: CPU time, and how often it gave the CPU up of its own, to wait."""

    cpu_seconds: float
    waits: int

    @classmethod
    def now(cls) -> _Usage:
        if not hasattr(resource, "RUSAGE_THREAD"):  # other systems do not tell: a call that did not compute waited
            return cls(time.thread_time(), time.perf_counter_ns())
        return cls(time.thread_time(), resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw)


def run_one(index: int, call: Call[Any], on_done: Done, cancel: CancelToken, budget: ByteBudget | None) -> None:
    """Run a call of a blocking store on this thread, when the budget has room for it."""
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
