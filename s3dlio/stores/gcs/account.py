"""Who we are and where the service is: credentials, project and endpoint of Google Cloud Storage.

google-auth finds the credentials (Application Default Credentials: a file, gcloud's login, workload identity, the
metadata server), impersonates service accounts and refreshes tokens. It is imported (100 ms) only when credentials are
needed: an emulator and public buckets need none.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import logging
import re
import warnings
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from s3dlio._version import __version__
from s3dlio.config import trust
from s3dlio.config.environment import TRUST_DOTENV
from s3dlio.config.settings import Settings
from s3dlio.errors import ConfigError, PermissionDeniedError, S3dlioError
from s3dlio.forking import ForkLock, import_all
from s3dlio.net.message import Request, Service
from s3dlio.net.pool import ConnectionPool, pool_for_url
from s3dlio.net.retry import RetryPolicy
from s3dlio.stores.cloud.tokens import Token, Tokens
from s3dlio.stores.gcs.names import check_bucket
from s3dlio.uri import Location

log = logging.getLogger("s3dlio.gcs")

#: The domain of Google's own services; others run them under theirs (Google Cloud documentation, "universe domain").
GOOGLE = "googleapis.com"
_DOMAIN = re.compile(r"[a-z0-9-]+(\.[a-z0-9-]+)+")
USER_AGENT = f"s3dlio/{__version__}"
_SCOPES = ("https://www.googleapis.com/auth/devstorage.full_control",)
_IMPERSONATION_SCOPES = ("https://www.googleapis.com/auth/cloud-platform",)
#: Kinds of files that hold keys of their own, and name no other place to get them from.
_OWN_KEYS = ("service_account", "authorized_user")
#: Seconds that a token without a told end is taken to be good.
_UNTOLD = 300.0


class GcsAccount:
    """Resolved access to one Cloud Storage service.

    Tokens travel over https only. An http endpoint is an emulator's or a proxy's on this machine, and gets none.

    Args:
        settings: all settings; ``settings.gcs`` matters here.

    Raises:
        ConfigError: an endpoint with a query, or a universe domain that is none.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        #: The universe that the credentials must be of; None where an endpoint of our own says where to go.
        self.universe = None if settings.gcs.endpoint_url else _universe_of(settings)
        self.url = settings.gcs.endpoint_url or f"https://storage.{self.universe}"
        parts = urlsplit(self.url)
        if parts.query or parts.fragment:
            raise ConfigError("the endpoint of Google Cloud Storage must be a plain URL", hint="leave the query out")
        #: What paths start with, behind a proxy that serves more than this.
        self.base = parts.path.rstrip("/")
        self.anonymous = settings.gcs.anonymous or parts.scheme == "http"
        if not self.anonymous:
            file = ("gcs.credentials_file",) if settings.gcs.credentials_file else ()
            trust.check(settings, ("http.ca_bundle", "gcs.endpoint_url", "gcs.universe_domain"), file)
        if parts.scheme == "http" and settings.gcs.credentials_file:
            log.info("requests to %s carry no token, because it does not speak https", self.url)
        self._lock = ForkLock()
        self._credentials: Any = None
        self._found_project: str | None = None
        self.tokens = None if self.anonymous else Tokens(self._fetch)
        policy = RetryPolicy(settings.retry, settings.http.operation_timeout)
        pool = pool_for_url(self.url, settings.http)
        self.service = Service(pool, BearerSigner(pool, self.tokens, settings.gcs.user_project), policy)

    def __repr__(self) -> str:
        return f"<GcsAccount {self.url}>"

    def without_token(self, url: str) -> Service:
        """The service at another host, which gets no token."""
        pool = pool_for_url(url, self.settings.http)
        return Service(pool, BearerSigner(pool, None, None), self.service.policy)

    def project(self) -> str:
        """The project of new and listed buckets.

        Raises:
            ConfigError: nobody named one.
        """
        project = self.settings.gcs.project
        if project is None and not self.anonymous:
            self.credentials()
            project = self._found_project
        if project is None:
            raise ConfigError("no Google Cloud project is named", hint="set GOOGLE_CLOUD_PROJECT (or gcs.project)")
        return project

    # -- who

    def credentials(self) -> Any:
        """google-auth's credentials, found once.

        Raises:
            PermissionDeniedError: there are none.
            ConfigError: the file of credentials cannot be used.
        """
        with self._lock:
            if self._credentials is None:
                found, self._found_project = self._find()
                theirs = getattr(found, "universe_domain", GOOGLE)
                if self.universe is not None and theirs != self.universe:  # its tokens are not for others
                    raise ConfigError(
                        f"the Google credentials are of the universe {theirs!r}, the endpoint is of {self.universe!r}",
                        hint=f"set GOOGLE_CLOUD_UNIVERSE_DOMAIN={theirs}, or use other credentials",
                    )
                self._credentials = found
        return self._credentials

    def _find(self) -> tuple[Any, str | None]:
        import_all("google.auth", "google.auth.impersonated_credentials", "google.auth.transport.requests")
        import google.auth

        gcs = self.settings.gcs
        scopes = _IMPERSONATION_SCOPES if gcs.impersonate else _SCOPES
        try:
            if gcs.credentials_file:
                found, project = self._load(gcs.credentials_file, scopes)
            else:
                found, project = google.auth.default(scopes=scopes, request=self._transport())
        except S3dlioError:
            raise
        except Exception as error:  # of google-auth, of requests, of files that hold something else
            if gcs.credentials_file:  # what is wrong with it google-auth may say with parts of it
                raise ConfigError(
                    f"the file of Google credentials '{gcs.credentials_file}' cannot be used ({type(error).__name__})",
                    hint="correct GOOGLE_APPLICATION_CREDENTIALS",
                ) from None
            raise PermissionDeniedError(
                "no credentials for Google Cloud Storage",
                hint="run 'gcloud auth application-default login', set GOOGLE_APPLICATION_CREDENTIALS to a file of "
                "credentials, or S3DLIO_GCS_ANONYMOUS=1 for public buckets",
            ) from None
        if gcs.impersonate:
            from google.auth import impersonated_credentials

            act_as: Any = impersonated_credentials.Credentials
            found = act_as(
                source_credentials=found, target_principal=gcs.impersonate, target_scopes=list(_SCOPES)
            )
        return found, project

    def _load(self, path: str, scopes: Sequence[str]) -> tuple[Any, str | None]:
        """The credentials in a file of any kind. One that a .env file names may be a stranger's, who could have us read
        other files, or ask other services, and send what they say to a place of theirs.

        Raises:
            ConfigError: a .env file names it, and it holds no keys of its own.
        """
        import google.auth

        if self.settings.from_dotenv("gcs.credentials_file") and _kind_of(path) not in _OWN_KEYS:
            raise ConfigError(
                f"the file of Google credentials '{path}' is named by a .env file, and is none of {_OWN_KEYS}",
                hint=f"name it in the environment, or, if the .env file is yours, set {TRUST_DOTENV}=1 there",
            )
        load: Any = google.auth.load_credentials_from_file
        with warnings.catch_warnings():
            # It warns of files from strangers; this one the user named.
            warnings.simplefilter("ignore", DeprecationWarning)
            found, project = load(path, scopes=scopes, request=self._transport())
        return found, project

    def _fetch(self) -> Token[str]:
        """A new token. The error names what went wrong, never what was sent."""
        credentials = self.credentials()
        try:
            credentials.refresh(self._transport())
            end: datetime.datetime | None = credentials.expiry  # UTC, without a zone
            now = datetime.datetime.now(datetime.UTC).timestamp()
            return Token(credentials.token, end.replace(tzinfo=datetime.UTC).timestamp() if end else now + _UNTOLD)
        except Exception as error:  # of google-auth, of requests, of a token service that answers something else
            raise PermissionDeniedError(
                f"Google gave no token for these credentials ({type(error).__name__})",
                hint="log in again ('gcloud auth application-default login'), or check the service account and its key",
            ) from None

    def _transport(self) -> Any:
        """google-auth's way to the token service: with our CA bundle."""
        import google.auth.transport.requests
        import requests

        session = requests.Session()
        self.trust_bundle(session)
        return google.auth.transport.requests.Request(session)

    def trust_bundle(self, session: Any) -> None:
        """Let a session of requests trust our CA bundle. Its own setting would yield to REQUESTS_CA_BUNDLE; what an
        adapter says holds."""
        bundle = self.settings.http.ca_bundle
        if bundle is None:
            return
        from requests.adapters import HTTPAdapter

        class Trusting(HTTPAdapter):
            def send(self, request: Any, *args: Any, **options: Any) -> Any:
                return super().send(request, *args, **{**options, "verify": bundle})

        session.mount("https://", Trusting())


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


def _kind_of(path: str) -> Any:
    return _said_in(path).get("type")


def _said_in(path: str) -> dict[str, Any]:
    with open(path, encoding="utf-8") as file:
        found = json.load(file)
    return found if isinstance(found, dict) else {}


def _universe_of(settings: Settings) -> str:
    """The domain of the services: what the settings say, or the file of credentials."""
    gcs = settings.gcs
    domain: Any = gcs.universe_domain
    if domain is None and gcs.credentials_file and not gcs.anonymous:
        with contextlib.suppress(OSError, ValueError):  # what is wrong with it is told where it is needed
            domain = _said_in(gcs.credentials_file).get("universe_domain")
    domain = domain or GOOGLE
    if not isinstance(domain, str) or not _DOMAIN.fullmatch(domain):
        raise ConfigError(
            f"the universe domain of Google Cloud is no domain: {domain!r}", hint="see GOOGLE_CLOUD_UNIVERSE_DOMAIN"
        )
    return domain


class BearerSigner:
    """Renders the heads of requests to one host.

    Args:
        pool: the host.
        token: gives the token in force; None: requests carry none.
        user_project: the project that pays, where that is not the bucket's.
    """

    def __init__(self, pool: ConnectionPool, token: Callable[[], str] | None, user_project: str | None) -> None:
        self._prefix = pool.target_prefix
        self._token = token
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
