"""Requests that a lane has accepted and that are not answered yet."""

from __future__ import annotations

import heapq
import itertools
import math
from collections import deque
from collections.abc import Callable
from typing import Any

from s3dlio.net import system
from s3dlio.net.connection import Connection
from s3dlio.net.exchange import Exchange
from s3dlio.net.message import Request


class PendingRequest:
    """A request that is not answered yet: whose it is, its attempts and deadlines, and its exchange while in flight.

    Args:
        task: what waits for the answer; the multiplexer only compares it.
        slot: the position of the answer in the task's set; -1 where nothing waits for it.
        request: what to send.
    """

    __slots__ = ("attempt", "back", "carrier", "connection", "deadline", "ends", "exchange", "fresh", "goes_on",
                 "guest", "request", "reused", "slot", "started", "task")  # fmt: skip

    def __init__(self, task: Any, slot: int, request: Request) -> None:
        self.task = task
        self.slot = slot
        self.request = request
        self.attempt = 1
        self.started = 0.0
        #: The moment at which waiting for the server is a fault; 0: the read time-out, from the next check on.
        self.deadline = 0.0
        #: The moment at which the request must be done, with all its retries; ``started`` counts for that alone.
        self.ends = math.inf
        #: Takes a new connection, since an idle one was stale.
        self.fresh = False
        #: Its connection has served before.
        self.reused = False
        self.connection: Connection | None = None
        self.exchange: Exchange | None = None
        #: While another lane carries it (``net.sharing``): that lane, and what that calls when it has ended.
        self.carrier: Any = None
        self.back: Callable[[Exception | None], Any] | None = None
        #: It began on another lane, which takes its connection from the pool again.
        self.guest = False
        #: It has waited for what its service fetches first, which is no better now: it does not wait again.
        self.goes_on = False

    def is_overdue(self, seconds: float) -> bool:
        """Before it is sent the first time: when the ``seconds`` of its operation end, and whether they are over."""
        if self.started:
            return False
        task = self.task
        self.started = task.started = task.started or system.monotonic()
        self.ends = self.started + seconds
        return system.monotonic() >= self.ends


class PendingQueue:
    """What is not in flight: requests that only lack room in the window, and what waits for its time."""

    __slots__ = ("_order", "awaited", "held", "ready", "timers")

    def __init__(self) -> None:
        #: Requests to start, in order.
        self.ready: deque[PendingRequest] = deque()
        #: A heap of (moment, order, task, request): the next attempt of a request, or the end of a pause (None).
        self.timers: list[tuple[float, int, Any, PendingRequest | None]] = []
        #: Requests that wait for what their service fetches first, or until a server has room.
        self.held: list[PendingRequest] = []
        #: Tasks that wait for a disk, each with what tells this time from others.
        self.awaited: list[tuple[Any, object]] = []
        self._order = itertools.count()

    def delay(self, seconds: float, task: Any, pending: PendingRequest | None) -> None:
        """Have something of ``task`` wait: a request, or the task itself (None)."""
        heapq.heappush(self.timers, (system.monotonic() + seconds, next(self._order), task, pending))

    def take_due(self, now: float) -> tuple[Any, PendingRequest | None] | None:
        """What has waited long enough, one at a time, as given to ``delay``; None when there is nothing more."""
        if not self.timers or self.timers[0][0] > now:
            return None
        _, _, task, pending = heapq.heappop(self.timers)
        return task, pending

    def take_overdue(self, now: float) -> list[PendingRequest]:
        """Take out what has had the time of its operation while it waited."""
        found = []
        for pending in (*self.ready, *self.held):
            limit = pending.request.service.policy.total_timeout
            if limit is not None and pending.task.started and now >= pending.task.started + limit:
                found.append(pending)
        for pending in found:
            (self.held if pending in self.held else self.ready).remove(pending)
            _forget(pending)
        return found

    def remove(self, task: Any) -> int:
        """Forget everything of a task; returns how much there was."""
        before = len(self.timers) + len(self.ready) + len(self.held) + len(self.awaited)
        self.awaited[:] = [entry for entry in self.awaited if entry[0] is not task]
        for pending in [pending for pending in self.held if pending.task is task]:
            self.held.remove(pending)
            _forget(pending)
        self.timers = [timer for timer in self.timers if timer[2] is not task]
        heapq.heapify(self.timers)
        for pending in [pending for pending in self.ready if pending.task is task]:
            self.ready.remove(pending)
            _forget(pending)
        return before - len(self.timers) - len(self.ready) - len(self.held) - len(self.awaited)

    def clear(self) -> None:
        """Forget everything."""
        waiting = [*self.ready, *self.held]
        for kept in (self.ready, self.held, self.timers, self.awaited):
            kept.clear()
        for pending in waiting:
            _forget(pending)


def _forget(pending: PendingRequest) -> None:
    """A request waits for room at no server any more."""
    if (spread := pending.request.service.spread) is not None:
        spread.forget(pending.request)
