"""Access to one S3 service: its endpoint, the keys in force, connections and signers, resolved once for each set of
settings.

The ``endpoint_url`` and ``s3`` sections of ``~/.aws/config`` are botocore's to read. It is imported (150 ms) only when
there is a file; keys, region and endpoint from the environment need no file and no botocore.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from s3dlio._version import __version__
from s3dlio.config import trust
from s3dlio.config.endpoint_list import url_of
from s3dlio.config.settings import Settings
from s3dlio.net.endpoints import Endpoint, EndpointChoice
from s3dlio.net.message import Service, Signer
from s3dlio.net.pool import ConnectionPool, pool_for_url
from s3dlio.net.retry import RetryPolicy
from s3dlio.net.spreading import Spread
from s3dlio.records import replace
from s3dlio.stores.s3 import profile
from s3dlio.stores.s3.credentials import CredentialProvider
from s3dlio.stores.s3.endpoint import S3Endpoint
from s3dlio.stores.s3.hosts import Place
from s3dlio.stores.s3.sessions import Session, SessionSigner
from s3dlio.stores.s3.sigv4 import SigV4Signer, UnsignedSigner
from s3dlio.stores.s3.sigv4a import SigV4ASigner
from s3dlio.uri import Location

USER_AGENT = f"s3dlio/{__version__}"
#: Error codes of S3 that are transient whatever their status.
TRANSIENT_CODES = frozenset(
    {b"InternalError", b"SlowDown", b"RequestTimeout", b"RequestTimeoutException", b"ServiceUnavailable",
     b"OperationAborted", b"ThrottlingException", b"TooManyRequests"}
)  # fmt: skip


class S3Account:
    """Resolved access to one S3 service.

    Args:
        settings: all settings; ``settings.s3`` matters here.
        endpoint: ``host:port`` of a URI that names its server; it wins over the configured endpoint, unless that is
            the URL of the same server.

    Attributes:
        settings: as given, with what the profile says where nobody else does.

    Raises:
        ConfigError: the profile or the endpoint cannot be used, or is not to be trusted with our credentials.
    """

    def __init__(self, settings: Settings, endpoint: str | None = None) -> None:
        session: Any = None
        if profile.has_files(settings.s3):
            session = profile.open_session(settings)
            settings = profile.filled(settings, session)
        self.settings = settings
        self._s3 = settings.s3
        #: The keys in force.
        self.credentials = CredentialProvider(settings, session)
        self.endpoint = S3Endpoint(settings.s3, endpoint)
        if not self._s3.anonymous:
            trust.check(settings, self.endpoint.steering, self.credentials.setting_names())
        self.policy = RetryPolicy(settings.retry, settings.http.operation_timeout, TRANSIENT_CODES)
        self._services: dict[Place, Service] = {}
        #: The other endpoints of the same store, and which of all a request goes to; none where there is only one.
        self._others: Sequence[S3Account] = ()
        self._choice: EndpointChoice | None = None
        if len(settings.s3.endpoints) > 1 and endpoint is None:
            self._open_endpoints()

    def root_of(self, container: str) -> str:
        """The URI of one of its buckets."""
        return f"s3://{container}"

    @property
    def region(self) -> str:
        return self.endpoint.region

    @property
    def endpoint_url(self) -> str | None:
        """The URL of the endpoint; None for AWS."""
        return self.endpoint.url

    def service(self, bucket: str) -> tuple[Service, str]:
        """Where requests for ``bucket`` go (empty: the service itself), and what their paths start with.

        Raises:
            ConfigError: there is no such endpoint, or the name of the bucket cannot be part of its host name.
        """
        place = self.endpoint.place(bucket)
        return self.service_at(place), place.path

    def service_at(self, place: Place) -> Service:
        """The connections to a place, with what signs the requests to it; one for all stores of this account.

        Raises:
            MissingDependencyError: requests to it are signed by a package that is not installed.
        """
        place = place._replace(path="") if place.signing != "session" else place
        service = self._services.get(place)
        if service is None:
            pool = pool_for_url(place.url, self.settings.http)
            service = Service(pool, self._signer(pool, place), self.policy)
            if self._choice is not None:
                Spread(self._choice, [service, *(other.service_at(self._at(place, other)) for other in self._others)])
            service = self._services.setdefault(place, service)
        return service

    def _open_endpoints(self) -> None:
        """An account for each endpoint, with what the configuration file says of it; this one is of the first."""
        settings, s3 = self.settings, self._s3
        urls = [url_of(endpoint, s3.tls_ports) for endpoint in s3.endpoints]
        for url in urls[1:]:
            own = replace(settings, s3=replace(s3, endpoint_url=url, endpoints=())).at(url)
            self._others = (*self._others, S3Account(own))
        limits = [each.settings.s3.endpoint_max_in_flight for each in (self, *self._others)]
        endpoints = [Endpoint(url, limit) for url, limit in zip(urls, limits, strict=True)]
        self._choice = EndpointChoice(endpoints, s3.load_balance_strategy, shuffled=True)

    def _at(self, place: Place, other: S3Account) -> Place:
        """The same place at another endpoint."""
        assert self.endpoint_url is not None
        assert other.endpoint_url is not None
        ours, theirs = urlsplit(self.endpoint_url).netloc, urlsplit(other.endpoint_url).netloc
        return place._replace(url=place.url.removesuffix(ours) + theirs)

    @property
    def choice(self) -> EndpointChoice | None:
        """The endpoints that requests are spread over; None where there is one."""
        return self._choice

    def _signer(self, pool: ConnectionPool, place: Place) -> Signer:
        if self._s3.anonymous:
            return self.unsigned(pool)
        where = pool.host_header, pool.target_prefix, place.region
        how = self._s3.payload_signing, USER_AGENT, place.service
        if place.signing == "session":
            own_keys = self.service_at(place._replace(signing="keys"))
            return SessionSigner(Session(own_keys, place.path, place.url), *where, *how)
        kind = SigV4ASigner if place.signing == "asymmetric" else SigV4Signer
        return kind(*where, self.credentials, *how)

    def unsigned(self, pool: ConnectionPool) -> UnsignedSigner:
        """A signer that adds no credentials."""
        return UnsignedSigner(pool.host_header, pool.target_prefix, USER_AGENT)

    def checksums(self, name: str) -> str:
        """``when_supported`` or ``when_required``: what the settings or else the kind of service says.

        Args:
            name: ``request_checksum_calculation`` or ``response_checksum_validation``.
        """
        return getattr(self._s3, name) or ("when_supported" if self.endpoint.is_aws else "when_required")


def account_of(location: Location, settings: Settings) -> S3Account:
    """The account that ``location`` belongs to, with the settings of its endpoint. It may read ``~/.aws``.

    Raises:
        ConfigError: as of :class:`S3Account`.
    """
    return account_for(settings, location.endpoint)


def account_for(settings: Settings, named: str | None = None) -> S3Account:
    """As :func:`account_of`; ``named`` is the ``host:port`` of a URI that names its server."""
    if endpoint := named or settings.s3.endpoint_url:
        settings = settings.at(endpoint)
    return _account(settings, named, frozenset(settings.origins.items()))


@lru_cache(maxsize=64)
def _account(settings: Settings, endpoint: str | None, origins: frozenset[tuple[str, str]]) -> S3Account:
    """All buckets of one service share credentials, connections and the retry budget. Where a setting comes from
    matters, too: a profile that the program names wins over keys in the environment."""
    return S3Account(settings, endpoint)
