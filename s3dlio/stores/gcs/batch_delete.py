"""Deleting many objects in one request (Cloud Storage JSON API, "Sending batch requests")."""

from __future__ import annotations

from s3dlio.errors import S3dlioError
from s3dlio.memory.sources import MemorySource
from s3dlio.net.message import Headers, Request
from s3dlio.stores.cloud.batch_delete import BatchDelete
from s3dlio.stores.gcs import failures
from s3dlio.stores.gcs.service import GcsService

MAX_REQUESTS = 100


class JsonBatches(BatchDelete):
    """Batches of one bucket: at most 100 objects; the token of the whole holds for all."""

    service: GcsService
    taken = 200

    def request(self, fields: Headers, body: MemorySource) -> Request:
        return self.service.batch_request(fields, body)

    def part(self, number: int, key: str) -> bytes:
        head = f"Content-Type: application/http\r\nContent-ID: <{number}>\r\n\r\n"
        return f"{head}DELETE {self.service.delete_request(key).path} HTTP/1.1\r\n\r\n\r\n".encode("latin-1")

    def error_of(self, key: str, status: int, text: str) -> S3dlioError:
        document = text[text.find("{") :].strip() if "{" in text else ""
        return failures.error_of_parts(status, document.encode(), anonymous=self.service.account.anonymous)
