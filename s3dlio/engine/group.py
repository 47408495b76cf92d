"""The processes that do one job together, and how its work is divided among them.

Every process of a group (a rank) makes the same calls in the same order. This is the group of one process, for which
there is nothing to divide; :mod:`s3dlio.cluster` has one of many.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

T = TypeVar("T")


class Group:
    """Processes that do one job together; here, this one alone.

    Attributes:
        rank: the number of this one, from 0.
        size: how many there are.
        hosts: the name of the host of each, by rank.
    """

    rank: int = 0
    size: int = 1
    hosts: tuple[str, ...] = ("localhost",)

    def barrier(self) -> None:
        """Wait until all are here."""

    def share(self, value: T) -> T:
        """What rank 0 gave, at every rank."""
        return value

    def gather(self, value: T) -> list[T]:
        """What each rank gave, in their order, at rank 0; elsewhere nothing."""
        return [value]

    def first(self, work: Callable[[], T]) -> T:
        """What ``work`` gives at rank 0, where alone it is called; its error is raised at every rank."""
        return work()

    def deal(self, entries: Iterator[T], weight: Callable[[T], int] = lambda entry: 1) -> Iterator[T]:
        """The entries of rank 0, each of them at one rank, while they come; those given elsewhere are not looked at.

        An entry goes to the rank that has got the least so far, so the same entries are always divided in the same way.

        Args:
            entries: what is to be done.
            weight: how much work an entry is, against others; less than 0: it is for rank 0.
        """
        return entries

    def moment(self, lead_ns: int) -> int:
        """A moment, the same at every rank, that is ``lead_ns`` ahead, as ``time.perf_counter_ns`` tells it."""
        return time.perf_counter_ns() + lead_ns

    @contextlib.contextmanager
    def stoppable(self, stop: Callable[[str], object]) -> Iterator[Callable[[str], None]]:
        """While the block runs, ``stop`` is called with the reason when another rank stops this part of the job; what
        is given stops the others."""
        yield lambda reason: None

    @contextlib.contextmanager
    def telling_errors(self) -> Iterator[None]:
        """An error that leaves the block ends the whole job, with that error."""
        yield

    def describe(self, parts: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """What each rank did, by rank, with its name and host."""
        return [{"rank": rank, "host": self.hosts[rank], **part} for rank, part in enumerate(parts)]


#: A group of this process alone.
ALONE = Group()
