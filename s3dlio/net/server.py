"""One server under one set of HTTP settings: its names, its addresses, and the proxy in front of it."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import socket
import sys
from collections.abc import Sequence

from s3dlio.config.sections import HttpSettings
from s3dlio.errors import NetworkError
from s3dlio.forking import ForkLock
from s3dlio.net import system
from s3dlio.net.proxies import proxy_for
from s3dlio.net.resolve import Address, Resolution, numeric
from s3dlio.net.tunnel import Proxy, credentials_field

_RESOLVE_SECONDS = 30.0
#: Seconds after which one connection finds out whether an address that gave none gives one again.
_AVOID_SECONDS = 30.0
#: The port of a socket whose address was set is chosen when it connects, so that there are as many for each server.
_BIND_ADDRESS_NO_PORT = 24 if sys.platform == "linux" else None


class Server:
    """Where connections go: scheme, host and port, under one set of HTTP settings.

    Args:
        scheme: ``http`` or ``https``.
        host: a name, or an address.
        port: None: the scheme's own.
        http: time-outs, proxies, CA bundle.

    Raises:
        ConfigError: the proxy or the CA bundle cannot be used.
    """

    def __init__(self, scheme: str, host: str, port: int | None, http: HttpSettings) -> None:
        self.secure = scheme == "https"
        #: The certificates to trust have been read, or could not be.
        self.trusts = False
        self.scheme = scheme
        self.host = host.strip("[]")
        self.port = port or (443 if self.secure else 80)
        self.http = http
        default = self.port == (443 if self.secure else 80)
        bracketed = f"[{self.host}]" if ":" in self.host else self.host
        #: The value of the Host field.
        self.host_header = bracketed if default else f"{bracketed}:{self.port}"
        self.name = f"{scheme}://{self.host_header}"
        self._proxy_url = proxy_for(scheme, self.host, self.port)
        by_proxy = bool(self._proxy_url) and not self.secure  # not through a tunnel
        #: What comes before the path in the request line: a plain HTTP proxy wants the absolute form.
        self.target_prefix = self.name if by_proxy else ""
        #: Our credentials for a plain HTTP proxy, which asks with every request; a tunnel asks once, when it is made.
        self.proxy_field = credentials_field(self._proxy_url) if self._proxy_url and by_proxy else b""
        self._lock = ForkLock()
        self._resolution: Resolution | None = None
        self._resolved: Sequence[Address] = ()
        self._resolved_at = 0.0
        self._addresses: Sequence[Address] = ()  # of these, the ones that are not avoided
        self._avoided: dict[Address, float] = {}  # the others, and until when
        self._turn = int(system.uniform(0, 1024))  # many processes begin at once, and not all at one address
        self._sources = itertools.cycle(http.source_addresses)
        #: Opens connections through the proxy; None without one.
        self.proxy: Proxy | None = None
        self.renew()

    def renew(self) -> None:
        """Begin again in a forked child: a running look-up is the parent's."""
        self._resolution = None
        context = None
        if self.secure:
            from s3dlio.net import tls

            context = tls.client_context(self.http.ca_bundle)  # refuses a bundle that is none
        if self._proxy_url:
            self.proxy = Proxy(self._proxy_url, self.scheme, self.host, self.port, self.http, context)

    def address(self) -> Address | None:
        """One of the server's addresses, each in its turn; None: its name must be resolved first."""
        addresses = self._addresses
        if not addresses or system.monotonic() - self._resolved_at >= _RESOLVE_SECONDS:
            addresses = numeric(self.host, self.port)
            if not addresses:
                return None
            self.resolved(addresses)
        if self._avoided and (found := self._due(system.monotonic())) is not None:
            return found
        turn = self._turn
        self._turn = turn + 1
        return addresses[turn % len(addresses)]

    def _due(self, now: float) -> Address | None:
        """An avoided address that one connection may try again."""
        found = next((address for address, until in self._avoided.items() if until <= now), None)
        if found is not None:
            self._avoided[found] = now + _AVOID_SECONDS
        return found

    def resolution(self) -> Resolution:
        """The running look-up of the server's name, which all connections share, or a new one."""
        with self._lock:
            resolution = self._resolution
            if resolution is None or resolution.done:
                resolution = self._resolution = Resolution(self.host, self.port)
            return resolution

    def resolved(self, addresses: Sequence[Address]) -> None:
        """Use these addresses for a while."""
        self._resolved_at = system.monotonic()
        self._resolved = addresses
        self._avoided = {address: until for address, until in self._avoided.items() if address in addresses}
        self._addresses = [address for address in addresses if address not in self._avoided] or addresses

    def avoid(self, address: Address) -> bool:
        """Leave out an address that gave no connection, until one finds out that it gives one again: ``localhost`` has
        two, and many servers listen at one of them.

        Returns:
            whether another is left; if not, none is left out any more.
        """
        left = [other for other in self._addresses if other != address]
        if left:
            self._avoided[address] = system.monotonic() + _AVOID_SECONDS
        else:
            self._avoided.clear()
        self._addresses = left or self._resolved
        return bool(left)

    def reached(self, address: Address) -> None:
        """An address has given a connection."""
        if self._avoided.pop(address, None) is not None:
            self._addresses = [other for other in self._resolved if other not in self._avoided]

    def start_socket(self, address: Address) -> socket.socket:
        """A non-blocking socket that connects to an address."""
        family, kind, protocol, _, place = address
        sock = system.socket(family, kind, protocol)
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            if self.http.source_addresses:
                _bind(sock, self._source(family))
            code = sock.connect_ex(place)
            if code not in (0, errno.EINPROGRESS, errno.EWOULDBLOCK, errno.EINTR):
                raise OSError(code, os.strerror(code))
        except BaseException:
            sock.close()
            raise
        return sock

    def _source(self, family: int) -> str:
        """The address of this machine that the next connection is made from, each in its turn."""
        for source in itertools.islice(self._sources, len(self.http.source_addresses)):
            if (":" in source) == (family == socket.AF_INET6):
                return source
        raise OSError(errno.EADDRNOTAVAIL, "none of http.source_addresses is of its kind (IPv4, IPv6)")


def _bind(sock: socket.socket, source: str) -> None:
    """Have a socket connect from an address of this machine.

    Raises:
        NetworkError: this machine has no such address.
    """
    try:
        if _BIND_ADDRESS_NO_PORT is not None:
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.IPPROTO_IP, _BIND_ADDRESS_NO_PORT, 1)
        sock.bind((source, 0))
    except OSError as error:
        raise NetworkError(
            f"no connection can be made from {source}: {error.strerror or error}",
            hint="correct http.source_addresses: they are addresses of this machine",
        ) from error
