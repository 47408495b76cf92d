"""Pooled connections, shared by all stores of a process.

Idle ones are on a stack: putting one there and taking it out takes 0.05 us (1.3 with a ``queue.LifoQueue``).
"""

from __future__ import annotations

import errno
import os
import re
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TypeVar
from urllib.parse import urlsplit

from s3dlio.config.sections import HttpSettings
from s3dlio.forking import ForkLock, renewed_in_child
from s3dlio.net import system
from s3dlio.net.connection import Connection
from s3dlio.net.faults import is_out_of_files
from s3dlio.net.server import Server

T = TypeVar("T")

_PLAIN_HOST = re.compile(r"[A-Za-z0-9._-]*").fullmatch

#: How often connections that were idle for too long are closed, in seconds. There is no thread for it: ``release`` does
#: it, for all pools (0.1 us for each).
_REAP_SECONDS = 1.0

#: So many descriptors, or a quarter of all, are left to others.
_SPARED = 64


class ConnectionPool(Server):
    """The connections to one server (scheme, host, port) under one set of HTTP settings.

    ``acquire`` never waits: the drivers decide how many connections are in use; at most ``http.max_connections`` are
    kept when idle.
    """

    def __init__(self, scheme: str, host: str, port: int | None, http: HttpSettings) -> None:
        self._idle: deque[Connection] = deque()  # the one used last is the warmest
        self._few = 0  # idle connections, but for one, have no higher descriptors: half of all are left to others
        self._home = object()  # this pool in this process: a forked child keeps no connections of its parent
        #: Bytes of the last body of an object; the next one is expected to be about as large.
        self.last_body = 0
        super().__init__(scheme, host, port, http)
        self._connect: Callable[[Server], Connection] = Connection
        if http.bwlimit is not None:
            from s3dlio.net.bandwidth import bandwidth_of  # few have a limit
            from s3dlio.net.paced_connection import PacedConnection

            self._connect = partial(PacedConnection, bandwidth=bandwidth_of(http.bwlimit))
        renewed_in_child(self)

    def __repr__(self) -> str:
        return f"<ConnectionPool {self.name}>"

    def renew(self) -> None:
        """Start with no idle connections: in a forked child they belong to the parent."""
        self._idle, self._home = deque(), object()
        super().renew()

    def acquire(self) -> Connection:
        """A connection for the caller alone until ``release``: the warmest idle one, or a new one that is not open yet.

        An idle one is checked, however short it was idle: the server may have closed it, and bytes behind the last
        answer would be taken for the next one.
        """
        idle = self._idle
        while True:
            try:
                connection = idle.pop()
            except IndexError:
                return self.acquire_fresh()
            age = system.monotonic() - connection.idle_since
            if age < self.http.pool_idle_seconds and not connection.is_dropped():
                return connection
            connection.close()

    def acquire_fresh(self) -> Connection:
        """A new connection, not open yet: for a request whose idle connection was stale."""
        self._few = system.descriptors() // 2
        connection = self._connect(self)
        connection.home = self._home
        return connection

    def release(self, connection: Connection, *, reusable: bool) -> None:
        """Give a connection back, or close it when it cannot serve again."""
        if not reusable or connection.home is not self._home or not connection.ready:
            connection.close()
            return
        connection.used = True
        now = connection.idle_since = system.monotonic()
        if not self._idle or (len(self._idle) < self.http.max_connections and connection.fd < self._few):
            self._idle.append(connection)
        else:
            connection.close()
        if now >= _reap_at:
            _reap(now)

    def close_idle(self, until: float) -> None:
        """Close the connections that have been idle since ``until`` (``time.monotonic``) or longer."""
        while self._idle:
            try:
                connection = self._idle.popleft()  # off the stack before its time is read: no other thread uses it
            except IndexError:
                return
            if connection.idle_since > until:
                self._idle.appendleft(connection)
                return
            connection.close()


_registry: dict[tuple[str, str, int | None, HttpSettings], ConnectionPool] = {}
_registry_lock = ForkLock()

_reap_at = 0.0


def _reap(now: float) -> None:
    """Close the connections that have been idle for too long, in every pool."""
    global _reap_at
    _reap_at = now + _REAP_SECONDS
    for pool in list(_registry.values()):
        pool.close_idle(now - pool.http.pool_idle_seconds)


def close_overdue(now: float) -> None:
    """Close the connections that have been idle for too long, for those who wait for nothing else."""
    _reap(now)


def with_room(make: Callable[[], T]) -> T:
    """The result of ``make``, which takes a descriptor: where none is left, idle connections are closed first."""
    try:
        return make()
    except OSError as error:
        pools = list(_registry.values())
        if not is_out_of_files(error) or not any(pool._idle for pool in pools):
            raise
        for pool in pools:
            pool.close_idle(system.monotonic())
    return make()


def spare_some(connection: Connection) -> None:
    """Leave the last descriptors to others: modules that are imported, files that a transfer writes, threads that end.

    Raises:
        OSError: EMFILE, and the connection is closed: it has one of them. (The system gives the lowest numbers first.)
    """
    limit = system.descriptors()
    if connection.fd >= limit - min(_SPARED, limit // 4):
        connection.close()
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))


def close_idle(http: HttpSettings) -> None:
    """Close every idle connection under these settings. Other users of them open new ones."""
    for pool in list(_registry.values()):
        if pool.http == http:
            pool.close_idle(system.monotonic())


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
    parts = urlsplit(url)
    if _PLAIN_HOST(parts.hostname or ""):
        return pool_for(parts.scheme or "https", parts.hostname or "", parts.port, http)
    import urllib3  # addresses of IPv6 with zones, international names: 50 ms that few need

    found = urllib3.util.parse_url(url)
    return pool_for(found.scheme or "https", found.host or "", found.port, http)
