"""Connections through a proxy. urllib3 opens them; this module alone touches its private parts.

urllib3 blocks while it speaks with the proxy, so each connection is opened on a thread of its own.
"""

from __future__ import annotations

import contextlib
import itertools
import socket
import threading
import urllib.parse
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from s3dlio.config.sections import HttpSettings

if TYPE_CHECKING:
    import ssl
from s3dlio.net import system


class Proxy:
    """The proxy on the way to a server.

    Args:
        url: of the proxy, perhaps with credentials.
        scheme: of the server: ``https`` takes a tunnel (CONNECT), ``http`` sends its requests to the proxy.
        host: of the server.
        port: of the server.
        http: its time-outs.
        context: for TLS to the server.
    """

    def __init__(
        self, url: str, scheme: str, host: str, port: int, http: HttpSettings, context: ssl.SSLContext | None
    ) -> None:
        import urllib3

        #: Its address without credentials.
        self.name = urllib3.util.parse_url(url)._replace(auth=None).url
        self._secure = scheme == "https"
        manager: Any = urllib3.ProxyManager(url, proxy_headers=_credentials(url))
        timeout = urllib3.Timeout(connect=http.connect_timeout, read=http.read_timeout)
        manager.connection_pool_kw.update(maxsize=1, block=False, timeout=timeout)
        if context is not None:
            manager.connection_pool_kw["ssl_context"] = context
        self._pool = manager.connection_from_host(host, port, scheme)
        self._sources = itertools.cycle(http.source_addresses)

    def tunnel(self) -> Tunnel:
        """Start to open a connection."""
        return Tunnel(self)

    def make(self) -> Any:
        """urllib3's connection, not open yet."""
        if (source := next(self._sources, None)) is not None:
            self._pool.conn_kw["source_address"] = source, 0
        return self._pool._new_conn()

    def connect(self, connection: Any) -> None:
        """Open ``connection``, blocking: for https a CONNECT exchange with the proxy, then TLS."""
        import ssl
        from http.client import HTTPException

        from urllib3.exceptions import HTTPError

        try:
            if self._secure:
                self._pool._prepare_proxy(connection)
            else:
                connection.connect()
        except ssl.SSLCertVerificationError:
            raise
        except (HTTPError, HTTPException, OSError) as error:
            said = str(error)[:200]  # perhaps a whole line of what is no answer of a proxy
            raise OSError(f"the proxy {self.name} gave no connection: {said}") from error


class Tunnel:
    """One connection that a thread opens through a proxy."""

    def __init__(self, proxy: Proxy) -> None:
        self._http = proxy.make()
        self._result: Future[None] = Future()
        self._abandoned = False
        #: Becomes readable when the thread has ended.
        self.waiter, theirs = system.socketpair()

        def run() -> None:
            with theirs:
                try:
                    proxy.connect(self._http)
                    self._result.set_result(None)
                except BaseException as error:
                    self._result.set_exception(error)
                if self._abandoned:
                    self._http.close()
                with contextlib.suppress(OSError):  # nobody waits any more
                    theirs.shutdown(socket.SHUT_RDWR)  # a forked child may have a copy, so closing tells nobody

        threading.Thread(target=run, name="s3dlio-proxy", daemon=True).start()

    def socket(self) -> Any:
        """The open socket; None while the thread is not done.

        Raises:
            OSError: the proxy gave no connection.
        """
        if not self._result.done():
            return None
        self._result.result()
        self.waiter.close()
        return self._http.sock

    def close(self) -> None:
        """Close what is open, now or when the thread ends."""
        self._abandoned = True
        self.waiter.close()
        self._http.sock = None
        self._http.close()


def credentials_field(proxy: str) -> bytes:
    """The credentials in a proxy's address as a line of a request's head; nothing where there are none."""
    return "".join(f"{name}: {value}\r\n" for name, value in _credentials(proxy).items()).encode()


def _credentials(proxy: str) -> dict[str, str]:
    import urllib3

    auth = urllib3.util.parse_url(proxy).auth
    return urllib3.make_headers(proxy_basic_auth=urllib.parse.unquote(auth)) if auth else {}
