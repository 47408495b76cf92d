"""Errors: builtins too, told in full, picklable, and without secrets."""

from __future__ import annotations

import builtins
import errno
import pickle

import pytest

from s3dlio import errors
from s3dlio.errors import (
    BatchError,
    ItemFailure,
    LengthMismatchError,
    MissingDependencyError,
    ObjectNotFoundError,
    PermissionDeniedError,
    S3dlioError,
    from_os_error,
    redact,
)

EVERY = [
    kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, S3dlioError)
]  # fmt: skip


@pytest.mark.parametrize("kind", EVERY, ids=lambda kind: kind.__name__)
def test_every_error_is_a_runtime_error(kind: type[S3dlioError]) -> None:
    assert issubclass(kind, RuntimeError)


@pytest.mark.parametrize(
    ("name", "builtin"),
    [
        ("ObjectNotFoundError", "FileNotFoundError"),
        ("PermissionDeniedError", "PermissionError"),
        ("AlreadyExistsError", "FileExistsError"),
        ("IsDirectoryError", "IsADirectoryError"),
        ("TransferTimeoutError", "TimeoutError"),
        ("NetworkError", "ConnectionError"),
        ("StorageFullError", "OSError"),
        ("InvalidURIError", "ValueError"),
        ("ConfigError", "ValueError"),
        ("LengthMismatchError", "ValueError"),
        ("RangeNotSatisfiableError", "ValueError"),
        ("UnsupportedOperationError", "NotImplementedError"),
        ("ExportStillReferencedError", "BufferError"),
        ("MissingDependencyError", "ImportError"),
    ],
)
def test_an_error_is_also_the_builtin_that_people_catch(name: str, builtin: str) -> None:
    assert issubclass(getattr(errors, name), getattr(builtins, builtin))


def test_the_message_tells_everything() -> None:
    error = errors.ServiceError(
        "no", uri="s3://b/k", operation="GET", status=500, code="Internal", request_id="r1", attempts=3, hint="wait"
    )
    assert str(error) == "GET s3://b/k: no (status 500, code Internal, request id r1, after 3 attempts); wait"


def test_errno_is_filled_like_the_builtins() -> None:
    error = ObjectNotFoundError("no such object")
    assert error.errno == errno.ENOENT
    assert error.strerror == "no such object"


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.ENOENT, "ObjectNotFoundError"),
        (errno.EACCES, "PermissionDeniedError"),
        (errno.EROFS, "PermissionDeniedError"),
        (errno.EEXIST, "AlreadyExistsError"),
        (errno.EISDIR, "IsDirectoryError"),
        (errno.ENOSPC, "StorageFullError"),
        (errno.EDQUOT, "StorageFullError"),
        (errno.EIO, "LocalIOError"),
        (errno.ELOOP, "LocalIOError"),
    ],
)
def test_errors_of_the_system_become_ours_and_keep_their_number(number: int, kind: str) -> None:
    error = from_os_error(OSError(number, "because"), uri="file:///x", operation="GET")
    assert type(error) is getattr(errors, kind)
    assert isinstance(error, OSError)
    assert error.errno == number
    assert "because" in str(error)
    assert "file:///x" in str(error)


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        ("http://user:pass@host/x", "pass"),
        ("s3://b/k?X-Amz-Signature=abcd&x=1", "abcd"),
        ("?sv=1&sig=s3cr3t%3D&se=2", "s3cr3t"),
        ("AccountName=a;AccountKey=kkkk==;x", "kkkk"),
    ],
)
def test_secrets_are_masked_wherever_they_stand(text: str, hidden: str) -> None:
    assert hidden not in redact(text)
    error = S3dlioError(f"failed: {text}", uri=text)
    assert hidden not in str(error)
    assert hidden not in repr(error)
    assert hidden not in repr(ItemFailure(0, text, error))


def test_control_characters_are_escaped() -> None:
    assert redact("a\nb\x1b[31m") == "a\\nb\\x1b[31m"


def test_errors_pickle_with_everything_they_know() -> None:
    error = ObjectNotFoundError("gone", uri="s3://b/k", operation="GET", status=404, code="NoSuchKey", attempts=2)
    error.__cause__ = OSError(2, "x")
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is ObjectNotFoundError
    assert str(again) == str(error)
    assert (again.status, again.errno) == (404, errno.ENOENT)
    assert isinstance(again.__cause__, OSError)


def test_errors_with_other_arguments_pickle_too() -> None:
    mismatch = pickle.loads(pickle.dumps(LengthMismatchError("no", expected=1, actual=2)))
    assert (mismatch.expected, mismatch.actual) == (1, 2)
    missing = pickle.loads(pickle.dumps(MissingDependencyError("h5py", "hdf5", "HDF5")))
    assert "pip install 's3dlio[hdf5]'" in str(missing)
    batch = pickle.loads(pickle.dumps(BatchError([ItemFailure(3, "s3://b/k", mismatch)], attempted=5)))
    assert (batch.attempted, batch.succeeded, len(batch.failures)) == (5, 4, 1)


def test_a_batch_error_has_its_failures_in_order_and_the_first_as_cause() -> None:
    failures = [ItemFailure(i, f"s3://b/{i}", ObjectNotFoundError(f"gone {i}")) for i in (7, 2, 5, 3, 9)]
    error = BatchError(failures, attempted=10, operation="GET", cancelled=2)
    assert [failure.index for failure in error.failures] == [2, 3, 5, 7, 9]
    assert error.__cause__ is error.failures[0].error
    assert error.succeeded == 3
    assert "attempted=10, succeeded=3, failed=5" in str(error)
    assert "(and 2 more)" in str(error)


def test_locate_fills_in_what_is_not_known() -> None:
    error = S3dlioError("x", uri="s3://b/k")
    error.locate("s3://other/k", "GET")
    assert (error.uri, error.operation) == ("s3://b/k", "GET")


def test_a_batch_tells_equal_failures_once() -> None:
    denied = PermissionDeniedError("access denied", uri="s3://b/", operation="DELETE")
    failures = [ItemFailure(i, f"s3://b/{i}", denied) for i in range(5)]
    failures.append(ItemFailure(5, "s3://b/5", ObjectNotFoundError("gone")))
    told = str(BatchError(failures, attempted=9))
    assert told.endswith(": [0] DELETE s3://b/: access denied (and 4 more like it); [5] gone")
    assert "more)" not in told
