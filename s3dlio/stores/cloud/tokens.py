"""Bearer tokens that end: kept, and renewed in the background before they do."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Generic, NamedTuple, TypeVar

from s3dlio.forking import ForkLock, renewed_in_child

log = logging.getLogger("s3dlio.tokens")

#: Renew in the background when a token has less than this many seconds left.
_AHEAD = 10 * 60
#: Renew before the request when it has less than this left.
_LAST = 60
#: Who was refused in so many seconds after a token was replaced carried the one before.
_SETTLED = 5.0
#: Pause after a renewal that failed while the old token is still good.
_PAUSE = 30


T = TypeVar("T")


class Token(NamedTuple, Generic[T]):
    """What proves who we are (a bearer token, the keys of a session), and when it ends (seconds since 1970)."""

    value: T
    expires: float

    def __repr__(self) -> str:
        return "Token(***)"


class Tokens(Generic[T]):
    """The token in force; called for every request, on a lane too, so it blocks only while there is no good token.

    Args:
        fetch: gets a new token; it may block, and raises a typed error when there is none.
        ahead: renew in the background when it has less than so many seconds left.
        last: renew before the request when it has less than so many left.
    """

    def __init__(self, fetch: Callable[[], Token[T]], *, ahead: float = _AHEAD, last: float = _LAST) -> None:
        self._fetch = fetch
        self._ahead = ahead
        self._last = last
        self._token: Token[T] | None = None
        self._lock = ForkLock()
        self._renewing = False
        self._not_before = 0.0
        #: The present token is to be replaced, because it was refused; and when the last one was that came so.
        self._refused = False
        self._replaced_at = -_SETTLED
        renewed_in_child(self)

    def renew(self) -> None:
        """In a forked child the thread that renewed the token is not there."""
        self._renewing = False

    def __call__(self) -> T:
        """The token for the next request."""
        token = self._token
        left = token.expires - time.time() if token is not None else 0.0
        if token is None or left < self._last:
            with self._lock:
                current = self._token
                if current is None or current is token:  # no other thread was quicker
                    current = self._token = self._fetch()
                    if self._refused:
                        self._refused, self._replaced_at = False, time.monotonic()
                token = current
        elif left < self._ahead:
            self._renew_in_background()
        return token.value

    def ready(self) -> bool:
        """Whether there is a token for the next request, so that a call does not wait for one."""
        token = self._token
        return token is not None and token.expires - time.time() >= self._last

    def __repr__(self) -> str:
        return "<Tokens ***>"

    def forget(self) -> None:
        """Fetch a new token at the next request: the service has refused this one. Of many requests in flight that are
        refused the first has a new one fetched; the others find it there."""
        if time.monotonic() > self._replaced_at + _SETTLED:
            self._token, self._refused = None, True

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
                log.warning("the token could not be renewed ahead of time: %s", type(error).__name__)
            finally:
                self._renewing = False

        try:
            threading.Thread(target=run, name="s3dlio-token", daemon=True).start()
        except RuntimeError:  # no more threads, or the interpreter is shutting down: the old token is still good
            self._renewing = False
