"""Connections that keep to a limit of bandwidth: their bytes wait for their turn."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from s3dlio.net import faults, system
from s3dlio.net.bandwidth import Bandwidth, await_turn
from s3dlio.net.connection import Connection
from s3dlio.net.paused import Paused
from s3dlio.net.server import Server


class PacedConnection(Connection):
    """A connection whose bytes are counted, and wait for their turn: where it blocks, here; otherwise a
    :class:`Paused` says for how long.

    Args:
        server: as of Connection.
        bandwidth: the limits.
    """

    __slots__ = ("_down", "_owed", "_up", "moved_at")

    def __init__(self, server: Server, bandwidth: Bandwidth) -> None:
        super().__init__(server)
        self.layered = True
        self._up, self._down = bandwidth.up, bandwidth.down
        #: When bytes came or went last.
        self.moved_at = -math.inf
        self._owed = 0  # bytes that TLS has begun to send: it wants at least as many again

    def receive(self, room: memoryview, wanted: int) -> int:
        down = self._down
        if self._blocking:
            if await_turn(down) and not self.holds_more():
                self._await_other_end(system.wait_for_read)
        elif wait := down.wait():
            raise Paused(wait, sending=False)
        if len(room) > down.turn:
            room = room[: down.turn]
        got = super().receive(room, min(wanted, len(room)))
        self.moved_at = down.spend(got)
        return got

    def send(self, pieces: Sequence[bytes | memoryview]) -> int:
        up = self._up
        if self._blocking:
            if await_turn(up):
                self._await_other_end(system.wait_for_write)
        elif wait := up.wait():
            raise Paused(wait, sending=True)
        limited = _first(pieces, max(up.turn, self._owed))
        try:
            sent = super().send(limited)
        except faults.would_block:
            self._owed = sum(map(len, limited))
            raise
        self._owed = 0
        self.moved_at = up.spend(sent)
        return sent

    def _await_other_end(self, wait: Callable[[Any, float], Any]) -> None:
        """After a pause: the other end has had that time, too.

        Raises:
            TimeoutError: nothing went or came for ``read_timeout`` seconds, and nothing can.
        """
        ends = self.moved_at + self.server.http.read_timeout
        if not wait(self.sock, max(0.0, ends - system.monotonic())):
            raise TimeoutError


def _first(pieces: Sequence[bytes | memoryview], count: int) -> Sequence[bytes | memoryview]:
    """The first ``count`` bytes of ``pieces``, without a copy."""
    found: list[bytes | memoryview] = []
    for piece in pieces:
        if len(piece) >= count:
            return [*found, memoryview(piece)[:count]] if len(piece) > count else [*found, piece]
        found.append(piece)
        count -= len(piece)
    return found
