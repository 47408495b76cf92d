"""Tokens of Microsoft Entra ID, from azure-identity: kept, and renewed in the background before they end."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from s3dlio.errors import PermissionDeniedError

log = logging.getLogger("s3dlio.azure")

_SCOPE = "https://storage.azure.com/.default"
#: Renew in the background when a token has less than this many seconds left.
_AHEAD = 10 * 60
#: Renew before the request when it has less than this left.
_LAST = 60
#: Pause after a renewal that failed while the old token is still good.
_PAUSE = 30


class _Token(NamedTuple):
    text: str
    expires: float

    def __repr__(self) -> str:
        return "_Token(***)"


class Tokens:
    """The token in force.

    Args:
        make_credential: called once, when the first token is due; makes anything with azure-identity's
            ``get_token(scope)``, which returns ``token`` and ``expires_on`` (seconds since 1970).
    """

    def __init__(self, make_credential: Callable[[], Any]) -> None:
        self._make_credential = make_credential
        self._credential: Any = None
        self._token: _Token | None = None
        self._lock = threading.Lock()
        self._renewing = False
        self._not_before = 0.0

    def __call__(self) -> str:
        """The token for the next request.

        Raises:
            PermissionDeniedError: azure-identity found nobody whom Azure knows.
        """
        token = self._token
        left = token.expires - time.time() if token is not None else 0.0
        if token is None or left < _LAST:
            with self._lock:
                if self._token is token:  # nobody else was quicker
                    self._token = self._fetch()
                token = self._token
                assert token is not None
        elif left < _AHEAD:
            self._renew_in_background()
        return token.text

    @property
    def credential(self) -> Any:
        """What the tokens come from."""
        if self._credential is None:
            self._credential = self._make_credential()
        return self._credential

    def forget(self) -> None:
        """Fetch a new token at the next request: the service has refused this one."""
        self._token = None

    def _fetch(self) -> _Token:
        from azure.core.exceptions import ClientAuthenticationError

        try:
            found = self.credential.get_token(_SCOPE)
        except ClientAuthenticationError as error:
            raise PermissionDeniedError(
                f"no token from Microsoft Entra ID: {str(error).partition(chr(10))[0]}",
                hint="log in ('az login'), or set AZURE_CLIENT_ID, AZURE_TENANT_ID and AZURE_CLIENT_SECRET, or "
                "AZURE_STORAGE_KEY",
            ) from error
        return _Token(found.token, float(found.expires_on))

    def _renew_in_background(self) -> None:
        with self._lock:
            if self._renewing or time.time() < self._not_before:
                return
            self._renewing = True

        def run() -> None:
            try:
                self._token = self._fetch()
            except Exception as error:  # the old token is still good
                self._not_before = time.time() + _PAUSE
                log.warning("the Azure token could not be renewed ahead of time: %s", type(error).__name__)
            finally:
                self._renewing = False

        threading.Thread(target=run, name="s3dlio-azure-token", daemon=True).start()
