"""The Azure Blob store: every verb once, as a generator of requests (Azure Storage REST API, Blob service)."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from typing import ClassVar

from s3dlio.errors import S3dlioError
from s3dlio.memory.sinks import Sink
from s3dlio.memory.sources import MemorySource, Source
from s3dlio.net.dates import clock_of
from s3dlio.net.message import Headers, Request, Response
from s3dlio.stores.azure import batch_delete, copying, crc64, failures, headers, listing, sas, xml
from s3dlio.stores.azure import multipart as blocks
from s3dlio.stores.azure.account import AzureAccount
from s3dlio.stores.azure.names import check_blob
from s3dlio.stores.base import Call, KeyErrors, ObjectStore, ObjectWriter, Steps
from s3dlio.stores.cloud import attempts
from s3dlio.stores.cloud.checksums import md5_compared
from s3dlio.stores.cloud.failures import AZURE_API
from s3dlio.stores.cloud.percent import encode_key, encode_query
from s3dlio.stores.cloud.store import SelfServedStore
from s3dlio.stores.cloud.writer import CloudWriter
from s3dlio.stores.paging import Paging
from s3dlio.stores.writer import UploadState
from s3dlio.types import (
    NO_CONDITIONS,
    NO_OPTIONS,
    Conditions,
    Container,
    ListPage,
    ObjectMetadata,
    Observer,
    PutOptions,
    PutResult,
)

log = logging.getLogger("s3dlio.azure")

#: Bodies larger than this wait for the server's go-ahead, so that a refusal does not cost the upload.
EXPECT_CONTINUE = 1024 * 1024
#: What Put Blob takes.
_MAX_PUT = 5000 << 20
#: A clock that is off by more seconds than this is corrected by the service's own (it refuses beyond 15 minutes).
_SKEW = 300
#: Codes for a token that has ended or was withdrawn; one that lacks a role has another.
_BAD_TOKEN = ("InvalidAuthenticationInfo", "AuthenticationFailed", None)


class AzureStore(SelfServedStore):
    """One container.

    Args:
        account: credentials and endpoint.
        container: its name; empty for the account itself (list_containers).
        root: the URI of the container.
        observers: as of ObjectStore.
    """

    scheme: ClassVar[str] = "az"
    api = AZURE_API
    delete_batch_size: ClassVar[int] = batch_delete.MAX_REQUESTS
    #: Keys asked for in one page of a listing; None: as many as the service likes (5,000).
    page_size: int | None = None

    def __init__(
        self, account: AzureAccount, container: str, root: str | None = None, observers: Sequence[Observer] = ()
    ) -> None:
        super().__init__(root or f"az://{account.name}/{container}", account.settings, observers)
        self.account = account
        self.container = container
        self._service = account.service
        self._base = f"{account.base}/{container}" if container else account.base
        self._checks_md5 = account.settings.azure.verify_md5
        self._checks_crc64 = account.settings.azure.crc64
        self.batches = batch_delete.BlobBatches(self)

    def check_key(self, key: str, operation: str) -> None:
        super().check_key(key, operation)
        check_blob(key, self.uri(key), operation, resolves_dots=self.account.is_azure)

    # -- requests

    def path(self, key: str) -> str:
        """The path of a key (of the container itself, if empty), percent-encoded."""
        return f"{self._base}/{encode_key(key)}" if key else self._base or "/"

    def request(
        self, method: str, key: str = "", query: str = "", fields: Headers = (), body: Source | None = None
    ) -> Request:
        """A request for ``key`` (the container itself, if empty)."""
        return Request(self._service, method, self.path(key), query, fields, body)

    @property
    def endpoint(self) -> str:
        return self._service.pool.name

    def fail(self, response: Response, key: str) -> S3dlioError:
        strange = self.stranger(response) if b"<Code>" not in response.body else None
        error = strange or failures.error_of(response, self.account)
        error.locate(self.uri(key), None)
        return error

    def mend(self, request: Request, response: Response) -> Steps[Response]:
        """Once more, when our clock was off or the token had been withdrawn."""
        if response.status not in (401, 403):
            return response
        renderer, tokens = self.account.renderer, self.account.tokens
        if tokens is not None and response.header(b"x-ms-error-code") in _BAD_TOKEN:
            tokens.forget()
            response = yield request
        elif (date := response.header(b"date")) and self.account.key is not None:
            skew = _skew_of(date)
            if skew is not None and abs(skew - renderer.skew) > _SKEW:
                log.warning("the clock is off by %d s; using that of the service", skew)
                renderer.skew = skew
                response = yield request
        return response

    # -- reading

    def read_request(self, key: str, fields: Headers, conditions: Conditions) -> Request:
        request = Request(self._service, "GET", f"{self._base}/{encode_key(key)}", "", fields)
        if conditions is not NO_CONDITIONS:
            request.headers = (*fields, *headers.condition_fields(conditions))
            request.query = _version(conditions.version_id)
        return request

    def pin(self, response: Response) -> Conditions | None:
        etag = response.header(b"etag")
        return None if etag is None else Conditions(if_match=etag)

    def metadata_of(self, response: Response, size: int) -> ObjectMetadata:
        return headers.metadata_of(response, size)

    def _read(
        self, key: str, sink: Sink, offset: int, length: int | None, conditions: Conditions
    ) -> Steps[ObjectMetadata]:
        steps = super()._read(key, sink, offset, length, conditions)
        if self._checks_crc64 and length is not None and 0 < length <= crc64.MOST:
            return crc64.compared(steps, sink)
        if self._checks_md5 and offset == 0 and length is None:
            return md5_compared(steps, sink, lambda about: about.md5)
        return steps

    def _head(self, key: str, conditions: Conditions) -> Steps[ObjectMetadata]:
        fields = headers.condition_fields(conditions)
        request = self.request("HEAD", key, _version(conditions.version_id), fields)
        response = yield from self.send(request, key)
        size = response.header(b"content-length")
        if size is None:
            return (yield from self.head_by_get(key, conditions))
        return headers.metadata_of(response, int(size))

    # -- writing

    def _write(self, key: str, source: Source, options: PutOptions) -> Steps[PutResult]:
        if source.size > min(self.settings.multipart.threshold, _MAX_PUT):
            return (yield from blocks.write(self, key, source, options))
        mark = attempts.new_mark(options)
        fields = [("x-ms-blob-type", "BlockBlob"), *headers.put_fields(options), *headers.mark_fields(mark)]
        checksums = headers.checksum_fields(source, self.settings.azure, whole=True)
        fields += checksums
        request = self.request("PUT", key, "", fields, source)
        request.expect_continue = source.size > EXPECT_CONTINUE
        try:
            response = yield from self.send(request, key, (201,))
        except S3dlioError as error:
            if mark is None:
                raise
            return (yield from attempts.judged(self, key, options, mark, error))
        result = result_of(response, source.size)
        if not crc64.arrived(response, checksums):
            removal = self.request("DELETE", key, "", (("if-match", result.etag or ""),))
            yield from self.send(removal, key, (202, 404, 412))  # 412: another write came after it
            raise failures.damaged("the blob arrived damaged, and was removed")
        return result

    def _write_on(self, key: str, source: Source, options: PutOptions, resume: UploadState) -> Steps[PutResult]:
        if source.size > min(self.settings.multipart.threshold, _MAX_PUT):
            return (yield from blocks.write(self, key, source, options, resume))
        return (yield from self._write(key, source, options))

    def marked(self, key: str, options: PutOptions) -> Steps[attempts.Marked]:
        """See :class:`s3dlio.stores.cloud.attempts.Marking`."""
        response: Response = yield from self.send(self.request("HEAD", key), key)
        size = int(response.header(b"content-length") or 0)
        return attempts.Marked(response.header(headers.MARK_FIELD.encode()), result_of(response, size))

    def writer(
        self,
        key: str,
        *,
        options: PutOptions = NO_OPTIONS,
        part_size: int | None = None,
        expected_size: int | None = None,
    ) -> ObjectWriter:
        self.check_key(key, "PUT")
        return CloudWriter(self, key, options, blocks.Upload(self, key, options), part_size, expected_size)

    # -- listing

    def _list_page(
        self, prefix: str, recursive: bool, token: str | None, start_after: str | None
    ) -> Steps[tuple[ListPage, str | None]]:
        return (yield from listing.page(self, prefix, recursive, token, start_after))

    # -- deleting, copying

    def delete_request(self, key: str, version_id: str | None = None) -> Request:
        return self.request("DELETE", key, _version(version_id))

    def _delete(self, key: str, version_id: str | None) -> Steps[None]:
        try:
            yield from self.send(self.delete_request(key, version_id), key, (202,))
        except S3dlioError as error:
            if not failures.is_gone_already(error):
                raise

    def conditional_delete(self, key: str, found: ObjectMetadata) -> Request:
        return self.request("DELETE", key, "", (("if-match", found.etag or ""),))

    def _delete_many(self, keys: Sequence[str]) -> Steps[KeyErrors]:
        return (yield from self.batches.run(keys))

    def can_copy_from(self, source: ObjectStore) -> bool:
        return isinstance(source, AzureStore) and source.account.url == self.account.url

    def _copy(self, source: ObjectStore, source_key: str, key: str, options: PutOptions) -> Steps[PutResult]:
        assert isinstance(source, AzureStore)
        return (yield from copying.copy(self, source, source_key, key, options))

    # -- links and tags

    def presign(self, key: str, method: str = "GET", expires: int = 3600, *, version_id: str | None = None) -> str:
        """A URL with which anybody can do ``method`` on the blob; see :func:`s3dlio.stores.azure.sas.presign`."""
        self.check_key(key, "PRESIGN")
        return sas.presign(self.account, self.container, key, self.path(key), method, expires, version_id)

    def get_tags(self, key: str) -> dict[str, str]:
        """The index tags of a blob."""
        self.check_key(key, "GET_TAGS")
        return self.execute(Call(self, "GET_TAGS", key, lambda: self._get_tags(key)))

    def put_tags(self, key: str, tags: Mapping[str, str]) -> None:
        """Replace the index tags of a blob."""
        self.check_key(key, "PUT_TAGS")
        self.execute(Call(self, "PUT_TAGS", key, lambda: self._put_tags(key, tags)))

    def _get_tags(self, key: str) -> Steps[dict[str, str]]:
        response = yield from self.send(self.request("GET", key, "comp=tags"), key)
        return self.parsed(response, xml.parse_tags)

    def _put_tags(self, key: str, tags: Mapping[str, str]) -> Steps[None]:
        body = MemorySource(memoryview(xml.render_tags(tags.items())))
        fields = (("content-type", "application/xml"),)
        yield from self.send(self.request("PUT", key, "comp=tags", fields, body), key, (204,))

    # -- containers

    def _create_container(self) -> Steps[None]:
        try:
            yield from self.send(self.request("PUT", "", "restype=container"), "", (201,))
        except S3dlioError as error:
            if error.code != "ContainerAlreadyExists":
                raise

    def _delete_container(self) -> Steps[None]:
        # Azure deletes containers with all their blobs; the contract is that only an empty one goes.
        marker: str | None = None
        paging = Paging()
        while True:
            page, marker = yield from listing.page(self, "", True, marker, None, limit=1)
            if page.keys:
                raise failures.not_empty(self)
            paging.check(page.keys, marker)
            if marker is None:
                break
        yield from self.send(self.request("DELETE", "", "restype=container"), "", (202,))

    def _list_containers(self) -> Steps[list[Container]]:
        found: list[Container] = []
        marker: str | None = None
        paging = Paging()
        while True:
            query = [("comp", "list"), *([("marker", marker)] if marker else [])]
            request = Request(self._service, "GET", self.account.base or "/", encode_query(query))
            response = yield from self.send(request, "")
            names, marker = self.parsed(response, xml.parse_containers)
            paging.check(names, marker)
            found += [Container(name, f"az://{self.account.name}/{name}") for name in names]
            if marker is None:
                return found


def _skew_of(date: str) -> float | None:
    """How many seconds a server's clock is ahead of ours."""
    clock = clock_of(date)
    return None if clock is None else clock - time.time()


def _version(version_id: str | None) -> str:
    return encode_query([("versionid", version_id)]) if version_id else ""


def result_of(response: Response, size: int) -> PutResult:
    """What the answer to a write tells."""
    return PutResult(response.header(b"etag"), response.header(b"x-ms-version-id"), size)
