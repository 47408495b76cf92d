"""The XML of the S3 API, read straight from the body.

Listings are read with regular expressions at 0.3 us a key, where an XML tree takes 8: the elements have no attributes
and hold text only (Amazon S3 API Reference, ListObjectsV2, DeleteObjects, ListBuckets).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple
from urllib.parse import unquote_plus
from xml.sax.saxutils import escape

from s3dlio.errors import ProtocolError
from s3dlio.types import ListEntry, ListPage

_KEY = re.compile(r"<Key>([^<]*)</Key>")
_COMMON_PREFIX = re.compile(r"<CommonPrefixes>\s*<Prefix>([^<]*)</Prefix>")
_REFERENCE = re.compile(r"&(?:#([0-9]{1,7})|#x([0-9a-fA-F]{1,6})|(amp|lt|gt|quot|apos));")
_ENTITIES = {"amp": "&", "lt": "<", "gt": ">", "quot": '"', "apos": "'"}
#: Characters that XML 1.0 cannot carry, not even escaped.
UNSPEAKABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff\ud800-\udfff]")


def text_of(xml: str, tag: str) -> str | None:
    """The text of the first element ``tag``, or None."""
    match = re.search(f"<{tag}>([^<]*)</{tag}>", xml)
    return unescape(match[1]) if match else None


def _elements(xml: str, tag: str) -> list[str]:
    """What stands in each element ``tag``. A regular expression would look for the end of every element that has none
    through all that follows: minutes for a page of 400 KB."""
    return [rest.partition(f"</{tag}>")[0] for rest in xml.split(f"<{tag}>")[1:]]


def unescape(text: str) -> str:
    """Text without its references. ``html.unescape`` would read ``&#128;`` as a Euro sign and drop ``&#1;``."""
    return _REFERENCE.sub(_referred, text) if "&" in text else text


def _referred(match: re.Match[str]) -> str:
    decimal, hexadecimal, name = match.groups()
    if name:
        return _ENTITIES[name]
    number = int(decimal) if decimal else int(hexadecimal, 16)
    if number > 0x10FFFF:
        raise ProtocolError(f"the character &#{number}; does not exist")
    return chr(number)


def _decoded(body: bytes | bytearray) -> str:
    try:
        return bytes(body).decode("utf-8")
    except UnicodeDecodeError as error:
        raise ProtocolError(f"the answer is not UTF-8: {error}") from error


class Failure(NamedTuple):
    """An error document, or an <Error> element: code, message, request id, and the region or endpoint it names."""

    code: str
    message: str
    request_id: str | None
    region: str | None


def parse_failure(body: bytes | bytearray) -> Failure | None:
    """The error that a body tells of, or None."""
    if b"<Code>" not in body:
        return None
    xml = bytes(body).decode("utf-8", "replace")
    code = text_of(xml, "Code") or ""
    return Failure(code, text_of(xml, "Message") or "", text_of(xml, "RequestId"), text_of(xml, "Region"))


def parse_list(body: bytes | bytearray) -> tuple[ListPage, str | None]:
    """A page of ListObjectsV2 and the token of the next.

    Raises:
        ProtocolError: the body is not a whole listing.
    """
    xml = _decoded(body)
    if "<ListBucketResult" not in xml or "</ListBucketResult>" not in xml:
        raise ProtocolError("the answer to a listing is not a whole ListBucketResult")
    encoded = "<EncodingType>url</EncodingType>" in xml
    keys = _decode(_KEY.findall(xml), encoded)
    prefixes = _decode(_COMMON_PREFIX.findall(xml), encoded)
    token = text_of(xml, "NextContinuationToken") if text_of(xml, "IsTruncated") == "true" else None
    if token is None and text_of(xml, "IsTruncated") == "true":
        raise ProtocolError("a truncated listing without the token of its next page")
    return ListPage(keys, prefixes, lambda: _entries(xml, keys)), token


def _decode(names: list[str], encoded: bool) -> list[str]:
    # Ceph escapes for XML what it has encoded for a URL: an apostrophe comes as &apos;.
    names = [unescape(name) if "&" in name else name for name in names]
    if encoded:
        return [unquote_plus(name) if "%" in name or "+" in name else name for name in names]
    return names


def _entries(xml: str, keys: list[str]) -> list[ListEntry]:
    contents = _elements(xml, "Contents")
    if len(contents) != len(keys):
        raise ProtocolError("a listing whose keys and entries differ in number")
    return [
        ListEntry(
            key,
            _size(text_of(content, "Size") or "0"),
            text_of(content, "ETag"),
            text_of(content, "LastModified"),
            text_of(content, "StorageClass"),
        )
        for key, content in zip(keys, contents, strict=True)
    ]


def _size(text: str) -> int:
    if not text.isdecimal() or len(text) > 19:
        raise ProtocolError(f"a listing with a size that is none: {text[:32]!r}")
    return int(text)


def parse_buckets(body: bytes | bytearray) -> tuple[list[tuple[str, str | None]], str | None]:
    """Names and creation dates of ListBuckets, and the token of the next page.

    Raises:
        ProtocolError: the body is not a whole list of buckets.
    """
    xml = _decoded(body)
    if "</ListAllMyBucketsResult>" not in xml and "<ListAllMyBucketsResult" not in xml:
        raise ProtocolError("the answer is not a ListAllMyBucketsResult")
    buckets = [(text_of(item, "Name") or "", text_of(item, "CreationDate")) for item in _elements(xml, "Bucket")]
    return buckets, text_of(xml, "ContinuationToken")


def parse_uploads(body: bytes | bytearray) -> list[tuple[str, str, float | None]]:
    """The open uploads of a page of ListMultipartUploads: key, upload id, and when it was begun (seconds since 1970).

    Raises:
        ProtocolError: the body is not a whole list of uploads.
    """
    xml = _decoded(body)
    if "<ListMultipartUploadsResult" not in xml:
        raise ProtocolError("the answer is not a ListMultipartUploadsResult")
    return [
        (text_of(item, "Key") or "", text_of(item, "UploadId") or "", _moment(text_of(item, "Initiated") or ""))
        for item in _elements(xml, "Upload")
    ]


def _moment(text: str) -> float | None:
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError):
        return None


def render_delete(keys: Iterable[str]) -> bytes:
    """The body of DeleteObjects, quiet: only failures are answered."""
    items = "".join(f"<Object><Key>{_escape(key)}</Key></Object>" for key in keys)
    return (
        '<?xml version="1.0" encoding="UTF-8"?><Delete xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        f"<Quiet>true</Quiet>{items}</Delete>"
    ).encode()


def _escape(text: str) -> str:
    return escape(text, {"\r": "&#13;", "\n": "&#10;", "\t": "&#9;"})


def parse_delete(body: bytes | bytearray) -> list[tuple[str, Failure]]:
    """The keys that DeleteObjects could not delete, and why.

    Raises:
        ProtocolError: the body is not a whole DeleteResult.
    """
    xml = _decoded(body)
    if "DeleteResult" not in xml:
        raise ProtocolError("the answer is not a DeleteResult")
    return [
        (
            text_of(item, "Key") or "",
            Failure(text_of(item, "Code") or "", text_of(item, "Message") or "", None, None),
        )
        for item in _elements(xml, "Error")
    ]


def render_complete(parts: Iterable[tuple[int, str, str | None]]) -> bytes:
    """The body of CompleteMultipartUpload: number, ETag and CRC32C (base64, where one was sent) of each part."""
    items = "".join(
        f"<Part><PartNumber>{number}</PartNumber><ETag>{_escape(etag)}</ETag>"
        + (f"<ChecksumCRC32C>{crc}</ChecksumCRC32C>" if crc else "")
        + "</Part>"
        for number, etag, crc in parts
    )
    return (
        '<CompleteMultipartUpload xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        f"{items}</CompleteMultipartUpload>"
    ).encode()


def render_tags(tags: Iterable[tuple[str, str]]) -> bytes:
    """The body of PutObjectTagging."""
    items = "".join(f"<Tag><Key>{_escape(k)}</Key><Value>{_escape(v)}</Value></Tag>" for k, v in tags)
    return f"<Tagging><TagSet>{items}</TagSet></Tagging>".encode()


def parse_tags(body: bytes | bytearray) -> dict[str, str]:
    """The tags of GetObjectTagging."""
    xml = _decoded(body)
    pairs = re.findall(r"<Tag>\s*<Key>([^<]*)</Key>\s*<Value(?:\s*/|>([^<]*)</Value)>\s*</Tag>", xml)
    return {unescape(key): unescape(value) for key, value in pairs}
