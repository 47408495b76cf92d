"""Writing an object in one request: plain (``uploadType=media``), or with its resource before the bytes
(``uploadType=multipart``, RFC 2387).

Either way the request has the CRC32C, so that Cloud Storage refuses damaged bytes before they replace anything; and
the CRC32C of the answer is compared as well.
Source: Cloud Storage JSON API, "Objects: insert"; Cloud Storage documentation, "Data validation".
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any

from s3dlio.errors import IntegrityError, S3dlioError
from s3dlio.memory import crc32c
from s3dlio.memory.sources import MemorySource, PiecesSource, Source
from s3dlio.net.message import Request
from s3dlio.net.response import Response
from s3dlio.stores.call import Steps
from s3dlio.stores.cloud import write_outcome
from s3dlio.stores.cloud.checksums import crc32c_of
from s3dlio.stores.gcs import headers
from s3dlio.stores.gcs.service import GcsService
from s3dlio.types import PutOptions, PutResult

#: The parts of a body of at most so many bytes are joined in memory.
_JOINED = 64 << 10


def write(service: GcsService, key: str, source: Source, options: PutOptions) -> Steps[PutResult]:
    """Write an object in one request."""
    mark = write_outcome.new_mark(options)
    properties = headers.marked(headers.properties(options), mark)
    conditions = yield from service.write_conditions(key, options)
    crc = yield from crc32c_of(source)
    request = put_request(service, key, source, properties, crc, options, conditions)
    try:
        response = yield from service.send(request, key)
    except S3dlioError as error:
        if mark is None:
            raise typed_damage(error) from error
        return (yield from write_outcome.judged(service, key, options, mark, typed_damage(error)))
    return (yield from checked(service, key, response, crc))


def put_request(
    service: GcsService,
    key: str,
    source: Source,
    properties: dict[str, Any],
    crc: int,
    options: PutOptions,
    conditions: list[tuple[str, str]],
) -> Request:
    """The request that writes a whole object."""
    checksum = crc32c.to_base64(crc)
    query = [("name", key), ("fields", headers.RESULT_FIELDS), *headers.key_name(options), *conditions]
    fields = headers.key_fields(options.sse_customer_key)
    if properties.keys() <= {"contentType"} and source.size:
        fields += [("content-type", headers.content_type(properties)), ("x-goog-hash", f"crc32c={checksum}")]
        request = service.upload_request([("uploadType", "media"), *query], fields, source)
    else:
        boundary = os.urandom(16).hex()
        fields.append(("content-type", f"multipart/related; boundary={boundary}"))
        resource = {**properties, "name": key, "crc32c": checksum}
        body = related(resource, source, headers.content_type(properties), boundary)
        request = service.upload_request([("uploadType", "multipart"), *query], fields, body)
    return request


def related(resource: dict[str, Any], source: Source, content_type: str, boundary: str) -> Source:
    """A body of two parts: the resource, and the bytes."""
    head = (
        f"--{boundary}\r\nContent-Type: application/json; charset=UTF-8\r\n\r\n{json.dumps(resource)}\r\n"
        f"--{boundary}\r\nContent-Type: {content_type}\r\n\r\n"
    ).encode()
    tail = f"\r\n--{boundary}--\r\n".encode()
    if source.size <= _JOINED:
        return MemorySource(memoryview(b"".join((head, *source.stretches(), tail))))
    return FramedSource(head, source, tail)


class FramedSource(Source):
    """A source with something before and after it."""

    __slots__ = ("_head", "_inner", "_tail")

    def __init__(self, head: bytes, inner: Source, tail: bytes) -> None:
        self._head = head
        self._inner = inner
        self._tail = tail
        self.size = len(head) + inner.size + len(tail)

    @property
    def waits(self) -> bool:  # type: ignore[override]
        return self._inner.waits

    def read(self, start: int, length: int) -> memoryview:
        return self._read(self._inner.read, start, length)

    def read_now(self, start: int, length: int) -> memoryview:
        return self._read(self._inner.read_now, start, length)

    def _read(self, inner: Callable[[int, int], memoryview], start: int, length: int) -> memoryview:
        first, last = len(self._head), len(self._head) + self._inner.size
        if start < first:
            return memoryview(self._head)[start : start + length]
        if start < last:
            return inner(start - first, min(length, last - start))
        return memoryview(self._tail)[start - last : start - last + length]

    def part(self, start: int, length: int) -> Source:
        return PiecesSource(self.pieces(start, length))


def checked(service: GcsService, key: str, response: Response, crc: int) -> Steps[PutResult]:
    """The result of a write, if the checksum of the answer is ``crc``. A damaged object is deleted: that generation
    only.

    Raises:
        IntegrityError: the checksum is another.
    """
    resource = service.parsed(response, headers.parse)
    if is_damaged(resource, crc):
        if resource.get("generation"):
            yield from service.delete(key, resource["generation"])
        raise IntegrityError("the object arrived damaged, and was removed", hint="write it again")
    return headers.result_of(resource)


def is_damaged(resource: dict[str, Any], crc: int) -> bool:
    """Whether an object resource has another CRC32C than ``crc``."""
    found = resource.get("crc32c")
    return found is not None and crc32c.from_base64(found) != crc


def typed_damage(error: S3dlioError) -> S3dlioError:
    """A refusal because of the checksum is an IntegrityError; any other error stays what it is."""
    if error.status != 400 or not any(word in error.reason for word in ("CRC32C", "crc32c", "hash")):
        return error
    return IntegrityError(
        "the object arrived damaged; nothing was changed",
        uri=error.uri,
        status=error.status,
        code=error.code,
        request_id=error.request_id,
        hint="write it again",
    )
