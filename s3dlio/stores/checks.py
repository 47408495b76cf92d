"""What stores refuse before any I/O: ranges, buffers and options that cannot be meant."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from s3dlio.config.sizes import shown
from s3dlio.errors import (
    BufferRefusedError,
    ConfigError,
    PreconditionFailedError,
    RangeNotSatisfiableError,
    UnsupportedOperationError,
)
from s3dlio.memory.sources import as_memory
from s3dlio.stores.call import BaseStore
from s3dlio.types import Conditions, ObjectMetadata

MAX_OFFSET = 1 << 63


def check_range(uri: str, offset: int, length: int | None) -> None:
    """Refuse a range that no object can have.

    Raises:
        RangeNotSatisfiableError: negative, or beyond 2**63.
        TypeError: not integers.
    """
    for name, value in (("offset", offset), ("length", length)):
        if value is None:
            continue
        if isinstance(value, bool) or not hasattr(value, "__index__"):
            raise TypeError(f"{name} must be an integer number of bytes, not {type(value).__name__}")
        if not 0 <= value < MAX_OFFSET:
            raise RangeNotSatisfiableError(
                f"{name}={shown(value)} is not between 0 and 2**63", uri=uri, operation="GET_RANGE"
            )


def check_conditions(etag: str | None, conditions: Conditions) -> None:
    """Refuse an object whose ETag the conditions do not allow; there are no versions.

    Raises:
        PreconditionFailedError: it is another, or still the same.
    """
    if conditions.if_match not in (None, "*", etag):
        raise PreconditionFailedError(f"the object's ETag is {etag}, not {conditions.if_match}")
    if conditions.if_none_match is not None and conditions.if_none_match in ("*", etag):
        raise PreconditionFailedError(f"the object's ETag is still {etag}")


#: As many tags as an object has on S3 and on Azure, and the characters of their names and values.
_MOST_TAGS, _TAG_NAME, _TAG_VALUE = 10, 128, 256


def check_tags(store: BaseStore, tags: Mapping[str, str] | None) -> None:
    """Refuse tags that neither S3 nor Azure keeps.

    Raises:
        ConfigError: they are too many or too long.
    """
    if not tags:
        return
    if len(tags) > _MOST_TAGS:
        raise ConfigError(f"an object of {store.scheme}:// has at most {_MOST_TAGS} tags, not {len(tags)}")
    for name, value in tags.items():
        if not 0 < len(name) <= _TAG_NAME or len(value) > _TAG_VALUE:
            raise ConfigError(
                f"the tag {shown(name)} is too long or has no name",
                hint=f"a name has 1 to {_TAG_NAME} characters, a value up to {_TAG_VALUE}",
            )


def check_etag(found: ObjectMetadata, etag: str) -> None:
    """Refuse to go on with an object that is another than before.

    Raises:
        PreconditionFailedError: its ETag is another.
    """
    if (found.etag or "").strip('"') != etag.strip('"'):
        raise PreconditionFailedError(f"the object's ETag is {found.etag}, not {etag}")


def writable_memory(buffer: Any) -> memoryview:
    """A flat writable memoryview over the caller's buffer.

    Raises:
        BufferError: it is read-only or not contiguous.
        TypeError: it has no buffer.
    """
    view = as_memory(buffer)
    raw = memoryview(buffer)
    if raw.readonly:
        raise BufferRefusedError("Buffer must be writable")
    if not raw.c_contiguous:
        raise BufferRefusedError("the destination buffer must be contiguous")
    return view if len(view) else memoryview(bytearray())


def unsupported(store: BaseStore, key: str, what: str) -> UnsupportedOperationError:
    """The error for an option that ``store`` cannot honour."""
    return UnsupportedOperationError(f"{store.scheme}:// stores cannot {what}", uri=store.uri(key))
