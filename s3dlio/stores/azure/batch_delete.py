"""Deleting many blobs in one request (Azure Storage REST API, "Blob Batch")."""

from __future__ import annotations

import re

from s3dlio.errors import S3dlioError
from s3dlio.memory.sources import MemorySource
from s3dlio.net.message import Headers, Request
from s3dlio.stores.azure import failures, xml
from s3dlio.stores.azure.service import AzureService
from s3dlio.stores.cloud.batch_delete import BatchDelete

MAX_REQUESTS = 256
_CODE = re.compile(r"(?im)^x-ms-error-code:\s*(\S+)\s*$")
_REQUEST_ID = re.compile(r"(?im)^x-ms-request-id:\s*(\S+)\s*$")


class BlobBatches(BatchDelete):
    """Batches of one container: at most 256 blobs, each delete signed for itself."""

    service: AzureService
    taken = 202

    def request(self, fields: Headers, body: MemorySource) -> Request:
        return self.service.request("POST", "", "comp=batch&restype=container", fields, body)

    def part(self, number: int, key: str) -> bytes:
        head = f"content-type: application/http\r\ncontent-transfer-encoding: binary\r\ncontent-id: {number}\r\n\r\n"
        return head.encode() + self.service.account.renderer.render_part(self.service.delete_request(key))

    def number_of(self, place: int, status: int, text: str) -> int:
        raise self.error_of("", status, text)  # that of the batch as a whole

    def error_of(self, key: str, status: int, text: str) -> S3dlioError:
        failure = xml.parse_failure(text.encode())
        code, request_id = _CODE.search(text), _REQUEST_ID.search(text)
        error = failures.error_of_parts(
            status,
            code[1] if code else failure.code if failure else None,
            failure,
            self.service.account,
            request_id=request_id[1] if request_id else None,
            attempts=1,
        )
        error.locate(self.service.uri(key), "DELETE")
        return error
