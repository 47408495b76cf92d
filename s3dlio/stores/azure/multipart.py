"""Large blobs: staged in blocks, which become one blob together or none (Azure Storage REST API, "Put Block",
"Put Block List").

Azure keeps uncommitted blocks for a week, invisible, and then drops them; no request drops them sooner without
touching the blob.
"""

from __future__ import annotations

import base64
import hashlib
import logging
import os
from collections.abc import Iterator
from typing import Any

from s3dlio.errors import PreconditionFailedError, ProtocolError, S3dlioError
from s3dlio.memory.sources import MemorySource, Source
from s3dlio.net import system
from s3dlio.net.message import Request
from s3dlio.net.response import Response
from s3dlio.stores.azure import crc64, failures, headers, xml
from s3dlio.stores.azure.service import AzureService
from s3dlio.stores.call import Steps
from s3dlio.stores.cloud import failures as answers
from s3dlio.stores.cloud import write_outcome
from s3dlio.stores.cloud.checksums import base64_of, read_through, update
from s3dlio.stores.cloud.part_size import effective_part_size
from s3dlio.stores.cloud.percent import encode_query
from s3dlio.stores.writer import UploadState
from s3dlio.types import PutOptions, PutResult

log = logging.getLogger("s3dlio.azure")

MAX_BLOCKS = 50_000


class BlockUpload:
    """One blob in blocks; see :class:`s3dlio.stores.cloud.writer.PartedUpload`.

    Blocks of all writes to one key share a name space until they are committed: ids start with a random mark.
    """

    most_parts = MAX_BLOCKS

    def __init__(self, service: AzureService, key: str, options: PutOptions) -> None:
        self._service = service
        self._key = key
        self._options = options
        self._fields = headers.put_fields(options)
        self.mark = os.urandom(8).hex()
        self._staged: set[int] = set()
        #: The MD5 of the whole blob, where the parts are made in order.
        self.digest: Any = None

    def begin(self) -> Steps[None]:
        """Nothing to do: the first block opens the upload."""
        yield from ()

    def resume(self, size: int, resume: UploadState) -> Steps[int | None]:
        """Go on with what an earlier write staged: only its blocks have its mark, and the service has checked each of
        them. Returns the size of its blocks in bytes; None without a state of an earlier write."""
        mark, block_size = resume.state.get("mark"), resume.state.get("block_size")
        if not isinstance(mark, str) or not isinstance(block_size, int) or block_size < 1:
            return None
        request = self._service.request("GET", self._key, "blocklisttype=uncommitted&comp=blocklist")
        response = yield from self._service.send(request, self._key, (200, 404))
        staged = xml.parse_staged(response.body) if response.status == 200 else {}
        self.mark = mark
        for number, start in enumerate(range(0, size, block_size), 1):
            if staged.get(self.block_id(number)) == min(block_size, size - start):
                self._staged.add(number)
        return block_size

    def has(self, number: int) -> bool:
        """Whether a block is staged."""
        return number in self._staged

    def block_id(self, number: int) -> str:
        """The id of a block; all of a blob must have the same length."""
        return base64.b64encode(f"{self.mark}-{number:06}".encode()).decode()

    def part(self, number: int, source: Source, crc: int | None) -> Request:
        query = encode_query([("blockid", self.block_id(number)), ("comp", "block")])
        fields = headers.checksum_fields(source, self._service.settings.azure, whole=False)
        request = self._service.request("PUT", self._key, query, fields, source)

        def check(response: Response) -> None:
            if response.status != 201:
                raise self._service.fail(response, self._key)
            if not crc64.arrived(response, fields):
                raise failures.damaged("a block arrived damaged; nothing was changed")

        request.check = check
        return request

    def note(self, number: int, response: Response) -> None:
        self._staged.add(number)

    def complete(self, size: int) -> Steps[PutResult]:
        ids = [self.block_id(number) for number in sorted(self._staged)]
        body = xml.render_blocks(ids)
        fields = list(self._fields)
        if self.digest is not None:
            fields.append(("x-ms-blob-content-md5", base64_of(self.digest)))
        request = self._service.request("PUT", self._key, "comp=blocklist", fields, MemorySource(memoryview(body)))
        request.idempotent = not write_outcome.is_conditional(self._options)
        try:
            response: Response = yield request
        except S3dlioError as lost:
            # The answer was lost: the committed blocks show whether the write was done.
            return (yield from self._look(lost, ids, size))
        if response.status == 201:
            return headers.result_of(response, size)
        error = self._service.fail(response, self._key)
        if response.attempts > 1 or response.status >= 500:
            return (yield from self._look(error, ids, size))
        raise answers.create_only_error(error, self._options)

    def _look(self, error: S3dlioError, ids: list[str], size: int) -> Steps[PutResult]:
        """The result, if the blob consists of this upload's blocks, whose ids no other write uses; else the error."""
        request = self._service.request("GET", self._key, "blocklisttype=committed&comp=blocklist")
        response: Response = yield request
        if response.status == 200 and xml.parse_blocks(response.body) == ids:
            log.info("the answer to Put Block List was lost, but %s is complete", self._service.uri(self._key))
            return PutResult(response.header(b"etag"), None, size)
        unseen = response.status not in (200, 404)
        replaced = isinstance(error, PreconditionFailedError) and self._options.conditions.if_match is not None
        if write_outcome.is_conditional(self._options) and (unseen or replaced):
            raise write_outcome.unknown(error) from error  # it may have been done, and replaced since
        raise answers.create_only_error(error, self._options)

    def abort(self) -> Steps[None]:
        """Nothing to do: blocks that are not committed are invisible, and Azure drops them."""
        yield from ()


def write(
    service: AzureService, key: str, source: Source, options: PutOptions, resume: UploadState | None = None
) -> Steps[PutResult]:
    """Write a large blob in concurrent blocks. With ``resume``, those that an earlier write staged need not be sent."""
    measured = service.measured
    size = effective_part_size(source.size, service.settings, MAX_BLOCKS, measured)
    upload = BlockUpload(service, key, options)
    if resume is not None:
        size = (yield from upload.resume(source.size, resume)) or size
        resume.save({"mark": upload.mark, "block_size": size})
    sent: list[int] = []
    if service.settings.azure.content_md5:
        upload.digest = hashlib.md5(usedforsecurity=False)

    def requests() -> Iterator[Request]:
        for number, start in enumerate(range(0, source.size, size), 1):
            part = source.part(start, min(size, source.size - start))
            if service.hashes:
                yield from read_through(part)
            if upload.digest is not None:
                update(upload.digest, part)
            if not upload.has(number):
                sent.append(number)
                yield measured.timed(upload.part(number, part, None), part.size)

    responses = yield requests()
    if len(responses) != len(sent):
        raise ProtocolError("some blocks were not staged")
    for number, response in zip(sent, responses, strict=True):
        upload.note(number, response)
    began = system.monotonic()
    result = yield from upload.complete(source.size)
    measured.answered(system.monotonic() - began)
    return result
