"""The operations that a lane runs: resumed with the answers to what they ask for, until they end."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from functools import partial
from typing import Any

from s3dlio.errors import TransferCancelledError
from s3dlio.memory.waiting import Waiting
from s3dlio.net.adaptive import AdaptiveLimit
from s3dlio.net.cancellation import abandoned
from s3dlio.net.message import Pause, Request
from s3dlio.net.pending import PendingQueue, PendingRequest
from s3dlio.net.reading import ReadingMultiplexer
from s3dlio.net.task import Done, Task, ignore


class TaskRunner:
    """Runs operations; what their requests go out by, and come back from, is a subclass's.

    Args:
        limit: counts the operations that succeed.
        started: the moment (``time.monotonic``) at which the surrounding operation began.
    """

    _multiplexer: ReadingMultiplexer

    def __init__(self, limit: AdaptiveLimit | None, started: float) -> None:
        self._limit = limit
        self._started = started
        self._queue = PendingQueue()
        self._sets: deque[Task] = deque()  # tasks with more requests to start
        self._tasks: set[Task] = set()
        self._done: Done = ignore

    def _begin(self, index: int, steps: Any) -> None:
        task = Task(index, steps, self._done, self._started, self._limit)
        self._tasks.add(task)
        self._advance(task, None, None)

    def _advance(self, task: Task, answer: Any, error: BaseException | None) -> None:
        """Resume an operation with an answer (or an error) until it asks for requests again or ends."""
        if error is not None:
            task.failed = task.requests = None
            if not task.cleaning:
                task.cleaning, task.started = True, 0.0
        try:
            wanted = task.steps.send(answer) if error is None else task.steps.throw(error)
        except StopIteration as stop:
            self._tasks.discard(task)
            if (limit := task.limit) is not None:
                limit.left -= 1
                if limit.left <= 0:
                    limit.round_over()
            task.done(task.index, stop.value, None)
        except BaseException as raised:
            error = None  # its traceback has this frame, and the cycle would keep buffers leased
            self._tasks.discard(task)
            task.done(task.index, None, raised)
            if not isinstance(raised, Exception):
                raise
        else:
            kind = type(wanted)
            if kind is Request or kind is Pause or kind is Waiting:
                task.many = False
                task.answers = [None]
                task.outstanding = 1
                if kind is Request:
                    self._queue.ready.append(PendingRequest(task, 0, wanted))
                elif kind is Pause:
                    self._queue.delay(wanted.seconds, task, None)
                else:
                    self._await(task, wanted)
            else:
                task.many = True
                task.answers = []
                task.requests = iter(wanted)
                self._sets.append(task)

    def _pull(self, task: Task) -> None:
        """Start the next request of a task's set, if there is one."""
        try:
            request: Any = next(task.requests, None) if task.requests is not None else None
        except Exception as error:  # the requests cannot be made: their source failed
            self._fail_task(task, error)
            self._settle(task)
            return
        if request is None:
            self._sets.popleft()
            task.requests = None
            self._settle(task)
            return
        task.outstanding += 1
        if type(request) is Waiting:
            self._sets.popleft()
            self._await(task, request)
            return
        if task.outstanding >= task.width:  # the rest waits for an answer
            self._sets.popleft()
        if task.many:
            task.answers.append(None)
        self._queue.ready.append(PendingRequest(task, len(task.answers) - 1 if task.many else -1, request))

    def _await(self, task: Task, waiting: Waiting) -> None:
        """Go on with others while a task, or the next request of its set, waits for a disk."""
        entry = task, object()  # not ``waiting``: frames that an error refers to would keep its memory
        self._queue.awaited.append(entry)
        self._multiplexer.await_disk(waiting, partial(self._on_waited, entry))

    def _on_waited(self, waiting: tuple[Task, object], error: BaseException | None) -> None:
        if waiting not in self._queue.awaited:
            return  # its task was given up
        self._queue.awaited.remove(waiting)
        task = waiting[0]
        task.outstanding -= 1
        if error is not None and task.failed is None:
            self._fail_task(task, error)
        del error
        if task.requests is None:
            self._settle(task)
        elif task.outstanding < task.width and task not in self._sets:
            self._sets.append(task)

    def _settle(self, task: Task) -> None:
        """Resume a task when nothing of its set is outstanding."""
        if task.outstanding or task.requests is not None or task not in self._tasks:
            return
        self._advance(task, task.answers if task.many else task.answers[0], task.failed)

    def _on_more(self, pending: PendingRequest) -> None:
        """The head asked for more requests: they run beside this one and belong to the same task."""
        exchange, task = pending.exchange, pending.task
        assert exchange is not None
        more, exchange.more = exchange.more, ()
        if task.many:
            task.outstanding += len(more)
            self._queue.ready.extend(PendingRequest(task, -1, request) for request in more)
        elif more:
            task.requests = iter(more)
            self._sets.append(task)

    def _report(self, pending: PendingRequest, error: BaseException | None) -> None:
        task = pending.task
        task.outstanding -= 1
        if error is not None and task.failed is None:
            self._fail_task(task, error)
        del error
        if task.requests is not None and task.outstanding == task.width - 1:
            self._sets.append(task)
        elif not task.outstanding:
            self._settle(task)

    def _fail_task(self, task: Task, error: BaseException) -> None:
        """One request of a task has failed for good: the others of its set are given up."""
        task.failed = error
        task.requests = None
        if task in self._sets:
            self._sets.remove(task)
        task.outstanding -= self._multiplexer.drop(task) + self._queue.remove(task)

    def _give_up(self, task: Task, reason: str) -> None:
        self._fail_task(task, TransferCancelledError(reason))
        self._settle(task)

    def _abandon(self, tasks: Iterable[Task]) -> None:
        """Give up operations that are still cleaning up when the time for that is over."""
        for task in list(tasks):
            self._tasks.discard(task)
            task.done(task.index, None, abandoned(task.steps))
