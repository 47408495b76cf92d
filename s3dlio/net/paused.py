"""What a connection raises that may not send or receive yet."""

from __future__ import annotations


class Paused(Exception):
    """The limit of bandwidth is used up. It is no fault, and never leaves the HTTP layer.

    Args:
        seconds: for so long.
        sending: it may not send; otherwise, not receive.
    """

    raise_unchanged = True

    def __init__(self, seconds: float, *, sending: bool) -> None:
        super().__init__(seconds)
        self.seconds = seconds
        self.sending = sending
