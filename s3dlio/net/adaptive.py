"""How many operations a batch has in flight: as many as pay, and fewer while a service asks to slow down."""

from __future__ import annotations

import logging
from collections.abc import Callable

from s3dlio.forking import ForkLock
from s3dlio.net import system

log = logging.getLogger("s3dlio.net")

#: Operations in flight that a batch begins with, where its ceiling is higher: one lane is busy with that many to any
#: near service, and a far one answers twice as many in the next round.
START = 64
#: Throughput must grow by so much for twice as many in flight. The first round after a change is half of the old kind,
#: so that a service that is twice as fast with twice as many shows a third more.
_GAIN = 1.15
#: Seconds that a round lasts at least: what the clock and other processes add to shorter ones is as much as a gain.
_ROUND = 0.010
#: So many rounds, and seconds, a limit stands before more are tried again.
_ROUNDS, _SECONDS = 32, 1.0

#: Held, for a moment, while ``limit``, ``current`` or ``_taken`` of any limit change.
_places = ForkLock()


class AdaptiveLimit:
    """The number of operations that may be in flight, below a ceiling.

    It counts in rounds: as many operations as may be in flight have succeeded. While it climbs, each round has twice as
    many in flight as the one before, until that has not made it faster in two rounds; then the limit is the smaller one
    again, and more are tried after a while. After a throttled answer half as many are in flight at once; each round
    without another goes half of the way back to what was just too much, and stays a sixteenth below it for a while.

    The lane that a batch runs on reads ``current`` before it begins an operation and counts ``left`` down. Places are
    taken and given back by other threads as well.

    Args:
        ceiling: operations in flight, at most.
        start: how many to begin with, or fewer; what an earlier batch has found.
        clock: seconds; without, ``system.monotonic``.
    """

    __slots__ = ("_began", "_best", "_clock", "_count", "_goal", "_ignored", "_level", "_misses", "_rounds",
                 "_stands", "_step", "_taken", "ceiling", "current", "left", "limit")  # fmt: skip

    def __init__(self, ceiling: int, start: int = START, clock: Callable[[], float] | None = None) -> None:
        self.ceiling = ceiling
        self._clock = clock or (lambda: system.monotonic())
        self.limit = max(1, min(ceiling, start))
        #: Operations of the lane that may be in flight now.
        self.current = self.limit
        self._taken = 0  # places of calls that do not run on the lane
        self._level = self.limit  # what has paid
        self._best = 0.0  # operations a second with that many
        self._misses = 0  # rounds with more in flight that were not faster
        self._goal = ceiling  # below what was refused
        self._step = 0  # by how much more is tried beyond the goal; 0: nothing was refused yet
        self._ignored = 0  # throttled answers yet to come that belong to the burst for which the limit was halved
        self._rounds = 0  # since the limit was changed
        self._stands = 0.0  # when it was
        self.left = 0
        self._count = 0
        self._began = 0.0
        self._begin()

    # -- what an earlier batch has found

    def found(self) -> int:
        """What the next batch may begin with; 0 where nothing was found."""
        if self._step:
            return self._goal
        return self.limit if self.limit > START else 0

    def begin_with(self, found: int) -> None:
        """Begin with what an earlier batch has found, and stay there for a while."""
        self._set(found)
        self._level = self.limit
        self._begin()
        self._stands = self._began

    # -- what the lane tells

    def throttled(self) -> None:
        """A request was throttled. The answers to all requests that were in flight with it count as one."""
        if self._ignored:
            self._ignored -= 1
            return
        refused = self.limit
        self._goal = max(1, refused - max(1, refused // 16))
        self._step = 1
        self._set(max(1, refused // 2))
        log.info("the service asks to slow down: %d operations in flight instead of %d", self.limit, refused)
        self._ignored = refused - 1
        self._begin()

    def round_over(self) -> None:
        """``left`` has come down to 0: as many operations have succeeded as may be in flight."""
        self._count += self.limit
        self.left = self.limit
        now = self._clock()
        if now - self._began < _ROUND:
            return
        rate = self._count / (now - self._began)
        self._rounds += 1
        self._ignored = 0
        if self._step:
            self._recover(now)
        elif self._stands:
            self._stand(rate, now)
        else:
            self._climb(rate, now)
        self._begin(now)

    # -- places that are taken elsewhere

    def take_place(self) -> bool:
        """Take the place of one operation for a call that does not run on the lane; False where that has none."""
        with _places:
            if self.current < 2:
                return False
            self._taken += 1
            self.current -= 1
            return True

    def give_place_back(self) -> None:
        """That call has ended."""
        with _places:
            self._taken -= 1
            self.current = max(1, self.limit - self._taken)

    # -- the rules

    def _climb(self, rate: float, now: float) -> None:
        if rate >= _GAIN * self._best:
            self._best, self._level, self._misses = rate, self.limit, 0
            self._set(2 * self.limit)
            return
        self._misses += 1
        if self._misses == 2:
            self._set(self._level)
            self._stands = now

    def _stand(self, rate: float, now: float) -> None:
        if self._rounds >= _ROUNDS and now - self._stands >= _SECONDS and self.limit < self.ceiling:
            self._best, self._level, self._misses, self._stands = rate, self.limit, 0, 0.0
            self._set(2 * self.limit)

    def _recover(self, now: float) -> None:
        if self.limit < self._goal:
            self._set(self.limit + (self._goal - self.limit + 1) // 2)
            self._stands = now
        elif self._step > 1 or (self._rounds >= _ROUNDS and now - self._stands >= _SECONDS):
            self._set(self.limit + self._step)
            self._step *= 2

    def _set(self, limit: int) -> None:
        with _places:
            self.limit = min(self.ceiling, limit)
            self.current = max(1, self.limit - self._taken)
        self._rounds = 0

    def _begin(self, now: float | None = None) -> None:
        self._began = self._clock() if now is None else now
        self._count = 0
        self.left = self.limit


class FixedLimit(AdaptiveLimit):
    """Always as many as the ceiling allows."""

    __slots__ = ()

    def __init__(self, ceiling: int) -> None:
        super().__init__(ceiling, ceiling)
        self.left = 1 << 62

    def throttled(self) -> None:
        return None

    def found(self) -> int:
        return 0

    def begin_with(self, found: int) -> None:
        return None
