"""From an answer of Cloud Storage to a typed error (Cloud Storage JSON API, "HTTP status and error codes")."""

from __future__ import annotations

import json
from typing import Any

from s3dlio.errors import (
    AlreadyExistsError,
    EndpointError,
    PermissionDeniedError,
    S3dlioError,
    ServiceError,
    ThrottledError,
)
from s3dlio.net.response import Response
from s3dlio.stores.cloud.failures import error_for

#: Reasons of status 403 that mean: slower.
_THROTTLED = frozenset({"rateLimitExceeded", "userRateLimitExceeded"})
_DENIED = "check that the credentials are those you mean, and give them a role such as 'Storage Object User'"
_ANONYMOUS = "the bucket is not public: unset S3DLIO_GCS_ANONYMOUS, or use an https endpoint, which gets credentials"


def error_of(response: Response, *, anonymous: bool) -> S3dlioError:
    """The typed error for an answer.

    Args:
        response: an answer that is not the wanted one.
        anonymous: the request carried no credentials.
    """
    return error_of_parts(
        response.status,
        bytes(response.body),
        request_id=response.header(b"x-guploader-uploadid"),
        attempts=response.attempts,
        anonymous=anonymous,
    )


def error_of_parts(
    status: int, body: bytes, *, request_id: str | None = None, attempts: int = 1, anonymous: bool = False
) -> S3dlioError:
    """The typed error for a status and the body that came with it."""
    reason, message = explanation(body)
    if reason in _THROTTLED:
        return ThrottledError(
            message or "too many requests", status=status, code=reason, request_id=request_id, attempts=attempts
        )
    if status == 409:
        return AlreadyExistsError(message or "it is there already", status=status, code=reason, request_id=request_id)
    error = error_for(status, code=reason, message=message, request_id=request_id, attempts=attempts)
    if isinstance(error, PermissionDeniedError):
        error.hint = _ANONYMOUS if anonymous else _DENIED
    elif is_bucket_missing(error):
        error.hint = "check the bucket name in the URI, or create the bucket"
    return error


def explanation(body: bytes) -> tuple[str | None, str | None]:
    """Reason and message of an error document; media downloads answer plain text, and proxies whatever they like."""
    try:
        found: Any = json.loads(body)
        error = found["error"]
        reasons = error.get("errors") or [{}]
        return reasons[0].get("reason"), error.get("message")
    except (ValueError, TypeError, KeyError, AttributeError):
        text = body[:200].decode("utf-8", "replace").strip()
        return None, text if text and text[0] not in "<{[" and "\n" not in text else None


def is_document(body: bytes | bytearray) -> bool:
    """Whether a body can be an error of Cloud Storage: JSON, or a line of plain text from a media download."""
    start = bytes(body[:256]).lstrip()
    return start.startswith(b"{") or (not start.startswith(b"<") and b"\n" not in start.rstrip())


def not_empty(uri: str) -> S3dlioError:
    """The error for a bucket that was to be deleted and has objects."""
    return ServiceError("the bucket is not empty", uri=uri, status=409, hint="delete its objects first")


def is_gone_already(error: S3dlioError) -> bool:
    """Whether a delete found nothing to delete, in a bucket that exists."""
    return error.status == 404 and not is_bucket_missing(error) and not isinstance(error, EndpointError)


def is_bucket_missing(error: S3dlioError) -> bool:
    """Whether it is the bucket that does not exist: its message says so, the reason is that of a missing object."""
    return error.status == 404 and "specified bucket" in error.reason
