"""XML by a real parser: the second way where a document is not written as the service usually writes it (attributes,
name spaces, CDATA, comments), and the only one where documents are small. No document type and no entities are read.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from s3dlio.errors import ProtocolError

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

#: Characters; the largest page of a listing has a tenth of it, and a tree takes many times the memory of its text.
_LARGEST = 32 << 20


def decoded(body: bytes | bytearray) -> str:
    """A document as text, without a byte order mark.

    Raises:
        ProtocolError: it is not UTF-8.
    """
    try:
        return bytes(body).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ProtocolError(f"the answer is not UTF-8: {error}") from error


def tree(text: str, root: str) -> Element:
    """The element ``root`` of a document.

    Raises:
        ProtocolError: the document is damaged, too large, or another one.
    """
    from xml.etree import ElementTree  # 10 ms, and most documents are read without

    if "<!DOCTYPE" in text or len(text) > _LARGEST:
        raise ProtocolError(f"the answer is no {root} that can be read safely")
    try:
        found = ElementTree.fromstring(text)
    except (ElementTree.ParseError, ValueError) as error:
        raise ProtocolError(f"the answer is not a whole {root}: {error}") from error
    if local(found) != root:
        raise ProtocolError(f"the answer is not a whole {root}, but a {local(found)[:100]}")
    return found


def local(element: Element) -> str:
    """The name of an element without its name space."""
    return element.tag.rpartition("}")[2]


def children(element: Element, name: str) -> Iterator[Element]:
    """The elements ``name`` directly inside ``element``."""
    return (child for child in element if local(child) == name)


def child_text(element: Element, name: str) -> str | None:
    """The text of the first element ``name`` directly inside ``element``, or None.

    Raises:
        ProtocolError: it has elements inside, where only text belongs.
    """
    for child in children(element, name):
        if len(child):
            raise ProtocolError(f"the element {name} has others inside")
        return child.text or ""
    return None


def size_of(text: str) -> int:
    """The size that a listing tells.

    Raises:
        ProtocolError: it is none.
    """
    if not text.isdecimal() or len(text) > 19:
        raise ProtocolError(f"a listing with a size that is none: {text[:32]!r}")
    return int(text)
