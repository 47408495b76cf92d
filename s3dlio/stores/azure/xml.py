"""The XML of the Azure Blob API, read straight from the body: cut at its tags, a name costs 1.5 us of a page of 5,000,
where an XML tree takes 13.

Source: Azure Storage REST API, "List Blobs", "List Containers", "Put Block List", "Get Block List",
"Set Blob Tags".
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable
from typing import NamedTuple
from urllib.parse import unquote
from xml.sax.saxutils import escape

from s3dlio.errors import ProtocolError
from s3dlio.stores.azure.headers import rfc3339_of_http_date
from s3dlio.types import ListEntry, ListPage

_CONTAINER_NAME = re.compile(r"<Container>\s*<Name>([^<]*)</Name>")
_DIRECTORY_MARKS = ("<ResourceType>directory</ResourceType>", "<hdi_isfolder>true</hdi_isfolder>")
_COMMITTED = re.compile(r"<CommittedBlocks>(.*?)</CommittedBlocks>", re.DOTALL)
_BLOCK_NAME = re.compile(r"<Name>([^<]*)</Name>")


def text_of(xml: str, tag: str) -> str | None:
    """The text of the first element ``tag``, or None."""
    match = re.search(f"<{tag}>([^<]*)</{tag}>", xml)
    return html.unescape(match[1]) if match else None


class Failure(NamedTuple):
    """An error document: code, the first line of the message, and the detail of a failed authentication."""

    code: str
    message: str
    detail: str


def parse_failure(body: bytes | bytearray) -> Failure | None:
    """The error that a body tells of, or None."""
    if b"<Code>" not in body:
        return None
    xml = bytes(body).decode("utf-8", "replace")
    message = (text_of(xml, "Message") or "").partition("\n")[0].strip()  # the next lines: request id and time
    return Failure(text_of(xml, "Code") or "", message, text_of(xml, "AuthenticationErrorDetail") or "")


def parse_list(body: bytes | bytearray) -> tuple[ListPage, str | None]:
    """A page of List Blobs and the marker of the next.

    The directories of a hierarchical namespace are left out: they are no objects.

    Raises:
        ProtocolError: the body is not a whole listing.
    """
    xml = bytes(body).decode("utf-8")
    if "<EnumerationResults" not in xml or "</EnumerationResults>" not in xml:
        raise ProtocolError("the answer to a listing is not a whole EnumerationResults")
    blobs = xml.split("<Blob>")[1:]
    if any(mark in xml for mark in _DIRECTORY_MARKS):
        blobs = [blob for blob in blobs if not any(mark in blob.partition("</Blob>")[0] for mark in _DIRECTORY_MARKS)]
    keys = [_name(blob) for blob in blobs]
    prefixes = [_name(prefix) for prefix in xml.split("<BlobPrefix>")[1:]]
    marker = text_of(xml[xml.rfind("<NextMarker") :], "NextMarker") or None
    return ListPage(keys, prefixes, lambda: list(map(_entry, keys, blobs))), marker


def _name(element: str) -> str:
    """The first element Name; one that XML cannot carry comes percent-encoded."""
    begin = element.find("<Name")
    begin = element.find(">", begin) + 1
    name = element[begin : element.find("<", begin)]
    if "&" in name:
        name = html.unescape(name)
    return unquote(name) if element.startswith(' Encoded="true"', begin - 16) else name


def _entry(key: str, blob: str) -> ListEntry:
    blob, end, _ = blob.partition("</Blob>")
    if not end:
        raise ProtocolError("a listing with a damaged entry")
    etag = _plain(blob, "<Etag>")
    return ListEntry(
        key,
        _size(_plain(blob, "<Content-Length>") or "0"),
        quoted(etag) if etag else None,
        rfc3339_of_http_date(_plain(blob, "<Last-Modified>")),
        _plain(blob, "<AccessTier>"),
    )


def _size(text: str) -> int:
    if not text.isdecimal() or len(text) > 19:
        raise ProtocolError(f"a listing with a size that is none: {text[:32]!r}")
    return int(text)


def _plain(blob: str, tag: str) -> str | None:
    """The text of an element that needs no decoding: a tenth of the time of a regular expression."""
    begin = blob.find(tag)
    if begin < 0:
        return None
    begin += len(tag)
    return blob[begin : blob.find("<", begin)] or None


def quoted(etag: str) -> str:
    """An ETag as headers have it: listings leave the quotes out."""
    return etag if etag.endswith('"') else f'"{etag}"'


def parse_containers(body: bytes | bytearray) -> tuple[list[str], str | None]:
    """The names of List Containers and the marker of the next page. (It does not tell when they were made.)

    Raises:
        ProtocolError: the body is not a whole list.
    """
    xml = bytes(body).decode("utf-8")
    if "</EnumerationResults>" not in xml:
        raise ProtocolError("the answer is not a list of containers")
    return _CONTAINER_NAME.findall(xml), text_of(xml, "NextMarker") or None


def render_blocks(ids: Iterable[str]) -> bytes:
    """The body of Put Block List: each block in its latest version, so that the list may be sent twice."""
    items = "".join(f"<Latest>{block}</Latest>" for block in ids)
    return f'<?xml version="1.0" encoding="utf-8"?><BlockList>{items}</BlockList>'.encode()


def parse_blocks(body: bytes | bytearray) -> list[str]:
    """The ids of the committed blocks in Get Block List, in their order."""
    match = _COMMITTED.search(bytes(body).decode("utf-8", "replace"))
    return _BLOCK_NAME.findall(match[1]) if match else []


def render_tags(tags: Iterable[tuple[str, str]]) -> bytes:
    """The body of Set Blob Tags."""
    items = "".join(f"<Tag><Key>{escape(key)}</Key><Value>{escape(value)}</Value></Tag>" for key, value in tags)
    return f'<?xml version="1.0" encoding="utf-8"?><Tags><TagSet>{items}</TagSet></Tags>'.encode()


def parse_tags(body: bytes | bytearray) -> dict[str, str]:
    """The tags of Get Blob Tags."""
    found: dict[str, str] = {}
    for tag in bytes(body).decode("utf-8").split("<Tag>")[1:]:
        found[text_of(tag, "Key") or ""] = text_of(tag, "Value") or ""
    return found
