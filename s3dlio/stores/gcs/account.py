"""Access to one Cloud Storage service: its endpoint, and requests that carry the token and the project.

Tokens travel over https only: a request over http carries none.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from s3dlio._version import __version__
from s3dlio.config import trust
from s3dlio.config.settings import Settings
from s3dlio.errors import ConfigError
from s3dlio.net.message import Request, Service
from s3dlio.net.pool import ConnectionPool, pool_for_url
from s3dlio.net.retry import RetryPolicy
from s3dlio.stores.cloud.tokens import Tokens
from s3dlio.stores.gcs.credentials import GcsCredentials, universe_of
from s3dlio.stores.gcs.names import check_bucket
from s3dlio.uri import Location

log = logging.getLogger("s3dlio.gcs")

USER_AGENT = f"s3dlio/{__version__}"


class GcsAccount:
    """Resolved access to one Cloud Storage service.

    Tokens travel over https only. An http endpoint is that of an emulator, or of a proxy on this machine.

    Args:
        settings: all settings; ``settings.gcs`` matters here.

    Raises:
        ConfigError: an endpoint with a query, or a universe domain that is none.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        #: The universe that the credentials must be of; None with ``gcs.endpoint_url``.
        self.universe = None if settings.gcs.endpoint_url else universe_of(settings)
        self.url = settings.gcs.endpoint_url or f"https://storage.{self.universe}"
        parts = urlsplit(self.url)
        if parts.query or parts.fragment:
            raise ConfigError("the endpoint of Google Cloud Storage must be a plain URL", hint="leave the query out")
        #: What paths start with: that of the endpoint, behind a proxy that serves other things too.
        self.base = parts.path.rstrip("/")
        self.anonymous = settings.gcs.anonymous or parts.scheme == "http"
        if not self.anonymous:
            file = ("gcs.credentials_file",) if settings.gcs.credentials_file else ()
            trust.check(settings, ("http.ca_bundle", "gcs.endpoint_url", "gcs.universe_domain"), file)
        if parts.scheme == "http" and settings.gcs.credentials_file:
            log.info("requests to %s carry no token, because it does not speak https", self.url)
        self._credentials = GcsCredentials(settings, self.universe)
        self.tokens = None if self.anonymous else Tokens(self._credentials.fetch)
        policy = RetryPolicy(settings.retry, settings.http.operation_timeout)
        pool = pool_for_url(self.url, settings.http)
        self.service = Service(pool, BearerSigner(pool, self.tokens, settings.gcs.user_project), policy)

    def root_of(self, container: str) -> str:
        """The URI of one of its buckets."""
        return f"gs://{container}"

    def __repr__(self) -> str:
        return f"<GcsAccount {self.url}>"

    def without_token(self, url: str) -> Service:
        """The service at another host, which gets no token."""
        pool = pool_for_url(url, self.settings.http)
        return Service(pool, BearerSigner(pool, None, None), self.service.policy)

    def project(self) -> str:
        """The project of new and listed buckets.

        Raises:
            ConfigError: none is named.
        """
        project = self.settings.gcs.project
        if project is None and not self.anonymous:
            project = self._credentials.project()
        if project is None:
            raise ConfigError("no Google Cloud project is named", hint="set GOOGLE_CLOUD_PROJECT (or gcs.project)")
        return project

    def credentials(self) -> Any:
        """google-auth's credentials, found once; raises as :meth:`GcsCredentials.found`."""
        return self._credentials.found()


@lru_cache(maxsize=64)
def _account(settings: Settings, origins: frozenset[tuple[str, str]]) -> GcsAccount:
    """All buckets share credentials, connections and the retry budget."""
    return GcsAccount(settings)


def account_of(location: Location, settings: Settings) -> GcsAccount:
    """The account for the bucket that a URI names.

    Raises:
        InvalidURIError: no bucket can have that name.
        ConfigError: as of :class:`GcsAccount`.
    """
    if location.container:
        check_bucket(location.container, location.root)
    return _account(settings, frozenset(settings.origins.items()))


class BearerSigner:
    """Renders the heads of requests to one host.

    Args:
        pool: the host.
        token: gives the token in force; None: requests carry none.
        user_project: the project that pays, where it is not that of the bucket.
    """

    def __init__(self, pool: ConnectionPool, token: Callable[[], str] | None, user_project: str | None) -> None:
        self._prefix = pool.target_prefix
        self._token = token
        self.source = token if hasattr(token, "ready") else None
        paying = f"x-goog-user-project: {user_project}\r\n" if user_project else ""
        self._common = f"host: {pool.host_header}\r\n{paying}user-agent: {USER_AGENT}\r\n"

    def render(self, request: Request) -> bytes:
        """See :class:`s3dlio.net.message.Signer`."""
        target = f"{request.path}?{request.query}" if request.query else request.path
        fields = "".join([f"{name}: {value}\r\n" for name, value in request.headers])
        proof = f"authorization: Bearer {self._token()}\r\n" if self._token is not None else ""
        length = ""
        if request.body is not None:
            length = f"content-length: {request.body.size}\r\n"
        elif request.method in ("PUT", "POST"):
            length = "content-length: 0\r\n"
        return (
            f"{request.method} {self._prefix}{target} HTTP/1.1\r\n{self._common}{fields}{length}{proof}\r\n"
        ).encode("latin-1")
