"""One storage account: its endpoint and credentials.

Key, SAS and connection string are read here; everything else (managed identities, workload identity, the Azure CLI,
client secrets) azure-identity finds, where it is installed.
"""

from __future__ import annotations

import importlib.util
import ipaddress
from functools import lru_cache
from urllib.parse import urlsplit

from s3dlio._version import __version__
from s3dlio.config import trust
from s3dlio.config.settings import Settings
from s3dlio.errors import ConfigError, InvalidURIError, PermissionDeniedError
from s3dlio.net.message import Service
from s3dlio.net.pool import ConnectionPool, pool_for_url
from s3dlio.net.retry import RetryPolicy
from s3dlio.stores.azure import crc64
from s3dlio.stores.azure.credentials import IDENTITIES, check_sas, decode_key, identity_tokens, parse_connection_string
from s3dlio.stores.azure.names import check_account, check_container
from s3dlio.stores.azure.sharedkey import BearerRenderer, HeadRenderer, SasRenderer, SharedKeySigner
from s3dlio.stores.cloud.tokens import Tokens
from s3dlio.uri import Location

USER_AGENT = f"s3dlio/{__version__}"
#: Error codes that pass by themselves whatever their status.
_TRANSIENT_CODES = frozenset({b"ServerBusy", b"InternalError", b"OperationTimedOut"})


class AzureAccount:
    """Resolved access to one storage account.

    Args:
        settings: all settings; ``settings.azure`` matters here.
        name: the account.

    Raises:
        ConfigError: a key, SAS, connection string or endpoint that cannot be used; it does not show the secret.
        InvalidURIError: no account can have that name.
        PermissionDeniedError: there are no credentials.
        MissingDependencyError: ``azure.crc64`` is set, and nothing is installed that computes it.
    """

    def __init__(self, settings: Settings, name: str) -> None:
        self.settings = settings
        self.name = name
        written = settings.azure.connection_string
        self._connection = parse_connection_string(written) if written else {}
        self.url = self._find_url()
        parts = urlsplit(self.url)
        #: The service is Azure itself, not an emulator or a proxy.
        self.is_azure = ".blob." in (parts.hostname or "")
        #: What paths start with (emulators have the account there).
        self.base = parts.path
        self.tokens: Tokens[str] | None = None
        #: The shared access signature in use; a copy's source needs it too.
        self.sas: str | None = None
        #: The key in use, decoded, and as it was written.
        self.key: bytes | None = None
        self.written_key: str | None = None
        self._resolve()
        self._check_trust()
        if settings.azure.crc64:
            crc64.implementation()
        policy = RetryPolicy(settings.retry, settings.http.operation_timeout, _TRANSIENT_CODES)
        pool = pool_for_url(self.url, settings.http)
        self.renderer = self._renderer(pool)
        self.service = Service(pool, self.renderer, policy)

    def root_of(self, container: str) -> str:
        """The URI of one of its containers."""
        return f"az://{self.name}/{container}"

    def __repr__(self) -> str:
        return f"<AzureAccount {self.name} at {self.url}>"

    # -- where

    def _find_url(self) -> str:
        #: The setting that the endpoint comes from.
        self._says_where = "azure.endpoint_url" if self.settings.azure.endpoint_url else "azure.connection_string"
        given = self.settings.azure.endpoint_url or self._from_connection("BlobEndpoint")
        if given:
            return self._checked_endpoint(given.rstrip("/"))
        check_account(self.name, f"az://{self.name}")
        protocol = self._from_connection("DefaultEndpointsProtocol") or "https"
        suffix = self._from_connection("EndpointSuffix") or "core.windows.net"
        return f"{protocol}://{self.name}.blob.{suffix}"

    def _checked_endpoint(self, url: str) -> str:
        """The endpoint as it was given; one at an IP address has the account in its path."""
        parts = urlsplit(url)
        host = parts.hostname or ""
        if parts.scheme not in ("http", "https") or not host or parts.query or parts.username:
            raise ConfigError(
                "the Azure endpoint must be a plain http:// or https:// URL",
                hint="credentials have settings of their own",
            )
        if is_address(host):
            if not parts.path:
                return f"{url}/{self.name}"
            named = parts.path.strip("/")
        else:
            named = host.partition(".")[0] if ".blob." in host else self.name
        if named != self.name:
            raise ConfigError(
                f"the endpoint {url} is that of account '{named}', but the URI means account '{self.name}'",
                hint="correct AZURE_STORAGE_ENDPOINT or AZURE_STORAGE_ACCOUNT",
            )
        return url

    def _from_connection(self, field: str) -> str | None:
        """A field of the connection string, where that belongs to this account."""
        if self._connection.get("AccountName", self.name) != self.name:
            return None
        return self._connection.get(field)

    # -- who

    def _resolve(self) -> None:
        """Find the key, the signature or the tokens: what is more explicit comes first."""
        azure = self.settings.azure
        if azure.anonymous or azure.credential == "none":
            return
        if azure.credential in IDENTITIES:
            self.tokens = self._identity(azure.credential)
            return
        key = azure.key or (None if azure.sas_token else self._from_connection("AccountKey"))
        if key and azure.credential != "sas":
            self.key, self.written_key = decode_key(key), key
        elif azure.sas_token:
            self.sas = check_sas(azure.sas_token)
        elif sas := self._from_connection("SharedAccessSignature"):
            self.sas = check_sas(sas)
        elif azure.credential == "sas":
            raise ConfigError(
                f"there is no shared access signature for the account '{self.name}', and azure.credential=sas asks for "
                "one", hint="set AZURE_STORAGE_SAS_TOKEN",
            )  # fmt: skip
        elif self.url.startswith("https://"):
            self.tokens = self._identity("auto")
        # An emulator or a proxy on this machine: tokens travel over https only.

    def _check_trust(self) -> None:
        azure = self.settings.azure
        if self.key is None and self.sas is None and self.tokens is None:
            return
        whole = azure.credential != "sas" and azure.key
        sent = "azure.key" if whole else "azure.sas_token" if azure.sas_token else "azure.connection_string"
        trust.check(self.settings, ("http.ca_bundle", self._says_where), () if self.tokens is not None else (sent,))

    def _identity(self, kind: str) -> Tokens[str]:
        if importlib.util.find_spec("azure.identity") is None:
            other = self._connection.get("AccountName")
            about = f"; the connection string is about account '{other}'" if other and other != self.name else ""
            raise PermissionDeniedError(
                f"no credentials for the Azure account '{self.name}'{about}",
                uri=f"az://{self.name}",
                hint="set AZURE_STORAGE_KEY, AZURE_STORAGE_SAS_TOKEN or AZURE_STORAGE_CONNECTION_STRING, or, for "
                "public containers, S3DLIO_AZURE_ANONYMOUS=1, or install azure-identity: pip install 's3dlio[azure]'",
            )
        if not self.url.startswith("https://"):
            raise ConfigError(
                f"azure.credential={kind} sends tokens of Microsoft Entra ID, which need https",
                hint="use an https endpoint, or a key or SAS",
            )
        return identity_tokens(kind)

    def _renderer(self, pool: ConnectionPool) -> HeadRenderer:
        common = (pool.host_header, pool.target_prefix, USER_AGENT)
        if self.key is not None:
            return SharedKeySigner(*common, self.name, self.key)
        if self.sas is not None:
            return SasRenderer(*common, self.sas)
        if self.tokens is not None:
            return BearerRenderer(*common, self.tokens)
        return HeadRenderer(*common)


@lru_cache(maxsize=64)
def _account(settings: Settings, name: str, origins: frozenset[tuple[str, str]]) -> AzureAccount:
    """All containers of one account share credentials, connections and the retry budget."""
    return AzureAccount(settings, name)


def account_of(location: Location, settings: Settings) -> AzureAccount:
    """The account that a URI names; containers of one account share it.

    Raises:
        InvalidURIError: it names none, or no container can have the name that it gives.
        ConfigError, PermissionDeniedError, MissingDependencyError: as of :class:`AzureAccount`.
    """
    if not location.account:
        raise InvalidURIError(
            "the URI names no storage account",
            uri=str(location),
            hint="write az://account/container/key, or set AZURE_STORAGE_ACCOUNT",
        )
    if location.container:
        check_container(location.container, location.root)
    return _account(settings, location.account, frozenset(settings.origins.items()))


def is_address(host: str) -> bool:
    """Whether a host name leaves no room for the account: an IP address, or localhost."""
    if host == "localhost":
        return True
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
