"""The parts of one object on their way: a bounded number of them, on the resident lanes of the client.

The thread that writes hands parts over, and hears of their ends through a queue. All that is known of them is kept on
that thread, so nothing here has a lock.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import partial
from queue import Empty
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from s3dlio.errors import S3dlioError, TransferCancelledError
from s3dlio.memory.caller_buffer import without_frames
from s3dlio.memory.sources import Source
from s3dlio.net import system
from s3dlio.net.cancellation import GRACE_SECONDS, Cancellation, cancel_scope
from s3dlio.net.lane import Lane
from s3dlio.net.message import Request
from s3dlio.net.resident import Submission
from s3dlio.net.response import Response
from s3dlio.net.task import Operation
from s3dlio.stores.call import Steps
from s3dlio.types import PutResult

if TYPE_CHECKING:
    from s3dlio.net.resident import ResidentLane

T = TypeVar("T")

#: Another lane takes parts where those that have some compute (copying, TLS) for more than this share of their time,
#: which is looked at so many seconds apart.
_BUSY, _LOOK = 0.75, 0.05
#: Requests of one step that are in flight, at most.
_WIDTH = 32


class PartedUpload(Protocol):
    """An object that is written in parts which become visible together (multipart upload, block list, ...)."""

    #: How many parts an object can have.
    most_parts: int

    def begin(self) -> Steps[None]:
        """Open the upload."""

    def part(self, number: int, source: Source, crc: int | None) -> Request:
        """The request that sends part ``number`` (from 1 on); its ``check`` raises for a refusal."""

    def note(self, number: int, response: Response) -> None:
        """Keep what the answer to a part has: its ETag, its checksum."""

    def complete(self, size: int) -> Steps[PutResult]:
        """Make the object of all parts; ``size`` is its length in bytes."""

    def abort(self) -> Steps[None]:
        """Leave nothing behind; best effort, never raises for what is gone already."""


class Begun:
    """An operation whose steps are made already."""

    def __init__(self, steps: Steps[Any]) -> None:
        self._steps = steps

    def steps(self) -> Steps[Any]:
        return self._steps


class _Sent(Submission):
    """A part on its way (its number), or another step of the upload (0). Nothing here refers to the writer, which may
    be dropped meanwhile."""

    __slots__ = ("_on_end", "error", "number", "result")

    def __init__(self, number: int, operation: Operation, on_end: Callable[[_Sent], None]) -> None:
        super().__init__(operation, _WIDTH)
        self.number = number
        self.result: Any = None
        self.error: BaseException | None = None
        self._on_end = on_end

    def end(self, result: Any, error: BaseException | None) -> None:
        if error is not None:
            without_frames(error)  # which refer to the part
        self.operation = None
        self.result, self.error = result, error
        self._on_end(self)


class PartSender:
    """Sends the parts of one object.

    Args:
        spare: gives a resident lane to a thread that has so many (``BaseStore.spare``). Without a lane parts are sent
            on the calling thread, one after the other.
        observe: lets observers see the answers (``Call.observe``).
    """

    def __init__(self, spare: Callable[[int], Any] | None, observe: Callable[[Steps[T]], Steps[T]]) -> None:
        self._spare = spare
        self._observe = observe
        self._in_flight: set[_Sent] = set()
        self._ended: Any = system.mailbox()
        self._lanes: list[ResidentLane] = []
        self._looked, self._computed = 0.0, 0.0
        self._given_up = False

    def send(self, number: int, request: Request) -> None:
        """Have a part sent."""
        self._start(number, _ask(request))

    def run(self, steps: Steps[T]) -> T:
        """Run another step of the upload, while no part is on its way, where its connections are; its result."""
        self._start(0, steps)
        sent = self._next()
        if sent.error is not None:
            raise sent.error
        result: T = sent.result
        return result

    def _start(self, number: int, steps: Steps[Any]) -> None:
        self._check()
        sent = _Sent(number, Begun(self._observe(steps)), self._ended.put)
        self._in_flight.add(sent)
        while (lane := self._lane()) is not None:
            if lane.submit(sent):
                return
            self._lanes.remove(lane)  # it has been closed
        run_here(sent.operation, sent.end)

    def settle(self, upload: PartedUpload, left: int) -> None:
        """Note the answers that have come, and wait for more while more than ``left`` parts are on their way.

        Raises:
            S3dlioError: a part was not stored.
        """
        while len(self._in_flight) > left or (self._in_flight and not self._ended.empty()):
            sent = self._next()
            if sent.error is not None:
                raise sent.error
            upload.note(sent.number, sent.result)

    def _check(self) -> None:
        """Whoever waits for parts, or would send one, learns that a signal handler has given them up meanwhile."""
        if self._given_up:
            raise TransferCancelledError("the write was aborted")

    def _next(self) -> _Sent:
        """What ends next. An awaited call is woken when its task is cancelled, and any when the parts are given up."""
        scope = cancel_scope.get()
        wake = partial(self._ended.put, None)
        sent: _Sent | None = None
        while sent is None:
            if scope is not None:
                scope.enter(wake)
            try:
                sent = self._ended.get()
            finally:
                if scope is not None:
                    scope.leave(wake)
            if scope is not None:
                scope.check()
            if sent is None:
                self._check()
        self._in_flight.discard(sent)
        return sent

    def give_up(self) -> None:
        """Have everything on its way given up: the connections are closed. Does not wait, and takes no lock: finalisers
        may call it."""
        self._given_up = True
        for sent in list(self._in_flight):
            if not sent.give_up() and not sent.over:
                self._in_flight.discard(sent)  # it has never left

    def await_given_up(self, upload: PartedUpload) -> None:
        """Wait until all that was given up has ended, so that nothing refers to its bytes any more."""
        try:
            self._await_ends(upload)
        finally:
            self._ended.put(None)  # to the call that this one has interrupted, which waits for the same ends

    def _await_ends(self, upload: PartedUpload) -> None:
        until = system.monotonic() + GRACE_SECONDS
        while self._in_flight and (left := until - system.monotonic()) > 0:
            try:
                sent = self._ended.get(timeout=left)
            except Empty:
                return
            self._in_flight.discard(sent)
            if sent is not None and sent.number and sent.error is None:
                with contextlib.suppress(S3dlioError):
                    upload.note(sent.number, sent.result)

    def hand_over(self, submission: Submission) -> bool:
        """Have a lane run something else of the object. Takes no lock: finalisers may call it.

        Returns:
            False: there is no lane that would.
        """
        return any(lane.submit(submission) for lane in self._lanes)

    def _lane(self) -> ResidentLane | None:
        """Where the next part goes: the lane with the fewest."""
        if self._spare is not None and (not self._lanes or self._are_busy()):
            another = self._spare(len(self._lanes))
            if another is not None and another not in self._lanes:
                self._lanes.append(another)
        if len(self._lanes) < 2:
            return self._lanes[0] if self._lanes else None
        places = [sent.lane for sent in self._in_flight]
        return min(self._lanes, key=places.count)

    def _are_busy(self) -> bool:
        now = system.monotonic()
        if (passed := now - self._looked) < _LOOK:
            return False
        computed = sum(lane.computed() for lane in self._lanes)
        busy = computed - self._computed > _BUSY * passed * len(self._lanes)
        first, self._looked, self._computed = not self._looked, now, computed
        return busy and not first


def _ask(request: Request) -> Steps[Response]:
    response: Response = yield request
    return response


def run_here(
    operation: Operation | None,
    done: Callable[[Any, BaseException | None], None],
    cancel: Cancellation | None = None,
) -> None:
    """Run an operation on the calling thread, and call ``done`` with its result or its error."""
    cancel = cancel_scope.get() if cancel is None else cancel
    assert operation is not None
    Lane(window=_WIDTH, cancel=cancel).run([(0, operation)], lambda index, *outcome: done(*outcome))
