"""Tokens of Microsoft Entra ID, from azure-identity."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from s3dlio.errors import PermissionDeniedError, S3dlioError
from s3dlio.forking import renewed_in_child
from s3dlio.stores.cloud.tokens import Token, Tokens

_SCOPE = "https://storage.azure.com/.default"


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


class TokenCredential:
    """Tokens in the shape of azure-core's credential, for the SDK.

    The SDK keeps a token until five minutes before its end; ours ends in its eyes a minute from now, so that it asks
    each time.
    """

    def __init__(self, tokens: Tokens[str]) -> None:
        self._tokens = tokens

    def get_token(self, *scopes: str, **options: Any) -> Any:
        """An azure.core.credentials.AccessToken. The SDK names a tenant when the service has refused the last one."""
        if options.get("tenant_id"):
            self._tokens.forget()
        from azure.core.credentials import AccessToken

        return AccessToken(self._tokens(), int(time.time()) + 60)
