"""From an HTTP answer to a typed error, and whether it is the service that answers: one table for all clouds.

Where an endpoint is mistyped, or a login portal or a proxy stands before it, somebody else answers, and not always with
an error. The services name themselves in fields of their own (``x-amz-``, ``x-ms-``, ``x-goog-``), and their documents
are XML or JSON. An answer without such a field that is a web page, or text where a document is due, is none of theirs.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from s3dlio.errors import (
    AlreadyExistsError,
    EndpointError,
    ObjectChangedError,
    ObjectNotFoundError,
    PermissionDeniedError,
    PreconditionFailedError,
    ProtocolError,
    RangeNotSatisfiableError,
    S3dlioError,
    ServiceError,
    ThrottledError,
    TransferTimeoutError,
)
from s3dlio.net.message import Response
from s3dlio.types import ListPage, PutOptions


class Api(NamedTuple):
    """How the answers of a service are known.

    Args:
        name: what its endpoint is called in messages.
        marks: the beginnings of its own header fields, each behind the CRLF of the line before.
        setting: where its endpoint is configured.
    """

    name: str
    marks: tuple[bytes, ...]
    setting: str

    def marks_in(self, response: Response) -> bool:
        """Whether the service names itself in a field of its own."""
        return any(mark in response.lower for mark in self.marks)

    def stranger(self, response: Response, endpoint: str) -> EndpointError | None:
        """The error for an answer without a document of the service, where somebody else gave it."""
        if self.marks_in(response):
            return None
        if is_page(response):
            strange = response.status < 300 or response.status in _ANYBODYS
        else:
            strange = response.status in _ANYBODYS and bool(bytes(response.body).strip())
        return self.error(response, endpoint) if strange else None

    def error(self, response: Response, endpoint: str) -> EndpointError:
        """The error for an answer of somebody else.

        Args:
            response: the answer.
            endpoint: who was asked.
        """
        page = is_page(response) or b"\r\ncontent-type: text/html" in response.lower
        match = _TITLE.search(bytes(response.body[:4096])) if page else None
        title = f" ({match[1].decode('utf-8', 'replace').strip()[:80]!r})" if match else ""
        return EndpointError(
            f"{endpoint} is not {self.name}: it answered " + (f"with a web page{title}" if page else _PLAINLY),
            status=response.status,
            attempts=response.attempts,
            hint=f"check host, port and path of the endpoint ({self.setting}), and whether a proxy or a login page is "
            "in the way",
        )


S3_API = Api("an S3 endpoint", (b"\r\nx-amz-",), "AWS_ENDPOINT_URL")
AZURE_API = Api("an Azure Blob endpoint", (b"\r\nx-ms-",), "AZURE_STORAGE_ENDPOINT")
GCS_API = Api("a Google Cloud Storage endpoint", (b"\r\nx-goog-", b"\r\nx-guploader-"), "GCS_ENDPOINT_URL")

#: What any web server answers. Others come from gateways in front of the service, too, and mean what they say.
_ANYBODYS = frozenset({300, 301, 302, 303, 307, 308, 400, 404, 405, 410, 411, 501})
_TITLE = re.compile(rb"(?is)<title>(.*?)</title>")
_PLAINLY = "without what the API promises"


def is_page(response: Response) -> bool:
    """Whether the body of an answer is a web page. (That the answer to a HEAD has the type of one says nothing: it is
    the default of many a server.)"""
    start = bytes(response.body[:256]).lstrip().lower()
    if not start or start.startswith((b"<?xml", b"{")):
        return False
    return start.startswith((b"<!doctype html", b"<html")) or b"\r\ncontent-type: text/html" in response.lower

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


def check_listing(page: ListPage, prefix: str) -> None:
    """Refuse a page with what was not asked for: whoever deletes what is listed would delete it.

    Raises:
        ProtocolError: a name does not begin with the prefix, or is empty.
    """
    for names in (page.keys, page.prefixes):
        if names and not (min(names).startswith(prefix) and max(names).startswith(prefix) and min(names)):
            strange = next(name for name in names if not name or not name.startswith(prefix))
            raise ProtocolError(
                f"the listing of {prefix!r} has {strange[:200]!r}, which does not begin with it",
                hint="the service, or a proxy before it, drops the query of the request",
            )
