"""Checksums of whole bodies: of what is sent, and of what has arrived."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from typing import Any

from s3dlio.errors import IntegrityError
from s3dlio.memory.crc32c import crc32c
from s3dlio.memory.sinks import Sink
from s3dlio.memory.sources import Source, landed
from s3dlio.memory.waiting import Waiting
from s3dlio.stores.call import Steps
from s3dlio.types import ObjectMetadata


def md5_base64(source: Source) -> str:
    """The MD5 of a body in base64, as Content-MD5 has it (RFC 1864)."""
    return base64_of(update(hashlib.md5(usedforsecurity=False), source))


def update(digest: Any, source: Source) -> Any:
    """Feed a body to a hash."""
    for stretch in source.stretches():
        digest.update(stretch)
    return digest


#: Bytes that are read at a time.
_STEP = 1 << 20


def crc32c_of(source: Source) -> Steps[int]:
    """The CRC32C of a body that is about to be sent. While a slow disk is read for it, an event loop goes on."""
    if not source.waits:
        return source.crc32c()
    crc = 0

    def take(stretch: memoryview) -> None:
        nonlocal crc
        crc = crc32c(stretch, crc)

    yield from _read(source, take)
    return crc


def read_through(source: Source) -> Steps[None]:
    """Have the system hold the bytes of a local file in memory, which are hashed next: an event loop does not wait for
    its disk."""
    if source.waits:
        yield from _read(source, len)


def _read(source: Source, take: Callable[[memoryview], object]) -> Steps[None]:
    start = 0
    waiting: list[Waiting] = []
    while start < source.size:
        try:
            stretch = source.read_now(start, _STEP)
        except Waiting as raised:
            waiting.append(raised.with_traceback(None))
        # An error that is kept has this frame: nothing in it keeps the memory that is read into.
        if waiting:
            yield waiting.pop()
            continue
        take(stretch)
        start += len(stretch)
        del stretch


def base64_of(digest: Any) -> str:
    """What a hash says, in base64."""
    return base64.b64encode(digest.digest()).decode()


def md5_compared(
    steps: Steps[ObjectMetadata], sink: Sink, md5_of: Callable[[ObjectMetadata], str | None]
) -> Steps[ObjectMetadata]:
    """Read a whole object, and compare it with the MD5 that its service names."""
    about = yield from steps
    verify_md5(sink, md5_of(about))
    return about


def verify_md5(sink: Sink, expected: str | None) -> None:
    """Compare a whole body, in memory or in a file, with the MD5 of the service, if there is one.

    A body that streamed by cannot be looked at again; it is not compared.

    Raises:
        IntegrityError: they differ.
    """
    body = landed(sink) if expected is not None else None
    if body is not None and (found := md5_base64(body)) != expected:
        raise IntegrityError(
            f"the bytes that arrived have MD5 {found}, the object has {expected}",
            hint="read it again; if it stays, the stored copy or the way to it is damaged",
        )
