"""Pooled connections, shared by all stores of a process: the only module that touches urllib3's inner parts.

urllib3 keeps the pools (``HTTPConnectionPool.pool``, a LIFO queue: the connection used last is the warmest), knows
proxies, and makes the tunnel through one (``_prepare_proxy``). What passes over a connection is ours, and so is the
way it is opened: non-blocking, in steps, so that a lane can open one beside the others.
"""

from __future__ import annotations

import contextlib
import errno
import os
import queue
import selectors
import socket
import ssl
import struct
import sys
import threading
import time
import urllib.parse
import urllib.request
import weakref
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any

import urllib3
from urllib3.exceptions import HTTPError
from urllib3.util.wait import wait_for_read, wait_for_write

from s3dlio.errors import NetworkError, TransferTimeoutError
from s3dlio.net.tls import client_context
from s3dlio.settings import HttpSettings

READ, WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE

#: Connections idle for longer are looked at before they are used: the server may have closed them meanwhile.
#: A look is a poll(2), 1.5 us; a server that closes within a second of an answer said ``Connection: close``.
_LOOK_AFTER_SECONDS = 1.0
_RESOLVE_SECONDS = 30.0
_CAN_WAIT_ALL = sys.platform == "linux"
#: How long an answer is looked for before the thread sleeps, and for how many requests a far server is not tried again.
_SPIN_SECONDS = 100e-6
_FAR_REQUESTS = 15

#: Bytes of TLS records read from one connection before the others get their turn.
_RECORD_RUN = 1024 * 1024

_NEW, _CONNECTING, _HANDSHAKE, _TUNNEL, _READY = range(5)


class Connection:
    """One connection to one server: opened in steps, then sending and receiving in blocking or non-blocking mode."""

    __slots__ = ("_blocking", "_far", "_phase", "_tunnel", "http", "idle_since", "pool", "secure", "sock", "used")

    def __init__(self, pool: ConnectionPool, http: Any) -> None:
        self.pool = pool
        self.http = http
        self.sock: Any = None
        self.secure = pool.secure
        self.used = False
        self.idle_since = 0.0
        self._phase = _NEW
        self._blocking: bool | None = None
        self._far = 0  # so many answers are waited for asleep
        self._tunnel: Future[None] | None = None

    @property
    def ready(self) -> bool:
        return self._phase == _READY

    def fileno(self) -> int:
        return int(self.sock.fileno())

    # -- opening

    def open_step(self) -> int:
        """Take the next step of opening without blocking: 0 when ready, else the event to wait for.

        Raises:
            OSError, ssl.SSLError: it cannot be opened.
        """
        if self._phase == _NEW and self.pool.proxied:
            return self._start_tunnel()
        if self._phase == _TUNNEL:
            return self._end_tunnel()
        if self._phase == _NEW:
            self.sock = self.pool.start_socket()
            self._blocking = False
            self._phase = _CONNECTING
            return WRITE
        if self._phase == _CONNECTING:
            if code := self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                raise OSError(code, os.strerror(code))
            if not self.secure:
                return self._opened()
            self.sock = client_context(self.pool.http.ca_bundle).wrap_socket(
                self.sock,
                server_hostname=self.pool.host,
                do_handshake_on_connect=False,
                suppress_ragged_eofs=False,
            )
            self._phase = _HANDSHAKE
        if self._phase == _HANDSHAKE:
            try:
                self.sock.do_handshake()
            except ssl.SSLWantReadError:
                return READ
            except ssl.SSLWantWriteError:
                return WRITE
            return self._opened()
        return 0

    def _opened(self) -> int:
        self.http.sock = self.sock
        self._phase = _READY
        return 0

    def open(self) -> None:
        """Open and wait for it, at most ``connect_timeout`` seconds."""
        if self.pool.proxied:
            self._connect_through_proxy()
            self._take_tunnel()
            return
        deadline = time.monotonic() + self.pool.http.connect_timeout
        while event := self.open_step():
            left = max(0.0, deadline - time.monotonic())
            if not (wait_for_read if event == READ else wait_for_write)(self.sock, left):
                raise TransferTimeoutError(
                    f"no connection to {self.pool.name} within {self.pool.http.connect_timeout:g} s"
                )

    def _connect_through_proxy(self) -> None:
        """Open by urllib3, blocking: a CONNECT exchange with the proxy, then TLS."""
        inner = self.pool.inner
        try:
            if self.secure:
                inner._prepare_proxy(self.http)
            else:
                self.http.connect()
        except ssl.SSLCertVerificationError:
            raise
        except (HTTPError, OSError) as error:
            raise OSError(f"the proxy {self.pool.proxy_name} gave no connection: {error}") from error

    def _take_tunnel(self) -> None:
        self.sock = self.http.sock
        if self.secure:
            self.sock.suppress_ragged_eofs = False
        self._blocking = None
        self._phase = _READY

    def _start_tunnel(self) -> int:
        """Let a thread talk to the proxy, since urllib3 blocks; it closes a socket to say that it has ended."""
        self.sock, theirs = socket.socketpair()
        tunnel = self._tunnel = Future()
        self._phase = _TUNNEL

        def run() -> None:
            with theirs:
                try:
                    self._connect_through_proxy()
                    tunnel.set_result(None)
                except BaseException as error:
                    tunnel.set_exception(error)
                if self._tunnel is not tunnel:  # nobody waits any more
                    self.http.close()

        threading.Thread(target=run, name="s3dlio-proxy", daemon=True).start()
        return READ

    def _end_tunnel(self) -> int:
        tunnel = self._tunnel
        assert tunnel is not None
        if not tunnel.done():
            return READ
        tunnel.result()
        self.sock.close()
        self._tunnel = None
        self._take_tunnel()
        self.set_blocking(False)
        return 0

    # -- bytes

    def set_blocking(self, blocking: bool) -> None:
        """Switch the mode; a blocking socket gives up after ``read_timeout`` seconds without a byte."""
        if self._blocking == blocking:
            return
        sock, seconds = self.sock, self.pool.http.read_timeout
        if not blocking:
            sock.settimeout(0)
        elif self.secure or not _CAN_WAIT_ALL:
            sock.settimeout(seconds)
        else:
            # Python's own timeouts poll before each receive and make MSG_WAITALL useless; the kernel's do neither.
            sock.settimeout(None)
            limit = struct.pack("ll", int(seconds), int(seconds % 1 * 1e6))
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
        self._blocking = blocking

    def send(self, pieces: Sequence[memoryview]) -> int:
        """Send what fits of ``pieces``; returns how many bytes went.

        Raises:
            BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError: nothing fits now.
        """
        if len(pieces) == 1:
            return int(self.sock.send(pieces[0]))
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
            wanted: bytes of a body that go straight to their place; a blocking plain socket waits for all of them,
                a TLS connection reads record after record up to a limit. 0: whatever comes first.

        Returns:
            the number of bytes; 0 when the other end has closed.

        Raises:
            BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError: nothing is there now.
        """
        if self.secure:
            return self._receive_records(room, wanted)
        if not self._blocking or not _CAN_WAIT_ALL:
            return int(self.sock.recv_into(room))
        if wanted:
            return int(self.sock.recv_into(room, wanted, socket.MSG_WAITALL))
        if self._far:
            self._far -= 1
        elif (count := self._spin(room)) is not None:
            return count
        return int(self.sock.recv_into(room))

    def _spin(self, room: memoryview) -> int | None:
        """Look for the answer of a near server before going to sleep for it.

        A thread that sleeps in recv lets its CPU idle, and waking that takes longer than a server on the same machine
        or rack takes to answer: 6.3 k/s GETs of 4 KiB one after another, against 11.8 k/s at less CPU time (81 against
        97 us a request, since halting and waking are work too). A server that turns out to be far is waited for asleep,
        and only every sixteenth request tries again; and one thread at a time spins.
        """
        if not _spinning.acquire(blocking=False):
            return None
        try:
            receive, end = self.sock.recv_into, time.perf_counter() + _SPIN_SECONDS
            while True:
                try:
                    return int(receive(room, 0, socket.MSG_DONTWAIT))
                except BlockingIOError:
                    if time.perf_counter() > end:
                        self._far = _FAR_REQUESTS
                        return None
        finally:
            _spinning.release()

    def _receive_records(self, room: memoryview, wanted: int) -> int:
        """A TLS record holds 16 KiB at most: reading many in a row here saves the driver's work for each."""
        receive = self.sock.recv_into
        got = int(receive(room))
        limit = min(wanted, _RECORD_RUN)
        while 0 < got < limit:
            try:
                count = receive(room[got:])
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
                break
            if count == 0:
                break
            got += count
        return got

    def close(self) -> None:
        """Close at once."""
        self._phase = _NEW
        self._tunnel = None
        with contextlib.suppress(OSError):
            if self.sock is not None:
                self.sock.close()
        self.http.sock = None
        self.http.close()

    def is_dropped(self) -> bool:
        """Whether the other end has closed (or sent something unasked) while the connection was idle."""
        try:
            return wait_for_read(self.sock, 0)
        except (OSError, ValueError):
            return True


class ConnectionPool:
    """The connections to one server (scheme, host, port) under one set of HTTP settings.

    ``acquire`` never waits: how many connections are in use is decided by whoever runs requests; at most
    ``http.max_connections`` are kept when idle.
    """

    def __init__(self, scheme: str, host: str, port: int | None, http: HttpSettings) -> None:
        self.secure = scheme == "https"
        self.scheme = scheme
        self.host = host.strip("[]")
        self.port = port or (443 if self.secure else 80)
        self.http = http
        default = self.port == (443 if self.secure else 80)
        bracketed = f"[{self.host}]" if ":" in self.host else self.host
        #: The value of the Host field.
        self.host_header = bracketed if default else f"{bracketed}:{self.port}"
        self.name = f"{scheme}://{self.host_header}"
        self.proxied = proxy_for(scheme, self.host)
        #: What stands before the path in the request line: a plain HTTP proxy wants the absolute form.
        self.target_prefix = self.name if self.proxied and not self.secure else ""
        #: The proxy without the credentials that its address may hold.
        self.proxy_name = urllib3.util.parse_url(self.proxied)._replace(auth=None).url if self.proxied else ""
        #: Who we are, for a plain HTTP proxy, which asks with every request; a tunnel is told once, when it is made.
        self.proxy_field = credentials_field(self.proxied) if self.proxied and not self.secure else b""
        self._lock = threading.Lock()
        self._addresses: Sequence[tuple[Any, ...]] = ()
        self._resolved_at = 0.0
        self._turn = 0
        self.inner: Any = None
        self.reset()
        _pools.add(self)

    def __repr__(self) -> str:
        return f"<ConnectionPool {self.name}>"

    def reset(self) -> None:
        """Start with no connections; those out with callers are closed when they come back (or in a forked child,
        where they belong to the parent, just forgotten)."""
        options: dict[str, Any] = {"maxsize": self.http.max_connections, "block": False}
        options["timeout"] = urllib3.Timeout(connect=self.http.connect_timeout, read=self.http.read_timeout)
        if self.secure:
            options["ssl_context"] = client_context(self.http.ca_bundle)
        manager: Any = proxy_manager(self.proxied) if self.proxied else urllib3.PoolManager()
        manager.connection_pool_kw.update(options)
        self.inner = manager.connection_from_host(self.host, self.port, self.scheme)

    def acquire(self) -> Connection:
        """A connection of our own until ``release``: the warmest idle one, or a new one that is not open yet."""
        idle = self.inner.pool
        while True:
            try:
                http = idle.get(block=False)
            except queue.Empty:
                http = None
            if http is None:
                return Connection(self, self.inner._new_conn())
            connection: Connection = http.s3dlio_connection
            age = time.monotonic() - connection.idle_since
            if age < self.http.pool_idle_seconds and (age < _LOOK_AFTER_SECONDS or not connection.is_dropped()):
                return connection
            connection.close()

    def acquire_fresh(self) -> Connection:
        """A new connection, not open yet: after an idle one turned out to be stale."""
        return Connection(self, self.inner._new_conn())

    def release(self, connection: Connection, *, reusable: bool) -> None:
        """Give a connection back, or close it when it cannot serve again."""
        if not reusable or connection.pool is not self or not connection.ready:
            connection.close()
            return
        connection.used = True
        connection.idle_since = time.monotonic()
        connection.http.s3dlio_connection = connection
        try:
            self.inner.pool.put(connection.http, block=False)
        except queue.Full:
            connection.close()

    def start_socket(self) -> socket.socket:
        """A non-blocking socket on its way to one of the server's addresses; the next call tries the next one."""
        addresses = self._resolve()
        family, kind, protocol, _, address = addresses[self._turn % len(addresses)]
        self._turn += 1
        sock = socket.socket(family, kind, protocol)
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            code = sock.connect_ex(address)
            if code not in (0, errno.EINPROGRESS, errno.EWOULDBLOCK, errno.EINTR):
                raise OSError(code, os.strerror(code))
        except BaseException:
            sock.close()
            raise
        return sock

    def _resolve(self) -> Sequence[tuple[Any, ...]]:
        now = time.monotonic()
        if self._addresses and now - self._resolved_at < _RESOLVE_SECONDS:
            return self._addresses
        with self._lock:
            if not self._addresses or now - self._resolved_at >= _RESOLVE_SECONDS:
                try:
                    self._addresses = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)
                except socket.gaierror as error:
                    if error.errno == socket.EAI_AGAIN:
                        raise
                    raise NetworkError(
                        f"the name '{self.host}' cannot be resolved: {error.strerror}",
                        hint="check the endpoint URL and the network",
                    ) from error
                except UnicodeError as error:  # empty or longer than the 63 characters that a label may have
                    raise NetworkError(f"'{self.host}' cannot be the name of a host") from error
                self._resolved_at = now
        return self._addresses


_pools: weakref.WeakSet[ConnectionPool] = weakref.WeakSet()
_registry: dict[tuple[str, str, int | None, HttpSettings], ConnectionPool] = {}
_registry_lock = threading.Lock()


def pool_for(scheme: str, host: str, port: int | None, http: HttpSettings) -> ConnectionPool:
    """The process's pool for a server under these settings: stores of all kinds share it."""
    key = (scheme, host, port, http)
    pool = _registry.get(key)
    if pool is None:
        with _registry_lock:
            pool = _registry.get(key)
            if pool is None:
                pool = _registry[key] = ConnectionPool(scheme, host, port, http)
    return pool


def pool_for_url(url: str, http: HttpSettings) -> ConnectionPool:
    """As ``pool_for``, for the scheme, host and port of ``url``."""
    parts = urllib3.util.parse_url(url)
    return pool_for(parts.scheme or "https", parts.host or "", parts.port, http)


def proxy_for(scheme: str, host: str) -> str | None:
    """The proxy that the environment names for ``scheme`` (``https_proxy``, ``no_proxy``, ...), or None."""
    proxies = urllib.request.getproxies_environment()
    proxy = proxies.get(scheme) or proxies.get("all")
    bypass: Any = vars(urllib.request)["proxy_bypass_environment"]  # typeshed does not know it
    if not proxy or bypass(host, proxies):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"


def proxy_manager(proxy: str) -> urllib3.ProxyManager:
    """The way through ``proxy``, with the credentials that stand in its address."""
    return urllib3.ProxyManager(proxy, proxy_headers=_credentials(proxy))


def credentials_field(proxy: str) -> bytes:
    """The same credentials as a line of a request's head; nothing where the address has none."""
    return "".join(f"{name}: {value}\r\n" for name, value in _credentials(proxy).items()).encode()


def _credentials(proxy: str) -> dict[str, str]:
    auth = urllib3.util.parse_url(proxy).auth
    return urllib3.make_headers(proxy_basic_auth=urllib.parse.unquote(auth)) if auth else {}


_spinning = threading.Lock()


def _after_fork_in_child() -> None:
    """A child shares its parent's sockets: it must never speak on one, so it starts with empty pools."""
    global _registry_lock, _spinning
    _registry_lock, _spinning = threading.Lock(), threading.Lock()
    for pool in list(_pools):
        pool._lock = threading.Lock()
        pool.reset()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
