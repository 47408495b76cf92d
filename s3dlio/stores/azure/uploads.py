"""Blobs in one piece (Azure Storage REST API, "Put Blob")."""

from __future__ import annotations

from s3dlio.errors import S3dlioError
from s3dlio.memory.sources import Source
from s3dlio.stores.azure import crc64, failures, headers
from s3dlio.stores.azure.service import AzureService
from s3dlio.stores.call import Steps
from s3dlio.stores.cloud import write_outcome
from s3dlio.stores.cloud.checksums import read_through
from s3dlio.types import PutOptions, PutResult

#: Bodies larger than this wait for the server's go-ahead, so that a refusal does not cost the upload.
EXPECT_CONTINUE = 1024 * 1024
#: What Put Blob takes.
MAX_PUT = 5000 << 20


def write(service: AzureService, key: str, source: Source, options: PutOptions) -> Steps[PutResult]:
    """Write a blob with one request."""
    mark = write_outcome.new_mark(options)
    fields = [("x-ms-blob-type", "BlockBlob"), *headers.put_fields(options), *headers.mark_fields(mark)]
    if service.hashes:
        yield from read_through(source)
    checksums = headers.checksum_fields(source, service.settings.azure, whole=True)
    fields += checksums
    request = service.request("PUT", key, "", fields, source)
    request.expect_continue = source.size > EXPECT_CONTINUE
    try:
        response = yield from service.send(request, key, (201,))
    except S3dlioError as error:
        if mark is None:
            raise
        return (yield from write_outcome.judged(service, key, options, mark, error))
    result = headers.result_of(response, source.size)
    if not crc64.arrived(response, checksums):
        removal = service.request("DELETE", key, "", (("if-match", result.etag or ""),))
        yield from service.send(removal, key, (202, 404, 412))  # 412: another write came after it
        raise failures.damaged("the blob arrived damaged, and was removed")
    return result
