"""The CRC64 of Azure Storage: of what is written, and of ranges that are read.

Its polynomial is 0x9A6C9329AC4BC9B5 (reflected; initial value and final xor all ones), which is that of NVMe and of
Amazon's CRC64NVME; a header field has its eight bytes, the lowest first, in base64. The service returns it in answers
to every Put Blob and Put Block, refuses bodies whose CRC64 is not the one in the request, and returns that of a range
of at most 4 MiB on request (Azure Storage REST API, "Put Blob", "Put Block", "Get Blob"; polynomial and byte order:
Azure SDK for .NET, StorageCrc64Calculator, and the check value of the package azure-storage-extensions).
Amazon's awscrt computes 31 GB/s of it on one core, azure-storage-extensions 1.7 GB/s, and of ``bytes`` only.
"""

from __future__ import annotations

import base64
import functools
from collections.abc import Callable
from typing import Any

from s3dlio.errors import IntegrityError, MissingDependencyError
from s3dlio.memory.sinks import Sink
from s3dlio.memory.sources import Source, landed
from s3dlio.net.message import Headers, Request
from s3dlio.net.response import Response
from s3dlio.stores.call import Steps
from s3dlio.types import ObjectMetadata

FIELD = "x-ms-content-crc64"
#: The longest range of which the service returns a CRC64.
MOST = 4 << 20
_ASK = ("x-ms-range-get-content-crc64", "true")


@functools.cache
def implementation() -> Callable[[Any, int], int]:
    """A function of bytes and of the CRC64 of what came before them.

    Raises:
        MissingDependencyError: the package that computes it is not installed.
    """
    try:
        from awscrt.checksums import crc64nvme
    except ImportError as error:
        raise MissingDependencyError("awscrt", "azure-crc64", "azure.crc64") from error
    compute: Callable[[Any, int], int] = crc64nvme
    return compute


def crc64_base64(source: Source) -> str:
    """The CRC64 of a body, as header fields have it."""
    compute, crc = implementation(), 0
    for stretch in source.stretches():
        crc = compute(stretch, crc)
    return base64.b64encode(crc.to_bytes(8, "little")).decode()


def arrived(response: Response, sent: Headers) -> bool:
    """Whether the CRC64 in the answer to a write is the one that was sent; true where either is missing."""
    found = response.header(FIELD.encode())
    return found is None or found == dict(sent).get(FIELD, found)


def compared(steps: Steps[ObjectMetadata], sink: Sink) -> Steps[ObjectMetadata]:
    """Read a range of at most 4 MiB, and compare what has landed with its CRC64. What streams by is not compared.

    Raises:
        IntegrityError: it has another.
    """
    announced: list[str | None] = []
    request: Request = next(steps)
    if landed(sink) is not None:
        on_head = request.on_head
        assert on_head is not None

        def note(response: Response, length: int | None) -> Any:
            # Of the whole range, also where its body breaks off and the rest comes with another answer.
            announced[:] = [response.header(FIELD.encode())]
            return on_head(response, length)

        request.on_head = note
        request.headers = (*request.headers, _ASK)
    try:
        while True:
            request = steps.send((yield request))
    except StopIteration as stop:
        about: ObjectMetadata = stop.value
    finally:
        steps.close()
    expected = announced[0] if announced else None
    body = landed(sink) if expected is not None else None
    if body is not None and (found := crc64_base64(body)) != expected:
        raise IntegrityError(
            f"the bytes that arrived have CRC64 {found}, the range has {expected}",
            hint="read it again; if it stays, the stored copy or the way to it is damaged",
        )
    return about
