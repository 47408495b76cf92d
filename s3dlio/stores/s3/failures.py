"""From an answer of S3 to a typed error (Amazon S3 API Reference, "Error responses")."""

from __future__ import annotations

from s3dlio.errors import EndpointError, S3dlioError
from s3dlio.net.response import Response
from s3dlio.stores.cloud.failures import error_for
from s3dlio.stores.s3.xml import Failure

#: Of the failures within an answer, which have none of their own.
_STATUS_OF = {"AccessDenied": 403, "NoSuchKey": 404, "NoSuchBucket": 404, "SlowDown": 503, "InternalError": 500}
#: Where a listing has no document that says so: only the bucket can be missing.
_NO_BUCKET = "the bucket does not exist"


def error_of(response: Response, failure: Failure) -> S3dlioError:
    """The typed error for an answer with a document that says why."""
    return error_for(
        response.status if response.status != 200 else 500,
        code=failure.code,
        message=failure.message,
        request_id=response.header(b"x-amz-request-id") or failure.request_id,
        attempts=response.attempts,
    )


def unexplained(response: Response, *, of_bucket: bool) -> S3dlioError:
    """The typed error for an answer without one; ``of_bucket``: a bucket itself was asked for."""
    return error_for(
        response.status,
        message=_NO_BUCKET if response.status == 404 and of_bucket else None,
        request_id=response.header(b"x-amz-request-id"),
        attempts=response.attempts,
    )


def failed_delete(code: str, message: str) -> S3dlioError:
    """The error for one key of a batch delete, which comes without a status."""
    return error_for(_STATUS_OF.get(code, 500), code=code, message=message)


def is_gone_already(error: S3dlioError) -> bool:
    """Whether a delete found nothing to delete, in a bucket that exists."""
    absent = error.status == 404 and error.code is None and not isinstance(error, EndpointError)
    return absent or error.code == "NoSuchKey"
