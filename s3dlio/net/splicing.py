"""How an event loop has bodies go from connections into files within the kernel, in pieces that are worth a turn."""

from __future__ import annotations

import socket

from s3dlio.memory.pipe import Pipes
from s3dlio.net import system
from s3dlio.net.connection import Connection
from s3dlio.net.exchange import Exchange

#: Pieces have so many bytes, or more: as they come, an event brings 150 KiB of a large body, and 2 GiB took 1.43 s of
#: CPU time instead of 1.02 (client and server on two CPUs; 512 KiB and more made no difference).
_PIECE = 256 * 1024


class Splicer:
    """Moves the bodies of one event loop."""

    __slots__ = ("_enabled", "_pipes")

    def __init__(self) -> None:
        self._enabled = system.can_splice()
        self._pipes = Pipes()

    def can(self, connection: Connection) -> bool:
        """Whether a body that comes over ``connection`` can be moved so."""
        return self._enabled and not connection.layered

    def move(self, connection: Connection, exchange: Exchange) -> None:
        """Move what has come of a body that is ``splicing``; raises as its ``splice``."""
        try:
            exchange.splice(connection.fd, self._pipes)
        finally:
            least = _PIECE if exchange.splicing and exchange.remaining >= _PIECE else 1
            if connection.least != least:
                _report_from(connection, least)

    def is_late(self, connection: Connection) -> bool:
        """Nothing was reported of a connection for a long time: whether less than a piece may have come. That is
        reported from now on."""
        if connection.least == 1:
            return False
        _report_from(connection, 1)
        return True

    def close(self) -> None:
        """Give back what is not needed for the moment."""
        self._pipes.close()


def _report_from(connection: Connection, least: int) -> None:
    """Have selectors report a connection when ``least`` bytes have come, or its end. (The kernel does so before, where
    its buffer is full.)"""
    connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, least)
    connection.least = least
