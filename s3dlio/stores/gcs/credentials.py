"""Credentials of Google Cloud Storage, from google-auth.

google-auth finds them (Application Default Credentials: a file, gcloud's login, workload identity, the metadata
server), impersonates service accounts and refreshes tokens. It is imported (100 ms) only when credentials are needed:
an emulator and public buckets need none.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import re
import warnings
from collections.abc import Sequence
from typing import Any

from s3dlio.config.environment import TRUST_DOTENV, read_small_file
from s3dlio.config.settings import Settings
from s3dlio.errors import ConfigError, PermissionDeniedError, S3dlioError
from s3dlio.forking import ForkLock
from s3dlio.stores.cloud.tokens import Token

#: The domain of Google's own services; others run them under another (Google Cloud documentation, "universe domain").
GOOGLE = "googleapis.com"
_DOMAIN = re.compile(r"[a-z0-9-]+(\.[a-z0-9-]+)+")
_SCOPES = ("https://www.googleapis.com/auth/devstorage.full_control",)
_IMPERSONATION_SCOPES = ("https://www.googleapis.com/auth/cloud-platform",)
#: Kinds of files that hold keys of their own, and name no other place to get them from.
_OWN_KEYS = ("service_account", "authorized_user")
#: Seconds that a token without an end is used for.
_NO_END = 300.0


class GcsCredentials:
    """The credentials that the settings name, or that google-auth finds; looked for when they are first needed.

    Args:
        settings: all settings; ``settings.gcs`` matters here.
        universe: the domain that the credentials must be of; None: any.
    """

    def __init__(self, settings: Settings, universe: str | None) -> None:
        self._settings = settings
        self._universe = universe
        self._lock = ForkLock()
        self._found: Any = None
        self._project: str | None = None

    def project(self) -> str | None:
        """The project that the credentials name; raises as :meth:`found`."""
        self.found()
        return self._project

    def found(self) -> Any:
        """google-auth's credentials, found once.

        Raises:
            PermissionDeniedError: there are none.
            ConfigError: the file of credentials cannot be used.
        """
        with self._lock:
            if self._found is None:
                found, self._project = self._find()
                domain = getattr(found, "universe_domain", GOOGLE)
                if self._universe is not None and domain != self._universe:  # tokens are for their universe only
                    raise ConfigError(
                        f"the Google credentials are of the universe {domain!r}, the endpoint is of {self._universe!r}",
                        hint=f"set GOOGLE_CLOUD_UNIVERSE_DOMAIN={domain}, or use other credentials",
                    )
                self._found = found
        return self._found

    def _find(self) -> tuple[Any, str | None]:
        import google.auth

        gcs = self._settings.gcs
        scopes = _IMPERSONATION_SCOPES if gcs.impersonate else _SCOPES
        try:
            if gcs.credentials_file:
                found, project = self._load(gcs.credentials_file, scopes)
            else:
                found, project = google.auth.default(scopes=scopes, request=self._transport())
        except S3dlioError:
            raise
        except Exception as error:  # of google-auth, of requests, of files that hold something else
            if gcs.credentials_file:  # google-auth's message may have parts of it
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
        """The credentials in a file of any kind. One that a .env file names may come from a stranger:
        credentials of some kinds read other files or ask other services, and send the answers to a URL of the file.

        Raises:
            ConfigError: a .env file names it, and it holds no keys of its own.
        """
        import google.auth

        try:
            kind = _contents_of(path).get("type")
        except FileNotFoundError:
            kind = None  # google-auth says what is missing
        except (OSError, ValueError) as error:
            raise ConfigError(f"the file of Google credentials '{path}' cannot be read: {error}") from None
        if self._settings.from_dotenv("gcs.credentials_file") and kind not in _OWN_KEYS:
            raise ConfigError(
                f"the file of Google credentials '{path}' is named by a .env file, and is none of {_OWN_KEYS}",
                hint=f"name it in the environment, or, if the .env file is yours, set {TRUST_DOTENV}=1 there",
            )
        load: Any = google.auth.load_credentials_from_file
        with warnings.catch_warnings():
            # It warns of files from strangers; the user named this one.
            warnings.simplefilter("ignore", DeprecationWarning)
            found, project = load(path, scopes=scopes, request=self._transport())
        return found, project

    def fetch(self) -> Token[str]:
        """A new token. The error has the kind of the failure, never what was sent."""
        credentials = self.found()
        try:
            credentials.refresh(self._transport())
            end: datetime.datetime | None = credentials.expiry  # UTC, without a zone
            now = datetime.datetime.now(datetime.UTC).timestamp()
            return Token(credentials.token, end.replace(tzinfo=datetime.UTC).timestamp() if end else now + _NO_END)
        except Exception as error:  # of google-auth, of requests, of a token service that answers something else
            raise PermissionDeniedError(
                f"Google gave no token for these credentials ({type(error).__name__})",
                hint="log in again ('gcloud auth application-default login'), or check the service account and its key",
            ) from None

    def _transport(self) -> Any:
        """What google-auth reaches the token service by: a session with the CA bundle of the settings."""
        import google.auth.transport.requests
        import requests

        session = requests.Session()
        trust_bundle(session, self._settings.http.ca_bundle)
        return google.auth.transport.requests.Request(session)


def trust_bundle(session: Any, bundle: str | None) -> None:
    """Let a session of requests trust the certificates of ``bundle``, a file; None: those it trusts anyway. Its own
    setting yields to REQUESTS_CA_BUNDLE; that of an adapter does not."""
    if bundle is None:
        return
    from requests.adapters import HTTPAdapter

    class Trusting(HTTPAdapter):
        def send(self, request: Any, *args: Any, **options: Any) -> Any:
            return super().send(request, *args, **{**options, "verify": bundle})

    session.mount("https://", Trusting())


def _contents_of(path: str) -> dict[str, Any]:
    if os.path.exists(path) and not os.path.isfile(path):  # a pipe would be waited for
        raise ValueError("it is no regular file")
    found = json.loads(read_small_file(path))
    return found if isinstance(found, dict) else {}


def universe_of(settings: Settings) -> str:
    """The domain of the services: that of the settings, or of the file of credentials."""
    gcs = settings.gcs
    domain: Any = gcs.universe_domain
    if domain is None and gcs.credentials_file and not gcs.anonymous:
        with contextlib.suppress(OSError, ValueError):  # the error comes where the file is needed
            domain = _contents_of(gcs.credentials_file).get("universe_domain")
    domain = domain or GOOGLE
    if not isinstance(domain, str) or not _DOMAIN.fullmatch(domain):
        raise ConfigError(
            f"the universe domain of Google Cloud is no domain: {domain!r}", hint="see GOOGLE_CLOUD_UNIVERSE_DOMAIN"
        )
    return domain
