"""Plain loops over work that blocks: one while its pieces are short, more where they are long or wait."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Generic, NamedTuple, TypeVar

from s3dlio.engine.admission import ByteBudget
from s3dlio.engine.batch_input import Feed, Item
from s3dlio.engine.cancel import CancelToken
from s3dlio.engine.executor import BaseExecutor, Helpers
from s3dlio.engine.watchdog import TICK, watchdog
from s3dlio.hardware import usable_cpus
from s3dlio.net import system
from s3dlio.posix import resource
from s3dlio.stores.call import Call

T = TypeVar("T")

#: Called for every call that has ended: its position in the input, its result, its error (None: it succeeded).
Done = Callable[[int, Any, BaseException | None], None]

#: Pieces longer than this (seconds) may gain from another thread; shorter ones only hand the GIL around. From the page
#: cache, one loop read 71 k/s files of 4 KiB and two loops 37 to 74 k/s; files of 64 MiB, 13 to 15 and 16 to 17 GB/s.
LONG_CALL = 300e-6
#: Pieces that copy so many bytes are long: as many loops begin as there are CPUs.
BULKY = 4 << 20


def run_blocking(
    feed: Feed, width: int, on_done: Done, cancel: CancelToken, executor: BaseExecutor, budget: ByteBudget | None
) -> None:
    """Loops over the calls of blocking stores, until the first call that wants a lane.

    Calls of stores that wait (SDK transports, relays between services) get ``width`` threads; with files the caller's
    thread begins alone.
    """

    def run(item: Item) -> None:
        run_one(*item, on_done, cancel, budget)

    while (call := feed.peek()) is not None and not call.store.is_cloud:
        waits = call.store.waits
        del call
        run_loops(
            partial(feed.blocking, waits), run, loops=width if waits else 1, width=width, cancel=cancel,
            executor=executor,
        )  # fmt: skip


def run_loops(
    items: Callable[[], Iterator[T]],
    run: Callable[[T], None],
    *,
    width: int,
    cancel: CancelToken,
    executor: BaseExecutor,
    loops: int = 1,
) -> None:
    """Run all items, on this thread and, where that pays, on others.

    A loop that begins alone is joined by others when items turn out to be long: as many as there are CPUs where they
    copy, up to ``width`` where they wait (cold disks, network file systems).

    Args:
        items: an iterator for a loop; those of several loops share the items.
        run: does one. It raises only what is to end all.
        width: how many loops there are at most.
        cancel: once cancelled, no item is begun any more.
        executor: whose threads help.
        loops: how many begin at once; as many as ``width`` need not be watched.
    """

    def loop() -> None:
        for item in items():
            if cancel.cancelled:
                return
            run(item)
            del item  # while this thread waits for the next one, the last one's buffer is free

    with executor.helpers(loop, cancel) as helpers:
        helpers.grow(loops - 1)
        if loops < width:
            loops = _First(items, run, width, cancel, helpers).run()
            helpers.grow(loops - 1)
        if loops:
            loop()


class _First(Generic[T]):
    """The loop that begins alone: the caller's. It is joined by others when its items turn out to be long.

    The parameters are those of :func:`run_loops`.
    """

    def __init__(
        self,
        items: Callable[[], Iterator[T]],
        run: Callable[[T], None],
        width: int,
        cancel: CancelToken,
        helpers: Helpers,
    ) -> None:
        self._items = items
        self._run = run
        self._width = width
        self._cancel = cancel
        self._helpers = helpers
        self._began = 0.0  # when the item that runs began; 0: none runs
        # What a look has seen.
        self._seen = 0.0
        self._more = 0  # loops that have joined this one because of the item that runs
        self._computed = 0.0
        self._cpu_clock = 0
        if hasattr(time, "pthread_getcpuclockid"):
            self._cpu_clock = time.pthread_getcpuclockid(threading.get_ident())

    def run(self) -> int:
        """Run items while they are short; returns how many loops the others deserve, 0 when none is left.

        A long item has the next one measured, and that one decides: the clock alone would take a thread that lost its
        CPU to others for one that waits (on a busy machine every second batch of 4 KiB files went to 64 threads).
        """
        if not self._helpers.most:
            return self._short_ones()
        watchdog.add(self)
        try:
            return self._short_ones()
        finally:
            watchdog.remove(self)

    def _short_ones(self) -> int:
        run, cancel, clock = self._run, self._cancel, system.perf_counter
        before: _Usage | None = None
        for item in self._items():
            if cancel.cancelled:
                return 0
            self._began = began = clock()
            run(item)
            del item
            self._began = 0.0
            took = clock() - began
            if took <= LONG_CALL:
                before = None
                continue
            before, loops = self._measured(took, before)
            if loops:
                return loops
        return 0

    def _measured(self, took: float, before: _Usage | None) -> tuple[_Usage, int]:
        """What this thread has used, and how many loops there should be after an item that took that long, if known."""
        now = _Usage.now()
        if before is None:
            return now, 0
        if now.cpu_seconds - before.cpu_seconds > took / 2:
            return now, min(self._width, usable_cpus())
        return now, self._width if now.waits > before.waits else 0

    def look(self) -> None:
        """Where the item of the last look is still running, have others begin: at every look twice as many, since one
        that has only lost its CPU comes back soon."""
        began = self._began
        computed = time.clock_gettime(self._cpu_clock) if self._cpu_clock else 0.0
        if began and began == self._seen:
            copies = computed - self._computed > TICK / 2
            most = min(self._width, usable_cpus()) if copies else self._width
            self._more = min(most - 1, 2 * self._more + 1)
            self._helpers.grow(self._more)
        else:
            self._more = 0
        self._seen, self._computed = began, computed


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
