"""What goes wrong in a schedule: how often, of which kinds, and with each request or connection."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tests.simulation.world import World

RESET, END, STALL = "reset", "end", "stall"


class Fault(NamedTuple):
    """One fault of one request, or of one connection.

    Args:
        kind: see ``OF_REQUESTS`` and ``OF_CONNECTIONS``.
        at: the share of the request's or answer's bytes after which it happens.
        how: the connection is reset, ended, or falls silent.
        seconds: of a silence or of a wait; infinity: for ever.
        status: of a refusal.
        retry_after: what that asks for, in seconds.
        acts: the service does what was asked for all the same.
    """

    kind: str
    at: float = 0.0
    how: str = RESET
    seconds: float = 0.0
    status: int = 503
    retry_after: int | None = None
    acts: bool = False


#: ``request``: it does not arrive whole. ``answer``: it does not arrive whole. ``lost``: not one byte of it does.
#: ``refused``: an error of the service; ``early``: before the body of the request has come. ``slow``: the answer drips.
#: ``late``: the service takes long. ``extra``: bytes behind the answer. ``closing``: the connection ends with the
#: answer, which does not say so. ``error200``: a failure that the status hides. ``damaged``: a byte of a body with a
#: checksum is another.
OF_REQUESTS = ("request", "answer", "lost", "refused", "early", "slow", "late", "extra", "closing", "error200",
               "damaged")  # fmt: skip
#: ``refuses``: nobody listens; ``silent``: no answer; ``sluggish``: it takes long.
OF_CONNECTIONS = ("refuses", "silent", "sluggish")
#: These do not fail a request, or only one that goes again at once.
HARMLESS = frozenset({"slow", "closing", "extra"})


@dataclass
class Faults:
    """The faults of one schedule.

    Args:
        world: whose chance decides.
        rate: how likely a request or a connection has one.
        most: how many there are at most; afterwards all is well.
        kinds: those of this schedule.
        idle: how likely the service closes a connection while it is idle.
        outage: from when to when everything fails in the same way, in seconds of the world.
        outage_fault: how.
    """

    world: World
    rate: float = 0.0
    most: int = 0
    kinds: tuple[str, ...] = OF_REQUESTS + OF_CONNECTIONS
    idle: float = 0.0
    outage: tuple[float, float] = (math.inf, math.inf)
    outage_fault: Fault | None = None
    happened: list[str] = field(default_factory=list)

    @property
    def harmful(self) -> int:
        """How many may have failed a request."""
        return sum(kind not in HARMLESS for kind in self.happened)

    def of_request(self) -> Fault | None:
        """What goes wrong with the next request; None: nothing."""
        begin, end = self.outage
        if self.outage_fault is not None and begin <= self.world.now < end:
            return self._made(self.outage_fault)
        return self._next(OF_REQUESTS)

    def of_connection(self) -> Fault | None:
        """What goes wrong with the next connection; None: nothing."""
        return self._next(OF_CONNECTIONS)

    def _next(self, kinds: tuple[str, ...]) -> Fault | None:
        chance = self.world.chance
        if len(self.happened) >= self.most or chance.random() >= self.rate:
            return None
        wanted = [kind for kind in kinds if kind in self.kinds]
        return self._made(self._fault(chance.choice(wanted))) if wanted else None

    def _fault(self, kind: str) -> Fault:
        chance = self.world.chance
        at = chance.choice((0.0, 1.0, chance.random(), chance.random()))
        how = chance.choice((RESET, RESET, END, STALL))
        seconds: float = chance.choice((math.inf, chance.uniform(0.1, 3.0)))
        if kind in ("late", "sluggish"):
            seconds = chance.choice((0.3, 3.0, 30.0))
        status = chance.choice((503, 503, 500, 429, 502, 504, 408))
        retry_after = chance.choice((None, None, 0, 1, 2))
        return Fault(kind, at, how, seconds, status, retry_after, chance.random() < 0.7)

    def _made(self, fault: Fault) -> Fault:
        self.happened.append(fault.kind)
        self.world.note("fault", *fault)
        return fault


def drawn(world: World) -> Faults:
    """The faults of a schedule, as chance has it."""
    chance = world.chance
    strength = chance.choice(("none", "few", "few", "some", "some", "many"))
    rate, most = {"none": (0.0, 0), "few": (0.15, 3), "some": (0.25, 10), "many": (0.5, 200)}[strength]
    kinds: Any = OF_REQUESTS + OF_CONNECTIONS
    if chance.random() < 0.4:
        kinds = tuple(chance.sample(kinds, chance.randint(1, 4)))
    return Faults(world, rate, most, kinds, idle=chance.choice((0.0, 0.1, 0.5)))
