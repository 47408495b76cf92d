"""Errors: builtins too, told in full, picklable, and without secrets."""

from __future__ import annotations

import builtins
import copy
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
)
from s3dlio.foreign_errors import from_os_error
from s3dlio.masking import redact
from s3dlio.stores.gcs import headers as gcs_headers
from s3dlio.stores.s3 import headers as s3_headers
from s3dlio.types import Conditions, PutOptions

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
        ("https://h/upload/storage/v1/b/b/o?uploadType=resumable&upload_id=s3cr3t", "s3cr3t"),
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
    batch = pickle.loads(pickle.dumps(BatchError([ItemFailure(3, "s3://b/k", mismatch)], attempted=5, skipped=7)))
    assert (batch.attempted, batch.succeeded, len(batch.failures), batch.skipped) == (5, 4, 1, 7)


def test_a_batch_error_has_its_failures_in_order_and_the_first_as_cause() -> None:
    failures = [ItemFailure(i, f"s3://b/{i}", ObjectNotFoundError(f"gone {i}")) for i in (7, 2, 5, 3, 9)]
    error = BatchError(failures, attempted=10, operation="GET", cancelled=2)
    assert [failure.index for failure in error.failures] == [2, 3, 5, 7, 9]
    assert error.__cause__ is error.failures[0].error
    assert error.succeeded == 3
    assert "attempted=10, succeeded=3, failed=5" in str(error)
    assert str(error).splitlines()[1:] == [f"  [{i}] s3://b/{i}: gone {i}" for i in (2, 3, 5, 7, 9)]


def test_a_batch_with_failures_of_many_kinds_is_still_a_page() -> None:
    failures = [ItemFailure(i, f"s3://b/{i}", ObjectNotFoundError(f"gone {i}")) for i in range(200)]
    told = str(BatchError(failures, attempted=200)).splitlines()
    assert len(told) == 12
    assert told[-1] == "  and 190 more failures of 190 other kinds"


def test_a_batch_tells_once_what_happened_to_many_objects() -> None:
    failures = [
        ItemFailure(i, f"s3://b/{i}", PermissionDeniedError("denied", uri=f"s3://b/{i}", status=403, request_id=str(i)))
        for i in range(32)
    ]
    told = str(BatchError(failures, attempted=32, operation="PUT")).splitlines()
    assert told[1:] == ["  [0] s3://b/0: denied (status 403, request id 0) (and 31 more like it)"]


SIGNED = "https://h/b/k?X-Amz-Signature=abcdef"


def test_a_pickle_has_no_presigned_url() -> None:
    error = ObjectNotFoundError(f"no {SIGNED}", uri=SIGNED, hint=SIGNED)
    error.__cause__ = ValueError(SIGNED)
    outer = BatchError([ItemFailure(0, SIGNED, error)], attempted=1)
    raw = pickle.dumps([error, outer, MissingDependencyError("h5py", "hdf5", SIGNED)])
    assert b"abcdef" not in raw
    again, batch, _ = pickle.loads(raw)
    assert "X-Amz-Signature=***" in again.uri
    assert isinstance(again.__cause__, RuntimeError)
    assert batch.failures[0].uri == again.uri


def test_a_pickle_keeps_keys_as_they_are() -> None:
    error = ObjectNotFoundError("no", uri="s3://b/a\nb\x1b")
    assert pickle.loads(pickle.dumps(error)).uri == "s3://b/a\nb\x1b"


def test_locate_fills_in_what_is_not_known() -> None:
    error = S3dlioError("x", uri="s3://b/k")
    error.locate("s3://other/k", "GET")
    assert (error.uri, error.operation) == ("s3://b/k", "GET")


def test_a_batch_tells_equal_failures_once() -> None:
    denied = PermissionDeniedError("access denied", uri="s3://b/", operation="DELETE")
    failures = [ItemFailure(i, f"s3://b/{i}", denied) for i in range(5)]
    failures.append(ItemFailure(5, "s3://b/5", ObjectNotFoundError("gone")))
    told = str(BatchError(failures, attempted=9))
    assert told.splitlines()[1:] == ["  [0] DELETE s3://b/: access denied (and 4 more like it)", "  [5] s3://b/5: gone"]


def test_a_pickle_of_options_has_no_key_and_cannot_be_used_without_one() -> None:
    key = b"k" * 32
    options = PutOptions(sse_customer_key=key, conditions=Conditions(sse_customer_key=key, if_match="e"), metadata={})
    assert copy.deepcopy(options).sse_customer_key == key
    raw = pickle.dumps(options)
    assert key not in raw
    again = pickle.loads(raw)
    assert again.conditions.if_match == "e"
    for fields in (s3_headers.sse_customer_fields, gcs_headers.key_fields):
        for given in (again.sse_customer_key, again.conditions.sse_customer_key):
            with pytest.raises(errors.ConfigError, match="32 bytes"):
                fields(given)
    assert pickle.loads(pickle.dumps(PutOptions(content_type="a/b"))) == PutOptions(content_type="a/b")
