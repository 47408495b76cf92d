"""Errors of the system, of other libraries and of the caller's code: which error here each becomes, if any."""

from __future__ import annotations

import errno
from typing import Any

from s3dlio.errors import (
    AlreadyExistsError,
    IsDirectoryError,
    LocalIOError,
    ObjectNotFoundError,
    OutOfMemoryError,
    PermissionDeniedError,
    ProtocolError,
    S3dlioError,
    StorageFullError,
    TransferTimeoutError,
)

_BY_ERRNO: dict[int, type[S3dlioError]] = {
    errno.ENOENT: ObjectNotFoundError,
    errno.ENOTDIR: ObjectNotFoundError,
    errno.EACCES: PermissionDeniedError,
    errno.EPERM: PermissionDeniedError,
    errno.EROFS: PermissionDeniedError,
    errno.EEXIST: AlreadyExistsError,
    errno.EISDIR: IsDirectoryError,
    errno.ENOSPC: StorageFullError,
    errno.EDQUOT: StorageFullError,
    errno.EFBIG: StorageFullError,
    errno.EMFILE: StorageFullError,
    errno.ENFILE: StorageFullError,
    errno.ETIMEDOUT: TransferTimeoutError,
}


#: What to do where no more files and connections can be opened.
OUT_OF_FILES_HINT = "raise the limit of open files (ulimit -n), or have fewer in flight and lower http.max_connections"


def from_os_error(exc: OSError, *, uri: str | None = None, operation: str | None = None) -> S3dlioError:
    """The typed error for an ``OSError`` of a local call; the caller raises it ``from exc``."""
    number = exc.errno or 0
    reason = exc.strerror or str(exc) or type(exc).__name__
    hint = OUT_OF_FILES_HINT if number in (errno.EMFILE, errno.ENFILE) else None
    error = _BY_ERRNO.get(number, LocalIOError)(reason, uri=uri, operation=operation, hint=hint)
    if isinstance(error, OSError):
        error.errno = number
    return error


def local_error(error: OSError, path: str) -> S3dlioError:
    """The typed error for a local call in the midst of a transfer, whose URI is that of the other side: it names the
    path as well."""
    typed = from_os_error(error)
    typed.reason += f": {path}" if path else ""
    return typed


def from_exception(
    error: Exception, *, uri: str | None = None, operation: str | None = None, of_service: bool = False
) -> S3dlioError:
    """The typed error for any other exception; the caller raises it ``from error``.

    Args:
        error: what was raised.
        uri, operation: as of :class:`S3dlioError`.
        of_service: it was raised while a service's answer was parsed, so the answer is at fault.
    """
    about: dict[str, Any] = {"uri": uri, "operation": operation}
    if isinstance(error, OSError):
        return from_os_error(error, **about)
    if isinstance(error, MemoryError):
        return OutOfMemoryError("there is not enough memory", **about)
    said = f"{type(error).__name__}: {str(error)[:200]}"
    if of_service:
        return ProtocolError(f"the answer of the service cannot be understood ({said})", **about)
    return S3dlioError(f"an unexpected {said}", hint="please report it, with its traceback (-vv)", **about)


def of_caller(error: Exception) -> Exception:
    """Mark an error that the caller's own code has raised (a callback): it leaves as it is."""
    error.raise_unchanged = True  # type: ignore[attr-defined]
    return error


def must_convert(error: BaseException) -> bool:
    """Whether an exception, before it may leave, must become an :class:`S3dlioError`."""
    wild = isinstance(error, Exception) and not isinstance(error, S3dlioError)
    return wild and not getattr(error, "raise_unchanged", False)
