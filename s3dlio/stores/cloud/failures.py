"""From an HTTP status and a service's own code to a typed error: one table for all clouds."""

from __future__ import annotations

from s3dlio.errors import (
    AlreadyExistsError,
    ObjectChangedError,
    ObjectNotFoundError,
    PermissionDeniedError,
    PreconditionFailedError,
    RangeNotSatisfiableError,
    S3dlioError,
    ServiceError,
    ThrottledError,
    TransferTimeoutError,
    UnsupportedOperationError,
)
from s3dlio.types import PutOptions

_BY_STATUS: dict[int, type[S3dlioError]] = {
    304: PreconditionFailedError,
    401: PermissionDeniedError,
    403: PermissionDeniedError,
    404: ObjectNotFoundError,
    408: TransferTimeoutError,
    410: ObjectNotFoundError,
    412: PreconditionFailedError,
    416: RangeNotSatisfiableError,
    429: ThrottledError,
    501: UnsupportedOperationError,
    503: ThrottledError,
    509: ThrottledError,
}

_BY_CODE: dict[str, type[S3dlioError]] = {
    # Amazon S3 API Reference, Error Responses
    "NoSuchKey": ObjectNotFoundError,
    "NoSuchBucket": ObjectNotFoundError,
    "NoSuchVersion": ObjectNotFoundError,
    "NoSuchUpload": ObjectNotFoundError,
    "AccessDenied": PermissionDeniedError,
    "InvalidAccessKeyId": PermissionDeniedError,
    "SignatureDoesNotMatch": PermissionDeniedError,
    "ExpiredToken": PermissionDeniedError,
    "InvalidToken": PermissionDeniedError,
    "BucketAlreadyExists": AlreadyExistsError,
    "BucketAlreadyOwnedByYou": AlreadyExistsError,
    "PreconditionFailed": PreconditionFailedError,
    "ConditionalRequestConflict": ServiceError,  # neither the condition nor its opposite was found true
    "InvalidRange": RangeNotSatisfiableError,
    "SlowDown": ThrottledError,
    "RequestTimeout": TransferTimeoutError,
    # Azure Blob Storage, Status and error codes
    "BlobAlreadyExists": AlreadyExistsError,
    "ContainerAlreadyExists": AlreadyExistsError,
    "ConditionNotMet": PreconditionFailedError,
    "ServerBusy": ThrottledError,
    "AuthenticationFailed": PermissionDeniedError,
}

_HINTS = {
    "NoSuchBucket": "check the bucket name in the URI, or create the bucket",
    "ContainerNotFound": "check the container name in the URI, or create the container",
    "InvalidAccessKeyId": "check the access key",
    "SignatureDoesNotMatch": "check the secret key and the region",
    "AuthenticationFailed": "check the account name and its key",
    "ExpiredToken": "get new credentials",
    "ConditionalRequestConflict": "another write to the same key was going on; write again",
    "BucketNotEmpty": "delete its objects first",
}

_PLAIN: dict[type[S3dlioError], str] = {
    ObjectNotFoundError: "the object does not exist",
    PermissionDeniedError: "access was denied",
    PreconditionFailedError: "the condition did not hold",
    ThrottledError: "the service asks for a slower pace",
}

_ABSENT = {
    "NoSuchBucket": "the bucket does not exist",
    "ContainerNotFound": "the container does not exist",
    "": "the object or its bucket does not exist",  # an answer to HEAD has no document that would say which
}


def error_for(
    status: int,
    *,
    code: str | None = None,
    message: str | None = None,
    request_id: str | None = None,
    attempts: int = 1,
) -> S3dlioError:
    """The typed error for an answer; the caller knows URI and operation."""
    kind = _BY_CODE.get(code or "") or _BY_STATUS.get(status) or ServiceError
    plain = _ABSENT.get(code or "", _PLAIN[kind]) if kind is ObjectNotFoundError else _PLAIN.get(kind)
    reason = message or plain or f"the service answered with status {status}"
    return kind(
        reason.rstrip("."),
        status=status,
        code=code or None,
        request_id=request_id,
        attempts=attempts,
        hint=_HINTS.get(code or ""),
    )


def create_only_error(error: S3dlioError, options: PutOptions) -> S3dlioError:
    """A create-only write that met an object is an AlreadyExistsError; a lease on it, for one, stays what it is."""
    conditions = options.conditions
    create_only = conditions.if_none_match == "*"
    other = error.status not in (412, None) or "Lease" in (error.code or "")
    if other or not create_only or not isinstance(error, PreconditionFailedError):
        return error
    if isinstance(error, ObjectChangedError):  # the source did
        return error
    return AlreadyExistsError(
        "the object is there already",
        uri=error.uri,
        operation=error.operation,
        status=error.status,
        code=error.code,
        request_id=error.request_id,
        attempts=error.attempts,
    )
