"""Several servers that are doors to the one service; each may be down for a while, in its own way."""

from __future__ import annotations

import math
from typing import NamedTuple

from tests.simulation.faults import RESET, STALL, Fault, Faults
from tests.simulation.world import World

#: ``refuses``: nobody listens, and connections break off. ``silent``: nothing is answered. ``breaks``: connections are
#: made, and break off with the first request. ``proxy``: what stands before it says that it is not there.
_WAYS = ("refuses", "refuses", "silent", "breaks", "proxy")


class _Outage(NamedTuple):
    begin: float
    end: float
    way: str


class Servers:
    """The servers of one schedule.

    Args:
        world: whose chance decides.
        faults: where what goes wrong is counted.
        count: how many there are.
        limit: requests in flight at each of them, at most; None: any number.
    """

    def __init__(self, world: World, faults: Faults, count: int, limit: int | None) -> None:
        self._world = world
        self._faults = faults
        self.hosts = [f"10.0.0.{number}" for number in range(1, count + 1)]
        self.limit = limit
        #: One was down, and requests may have gone where there was no room.
        self.was_down = False
        self._outages = {host: self._drawn() for host in self.hosts}

    def _drawn(self) -> list[_Outage]:
        chance, found, begin = self._world.chance, [], self._world.now
        for _ in range(chance.choice((0, 0, 1, 1, 2))):
            begin += chance.choice((0.0, 0.0, 1.0, 1.01, 1.2, 3.0))
            end = begin + chance.choice((0.05, 0.5, 5.0, 60.0, math.inf))
            found.append(_Outage(begin, end, chance.choice(_WAYS)))
            begin = end
        return found

    def way(self, host: str) -> str:
        """How a server is down now; empty: it is up."""
        now = self._world.now
        return next((each.way for each in self._outages[host] if each.begin <= now < each.end), "")

    def refuses(self, host: str) -> str:
        """How a server takes no connection now; empty: it takes one."""
        way = self.way(host)
        if way not in ("refuses", "silent"):
            return ""
        self.was_down = True
        self._faults.happened.append("down")
        return way

    def fails(self, host: str) -> Fault | None:
        """What goes wrong with a request that has come to a server."""
        way = self.way(host)
        if not way:
            return None
        self.was_down = True
        self._faults.happened.append("down")
        if way == "proxy":
            return Fault("refused", status=self._world.chance.choice((500, 502, 504)))
        return Fault("lost", how=STALL, seconds=math.inf) if way == "silent" else Fault("lost", how=RESET)
