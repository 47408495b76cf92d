"""Who we are and where the service is: credentials, region, endpoint of S3, resolved once for each set of settings.

What the settings leave open botocore finds: profiles, SSO, web identity, containers, instance roles, processes, the
``endpoint_url`` and ``s3`` sections of ``~/.aws/config``. It is imported (150 ms) only when there is something that it
could find; keys, region and endpoint from the environment need no file and no botocore.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from s3dlio._version import __version__
from s3dlio.endpoints import name_of
from s3dlio.errors import ConfigError, PermissionDeniedError, S3dlioError
from s3dlio.knobs import flag, knobs
from s3dlio.locks import ForkLock, import_all, renewed_in_child
from s3dlio.net.message import Service, Signer
from s3dlio.net.pool import ConnectionPool, pool_for_url
from s3dlio.net.retry import RetryPolicy
from s3dlio.settings import S3Settings, Settings
from s3dlio.stores.s3.hosts import Variant, aws_endpoint
from s3dlio.stores.s3.sigv4 import Credentials, SigV4Signer, UnsignedSigner

log = logging.getLogger("s3dlio.s3")

USER_AGENT = f"s3dlio/{__version__}"
#: Refresh in the background when credentials have less than this many seconds left, as botocore's advisory window.
_REFRESH_AHEAD = 15 * 60
#: Where there were none, or they could not be fetched, botocore is not asked again for so many seconds: it may wait
#: long for a metadata service or a program, and each object of a batch would ask.
_LOOK_AGAIN = 5.0
#: Error codes of S3 that are transient whatever their status.
TRANSIENT_CODES = frozenset(
    {b"InternalError", b"SlowDown", b"RequestTimeout", b"RequestTimeoutException", b"ServiceUnavailable",
     b"OperationAborted", b"ThrottlingException", b"TooManyRequests"}
)  # fmt: skip
#: The settings that choose among AWS's endpoints, in the order of the fields of Variant.
_VARIANTS = ("use_fips_endpoint", "use_dualstack_endpoint", "use_accelerate_endpoint")
#: How the settings that say when checksums are sent and compared are read from a profile.
_CHECKSUMS = {name: knob.read for name, knob, _ in knobs(S3Settings) if "_checksum_" in name}


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

    Raises:
        ConfigError: the profile or the endpoint cannot be used.
    """

    def __init__(self, settings: Settings, endpoint: str | None = None) -> None:
        self.settings = settings
        self._s3 = settings.s3
        self._lock = ForkLock()
        self._session: Any = None
        self._refreshing = False
        self._found: Any = None
        self._failed: _Failure | None = None
        #: Held while credentials are asked for.
        self._asking = ForkLock()
        self.region = self._s3.region or self._configured("region") or "us-east-1"
        self.endpoint_url = self._endpoint(endpoint)
        self.is_aws = self.endpoint_url is None
        #: Which of AWS's endpoints; where another is configured, that is the one.
        self.variant = Variant(*map(self._chosen, _VARIANTS)) if self.is_aws else Variant()
        if self.is_aws:
            aws_endpoint(self.region, self.variant)  # refuses what there is not
        self.policy = RetryPolicy(settings.retry, settings.http.operation_timeout, TRANSIENT_CODES)
        self._services: dict[tuple[str, str], Service] = {}
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
        region = region or self.region
        variant = self.variant if bucket and accelerated else self.variant._replace(accelerate=False)
        base = urlsplit(self.endpoint_url or aws_endpoint(region, variant))
        prefix = base.path.rstrip("/")  # gateways live behind one
        if bucket and self.is_virtual(bucket):
            return self._service(f"{base.scheme}://{bucket}.{base.netloc}", region), prefix
        return self._service(f"{base.scheme}://{base.netloc}", region), f"{prefix}/{bucket}" if bucket else prefix

    def is_virtual(self, bucket: str) -> bool:
        """Whether the bucket stands in the host name instead of the path.

        Raises:
            ConfigError: it would have to, for accelerated transfers, and cannot.
        """
        style = self._style()
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

    def _style(self) -> str:
        """``path``, ``virtual`` or ``auto``: what the settings or else the profile says."""
        style = self._s3.addressing
        if style == "auto" and self._has_files():
            return self._configured_s3("addressing_style") or style
        return style

    def _service(self, url: str, region: str) -> Service:
        service = self._services.get((url, region))
        if service is None:
            pool = pool_for_url(url, self.settings.http)
            service = self._services[(url, region)] = Service(pool, self._signer(pool, region), self.policy)
        return service

    def _signer(self, pool: ConnectionPool, region: str) -> Signer:
        if self._s3.anonymous:
            return self.unsigned(pool)
        return SigV4Signer(
            pool.host_header, pool.target_prefix, region, self.credentials, self._s3.payload_signing, USER_AGENT
        )

    def unsigned(self, pool: ConnectionPool) -> UnsignedSigner:
        """A signer that adds no credentials."""
        return UnsignedSigner(pool.host_header, pool.target_prefix, USER_AGENT)

    def _endpoint(self, endpoint: str | None) -> str | None:
        configured = self._s3.endpoint_url
        if endpoint and not (configured and name_of(configured) == name_of(endpoint)):
            port = endpoint.rpartition(":")[2]
            tls = port in {item.strip() for item in self._s3.tls_ports.split(",")}
            return f"{'https' if tls else 'http'}://{endpoint}"
        url = configured or self._configured_endpoint()
        return url.rstrip("/") if url else None

    def _chosen(self, name: str) -> bool:
        """Whether the settings or else the profile choose a kind of AWS's endpoints."""
        said = getattr(self._s3, name)
        if said is None and self._has_files():
            said = self._configured_s3(name) or self._botocore().get_scoped_config().get(name)
            said = None if said is None else flag(f"{name} of the profile", said)
        return bool(said)

    def checksums(self, name: str) -> str:
        """``when_supported`` or ``when_required``: what the settings, the profile or else the kind of service says.

        Args:
            name: ``request_checksum_calculation`` or ``response_checksum_validation``.

        Raises:
            ConfigError: the profile says something else.
        """
        said = getattr(self._s3, name)
        if said is None and self._has_files():
            said = self._botocore().get_scoped_config().get(name)
            said = None if said is None else _CHECKSUMS[name](f"{name} of the profile", said)
        return said or ("when_supported" if self.is_aws else "when_required")

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
        from botocore.exceptions import BotoCoreError, ClientError

        self._failed = cause = None
        reason, hint = "no credentials for S3", "see 's3-cli config', or refresh your login"
        try:
            if self._found is None:
                self._found = self._botocore().get_credentials()
            if self._found is not None:
                return self._in_force(self._found)
            hint = (
                "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or AWS_PROFILE, or pass anonymous access "
                "(--no-sign-request)"
            )
        except (BotoCoreError, ClientError) as error:
            reason, cause = f"{reason}: {error}", error
        except (OSError, ValueError) as error:  # a program or token file that is not there, keys that are no JSON
            if isinstance(error, S3dlioError):
                raise
            # Without the cause, because that of JSON carries the text, which may hold the keys.
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

    def can_refresh(self) -> bool:
        """Whether asking for credentials again may give others."""
        return hasattr(self._found, "refresh_needed")

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
        import_all("boto3", "botocore.session", "botocore.config")
        import boto3
        import botocore.session
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
                "addressing_style": "path" if self._style() == "auto" and not self.is_aws else self._style(),
                "payload_signing_enabled": s3.payload_signing,
                "use_accelerate_endpoint": self.variant.accelerate,
                "use_dualstack_endpoint": self.variant.dualstack,
            },
            "use_fips_endpoint": self.variant.fips,
            "use_dualstack_endpoint": self.variant.dualstack,
            **{name: self.checksums(name) for name in _CHECKSUMS},
        }
        if s3.anonymous:
            options["signature_version"] = UNSIGNED
        keys: dict[str, Any] = {}
        if not self._profile_wins():
            keys = {
                "aws_access_key_id": s3.access_key_id,
                "aws_secret_access_key": s3.secret_access_key,
                "aws_session_token": s3.session_token,
            }
        session = boto3.Session(botocore_session=botocore.session.Session(profile=s3.profile))
        client = session.client(
            "s3", endpoint_url=self.endpoint_url, verify=http.ca_bundle, config=Config(**options), **keys
        )
        if s3.requester_pays:
            client.meta.events.register("before-call.s3", _say_who_pays)
        return client

    # -- what botocore knows

    def _has_files(self) -> bool:
        """Whether there is anything for botocore to find besides the variables that the settings read."""
        names = ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE")
        defaults = ("~/.aws/config", "~/.aws/credentials")
        paths = [os.environ.get(name) or default for name, default in zip(names, defaults, strict=True)]
        return self._s3.profile is not None or any(os.path.exists(os.path.expanduser(path)) for path in paths)

    def _botocore(self) -> Any:
        if self._session is None:
            import_all("botocore.exceptions", "botocore.session")
            import botocore.exceptions
            import botocore.session

            session = botocore.session.Session(profile=self._s3.profile)
            try:
                session.get_scoped_config()
            except botocore.exceptions.ProfileNotFound as error:
                raise ConfigError(
                    str(error), hint="see 'aws configure list-profiles', or correct AWS_PROFILE"
                ) from error
            self._session = session
        return self._session

    def _configured(self, name: str) -> str | None:
        if not self._has_files():
            return None
        value = self._botocore().get_config_variable(name)
        return str(value) if value else None

    def _configured_s3(self, name: str) -> str | None:
        section = self._botocore().get_scoped_config().get("s3")
        return section.get(name) if isinstance(section, dict) else None

    def _configured_endpoint(self) -> str | None:
        if not self._has_files():
            return None
        from botocore.configprovider import ConfiguredEndpointProvider

        session = self._botocore()
        provider = ConfiguredEndpointProvider(session.full_config, session.get_scoped_config(), "s3")
        return provider.provide() or None

    def renew(self) -> None:
        """In a forked child the thread that refreshed credentials is not there, and botocore's lock may be held."""
        self._refreshing = False
        if hasattr(self._found, "_refresh_lock"):
            self._found._refresh_lock = threading.Lock()


def _say_who_pays(params: dict[str, Any], **_: Any) -> None:
    """For boto3, whose client has no such setting, and whose verbs do not all take it."""
    params["headers"]["x-amz-request-payer"] = "requester"
