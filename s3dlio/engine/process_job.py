"""The two halves of a verb on worker processes: what the parent and what a worker does for a batch; and the memory of
results, as the worker has it."""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from s3dlio.engine.cancel import CancelToken
from s3dlio.engine.session import Session
from s3dlio.memory.pool import SMALL
from s3dlio.memory.shared import Segment, SharedMemory
from s3dlio.memory.sinks import MemorySink, Place
from s3dlio.memory.view import BytesView
from s3dlio.stores.call import Call

if TYPE_CHECKING:
    from s3dlio.engine.processes import WorkerProcess

#: Small results are packed into leases of so many bytes. Whoever keeps one of them keeps all of its lease.
_PACK = 256 << 10
_ALIGNED = 64  # bytes: where a result begins, for arrays and the CPU's cache


#: What the worker has leased for results: token -> makes a view, from one offset to another.
Leases = dict[int, Callable[[int, int], BytesView]]


class Work:
    """The parent's half of a verb on workers. The other half is a :class:`Job`, named here.

    Args:
        home, name: the module and the class of the job.
        arguments: what that is made of.
    """

    operation = "GET"
    #: What a dead worker may have done can be done again.
    is_repeatable = True
    #: Items have payloads, which travel through shared memory.
    has_payloads = False
    #: The bytes of its calls in flight are bounded.
    is_bounded = True

    def __init__(self, home: str, name: str, *arguments: Any) -> None:
        self.job = (home, name, arguments)

    def uri(self, item: Any) -> str:
        """What an item is about, for errors."""
        return str(item)

    def result(self, told: Any, leases: Leases) -> Any:
        """The result of a call, from what its job has told."""
        return told

    def message(self, item: Any) -> Any:
        """What the job is given of an item."""
        return item

    def size(self, item: Any) -> int:
        """The bytes of an item's payload."""
        return 0

    def fill(self, item: Any, place: memoryview) -> None:
        """Copy the payload of an item to where the worker sees it."""

    def on_note(self, worker: WorkerProcess, note: Any) -> None:
        """The job told something."""

    def on_death(self, worker: WorkerProcess, items: Sequence[Any]) -> None:
        """A worker died, with these items."""


class Note(Protocol):
    """Tells the parent's half something, at once or (``later``) with the next results; from any thread."""

    def __call__(self, note: Any, *, later: bool = False) -> None: ...


class Job(ABC):
    """One batch of one verb, in the worker. Made there from what the parent's half has pickled.

    Args:
        session: with the settings of the parent's.
        results: shared memory.
        note: tells the parent's half something.

    Attributes:
        cancel: is cancelled when the parent stops the batch.
    """

    cancel: CancelToken

    def __init__(self, session: Session, results: ResultMemory, note: Note) -> None:
        self.session = session
        self.results = results
        self.note = note

    @abstractmethod
    def call(self, item: Any) -> tuple[Call[Any], Any]:
        """The call for one item, and what ``result`` needs when that has ended."""

    @abstractmethod
    def result(self, context: Any, result: Any) -> Any:
        """What the parent is told of a call that ended well."""

    def close(self) -> None:  # noqa: B027 - most have nothing to close
        """The batch is over."""


class Announced(NamedTuple):
    """What the parent has to know before it sees results: leases (token, segment, offset, capacity), and the tokens of
    packed ones that get no more results."""

    leases: list[tuple[int, int, int, int]]
    full: list[int]


class SharedSink(MemorySink):
    """Collects a body in shared memory where it is large."""

    __slots__ = ("_memory", "token")

    def __init__(self, memory: ResultMemory) -> None:
        super().__init__()
        self._memory = memory
        self.token = -1

    def begin(self, size: int | None) -> None:
        super().begin(size)
        self.token = -1

    def at(self, start: int, length: int | None) -> Place:
        size = self.size
        if self._buffer is None and self._grown is None and size is not None and size >= SMALL:
            self.token, self._buffer = self._memory.lease(size)
        return super().at(start, length)

    def take(self, data: bytes | memoryview) -> None:
        super().take(data)
        self.token = -1  # what an earlier attempt leased has nothing of it


class ResultMemory:
    """The worker's side of results: leases that the parent sees until it gives their tokens back. Of leases of one
    thread at a time, but for ``lease``."""

    def __init__(self, max_idle_bytes: int) -> None:
        self.memory = SharedMemory(max_idle_bytes)
        self._tokens = itertools.count()
        self._open: dict[int, Any] = {}  # leased for results that are not whole yet
        self._shown: dict[int, memoryview] = {}  # what the parent sees
        self._announced = Announced([], [])
        self._pack: memoryview | None = None
        self._pack_token = self._packed = 0

    def lease(self, size: int) -> tuple[int, memoryview]:
        """Memory for a large result."""
        lease = self.memory.lease(size)
        token = next(self._tokens)
        self._open[token] = lease[1:]
        return token, lease.view

    def show(self, sink: SharedSink) -> tuple[int, int, int]:
        """Have the parent see a result: the token of its lease, and offset and size in it."""
        body = sink.contents()
        assert body is not None
        size = len(body)
        if sink.token < 0 and size <= _PACK // 2:
            return self._show_packed(body, size)
        token = sink.token
        if token < 0:  # the store had it in memory of its own, or its size was not known before
            token, view = self.lease(size)
            view[:] = body
            body = view
        self._announced.leases.append((token, *self._open.pop(token)))
        self._announced.full.append(token)
        self._shown[token] = body
        return token, 0, size

    def _show_packed(self, body: memoryview, size: int) -> tuple[int, int, int]:
        pack, offset = self._pack, self._packed
        if pack is None or offset + size > _PACK:
            self.seal()
            lease = self.memory.lease(_PACK)
            token = self._pack_token = next(self._tokens)
            pack = self._pack = self._shown[token] = lease.view
            self._announced.leases.append((token, *lease[1:]))
            offset = 0
        pack[offset : offset + size] = body
        self._packed = offset + (size + _ALIGNED - 1) // _ALIGNED * _ALIGNED
        return self._pack_token, offset, size

    def end(self) -> None:
        """A batch has ended, whatever it had begun."""
        self.seal()
        self._open.clear()
        self.memory.trim()

    def seal(self) -> None:
        """No more results come into the lease that small ones are packed into."""
        if self._pack is not None:
            self._pack = None
            self._announced.full.append(self._pack_token)

    def take_announced(self) -> Announced:
        """What the parent was not told yet."""
        found, self._announced = self._announced, Announced([], [])
        return found

    def take_segments(self, most: int) -> list[Segment]:
        """The same for segments; their descriptors are to be sent and closed."""
        return self.memory.take_unannounced(most)

    def release(self, tokens: list[int]) -> None:
        """The parent sees these no more."""
        for token in tokens:
            self._shown.pop(token, None)
