"""User metadata on its way from one service to another: what the target cannot take is written so that it can, and is
read back as it was; what cannot be written is left out. Never is it a reason not to copy an object.

Names get the form that AzCopy gives them (``rename_my_key`` for ``my-key``, and ``rename_key_my_key`` with the name
itself), values the form in which S3 shows what is not ASCII (RFC 2047, ``=?UTF-8?B?...?=``).
"""

from __future__ import annotations

import base64
import binascii
import quopri
import re
from collections.abc import Callable, Mapping

from s3dlio.records import Record


class MetadataRules(Record):
    """What a service takes as metadata.

    Args:
        most: bytes of all names and values.
        is_name: whether it takes a name; None: any.
        in_headers: values travel in header fields, so they are printable ASCII; names are the same in any case.
    """

    most: int
    is_name: Callable[[str], object] | None = None
    in_headers: bool = False


#: By scheme. Sources: Amazon S3 User Guide, "Working with object metadata"; Azure Storage documentation, "Setting and
#: retrieving properties and metadata"; Cloud Storage documentation, "Object metadata" (8 KiB).
RULES: Mapping[str, MetadataRules] = {
    "s3": MetadataRules(2 << 10, re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+").fullmatch, True),
    "az": MetadataRules(8 << 10, re.compile(r"[A-Za-z_][A-Za-z0-9_]*").fullmatch, True),
    "gs": MetadataRules(8 << 10),
}

_WORD = re.compile(r"=\?utf-8\?([bq])\?([^?\s]*)\?=", re.IGNORECASE)
_RENAMED, _NAME_OF = "rename_", "rename_key_"
# Some servers write '-' for '_' in fields.
_RENAMED_FORM = re.compile(r"(rename[-_])(key[-_])(.*)", re.IGNORECASE | re.DOTALL)


def fits_header(value: str) -> bool:
    """Whether a value reaches a service as it is in a header field."""
    return value.isascii() and value.isprintable() and value == value.strip()


def restored(metadata: Mapping[str, str]) -> dict[str, str]:
    """Metadata as they were before they were written in a form that another service takes."""
    texts = {name: _decoded(value) for name, value in metadata.items()}
    names = {f"{found[1]}{found[3]}": name for name in texts if (found := _RENAMED_FORM.fullmatch(name))}
    names = {name: other for name, other in names.items() if name in texts}
    done = set(names.values())
    return {texts[names[name]] if name in names else name: value for name, value in texts.items() if name not in done}


def fitted(metadata: Mapping[str, str], rules: MetadataRules, spent: int = 0) -> tuple[dict[str, str], list[str]]:
    """Metadata in a form that a service takes, and the names of what it cannot take.

    Args:
        metadata: as they are.
        rules: those of the service.
        spent: bytes that other metadata of the object take.
    """
    taken: dict[str, str] = {}
    origin: dict[str, str] = {}  # name as written, folded -> name as it was
    dropped: list[str] = []
    for name, value in metadata.items():
        written = _written(name, value, rules)
        folded = {(each.lower() if rules.in_headers else each) for each in written}
        if not name or folded & origin.keys():
            dropped.append(name)
            continue
        taken |= written
        origin |= dict.fromkeys(folded, name)
    size = spent + sum(_size(name, value) for name, value in taken.items())
    for name in sorted(metadata, key=lambda name: _size(name, metadata[name]), reverse=True):
        if size <= rules.most:
            break
        if name in dropped:
            continue
        for each in _written(name, metadata[name], rules):
            size -= _size(each, taken.pop(each))
        dropped.append(name)
    return taken, dropped


def _written(name: str, value: str, rules: MetadataRules) -> dict[str, str]:
    """One entry as a service takes it; two, where its name cannot be."""
    if rules.is_name is None or rules.is_name(name):
        return {name: _encoded(value, rules)}
    plain = re.sub(r"[^A-Za-z0-9_]", "_", name)
    return {_RENAMED + plain: _encoded(value, rules), _NAME_OF + plain: _encoded(name, rules)}


def _size(name: str, value: str) -> int:
    return len(name.encode("utf-8", "replace")) + len(value.encode("utf-8", "replace"))


def _encoded(value: str, rules: MetadataRules) -> str:
    if not rules.in_headers or fits_header(value):
        return value
    return f"=?UTF-8?B?{base64.b64encode(value.encode('utf-8', 'surrogatepass')).decode()}?="


def _decoded(value: str) -> str:
    """The text of encoded words; anything else is itself."""
    words = value.split(" ") if value.startswith("=?") else []
    found = [_WORD.fullmatch(word) for word in words]
    if not found or None in found:
        return value
    try:
        raw = [
            base64.b64decode(word[2], validate=True) if word[1] in "bB" else quopri.decodestring(word[2], header=True)
            for word in found
            if word is not None
        ]
        return b"".join(raw).decode("utf-8", "surrogatepass")
    except (binascii.Error, UnicodeDecodeError):
        return value
