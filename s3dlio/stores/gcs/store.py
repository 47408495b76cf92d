"""The Cloud Storage store: every verb once, as a generator of requests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from s3dlio.errors import ConfigError
from s3dlio.memory.sources import Source
from s3dlio.stores.base import ObjectStore
from s3dlio.stores.call import Call, Steps
from s3dlio.stores.cloud.batching import BatchingStore, Listing
from s3dlio.stores.cloud.spooled import SpooledWriter
from s3dlio.stores.cloud.store import Containers
from s3dlio.stores.cloud.writer import CloudWriter
from s3dlio.stores.gcs import (
    batch_delete,
    buckets,
    copying,
    headers,
    left_parts,
    listing,
    multipart,
    presign,
    resumable,
    uploads,
)
from s3dlio.stores.gcs.account import GcsAccount
from s3dlio.stores.gcs.names import SHORT_NAME, check_object
from s3dlio.stores.gcs.service import GcsService
from s3dlio.stores.writer import PartOptions, StoreWriter, UploadState
from s3dlio.types import NO_OPTIONS, Observer, PutOptions, PutResult, UploadEntry, VersionPage


class GcsStore(BatchingStore):
    """One bucket.

    Args:
        account: credentials and endpoint.
        bucket: its name; empty for the service itself (list_containers).
        root: the URI of the bucket.
        observers: as of ObjectStore.
    """

    service: GcsService
    account: GcsAccount
    _batches: batch_delete.JsonBatches
    listing: ClassVar[Listing] = listing
    containers: ClassVar[Containers] = buckets
    scheme: ClassVar[str] = "gs"
    reads_return_metadata: ClassVar[bool] = False
    takes_customer_keys: ClassVar[bool] = True
    delete_batch_size: ClassVar[int] = batch_delete.MAX_REQUESTS
    #: Names asked for in one page of a listing.
    page_size: int | None = 1000

    def __init__(
        self, account: GcsAccount, bucket: str, root: str | None = None, observers: Sequence[Observer] = ()
    ) -> None:
        service = GcsService(account, bucket, root or account.root_of(bucket))
        super().__init__(account, batch_delete.JsonBatches(service), observers)

    def check_key(self, key: str, operation: str) -> None:
        if not key or key[0] == "." or len(key) > SHORT_NAME:
            super().check_key(key, operation)
            check_object(key, self.uri(key), operation)

    # -- writing

    def check_options(self, options: PutOptions) -> None:
        headers.properties(options)

    def _write_on(
        self, key: str, source: Source, options: PutOptions, resume: UploadState | None
    ) -> Steps[PutResult]:
        if source.size <= self.settings.multipart.threshold:
            return uploads.write(self.service, key, source, options)
        if self.settings.gcs.composite_upload:
            return multipart.write(self.service, self._batches, key, source, options, resume)
        return resumable.write(self.service, key, source, options, resume)

    def _writer(self, key: str, options: PutOptions, parts: PartOptions) -> StoreWriter:
        if not self.settings.gcs.composite_upload:
            return SpooledWriter(self, key, options)
        upload = multipart.CompositeUpload(self.service, self._batches, key, options)
        return CloudWriter(self, key, options, upload, parts)

    # -- versions and unfinished uploads

    def _versions_page(self, prefix: str, recursive: bool, token: str | None) -> Steps[tuple[VersionPage, str | None]]:
        return listing.versions_page(self.service, prefix, recursive, token, self.page_size or 1000)

    def _uploads_page(self, prefix: str, token: str | None) -> Steps[tuple[list[UploadEntry], str | None]]:
        return left_parts.page(self.service, prefix, token, self.page_size or 1000)

    def _abort_upload(self, key: str, upload_id: str) -> Steps[None]:
        return left_parts.remove(self.service, self._batches, upload_id)

    # -- copying

    def _copy(self, source: ObjectStore, source_key: str, key: str, options: PutOptions) -> Steps[PutResult]:
        assert isinstance(source, GcsStore)
        return copying.rewrite(self.service, source.service, source_key, key, options)

    def compose(self, keys: Sequence[str], key: str, *, options: PutOptions = NO_OPTIONS) -> PutResult:
        """Make one object of at most 32 others of this bucket, in their order, inside the service.

        Raises:
            ConfigError: no keys, or more than 32.
            ObjectNotFoundError, PreconditionFailedError, ...
        """
        if not 1 <= len(keys) <= copying.MAX_COMPOSED:
            raise ConfigError(
                f"compose joins 1 to {copying.MAX_COMPOSED} objects, not {len(keys)}", uri=self.uri(key)
            )
        for name in (key, *keys):
            self.check_key(name, "COMPOSE")
        return self.execute(
            Call(self, "COMPOSE", key, lambda: copying.compose(self.service, keys, key, options))
        )

    def presign(self, key: str, method: str = "GET", expires: int = 3600, *, version_id: str | None = None) -> str:
        """A URL with which anybody can do ``method`` on the object; see :func:`s3dlio.stores.gcs.presign.presign`."""
        self.check_key(key, "PRESIGN")
        return presign.presign(self.account, self.service.bucket, key, method, expires, version_id, self.uri(key))
