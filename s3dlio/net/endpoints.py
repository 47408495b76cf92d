"""Which of several endpoints a request goes to, what each has done, and which are down. No I/O.

Users: stores over endpoints of any kind (``stores.multi``), and the requests of a client (``net.spreading``).
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from typing import Any

from s3dlio.config.endpoint_list import LEAST_CONNECTIONS, RANK, ROUND_ROBIN, SHORTEST_EXPECTED_WAIT, rank
from s3dlio.forking import ForkLock, renewed_in_child
from s3dlio.masking import redact
from s3dlio.net import system

log = logging.getLogger("s3dlio.endpoints")

#: Seconds that an endpoint which failed gets no requests, at first and at most; each failure in a row doubles them.
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 30.0
#: So many requests in a row that broke off or were answered with 500 make an endpoint one that fails.
_WEAK_LIMIT = 3
#: So many requests make the mean service time, and after so many seconds without one it counts for half: an endpoint
#: that was slow is looked at again.
_SAMPLES, _HALF_LIFE = 10, 2.0
#: Seconds without the end of any request after which limits of requests in flight keep nobody waiting: what is in
#: flight may be held up by the call that waits (of a signal handler, say).
_STUCK_SECONDS = 60.0

#: What the end of a request says of its endpoint: it works; it is down; it may be; nothing.
UP, DOWN, WEAK, NOTHING = range(4)

_COUNTERS = ("total_requests", "bytes_read", "bytes_written", "error_count", "active_requests")


class Endpoint:
    """One of them.

    Args:
        name: as it was configured.
        limit: requests in flight, at most; None: any number.
    """

    def __init__(self, name: str, limit: int | None = None) -> None:
        self.name = name
        self.limit = limit
        self.total_requests = 0
        self.bytes_read = 0
        self.bytes_written = 0
        self.error_count = 0
        self.active_requests = 0
        #: Failures in a row; with any, there are no requests before ``down_until``, and then one that finds out.
        self.failures = 0
        self.weak = 0
        self.down_until = 0.0
        self.probed = False
        self.has_answered = False
        #: Mean seconds of the last requests, and when the last one ended (``time.monotonic``).
        self.mean = 0.0
        self.measured = 0.0
        self._samples = 0

    def may_be_probed(self, now: float) -> bool:
        """Whether it is down, and it is time to find out whether it still is, and nobody does."""
        return self.failures > 0 and now >= self.down_until and not self.probed

    def has_room(self) -> bool:
        """Whether another request may be in flight."""
        return self.limit is None or self.active_requests < self.limit

    def expected_wait(self, now: float) -> float:
        """Seconds until one more request is done, if those in flight are done one by one."""
        return (self.active_requests + 1) * self._mean_at(now)

    def measure(self, seconds: float, now: float) -> None:
        """A request took ``seconds``."""
        self._samples = min(_SAMPLES, self._samples + 1)
        mean = self._mean_at(now)
        self.mean, self.measured = mean + (seconds - mean) / self._samples, now

    def _mean_at(self, now: float) -> float:
        return self.mean * math.pow(0.5, (now - self.measured) / _HALF_LIFE)

    def statistics(self) -> dict[str, int]:
        """Its counters, under both sets of their names."""
        return _with_other_names({name: getattr(self, name) for name in _COUNTERS})


def _with_other_names(counters: dict[str, int]) -> dict[str, int]:
    moved = counters["bytes_read"] + counters["bytes_written"]
    return {**counters, "requests": counters["total_requests"], "bytes_transferred": moved}


class EndpointChoice:
    """The endpoints of one store. Safe to share among threads; a forked child begins with nothing in flight.

    Args:
        endpoints: 1 or more.
        strategy: one of ``config.endpoint_list.STRATEGIES``.
        shuffled: every round goes through the endpoints in another order, so that no pattern of requests (a look, and
            then a read) meets always the same ones.

    Attributes:
        probe: finds out, on another thread, whether the endpoint of an index answers, and calls ``probed``. None: a
            request finds out.
    """

    def __init__(self, endpoints: Sequence[Endpoint], strategy: str, *, shuffled: bool = False) -> None:
        self.endpoints = list(endpoints)
        self.strategy = strategy
        self.probe: Callable[[int], None] | None = None
        #: Whether it matters how long requests take.
        self.measures = strategy == SHORTEST_EXPECTED_WAIT
        self._lock = ForkLock()
        self._shuffled = shuffled
        self._order = list(self.endpoints)
        self._next = 0
        self._go_round()
        self._home: int | None = None
        if strategy == RANK:
            number = rank()
            if number is None:
                log.warning("no variable of MPI or Slurm tells the rank of this process: endpoints are used in turn")
            else:
                self._home = number % len(self.endpoints)
        self._limited = any(endpoint.limit is not None for endpoint in self.endpoints)
        self._plain = False
        self._note_plain()
        self._waiters: dict[object, Callable[[], object]] = {}
        self._last_end = system.monotonic()
        renewed_in_child(self)

    def renew(self) -> None:
        """See :class:`s3dlio.forking.Renewable`."""
        self._waiters.clear()
        for endpoint in self.endpoints:
            endpoint.active_requests, endpoint.probed = 0, False

    # -- choosing

    def begin(
        self, tried: Sequence[Endpoint] = (), wake: Callable[[], object] | None = None, waiter: object = None
    ) -> Endpoint | None:
        """The endpoint that a request goes to, where it is counted from now on.

        Args:
            tried: where it has been already; it goes there again where no other is up.
            wake: called once when there may be room again; from any thread. False: it is of no use there.
            waiter: who waits; it has one ``wake``.

        Returns:
            None: all of those that are up have as many requests in flight as they may have.
        """
        with self._lock:
            if self._plain and not tried:
                chosen: Endpoint | None = self._order[self._next]
                due: Sequence[Endpoint] = ()
            else:
                chosen, due = self._choose(tried)
            if chosen is not None:
                self._count(chosen)
                if self._waiters:
                    self._waiters.pop(waiter, None)
            elif wake is not None:
                self._waiters[waiter] = wake
        if self.probe is not None:
            for endpoint in due:
                self.probe(self.endpoints.index(endpoint))
        return chosen

    def begin_at(self, endpoint: Endpoint) -> None:
        """Count a request that goes to this endpoint, whatever it is said of it."""
        with self._lock:
            self._count(endpoint)

    def _count(self, endpoint: Endpoint) -> None:
        order, at = self._order, self._next
        if order[at] is not endpoint:
            at = order.index(endpoint)
        if at + 1 == len(order):
            self._go_round()
        else:  # never beyond the last one, not for a moment: a signal handler may choose, too
            self._next = at + 1
        if endpoint.failures and self.probe is None:
            endpoint.probed = True
        endpoint.total_requests += 1
        endpoint.active_requests += 1

    def _go_round(self) -> None:
        """Begin another round."""
        self._next = 0
        if self._shuffled:
            shift = int(system.uniform(0, len(self._order)))
            self._order = self._order[shift:] + self._order[:shift]

    def _choose(self, tried: Sequence[Endpoint]) -> tuple[Endpoint | None, Sequence[Endpoint]]:
        """One of those that are up, None where they have no room; and those that it is time to probe."""
        now = system.monotonic()
        turn = self._order[self._next :] + self._order[: self._next]
        up = [endpoint for endpoint in turn if not endpoint.failures]
        due = [endpoint for endpoint in turn if endpoint.may_be_probed(now)]
        if due and self.probe is None:
            if not tried:  # whoever had to go elsewhere once does not find out about others
                up = [endpoint for endpoint in turn if not endpoint.failures or endpoint in due]
            due = []
        for endpoint in due:
            endpoint.probed = True
        return self._best(up, turn, tried, now), due

    def _best(
        self, up: Sequence[Endpoint], turn: Sequence[Endpoint], tried: Sequence[Endpoint], now: float
    ) -> Endpoint | None:
        if not up:
            return min([each for each in turn if each not in tried] or turn, key=lambda each: each.down_until)
        if tried:
            left = [endpoint for endpoint in up if endpoint not in tried] or up
            up = [endpoint for endpoint in left if endpoint.has_answered] or left
        free = [endpoint for endpoint in up if endpoint.has_room()]
        if not free:
            if now - self._last_end < _STUCK_SECONDS:
                return None
            self._last_end, free = now, list(up)
        if len(free) == 1 or self.strategy == ROUND_ROBIN:
            return free[0]
        if self.strategy == LEAST_CONNECTIONS:
            return min(free, key=lambda endpoint: endpoint.active_requests)
        if self.strategy == SHORTEST_EXPECTED_WAIT:
            return min(free, key=lambda endpoint: (endpoint.expected_wait(now), endpoint.active_requests))
        home = None if self._home is None else self.endpoints[self._home]
        return home if home in free else free[0]

    def has_other(self, tried: Sequence[Endpoint]) -> bool:
        """Whether an endpoint is up that is none of these."""
        return any(not endpoint.failures and endpoint not in tried for endpoint in self.endpoints)

    # -- what became of it

    def succeeded(self, endpoint: Endpoint, began: float, read: int, written: int) -> None:
        """:meth:`end` of a request that was done; it ``began`` at that moment (0: nobody looked)."""
        with self._lock:
            if endpoint.active_requests:
                endpoint.active_requests -= 1
            endpoint.bytes_read += read
            endpoint.bytes_written += written
            if began or not endpoint.has_answered or self._limited:
                now = self._last_end = system.monotonic()
                if began:
                    endpoint.measure(now - began, now)
                self._judge(endpoint, UP, None, now)
                if self._waiters:
                    self.wake_one()

    def end(
        self, endpoint: Endpoint, verdict: int, reason: object = None,
        *, failed: bool = False, read: int = 0, written: int = 0, seconds: float = 0.0,
    ) -> None:  # fmt: skip
        """Count a request that has ended.

        Args:
            endpoint: where it went.
            verdict: what this says of the endpoint.
            reason: why it is down.
            failed: it was no success.
            read, written: bytes.
            seconds: how long it took, where that says how quick the endpoint is.
        """
        now = system.monotonic()
        with self._lock:
            self._last_end = now
            endpoint.active_requests = max(0, endpoint.active_requests - 1)
            endpoint.probed = endpoint.probed and self.probe is not None
            endpoint.bytes_read += read
            endpoint.bytes_written += written
            endpoint.error_count += failed
            if seconds:
                endpoint.measure(seconds, now)
            self._judge(endpoint, verdict, reason, now)
        if self._waiters:
            self.wake_one()

    def probed(self, index: int, reason: object) -> None:
        """It was found out whether an endpoint answers; ``reason`` says why it does not."""
        endpoint = self.endpoints[index]
        with self._lock:
            endpoint.probed = False
            self._judge(endpoint, UP if reason is None else DOWN, reason, system.monotonic())
        self.wake_all()

    def wake_one(self) -> None:
        """Let the one that has waited longest look again."""
        while self._waiters:
            with self._lock:
                wake = self._waiters.pop(next(iter(self._waiters), None), None)
            if wake is not None and wake() is not False:
                return

    def forget(self, waiter: object) -> None:
        """Who waited for room was given up, and is called no more."""
        if self._waiters:
            with self._lock:
                self._waiters.pop(waiter, None)

    def wake_all(self) -> None:
        """Let everybody who waits look again."""
        with self._lock:
            waiters, self._waiters = self._waiters, {}
        for wake in waiters.values():
            wake()

    def _judge(self, endpoint: Endpoint, verdict: int, reason: object, now: float) -> None:
        if verdict == UP:
            if endpoint.failures:
                log.warning("%s answers again", redact(endpoint.name))
                endpoint.failures, endpoint.down_until = 0, 0.0
                self._note_plain()
            endpoint.weak, endpoint.has_answered = 0, True
            return
        if verdict == WEAK:
            endpoint.weak += 1
            endpoint.has_answered = False
        if verdict == DOWN or endpoint.weak >= _WEAK_LIMIT:
            if now < endpoint.down_until:
                return  # the others in flight fail with it, and count once
            pause = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2 ** min(endpoint.failures, 10))
            endpoint.failures += 1
            endpoint.weak, endpoint.has_answered, endpoint.down_until = 0, False, now + pause
            self._plain = False
            log.warning("no requests to %s for %g s: %s", redact(endpoint.name), pause, redact(str(reason)))

    def _note_plain(self) -> None:
        """Whether there is nothing to choose by but whose turn it is."""
        all_up = not any(endpoint.failures for endpoint in self.endpoints)
        self._plain = all_up and not self._limited and self.strategy == ROUND_ROBIN

    # -- what was done

    def statistics(self) -> list[dict[str, Any]]:
        """The counters of each endpoint, with its ``uri``, and whether it is ``healthy``."""
        with self._lock:
            return [{"uri": each.name, **each.statistics(), "healthy": not each.failures} for each in self.endpoints]

    def total(self) -> dict[str, int]:
        """The counters of all endpoints together."""
        with self._lock:
            return totals(self.endpoints)


def totals(endpoints: Sequence[Endpoint]) -> dict[str, int]:
    """The sums of the counters of endpoints."""
    return _with_other_names({name: sum(getattr(each, name) for each in endpoints) for name in _COUNTERS})
