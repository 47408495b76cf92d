"""From an answer of Azure to a typed error (Azure Storage REST API, "Blob service error codes")."""

from __future__ import annotations

from urllib.parse import parse_qs

from s3dlio.errors import (
    EndpointError,
    IntegrityError,
    PermissionDeniedError,
    PreconditionFailedError,
    S3dlioError,
    ServiceError,
)
from s3dlio.net.response import Response
from s3dlio.stores.azure import xml
from s3dlio.stores.azure.account import AzureAccount
from s3dlio.stores.cloud import failures as answers

_LEASED = "another program holds a lease on it; wait for its end or break it (az storage blob lease break)"
_HINTS = {
    "ContainerBeingDeleted": "Azure needs 30 seconds and more to delete a container; try again later",
    "InvalidBlockList": "another write to the same key finished first, and dropped the blocks of this one; write again",
    "InvalidBlobOrBlock": "blocks of another program with ids of another length wait for their commit; delete the blob "
    "or write it once in one piece",
    "PendingCopyOperation": "a copy to this key is going on; wait for it, or abort it",
    "SnapshotsPresent": "the blob has snapshots; delete them first",
    "BlobArchived": "the blob is in the archive tier; set another tier and wait until it is rehydrated",
    "BlobImmutableDueToPolicy": "a retention policy or legal hold protects the blob",
    "AuthorizationPermissionMismatch": "give the identity a role such as 'Storage Blob Data Contributor'",
    "InsufficientAccountPermissions": "the shared access signature does not allow this; ask for one that does",
}
#: Codes of status 409 for a blob that is not in the state that the request needs.
_PRECONDITIONS = frozenset({"BlobArchived", "BlobImmutableDueToPolicy", "SnapshotsPresent"})

#: Codes for a body whose checksum is not the one in the request.
_DAMAGED = frozenset({"Md5Mismatch", "Crc64Mismatch"})


def error_of(response: Response, account: AzureAccount) -> S3dlioError:
    """The typed error for an answer."""
    failure = xml.parse_failure(response.body)
    code = response.header(b"x-ms-error-code") or (failure.code if failure else None)
    return error_of_parts(
        response.status,
        code,
        failure,
        account,
        request_id=response.header(b"x-ms-request-id"),
        attempts=response.attempts,
    )


def error_of_parts(
    status: int,
    code: str | None,
    failure: xml.Failure | None,
    account: AzureAccount,
    *,
    request_id: str | None,
    attempts: int,
) -> S3dlioError:
    """The typed error for a status, the service's code and its document."""
    message = failure.message if failure else None
    if code and "Lease" in code and status in (409, 412):
        return PreconditionFailedError(
            "the blob or container is leased", status=status, code=code, request_id=request_id, hint=_LEASED
        )
    if code in _PRECONDITIONS:
        return PreconditionFailedError(
            (message or code).rstrip("."), status=status, code=code, request_id=request_id, hint=_HINTS[code]
        )
    if code in _DAMAGED:
        return damaged("what was sent arrived damaged; nothing was changed", status, code, request_id)
    error = answers.error_for(status, code=code, message=message, request_id=request_id, attempts=attempts)
    if isinstance(error, PermissionDeniedError):
        error.hint = _HINTS.get(code or "") or _access_hint(failure, account)
    elif code in _HINTS:
        error.hint = _HINTS[code]
    return error


def _access_hint(failure: xml.Failure | None, account: AzureAccount) -> str:
    """What to look at when access was denied; it depends on the credentials in use."""
    if account.key is not None:
        return "check the account name and its key"
    if account.sas is not None:
        # Only this detail is repeated: others quote what was signed.
        if failure is not None and failure.detail.startswith("Signature not valid in the specified time frame"):
            end = parse_qs(account.sas).get("se", ["?"])[0]
            return f"the shared access signature is valid until {end} only; get a new one"
        return "check what the shared access signature allows, and until when"
    if account.tokens is not None:
        return "check who is logged in, and that the identity has a role such as 'Storage Blob Data Contributor'"
    return "the container is not public: give a key, a shared access signature or a login"


def damaged(
    what: str, status: int | None = None, code: str | None = None, request_id: str | None = None
) -> IntegrityError:
    """The error for bytes that changed on their way to the service."""
    return IntegrityError(what, status=status, code=code, request_id=request_id, hint="write it again")


def is_gone_already(error: S3dlioError) -> bool:
    """Whether a delete found nothing to delete, in a container that exists."""
    return error.status == 404 and error.code in ("BlobNotFound", None) and not isinstance(error, EndpointError)


def not_empty(uri: str) -> S3dlioError:
    """The error for a container that was to be deleted and has objects."""
    return ServiceError("the container is not empty", uri=uri, hint="delete its objects first")
