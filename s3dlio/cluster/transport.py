"""How ranks reach each other: messages of bytes, without waiting."""

from __future__ import annotations

import time
from typing import Protocol

#: Between two looks of one who waits for a message (seconds); a look takes microseconds.
_LOOK = 50e-6


class Transport(Protocol):
    """Sends and receives messages. Those from one rank to another arrive whole and in order. For one thread.

    Attributes:
        rank: this one.
        size: how many there are.
        host: the name of this one's host.
    """

    rank: int
    size: int
    host: str

    def send(self, rank: int, message: bytes) -> None:
        """Send a message, without waiting."""

    def receive(self) -> tuple[int, bytes] | None:
        """A message that has arrived, and from whom; None where none has."""

    def is_sent(self) -> bool:
        """Whether all that was sent has left."""

    def leave(self) -> None:
        """End well; called by all ranks."""

    def abort(self, code: int) -> None:
        """End all ranks, this one too."""


def wait_for_message(transport: Transport, *, attentive: bool) -> tuple[int, bytes]:
    """The next message; ``attentive``: without sleeping, for what is timed."""
    while (found := transport.receive()) is None:
        time.sleep(0 if attentive else _LOOK)
    return found
