"""The work on one item as one call: files opened when it starts and closed when it ends, operations one after another.

A task is written once, as a generator (``Steps``), whichever stores it works on: operations of a cloud store yield
their requests to the lane that runs the task, operations of a blocking store just run.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, wait
from functools import partial
from typing import Any, TypeVar

from s3dlio.engine.executor import BaseExecutor
from s3dlio.engine.write_behind import BehindSink
from s3dlio.errors import S3dlioError
from s3dlio.memory.waiting import Waiting
from s3dlio.net import system
from s3dlio.net.faults import is_out_of_files
from s3dlio.net.message import Pause
from s3dlio.stores.call import BaseStore, Call, Journal, Steps

T = TypeVar("T")

#: For so long (seconds) an item waits for a descriptor of those before it.
_PATIENCE = 60.0
#: Seconds between two looks whether work on another thread is done: the first, and the longest.
_FIRST_LOOK, _LONGEST_LOOK = 0.001, 0.02
#: For so long (seconds) a task that is given up waits for what a disk does for it.
_LEAVE_SECONDS = 1.0


class RefusedItemError(Exception):
    """One item cannot be transferred, for the reason given; it counts as failed, and the other items go on.

    Args:
        error: the reason.
    """

    raise_unchanged = True

    def __init__(self, error: S3dlioError) -> None:
        super().__init__(error)
        self.error = error


class Task(Call[T]):
    """A call made of other calls. Those are what observers see; the task itself is not reported to them.

    Args:
        store: the store that decides where the task runs: on a lane if it is a cloud store.
        operation: the verb, for errors.
        key: the object, for errors.
        steps: the work.
        size: the bytes it will have in flight.
        load: the bytes that it will bring into a file, where they are known.
    """

    __slots__ = ()

    def __init__(
        self,
        store: BaseStore,
        operation: str,
        key: str,
        steps: Callable[[], Steps[T]],
        size: int = 0,
        load: int = 0,
    ) -> None:
        start = steps if store.is_cloud else lambda: finish(steps())
        super().__init__(store, operation, key, start, size=size, load=load)

    def __enter__(self) -> None:
        return None

    def _began(self, started: int) -> None:
        return None

    def _note(self, journal: Journal, started: int, result: Any) -> None:
        return None


def perform(call: Call[T]) -> Steps[T]:
    """Run one call within a task."""
    if call.store.is_cloud:
        return (yield from call.steps())
    return call.run()


def finish(steps: Steps[T]) -> T:
    """The result of steps that have nothing to yield, because only blocking stores take part."""
    try:
        next(steps)
    except StopIteration as end:
        result: T = end.value
        return result
    steps.close()
    raise AssertionError("a cloud store's requests were given to a blocking store's task")


def within(task: Call[Any], steps: Steps[T]) -> Steps[T]:
    """Take ``steps``, which may be of other stores, where ``task`` runs: on its lane, or blocking on its thread."""
    if task.store.is_cloud:
        return (yield from steps)
    from s3dlio.net.blocking import drive

    result: T = drive(steps)
    return result


def aside(executor: BaseExecutor | None, work: Callable[[], T]) -> Steps[T]:
    """The result of ``work``, which reads files, on another thread: the lane of this task serves others meanwhile.

    Args:
        executor: whose thread it is; None, or one whose threads are all taken: it is done in place.
        work: uses nothing that is closed when this task is given up, since it goes on to its end.
    """
    if executor is None or not executor.free:
        return work()
    done = executor.submit(work)
    pause = _FIRST_LOOK
    while not done.done():
        yield Pause(pause)
        pause = min(2 * pause, _LONGEST_LOOK)
    return done.result()


def beside(work: Callable[[], T], undo: Callable[[T], object] | None = None) -> Steps[T]:
    """The result of ``work``, which a disk may keep waiting, on another thread: the lane of this task serves others
    meanwhile. Where the task is given up, ``work`` goes on to its end, for which that waits a while.

    Args:
        work: uses nothing that is closed when this task is given up.
        undo: takes back what ``work`` has done for a task that is given up, on any thread; None: that stays done.
    """
    outcome: Future[T] = Future()
    try:
        yield Waiting.for_work(partial(_settle, work, outcome))
    except BaseException as error:
        try:
            if not isinstance(error, GeneratorExit):
                yield Waiting.for_work(partial(wait, [outcome], _LEAVE_SECONDS))
        finally:
            if undo is not None:
                outcome.add_done_callback(partial(_take_back, undo))
        if undo is not None or not outcome.done():
            raise
    try:
        return outcome.result()
    finally:
        del outcome  # its error has this frame: a cycle


def _settle(work: Callable[[], T], outcome: Future[T]) -> None:
    try:
        outcome.set_result(work())
    except BaseException as error:
        outcome.set_exception(error)
        if not isinstance(error, Exception):
            raise


def _take_back(undo: Callable[[T], object], outcome: Future[T]) -> None:
    if outcome.exception() is None:
        undo(outcome.result())


def opened(make: Callable[[], T], *, on_lane: bool, aside: Callable[[], Steps[T]] | None = None) -> Steps[T]:
    """What ``make`` opens. Where this process has too many files open, they are those of items in flight: on a lane
    this one waits until one of those has ended.

    Args:
        make: opens it.
        on_lane: the task is one of a lane.
        aside: opens it beside the lane, in place of ``make``.
    """
    pause, until = _FIRST_LOOK, system.monotonic() + _PATIENCE
    while True:
        try:
            return make() if aside is None else (yield from aside())
        except (RefusedItemError, OSError) as error:
            found = error.error if isinstance(error, RefusedItemError) else error
            if not (on_lane and is_out_of_files(found) and system.monotonic() < until):
                raise
        yield Pause(pause)
        pause = min(2 * pause, _LONGEST_LOOK)


def written(sink: BehindSink, *, on_lane: bool) -> Steps[None]:
    """See that a file has all that its sink has taken; a lane serves others while a slow disk takes it."""
    pause = _FIRST_LOOK
    while on_lane and sink.pending:
        yield Pause(pause)
        pause = min(2 * pause, _LONGEST_LOOK)
    sink.check()
