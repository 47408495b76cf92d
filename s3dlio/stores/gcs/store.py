"""The Cloud Storage store: every verb once, as a generator of requests (Cloud Storage JSON API).

Objects are read by ``/download/storage/v1``, as Google's own clients do: its answers carry generation and checksum in
their head, so that a get is one request, pinned by generation when it becomes several.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from s3dlio.errors import AlreadyExistsError, ObjectNotFoundError, PreconditionFailedError, S3dlioError
from s3dlio.memory.sources import Source
from s3dlio.net.message import Headers, Request, Response
from s3dlio.stores.base import KeyErrors, ObjectStore, ObjectWriter, Steps
from s3dlio.stores.cloud import attempts
from s3dlio.stores.cloud.failures import GCS_API, check_listing
from s3dlio.stores.cloud.percent import encode_query, encode_segment
from s3dlio.stores.cloud.spooled import SpooledWriter
from s3dlio.stores.cloud.store import SelfServedStore
from s3dlio.stores.cloud.writer import CloudWriter
from s3dlio.stores.gcs import batch_delete, copying, failures, headers, links, multipart, resumable, uploads
from s3dlio.stores.gcs.account import GcsAccount
from s3dlio.stores.gcs.names import check_object
from s3dlio.stores.paging import Paging
from s3dlio.stores.writer import UploadState
from s3dlio.types import (
    NO_CONDITIONS,
    NO_OPTIONS,
    Conditions,
    Container,
    ListEntry,
    ListPage,
    ObjectMetadata,
    Observer,
    PutOptions,
    PutResult,
)

#: As is: Cloud Storage would decompress gzip for a client that does not say that it takes it, and then its length,
#: ranges and checksum would be those of other bytes ("Transcoding of gzip-compressed files").
_AS_STORED: Headers = (("accept-encoding", "gzip"),)


class GcsStore(SelfServedStore):
    """One bucket.

    Args:
        account: credentials and endpoint.
        bucket: its name; empty for the service itself (list_containers).
        root: the URI of the bucket.
        observers: as of ObjectStore.
    """

    scheme: ClassVar[str] = "gs"
    api = GCS_API
    reads_tell_all: ClassVar[bool] = False
    takes_customer_keys: ClassVar[bool] = True
    delete_batch_size: ClassVar[int] = batch_delete.MAX_REQUESTS
    sends_checksums = True
    #: Names asked for in one page of a listing.
    page_size = 1000

    def __init__(
        self, account: GcsAccount, bucket: str, root: str | None = None, observers: Sequence[Observer] = ()
    ) -> None:
        super().__init__(root or f"gs://{bucket}", account.settings, observers)
        self.account = account
        self.bucket = bucket
        self.service = account.service
        self.verifies = account.settings.gcs.verify_crc32c
        self.batches = batch_delete.JsonBatches(self)
        self._objects = f"{account.base}/storage/v1/b/{bucket}/o"
        self._media = f"{account.base}/download/storage/v1/b/{bucket}/o/"
        self._uploads = f"{account.base}/upload/storage/v1/b/{bucket}/o"

    def check_key(self, key: str, operation: str) -> None:
        super().check_key(key, operation)
        check_object(key, self.uri(key), operation)

    # -- requests

    def path(self, key: str) -> str:
        """The path of an object's resource."""
        return f"{self._objects}/{encode_segment(key)}"

    def request(
        self, method: str, path: str, query: str = "", fields: Headers = (), body: dict[str, Any] | None = None
    ) -> Request:
        """A request of the JSON API."""
        if body is None:
            return Request(self.service, method, path, query, fields)
        return Request(self.service, method, path, query, (*uploads.JSON, *fields), uploads.json_source(body))

    def upload_request(self, query: list[tuple[str, str]], fields: Headers, body: Source) -> Request:
        """A request that starts or is an upload."""
        return Request(self.service, "POST", self._uploads, encode_query(query), fields, body)

    def ask(self, request: Request, key: str) -> Steps[dict[str, Any]]:
        """Send a request; the JSON of its answer."""
        response = yield from self.send(request, key)
        return self.parsed(response, headers.parse)

    @property
    def endpoint(self) -> str:
        return self.service.pool.name

    def fail(self, response: Response, key: str) -> S3dlioError:
        strange = self.stranger(response) if not failures.is_document(response.body) else None
        error = strange or failures.error_of(response, anonymous=self.account.anonymous)
        error.locate(self.uri(key), None)
        return error

    def mend(self, request: Request, response: Response) -> Steps[Response]:
        """Once more with a new token, when the old one was refused."""
        if response.status == 401 and self.account.tokens is not None:
            self.account.tokens.forget()
            response = yield request
        return response

    # -- reading

    def read_request(self, key: str, fields: Headers, conditions: Conditions) -> Request:
        query = "alt=media"
        fields = (*_AS_STORED, *fields)
        if conditions is not NO_CONDITIONS:
            query = encode_query([("alt", "media"), *headers.condition_query(conditions)])
            fields += tuple(headers.condition_fields(conditions))
        return Request(self.service, "GET", self._media + encode_segment(key), query, fields)

    def pin(self, response: Response) -> Conditions | None:
        generation = response.header(b"x-goog-generation")
        return None if generation is None else Conditions(version_id=generation)

    def pin_of(self, metadata: ObjectMetadata) -> Conditions | None:
        return None if metadata.version_id is None else Conditions(version_id=metadata.version_id)

    def metadata_of(self, response: Response, size: int) -> ObjectMetadata:
        return headers.metadata_of_media(response, size)

    def checksum_of(self, response: Response) -> int | None:
        return headers.crc32c_of(response)

    def _head(self, key: str, conditions: Conditions) -> Steps[ObjectMetadata]:
        query = encode_query(headers.condition_query(conditions))
        request = self.request("GET", self.path(key), query, headers.condition_fields(conditions))
        return headers.metadata_of((yield from self.ask(request, key)))

    # -- writing

    def _write(self, key: str, source: Source, options: PutOptions) -> Steps[PutResult]:
        if source.size <= self.settings.multipart.threshold:
            write = uploads.write
        elif self.settings.gcs.composite_upload:
            write = multipart.write
        else:
            write = resumable.write
        return (yield from write(self, key, source, options))

    def _write_on(self, key: str, source: Source, options: PutOptions, resume: UploadState) -> Steps[PutResult]:
        if source.size <= self.settings.multipart.threshold:
            return (yield from self._write(key, source, options))
        write = multipart.write if self.settings.gcs.composite_upload else resumable.write
        return (yield from write(self, key, source, options, resume))

    def temporary(self, prefix: str) -> Steps[list[dict[str, Any]]]:
        """The parts whose names begin with ``prefix``: name, size, generation, CRC32C."""
        found: list[dict[str, Any]] = []
        token: str | None = None
        while True:
            query = [("prefix", prefix), ("fields", headers.PART_FIELDS)]
            query += [("pageToken", token)] if token else []
            page = yield from self.ask(self.request("GET", self._objects, encode_query(query)), "")
            found += page.get("items", ())
            token = page.get("nextPageToken")
            if token is None:
                return found

    def writer(
        self,
        key: str,
        *,
        options: PutOptions = NO_OPTIONS,
        part_size: int | None = None,
        expected_size: int | None = None,
    ) -> ObjectWriter:
        self.check_key(key, "PUT")
        if not self.settings.gcs.composite_upload:
            return SpooledWriter(self, key, options)
        return CloudWriter(self, key, options, multipart.Upload(self, key, options), part_size, expected_size)

    def marked(self, key: str, options: PutOptions) -> Steps[attempts.Marked]:
        """See :class:`s3dlio.stores.cloud.attempts.Marking`."""
        found = yield from self.ask(self.request("GET", self.path(key), "fields=etag,generation,size,metadata"), key)
        mark: str | None = (found.get("metadata") or {}).get(attempts.MARK)
        return attempts.Marked(mark, headers.result_of(found))

    def write_conditions(self, key: str, options: PutOptions) -> Steps[list[tuple[str, str]]]:
        """The query parameters for a write's conditions. Cloud Storage knows conditions of writes by generation only,
        so an ETag is looked up first, and stands for the generation that has it.

        Raises:
            PreconditionFailedError: the object has another ETag, or the one that it must not have.
        """
        conditions = options.conditions
        if conditions.generation is not None:
            return [("ifGenerationMatch", str(conditions.generation))]
        if conditions.if_none_match == "*":
            return [("ifGenerationMatch", "0")]
        if conditions.if_match is None and conditions.if_none_match is None:
            return []
        request = self.request("GET", self.path(key), "fields=etag,generation")
        try:
            found = yield from self.ask(request, key)
        except ObjectNotFoundError as error:
            if failures.is_bucket_missing(error):
                raise
            found = {"etag": None, "generation": "0"}
        etag = found["etag"]
        wrong = conditions.if_match is not None and (etag is None or conditions.if_match not in (etag, "*"))
        if wrong or (conditions.if_none_match is not None and conditions.if_none_match == etag):
            raise PreconditionFailedError("the object is another than the condition names", status=412)
        return [("ifGenerationMatch", found["generation"])]

    # -- listing

    def _list_page(
        self, prefix: str, recursive: bool, token: str | None, start_after: str | None
    ) -> Steps[tuple[ListPage, str | None]]:
        query = [("maxResults", str(self.page_size)), ("fields", headers.LIST_FIELDS)]
        if prefix:
            query.append(("prefix", prefix))
        if not recursive:
            query.append(("delimiter", "/"))
        if start_after:
            query.append(("startOffset", start_after))  # this one included: it is taken out below
        if token is not None:
            query.append(("pageToken", token))
        found = yield from self.ask(self.request("GET", self._objects, encode_query(query)), "")
        items = [item for item in found.get("items", ()) if item["name"] != start_after]

        def entries() -> list[ListEntry]:
            return [headers.entry_of(item) for item in items]

        page = ListPage([item["name"] for item in items], found.get("prefixes", []), entries)
        check_listing(page, prefix)
        return page, found.get("nextPageToken")

    # -- deleting, copying

    def delete_request(self, key: str, version_id: str | None = None) -> Request:
        query = encode_query([("generation", version_id)]) if version_id else ""
        return self.request("DELETE", self.path(key), query)

    def _delete(self, key: str, version_id: str | None) -> Steps[None]:
        try:
            yield from self.send(self.delete_request(key, version_id), key, (200, 204))
        except S3dlioError as error:
            if not failures.is_gone_already(error):
                raise

    def conditional_delete(self, key: str, found: ObjectMetadata) -> Request:
        query = encode_query([("ifGenerationMatch", found.version_id or "0")])
        return self.request("DELETE", self.path(key), query)

    def _delete_many(self, keys: Sequence[str]) -> Steps[KeyErrors]:
        return (yield from self.batches.run(keys))

    def can_copy_from(self, source: ObjectStore) -> bool:
        return isinstance(source, GcsStore) and source.account.url == self.account.url

    def _copy(self, source: ObjectStore, source_key: str, key: str, options: PutOptions) -> Steps[PutResult]:
        assert isinstance(source, GcsStore)
        return (yield from copying.rewrite(self, source, source_key, key, options))

    def compose(self, keys: Sequence[str], key: str, *, options: PutOptions = NO_OPTIONS) -> PutResult:
        """Make one object of at most 32 others of this bucket, in their order, inside the service.

        Raises:
            ConfigError: no keys, or more than 32.
            ObjectNotFoundError, PreconditionFailedError, ...
        """
        return copying.compose(self, keys, key, options)

    def presign(self, key: str, method: str = "GET", expires: int = 3600, *, version_id: str | None = None) -> str:
        """A URL with which anybody can do ``method`` on the object; see :func:`s3dlio.stores.gcs.links.presign`."""
        self.check_key(key, "PRESIGN")
        return links.presign(self.account, self.bucket, key, method, expires, version_id, self.uri(key))

    # -- buckets

    def _bucket(self, name: str) -> str:
        return f"{self.account.base}/storage/v1/b{f'/{name}' if name else ''}"

    def _create_container(self) -> Steps[None]:
        query = encode_query([("project", self.account.project())])
        request = self.request("POST", self._bucket(""), query, body={"name": self.bucket})
        try:
            yield from self.ask(request, "")
        except AlreadyExistsError as error:
            # Bucket names are the whole world's: it is ours when we may see it.
            found: Response = yield self.request("GET", self._bucket(self.bucket), "fields=name")
            if found.status != 200:
                error.hint = "bucket names are shared by all of Google Cloud; choose another"
                raise

    def _delete_container(self) -> Steps[None]:
        try:
            yield from self.send(self.request("DELETE", self._bucket(self.bucket)), "", (200, 204))
        except AlreadyExistsError as error:
            raise failures.not_empty(self.root) from error

    def _list_containers(self) -> Steps[list[Container]]:
        query = [("project", self.account.project()), ("fields", "items(name,timeCreated),nextPageToken")]
        token: str | None = None
        buckets: list[Container] = []
        paging = Paging()
        while True:
            more = [("pageToken", token)] if token else []
            found = yield from self.ask(self.request("GET", self._bucket(""), encode_query(query + more)), "")
            for item in found.get("items", ()):
                buckets.append(Container(item["name"], f"gs://{item['name']}", item.get("timeCreated")))
            token = found.get("nextPageToken")
            paging.check(found.get("items", ()), token)
            if token is None:
                return buckets


