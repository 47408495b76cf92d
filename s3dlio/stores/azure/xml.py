"""The XML of the Azure Blob API, read straight from the body, as the S3 listings are and for the same reason.

Source: Azure Storage REST API, "List Blobs", "List Containers", "Put Block List", "Get Block List".
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable
from typing import NamedTuple
from urllib.parse import unquote

from s3dlio.errors import ProtocolError
from s3dlio.stores.azure.headers import rfc3339_of_http_date
from s3dlio.types import ListEntry, ListPage

_BLOB = re.compile(r"<Blob>(.*?)</Blob>", re.DOTALL)
_CONTAINER_NAME = re.compile(r"<Container>\s*<Name>([^<]*)</Name>")
_BLOB_NAME = re.compile(r"<Blob>\s*<Name>([^<]*)</Name>")
_PREFIX_NAME = re.compile(r"<BlobPrefix>\s*<Name>([^<]*)</Name>")
#: Names that XML cannot carry come percent-encoded.
_ANY_NAME = re.compile(r"<(Blob|BlobPrefix)>\s*<Name( Encoded=\"true\")?>([^<]*)</Name>")
_DIRECTORY = re.compile(r"<ResourceType>directory</ResourceType>|<hdi_isfolder>true</hdi_isfolder>")
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
    if _DIRECTORY.search(xml):
        xml = _BLOB.sub(lambda blob: "" if _DIRECTORY.search(blob[0]) else blob[0], xml)
    if ' Encoded="true"' in xml:
        named = [(kind, _decode(name, bool(encoded))) for kind, encoded, name in _ANY_NAME.findall(xml)]
        keys = [name for kind, name in named if kind == "Blob"]
        prefixes = [name for kind, name in named if kind == "BlobPrefix"]
    else:
        keys = [_decode(name, False) for name in _BLOB_NAME.findall(xml)]
        prefixes = [_decode(name, False) for name in _PREFIX_NAME.findall(xml)]
    return ListPage(keys, prefixes, lambda: _entries(xml, keys)), text_of(xml, "NextMarker") or None


def _decode(name: str, encoded: bool) -> str:
    name = html.unescape(name) if "&" in name else name
    return unquote(name) if encoded else name


def _entries(xml: str, keys: list[str]) -> list[ListEntry]:
    blobs = _BLOB.findall(xml)
    if len(blobs) != len(keys):
        raise ProtocolError("a listing whose names and entries differ in number")
    return [_entry(key, blob) for key, blob in zip(keys, blobs, strict=True)]


def _entry(key: str, blob: str) -> ListEntry:
    etag = text_of(blob, "Etag")
    return ListEntry(
        key,
        int(text_of(blob, "Content-Length") or 0),
        quoted(etag) if etag else None,
        rfc3339_of_http_date(text_of(blob, "Last-Modified")),
        text_of(blob, "AccessTier"),
    )


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
