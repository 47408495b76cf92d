"""Large objects on S3: uploads and copies in parts, which become one object together or leave nothing behind.

Source: Amazon S3 API Reference, CreateMultipartUpload, UploadPart, UploadPartCopy, CompleteMultipartUpload.
"""

from __future__ import annotations

import dataclasses
import hashlib
import logging
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING
from urllib.parse import quote

from s3dlio import integrity
from s3dlio.errors import IntegrityError, PreconditionFailedError, ProtocolError, S3dlioError
from s3dlio.memory.body import MemorySource, Source
from s3dlio.net.message import Request, Response
from s3dlio.stores.answers import create_only_error
from s3dlio.stores.base import Steps
from s3dlio.stores.percent import encode_key, encode_query
from s3dlio.stores.s3 import headers, xml
from s3dlio.types import NO_CONDITIONS, Conditions, ObjectMetadata, PutOptions, PutResult

if TYPE_CHECKING:
    from s3dlio.stores.s3.store import S3Store

log = logging.getLogger("s3dlio.s3")

MAX_PARTS = 10_000
MAX_COPY = 5 << 30  # what CopyObject takes, and one part of UploadPartCopy
_COPY_PART = 512 << 20
_MIB = 1 << 20
_MD5_ETAG = re.compile(r'"?([0-9a-f]{32})"?$')


def part_size_for(size: int, part_size: int) -> int:
    """The size of the parts of an object: ``part_size``, or what 10,000 parts need, in whole MiB."""
    return max(part_size, -(-size // (MAX_PARTS * _MIB)) * _MIB)


class Upload:
    """One multipart upload; see :class:`s3dlio.stores.cloud_writer.PartedUpload`."""

    def __init__(self, store: S3Store, key: str, options: PutOptions) -> None:
        self._store = store
        self._key = key
        self._options = options
        self._id = ""
        self._parts: dict[int, tuple[str, int | None, int]] = {}  # number -> ETag, CRC32C, size
        self._sent: dict[int, tuple[int | None, int]] = {}

    def begin(self) -> Steps[None]:
        fields = [pair for pair in headers.put_fields(self._options) if not pair[0].startswith("if-")]
        if self._store.sends_checksums:
            fields += [("x-amz-checksum-algorithm", "CRC32C"), ("x-amz-checksum-type", "FULL_OBJECT")]
        request = self._store.request("POST", self._key, "uploads=", fields)
        response = yield from self._store.send(request, self._key)
        upload_id = xml.text_of(bytes(response.body).decode(), "UploadId")
        if not upload_id:
            raise ProtocolError("the answer to CreateMultipartUpload names no upload")
        self._id = upload_id

    def part(self, number: int, source: Source, crc: int | None) -> Request:
        fields: list[tuple[str, str]] = list(headers.sse_customer_fields(self._options.sse_customer_key))
        if crc is not None:
            fields.append(("x-amz-checksum-crc32c", integrity.to_base64(crc)))
        self._sent[number] = (crc, source.size)
        request = self._store.request("PUT", self._key, self._query(number), fields, source)
        request.check = self._check
        return request

    def copy_part(self, number: int, source: str, first: int, length: int, etag: str | None) -> Request:
        """The request that copies a stretch of another object as part ``number``."""
        fields = [("x-amz-copy-source", source), ("x-amz-copy-source-range", f"bytes={first}-{first + length - 1}")]
        if etag:
            fields.append(("x-amz-copy-source-if-match", etag))
        self._sent[number] = (None, length)
        request = self._store.request("PUT", self._key, self._query(number), fields)
        request.wary = True
        request.check = self._check
        return request

    def note(self, number: int, response: Response) -> None:
        crc, size = self._sent[number]
        etag = response.header(b"etag") or xml.text_of(bytes(response.body).decode("utf-8", "replace"), "ETag")
        if not etag:
            raise ProtocolError(f"the answer to part {number} has no ETag")
        told = headers.crc32c_of(response.header(b"x-amz-checksum-crc32c"))
        if crc is not None and told is not None and told != crc:
            raise IntegrityError(f"part {number} arrived damaged", hint="upload it again")
        self._parts[number] = (etag, crc, size)

    def complete(self, size: int) -> Steps[PutResult]:
        parts = sorted(self._parts.items())
        body = xml.render_complete(
            (number, etag, None if crc is None else integrity.to_base64(crc)) for number, (etag, crc, _) in parts
        )
        fields = headers.condition_fields(self._options.conditions)
        if parts and all(crc is not None for _, (_, crc, _) in parts):
            whole = 0
            for _, (_, crc, length) in parts:
                whole = integrity.combine(whole, crc or 0, length)
            fields += [
                ("x-amz-checksum-crc32c", integrity.to_base64(whole)),
                ("x-amz-checksum-type", "FULL_OBJECT"),
            ]
        query = encode_query([("uploadId", self._id)])
        request = self._store.request("POST", self._key, query, fields, MemorySource(memoryview(body)))
        request.wary = True
        try:
            response: Response = yield request
        except S3dlioError as lost:
            # The reply was lost: the object is there, or it is not. Look.
            return (yield from self._look(lost, size))
        if response.status != 200:
            response = yield from self._store.mend(request, response)
        if response.status == 200 and not _carries_error(response):
            etag = xml.text_of(bytes(response.body).decode("utf-8", "replace"), "ETag")
            if etag is not None:
                return PutResult(etag, response.header(b"x-amz-version-id"), size)
            unclear = ProtocolError("the answer to CompleteMultipartUpload says neither that it is done nor why not")
            return (yield from self._look(unclear, size))
        error = self._store.fail(response, self._key)
        # After a lost reply the upload is gone, or the object that it may only create is there: perhaps by ourselves.
        if error.code == "NoSuchUpload" or response.status == 412:
            return (yield from self._look(error, size))
        raise error

    def _look(self, error: S3dlioError, size: int) -> Steps[PutResult]:
        """Whether the object is what this upload makes: its size and the ETag of all parts together."""
        expected = self._expected_etag()
        try:
            found: ObjectMetadata = yield from self._store._head(self._key, NO_CONDITIONS)
        except S3dlioError as unseen:
            raise error from unseen
        if found.size == size and expected is not None and (found.etag or "").strip('"') == expected:
            log.info("the reply to CompleteMultipartUpload was lost, but %s is complete", self._key)
            return PutResult(found.etag, found.version_id, size)
        raise error

    def _expected_etag(self) -> str | None:
        """MD5 of the parts' MD5s, with their number: what S3 gives an object whose parts have MD5 ETags."""
        digest = hashlib.md5(usedforsecurity=False)
        for _, (etag, _, _) in sorted(self._parts.items()):
            match = _MD5_ETAG.match(etag)
            if match is None:
                return None
            digest.update(bytes.fromhex(match[1]))
        return f"{digest.hexdigest()}-{len(self._parts)}"

    def abort(self) -> Steps[None]:
        if not self._id:
            return
        query = encode_query([("uploadId", self._id)])
        try:
            yield from self._store.send(self._store.request("DELETE", self._key, query), self._key, (200, 204, 404))
        except S3dlioError as error:
            log.warning("upload %s of %s could not be aborted: %s", self._id, self._store.uri(self._key), error)

    def _query(self, number: int) -> str:
        return encode_query([("partNumber", str(number)), ("uploadId", self._id)])

    def _check(self, response: Response) -> None:
        if response.status not in (200, 201, 204) or _carries_error(response):  # as of a whole object
            raise self._store.fail(response, self._key)


def _carries_error(response: Response) -> bool:
    return b"<Error" in response.body  # after blanks, perhaps: S3 sends them while it works


def write(store: S3Store, key: str, source: Source, options: PutOptions) -> Steps[PutResult]:
    """Write a large object in concurrent parts; nothing is left of it after a failure."""
    from s3dlio.stores.s3.store import crc32c_of

    size = part_size_for(source.size, store.settings.multipart.part_size)
    upload = Upload(store, key, options)

    def requests() -> Iterator[Request]:
        for number, start in enumerate(range(0, source.size, size), 1):
            part = source.part(start, min(size, source.size - start))
            yield upload.part(number, part, crc32c_of(part) if store.sends_checksums else None)

    try:
        return (yield from _run(upload, requests(), source.size))
    except PreconditionFailedError as error:
        raise create_only_error(error, options) from error


def _run(upload: Upload, requests: Iterator[Request], size: int) -> Steps[PutResult]:
    yield from upload.begin()
    try:
        responses = yield requests
        for number, response in enumerate(responses, 1):
            upload.note(number, response)
        return (yield from upload.complete(size))
    except GeneratorExit:
        raise  # the driver is gone: nobody can send the abort
    except BaseException:
        yield from upload.abort()
        raise


def copy(store: S3Store, source: S3Store, source_key: str, key: str, options: PutOptions) -> Steps[PutResult]:
    """Copy inside the service: CopyObject, or parts of it where the object is too large for that."""
    place = f"/{source.bucket}/{encode_key(source_key)}"
    fields: list[tuple[str, str]] = [("x-amz-copy-source", place), *headers.put_fields(options)]
    if options.conditions.version_id:
        fields[0] = ("x-amz-copy-source", f"{place}?versionId={quote(options.conditions.version_id)}")
    if options.metadata is not None or options.content_type is not None:
        fields.append(("x-amz-metadata-directive", "REPLACE"))
    request = store.request("PUT", key, "", fields)
    request.wary = True
    response: Response = yield request
    if response.status == 200 and not _carries_error(response):
        etag = xml.text_of(bytes(response.body).decode("utf-8", "replace"), "ETag")
        return PutResult(etag, response.header(b"x-amz-version-id"), 0)
    if response.status >= 300:
        response = yield from store.mend(request, response)
    if response.status != 200 or _carries_error(response):
        error = store.fail(response, key)
        if error.code not in ("InvalidRequest", "EntityTooLarge"):
            raise error
        found = yield from source._head(source_key, Conditions(version_id=options.conditions.version_id))
        if found.size <= MAX_COPY:
            raise error
        return (yield from _copy_parts(store, place, found, key, options))
    return PutResult(None, response.header(b"x-amz-version-id"), 0)


def _copy_parts(store: S3Store, place: str, found: ObjectMetadata, key: str, options: PutOptions) -> Steps[PutResult]:
    size = part_size_for(found.size, _COPY_PART)
    upload = Upload(store, key, _options_of(found, options))

    def requests() -> Iterator[Request]:
        for number, start in enumerate(range(0, found.size, size), 1):
            yield upload.copy_part(number, place, start, min(size, found.size - start), found.etag)

    return (yield from _run(upload, requests(), found.size))


def _options_of(found: ObjectMetadata, options: PutOptions) -> PutOptions:
    """What CopyObject would carry over by itself."""
    names = ("content_type", "content_encoding", "content_language", "content_disposition", "cache_control")
    carried = {name: getattr(options, name) or getattr(found, name) for name in names}
    metadata = options.metadata if options.metadata is not None else found.metadata
    return dataclasses.replace(options, metadata=metadata, **carried)
