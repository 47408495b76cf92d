"""Token buckets: how many bytes a second go and come at most, over all connections that share a limit."""

from __future__ import annotations

import math

from s3dlio.config.bandwidth import Timetable, parse_timetable
from s3dlio.forking import ForkLock
from s3dlio.net import system

#: Seconds of its rate that a bucket holds, so that a connection which comes late is as fast on average.
_BURST = 0.1
#: Seconds that one receive or send may take at the rate of its bucket: connections take turns.
_TURN = 0.05
#: Seconds that nobody waits for.
_SHORTEST = 1e-5
#: Bytes of one receive or send: a packet, and as much as is received at a time without a limit.
_LEAST, _MOST = 1024, 1 << 20
#: Seconds between two looks at the timetable.
_LOOK_SECONDS = 1.0


class TokenBucket:
    """The bytes of one direction. Safe to share among threads.

    Args:
        table: the limits.
        upward: those of what is sent.
    """

    def __init__(self, table: Timetable, *, upward: bool) -> None:
        self._table = table
        self._upward = upward
        self._rate = math.inf
        self._look_at = -math.inf
        self._free_at = -math.inf  # when the next byte may go
        self._lock = ForkLock()
        #: Bytes that one receive or send may take.
        self.turn = _MOST

    def wait(self) -> float:
        """Seconds until the next bytes may go, ``turn`` at most; 0: now."""
        now = system.monotonic()
        if now >= self._look_at:
            self._look(now)
        left = self._free_at - now
        return left if left > _SHORTEST else 0.0

    def spend_and_wait(self, count: int) -> None:
        """So many bytes went; this thread waits until more may."""
        self.wait()  # which looks at the timetable
        self.spend(count)
        await_turn(self)

    def spend(self, count: int) -> float:
        """So many bytes went; when that was."""
        now = system.monotonic()
        if self._rate < math.inf:
            with self._lock:
                self._free_at = max(self._free_at, now - _BURST) + count / self._rate
        return now

    def _look(self, now: float) -> None:
        """See which limit holds now."""
        limit = self._table.at(system.time())
        rate = limit.up if self._upward else limit.down
        with self._lock:
            self._look_at = now + _LOOK_SECONDS
            if rate is None:
                self._rate, self._free_at, self.turn = math.inf, -math.inf, _MOST
            else:
                self._rate = rate
                self.turn = max(_LEAST, min(_MOST, int(rate * _TURN)))


class Bandwidth:
    """The buckets of one limit: ``up`` and ``down``."""

    def __init__(self, table: Timetable) -> None:
        self.up = TokenBucket(table, upward=True)
        self.down = TokenBucket(table, upward=False)


_shared: dict[str, Bandwidth] = {}


def bandwidth_of(limit: str) -> Bandwidth:
    """The buckets of a limit (``http.bwlimit``): all that have the same one share them.

    Raises:
        ConfigError: it cannot be understood.
    """
    found = _shared.get(limit)
    return _shared.setdefault(limit, Bandwidth(parse_timetable(limit))) if found is None else found


def await_turn(bucket: TokenBucket) -> bool:
    """Wait, on this thread, until the next bytes may go; whether that took time."""
    waited = False
    while wait := bucket.wait():
        waited = True
        system.sleep(min(wait, _BURST))
    return waited
