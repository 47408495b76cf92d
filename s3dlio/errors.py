"""Every error this library raises: one root, and under it the builtin that a Python programmer would catch.

An error says which URI, which operation, what the service answered and how often it was tried; it pickles, and it
never carries a secret: credentials inside a URI are masked and control characters are escaped.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable, Sequence
from typing import Any

from s3dlio.masking import mask, redact
from s3dlio.wording import either


class S3dlioError(RuntimeError):
    """The root of every error here.

    Args:
        reason: what went wrong, in a sentence without a full stop.
        uri: the object, prefix or container concerned.
        operation: the verb (``GET``, ``PUT``, ``LIST``, ...).
        status: the HTTP status, where a service answered.
        code: the service's own error code (``NoSuchKey``, ``BlobNotFound``, ...).
        request_id: the id under which the service logged the request.
        attempts: how many times the request was sent.
        hint: what the user can do next.
    """

    default_hint: str | None = None
    #: What its text begins with, where more was asked for than the operation.
    prefix = ""

    def __init__(
        self,
        reason: str,
        *,
        uri: str | None = None,
        operation: str | None = None,
        status: int | None = None,
        code: str | None = None,
        request_id: str | None = None,
        attempts: int = 1,
        hint: str | None = None,
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.uri = uri
        self.operation = operation
        self.status = status
        self.code = code
        self.request_id = request_id
        self.attempts = attempts
        self.hint = hint if hint is not None else self.usual_hint()

    def usual_hint(self) -> str | None:
        """What to do where whoever raised the error did not say."""
        return self.default_hint

    def locate(self, uri: str | None, operation: str | None) -> None:
        """Fill in the URI and the operation where whoever raised the error did not know them."""
        if self.uri is None:
            self.uri = uri
        if self.operation is None:
            self.operation = operation

    def _details(self) -> str:
        known = [
            f"status {self.status}" if self.status is not None else "",
            f"code {self.code}" if self.code else "",
            f"request id {self.request_id}" if self.request_id else "",
            f"after {self.attempts} attempts" if self.attempts > 1 else "",
        ]
        return ", ".join(part for part in known if part)

    def __str__(self) -> str:
        subject = " ".join(part for part in (self.operation, self.uri) if part)
        text = f"{self.prefix}{subject}: {self.reason}" if subject else self.prefix + self.reason
        text += f" ({details})" if (details := self._details()) else ""
        return redact(f"{text}; {self.hint}" if self.hint else text)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self)!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return self._pickled(self.args, self.__dict__)

    def _pickled(self, args: tuple[Any, ...], state: dict[str, Any]) -> tuple[Any, ...]:
        """What a pickle holds: everything but credentials in texts (a presigned URL stays usable for hours)."""
        masked = {name: _masked(value) for name, value in state.items()}
        return _rebuild, (type(self), tuple(map(_masked, args)), masked, _masked_cause(self.__cause__))


def _masked(value: Any) -> Any:
    return mask(value) if isinstance(value, str) else value


def _masked_cause(cause: BaseException | None) -> BaseException | None:
    """The cause for a pickle; one of another library whose text has credentials is replaced by its words."""
    if cause is None or isinstance(cause, S3dlioError) or mask(text := repr(cause)) == text:
        return cause
    return RuntimeError(mask(text))


def _rebuild(
    cls: type[S3dlioError], args: tuple[Any, ...], state: dict[str, Any], cause: BaseException | None
) -> S3dlioError:
    # The builtin whose memory layout the class has makes it; cls.__new__ is that of RuntimeError, which refuses others.
    layout = next(builtin for builtin in (OSError, ImportError, RuntimeError) if issubclass(cls, builtin))
    error: S3dlioError = layout.__new__(cls, *args)
    RuntimeError.__init__(error, *args)
    for name, value in state.items():
        setattr(error, name, value)
    error.__cause__ = cause
    return error


class _OSErrorNumber(S3dlioError, OSError):
    """An error that is also an OSError: ``errno``, ``strerror`` and ``filename`` are filled like the builtin's."""

    errno_value: int = 0

    def __init__(self, reason: str, **details: Any) -> None:
        super().__init__(reason, **details)
        self.errno = self.errno_value
        self.strerror = reason

    def __reduce__(self) -> tuple[Any, ...]:
        return self._pickled(self.args, self.__dict__ | {"errno": self.errno, "strerror": self.strerror})


class ObjectNotFoundError(_OSErrorNumber, FileNotFoundError):
    """The object, container or file does not exist."""

    errno_value = errno.ENOENT


class PermissionDeniedError(_OSErrorNumber, PermissionError):
    """The service or the file system refused the credentials or the access."""

    errno_value = errno.EACCES


class AlreadyExistsError(_OSErrorNumber, FileExistsError):
    """A create-only operation met an object or container that is already there."""

    errno_value = errno.EEXIST


class IsDirectoryError(_OSErrorNumber, IsADirectoryError):
    """A directory stands where an object is expected."""

    errno_value = errno.EISDIR


class StorageFullError(_OSErrorNumber):
    """No space, quota or descriptor is left; nothing partial was kept."""

    errno_value = errno.ENOSPC


class LocalIOError(_OSErrorNumber):
    """The operating system refused a local read or write (``errno`` says why)."""

    errno_value = errno.EIO


class TransferTimeoutError(_OSErrorNumber, TimeoutError):
    """Connecting, reading or the whole operation took longer than its deadline."""

    errno_value = errno.ETIMEDOUT


class NetworkError(_OSErrorNumber, ConnectionError):
    """The service could not be reached, or the connection failed more often than the retry policy allows."""

    errno_value = errno.ECONNABORTED


class PreconditionFailedError(S3dlioError):
    """An If-Match, If-None-Match or generation condition did not hold."""


class ObjectChangedError(PreconditionFailedError):
    """The object was replaced while it was being read; no mixture of the two is returned."""


class RangeNotSatisfiableError(S3dlioError, ValueError):
    """A range that the object does not have."""


class InvalidURIError(S3dlioError, ValueError):
    """A URI that names no object this library can reach."""


class UnsafeKeyError(InvalidURIError):
    """A key that cannot become a file beneath the destination of a download without leaving it or meeting another."""


class OutOfRangeError(S3dlioError, IndexError):
    """A data set has no sample of this index."""


class ConfigError(S3dlioError, ValueError):
    """A setting, option or environment variable with an unknown name or a value of the wrong type."""


class IntegrityError(S3dlioError):
    """The bytes that arrived are not the bytes that were stored (or sent)."""


class LengthMismatchError(IntegrityError, ValueError):
    """An object has another size than the caller said.

    Args:
        reason: as of :class:`S3dlioError`.
        expected: the size that the caller named, in bytes.
        actual: the size of the object, in bytes.
    """

    def __init__(self, reason: str, *, expected: int, actual: int, **details: Any) -> None:
        super().__init__(reason, **details)
        self.expected = expected
        self.actual = actual


class CorruptDataError(S3dlioError):
    """Data whose own format says that it is damaged (TFRecord, NPZ, Parquet, manifests)."""


class ThrottledError(S3dlioError):
    """The service asked for a slower pace for longer than the retry policy waits."""

    def usual_hint(self) -> str:
        return f"lower {either('max_in_flight', '-j')}, or raise the retry limits"


class ServiceError(S3dlioError):
    """The service answered with an error that no other class here describes."""


class ProtocolError(S3dlioError):
    """The other end broke the rules of HTTP; the connection was closed."""


class EndpointError(ProtocolError):
    """What answers at the endpoint is not the service: a web page, a login portal, a proxy, another API."""


class OutcomeUnknownError(S3dlioError):
    """A conditional write whose answer was lost, and of which it is unknown whether it was done. The cause says what
    happened to the answer."""

    default_hint = "look at the object before you write again"


class UnsupportedOperationError(S3dlioError, NotImplementedError):
    """A store that cannot do what was asked."""


class TransferCancelledError(S3dlioError):
    """The operation was given up because its batch failed or was interrupted."""


class WorkerDiedError(S3dlioError):
    """A worker process died whenever it had this operation, or could not be started."""


class ExportStillReferencedError(S3dlioError, BufferError):
    """A borrowed buffer was still in use when it had to be given back."""


class BufferRefusedError(S3dlioError, BufferError):
    """A buffer of the caller's is read-only, not contiguous, or not of bytes."""


class OutOfMemoryError(S3dlioError, MemoryError):
    """There is no memory left for what was asked."""


class CudaError(S3dlioError):
    """A call of the CUDA runtime failed; ``code`` is its name of the error, such as ``cudaErrorNoDevice``."""


class MissingDependencyError(S3dlioError, ModuleNotFoundError):
    """An optional package is not installed; the message has the line that installs it.

    Args:
        package: the module that could not be imported.
        extra: the extra of this distribution that brings it.
        purpose: what needs it, for the message.
    """

    def __init__(self, package: str, extra: str, purpose: str = "this feature", **details: Any) -> None:
        details.setdefault("hint", f"install it with: pip install 's3dlio[{extra}]'")
        super().__init__(f"{purpose} needs the package '{package}'", **details)
        self.package = package
        self.extra = extra

    def __reduce__(self) -> tuple[Any, ...]:
        return self._pickled((self.reason,), self.__dict__)


class ItemFailure:
    """One failed item of a batch.

    Args:
        index: its position in the batch's input, from 0.
        uri: what it was about.
        error: why it failed.
    """

    __slots__ = ("error", "index", "uri")

    def __init__(self, index: int, uri: str, error: BaseException) -> None:
        self.index = index
        self.uri = uri
        self.error = error

    def __repr__(self) -> str:
        return f"ItemFailure(index={self.index}, uri={redact(self.uri)!r}, error={self.error!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return ItemFailure, (self.index, mask(self.uri), self.error)


class BatchError(S3dlioError):
    """Items of a batch failed. The first failure is the cause.

    Its text has a line for each kind of failure: those that say the same of several items are counted on one line.

    Args:
        failures: every item that failed, in the order of the input.
        attempted: how many items were started.
        operation: the verb.
        cancelled: how many items were not started, or given up, because others had failed.
        skipped: how many more were left out because there was nothing to do: done before, unwanted.
    """

    shown = 10  # kinds of failures in the text; all failures are in .failures

    def __init__(
        self,
        failures: Iterable[ItemFailure],
        *,
        attempted: int,
        operation: str | None = None,
        cancelled: int = 0,
        skipped: int = 0,
    ) -> None:
        self.failures: Sequence[ItemFailure] = sorted(failures, key=lambda failure: failure.index)
        self.attempted = attempted
        self.succeeded = attempted - len(self.failures) - cancelled
        self.cancelled = cancelled
        self.skipped = skipped
        #: The :class:`TransferSummary` of a transfer: bytes, seconds, retries; None for other batches.
        self.summary: Any = None
        super().__init__(
            f"completed with failures: attempted={attempted}, succeeded={self.succeeded}, failed={len(self.failures)}"
            + (f", skipped={skipped}" if skipped else ""),
            operation=operation,
        )
        self.__cause__ = self.failures[0].error if self.failures else None

    def __str__(self) -> str:
        return "\n".join([super().__str__(), *self.lines()])

    def __repr__(self) -> str:
        return f"{type(self).__name__}({super().__str__()!r})"

    def lines(self) -> list[str]:
        """A line for each kind of failure, most frequent first: what happened, how often, to which item first."""
        alike: dict[str, list[ItemFailure]] = {}
        for failure in self.failures:
            alike.setdefault(_kind_of(failure.error), []).append(failure)
        kinds = sorted(alike.values(), key=len, reverse=True)
        told = [_line(kind) for kind in kinds[: self.shown]]
        if left := sum(map(len, kinds[self.shown :])):
            told.append(f"  and {left} more failures of {len(kinds) - self.shown} other kinds")
        return told


def _kind_of(error: BaseException) -> str:
    """What is equal in failures that say the same of different items."""
    if not isinstance(error, S3dlioError):
        return f"{type(error).__name__}: {error}"
    return f"{error.operation} {type(error).__name__} {error.reason} {error.status} {error.code} {error.hint}"


def _line(failures: Sequence[ItemFailure]) -> str:
    first = failures[0]
    told = isinstance(first.error, S3dlioError)
    text = str(first.error) if told else redact(f"{type(first.error).__name__}: {first.error}")
    if getattr(first.error, "uri", None) is None:
        text = f"{redact(first.uri)}: {text}"
    text = text.replace("\n", "\n  ")
    return f"  [{first.index}] {text}" + (f" (and {len(failures) - 1} more like it)" if len(failures) > 1 else "")
