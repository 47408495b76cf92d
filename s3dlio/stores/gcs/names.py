"""What Google Cloud Storage lets a name be, checked before any request.

Source: Cloud Storage documentation, "About Cloud Storage buckets" (bucket names) and "About Cloud Storage objects"
(object names).
"""

from __future__ import annotations

import re

from s3dlio.errors import InvalidURIError

_COMPONENT = re.compile(r"[a-z0-9]([a-z0-9_-]*[a-z0-9])?\Z")
_ADDRESS = re.compile(r"\d+\.\d+\.\d+\.\d+\Z")
_MAX_OBJECT = 1024
#: Characters that fit, however many bytes each of them takes.
SHORT_NAME = _MAX_OBJECT // 4


def check_bucket(name: str, uri: str) -> None:
    """Refuse what no bucket can be called.

    Raises:
        InvalidURIError: says the rule.
    """
    parts = name.split(".")
    limit = 222 if len(parts) > 1 else 63
    good = 3 <= len(name) <= limit and all(len(part) <= 63 and _COMPONENT.match(part) for part in parts)
    if not good or _ADDRESS.match(name):
        raise InvalidURIError(
            f"'{name}' cannot be the name of a bucket on Google Cloud Storage",
            uri=uri,
            hint="use 3 to 63 lower-case letters, digits, hyphens and underscores, with a letter or digit at both ends",
        )


def check_object(name: str, uri: str, operation: str) -> None:
    """Refuse what no object can be called. Everything else is literal: ``a//b`` and ``a/../b`` are names like any.

    Raises:
        InvalidURIError: ``.``, ``..``, or more than 1,024 bytes.
    """
    if name in (".", ".."):
        raise InvalidURIError(
            f"an object on Google Cloud Storage cannot be called '{name}'", uri=uri, operation=operation
        )
    if len(name) > SHORT_NAME and len(name.encode()) > _MAX_OBJECT:
        raise InvalidURIError(
            f"the name of an object on Google Cloud Storage has at most {_MAX_OBJECT} bytes in UTF-8",
            uri=uri,
            operation=operation,
        )
