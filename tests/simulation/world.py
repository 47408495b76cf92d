"""The simulated world: its clock, what will happen, chance, and the trace of what has happened.

Everything is on one thread. Time passes only while the client waits (in a selector, a poll, a blocking call, a sleep):
then the next event happens, and the next, until what the client waits for is there.
"""

from __future__ import annotations

import contextlib
import hashlib
import heapq
import random
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from s3dlio.net import bandwidth, lane, pool, sharing, system

#: The wall clock at moment 0 of the world: 2026-11-01.
EPOCH = 1_793_491_200.0
#: A schedule in which more happens, or that lasts longer (seconds of the world), does not end.
MOST_EVENTS = 60_000
LONGEST = 50_000.0


class Hang(BaseException):
    """The client waits for what cannot come, or does not get on. No driver catches it as a failure."""


class World:
    """Clock, events, chance and trace.

    Args:
        seed: all chance comes from it.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.chance = random.Random(seed)
        self.now = 1000.0
        self.trace: list[tuple[Any, ...]] = []
        #: What must not be, as the parts of the world have seen it.
        self.violations: list[str] = []
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = 0
        self._handled = 0
        #: Times that the client has entered the system.
        self.steps = 0
        #: What happens at some of them: a cancellation, an interrupt.
        self.at_step: dict[int, Callable[[], None]] = {}
        #: Other threads of the client (``lanes.Resident``), which take turns while this one waits.
        self.others: list[Any] = []
        self._others_run = False

    def note(self, *what: Any) -> None:
        """Add to the trace."""
        self.trace.append((round(self.now, 6), *what))

    def violate(self, what: str) -> None:
        """Something has happened that must not."""
        self.note("VIOLATION", what)
        self.violations.append(what)

    def digest(self) -> str:
        """The same for two runs only if the same things happened at the same moments, in the same order."""
        return hashlib.blake2b(repr(self.trace).encode(), digest_size=16).hexdigest()

    # -- what will happen

    def at(self, moment: float, event: Callable[[], None]) -> None:
        """Have ``event`` happen at ``moment``."""
        self._order += 1
        heapq.heappush(self._events, (max(moment, self.now), self._order, event))

    def after(self, seconds: float, event: Callable[[], None]) -> None:
        """Have ``event`` happen in ``seconds``."""
        self.at(self.now + seconds, event)

    def wait(self, ready: Callable[[], bool], seconds: float | None) -> bool:
        """Let time pass until ``ready()``, at most ``seconds`` (None: for ever); whether it is."""
        until = LONGEST + 2000.0 if seconds is None else self.now + max(0.0, seconds)
        while not ready():
            if self.others and self._let_others():
                continue
            if not self._events or self._events[0][0] > until:
                if seconds is None:
                    raise Hang("the client waits for what will not come")
                self.now = max(self.now, until)  # others may have worked meanwhile
                return False
            self._next()
        return True

    def pass_time(self, seconds: float) -> None:
        """Let time pass."""
        self.wait(lambda: False, seconds)

    def _next(self) -> None:
        self._handled += 1
        if self._handled > MOST_EVENTS or self.now > LONGEST:
            raise Hang(f"no end after {self._handled} events and {self.now - 1000:.0f} s")
        moment, _, event = heapq.heappop(self._events)
        self.now = max(self.now, moment)
        event()

    def _let_others(self) -> bool:
        """Let the other threads go on; whether one had something to do."""
        if self._others_run:
            return False
        self._others_run = True
        try:
            return bool(sum(other.take_turn() for other in self.others))  # all of them
        finally:
            self._others_run = False

    def step(self) -> None:
        """The client enters the system: the moment for interrupts, which only its first thread gets."""
        if self._others_run:
            return
        if self.others and self.chance.random() < 0.1:
            self._let_others()
        self.steps += 1
        if self.steps > MOST_EVENTS:
            raise Hang(f"no end after {self.steps} system calls")
        if self.at_step and (event := self.at_step.pop(self.steps, None)) is not None:
            self.note("step", self.steps)
            event()

    # -- what the client sees of it

    def monotonic(self) -> float:
        return self.now

    def perf_counter(self) -> float:
        """Whoever looks at this clock in a loop waits: time passes."""
        self.pass_time(30e-6)
        return self.now

    def time(self) -> float:
        return EPOCH + self.now

    def sleep(self, seconds: float) -> None:
        self.step()
        self.note("sleep", round(seconds, 6))
        self.pass_time(seconds)

    def uniform(self, low: float, high: float) -> float:
        return self.chance.uniform(low, high)


class OrderedSet(dict[Any, None]):
    """A set that is gone over in the order in which its members came: by their addresses no run is like another."""

    def add(self, member: Any) -> None:
        self[member] = None

    def discard(self, member: Any) -> None:
        self.pop(member, None)

    remove = dict.__delitem__


#: Modules whose sets have members without an order of their own.
_WITH_SETS: tuple[Any, ...] = (lane, sharing)


@contextlib.contextmanager
def in_place_of_the_system(world: World, **others: Any) -> Iterator[None]:
    """The client lives in ``world``: its clock and its chance, and ``others`` (of ``s3dlio.net.system``).

    Other threads of this process, a watchdog of other tests, go on in the real one.
    """
    ours = threading.get_ident()
    functions = {name: getattr(world, name) for name in ("monotonic", "perf_counter", "time", "sleep", "uniform")}
    before = {name: getattr(system, name) for name in (*functions, *others)}
    registry, pool._registry = pool._registry, {}
    buckets, bandwidth._shared = bandwidth._shared, {}
    reap, pool._reap_at = pool._reap_at, 0.0
    for module in _WITH_SETS:
        module.set = OrderedSet

    def here(simulated: Any, real: Any) -> Any:
        return lambda *args, **named: (simulated if threading.get_ident() == ours else real)(*args, **named)

    quick = threading.active_count() == 1
    try:
        for name, function in {**functions, **others}.items():
            setattr(system, name, function if quick else here(function, before[name]))
        yield
    finally:
        for name, function in before.items():
            setattr(system, name, function)
        pool._registry, pool._reap_at = registry, reap
        bandwidth._shared = buckets
        for module in _WITH_SETS:
            del module.set


def real_seconds() -> float:
    """The clock of this machine, which no world replaces."""
    return time.monotonic()
