"""The XML of the S3 API, read straight from the body.

Listings are read with regular expressions at 0.6 us a key, where an XML tree takes five times as long: the elements
have no attributes and hold text only (Amazon S3 API Reference, ListObjectsV2). A page that counts its keys shows
whether that found all of them; any other goes through a tree, as do the short documents.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote_plus

from s3dlio.errors import ProtocolError
from s3dlio.stores.cloud.markup import child_text, children, decoded, local, size_of, tree
from s3dlio.types import ListEntry, ListPage

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

_KEY = re.compile(r"<Key>([^<]*)</Key>")
_COMMON_PREFIX = re.compile(r"<CommonPrefixes>\s*<Prefix>([^<]*)</Prefix>\s*</CommonPrefixes>")
_REFERENCE = re.compile(r"&(?:#([0-9]{1,7})|#x([0-9a-fA-F]{1,6})|(amp|lt|gt|quot|apos));")
_ENTITIES = {"amp": "&", "lt": "<", "gt": ">", "quot": '"', "apos": "'"}
_ESCAPED = str.maketrans(
    {"&": "&amp;", "<": "&lt;", ">": "&gt;", "\r": "&#13;", "\n": "&#10;", "\t": "&#9;"}
)
#: Characters that XML 1.0 cannot carry, not even escaped.
_NOT_IN_XML = "[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff\ud800-\udfff]"



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


class Listed(NamedTuple):
    """A page of a listing: what is on it, the token or marker of the next, and whether the service answered as the
    first version of ListObjects, which knows markers only."""

    page: ListPage
    token: str | None
    first_version: bool


def parse_list(body: bytes | bytearray) -> Listed:
    """A page of ListObjectsV2 (or of its first version).

    The page's own fields must agree with what was found, else an XML parser reads it.

    Raises:
        ProtocolError: the body is not a whole listing, or contradicts itself.
    """
    xml = decoded(body)
    first, last = xml.find("<Contents>"), xml.rfind("</Contents>")
    about = xml if first < 0 else xml[:first] + xml[last:]  # the fields of the page itself
    names, folders = _KEY.findall(xml), _COMMON_PREFIX.findall(about)
    told = {name: text_of(about, name) for name in _ABOUT}
    if not _is_usual(xml, about, told, len(names), len(folders)):
        return _listed(tree(xml, "ListBucketResult"))
    encoded = told["EncodingType"] == "url"
    keys, prefixes = _decode(names, encoded), _decode(folders, encoded)
    return _checked(told, ListPage(keys, prefixes, lambda: _entries(xml, keys)), encoded)


#: The fields of a listing page itself.
_ABOUT = ("EncodingType", "KeyCount", "IsTruncated", "NextContinuationToken", "Marker", "NextMarker")


def _is_usual(xml: str, about: str, told: dict[str, str | None], keys: int, prefixes: int) -> bool:
    """Whether a page is written so that no name can have been overlooked."""
    if "</ListBucketResult>" not in about or ("!" in xml and "<!" in xml) or told["IsTruncated"] not in _FLAGS:
        return False
    if any(told[name] is None and name in about for name in ("IsTruncated", "NextContinuationToken")):
        return False
    if told["KeyCount"] is not None:
        return told["KeyCount"] == str(keys + prefixes)
    return xml.count("Contents") == 2 * keys and xml.count("CommonPrefixes") == 2 * prefixes


_FLAGS = ("true", "false", None)


def _listed(listing: Element) -> Listed:
    """As ``parse_list``, from the elements."""
    told = {name: child_text(listing, name) for name in _ABOUT}
    told |= {name: (told[name] or "").strip() for name in ("EncodingType", "IsTruncated")}
    encoded = told["EncodingType"] == "url"
    contents = list(children(listing, "Contents"))
    names = [child_text(item, "Key") or "" for item in contents]
    if sum(local(element) == "Key" for element in listing.iter()) != len(contents):
        raise ProtocolError("a listing whose keys and entries differ in number")
    folders = [prefix.text or "" for item in children(listing, "CommonPrefixes") for prefix in children(item, "Prefix")]
    keys, prefixes = _decode(names, encoded), _decode(folders, encoded)
    page = ListPage(keys, prefixes, lambda: [_entry(key, item) for key, item in zip(keys, contents, strict=True)])
    return _checked(told, page, encoded)


def _checked(told: dict[str, str | None], page: ListPage, encoded: bool) -> Listed:
    """The page and what comes after it, if its parts agree."""
    keys, prefixes, count = len(page.keys), len(page.prefixes), told["KeyCount"]
    if count is not None and count.strip() not in (str(keys + prefixes), str(keys)):
        raise ProtocolError(f"a listing of {keys} keys and {prefixes} prefixes that counts {count[:20]!r}")
    truncated = (told["IsTruncated"] or "").lower() in ("true", "1")
    token = told["NextContinuationToken"] or None
    if token is not None and not truncated:
        raise ProtocolError("a listing that is not truncated, but names a next page")
    if token is not None or not truncated:
        return Listed(page, token, token is None and count is None and told["Marker"] is not None)
    marker = told["NextMarker"]
    token = _decode([marker], encoded)[0] if marker else max([*page.keys, *page.prefixes], default=None)
    if token is None:
        raise ProtocolError("a truncated listing without the token of its next page")
    return Listed(page, token, True)


def _entry(key: str, item: Element) -> ListEntry:
    size, *others = (child_text(item, name) for name in ("Size", "ETag", "LastModified", "StorageClass"))
    return ListEntry(key, size_of((size or "0").strip()), *others)


def _decode(names: list[str], encoded: bool) -> list[str]:
    # Ceph escapes for XML what it has encoded for a URL: an apostrophe comes as &apos;.
    names = [unescape(name) if "&" in name else name for name in names]
    if encoded:
        return [unquote_plus(name) if "%" in name or "+" in name else name for name in names]
    return names


def _entries(xml: str, keys: list[str]) -> list[ListEntry]:
    contents = _elements(xml, "Contents")
    sizes = [text_of(content, "Size") for content in contents]
    if len(contents) != len(keys) or None in sizes:
        return _listed(tree(xml, "ListBucketResult")).page.entries
    return [
        ListEntry(
            key,
            size_of(size or ""),
            text_of(content, "ETag"),
            text_of(content, "LastModified"),
            text_of(content, "StorageClass"),
        )
        for key, size, content in zip(keys, sizes, contents, strict=True)
    ]


def parse_buckets(
    body: bytes | bytearray, root: str = "ListAllMyBucketsResult"
) -> tuple[list[tuple[str, str | None]], str | None]:
    """Names and creation dates of ListBuckets, and the token of the next page.

    Raises:
        ProtocolError: the body is not a whole list of buckets.
    """
    found = tree(decoded(body), root)
    buckets = [
        (child_text(item, "Name") or "", child_text(item, "CreationDate"))
        for group in children(found, "Buckets")
        for item in children(group, "Bucket")
    ]
    if not all(name for name, _ in buckets):
        raise ProtocolError("a list of buckets with one that has no name")
    return buckets, child_text(found, "ContinuationToken") or None


def can_carry(text: str) -> bool:
    """Whether XML 1.0 can carry all characters of a text."""
    return re.search(_NOT_IN_XML, text) is None


def render_delete(keys: Iterable[str]) -> bytes:
    """The body of DeleteObjects, quiet: only failures are answered."""
    items = "".join(f"<Object><Key>{_escape(key)}</Key></Object>" for key in keys)
    return (
        '<?xml version="1.0" encoding="UTF-8"?><Delete xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        f"<Quiet>true</Quiet>{items}</Delete>"
    ).encode()


def _escape(text: str) -> str:
    return text.translate(_ESCAPED)


def parse_delete(body: bytes | bytearray) -> list[tuple[str | None, Failure]]:
    """What DeleteObjects could not delete, and why; without a key where the service names none.

    Raises:
        ProtocolError: the body is not a whole DeleteResult.
    """
    return [
        (
            child_text(item, "Key"),
            Failure(child_text(item, "Code") or "", child_text(item, "Message") or "", None, None),
        )
        for item in children(tree(decoded(body), "DeleteResult"), "Error")
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
    """The tags of GetObjectTagging.

    Raises:
        ProtocolError: the body is not a whole Tagging.
    """
    return {
        child_text(tag, "Key") or "": child_text(tag, "Value") or ""
        for tags in children(tree(decoded(body), "Tagging"), "TagSet")
        for tag in children(tags, "Tag")
    }
