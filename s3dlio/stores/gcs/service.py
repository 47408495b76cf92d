"""The requests of one bucket: built, sent, and their refusals typed (Cloud Storage JSON API).

Objects are read by ``/download/storage/v1``, as Google's own clients do: its answers carry generation and checksum in
their head, so that a get is one request, pinned by generation when it becomes several.
"""

from __future__ import annotations

from typing import Any

from s3dlio.errors import ObjectNotFoundError, S3dlioError
from s3dlio.memory.sources import Source
from s3dlio.net.message import Headers, Request
from s3dlio.net.response import Response
from s3dlio.net.retry import RetryPolicy
from s3dlio.stores.call import Steps
from s3dlio.stores.cloud import write_outcome
from s3dlio.stores.cloud.answer_check import GCS_API
from s3dlio.stores.cloud.percent import encode_query, encode_segment
from s3dlio.stores.cloud.service import CloudService
from s3dlio.stores.gcs import failures, headers
from s3dlio.stores.gcs.account import GcsAccount
from s3dlio.types import NO_CONDITIONS, Conditions, ObjectMetadata, PutOptions

#: As is: Cloud Storage would decompress gzip for a client that does not say that it takes it, and then its length,
#: ranges and checksum would be those of other bytes ("Transcoding of gzip-compressed files").
_AS_STORED: Headers = (("accept-encoding", "gzip"),)


class GcsService(CloudService):
    """Access to one bucket.

    Args:
        account: credentials and endpoint.
        bucket: its name; empty for the service itself (list_containers).
        root: the URI of the bucket.
    """

    api = GCS_API
    sends_checksums = True
    deleted = (200, 204)

    def __init__(self, account: GcsAccount, bucket: str, root: str) -> None:
        super().__init__(root, account.settings)
        self.account = account
        self.bucket = bucket
        # Emulators do not know them: gcp-storage-emulator closes the connection.
        self.takes_suffix_ranges = account.settings.gcs.endpoint_url is None
        self.verifies = account.settings.gcs.verify_crc32c
        self._service = account.service
        self._objects = f"{account.base}/storage/v1/b/{bucket}/o"
        self._media = f"{account.base}/download/storage/v1/b/{bucket}/o/"
        self._uploads = f"{account.base}/upload/storage/v1/b/{bucket}/o"

    def __repr__(self) -> str:
        return f"<GcsService {self.root}>"

    @property
    def retry_policy(self) -> RetryPolicy:
        return self.account.service.policy

    @property
    def endpoint(self) -> str:
        return self._service.pool.name

    # -- requests

    def path(self, key: str) -> str:
        """The path of an object's resource; of all objects of the bucket, if empty."""
        return f"{self._objects}/{encode_segment(key)}" if key else self._objects

    def bucket_path(self, name: str) -> str:
        """The path of a bucket's resource; of all buckets, if empty."""
        return f"{self.account.base}/storage/v1/b{f'/{name}' if name else ''}"

    def request(
        self, method: str, path: str, query: str = "", fields: Headers = (), body: dict[str, Any] | None = None
    ) -> Request:
        """A request of the JSON API."""
        if body is None:
            return Request(self._service, method, path, query, fields)
        return Request(self._service, method, path, query, (*headers.JSON, *fields), headers.json_source(body))

    def upload_request(self, query: list[tuple[str, str]], fields: Headers, body: Source) -> Request:
        """A request that starts or is an upload."""
        return Request(self._service, "POST", self._uploads, encode_query(query), fields, body)

    def read_request(self, key: str, fields: Headers, conditions: Conditions) -> Request:
        query = "alt=media"
        fields = (*_AS_STORED, *fields)
        if conditions is not NO_CONDITIONS:
            query = encode_query([("alt", "media"), *headers.condition_query(conditions)])
            fields += tuple(headers.condition_fields(conditions))
        return Request(self._service, "GET", self._media + encode_segment(key), query, fields)

    def delete_request(self, key: str, version_id: str | None = None) -> Request:
        query = encode_query([("generation", version_id)]) if version_id else ""
        return self.request("DELETE", self.path(key), query)

    def conditional_delete(self, key: str, found: ObjectMetadata) -> Request:
        query = encode_query([("ifGenerationMatch", found.version_id or "0")])
        return self.request("DELETE", self.path(key), query)

    def batch_request(self, fields: Headers, body: Source) -> Request:
        """A request that holds others."""
        return Request(self._service, "POST", f"{self.account.base}/batch/storage/v1", "", fields, body)

    # -- answers

    def ask(self, request: Request, key: str) -> Steps[dict[str, Any]]:
        """Send a request; the JSON of its answer."""
        response = yield from self.send(request, key)
        return self.parsed(response, headers.parse)

    def recover(self, request: Request, response: Response) -> Steps[Response]:
        """Once more with a new token, when the old one was refused."""
        if response.status == 401 and self.account.tokens is not None:
            self.account.tokens.forget()
            response = yield request
        return response

    def fail(self, response: Response, key: str) -> S3dlioError:
        foreign = self.foreign_answer(response) if not failures.is_document(response.body) else None
        error = foreign or failures.error_of(response, anonymous=self.account.anonymous)
        error.locate(self.uri(key), None)
        return error

    def is_gone_already(self, error: S3dlioError) -> bool:
        return failures.is_gone_already(error)

    def pin(self, response: Response) -> Conditions | None:
        generation = response.header(b"x-goog-generation")
        return None if generation is None else Conditions(version_id=generation)

    def pin_of(self, metadata: ObjectMetadata) -> Conditions | None:
        return None if metadata.version_id is None else Conditions(version_id=metadata.version_id)

    def metadata_of(self, response: Response, size: int) -> ObjectMetadata:
        return headers.metadata_of_media(response, size)

    def checksum_of(self, response: Response) -> int | None:
        return headers.crc32c_of(response)

    # -- one object

    def head_object(self, key: str, conditions: Conditions) -> Steps[ObjectMetadata]:
        query = encode_query(headers.condition_query(conditions))
        request = self.request("GET", self.path(key), query, headers.condition_fields(conditions))
        return headers.metadata_of((yield from self.ask(request, key)))

    def marked(self, key: str, options: PutOptions) -> Steps[write_outcome.Marked]:
        found = yield from self.ask(self.request("GET", self.path(key), "fields=etag,generation,size,metadata"), key)
        mark: str | None = (found.get("metadata") or {}).get(write_outcome.MARK)
        return write_outcome.Marked(mark, headers.result_of(found))

    def write_conditions(self, key: str, options: PutOptions) -> Steps[headers.Fields]:
        """The query parameters for a write's conditions. Cloud Storage knows conditions of writes by generation only,
        so the generation that has an ETag is looked up first.

        Raises:
            PreconditionFailedError: the object has another ETag, or the one that it must not have.
        """
        conditions = options.conditions
        known = headers.generation_of(conditions)
        if known is not None or not write_outcome.is_conditional(options):
            return [] if known is None else [("ifGenerationMatch", known)]
        request = self.request("GET", self.path(key), "fields=etag,generation")
        try:
            found = yield from self.ask(request, key)
        except ObjectNotFoundError as error:
            if failures.is_bucket_missing(error):
                raise
            found = {"etag": None, "generation": "0"}
        headers.check_etag_conditions(conditions, found["etag"])
        return [("ifGenerationMatch", found["generation"])]
