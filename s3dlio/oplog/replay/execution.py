"""What carries the operations of a replay out: the stores of a client, or an executor of the caller's."""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from queue import SimpleQueue
from typing import Any

from s3dlio.engine.session import Session
from s3dlio.errors import ConfigError, TransferCancelledError
from s3dlio.hardware import usable_cpus
from s3dlio.memory.sinks import DiscardSink
from s3dlio.net.resident import Submission
from s3dlio.oplog.replay.clock import Clock
from s3dlio.oplog.replay.config import ReplayConfig
from s3dlio.oplog.replay.executor import OpExecutor
from s3dlio.oplog.replay.item import Item
from s3dlio.oplog.replay.retarget import Places
from s3dlio.stores.base import ObjectStore
from s3dlio.stores.call import Call
from s3dlio.transfer.generated_sources import GeneratedObjects

#: Bodies of so many bytes go to lanes of their own, where others do not wait for them.
_LARGE = 4 << 20
#: Sizes whose generators are kept.
_SIZES = 512
#: Requests of one operation in flight (parts of an upload).
_WIDTH = 32


class Execution(ABC):
    """Begins operations from one thread, and tells of their ends.

    Args:
        session: whose threads are used.
        places: where operations are done.
        clock: of the replay.
    """

    def __init__(self, session: Session, places: Places, clock: Clock) -> None:
        self._session = session
        self._places = places
        self._clock = clock
        #: Operations that have ended, from any thread.
        self.ended: SimpleQueue[Item] = SimpleQueue()
        #: Those that have begun, and have not been taken from ``ended``.
        self.in_flight: set[Item] = set()
        self._is_cancelled = False

    def prepare(self, item: Item) -> None:
        """Make an operation ready to begin. Where its name is refused it ends with that error when it begins.

        Raises:
            ConfigError: the replay as a whole cannot be.
        """
        try:
            item.uri = self._places.uri(item.operation)
            self._make(item)
        except ConfigError:
            raise
        except Exception as error:
            item.error = error

    def warm_up(self) -> None:
        """Start what the first operation would wait for."""
        self._session.executor.submit(_nothing).result()

    def begin(self, item: Item) -> None:
        """Begin an operation that is ready, and return at once."""
        self.in_flight.add(item)
        if item.error is not None:
            item.started = item.ended = self._clock.now()
            self.ended.put(item)
            return
        self._start(item)

    def cancel(self) -> None:
        """Give up what is in flight, as far as that can be; all of it ends."""
        self._is_cancelled = True

    @abstractmethod
    def _make(self, item: Item) -> None: ...

    @abstractmethod
    def _start(self, item: Item) -> None: ...

    def _on_thread(self, item: Item) -> None:
        """Have a thread do what blocks."""
        self._session.executor.submit(functools.partial(self._run, item))

    def _run(self, item: Item) -> None:
        item.started = self._clock.now()
        try:
            if self._is_cancelled:
                raise TransferCancelledError("given up by the replay", uri=item.uri, operation=item.operation.kind)
            self._do(item)
        except BaseException as error:
            item.error = error
        item.ended = self._clock.now()
        self.ended.put(item)

    @abstractmethod
    def _do(self, item: Item) -> None:
        """The work of an operation that blocks, on a thread."""


class StoreExecution(Execution):
    """Calls of stores: on event loops for clouds, on threads for what blocks.

    Args:
        session, places, clock: as of :class:`Execution`.
        config: what is written.
    """

    def __init__(self, session: Session, places: Places, clock: Clock, config: ReplayConfig) -> None:
        super().__init__(session, places, clock)
        self._objects = functools.lru_cache(_SIZES)(
            lambda size: GeneratedObjects("RAW", size, config.dedup, config.compress, seed=config.seed)
        )
        self._lanes = max(1, usable_cpus() - 1)
        self._large = 0
        self._is_cloud = False

    def _make(self, item: Item) -> None:
        store, key = self._session.store_for(item.uri)
        self._is_cloud = self._is_cloud or store.is_cloud
        operation = item.operation
        kind = operation.kind
        if kind == "PUT":
            objects = self._objects(operation.size)
            item.work = call = store.write_call(key, objects.source(item.index))
            call.held = item.held = objects.held
        elif kind == "DELETE":
            item.work = store.delete_call(key)
        elif kind == "HEAD":
            item.work = store.head_call(key)
        elif kind == "LIST":
            item.work = store.list_page_call(key, True, None)
        else:
            item.work = store.read_call(key, DiscardSink(), offset=operation.offset, length=operation.length)

    def warm_up(self) -> None:
        if self._is_cloud:
            self._session.lanes.first()
        else:
            super().warm_up()

    def _start(self, item: Item) -> None:
        call: Call[Any] = item.work
        store = call.store
        assert isinstance(store, ObjectStore)
        if not store.is_cloud:
            self._on_thread(item)
            return
        lanes = self._session.lanes
        number = len(self.in_flight) // lanes.window
        if item.operation.size >= _LARGE and self._lanes > 1:
            self._large += 1
            number += 1 + self._large % (self._lanes - 1)
        submission = _Submitted(item, self)
        item.work = submission
        while not lanes.numbered(number).submit(submission):
            pass  # it has just been closed: the next one is another

    def _do(self, item: Item) -> None:
        call: Call[Any] = item.work
        try:
            call.run()
            item.size = call.moved
        finally:
            item.work = None

    def cancel(self) -> None:
        super().cancel()
        for item in list(self.in_flight):
            if isinstance(submission := item.work, Submission):
                submission.give_up()


class _Submitted(Submission):
    """An operation on a lane, which notes when it begins there.

    Args:
        item: the operation; its work is the call.
        execution: hears of its end.
    """

    __slots__ = ("_call", "_execution", "_item")

    def __init__(self, item: Item, execution: StoreExecution) -> None:
        self._call: Call[Any] | None = item.work
        super().__init__(item.work, _WIDTH)
        self._item = item
        self._execution = execution

    def steps(self) -> Any:
        self._item.started = self._execution._clock.now()
        return super().steps()

    def end(self, result: Any, error: BaseException | None) -> None:
        item, call = self._item, self._call
        item.ended = self._execution._clock.now()
        item.started = item.started or item.ended
        item.error = error
        if error is None and call is not None:
            item.size = call.moved
        item.work = self._call = None
        self._execution.ended.put(item)


class CustomExecution(Execution):
    """Methods of an executor of the caller's, on threads.

    Args:
        session, places, clock: as of :class:`Execution`.
        executor: does the operations.
    """

    def __init__(self, session: Session, places: Places, clock: Clock, executor: OpExecutor) -> None:
        super().__init__(session, places, clock)
        self._executor = executor

    def _make(self, item: Item) -> None:
        operation = item.operation
        kind, uri = operation.kind, item.uri
        executor = self._executor
        if kind == "PUT":
            item.work = functools.partial(executor.put, uri, operation.size)
        elif kind == "GET_RANGE":
            item.work = functools.partial(executor.get_range, uri, operation.offset, operation.length)
        else:
            name = {"GET": "get", "DELETE": "delete", "HEAD": "stat", "LIST": "list"}[kind]
            item.work = functools.partial(getattr(executor, name), uri)

    def _start(self, item: Item) -> None:
        self._on_thread(item)

    def _do(self, item: Item) -> None:
        size = item.work()
        item.size = size if isinstance(size, int) and not isinstance(size, bool) else item.operation.size
        item.work = None


def _nothing() -> None:
    """Only to have a thread started."""
