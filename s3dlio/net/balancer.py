"""Large bodies are carried by as many lanes as they keep busy.

An operation stays on its lane; bodies move. A lane looks every few milliseconds at how it has spent its time. Where
its thread, and that of every lane that helps, has computed for most of it, which is copying where large bodies are
under way, it takes more lanes, and hands them bodies that are in flight, down or up, in their middle. Those carry them
to their end and hand them back; what follows (another attempt, the next request, the caller) is the owner's again.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from s3dlio.net import system
from s3dlio.net.multiplexer import OnEnd
from s3dlio.net.pending import PendingRequest
from s3dlio.net.sharing import Carrier, SharingMultiplexer
from s3dlio.net.task import Task

#: A body moves while so many bytes of it, or more, are still to come or to go: handing it over and back takes as long
#: as copying a quarter of that.
LARGE = 1 << 20
#: Seconds between two looks while large bodies are under way, and while none are.
_LOOK, _REST = 0.002, 0.02
#: Another lane is worth so many bytes that are under way.
_EACH = 8 << 20
#: A lane is busy if it waits for its sockets for less than the rest of its time.
_BUSY = 0.75
#: Several lanes must have computed for so much of their time. Those that wait for the interpreter's lock, or for a CPU,
#: have computed less, and then another lane does not pay.
_COMPUTING = 0.5

#: Gives another resident lane to one that has so many already; None where there is none.
Spare = Callable[[int], "Carrier | None"]


class Balancer:
    """What one lane has handed to others.

    Args:
        multiplexer: of the lane.
        tasks: those that the lane runs.
        on_end: called for a request that has ended, with what went wrong.
        report: called for one that was given up with its task.
        spare: where other lanes come from; without, nothing is looked at.
    """

    def __init__(
        self, multiplexer: SharingMultiplexer, tasks: set[Task], on_end: OnEnd, report: OnEnd,
        spare: Spare | None,
    ) -> None:  # fmt: skip
        self._multiplexer = multiplexer
        self._tasks = tasks
        self._on_end = on_end
        self._report = report
        self._spare = spare
        #: When to look again.
        self.look_at = math.inf if spare is None else 0.0
        self._carriers: list[Carrier] = []
        self._looked = 0.0
        self._sampled: list[tuple[float, float]] = []  # seconds waited and computed by this lane and each carrier
        if spare is not None:
            multiplexer.timed = True
            self._sample(system.monotonic())

    def _place(self, pending: PendingRequest) -> bool:
        """The head of a large body has come, or more of it: whether another lane, which has less to do, takes it."""
        if pending.back is not None or not self._carriers or pending.exchange is None or pending.exchange.more:
            return False
        counts = dict.fromkeys(self._carriers, 0)
        for lent in self._multiplexer.lent:
            if lent.carrier in counts:
                counts[lent.carrier] += 1
        carrier, count = min(counts.items(), key=_load)
        own = sum(map(_moves, self._multiplexer.in_flight.values()))
        return count < own + self._ahead() and self._multiplexer.lend(pending, carrier, self._returned)

    def look(self, now: float) -> None:
        """See whether more lanes, or fewer, pay, and spread what is under way."""
        own = [pending for pending in self._multiplexer.in_flight.values() if _moves(pending)]
        if not own and not self._carriers:
            self._multiplexer.timed = False
            self._sampled.clear()
            self.look_at = now + _REST
            return
        self._multiplexer.timed = True
        sample = self._sample(now)
        if sample is not None:
            (busy, computing), lanes = sample, 1 + len(self._carriers)
            if busy > _BUSY * lanes and (lanes == 1 or computing > _COMPUTING * lanes):
                self._take_more(own)
            elif busy < _BUSY * (lanes - 1):
                del self._carriers[-1], self._sampled[-1]
        if self._carriers and own:
            self._spread(own)
        self._multiplexer.on_large = self._place if self._carriers else None
        self.look_at = now + _LOOK

    def _sample(self, now: float) -> tuple[float, float] | None:
        """How many lanes' time was spent elsewhere than in waiting for sockets since the last look, and how much of it
        in computing; None at the first look."""
        lanes = [(self._multiplexer.waited(), system.thread_time())]
        lanes += [(carrier.waited(), carrier.computed()) for carrier in self._carriers]
        before, self._sampled = self._sampled, lanes
        elapsed, self._looked = now - self._looked, now
        if len(before) != len(lanes) or elapsed <= 0:
            return None
        changes = [(after[0] - then[0], after[1] - then[1]) for after, then in zip(lanes, before, strict=True)]
        return len(lanes) - sum(waited for waited, _ in changes) / elapsed, sum(done for _, done in changes) / elapsed

    def _take_more(self, own: list[PendingRequest]) -> None:
        """As many lanes as there are bodies for, and bytes; those that turn out to wait are given up one by one.

        Bodies in memory leave a CPU to the kernel, whose network stack works as long for them as the lane does: with
        two CPUs, 8 bodies of 64 MiB at a time came on two lanes at 0.67 CPU s/GB and 1.75 GB/s, on one at 0.41 and 2.4.
        """
        kept = 0 if any(map(_is_of_file, own)) else 1
        for _ in range(min(len(own) - 1, sum(map(_bytes_of, own)) // _EACH)):
            carrier = None if self._spare is None else self._spare(len(self._carriers) + kept)
            if carrier is None or carrier in self._carriers:
                return
            self._carriers.append(carrier)
            self._sampled.append((carrier.waited(), carrier.computed()))

    def _ahead(self) -> int:
        """How many bodies fewer this lane carries itself than others do: it also begins requests and ends them, and
        several lanes would wait while it copies."""
        return min(1, len(self._carriers) - 1)

    def _spread(self, own: list[PendingRequest]) -> None:
        """Hand bodies over until no lane has more to move than another, by less than one body."""
        loads = dict.fromkeys(self._carriers, 0)
        for pending in self._multiplexer.lent:
            if pending.carrier in loads:
                loads[pending.carrier] += _bytes_of(pending)
        here = sum(map(_bytes_of, own))
        here += self._ahead() * here // len(own)
        for pending in own:
            carrier, load = min(loads.items(), key=_load)
            size = _bytes_of(pending)
            if load + size >= here:
                continue
            if not self._multiplexer.lend(pending, carrier, self._returned):
                self._carriers.clear()
                return
            loads[carrier] += size
            here -= size

    def _returned(self, pending: PendingRequest, error: Exception | None) -> None:
        """Another lane has carried a request to its end, or has given it up because its task was."""
        task, exchange = pending.task, pending.exchange
        ended = error is not None or (exchange is not None and exchange.done)
        self._multiplexer.take_back(pending)
        if ended and task.failed is None and task in self._tasks:
            self._on_end(pending, error)
        else:
            self._report(pending, None)
        del pending, error, task, exchange  # frames that the error refers to keep nothing


def _load(item: tuple[Any, int]) -> int:
    return item[1]


def _bytes_of(pending: PendingRequest) -> int:
    return 0 if pending.exchange is None else pending.exchange.remaining


def _is_of_file(pending: PendingRequest) -> bool:
    """Whether a body goes to a file, or comes from one, which costs its lane more than receiving and sending do."""
    exchange = pending.exchange
    if exchange is None:
        return False
    body = exchange.request.body
    return not exchange.wanted if body is None else body.whole() is None


def _moves(pending: PendingRequest) -> bool:
    """A large body is under way. One whose head asks for more requests, which have not begun since it waits for a disk,
    stays: they belong to the lane of its task."""
    exchange = pending.exchange
    if exchange is None or exchange.more or exchange.awaiting_continue:
        return False
    return exchange.remaining >= LARGE
