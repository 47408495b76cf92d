"""The Azure Blob store: every verb once, as a generator of requests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, NoReturn

from s3dlio.errors import UnsupportedOperationError
from s3dlio.memory.sinks import Sink
from s3dlio.memory.sources import Source
from s3dlio.stores.azure import (
    batch_delete,
    containers,
    copying,
    crc64,
    headers,
    listing,
    multipart,
    presign,
    tags,
    uploads,
)
from s3dlio.stores.azure.account import AzureAccount
from s3dlio.stores.azure.names import MAX_NAME, check_blob
from s3dlio.stores.azure.service import AzureService
from s3dlio.stores.base import ObjectStore
from s3dlio.stores.call import Steps
from s3dlio.stores.checks import check_tags
from s3dlio.stores.cloud.batching import BatchingStore, Listing
from s3dlio.stores.cloud.checksums import md5_compared
from s3dlio.stores.cloud.store import Containers
from s3dlio.stores.cloud.writer import CloudWriter
from s3dlio.stores.writer import PartOptions, StoreWriter, UploadState
from s3dlio.types import Conditions, ObjectMetadata, Observer, PutOptions, PutResult, VersionPage


class AzureStore(BatchingStore):
    """One container.

    Args:
        account: credentials and endpoint.
        container: its name; empty for the account itself (list_containers).
        root: the URI of the container.
        observers: as of ObjectStore.
    """

    service: AzureService
    account: AzureAccount
    listing: ClassVar[Listing] = listing
    containers: ClassVar[Containers] = containers
    scheme: ClassVar[str] = "az"
    delete_batch_size: ClassVar[int] = batch_delete.MAX_REQUESTS
    #: Keys asked for in one page of a listing; None: as many as the service likes (5,000).
    page_size: int | None = None

    def __init__(
        self, account: AzureAccount, container: str, root: str | None = None, observers: Sequence[Observer] = ()
    ) -> None:
        service = AzureService(account, container, root or account.root_of(container))
        super().__init__(account, batch_delete.BlobBatches(service), observers)
        self._checks_md5 = account.settings.azure.verify_md5
        self._checks_crc64 = account.settings.azure.crc64

    def check_key(self, key: str, operation: str) -> None:
        if not key or "\\" in key or "." in key or len(key) > MAX_NAME:
            super().check_key(key, operation)
            check_blob(key, self.uri(key), operation, resolves_dots=self.account.is_azure)

    # -- reading

    def _read(
        self, key: str, sink: Sink, offset: int, length: int | None, conditions: Conditions
    ) -> Steps[ObjectMetadata]:
        steps = super()._read(key, sink, offset, length, conditions)
        if self._checks_crc64 and length is not None and 0 < length <= crc64.MOST:
            return crc64.compared(steps, sink)
        if self._checks_md5 and offset == 0 and length is None:
            return md5_compared(steps, sink, lambda about: about.md5)
        return steps

    # -- writing

    def check_options(self, options: PutOptions) -> None:
        headers.put_fields(options)
        check_tags(self, options.tags)

    def _write_on(self, key: str, source: Source, options: PutOptions, resume: UploadState | None) -> Steps[PutResult]:
        if source.size <= min(self.settings.multipart.threshold, uploads.MAX_PUT):
            return uploads.write(self.service, key, source, options)
        return multipart.write(self.service, key, source, options, resume)

    def _writer(self, key: str, options: PutOptions, parts: PartOptions) -> StoreWriter:
        upload = multipart.BlockUpload(self.service, key, options)
        return CloudWriter(self, key, options, upload, parts)

    # -- versions and unfinished uploads

    def _versions_page(self, prefix: str, recursive: bool, token: str | None) -> Steps[tuple[VersionPage, str | None]]:
        return listing.versions_page(self.service, prefix, recursive, token)

    def _uploads_page(self, prefix: str, token: str | None) -> Steps[NoReturn]:
        raise UnsupportedOperationError(
            "Azure has no uploads to list: blocks that were never committed are invisible",
            hint="the service drops them after a week; no request removes them sooner",
        )

    # -- copying

    def _copy(self, source: ObjectStore, source_key: str, key: str, options: PutOptions) -> Steps[PutResult]:
        assert isinstance(source, AzureStore)
        return copying.copy(self.service, source.service, source_key, key, options)

    # -- links and tags

    def presign(self, key: str, method: str = "GET", expires: int = 3600, *, version_id: str | None = None) -> str:
        """A URL with which anybody can do ``method`` on the blob; see :func:`s3dlio.stores.azure.presign.presign`."""
        self.check_key(key, "PRESIGN")
        service = self.service
        return presign.presign(self.account, service.container, key, service.path(key), method, expires, version_id)

    def _get_tags(self, key: str) -> Steps[dict[str, str]]:
        return tags.get_tags(self.service, key)

    def _put_tags(self, key: str, new: Mapping[str, str]) -> Steps[None]:
        return tags.put_tags(self.service, key, new)
