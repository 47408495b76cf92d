"""Directory buckets of S3 Express One Zone: the verbs that differ from those of other buckets, or are not there.

Source: Amazon S3 User Guide, "Differences for directory buckets"; Amazon S3 API Reference, CreateBucket,
ListDirectoryBuckets, ListObjectsV2, RenameObject. Requests are signed with the keys of a session (``sessions``), but
for copies and what concerns the bucket itself.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import ClassVar

from s3dlio.errors import UnsupportedOperationError
from s3dlio.memory.sources import Source
from s3dlio.stores.base import ObjectStore
from s3dlio.stores.call import Call, Steps
from s3dlio.stores.cloud.percent import encode_key
from s3dlio.stores.s3.directory_listing import sorted_pages
from s3dlio.stores.s3.store import S3Store
from s3dlio.stores.writer import PartOptions, StoreWriter, UploadState
from s3dlio.types import NO_OPTIONS, Conditions, ListPage, PutOptions, PutResult


class ExpressStore(S3Store):
    """One directory bucket. The parameters are those of :class:`S3Store`."""

    takes_customer_keys: ClassVar[bool] = False

    # -- what is not there

    def _refuse(self, key: str, operation: str, what: str) -> UnsupportedOperationError:
        return UnsupportedOperationError(
            f"directory buckets cannot {what}", uri=self.uri(key), operation=operation,
            hint="use a general purpose bucket",
        )  # fmt: skip

    def _check_version(self, key: str, operation: str, version_id: str | None) -> None:
        if version_id not in (None, "null"):
            raise self._refuse(key, operation, "keep versions")

    def _check_options(self, key: str, operation: str, options: PutOptions) -> None:
        if options.tags:
            raise self._refuse(key, operation, "keep tags of objects")
        if options.sse_customer_key is not None:
            raise self._refuse(key, operation, "encrypt with a customer's key")

    def _check_read(self, key: str, operation: str, conditions: Conditions) -> None:
        self.check_key(key, operation)
        if conditions.sse_customer_key is not None:
            raise self._refuse(key, operation, "decrypt with a customer's key")
        self._check_version(key, operation, conditions.version_id)

    def presign(self, key: str, method: str = "GET", expires: int = 3600, *, version_id: str | None = None) -> str:
        """As of :class:`S3Store`: signed with the account's own keys, since a session ends after five minutes."""
        self._check_version(key, "PRESIGN", version_id)
        return super().presign(key, method, expires)

    def get_tags(self, key: str) -> dict[str, str]:
        raise self._refuse(key, "GET_TAGS", "keep tags of objects")

    def put_tags(self, key: str, tags: Mapping[str, str]) -> None:
        raise self._refuse(key, "PUT_TAGS", "keep tags of objects")

    # -- writing, deleting, copying

    def write_call(
        self, key: str, source: Source, *, options: PutOptions = NO_OPTIONS, resume: UploadState | None = None
    ) -> Call[PutResult]:
        self._check_options(key, "PUT", options)
        return super().write_call(key, source, options=options, resume=resume)

    def _writer(self, key: str, options: PutOptions, parts: PartOptions) -> StoreWriter:
        self._check_options(key, "PUT", options)
        return super()._writer(key, options, parts)

    def delete_call(self, key: str, *, version_id: str | None = None, if_match: str | None = None) -> Call[None]:
        self._check_version(key, "DELETE", version_id)
        return super().delete_call(key, if_match=if_match)

    def copy_call(
        self, source: ObjectStore, source_key: str, key: str, *, options: PutOptions = NO_OPTIONS,
        size: int | None = None,
    ) -> Call[PutResult]:  # fmt: skip
        self._check_options(key, "COPY", options)
        return super().copy_call(source, source_key, key, options=options, size=size)

    def can_rename(self, source_key: str, key: str) -> bool:
        return not source_key.endswith("/") and not key.endswith("/")  # which the service refuses

    def rename_call(self, source_key: str, key: str) -> Call[None]:
        self.check_key(key, "RENAME")
        self.check_key(source_key, "RENAME")
        return Call(self, "RENAME", key, lambda: self._rename(source_key, key))

    def _rename(self, source_key: str, key: str) -> Steps[None]:
        # The token makes a second try of the same rename succeed where the first was done.
        fields = (("x-amz-client-token", os.urandom(16).hex()), ("x-amz-rename-source", encode_key(source_key)))
        yield from self.service.send(self.service.request("PUT", key, "renameObject=", fields), key)

    # -- listing

    def _pages(self, prefix: str, recursive: bool, start_after: str | None) -> Iterator[ListPage]:
        walk = super()._pages
        return sorted_pages(lambda directory, deep: walk(directory, deep, None), prefix, recursive, start_after)
