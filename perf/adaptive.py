"""Whether a batch finds how many operations in flight pay: ``python -m perf.adaptive``.

Four simulated services, near, usual, far, and one that throttles above 40 in flight, are asked for objects with every
fixed number in flight and with the adaptive limit, which begins anew with each. Time is simulated: a request takes a
client's CPU for a while, one after the other, and the service for its latency, with some spread; a service works on so
many at a time, and has others wait. A throttled request is answered at once, and sent again after the pause that the
retry policy makes. The same seed gives the same table.
"""

from __future__ import annotations

import heapq
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from s3dlio.net.adaptive import AdaptiveLimit

#: Seconds of the client's CPU for each request that is answered, and for one that is throttled.
CPU, CPU_THROTTLED = 35e-6, 50e-6
#: A limit as users give it, above what any of the services needs.
CEILING = 256
SECONDS = 20.0
FIXED = (1, 2, 4, 8, 16, 32, 40, 48, 64, 96, 128, 192, 256)
#: The first pause of the retry policy's default, and its longest.
BASE_DELAY, MAX_DELAY = 0.1, 20.0


@dataclass(frozen=True)
class Service:
    """A simulated service.

    Attributes:
        name: as the table has it.
        latency: seconds, from half of it to half more.
        workers: requests that it works on at a time.
        throttles_above: how many may be there, working or waiting; others are throttled.
    """

    name: str
    latency: float
    workers: int = 100_000
    throttles_above: int | None = None


SERVICES = (
    Service("0.2 ms", 0.2e-3, workers=16),
    Service("5 ms", 5e-3, workers=512),
    Service("50 ms", 50e-3),
    Service("20 ms, throttles above 40", 20e-3, throttles_above=40),
)


class Limit(Protocol):
    """What decides how many operations are in flight."""

    current: int
    left: int

    def round_over(self) -> None: ...

    def throttled(self) -> None: ...


class Fixed:
    """Always so many."""

    def __init__(self, width: int) -> None:
        self.current = width
        self.left = 1 << 60

    def round_over(self) -> None:
        return None

    def throttled(self) -> None:
        return None


class Simulation:
    """A client that has as many operations in flight as a limit says, against one service."""

    def __init__(self, service: Service, limit: Callable[[Callable[[], float]], Limit], seed: int = 1) -> None:
        self.now = 0.0
        self._service = service
        self._random = random.Random(seed)
        self._limit = limit(lambda: self.now)
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = 0
        self._cpu_free = 0.0
        self._inside = 0
        self._waiting: deque[int] = deque()  # attempts of those that the service has not begun with
        self._running = 0
        self.done = 0
        self.throttled = 0

    def run(self, seconds: float) -> float:
        """Operations a second, from the first one on."""
        self._fill()
        while self._events and self._events[0][0] <= seconds:
            self.now, _, action = heapq.heappop(self._events)
            action()
        return self.done / seconds

    def _at(self, moment: float, action: Callable[[], None]) -> None:
        self._order += 1
        heapq.heappush(self._events, (moment, self._order, action))

    def _with_cpu(self, seconds: float, action: Callable[[], None]) -> None:
        """When the client's thread gets to it: it does one thing after the other."""
        self._cpu_free = max(self._cpu_free, self.now) + seconds
        self._at(self._cpu_free, action)

    def _fill(self) -> None:
        while self._running < self._limit.current:
            self._running += 1
            self._with_cpu(CPU / 2, lambda: self._arrive(1))

    def _arrive(self, attempt: int) -> None:
        most = self._service.throttles_above
        if most is not None and self._inside >= most:
            self._with_cpu(CPU_THROTTLED, lambda: self._refused(attempt))
            return
        self._inside += 1
        if self._inside > self._service.workers:
            self._waiting.append(attempt)
        else:
            self._work()

    def _work(self) -> None:
        self._at(self.now + self._service.latency * self._random.uniform(0.5, 1.5), self._answer)

    def _answer(self) -> None:
        self._inside -= 1
        if self._waiting:
            self._waiting.popleft()
            self._work()
        self._with_cpu(CPU / 2, self._ended)

    def _ended(self) -> None:
        self.done += 1
        self._running -= 1
        self._limit.left -= 1
        if self._limit.left <= 0:
            self._limit.round_over()
        self._fill()

    def _refused(self, attempt: int) -> None:
        self.throttled += 1
        self._limit.throttled()
        pause = self._random.uniform(0, min(MAX_DELAY, BASE_DELAY * 2.0 ** (attempt - 1)))
        self._at(self.now + pause, lambda: self._arrive(attempt + 1))


@dataclass(frozen=True)
class Found:
    """What came of one service: operations a second with the best fixed number in flight, and with the adaptive
    limit, where that was at the end, and what share of its requests was throttled."""

    service: Service
    best_width: int
    best: float
    adaptive: float
    limit: int
    throttled: float


def measure(service: Service, seconds: float = SECONDS, seed: int = 1) -> Found:
    """Ask a service with every fixed number in flight, and with the adaptive limit."""
    rates = {}
    for width in FIXED:
        rates[width] = Simulation(service, lambda clock, width=width: Fixed(width), seed).run(seconds)  # type: ignore[misc]
    best = max(rates.values())
    limits: list[AdaptiveLimit] = []

    def adaptive(clock: Callable[[], float]) -> AdaptiveLimit:
        limits.append(AdaptiveLimit(CEILING, clock=clock))
        return limits[0]

    simulation = Simulation(service, adaptive, seed)
    rate = simulation.run(seconds)
    width = min(width for width in FIXED if rates[width] >= 0.99 * best)
    share = simulation.throttled / (simulation.throttled + simulation.done)
    return Found(service, width, best, rate, limits[0].limit, share)


def main() -> None:
    """Print the table."""
    print(f"{'service':28}{'best fixed':>12}{'op/s':>10}{'adaptive':>10}{'ratio':>8}{'limit':>7}{'throttled':>11}")
    for service in SERVICES:
        found = measure(service)
        print(
            f"{service.name:28}{found.best_width:>12}{found.best:>10,.0f}{found.adaptive:>10,.0f}"
            f"{found.adaptive / found.best:>8.2f}{found.limit:>7}{found.throttled:>11.2%}"
        )


if __name__ == "__main__":
    main()
