"""The processes that run a benchmark together: what they tell each other. Several hosts are one group, by MPI."""

from __future__ import annotations

from typing import Protocol, TypeVar

T = TypeVar("T")


class Group(Protocol):
    """Processes that run one benchmark; each calls the same methods in the same order.

    Attributes:
        rank: the number of this one, from 0.
        size: how many there are.
    """

    rank: int
    size: int

    def barrier(self) -> None:
        """Wait until all are here."""

    def share(self, value: T) -> T:
        """What the one with rank 0 gave."""

    def gather(self, value: T) -> list[T]:
        """What each of them gave, in the order of ranks, at rank 0; elsewhere nothing."""


class Alone:
    """A group of one process."""

    rank = 0
    size = 1

    def barrier(self) -> None:
        return None

    def share(self, value: T) -> T:
        return value

    def gather(self, value: T) -> list[T]:
        return [value]
