"""Keys and queries in URLs, percent-encoded as signatures want them: all but the unreserved characters of RFC 3986."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from urllib.parse import quote

from s3dlio.errors import InvalidURIError

_UNRESERVED = "-_.~"
#: Keys that need no encoding, but perhaps for their slashes, are most keys: 0.2 against 0.9 us.
_PLAIN_KEY = re.compile(r"[A-Za-z0-9/_.~-]*").fullmatch


def encode_key(key: str) -> str:
    """A key as part of a path: everything encoded but unreserved characters and ``/``.

    Raises:
        InvalidURIError: the key is no Unicode text (a file's name that is not UTF-8, on Linux).
    """
    return key if _PLAIN_KEY(key) else _encoded(key, "/" + _UNRESERVED)


def encode_segment(key: str) -> str:
    """A key as one segment of a path, where also ``/`` is encoded.

    Raises:
        InvalidURIError: as of :func:`encode_key`.
    """
    return key.replace("/", "%2F") if _PLAIN_KEY(key) else _encoded(key, _UNRESERVED)


def encode_query(parameters: Sequence[tuple[str, str]]) -> str:
    """A query: names and values encoded, sorted by them.

    Raises:
        InvalidURIError: as of :func:`encode_key`.
    """
    pairs = sorted([(encode_segment(name), encode_segment(value)) for name, value in parameters])
    return "&".join([f"{name}={value}" for name, value in pairs])


@lru_cache(maxsize=32)  # the lists of fields that each request asks for
def _encoded(text: str, safe: str) -> str:
    try:
        return quote(text, safe=safe)
    except UnicodeEncodeError as error:
        raise InvalidURIError(f"the key {text!r} is not Unicode text: it has a lone surrogate") from error
