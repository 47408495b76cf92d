"""One ceiling of requests in flight for all ranks of a host: they share what each has found out about the service.

A small file in memory holds the state of one :class:`s3dlio.net.adaptive.AdaptiveLimit` for the whole host, and how
many operations each rank wants in flight. A rank whose operations have gone through, or were refused, brings the state
on under a lock, and takes its part of the limit: the ranks climb together, and a refused answer makes all of them
slower, as soon as each has looked: after a few more of its operations.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import mmap
import os
import struct
import tempfile
from collections.abc import Iterator

from s3dlio.forking import ForkLock
from s3dlio.net import system
from s3dlio.net.adaptive import START, AdaptiveLimit

log = logging.getLogger("s3dlio.cluster")

#: What is kept of the limit.
_STATE = ("limit", "_level", "_best", "_misses", "_goal", "_step", "_ignored", "_rounds", "_stands", "left", "_count",
          "_began")  # fmt: skip
_REALS = frozenset({"_best", "_stands", "_began"})
_WHOLE = struct.Struct(f"={len(_STATE)}d")
#: How often operations were refused, and what a rank wants: less than 0 until it has begun.
_NUMBER = struct.Struct("=q")
_TO_COME = -1
#: So long (seconds) answers belong to the burst for which the limit was halved. Of the limit as many are ignored, at
#: most, but ranks that have just begun have less in flight.
_BURST = 0.1
#: A rank looks after so many operations, or a quarter of its part.
_LOOK = 8
#: Where memory is, on Linux.
_MEMORY = "/dev/shm"


class HostRoom:
    """The shared state, seen by one rank.

    Args:
        path: of the file, which all ranks of the host open.
        index: which of them this is.
        count: how many there are.
        start: how many operations the host begins with.

    Raises:
        OSError: the file cannot be opened.
    """

    def __init__(self, path: str, index: int, count: int, start: int) -> None:
        self.start = start
        self._index, self._count = index, count
        self._fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0))
        self._memory = mmap.mmap(self._fd, size_of(count))
        self._lock = ForkLock()
        self._wanted = 0

    def limit(self, ceiling: int) -> AdaptiveLimit:
        """The limit of a batch of this rank."""
        return HostLimit(ceiling, self)

    def want(self, more: int) -> None:
        """So many more operations are wanted by this rank, or fewer. Nobody else writes this place."""
        self._wanted += more
        _NUMBER.pack_into(self._memory, _place(self._index), self._wanted)

    def part(self, limit: int) -> int:
        """This rank's part of the limit: as much as each that wants some, or has not begun; 1 at least."""
        wanting = [index for index, wanted in enumerate(self._wants()) if wanted or index == self._index]
        part, more = divmod(limit, len(wanting))
        return max(1, part + (wanting.index(self._index) < more))

    def ceiling(self) -> int:
        """What all want together."""
        wants = self._wants()
        most = max(wants)
        return max(1, sum(most if wanted == _TO_COME else wanted for wanted in wants))

    def _wants(self) -> list[int]:
        return [_NUMBER.unpack_from(self._memory, _place(index))[0] for index in range(self._count)]

    def waits_for_ranks(self) -> bool:
        """Whether some have not begun yet."""
        return _TO_COME in self._wants()

    def refusals(self) -> int:
        """How often the limit was halved."""
        found: int = _NUMBER.unpack_from(self._memory, _WHOLE.size)[0]
        return found

    def refused(self) -> None:
        """It was halved once more; called with the lock."""
        _NUMBER.pack_into(self._memory, _WHOLE.size, self.refusals() + 1)

    @contextlib.contextmanager
    def whole(self) -> Iterator[AdaptiveLimit]:
        """The limit of the host, to be changed while the block runs; no other rank sees it meanwhile."""
        with self._lock:
            fcntl.flock(self._fd, fcntl.LOCK_EX)
            try:
                limit = AdaptiveLimit(self.ceiling(), self.start)
                values = _WHOLE.unpack_from(self._memory, 0)
                if values[0]:
                    for name, value in zip(_STATE, values, strict=True):
                        setattr(limit, name, value if name in _REALS else int(value))
                    limit.limit = min(limit.limit, limit.ceiling)
                yield limit
                _WHOLE.pack_into(self._memory, 0, *(getattr(limit, name) for name in _STATE))
            finally:
                fcntl.flock(self._fd, fcntl.LOCK_UN)


class HostLimit(AdaptiveLimit):
    """What a batch of one rank may have in flight: its part of the host's limit.

    Args:
        ceiling: as of :class:`AdaptiveLimit`.
        room: what the ranks of the host share.
    """

    __slots__ = ("_passed", "_refusals", "_room", "_step_size")

    def __init__(self, ceiling: int, room: HostRoom) -> None:
        self._room = room
        super().__init__(ceiling, room.start)
        self._passed = self._refusals = 0
        self._step_size = 1
        room.want(ceiling)
        with room.whole() as whole:
            self._adopt(whole)

    def _adopt(self, whole: AdaptiveLimit) -> None:
        self._set(self._room.part(whole.limit))
        self._refusals = self._room.refusals()
        self._passed = 0
        self._look_again()

    def _look_again(self) -> None:
        self.left = self._step_size = max(1, min(_LOOK, self.limit // 4))

    def throttled(self) -> None:
        with self._room.whole() as whole:
            before = whole.limit
            if system.monotonic() - whole._began > _BURST:
                whole._ignored = 0
            whole.throttled()
            if whole.limit != before:
                self._room.refused()
            self._adopt(whole)

    def round_over(self) -> None:
        """A few operations have gone through."""
        self._passed += self._step_size
        is_news = self._room.refusals() != self._refusals
        if self._passed < self.limit and not is_news:
            self._look_again()
            return
        with self._room.whole() as whole:
            # What went through before others were refused says nothing; nor does it while some are still to come.
            if not is_news and not self._room.waits_for_ranks():
                whole.left -= self._passed
                if whole.left <= 0:
                    whole.round_over()
            self._adopt(whole)

    def found(self) -> int:
        """Nothing: the room keeps it."""
        return 0

    def begin_with(self, found: int) -> None:
        return None

    def __del__(self) -> None:
        self._room.want(-self.ceiling)


def size_of(count: int) -> int:
    """Bytes of the file for so many ranks."""
    return _place(count)


def _place(index: int) -> int:
    return _WHOLE.size + (1 + index) * _NUMBER.size


def make_room(count: int) -> str:
    """A new file for so many ranks of this host; its path. It goes when all have opened it and its name is removed."""
    directory = _MEMORY if os.path.isdir(_MEMORY) else None
    fd, path = tempfile.mkstemp(prefix="s3dlio-", dir=directory)
    with open(fd, "wb") as file:
        file.write(bytes(_place(0)) + _NUMBER.pack(_TO_COME) * count)
    return path


def start_of(local: int, everywhere: int) -> int:
    """How many operations a host with ``local`` of so many ranks begins with: all hosts together with as many as one
    process, and each rank with one."""
    return max(local, START * local // everywhere)


