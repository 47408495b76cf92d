"""Sessions of S3 Express One Zone: temporary keys of one directory bucket, which sign its requests.

Source: Amazon S3 API Reference, CreateSession; Amazon S3 User Guide, "Authorizing Zonal endpoint API operations with
CreateSession". No mode is asked for: the service then gives the most that is allowed, reading and writing or reading
alone.
"""

from __future__ import annotations

import time
from typing import Any

from s3dlio.errors import PermissionDeniedError, ProtocolError
from s3dlio.net import blocking
from s3dlio.net.message import Request, Service
from s3dlio.net.response import Response
from s3dlio.stores.cloud.failures import error_for
from s3dlio.stores.cloud.tokens import Token, Tokens
from s3dlio.stores.s3 import xml
from s3dlio.stores.s3.sigv4 import Credentials, SigV4Signer

#: A session lasts five minutes. Renew it in the background, and at last before a request, when it has so many seconds
#: left.
_AHEAD = 120.0
_LAST = 15.0
#: A session that is younger than so many seconds is kept: a request that was refused meanwhile had the one before.
_YOUNG = 5.0


class Session:
    """The keys in force for one directory bucket.

    Args:
        service: where the bucket is, with a signer of the account's own keys.
        path: what stands before ``/key`` in the paths of the bucket.
        uri: the bucket, for errors.
    """

    def __init__(self, service: Service, path: str, uri: str) -> None:
        self._service = service
        self._path = path
        self._uri = uri
        self._made = 0.0
        self.tokens = Tokens(self._make, ahead=_AHEAD, last=_LAST)

    def credentials(self) -> Credentials:
        """The keys for the next request.

        Raises:
            PermissionDeniedError: the service makes no session.
        """
        return self.tokens()

    def forget(self) -> None:
        """Make a new session at the next request, unless this one is new: the service has refused its keys."""
        if time.monotonic() - self._made > _YOUNG:
            self.tokens.forget()

    def _make(self) -> Token[Credentials]:
        request = Request(self._service, "GET", f"{self._path}/", "session=")
        response: Response = blocking.drive(_ask(request))
        if response.status != 200:
            failure = xml.parse_failure(response.body)
            error = error_for(
                response.status,
                code=failure.code if failure else None,
                message=failure.message if failure else None,
                request_id=response.header(b"x-amz-request-id"),
                attempts=response.attempts,
            )
            if isinstance(error, PermissionDeniedError):
                error.hint = "a directory bucket needs the permission s3express:CreateSession"
            error.locate(self._uri, "CREATE_SESSION")
            raise error
        token = parse_session(response.body)
        self._made = time.monotonic()
        return token


def _ask(request: Request) -> Any:
    return (yield request)


def parse_session(body: bytes | bytearray) -> Token[Credentials]:
    """The keys of a new session, and their end.

    Raises:
        ProtocolError: the body is no CreateSessionResult. What it holds is in no message, since it may be secret.
    """
    text = bytes(body).decode("utf-8", "replace")
    parts = [xml.text_of(text, name) for name in ("AccessKeyId", "SecretAccessKey", "SessionToken", "Expiration")]
    key, secret, token, end = (part or "" for part in parts)
    from datetime import datetime

    try:
        expires = datetime.fromisoformat(end).timestamp()
    except ValueError:
        expires = 0.0
    if not (key and secret and token and expires):
        raise ProtocolError("the answer to CreateSession holds no session")
    return Token(Credentials(key, secret, token), expires)


class SessionSigner(SigV4Signer):
    """As :class:`SigV4Signer`, with the keys of a session.

    Args:
        session: the session; the other arguments are those of SigV4Signer.
    """

    token_field = "x-amz-s3session-token"

    def __init__(self, session: Session, host: str, target_prefix: str, region: str, *rest: Any) -> None:
        super().__init__(host, target_prefix, region, session.credentials, *rest)
        self._session = session
        self.source = session.tokens

    def forget_credentials(self) -> None:
        self._session.forget()
        super().forget_credentials()
