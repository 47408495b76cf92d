"""The receiving half of a TLS connection: heads and small bodies record by record, large bodies many records a call."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from copy import copy
from typing import Any

from s3dlio.net.tls_chain import CHAIN_FROM, BodyChain, chain_for

#: Bytes of records that one call reads, so that the other connections of the thread get their turn;
RUN = 1024 * 1024
#: from a blocking socket, so that signals do. Between two calls a thread may wait for the interpreter lock, 5 ms
#: where another one computes in Python.
BLOCKING_RUN = 4 * RUN


class TlsReader:
    """Reads from one TLS connection.

    Args:
        sock: the socket, after its handshake.
        direct: read large bodies by a chain, where there can be one.
        look: polls the socket for so many milliseconds; whether it has bytes, or the end.
        patience: milliseconds without a byte on a blocking socket.
    """

    __slots__ = ("_chain", "_look", "_patience", "_read", "blocking", "ended", "pending")

    def __init__(self, sock: Any, direct: bool, look: Callable[[float], Any], patience: float) -> None:
        self._chain: BodyChain | None = chain_for(sock) if direct else None
        self._look = look
        self._patience = patience
        #: How many bytes are decrypted and not read: they wake no selector.
        self.pending: Callable[[], int] = sock.pending
        self._read: Callable[[int, memoryview], int] = lambda _, room: sock.recv_into(room)
        if self._chain is not None:  # past two layers of SSLSocket, which take 0.6 us a call
            self.pending, self._read = self._chain.owner.pending, self._chain.owner.read
        #: The socket blocks.
        self.blocking = False
        #: The session has ended, or failed, behind bytes that were returned.
        self.ended = False

    @property
    def many(self) -> bool:
        """Large bodies are read many records a call, from a socket that the kernel itself gives a time-out."""
        return self._chain is not None

    def receive(self, room: memoryview, wanted: int) -> int:
        """As ``Connection.receive``; of a body that goes straight to its place, many records in a row."""
        if self.ended:
            return self._at_end()
        if wanted >= CHAIN_FROM and self._chain is not None:
            return self._receive_run(self._chain, room, min(wanted, BLOCKING_RUN if self.blocking else RUN))
        read = self._read
        got = int(read(len(room), room))
        limit = min(wanted, RUN)
        while 0 < got < limit:
            try:
                count = read(len(room) - got, room[got:])
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
                break
            if count == 0:
                self.ended = True
                break
            got += count
        return got

    def _receive_run(self, chain: BodyChain, room: memoryview, count: int) -> int:
        while True:
            try:
                got = chain.receive(room, count, self.blocking)
                break
            except InterruptedError:
                # The kernel's time-out begins again with every signal, and signals may never end: a poll's does not.
                if not self._look(self._patience):
                    raise TimeoutError from None
        self.ended = chain.ended
        if got == RUN < len(room) and not self.blocking and (rest := self.pending()):
            got += int(self._read(rest, room[got:]))  # a run ends with a record: see ``Connection.holds_more``
        return got

    def _at_end(self) -> int:
        if self._chain is not None and self._chain.failure is not None:
            raise copy(self._chain.failure)  # whose traceback would keep the room for the body in a cycle
        return 0

    def close_after_reading(self, sock: Any) -> bool:
        """Whether another thread is in the middle of a read, and closes ``sock`` when that is done."""
        return self._chain is not None and self._chain.close_after_reading(sock)
