"""The Cloud Storage store: every verb once, as a generator of requests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from s3dlio.errors import ConfigError
from s3dlio.memory.sources import Source
from s3dlio.stores.base import KeyErrors, ObjectStore
from s3dlio.stores.call import Call, Steps
from s3dlio.stores.cloud.spooled import SpooledWriter
from s3dlio.stores.cloud.store import CloudStore
from s3dlio.stores.cloud.writer import CloudWriter
from s3dlio.stores.gcs import batch_delete, buckets, copying, links, listing, multipart, resumable, uploads
from s3dlio.stores.gcs.account import GcsAccount
from s3dlio.stores.gcs.names import check_object
from s3dlio.stores.gcs.service import GcsService
from s3dlio.stores.writer import ObjectWriter, UploadState
from s3dlio.types import NO_OPTIONS, Container, ListPage, Observer, PutOptions, PutResult


class GcsStore(CloudStore):
    """One bucket.

    Args:
        account: credentials and endpoint.
        bucket: its name; empty for the service itself (list_containers).
        root: the URI of the bucket.
        observers: as of ObjectStore.
    """

    service: GcsService
    scheme: ClassVar[str] = "gs"
    reads_return_metadata: ClassVar[bool] = False
    takes_customer_keys: ClassVar[bool] = True
    delete_batch_size: ClassVar[int] = batch_delete.MAX_REQUESTS
    #: Names asked for in one page of a listing.
    page_size = 1000

    def __init__(
        self, account: GcsAccount, bucket: str, root: str | None = None, observers: Sequence[Observer] = ()
    ) -> None:
        super().__init__(GcsService(account, bucket, root or f"gs://{bucket}"), observers)
        self.account = account
        self.bucket = bucket
        self._batches = batch_delete.JsonBatches(self.service)

    def check_key(self, key: str, operation: str) -> None:
        super().check_key(key, operation)
        check_object(key, self.uri(key), operation)

    # -- writing

    def _write(self, key: str, source: Source, options: PutOptions) -> Steps[PutResult]:
        return self._write_on(key, source, options, None)

    def _write_on(
        self, key: str, source: Source, options: PutOptions, resume: UploadState | None
    ) -> Steps[PutResult]:
        if source.size <= self.settings.multipart.threshold:
            return uploads.write(self.service, key, source, options)
        if self.settings.gcs.composite_upload:
            return multipart.write(self.service, self._batches, key, source, options, resume)
        return resumable.write(self.service, key, source, options, resume)

    def _writer(
        self, key: str, options: PutOptions, part_size: int | None, expected_size: int | None
    ) -> ObjectWriter:
        if not self.settings.gcs.composite_upload:
            return SpooledWriter(self, key, options)
        upload = multipart.CompositeUpload(self.service, self._batches, key, options)
        return CloudWriter(self, key, options, upload, part_size, expected_size)

    # -- listing

    def _list_page(
        self, prefix: str, recursive: bool, token: str | None, start_after: str | None
    ) -> Steps[tuple[ListPage, str | None]]:
        return listing.page(self.service, prefix, recursive, token, start_after, self.page_size)

    # -- deleting, copying

    def _delete_many(self, keys: Sequence[str]) -> Steps[KeyErrors]:
        return self._batches.run(keys)

    def can_copy_from(self, source: ObjectStore) -> bool:
        return isinstance(source, GcsStore) and source.account.url == self.account.url

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
        """A URL with which anybody can do ``method`` on the object; see :func:`s3dlio.stores.gcs.links.presign`."""
        self.check_key(key, "PRESIGN")
        return links.presign(self.account, self.bucket, key, method, expires, version_id, self.uri(key))

    # -- buckets

    def _create_container(self) -> Steps[None]:
        return buckets.create(self.service)

    def _delete_container(self) -> Steps[None]:
        return buckets.delete(self.service)

    def _list_containers(self) -> Steps[list[Container]]:
        return buckets.list_all(self.service)
