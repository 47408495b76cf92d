"""One entry of a stream: what is to be read, and where it lands."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

from s3dlio.memory.pool import SMALL
from s3dlio.memory.sinks import MemorySink
from s3dlio.memory.view import BytesView
from s3dlio.net.adaptive import AdaptiveLimit
from s3dlio.net.pending import PendingRequest
from s3dlio.net.resident import ResidentLane, Submission
from s3dlio.stores.call import Call

_LARGE = 8 << 20
#: A URI, or a stretch of an object: (URI, offset, length).
Entry = Any
#: What was asked for, and its bytes, or the error in their place.
Outcome = tuple[Any, BytesView | BaseException]
#: An outcome, after its position in the input.
Taken = tuple[int, Outcome]


class EntrySink(MemorySink):
    """Collects an object, and tells its size as soon as its head is there, where that matters."""

    __slots__ = ("_begun",)

    def __init__(self, begun: Callable[[int], Any]) -> None:
        super().__init__()
        self._begun = begun

    def begin(self, size: int | None) -> None:
        super().begin(size)
        if size is not None and size >= SMALL:
            self._begun(size)

    def hand_over(self) -> BytesView:
        """The object; the sink, which an idle thread may still see, keeps nothing of it."""
        view = self.view()
        self.let_go()
        return view

    def let_go(self) -> None:
        """Keep nothing of the object, whoever still refers to this."""
        self._buffer = self._grown = None
        self._begun = int


def parts_of(entry: Entry) -> tuple[Any, int, int | None]:
    if not isinstance(entry, tuple):
        return entry, 0, None
    if len(entry) != 3:
        raise TypeError(f"an entry is a URI, or (uri, offset, length), not {len(entry)} items")
    return entry


def is_large(pending: PendingRequest) -> bool:
    """Whether so much of a body is still to come that it is worth another lane."""
    return pending.exchange is not None and pending.exchange.remaining >= _LARGE


class Reader(Protocol):
    """Whose reads they are."""

    #: As many as pay are in flight.
    limit: AdaptiveLimit

    def over(self, read: StreamRead, error: BaseException | None) -> None:
        """A read has ended."""

    def fail(self, error: BaseException) -> None:
        """Reading cannot go on."""

    def go_on(self, lane: ResidentLane) -> None:
        """Begin what is wanted, on the thread of a lane."""

    def start(self) -> None:
        """Have a lane begin what is wanted. From any thread."""

    def lane_for(self, pending: PendingRequest) -> ResidentLane | None:
        """The lane for a body that turns out to be large; None where it stays."""


class StreamRead(Submission):
    """The read of one entry, on a lane or in the background."""

    __slots__ = ("call", "entry", "position", "sink", "stream")

    def __init__(
        self, stream: Reader, entry: Entry, position: int, call: Call[Any], sink: EntrySink, width: int
    ) -> None:
        super().__init__(call, width, limit=stream.limit)
        self.stream = stream
        self.entry = entry
        self.position = position
        self.call: Call[Any] | None = call
        self.sink = sink

    def end(self, result: Any, error: BaseException | None) -> None:
        lane, stream = self.lane, self.stream
        del self.stream  # the lane may refer to this a while longer
        stream.over(self, error)
        if error is None and lane is not None:
            stream.go_on(lane)
        else:  # perhaps that lane has failed
            stream.start()

    def take(self, pending: PendingRequest) -> bool:
        home, other = self.lane, self.stream.lane_for(pending)
        if not isinstance(home, ResidentLane) or other is None or other is home:
            return False
        limit = pending.task.limit
        home.let_go(pending)
        pending.task.limit = None  # it counts what ends on one lane
        self.lane = other
        if not other.post(partial(other.adopt, pending)):  # it has just ended
            pending.task.limit = limit
            home.adopt(pending)
        return True
