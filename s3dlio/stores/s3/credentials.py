"""Who we are: the keys of S3, as the settings hold them or as botocore finds them.

What the settings leave open botocore finds: profiles, SSO, web identity, containers, instance roles, processes. It is
imported (150 ms) only when there is something that it could find.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from s3dlio.config.settings import Settings
from s3dlio.errors import ConfigError, PermissionDeniedError, S3dlioError
from s3dlio.forking import ForkLock, renewed_in_child
from s3dlio.stores.s3 import profile
from s3dlio.stores.s3.hosts import DEFAULT_REGION
from s3dlio.stores.s3.sigv4 import Credentials
from s3dlio.wording import either

log = logging.getLogger("s3dlio.s3")

#: Refresh in the background when credentials have less than this many seconds left, as botocore's advisory window.
_REFRESH_AHEAD = 15 * 60
#: Where there were none, or they could not be fetched, botocore is not asked again for so many seconds: it may wait
#: long for a metadata service or a program, and each object of a batch would ask.
_LOOK_AGAIN = 5.0
#: Error codes that say that other keys are needed.
EXPIRED_CODES = ("ExpiredToken", "InvalidToken", "TokenRefreshRequired")
_KEYS = ("s3.access_key_id", "s3.secret_access_key", "s3.session_token")


class _Failure(NamedTuple):
    """Why there were no credentials, and when that was (``time.monotonic``)."""

    at: float
    reason: str
    hint: str


class CredentialProvider:
    """The keys in force; called, it gives them.

    Args:
        settings: ``settings.s3`` matters here.
        session: of botocore, if there is one already.
    """

    def __init__(self, settings: Settings, session: Any = None) -> None:
        self._settings = settings
        self._session = session
        self._lock = ForkLock()
        self._refreshing = False
        self._found: Any = None
        self._failed: _Failure | None = None
        #: When the keys were last asked for because the service had refused them, and whether others came of it.
        self._renewed = (-_LOOK_AGAIN, False)
        self._refused = False  # they are to be asked for again
        #: Held while credentials are asked for.
        self._asking = ForkLock()
        renewed_in_child(self)

    def __call__(self) -> Credentials:
        """The keys in force; refreshed ahead of their end, beside the requests that still use the old ones.

        Raises:
            PermissionDeniedError: there are none, or they could not be fetched.
            ConfigError: half of a pair is set.
        """
        if self._are_set():
            s3 = self._settings.s3
            if not (s3.access_key_id and s3.secret_access_key):
                missing = "AWS_SECRET_ACCESS_KEY" if s3.access_key_id else "AWS_ACCESS_KEY_ID"
                raise ConfigError(f"{missing} is not set, but its other half is", hint="set both, or neither")
            return Credentials(s3.access_key_id, s3.secret_access_key, s3.session_token)
        with self._asking:  # one thread asks; the others wait, and share its result
            if self._refused:
                self._ask_again()
            failed = self._failed
            if failed is None or time.monotonic() > failed.at + _LOOK_AGAIN:
                return self._asked_for()
        raise PermissionDeniedError(failed.reason, hint=failed.hint)

    def ready(self) -> bool:
        """Whether a call returns at once: the keys are known and good, or were not to be had a moment ago."""
        if self._are_set():
            return True
        found, failed = self._found, self._failed
        if self._refused:
            return False
        if found is None:
            return failed is not None and time.monotonic() <= failed.at + _LOOK_AGAIN
        needs = getattr(found, "refresh_needed", None)
        return needs is None or not needs(60)

    @property
    def fetches(self) -> bool:
        """Whether keys may have to be fetched, now or later."""
        return not self._are_set()

    def _are_set(self) -> bool:
        """The settings hold keys. A profile that the program names wins over keys in the environment, as with boto3."""
        s3, settings, explicit = self._settings.s3, self._settings, ("argument", "configure()")
        if settings.origin("s3.profile") in explicit and settings.origin("s3.access_key_id") not in explicit:
            return False
        return bool(s3.access_key_id or s3.secret_access_key)

    def setting_names(self) -> list[str]:
        """The names of the settings that hold the keys in force."""
        s3 = self._settings.s3
        return [name for name in _KEYS if self._are_set() and getattr(s3, name.partition(".")[2])]

    def _asked_for(self) -> Credentials:
        self._failed = cause = None
        reason, hint = "no credentials for S3", "see 's3-cli config', or refresh your login"
        try:
            if self._found is None:
                self._found = profile.keys_of(self._botocore())
            if self._found is not None:
                return self._in_force(self._found)
            anonymous = either("anonymous=True", "--no-sign-request")
            hint = f"set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or AWS_PROFILE, or use {anonymous}"
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

    def _in_force(self, found: Any) -> Credentials:
        """The keys of what botocore has found, renewed where their end is near."""
        needs = getattr(found, "refresh_needed", None)
        if needs is not None and needs(_REFRESH_AHEAD) and not needs(60):
            self._refresh_in_background(found.get_frozen_credentials)
            frozen = found._frozen_credentials
        else:
            frozen = found.get_frozen_credentials()
        return Credentials(frozen.access_key, frozen.secret_key, frozen.token)

    def refused(self) -> bool:
        """The service has refused the keys: the next call asks for them again. Whether others may come of it: a moment
        after they were asked for, it is known. Returns at once.

        All who find out at the same time have them asked for once. Everything is asked again: the program, STS, the
        metadata service, the files, which another program may have written meanwhile.
        """
        if self._refused:
            return True
        if self._found is None:
            return False  # they are not botocore's
        at, changed = self._renewed
        if time.monotonic() < at + _LOOK_AGAIN:
            return changed
        self._refused = True
        return True

    def refresh(self) -> bool:
        """As :meth:`refused`, and ask for them now; whether there are others."""
        with self._asking:
            if self.refused() and self._refused:
                self._ask_again()
            return self._found is not None and self._renewed[1]

    def _ask_again(self) -> None:
        session, found, changed = self._session, self._found, False
        try:
            before = self._asked_for()
            self._session = self._found = None
            changed = self._asked_for() != before
        except S3dlioError as error:
            log.warning("the service has refused the credentials, and others could not be fetched: %s", error)
            self._session, self._found, self._failed = session, found, None
        finally:
            self._renewed, self._refused = (time.monotonic(), changed), False

    @property
    def can_refresh(self) -> bool:
        """Whether asking for the keys again may give others."""
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

    def _botocore(self) -> Any:
        """The session that finds the keys."""
        if self._session is None:
            self._session = profile.open_session(self._settings)
        if self._settings.s3.region is None:
            self._session.set_config_variable("region", DEFAULT_REGION)
        return self._session

    def renew(self) -> None:
        """In a forked child the thread that refreshed credentials is not there, and botocore's lock may be held."""
        self._refreshing = False
        if hasattr(self._found, "_refresh_lock"):
            self._found._refresh_lock = threading.Lock()
