"""Awaited calls: a lane for each event loop, which the loop itself runs when one of its sockets is ready.

No thread is handed anything, so an awaited small object costs what it costs in a batch and a task more. What would hold
up the loop goes elsewhere: a body that turns out large goes on on a resident lane, whose thread tells the end; writes
of large bodies begin there.
"""

from __future__ import annotations

import asyncio
import contextlib
import weakref
from collections.abc import AsyncGenerator
from contextvars import copy_context
from functools import partial
from typing import Any, TypeVar

from s3dlio.engine.executor import aside, reads
from s3dlio.engine.lanes import Lanes, keep_in_child, on_lane, started_of, within
from s3dlio.errors import TransferCancelledError
from s3dlio.forking import renewed_in_child
from s3dlio.net import system
from s3dlio.net.connection import FAR_REQUESTS, SPIN_SECONDS
from s3dlio.net.pending import PendingRequest
from s3dlio.net.resident import ResidentLane, Submission
from s3dlio.stores.call import Call

T = TypeVar("T")

#: Larger bodies are not written by the event loop: only to hash one of 16 MiB takes it 2 ms.
LARGE_WRITE = 256 * 1024


class LoopLane(ResidentLane):
    """A lane that the running event loop runs, on the loop's thread."""

    def __init__(self, window: int) -> None:
        super().__init__(window=window, aside=aside, reads=reads)
        loop = asyncio.get_running_loop()
        #: Whose lane this is.
        self.loop = weakref.ref(loop)
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0
        self._look_ends = 0.0
        self._far = 0  # requests to send without looking for their answers: the last one was long in coming
        #: It runs nothing any more.
        self.closed = False
        #: It is to end when nothing is in flight any more.
        self.retires = False
        self._inbox.rest()
        loop.add_reader(self._multiplexer.fileno(), self._on_ready)
        # asyncio.run ends what its loop has begun by closing asynchronous generators.
        self._until_shutdown = _closing(weakref.ref(self))
        with contextlib.suppress(StopIteration):
            self._until_shutdown.asend(None).send(None)

    def ask(self, submission: Submission) -> None:
        """Run an operation, on the thread of the loop: its request leaves at once, if the window has room."""
        submission.lane = self
        if self._waiting or self._queue.ready or len(self._multiplexer.in_flight) >= self.window:
            self._waiting.append(submission)
        else:
            self._begin(submission, submission.steps())
        self._fill()
        if self._told:
            self._deliver()
        if self._timer is None or self._idle_until is not None:
            self._arm()
        if len(self._multiplexer.in_flight) == 1:
            self._look_for_answer()

    def _look_for_answer(self) -> None:
        """Keep the loop turning, for the answer of a near server: as of ``Connection``, sleeping and waking a CPU takes
        longer. What else the loop has to do runs meanwhile."""
        if self._far:
            self._far -= 1
        else:
            self._look_ends = system.perf_counter() + SPIN_SECONDS
            asyncio.get_running_loop().call_soon(self._look)

    def _look(self) -> None:
        if len(self._multiplexer.in_flight) != 1:
            return
        if system.perf_counter() < self._look_ends:
            asyncio.get_running_loop().call_soon(self._look)
        else:
            self._far = FAR_REQUESTS

    def give_up(self, submission: Submission) -> None:
        """Give up what an operation has in flight, on the thread of the loop."""
        try:
            self.cancel(submission)
            self._deliver()
        except BaseException as error:
            self.shut(error)
            raise

    def _on_ready(self) -> None:
        if self.closed:
            return
        try:
            self.turn(0.0)
        except BaseException as error:
            self.shut(error)
            raise
        if self.retires and self._is_done():
            self.shut()
            return
        if not self._inbox.rest():  # until its next turn it sleeps, and is to be woken
            asyncio.get_running_loop().call_soon(self._on_ready)
        pause = self.pause()
        loop = asyncio.get_running_loop()
        if pause is not None and (self._timer is None or loop.time() + pause < self._due):
            self._arm(pause)

    def _arm(self, pause: float | None = None) -> None:
        """Have a turn when its timers and deadlines are due, whatever comes meanwhile."""
        pause = self.pause() if pause is None else pause
        if pause is None:
            return
        loop = asyncio.get_running_loop()
        if self._timer is not None:
            self._timer.cancel()
        self._due = loop.time() + pause
        self._timer = loop.call_at(self._due, self._on_timer)

    def _timeout(self) -> float:
        due = self._multiplexer.due  # of what waits for bandwidth
        pause = super()._timeout()
        return pause if due > pause + system.monotonic() else max(0.0, due - system.monotonic())

    def _on_timer(self) -> None:
        self._timer = None
        self._on_ready()

    def retire(self) -> None:
        """End when nothing is in flight any more. From any thread, and from a finaliser."""
        self.retires = True
        self.post(_nothing)

    def shut(self, error: BaseException | None = None) -> None:
        """The event loop ends, or this lane fails: give up everything, and let the connections go."""
        if self.closed:
            return
        self.closed = True
        if self._timer is not None:
            self._timer.cancel()
        with contextlib.suppress(RuntimeError):  # no loop runs: it has forgotten its readers
            asyncio.get_running_loop().remove_reader(self._multiplexer.fileno())
        self.fail(error or TransferCancelledError("the event loop was closed"))

    def forsake(self) -> None:
        """In a forked child: what it has in flight, and its connections, are the parent's."""
        self.closed = True
        if self._timer is not None:
            self._timer.cancel()

    def __del__(self) -> None:
        if not getattr(self, "closed", True):
            self._multiplexer.close()


def _nothing() -> None:
    """Only to be woken."""


async def _closing(lane: weakref.ref[LoopLane]) -> AsyncGenerator[None, None]:
    try:
        yield
    finally:
        if (there := lane()) is not None:
            there.shut()


class Awaited(Submission):
    """A call that a coroutine awaits.

    Args:
        call, width: as of :meth:`LoopLanes.begin`.
        loop: the event loop that runs.
        home: its lane.
        lanes: where it goes on when its body is large.
    """

    __slots__ = ("_away", "_context", "_home", "_lanes", "future")

    def __init__(
        self, call: Call[Any], width: int, loop: asyncio.AbstractEventLoop, home: LoopLane, lanes: Lanes
    ) -> None:
        Submission.__init__(self, call, width, started_of(call) if call.spent else 0.0)
        self.future: asyncio.Future[Any] = loop.create_future()
        self._home = home
        self._lanes = lanes
        self._away = False  # it goes on elsewhere, and has its place in the window still
        self._context = copy_context() if call.store.watched else None

    def steps(self) -> Any:
        assert self.operation is not None
        steps = self.operation.steps()
        return steps if self._context is None else within(self._context, steps)

    def end(self, result: Any, error: BaseException | None) -> None:
        if self.lane is not self._home:  # on the thread of another lane
            self.lane = self._home
            self._home.post(partial(self.end, result, error))
            return
        if self._away:
            self._away = False
            self._home.window += 1
        future = self.future
        if future.done() or (self._home.closed and future.get_loop().is_closed()):
            return
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)

    def take(self, pending: PendingRequest) -> bool:
        if self.lane is not self._home or (other := self._lanes.other()) is None:
            return False
        self._home.let_go(pending)
        self._home.window -= 1
        self._away = True
        self.lane = other
        if not other.post(partial(other.adopt, pending)):  # it has just ended
            self._home.adopt(pending)
        return True

    def forsake(self) -> None:
        """Its coroutine is closed, by whatever thread collects it, and waits for nothing any more."""
        self.give_up()
        if self.future.get_loop().is_closed():  # it runs its lane no more
            self._home.shut()

    async def ended_by(self, error: BaseException) -> None:
        """Awaiting ``future`` has raised: when this has ended, the call has, and its buffers are free."""
        if isinstance(error, GeneratorExit):
            self.forsake()  # nothing may be awaited
        elif not self.over:
            await self.given_up()

    async def given_up(self) -> None:
        """Give its request up, and wait until it has ended, however often the task is cancelled meanwhile."""
        if self.lane is self._home:
            self._home.give_up(self)
        else:
            self.give_up()
        loop = asyncio.get_running_loop()
        while not self.over:
            self.future = loop.create_future()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await self.future


class LoopLanes:
    """The lanes of the event loops that await calls of one client."""

    def __init__(self, lanes: Lanes) -> None:
        self._lanes = lanes
        self._latest: LoopLane | None = None  # the one that was asked for last
        self._by_loop: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, LoopLane] = weakref.WeakKeyDictionary()
        self._finalizer = weakref.finalize(self, _retire, self._by_loop)
        renewed_in_child(self)

    def close(self) -> None:
        """Let the lanes go when what they have in flight has ended. They are made again when they are needed again."""
        _retire(self._by_loop)
        self._latest = None

    def lane(self) -> LoopLane | None:
        """The lane of the running event loop; None where the loop watches no descriptors."""
        loop = asyncio.get_running_loop()
        lane = self._latest
        if lane is None or lane.loop() is not loop:
            lane = self._latest = self._by_loop.get(loop)
        if lane is not None and not (lane.closed or lane.retires):
            return lane
        for other in [reference() for reference in self._by_loop.keyrefs()]:  # other threads add theirs meanwhile
            if other is not None and other.is_closed() and (left := self._by_loop.pop(other, None)) is not None:
                left.shut()
        with contextlib.suppress(NotImplementedError):
            lane = self._by_loop[loop] = LoopLane(self._lanes.window)
            return lane
        return None

    async def perform(self, call: Call[T], width: int, lane: LoopLane) -> T:
        """Run a call of a cloud store. When the task is cancelled, its request is given up, and its buffers are free
        when this has ended. Parameters are those of :meth:`begin`.
        """
        waiting = self.begin(call, width, lane)
        try:
            result: T = await waiting.future
        except BaseException as error:
            await waiting.ended_by(error)
            raise
        return result

    def begin(self, call: Call[Any], width: int, lane: LoopLane) -> Awaited:
        """Begin a call of a cloud store. Who awaits its ``future`` has what that raises go through ``ended_by``.

        Args:
            call: what to run.
            width: requests of it in flight, at most.
            lane: of this event loop.
        """
        loop = lane.loop() or asyncio.get_running_loop()  # the latter, up to Python 3.11, asks the system who it is
        submission = Awaited(call, width, loop, lane, self._lanes)
        if call.size > LARGE_WRITE and not on_lane():
            self._lanes.run(submission)
        else:
            try:
                lane.ask(submission)
            except BaseException as error:
                submission.future.cancel()
                lane.shut(error)
                raise
        return submission

    def renew(self) -> None:
        """In a forked child no event loop of the parent runs on."""
        lanes = list(self._by_loop.values())
        for lane in lanes:
            lane.forsake()
        keep_in_child(lanes)
        self._by_loop.clear()
        self._latest = None


def _retire(by_loop: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, LoopLane]) -> None:
    for reference in by_loop.keyrefs():  # other threads add theirs meanwhile
        if (loop := reference()) is not None and (lane := by_loop.get(loop)) is not None:
            lane.retire()
