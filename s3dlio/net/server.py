"""One server under one set of HTTP settings: its names, its addresses, and the proxy in front of it."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Sequence

from s3dlio.config.sections import HttpSettings
from s3dlio.forking import ForkLock
from s3dlio.net import system
from s3dlio.net.proxies import proxy_for
from s3dlio.net.resolve import Address, Resolution, numeric
from s3dlio.net.tunnel import Proxy, credentials_field

_RESOLVE_SECONDS = 30.0


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
        self._turn = 0
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
        turn = self._turn
        self._turn = turn + 1
        return addresses[turn % len(addresses)]

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
        self._resolved = self._addresses = addresses

    def avoid(self, address: Address) -> bool:
        """Leave out an address that gave no connection, until the name is resolved again: ``localhost`` has two, and
        many servers listen at one of them.

        Returns:
            whether another is left; if not, none is left out any more.
        """
        left = [other for other in self._addresses if other != address]
        self._addresses = left or self._resolved
        return bool(left)

    def start_socket(self, address: Address) -> socket.socket:
        """A non-blocking socket that connects to an address."""
        family, kind, protocol, _, place = address
        sock = system.socket(family, kind, protocol)
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            code = sock.connect_ex(place)
            if code not in (0, errno.EINPROGRESS, errno.EWOULDBLOCK, errno.EINTR):
                raise OSError(code, os.strerror(code))
        except BaseException:
            sock.close()
            raise
        return sock
