"""A multipart upload that resumes where an earlier process left it: its parts at the service that match the source.

Source: Amazon S3 API Reference, ListParts.
"""

from __future__ import annotations

import hashlib
import logging
import re
from typing import TYPE_CHECKING, NamedTuple

from s3dlio.errors import ProtocolError
from s3dlio.memory.sources import Source
from s3dlio.net.response import Response
from s3dlio.stores.call import Steps
from s3dlio.stores.cloud.checksums import crc32c_of, update
from s3dlio.stores.cloud.markup import child_text, children, tree
from s3dlio.stores.cloud.percent import encode_query
from s3dlio.stores.s3 import headers, orphaned_uploads
from s3dlio.stores.s3.service import S3Service
from s3dlio.stores.writer import UploadState
from s3dlio.types import PutOptions

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

log = logging.getLogger("s3dlio.s3")

_MD5_ETAG = re.compile(r'"?([0-9a-f]{32})"?$')


class Part(NamedTuple):
    """A part that the service has: its number, ETag, size in bytes, and CRC32C where one is known."""

    number: int
    etag: str
    size: int
    crc32c: int | None

    def md5(self) -> str | None:
        """The MD5 of its bytes, in hexadecimal digits, where the ETag is one: where KMS encrypts, it is none."""
        match = _MD5_ETAG.match(self.etag)
        return match[1] if match else None


class OpenUpload(NamedTuple):
    """An upload to go on with: its id, the mark of a conditional one, the size of its parts in bytes, and those parts
    that are there and hold what the source holds."""

    id: str
    mark: str | None
    part_size: int
    parts: list[Part]


def resume(
    service: S3Service, key: str, source: Source, options: PutOptions, resume: UploadState
) -> Steps[OpenUpload | None]:
    """The upload that ``resume`` names, if it is still open; None where a new one has to begin. One of another version
    of the source is aborted."""
    if old := resume.stale.get("upload"):
        yield from orphaned_uploads.abort(service, key, old, stragglers=False)
    upload_id, size = resume.state.get("upload"), resume.state.get("part_size")
    if not isinstance(upload_id, str) or not isinstance(size, int) or size < 1:
        return None
    there = yield from _list_parts(service, key, upload_id, options)
    if there is None:
        log.info("the upload %s of %s is gone: another begins", upload_id, service.uri(key))
        return None
    mark = resume.state.get("mark")
    ours: list[Part] = []
    for part in there:
        start = (part.number - 1) * size
        if part.size == min(size, source.size - start) and part.size > 0:
            crc = yield from _crc_if_same(part, source.part(start, part.size))
            if crc is not None:
                ours.append(part._replace(crc32c=crc if service.sends_checksums else None))
    return OpenUpload(upload_id, mark if isinstance(mark, str) and mark else None, size, ours)


def _crc_if_same(part: Part, ours: Source) -> Steps[int | None]:
    """The CRC32C of a part of the source, if the part that is there is the same."""
    crc = yield from crc32c_of(ours)
    if part.crc32c is not None:
        return crc if part.crc32c == crc else None
    md5 = part.md5()
    same = md5 is not None and update(hashlib.md5(usedforsecurity=False), ours).hexdigest() == md5
    return crc if same else None


def _list_parts(service: S3Service, key: str, upload_id: str, options: PutOptions) -> Steps[list[Part] | None]:
    found: list[Part] = []
    marker = "0"
    while True:
        query = encode_query([("max-parts", "1000"), ("part-number-marker", marker), ("uploadId", upload_id)])
        fields = headers.sse_customer_fields(options.sse_customer_key)
        request = service.request("GET", key, query, fields)
        response: Response = yield from service.send(request, key, (200, 404))
        if response.status == 404:
            return None
        text = bytes(response.body).decode("utf-8-sig", "replace")
        listing = tree(text, "ListPartsResponse" if "<ListPartsResponse" in text else "ListPartsResult")
        found += [_part_of(part) for part in children(listing, "Part")]
        following = child_text(listing, "NextPartNumberMarker")
        if (child_text(listing, "IsTruncated") or "").strip().lower() != "true":
            return found
        if following is None or not following.isdecimal() or int(following) <= int(marker):
            raise ProtocolError("a list of parts goes on, and does not say where")
        marker = following


def _part_of(part: Element) -> Part:
    number, size, etag = (child_text(part, name) for name in ("PartNumber", "Size", "ETag"))
    if number is None or size is None or etag is None or not (number.isdecimal() and size.isdecimal()):
        raise ProtocolError("the list of parts has one without number, size or ETag")
    return Part(int(number), etag, int(size), headers.crc32c_of(child_text(part, "ChecksumCRC32C")))
