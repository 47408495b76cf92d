"""Credentials of Azure Storage: account keys, shared access signatures and connection strings as they are written, and
tokens of Microsoft Entra ID, from azure-identity."""

from __future__ import annotations

import base64
import binascii
import os
import re
from collections.abc import Callable
from typing import Any

from s3dlio.errors import ConfigError, PermissionDeniedError, S3dlioError
from s3dlio.forking import renewed_in_child
from s3dlio.stores.cloud.tokens import Token, Tokens

_SCOPE = "https://storage.azure.com/.default"
_SAS = re.compile(r"[\x21-\x7e]*\Z")
# The account of every Azurite and storage emulator (Azure documentation, "Use the Azurite emulator").
_EMULATOR = {
    "AccountName": "devstoreaccount1",
    "AccountKey": "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==",
    "BlobEndpoint": "http://127.0.0.1:10000/devstoreaccount1",
}


def entra_tokens(make_credential: Callable[[], Any]) -> Tokens[str]:
    """The tokens of a credential.

    Args:
        make_credential: called once, when the first token is due; makes anything with azure-identity's
            ``get_token(scope)``, which returns ``token`` and ``expires_on`` (seconds since 1970).
    """
    return Tokens(_Entra(make_credential).fetch)


class _Entra:
    """A credential, made when the first token is due."""

    def __init__(self, make_credential: Callable[[], Any]) -> None:
        self._make = make_credential
        self._made: Any = None
        renewed_in_child(self)

    def renew(self) -> None:
        """A forked child makes one of its own: the sockets and locks of this one are its parent's."""
        self._made = None

    def fetch(self) -> Token[str]:
        try:
            if self._made is None:
                self._made = self._make()
            found = self._made.get_token(_SCOPE)
            return Token(found.token, float(found.expires_on))
        except S3dlioError:
            raise
        except Exception as error:  # of azure-identity, of requests, of programs and files that it reads
            raise PermissionDeniedError(
                f"no token from Microsoft Entra ID: {str(error).partition(chr(10))[0]}",
                hint="log in ('az login'), or set AZURE_CLIENT_ID, AZURE_TENANT_ID and AZURE_CLIENT_SECRET, or "
                "AZURE_STORAGE_KEY",
            ) from error


def _default_credential() -> Any:
    """Whatever azure-identity finds: environment, workload identity, managed identity, Azure CLI, ..."""
    from azure.identity import DefaultAzureCredential

    return DefaultAzureCredential()


def _managed_identity() -> Any:
    from azure.identity import ManagedIdentityCredential

    return ManagedIdentityCredential(client_id=os.environ.get("AZURE_CLIENT_ID") or None)


def _client_secret() -> Any:
    from azure.identity import ClientSecretCredential

    names = ("AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET")
    tenant, client, secret = values = [os.environ.get(name, "") for name in names]
    if missing := [name for name, value in zip(names, values, strict=True) if not value]:
        raise ConfigError(f"azure.credential=client-secret needs {', '.join(missing)}", hint="set them")
    return ClientSecretCredential(tenant, client, secret)


def _workload_identity() -> Any:
    from azure.identity import WorkloadIdentityCredential

    return WorkloadIdentityCredential()


#: Values of ``azure.credential`` that mean tokens, and what makes their source.
_CREDENTIALS: dict[str, Callable[[], Any]] = {
    "auto": lambda: _default_credential(),
    "managed-identity": _managed_identity,
    "client-secret": _client_secret,
    "workload-identity": _workload_identity,
}
#: Those that a user chooses; ``auto`` is what remains.
IDENTITIES = ("managed-identity", "client-secret", "workload-identity")


def identity_tokens(kind: str) -> Tokens[str]:
    """The tokens of an identity, of one of the kinds that ``azure.credential`` names."""
    return entra_tokens(lambda: _CREDENTIALS[kind]())


def decode_key(text: str) -> bytes:
    """The bytes of an account key.

    Raises:
        ConfigError: it is not base64.
    """
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ConfigError(
            "the key of the Azure account is not base64", hint="copy it whole from the portal, '==' included"
        ) from None


def check_sas(text: str) -> str:
    """A shared access signature as a query has it.

    Raises:
        ConfigError: it is none.
    """
    sas = text.strip().lstrip("?")
    if not _SAS.match(sas) or not any(part.startswith("sig=") for part in sas.split("&")):
        raise ConfigError("that is not a shared access signature", hint="it looks like sv=...&se=...&sig=...")
    return sas


def parse_connection_string(text: str) -> dict[str, str]:
    """The fields of a connection string (Azure documentation, "Configure Azure Storage connection strings").

    Raises:
        ConfigError: a part without ``=``, or neither an account nor an endpoint.
    """
    fields: dict[str, str] = {}
    for part in text.strip().strip(";").split(";"):
        name, equals, value = part.strip().partition("=")
        if not equals:
            raise ConfigError("the Azure connection string is damaged", hint="it looks like Name=value;Name=value;...")
        fields[name] = value
    if fields.get("UseDevelopmentStorage", "").lower() == "true":
        return dict(_EMULATOR)
    if not fields.get("AccountName") and not fields.get("BlobEndpoint"):
        raise ConfigError("the Azure connection string has neither AccountName nor BlobEndpoint")
    return fields
