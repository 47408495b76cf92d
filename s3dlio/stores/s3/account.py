"""Who we are and where the service is: credentials, region, endpoint of S3, resolved once for each set of settings.

What the settings leave open botocore finds: profiles, SSO, web identity, containers, instance roles, processes, the
``endpoint_url`` and ``s3`` sections of ``~/.aws/config``. It is imported (150 ms) only when there is something that it
could find; keys, region and endpoint from the environment need no file and no botocore.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

from s3dlio._version import __version__
from s3dlio.config import trust
from s3dlio.config.endpoints import name_of
from s3dlio.config.settings import Settings
from s3dlio.errors import ConfigError, PermissionDeniedError, S3dlioError
from s3dlio.forking import ForkLock, import_all, renewed_in_child
from s3dlio.net.message import Service, Signer
from s3dlio.net.pool import ConnectionPool, pool_for_url
from s3dlio.net.retry import RetryPolicy
from s3dlio.stores.s3 import profile
from s3dlio.stores.s3.hosts import Place, Variant, aws_endpoint
from s3dlio.stores.s3.endpoint import place_of
from s3dlio.stores.s3.sessions import Session, SessionSigner
from s3dlio.stores.s3.sigv4 import Credentials, SigV4Signer, UnsignedSigner
from s3dlio.stores.s3.sigv4a import SigV4ASigner
from s3dlio.uri import Location

log = logging.getLogger("s3dlio.s3")

USER_AGENT = f"s3dlio/{__version__}"
#: Refresh in the background when credentials have less than this many seconds left, as botocore's advisory window.
_REFRESH_AHEAD = 15 * 60
#: Where there were none, or they could not be fetched, botocore is not asked again for so many seconds: it may wait
#: long for a metadata service or a program, and each object of a batch would ask.
_LOOK_AGAIN = 5.0
#: Error codes that say that other keys are needed.
EXPIRED_CODES = ("ExpiredToken", "InvalidToken", "TokenRefreshRequired")
#: Error codes of S3 that are transient whatever their status.
TRANSIENT_CODES = frozenset(
    {b"InternalError", b"SlowDown", b"RequestTimeout", b"RequestTimeoutException", b"ServiceUnavailable",
     b"OperationAborted", b"ThrottlingException", b"TooManyRequests"}
)  # fmt: skip
_CHECKSUMS = ("request_checksum_calculation", "response_checksum_validation")
_KEYS = ("s3.access_key_id", "s3.secret_access_key", "s3.session_token")


class _Failure(NamedTuple):
    """Why there were no credentials, and when that was (``time.monotonic``)."""

    at: float
    reason: str
    hint: str


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
        self._session: Any = None
        if profile.has_files(settings.s3):
            self._session = profile.open_session(settings)
            settings = profile.filled(settings, self._session)
        self.settings = settings
        self._s3 = settings.s3
        self._lock = ForkLock()
        self._refreshing = False
        self._found: Any = None
        self._failed: _Failure | None = None
        #: When the keys were last asked for because the service had refused them, and whether others came of it.
        self._renewed = (-_LOOK_AGAIN, False)
        #: Held while credentials are asked for.
        self._asking = ForkLock()
        self.region = self._s3.region or "us-east-1"
        self.endpoint_url = self._endpoint(endpoint)
        self.is_aws = self.endpoint_url is None
        self._check_trust()
        #: Which of AWS's endpoints; where another is configured, that is the one.
        self.variant = Variant()
        if self.is_aws:
            s3 = self._s3
            self.variant = Variant(*map(bool, (
                s3.use_fips_endpoint, s3.use_dualstack_endpoint, s3.use_accelerate_endpoint
            )))  # fmt: skip
            aws_endpoint(self.region, self.variant)  # refuses what there is not
        self.policy = RetryPolicy(settings.retry, settings.http.operation_timeout, TRANSIENT_CODES)
        self._services: dict[Place, Service] = {}
        renewed_in_child(self)

    # -- where

    def service(self, bucket: str, region: str | None = None, *, accelerated: bool = True) -> tuple[Service, str]:
        """Where requests for ``bucket`` go, and what their paths start with.

        Args:
            bucket: its name; empty for the service itself.
            region: where it is, if not where the settings say.
            accelerated: whether they may go to an accelerated endpoint, which knows only buckets that there are.

        Raises:
            ConfigError: there is no such endpoint, or the name of the bucket cannot be part of its host name.
        """
        place = self.place(bucket, region, accelerated=accelerated)
        return self.service_at(place), place.path

    def place(self, bucket: str, region: str | None = None, *, accelerated: bool = True) -> Place:
        """As ``service``, without its connections."""
        return place_of(self, bucket, region or self.region, accelerated=accelerated)

    def is_virtual(self, bucket: str) -> bool:
        """Whether the bucket stands in the host name instead of the path.

        Raises:
            ConfigError: it would have to, for accelerated transfers, and cannot.
        """
        style = self._s3.addressing
        dns_name = bucket == bucket.lower() and "_" not in bucket and 3 <= len(bucket) <= 63
        # A dot in the bucket's name would leave the certificate's wildcard (*.s3.amazonaws.com).
        fits = dns_name and "." not in bucket
        if self.variant.accelerate:
            if not fits:
                raise ConfigError(
                    f"the name of the bucket {bucket!r} cannot be part of a host name, as acceleration needs it",
                    hint="switch off s3.use_accelerate_endpoint",
                )
            return True
        if style in ("path", "virtual"):
            return style == "virtual"
        return self.is_aws and fits

    def service_at(self, place: Place) -> Service:
        """The connections to a place, with what signs the requests to it; one for all stores of this account.

        Raises:
            MissingDependencyError: requests to it are signed by a package that is not installed.
        """
        place = place._replace(path="") if place.signing != "session" else place
        service = self._services.get(place)
        if service is None:
            pool = pool_for_url(place.url, self.settings.http)
            service = self._services.setdefault(place, Service(pool, self._signer(pool, place), self.policy))
        return service

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

    def _endpoint(self, endpoint: str | None) -> str | None:
        configured = self._s3.endpoint_url
        self._steering = ["http.ca_bundle", "s3.endpoint_url"]
        if endpoint and not (configured and name_of(configured) == name_of(endpoint)):
            self._steering = ["http.ca_bundle", "s3.tls_ports"]
            port = endpoint.rpartition(":")[2]
            tls = port in {item.strip() for item in self._s3.tls_ports.split(",")}
            return f"{'https' if tls else 'http'}://{endpoint}"
        return configured.rstrip("/") if configured else None

    def _check_trust(self) -> None:
        if self._s3.anonymous:
            return
        own = not self._profile_wins() and (self._s3.access_key_id or self._s3.secret_access_key)
        keys = [name for name in _KEYS if own and getattr(self._s3, name.partition(".")[2])]
        trust.check(self.settings, self._steering, keys)

    def checksums(self, name: str) -> str:
        """``when_supported`` or ``when_required``: what the settings or else the kind of service says.

        Args:
            name: ``request_checksum_calculation`` or ``response_checksum_validation``.
        """
        return getattr(self._s3, name) or ("when_supported" if self.is_aws else "when_required")

    # -- who

    def credentials(self) -> Credentials:
        """The keys in force; refreshed ahead of their end, beside the requests that still use the old ones.

        Raises:
            PermissionDeniedError: there are none, or they could not be fetched.
            ConfigError: half of a pair is set.
        """
        s3 = self._s3
        if not self._profile_wins() and (s3.access_key_id or s3.secret_access_key):
            if not (s3.access_key_id and s3.secret_access_key):
                missing = "AWS_SECRET_ACCESS_KEY" if s3.access_key_id else "AWS_ACCESS_KEY_ID"
                raise ConfigError(f"{missing} is not set, but its other half is", hint="set both, or neither")
            return Credentials(s3.access_key_id, s3.secret_access_key, s3.session_token)
        with self._asking:  # one asks, and the others hear what it was told
            failed = self._failed
            if failed is None or time.monotonic() > failed.at + _LOOK_AGAIN:
                return self._asked_for()
        raise PermissionDeniedError(failed.reason, hint=failed.hint)

    def _asked_for(self) -> Credentials:
        self._failed = cause = None
        reason, hint = "no credentials for S3", "see 's3-cli config', or refresh your login"
        try:
            if self._found is None:
                self._found = profile.keys_of(self._botocore())
            if self._found is not None:
                return self._in_force(self._found)
            hint = (
                "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or AWS_PROFILE, or pass anonymous access "
                "(--no-sign-request)"
            )
        except S3dlioError:
            raise
        except Exception as error:  # of botocore, of a program or a token file, of a terminal that is not there
            from botocore.exceptions import BotoCoreError, ClientError

            if isinstance(error, BotoCoreError | ClientError):
                reason, cause = f"{reason}: {error}", error
            else:  # without the cause, because that of JSON carries the text, which may hold the keys
                reason = f"{reason}: {type(error).__name__}: {error}"
        self._failed = _Failure(time.monotonic(), reason, hint)
        raise PermissionDeniedError(reason, hint=hint) from cause

    def _profile_wins(self) -> bool:
        """A profile that the program names wins over keys in the environment, as with boto3."""
        explicit = ("argument", "configure()")
        settings = self.settings
        return settings.origin("s3.profile") in explicit and settings.origin("s3.access_key_id") not in explicit

    def _in_force(self, found: Any) -> Credentials:
        """The keys of what botocore has found, renewed where their end is near."""
        needs = getattr(found, "refresh_needed", None)
        if needs is not None and needs(_REFRESH_AHEAD) and not needs(60):
            self._refresh_in_background(found.get_frozen_credentials)
            frozen = found._frozen_credentials
        else:
            frozen = found.get_frozen_credentials()
        return Credentials(frozen.access_key, frozen.secret_key, frozen.token)

    def renew_credentials(self) -> bool:
        """Ask for the keys anew, now that the service has refused them; whether there are others.

        All who find out at the same time ask once. Everything is asked again: the program, STS, the metadata service,
        the files, which another program may have written meanwhile.
        """
        with self._asking:
            if self._found is None:
                return False  # they are not botocore's
            at, changed = self._renewed
            if time.monotonic() < at + _LOOK_AGAIN:
                return changed
            session, found = self._session, self._found
            try:
                before = self._asked_for()
                self._session = self._found = None
                changed = self._asked_for() != before
            except S3dlioError as error:
                log.warning("the service has refused the credentials, and others could not be fetched: %s", error)
                self._session, self._found, self._failed, changed = session, found, None, False
            self._renewed = time.monotonic(), changed
        return changed

    def can_refresh(self) -> bool:
        """Whether asking for credentials again may give others."""
        return self._found is not None

    def _refresh_in_background(self, refresh: Callable[[], Any]) -> None:
        with self._lock:
            if self._refreshing:
                return
            self._refreshing = True

        def run() -> None:
            try:
                refresh()
            except Exception as error:  # the old keys are still good; the next second tries again
                log.warning("credentials could not be refreshed ahead of time: %s", error)
            finally:
                self._refreshing = False

        threading.Thread(target=run, name="s3dlio-credentials", daemon=True).start()

    def boto_client(self) -> Any:
        """A boto3 client with the same access, for ``S3DLIO_BACKEND=boto3``."""
        import_all("boto3", "botocore.config")
        import boto3
        from botocore import UNSIGNED
        from botocore.config import Config

        s3, http = self._s3, self.settings.http
        options: dict[str, Any] = {
            "region_name": self.region,
            "connect_timeout": http.connect_timeout,
            "read_timeout": http.read_timeout,
            "max_pool_connections": http.max_connections,
            "retries": {"total_max_attempts": self.settings.retry.max_attempts, "mode": "standard"},
            "s3": {
                "addressing_style": "path" if s3.addressing == "auto" and not self.is_aws else s3.addressing,
                "payload_signing_enabled": s3.payload_signing,
                "use_accelerate_endpoint": self.variant.accelerate,
                "use_dualstack_endpoint": self.variant.dualstack,
                "use_arn_region": s3.use_arn_region is not False,
                "s3_disable_multiregion_access_points": bool(s3.disable_multiregion_access_points),
                "disable_s3_express_session_auth": bool(s3.disable_express_session_auth),
            },
            "use_fips_endpoint": self.variant.fips,
            "use_dualstack_endpoint": self.variant.dualstack,
            "ignore_configured_endpoint_urls": True,
            **{name: self.checksums(name) for name in _CHECKSUMS},
        }
        if s3.anonymous:
            options["signature_version"] = UNSIGNED
        session = boto3.Session(botocore_session=profile.open_session(self.settings))
        session._session.register_component("credential_provider", profile.resolver_of(self.credentials))
        client = session.client("s3", endpoint_url=self.endpoint_url, verify=http.ca_bundle, config=Config(**options))
        client.meta.events.register("needs-retry.s3", self._renewed_for_boto)
        if s3.requester_pays:
            client.meta.events.register("before-call.s3", _say_who_pays)
        return client

    def _renewed_for_boto(self, response: Any, request_dict: dict[str, Any], **_: Any) -> int | None:
        """Seconds until boto3 sends a request again (none), once, when its keys were refused and there are others."""
        code = response[1].get("Error", {}).get("Code") if response else None
        if code not in EXPIRED_CODES or request_dict["context"].setdefault("s3dlio_renewed", False):
            return None
        request_dict["context"]["s3dlio_renewed"] = True
        return 0 if self.renew_credentials() else None

    def _botocore(self) -> Any:
        """The session that finds the keys."""
        if self._session is None:
            self._session = profile.open_session(self.settings)
        if self._s3.region is None:
            self._session.set_config_variable("region", self.region)
        return self._session

    def renew(self) -> None:
        """In a forked child the thread that refreshed credentials is not there, and botocore's lock may be held."""
        self._refreshing = False
        if hasattr(self._found, "_refresh_lock"):
            self._found._refresh_lock = threading.Lock()


def account_of(location: Location, settings: Settings) -> S3Account:
    """The account that ``location`` belongs to, with the settings of its endpoint. It may read ``~/.aws``.

    Raises:
        ConfigError: as of :class:`S3Account`.
    """
    if endpoint := location.endpoint or settings.s3.endpoint_url:
        settings = settings.at(endpoint)
    return _account(settings, location.endpoint, frozenset(settings.origins.items()))


@lru_cache(maxsize=64)
def _account(settings: Settings, endpoint: str | None, origins: frozenset[tuple[str, str]]) -> S3Account:
    """All buckets of one service share credentials, connections and the retry budget. Where a setting comes from
    matters, too: a profile that the program names wins over keys in the environment."""
    return S3Account(settings, endpoint)


def _say_who_pays(params: dict[str, Any], **_: Any) -> None:
    """For boto3, whose client has no such setting, and whose verbs do not all take it."""
    params["headers"]["x-amz-request-payer"] = "requester"
