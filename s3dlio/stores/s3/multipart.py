"""Large objects on S3: uploads and copies in parts, which become one object together or leave nothing behind.

Source: Amazon S3 API Reference, CreateMultipartUpload, UploadPart, UploadPartCopy, CompleteMultipartUpload.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator

from s3dlio.errors import IntegrityError, ProtocolError, S3dlioError
from s3dlio.memory import crc32c
from s3dlio.memory.caller_buffer import without_frames
from s3dlio.memory.sources import MemorySource, Source
from s3dlio.net import system
from s3dlio.net.message import Request
from s3dlio.net.response import Response
from s3dlio.stores.call import Steps
from s3dlio.stores.cloud import write_outcome
from s3dlio.stores.cloud.checksums import crc32c_of, read_through
from s3dlio.stores.cloud.part_size import effective_part_size
from s3dlio.stores.cloud.percent import encode_query
from s3dlio.stores.s3 import headers, orphaned_uploads, resuming, xml
from s3dlio.stores.s3.account import TRANSIENT_CODES
from s3dlio.stores.s3.resuming import OpenUpload, Part
from s3dlio.stores.s3.service import S3Service
from s3dlio.stores.writer import UploadState, may_resume
from s3dlio.types import PutOptions, PutResult

log = logging.getLogger("s3dlio.s3")

MAX_PARTS = 10_000
#: Error codes that leave open whether the object was made.
_UNCLEAR = frozenset({"NoSuchUpload", *(code.decode() for code in TRANSIENT_CODES)})


class MultipartUpload:
    """One multipart upload; see :class:`s3dlio.stores.cloud.writer.PartedUpload`.

    Args:
        service: where.
        key: of what.
        options: what the object carries besides its bytes.
    """

    most_parts = MAX_PARTS

    def __init__(self, service: S3Service, key: str, options: PutOptions) -> None:
        self._service = service
        self._key = key
        self._options = options
        self._mark = write_outcome.new_mark(options)
        self._id = ""
        #: When it was asked for and answered, and how often in vain before: there may be others that we do not know.
        self._in_doubt: tuple[float, float, int] | None = None
        self._parts: dict[int, Part] = {}
        self._sent: dict[int, tuple[int | None, int]] = {}  # number -> CRC32C, size

    @property
    def id(self) -> str:
        """What the service calls it; empty before it has begun."""
        return self._id

    @property
    def mark(self) -> str | None:
        """By which a conditional one is known (:mod:`s3dlio.stores.cloud.write_outcome`)."""
        return self._mark

    def adopt(self, upload: OpenUpload) -> None:
        """Go on with an upload that was begun before, and with the parts of it that are there."""
        self._id, self._mark = upload.id, upload.mark
        self._parts = {part.number: part for part in upload.parts}
        orphaned_uploads.known.add(upload.id)

    def has(self, number: int) -> bool:
        """Whether a part is there."""
        return number in self._parts

    def sent(self) -> list[int]:
        """The numbers of the parts that were sent, in the order of their requests."""
        return list(self._sent)

    def begin(self) -> Steps[None]:
        fields = [pair for pair in headers.put_fields(self._options) if not pair[0].startswith("if-")]
        fields += headers.mark_fields(self._mark)
        if self._service.sends_checksums:
            fields += [("x-amz-checksum-algorithm", "CRC32C"), ("x-amz-checksum-type", "FULL_OBJECT")]
        request = self._service.request("POST", self._key, "uploads=", fields)
        asked = system.monotonic()
        try:
            response = yield from self._service.send(request, self._key)
            upload_id = xml.text_of(bytes(response.body).decode("utf-8", "replace"), "UploadId")
            if not upload_id:
                raise ProtocolError("the answer to CreateMultipartUpload names no upload")
        except BaseException as error:
            if write_outcome.may_be_done(error):
                lost = getattr(error, "attempts", 1)
                late = getattr(error, "status", None) is None
                now = system.monotonic()
                yield from orphaned_uploads.abort_unknown(self._service, self._key, asked, now, lost, late=late)
            raise
        self._id = upload_id
        self._service.measured.answered(system.monotonic() - asked)
        orphaned_uploads.known.add(upload_id)
        if response.attempts > 1:
            self._in_doubt = (asked, system.monotonic(), response.attempts - 1)

    def part(self, number: int, source: Source, crc: int | None) -> Request:
        fields: list[tuple[str, str]] = list(headers.sse_customer_fields(self._options.sse_customer_key))
        if crc is not None:
            fields.append(("x-amz-checksum-crc32c", crc32c.to_base64(crc)))
        self._sent[number] = (crc, source.size)
        request = self._service.request("PUT", self._key, self._query(number), fields, source)
        request.again = self._service.second_tries()
        request.check = self._check
        return request

    def copy_part(self, number: int, source: str, first: int, length: int, etag: str | None) -> Request:
        """The request that copies a stretch of another object as part ``number``."""
        fields = [("x-amz-copy-source", source), ("x-amz-copy-source-range", f"bytes={first}-{first + length - 1}")]
        fields += headers.sse_customer_fields(self._options.sse_customer_key)
        fields += headers.sse_customer_fields(self._options.conditions.sse_customer_key, of_source=True)
        if etag:
            fields.append(("x-amz-copy-source-if-match", etag))
        self._sent[number] = (None, length)
        request = self._service.request("PUT", self._key, self._query(number), fields)
        request.service = self._service.route.copies
        request.wary = True
        request.again = self._service.second_tries()
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
        self._parts[number] = Part(number, etag, size, crc)

    def complete(self, size: int) -> Steps[PutResult]:
        try:
            result = yield from self._complete(size)
        except S3dlioError as error:
            if not write_outcome.is_conditional(self._options):
                raise
            result = yield from write_outcome.judged(
                self._service, self._key, self._options, self._mark, error, left_open=error.code in _UNCLEAR
            )
        yield from self._tidy()
        return result

    def _tidy(self) -> Steps[None]:
        """This upload is over: abort others that lost replies to its creation may have left."""
        if self._in_doubt is not None:
            yield from orphaned_uploads.abort_unknown(self._service, self._key, *self._in_doubt)
        orphaned_uploads.known.discard(self._id)

    def _complete(self, size: int) -> Steps[PutResult]:
        body = xml.render_complete(
            (part.number, part.etag, None if part.crc32c is None else crc32c.to_base64(part.crc32c))
            for part in self._in_order()
        )
        fields = headers.condition_fields(self._options.conditions)
        whole = self._whole_crc()
        if whole is not None:
            fields += [
                *headers.sse_customer_fields(self._options.sse_customer_key),  # asked for where there is a checksum
                ("x-amz-checksum-crc32c", crc32c.to_base64(whole)),
                ("x-amz-checksum-type", "FULL_OBJECT"),
            ]
        query = encode_query([("uploadId", self._id)])
        request = self._service.request("POST", self._key, query, fields, MemorySource(memoryview(body)))
        request.wary = True
        try:
            response: Response = yield request
        except S3dlioError as lost:
            # The reply was lost: the object is there, or it is not. Look.
            return (yield from self._look(lost, size))
        if response.status != 200:
            response = yield from self._service.recover(request, response)
        if response.status == 200 and not carries_error(response):
            etag = xml.text_of(bytes(response.body).decode("utf-8", "replace"), "ETag")
            if etag is not None:
                return PutResult(etag, response.header(b"x-amz-version-id"), size)
            unclear = ProtocolError("the answer to CompleteMultipartUpload says neither that it is done nor why not")
            return (yield from self._look(unclear, size))
        error = self._service.fail(response, self._key)
        # After a lost reply the upload is gone. An error of the service, or of a gateway, leaves open what was done.
        if error.code in _UNCLEAR or response.status >= 500:
            return (yield from self._look(error, size))
        raise error

    def _in_order(self) -> list[Part]:
        return [part for _, part in sorted(self._parts.items())]

    def _whole_crc(self) -> int | None:
        """The CRC32C of all parts together, where each has one."""
        whole = 0
        for part in self._in_order():
            if part.crc32c is None:
                return None
            whole = crc32c.combine(whole, part.crc32c, part.size)
        return whole if self._parts else None

    def _look(self, error: S3dlioError, size: int) -> Steps[PutResult]:
        """Whether the object is what this upload makes: its size, and the ETag or the CRC32C of all parts together
        (where KMS encrypts, ETags are no MD5s)."""
        if write_outcome.is_conditional(self._options):
            raise error  # its mark tells more
        expected, crc = self._expected_etag(), self._whole_crc()
        fields = (("x-amz-checksum-mode", "ENABLED"),) if crc is not None else ()
        try:
            response = yield from self._service.look(self._key, self._options, fields)
            found = headers.metadata_of(response, int(response.header(b"content-length") or -1))
        except S3dlioError as unseen:
            # Where it answers that there is no such upload, the upload may be the object by now.
            raise (write_outcome.unknown(error) if error.code == "NoSuchUpload" else error) from unseen
        same_etag = expected is not None and (found.etag or "").strip('"') == expected
        if found.size == size and (same_etag or (crc is not None and found.crc32c == crc)):
            log.info("the reply to CompleteMultipartUpload was lost, but %s is complete", self._key)
            without_frames(error)
            return PutResult(found.etag, found.version_id, size)
        raise error

    def _expected_etag(self) -> str | None:
        """MD5 of the parts' MD5s, with their number: what S3 gives an object whose parts have MD5 ETags."""
        digest = hashlib.md5(usedforsecurity=False)
        for part in self._in_order():
            if (md5 := part.md5()) is None:
                return None
            digest.update(bytes.fromhex(md5))
        return f"{digest.hexdigest()}-{len(self._parts)}"

    def abort(self) -> Steps[None]:
        if not self._id:
            return
        stragglers = not self._sent.keys() <= self._parts.keys()
        try:
            yield from orphaned_uploads.abort(self._service, self._key, self._id, stragglers=stragglers)
            yield from self._tidy()
        finally:
            orphaned_uploads.known.discard(self._id)

    def _query(self, number: int) -> str:
        return encode_query([("partNumber", str(number)), ("uploadId", self._id)])

    def _check(self, response: Response) -> None:
        if response.status not in (200, 201, 204) or carries_error(response):  # as of a whole object
            raise self._service.fail(response, self._key)


def carries_error(response: Response) -> bool:
    return b"<Error" in response.body  # after blanks, perhaps: S3 sends them while it works


def write(
    service: S3Service, key: str, source: Source, options: PutOptions, resume: UploadState | None = None
) -> Steps[PutResult]:
    """Write a large object in concurrent parts; nothing is left of it after a failure, unless it may go on later."""
    measured = service.measured
    size = effective_part_size(source.size, service.settings, MAX_PARTS, measured)
    upload = MultipartUpload(service, key, options)
    if resume is not None:
        found = yield from resuming.resume(service, key, source, options, resume)
        if found is not None:
            upload.adopt(found)
            size = found.part_size

    def requests() -> Iterator[Request]:
        for number, start in enumerate(range(0, source.size, size), 1):
            if upload.has(number):
                continue
            part = source.part(start, min(size, source.size - start))
            crc = None
            if service.sends_checksums:
                crc = yield from crc32c_of(part)
            elif service.signs_bodies:
                yield from read_through(part)
            request = upload.part(number, part, crc)
            yield measured.timed(request, part.size)

    return (yield from run(upload, requests(), source.size, resume, size))


def run(
    upload: MultipartUpload,
    requests: Iterator[Request],
    size: int,
    resume: UploadState | None = None,
    part_size: int = 0,
) -> Steps[PutResult]:
    """Send all parts, concurrently, and make the object of them; after a failure nothing is left of them, unless
    ``resume`` keeps what is needed to go on."""
    if not upload.id:
        yield from upload.begin()
    if resume is not None:
        resume.save({"upload": upload.id, "part_size": part_size, "mark": upload.mark or ""})
    try:
        responses = yield requests
        for number, response in zip(upload.sent(), responses, strict=True):
            upload.note(number, response)
        return (yield from upload.complete(size))
    except GeneratorExit:
        raise  # the driver is gone: nobody can send the abort
    except BaseException as error:
        if resume is None:
            yield from upload.abort()
        elif not may_resume(error):
            yield from upload.abort()
            resume.save({})
        raise
