"""MD5, where a service keeps one with an object: of what is sent, and of what has arrived."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

from s3dlio.errors import IntegrityError
from s3dlio.memory.body import Sink, Source, landed

_STEP = 1024 * 1024


def md5_base64(source: Source) -> str:
    """The MD5 of a body in base64, as Content-MD5 has it (RFC 1864)."""
    return base64_of(update(hashlib.md5(usedforsecurity=False), source))


def update(digest: Any, source: Source) -> Any:
    """Feed a body to a hash."""
    whole = source.whole()
    if whole is not None:
        digest.update(whole)
    else:
        for start in range(0, source.size, _STEP):
            digest.update(source.read(start, _STEP))
    return digest


def base64_of(digest: Any) -> str:
    """What a hash says, in base64."""
    return base64.b64encode(digest.digest()).decode()


def verify_md5(sink: Sink, told: str | None) -> None:
    """Compare a whole body, in memory or in a file, with the MD5 that the service told, if it told one.

    A body that streamed by cannot be looked at again; it is not compared.

    Raises:
        IntegrityError: they differ.
    """
    body = landed(sink) if told is not None else None
    if body is not None and (found := md5_base64(body)) != told:
        raise IntegrityError(
            f"the bytes that arrived have MD5 {found}, the object has {told}",
            hint="read it again; if it stays, the stored copy or the way to it is damaged",
        )
