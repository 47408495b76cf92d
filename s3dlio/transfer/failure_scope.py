"""Which failures lie in one object, so that the others of a transfer go on, and which would meet every object."""

from __future__ import annotations

import errno
from enum import Enum

from s3dlio.errors import (
    AlreadyExistsError,
    IntegrityError,
    InvalidURIError,
    IsDirectoryError,
    LocalIOError,
    ObjectNotFoundError,
    PermissionDeniedError,
    PreconditionFailedError,
    ProtocolError,
    S3dlioError,
    ServiceError,
    StorageFullError,
    UnsupportedOperationError,
)
from s3dlio.transfer.task import RefusedItemError


class Scope(Enum):
    """What a failure says about the other objects."""

    ITEM = "nothing: it lies in the object"
    UNSURE = "nothing, unless so many objects meet it and none is transferred"
    ALL = "they would fail, too"


#: After so many failures that may or may not lie in the objects, and no object transferred, the cause is taken to be
#: the permissions, the settings or the service.
MAX_UNSURE = 100

#: Codes of services for what no other object can be spared: the bucket, the credentials, the account.
_OF_ALL = frozenset({
    "NoSuchBucket", "ContainerNotFound", "InvalidBucketName", "AllAccessDisabled", "AccountProblem",
    "AccountIsDisabled",
    "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken", "TokenRefreshRequired",
    "AuthorizationHeaderMalformed", "RequestTimeTooSkewed", "AuthenticationFailed", "InvalidAuthenticationInfo",
    "NoAuthenticationInformation", "InsufficientAccountPermissions", "QuotaExceeded", "PermanentRedirect",
})  # fmt: skip
#: Codes of services for an object that cannot be read as it is (archived, for example).
_OF_ITEM = frozenset({"InvalidObjectState", "BlobArchived", "KeyTooLongError", "EntityTooLarge", "MetadataTooLarge"})
#: What a file system answers when it cannot have a file of that name or size.
_NAMES = frozenset({errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ, errno.ELOOP, errno.EFBIG})

_DOUBTFUL = (PermissionDeniedError, LocalIOError, IntegrityError, ProtocolError, UnsupportedOperationError)


def scope_of(error: BaseException) -> Scope:
    """How far a failure of one object reaches."""
    if isinstance(error, RefusedItemError):
        return Scope.ITEM
    if not isinstance(error, S3dlioError):
        return Scope.UNSURE if isinstance(error, ValueError | OverflowError) else Scope.ALL
    if error.code in _OF_ALL or error.status == 401:
        return Scope.ALL
    if error.code in _OF_ITEM:
        return Scope.ITEM
    if isinstance(error, AlreadyExistsError | IsDirectoryError | ObjectNotFoundError | PreconditionFailedError):
        return Scope.ITEM
    if isinstance(error, StorageFullError | LocalIOError) and error.errno in _NAMES:
        return Scope.ITEM
    if isinstance(error, PermissionDeniedError) and error.status is None:  # of the file system, or no credentials
        return Scope.ITEM if getattr(error.__cause__, "errno", None) in (errno.EACCES, errno.EPERM) else Scope.ALL
    if isinstance(error, InvalidURIError):
        return Scope.ITEM
    if isinstance(error, ServiceError):
        return Scope.ALL if (error.status or 0) >= 500 else Scope.UNSURE
    return Scope.UNSURE if isinstance(error, _DOUBTFUL) else Scope.ALL
