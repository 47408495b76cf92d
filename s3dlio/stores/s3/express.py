"""Directory buckets of S3 Express One Zone: the verbs that differ from those of other buckets, or are not there.

Source: Amazon S3 User Guide, "Differences for directory buckets"; Amazon S3 API Reference, CreateBucket,
ListDirectoryBuckets, ListObjectsV2, RenameObject. Requests are signed with the keys of a session (``sessions``), but
for copies and what concerns the bucket itself.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from typing import ClassVar

from s3dlio.errors import S3dlioError, UnsupportedOperationError
from s3dlio.memory import crc32c
from s3dlio.memory.sources import MemorySource, Source
from s3dlio.net.message import Request
from s3dlio.stores.base import Call, ObjectStore, ObjectWriter, Steps
from s3dlio.stores.cloud.percent import encode_key, encode_query
from s3dlio.stores.s3 import xml
from s3dlio.stores.s3.hosts import control_place, kind_of_zone, zone_of
from s3dlio.stores.s3.store import S3Store, without_fraction
from s3dlio.stores.s3.unsorted import sorted_pages
from s3dlio.stores.writer import UploadState
from s3dlio.types import NO_OPTIONS, Conditions, Container, ListPage, PutOptions, PutResult
from s3dlio.uri import bucket_beside


class ExpressStore(S3Store):
    """One directory bucket. The parameters are those of :class:`S3Store`."""

    takes_customer_keys: ClassVar[bool] = False
    keeps_tags: ClassVar[bool] = False
    etags_are_md5: ClassVar[bool] = False
    lists_directories: ClassVar[bool] = True

    def locate(self, region: str | None) -> None:
        account = self.account
        self._place = place = account.place(self.bucket)
        self.service, self.base = account.service_at(place), place.path
        self.keyed = account.service_at(place._replace(signing="keys"))
        control = control_place(self.bucket, self.region, account.variant, account.endpoint_url)
        self.plain, self._bucket_path = account.service_at(control), control.path

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

    def writer(
        self,
        key: str,
        *,
        options: PutOptions = NO_OPTIONS,
        part_size: int | None = None,
        expected_size: int | None = None,
    ) -> ObjectWriter:
        self._check_options(key, "PUT", options)
        return super().writer(key, options=options, part_size=part_size, expected_size=expected_size)

    def delete_call(self, key: str, *, version_id: str | None = None, if_match: str | None = None) -> Call[None]:
        self._check_version(key, "DELETE", version_id)
        return super().delete_call(key, if_match=if_match)

    def copy_call(
        self, source: ObjectStore, source_key: str, key: str, *, options: PutOptions = NO_OPTIONS,
        size: int | None = None,
    ) -> Call[PutResult]:  # fmt: skip
        self._check_options(key, "COPY", options)
        return super().copy_call(source, source_key, key, options=options, size=size)

    def body_check(self, body: bytes) -> tuple[str, str]:
        return "x-amz-checksum-crc32c", crc32c.to_base64(crc32c.crc32c(body))

    def can_rename(self, source_key: str, key: str) -> bool:
        return not source_key.endswith("/") and not key.endswith("/")  # which the service refuses

    def rename_call(self, source_key: str, key: str) -> Call[None]:
        self.check_key(key, "RENAME")
        self.check_key(source_key, "RENAME")
        return Call(self, "RENAME", key, lambda: self._rename(source_key, key))

    def _rename(self, source_key: str, key: str) -> Steps[None]:
        # The token makes a second try of the same rename succeed where the first was done.
        fields = (("x-amz-client-token", uuid.uuid4().hex), ("x-amz-rename-source", encode_key(source_key)))
        yield from self.send(self.request("PUT", key, "renameObject=", fields), key)

    # -- listing

    def _pages(self, prefix: str, recursive: bool, start_after: str | None) -> Iterator[ListPage]:
        walk = super()._pages
        return sorted_pages(lambda directory, deep: walk(directory, deep, None), prefix, recursive, start_after)

    # -- buckets

    def _bucket_request(self, method: str, body: Source | None) -> Request:
        return Request(self.plain, method, self._bucket_path or "/", "", (), body)

    def _create_container(self) -> Steps[None]:
        body = create_body(zone_of(self.bucket) or "")
        request = self._bucket_request("PUT", MemorySource(memoryview(body)))
        try:
            yield from self.send(request, "", (200, 204))
        except S3dlioError as error:
            if error.code != "BucketAlreadyOwnedByYou":
                raise

    def _list_containers(self) -> Steps[list[Container]]:
        control = control_place("", self.region, self.account.variant, self.account.endpoint_url)
        service = self.account.service_at(control)
        found: list[Container] = []
        token: str | None = None
        while True:
            query = encode_query([("continuation-token", token)] if token else [])
            response = yield from self.send(Request(service, "GET", control.path or "/", query), "")
            page, token = self.parsed(response, _directory_buckets)
            for name, created in page:
                found.append(Container(name, bucket_beside(self.root, self.bucket, name), without_fraction(created)))
            if not token:
                return found


def _directory_buckets(body: bytes | bytearray) -> tuple[list[tuple[str, str | None]], str | None]:
    return xml.parse_buckets(body, "ListAllMyDirectoryBucketsResult")


def create_body(zone: str) -> bytes:
    """What CreateBucket says of a directory bucket."""
    location, redundancy = kind_of_zone(zone)
    return (
        '<CreateBucketConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        f"<Location><Type>{location}</Type><Name>{zone}</Name></Location>"
        f"<Bucket><DataRedundancy>{redundancy}</DataRedundancy><Type>Directory</Type></Bucket>"
        "</CreateBucketConfiguration>"
    ).encode()
