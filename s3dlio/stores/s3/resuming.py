"""A multipart upload that goes on where an earlier process left it: which of its parts are there, and are ours.

Source: Amazon S3 API Reference, ListParts.
"""

from __future__ import annotations

import hashlib
import logging
import re
from typing import TYPE_CHECKING, NamedTuple

from s3dlio.errors import ProtocolError
from s3dlio.memory.sources import Source
from s3dlio.net.message import Response
from s3dlio.stores.base import Steps
from s3dlio.stores.cloud.checksums import crc32c_of, update
from s3dlio.stores.cloud.markup import Element, child_text, children, tree
from s3dlio.stores.cloud.percent import encode_query
from s3dlio.stores.s3 import headers, orphans
from s3dlio.types import PutOptions

if TYPE_CHECKING:
    from s3dlio.stores.s3.multipart import Upload
    from s3dlio.stores.s3.store import S3Store
    from s3dlio.stores.writer import UploadState

log = logging.getLogger("s3dlio.s3")

_MD5_ETAG = re.compile(r'"?([0-9a-f]{32})"?$')


class _Part(NamedTuple):
    number: int
    etag: str
    size: int
    crc32c: int | None


def take_up(
    store: S3Store, key: str, upload: Upload, source: Source, options: PutOptions, resume: UploadState
) -> Steps[int | None]:
    """Go on with the upload that ``resume`` names, if it is still open; the size of its parts in bytes, None where a
    new one has to begin. One of another version of the source is aborted."""
    if old := resume.stale.get("upload"):
        yield from orphans.abort(store, key, old, stragglers=False)
    upload_id, size = resume.state.get("upload"), resume.state.get("part_size")
    if not isinstance(upload_id, str) or not isinstance(size, int) or size < 1:
        return None
    parts = yield from _list_parts(store, key, upload_id, options)
    if parts is None:
        log.info("the upload %s of %s is gone: another begins", upload_id, store.uri(key))
        return None
    mark = resume.state.get("mark")
    upload.adopt(upload_id, mark if isinstance(mark, str) and mark else None)
    for part in parts:
        start = (part.number - 1) * size
        if part.size == min(size, source.size - start) and part.size > 0:
            crc = _crc_if_same(part, source.part(start, part.size))
            if crc is not None:
                upload.adopt_part(part.number, part.etag, crc if store.sends_checksums else None, part.size)
    return size


def _crc_if_same(part: _Part, ours: Source) -> int | None:
    """The CRC32C of a part of the source, if the part that is there is the same."""
    crc = crc32c_of(ours)
    if part.crc32c is not None:
        return crc if part.crc32c == crc else None
    md5 = _MD5_ETAG.match(part.etag)  # where KMS encrypts, it is none: the part is sent again
    same = md5 is not None and update(hashlib.md5(usedforsecurity=False), ours).hexdigest() == md5[1]
    return crc if same else None


def _list_parts(store: S3Store, key: str, upload_id: str, options: PutOptions) -> Steps[list[_Part] | None]:
    found: list[_Part] = []
    marker = "0"
    while True:
        query = encode_query([("max-parts", "1000"), ("part-number-marker", marker), ("uploadId", upload_id)])
        fields = headers.sse_customer_fields(options.sse_customer_key)
        request = store.request("GET", key, query, fields)
        response: Response = yield from store.send(request, key, (200, 404))
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


def _part_of(part: Element) -> _Part:
    number, size, etag = (child_text(part, name) for name in ("PartNumber", "Size", "ETag"))
    if number is None or size is None or etag is None or not (number.isdecimal() and size.isdecimal()):
        raise ProtocolError("the list of parts has one without number, size or ETag")
    return _Part(int(number), etag, int(size), headers.crc32c_of(child_text(part, "ChecksumCRC32C")))
