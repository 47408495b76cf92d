"""One connection to one server: opened in steps, then sending and receiving, blocking or not.

It is opened non-blocking, in steps, so that a lane can open one beside the others.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import struct
import sys
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from s3dlio.errors import S3dlioError
from s3dlio.forking import call_in_child, native
from s3dlio.net import faults, kept_lock, system
from s3dlio.net.faults import ConnectionDropped, opening_fault
from s3dlio.net.resolve import Address, Resolution
from s3dlio.net.server import Server
from s3dlio.net.tunnel import Proxy, Tunnel

if TYPE_CHECKING:
    from s3dlio.net.tls_reader import TlsReader

READ, WRITE = system.READ, system.WRITE

_CAN_WAIT_ALL = sys.platform == "linux"
#: How long a thread spins for an answer before it sleeps, and for how many requests it does not spin for a far server.
SPIN_SECONDS = 100e-6
FAR_REQUESTS = 15

#: Seconds; a poll takes its time-out as milliseconds in 31 bits.
_LONGEST_WAIT = 86_400.0
#: Bytes that a blocking TLS connection sends in one call, so that signals get their turn.
_SEND_RUN = 1024 * 1024

_NEW, _RESOLVING, _CONNECTING, _HANDSHAKE, _TUNNEL, _READY = range(6)

#: An item for each thread that is within a blocking request, up to the head of its answer; appending and popping are
#: atomic. Where there are several, none spins, since it would take the interpreter's lock from the others, and they let
#: that lock go as rarely as they can (``kept_lock``).
asking: deque[None] = deque()



class Connection:
    """One connection to one server: opened in steps, then sending and receiving in blocking or non-blocking mode."""

    __slots__ = (
        "_address", "_blocking", "_far", "_keeps_lock", "_look", "_phase", "_resolution", "_tls", "_tunnel", "fd",
        "home", "idle_since", "layered", "least", "ready", "secure", "server", "sock", "used", "watched",
    )  # fmt: skip

    def __init__(self, server: Server) -> None:
        self.server = server
        self.sock: Any = None
        #: The socket's descriptor; -1 while there is none.
        self.fd = -1
        #: The events that a selector reports of it; 0: it is not registered.
        self.watched = 0
        #: They report it from so many bytes on.
        self.least = 1
        self.secure = server.secure
        #: Bytes come by ``receive``, and not by the socket itself.
        self.layered = server.secure
        #: It is open.
        self.ready = False
        self.used = False
        self.idle_since = 0.0
        #: What its pool was in the process that has made it.
        self.home: object = None
        self._phase = _NEW
        self._resolution: Resolution | None = None
        self._address: Address | None = None
        self._blocking: bool | None = None
        self._tls: TlsReader | None = None  # receives, once a secure connection is open
        self._look: Callable[[float], Any] = _nothing  # whether bytes, or the end, are in the socket
        self._keeps_lock = False  # where several threads ask: with ``kept_lock``
        self._far = 0  # answers to wait for without spinning
        self._tunnel: Tunnel | None = None

    @property
    def waits_aside(self) -> bool:
        """It waits for a thread (the resolver, the proxy's), on a socket that it does not keep."""
        return self._phase in (_RESOLVING, _TUNNEL)

    # -- opening

    def open_step(self) -> int:
        """Take the next step of opening without blocking: 0 when ready, else the event to wait for.

        Raises:
            OSError, ssl.SSLError: it cannot be opened.
        """
        if self._phase == _NEW:
            return self._start() if self.server.proxy is None else self._start_tunnel(self.server.proxy)
        if self._phase == _TUNNEL:
            return self._end_tunnel()
        if self._phase == _RESOLVING:
            return self._end_resolving()
        if self._phase == _CONNECTING:
            if code := self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                raise OSError(code, os.strerror(code))
            if not self.secure:
                return self._opened()
            from s3dlio.net import tls

            self.sock = tls.client_context(self.server.http.ca_bundle).wrap_socket(
                self.sock,
                server_hostname=self.server.host,
                do_handshake_on_connect=False,
                suppress_ragged_eofs=False,
            )
            self._phase = _HANDSHAKE
        if self._phase == _HANDSHAKE:
            try:
                with native:
                    self.sock.do_handshake()
            except faults.would_block as error:
                return READ if isinstance(error, faults.wants_read) else WRITE
            return self._opened()
        return 0

    def _start(self) -> int:
        """Connect, or wait until the server's name is resolved."""
        address = self.server.address()
        if address is not None:
            return self._connect(address)
        resolution = self._resolution = self.server.resolution()
        self.sock = resolution.waiter()
        self._phase = _RESOLVING
        if self.sock is None:
            return self._end_resolving()
        self.fd = self.sock.fileno()
        return READ

    def _end_resolving(self) -> int:
        resolution, waiter = self._resolution, self.sock
        assert resolution is not None
        if not resolution.done:
            return READ
        self.server.resolved(resolution.addresses())
        address = self.server.address()
        assert address is not None
        event = self._connect(address)
        if waiter is not None:
            waiter.close()  # only now, so that the new socket has another descriptor
        return event

    def _connect(self, address: Address) -> int:
        self._address = address
        self.sock = self.server.start_socket(address)
        self.fd = self.sock.fileno()
        self._blocking = False
        self._phase = _CONNECTING
        return WRITE

    def _opened(self) -> int:
        self._phase = _READY
        self.ready = True
        if self._address is not None:
            self.server.reached(self._address)
        self._look = _looker(self.sock)
        self._keeps_lock = kept_lock.suits(self.sock)
        if self.secure:
            http = self.server.http
            from s3dlio.net.tls_reader import TlsReader

            self._tls = TlsReader(self.sock, http.tls_direct, self._look, min(http.read_timeout, _LONGEST_WAIT) * 1000)
        return 0

    def open(self) -> None:
        """Open, blocking, within ``connect_timeout`` seconds.

        Raises:
            TimeoutError: it took longer.
        """
        deadline = system.monotonic() + self.server.http.connect_timeout
        while event := self.open_step():
            left = min(max(0.0, deadline - system.monotonic()), _LONGEST_WAIT)
            if not (system.wait_for_read if event == READ else system.wait_for_write)(self.sock, left):
                raise self.late()

    def late(self) -> TimeoutError:
        """The error for an opening that took too long."""
        what = f"the name '{self.server.host}' was not resolved" if self._phase == _RESOLVING else "no answer"
        return TimeoutError(f"{what} within {self.server.http.connect_timeout:g} s (http.connect_timeout)")

    def opening_fault(self, error: OSError) -> S3dlioError:
        """The fault for an opening that failed. Its address is avoided for a while, if there are others."""
        fault = opening_fault(error, self.server.name)
        if self._address is not None and isinstance(fault, ConnectionDropped) and not fault.crowded:
            fault.elsewhere = self.server.avoid(self._address)
        return fault

    def _start_tunnel(self, proxy: Proxy) -> int:
        tunnel = self._tunnel = proxy.tunnel()
        self.sock = tunnel.waiter
        self.fd = self.sock.fileno()
        self._phase = _TUNNEL
        return READ

    def _end_tunnel(self) -> int:
        assert self._tunnel is not None
        sock = self._tunnel.socket()
        if sock is None:
            return READ
        self.sock = sock
        self.fd = sock.fileno()
        if self.secure:
            sock.suppress_ragged_eofs = False
        self._blocking = None
        self.set_blocking(False)
        return self._opened()

    # -- bytes

    def set_blocking(self, blocking: bool) -> None:
        """Switch the mode; a blocking socket gives up after ``read_timeout`` seconds without a byte."""
        if self._blocking == blocking:
            return
        sock, tls, seconds = self.sock, self._tls, self.server.http.read_timeout
        if tls is not None:
            tls.blocking = blocking
        if not blocking:
            sock.settimeout(0)
        elif not _CAN_WAIT_ALL or (self.secure and (tls is None or not tls.many)):
            sock.settimeout(seconds)
        else:
            # Python's own timeouts poll before each receive and make MSG_WAITALL useless; the kernel's do neither.
            sock.settimeout(seconds if self.secure else None)
            if self.secure:
                os.set_blocking(self.fd, True)  # and ssl, which waits for ever without one, keeps its time-out
            limit = struct.pack("ll", int(seconds), int(seconds % 1 * 1e6))
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
        self._blocking = blocking

    def send(self, pieces: Sequence[bytes | memoryview]) -> int:
        """Send what fits of ``pieces``; returns how many bytes went.

        Raises:
            BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError: nothing fits now.
        """
        if len(asking) > 1 and self._keeps_lock and not self.secure and (count := kept_lock.send(self.fd, pieces)):
            return count
        if len(pieces) == 1:
            piece = pieces[0]
            sent: int = self.sock.send(piece[:_SEND_RUN] if self.secure and self._blocking else piece)
            return sent
        if not self.secure:
            return int(self.sock.sendmsg(pieces))
        first, second = pieces[0], pieces[1]
        # One TLS record (16 KiB at most) instead of two for a head and its small body.
        room = 16384 - len(first)
        return int(self.sock.send(bytes(first) + bytes(second[:room]) if room > 0 else first))

    def receive(self, room: memoryview, wanted: int) -> int:
        """Receive into ``room``.

        Args:
            room: where the bytes go.
            wanted: bytes of a body that go straight to their place: a blocking plain socket waits for all of them,
                a TLS connection reads record after record up to a limit. 0: whatever comes first.

        Returns:
            the number of bytes; 0 when the other end has closed.

        Raises:
            BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError: nothing is there now.
        """
        if (tls := self._tls) is not None:
            if self._blocking and not wanted and len(asking) < 2 and not tls.pending():
                self._spin()
            return tls.receive(room, wanted)
        if not self._blocking or not _CAN_WAIT_ALL:
            count: int = self.sock.recv_into(room)
            return count
        if wanted:
            self._await(self._look)
            return int(self.sock.recv_into(room, wanted, socket.MSG_WAITALL))
        if len(asking) < 2:
            if self._spin():
                return int(self.sock.recv_into(room))
        elif self._keeps_lock and (count := kept_lock.receive(self.fd, room)) >= 0:
            return count
        self._await(self._look)
        return int(self.sock.recv_into(room))

    def await_room(self) -> None:
        """Before another blocking send: wait until the other end takes more.

        Raises:
            TimeoutError: it does not within ``read_timeout``.
        """
        if not self.secure:
            self._await(lambda milliseconds: system.wait_for_write(self.sock, milliseconds / 1000))

    def _await(self, poll: Callable[[float], Any]) -> None:
        """Where signals with handlers come all the time (a timer's), the kernel's own time-out begins again with each
        of them, and would never end: a poll tells what is left of it."""
        if not poll(min(self.server.http.read_timeout, _LONGEST_WAIT) * 1000):
            raise TimeoutError

    def _spin(self) -> bool:
        """Spin for the answer of a near server before going to sleep for it; whether something has come.

        A thread that sleeps in recv lets its CPU idle, and waking that takes longer than a server on the same machine
        or rack takes to answer: 6.3 k/s GETs of 4 KiB one after another, against 11.8 k/s at less CPU time (81 against
        97 us a request, since halting and waking are work too). For a far server only every sixteenth request spins,
        and none while others ask.
        """
        if self._far:
            self._far -= 1
            return False
        look, end = self._look, system.perf_counter() + SPIN_SECONDS
        while len(asking) < 2:
            if look(0):
                return True
            if system.perf_counter() > end:
                self._far = FAR_REQUESTS
                break
        return False

    def holds_more(self) -> bool:
        """Whether TLS already holds bytes, or the end: these wake no selector."""
        tls = self._tls
        return tls is not None and (tls.ended or tls.pending() > 0)

    def end(self) -> None:
        """End the waiting of another thread on this connection. (TLS's own ``shutdown`` would drop its state.)"""
        if self.sock is not None and not self.waits_aside:
            with contextlib.suppress(OSError, ValueError):  # it may just have been closed
                system.shutdown(self.sock, socket.SHUT_RDWR)

    def close(self) -> None:
        """Close at once."""
        self._phase = _NEW
        self.ready = False
        self.fd = -1
        tls, self._tls = self._tls, None
        if tls is not None and tls.close_after_reading(self.sock):
            self.end()
        elif self.sock is not None:
            with contextlib.suppress(OSError):
                self.sock.close()
        if self._tunnel is not None:
            self._tunnel.close()
            self._tunnel = None

    def is_dropped(self) -> bool:
        """Whether the server has closed, or sent something unasked, while the connection was idle: those bytes would be
        taken for the next answer."""
        try:
            if self.secure and self.holds_more():
                return True
            told = not kept_lock.is_quiet(self.fd) if asking and self._keeps_lock else bool(self._look(0))
            return told and not (self.secure and self._is_only_protocol())
        except (OSError, ValueError):
            return True

    def _is_only_protocol(self) -> bool:
        """Whether only messages of TLS itself have come, such as a session ticket, and neither data nor the end."""
        self.set_blocking(False)
        try:
            self.sock.recv(1)
        except faults.wants_read:
            return True
        return False


#: The threads of a forked child's parent do not exist in it.
call_in_child(asking.clear)


def _looker(sock: Any) -> Callable[[float], Any]:
    """A function that polls a socket without waiting: 0.4 us, where a poll object made for each call takes 1.5."""
    if not system.poll:
        return lambda _: system.wait_for_read(sock, 0)
    poller = system.poll()
    poller.register(sock, select.POLLIN)
    look: Callable[[float], Any] = poller.poll
    return look


def _nothing(_: float) -> Any:
    return True
