"""Deleting many objects in one request (Amazon S3 API Reference, DeleteObjects)."""

from __future__ import annotations

from collections.abc import Sequence, Set

from s3dlio.errors import ProtocolError, S3dlioError
from s3dlio.memory.caller_buffer import without_frames
from s3dlio.memory.sources import MemorySource
from s3dlio.stores.base import KeyErrors
from s3dlio.stores.call import Steps
from s3dlio.stores.s3 import xml
from s3dlio.stores.s3.account import TRANSIENT_CODES
from s3dlio.stores.s3.failures import failed_delete
from s3dlio.stores.s3.service import S3Service


def delete_many(service: S3Service, keys: Sequence[str]) -> Steps[KeyErrors]:
    """Delete as many keys as a request takes; those that failed, each with its error."""
    alone = [key for key in keys if not xml.can_carry(key)]  # XML cannot carry them
    failed: KeyErrors = []
    if len(alone) < len(keys):
        body = xml.render_delete(key for key in keys if xml.can_carry(key))
        fields = (service.body_check(body), ("content-type", "application/xml"))
        request = service.request("POST", "", "delete=", fields, MemorySource(memoryview(body)))
        response = yield from service.send(request, "")
        for key, failure in failures_of(set(keys), service.parsed(response, xml.parse_delete)).items():
            if failure.code.encode() in TRANSIENT_CODES:  # tried again where the retry policy is in force
                alone.append(key)
                continue
            error = failed_delete(failure.code, failure.message)
            error.locate(service.uri(key), "DELETE")
            failed.append((key, error))
    for key in alone:
        try:
            yield from service.delete(key)
        except S3dlioError as error:
            error.locate(service.uri(key), "DELETE")
            failed.append((key, without_frames(error)))
    return failed


def failures_of(asked: Set[str], told: Sequence[tuple[str | None, xml.Failure]]) -> dict[str, xml.Failure]:
    """The failures of a batch delete by key, each one of those ``asked`` for.

    Raises:
        S3dlioError: one that names no key stands for the batch as a whole.
        ProtocolError: one names a key that was not asked for.
    """
    failures: dict[str, xml.Failure] = {}
    for key, failure in told:
        if not key:
            raise failed_delete(failure.code, failure.message)
        if key not in asked:
            raise ProtocolError(
                f"the answer to a batch delete tells of {key[:200]!r}, which was not asked for ({failure.code})"
            )
        failures[key] = failure
    return failures
