"""Copies inside the service: in one request, or in concurrent parts where the object is large.

Source: Amazon S3 API Reference, CopyObject, UploadPartCopy.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from urllib.parse import quote

from s3dlio.errors import ProtocolError, S3dlioError
from s3dlio.net.message import Headers, Request
from s3dlio.net.response import Response
from s3dlio.records import replace
from s3dlio.stores.call import Steps
from s3dlio.stores.cloud import write_outcome
from s3dlio.stores.cloud.part_size import part_size_for
from s3dlio.stores.cloud.percent import encode_key
from s3dlio.stores.s3 import headers, xml
from s3dlio.stores.s3.access_points import is_arn, source_of
from s3dlio.stores.s3.multipart import MAX_PARTS, MultipartUpload, carries_error, run
from s3dlio.stores.s3.service import S3Service
from s3dlio.stores.s3.tags import get_tags
from s3dlio.types import Conditions, ObjectMetadata, PutOptions, PutResult

log = logging.getLogger("s3dlio.s3")

MAX_COPY = 5 << 30  # bytes that CopyObject takes, and one part of UploadPartCopy
#: Objects larger than this are copied in parts, if their size is known: the service copies these side by side.
COPY_WHOLE = 256 << 20
COPY_PART = 128 << 20
#: What a directory bucket must be told, which keeps neither.
_NO_TAGS = (
    ("x-amz-object-annotation-directive", "EXCLUDE"), ("x-amz-tagging", ""), ("x-amz-tagging-directive", "REPLACE"),
)  # fmt: skip


def copy(
    target: S3Service, source: S3Service, source_key: str, key: str, options: PutOptions, size: int | None
) -> Steps[PutResult]:
    """Copy an object, of ``size`` bytes where that is known; what ``options`` do not say is kept."""
    version = options.conditions.version_id
    pinned = Conditions(version_id=version, sse_customer_key=options.conditions.sse_customer_key)
    place = _place(source, source_key) + (f"?versionId={quote(version)}" if version else "")
    found: ObjectMetadata | None = None
    if options.replaces_metadata() or (size is not None and size > COPY_WHOLE):
        found = yield from source.head_object(source_key, pinned)
    if found is not None and found.size > COPY_WHOLE:
        return (yield from _in_parts(target, source, source_key, place, found, key, options))
    try:
        response = yield from _without_tags(target, place, found, key, options)
    except S3dlioError as error:
        if error.code not in ("InvalidRequest", "EntityTooLarge"):
            return (yield from write_outcome.judged(target, key, options, None, error))
        found = found or (yield from source.head_object(source_key, pinned))
        if found.size <= MAX_COPY:
            raise
        return (yield from _in_parts(target, source, source_key, place, found, key, options))
    etag = xml.text_of(bytes(response.body).decode("utf-8", "replace"), "ETag")
    if not etag:
        return (yield from _look(target, source, source_key, pinned, key, options, response))
    return PutResult(etag, response.header(b"x-amz-version-id"), size or 0)


def _look(
    target: S3Service,
    source: S3Service,
    source_key: str,
    pinned: Conditions,
    key: str,
    options: PutOptions,
    response: Response,
) -> Steps[PutResult]:
    """The answer says neither that the copy is done nor why not (S3 sends the status before it copies). It is done
    where both objects have the same bytes, as far as ETags and checksums tell, and nothing else was to change.

    Raises:
        EndpointError: the answer is a web page.
        ProtocolError: they have not, or it is unknown.
    """
    if (foreign := target.foreign_answer(response)) is not None:
        raise foreign
    unclear = ProtocolError("the answer to a copy says neither that it is done nor why not", status=response.status)
    if options.replaces_metadata() or headers.condition_fields(options.conditions):
        raise unclear
    try:
        original = yield from source.head_object(source_key, pinned)
        found = yield from target.head_object(key, Conditions(sse_customer_key=options.sse_customer_key))
    except S3dlioError as unseen:
        raise unclear from unseen
    same_etag = original.etag is not None and original.etag == found.etag
    same_crc = original.crc32c is not None and original.crc32c == found.crc32c
    if original.size != found.size or not (same_etag or same_crc):
        raise unclear
    return PutResult(found.etag, found.version_id, found.size)


def _place(source: S3Service, key: str) -> str:
    """The source of a copy, as the field of its request names it."""
    if is_arn(source.bucket):
        return quote(source_of(source.bucket, key), safe="/-_.~")
    return f"/{source.bucket}/{encode_key(key)}"


def _without_tags(
    target: S3Service, place: str, found: ObjectMetadata | None, key: str, options: PutOptions
) -> Steps[Response]:
    """CopyObject, again without the tags where the target keeps none and says that the source has some."""
    if not target.is_directory:
        return (yield from _whole(target, place, found, key, options))
    try:
        return (yield from _whole(target, place, found, key, options))
    except S3dlioError as error:
        if error.status != 501:
            raise
    log.warning("%s is a copy without the tags and annotations of its source: its bucket keeps none", target.uri(key))
    return (yield from _whole(target, place, found, key, options, _NO_TAGS))


def _whole(
    target: S3Service, place: str, found: ObjectMetadata | None, key: str, options: PutOptions, more: Headers = ()
) -> Steps[Response]:
    """CopyObject."""
    fields = [("x-amz-copy-source", place)]
    fields += headers.sse_customer_fields(options.conditions.sse_customer_key, of_source=True)
    if found is not None and options.replaces_metadata():
        options = options.completed_from(found)
        fields.append(("x-amz-metadata-directive", "REPLACE"))
    fields += headers.put_fields(options)
    if options.tags is not None and not more:
        fields.append(("x-amz-tagging-directive", "REPLACE"))
    request = target.request("PUT", key, "", [*fields, *more])
    request.service = target.route.copies
    request.wary = True
    request.idempotent = not headers.condition_fields(options.conditions)
    response: Response = yield request
    if response.status >= 300:
        response = yield from target.recover(request, response)
    if response.status != 200 or carries_error(response):
        raise target.fail(response, key)
    return response


def _in_parts(
    target: S3Service,
    source: S3Service,
    source_key: str,
    place: str,
    found: ObjectMetadata,
    key: str,
    options: PutOptions,
) -> Steps[PutResult]:
    """UploadPartCopy. It carries nothing but bytes over, so the rest is asked for and said again."""
    tags = options.tags
    if tags is None and not source.is_directory:
        tags = yield from _tags_of(source, source_key, options.conditions.version_id)
    if tags and target.is_directory:
        log.warning("%s is a copy without the tags of its source: its bucket keeps none", target.uri(key))
        tags = None
    size = part_size_for(found.size, COPY_PART, MAX_PARTS)
    completed = replace(options.completed_from(found), tags=tags)
    upload = MultipartUpload(target, key, completed)

    def requests() -> Iterator[Request]:
        for number, start in enumerate(range(0, found.size, size), 1):
            yield upload.copy_part(number, place, start, min(size, found.size - start), found.etag)

    return (yield from run(upload, requests(), found.size))


def _tags_of(source: S3Service, key: str, version_id: str | None) -> Steps[dict[str, str]]:
    try:
        return (yield from get_tags(source, key, version_id))
    except S3dlioError as error:
        if error.status in (404, 405, 501):  # a service without tags, or one that says so where there are none
            return {}
        if error.status == 403:
            log.warning("the tags of %s may not be read: its copy gets none", source.uri(key))
            return {}
        raise
