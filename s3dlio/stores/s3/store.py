"""The S3 store: every verb once, as a generator of requests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from s3dlio.config.settings import Settings
from s3dlio.errors import S3dlioError, UnsupportedOperationError
from s3dlio.memory import crc32c
from s3dlio.memory.sinks import Sink
from s3dlio.memory.sources import Source
from s3dlio.stores.base import KeyErrors, ObjectStore
from s3dlio.stores.call import Steps
from s3dlio.stores.checks import check_tags, unsupported
from s3dlio.stores.cloud import write_outcome
from s3dlio.stores.cloud.checksums import crc32c_of, md5_compared, read_through
from s3dlio.stores.cloud.percent import encode_key
from s3dlio.stores.cloud.store import CloudStore, Containers
from s3dlio.stores.cloud.writer import CloudWriter
from s3dlio.stores.s3 import batch_delete, buckets, copying, headers, history, listing, multipart, tags
from s3dlio.stores.s3.access_points import is_arn
from s3dlio.stores.s3.account import S3Account
from s3dlio.stores.s3.presign import check_link, link
from s3dlio.stores.s3.service import S3Service
from s3dlio.stores.writer import PartOptions, StoreWriter, UploadState
from s3dlio.types import (
    Conditions,
    ListPage,
    ObjectMetadata,
    Observer,
    PutOptions,
    PutResult,
    UploadEntry,
    VersionPage,
)

#: Bodies larger than this wait for the server's go-ahead, so that a refusal does not cost the upload.
EXPECT_CONTINUE = 8 * 1024 * 1024


class S3Store(CloudStore):
    """One bucket.

    Args:
        account: credentials, region and endpoint.
        bucket: its name, or the ARN of an access point; empty for the service itself (list_containers).
        root: the URI of the bucket.
        settings: timeouts, ranges, parts.
        observers: as of ObjectStore.
    """

    service: S3Service
    containers: ClassVar[Containers] = buckets
    scheme: ClassVar[str] = "s3"
    takes_customer_keys: ClassVar[bool] = True

    def __init__(
        self,
        account: S3Account,
        bucket: str,
        root: str | None = None,
        settings: Settings | None = None,
        observers: Sequence[Observer] = (),
    ) -> None:
        super().__init__(S3Service(account, bucket, root, settings), observers)

    # -- reading

    def _read(
        self, key: str, sink: Sink, offset: int, length: int | None, conditions: Conditions
    ) -> Steps[ObjectMetadata]:
        steps = super()._read(key, sink, offset, length, conditions)
        whole = offset == 0 and length is None
        if whole and self.service.verifies and not self.service.is_directory:  # where there is no CRC32C
            return md5_compared(steps, sink, headers.md5_of)
        return steps

    # -- writing

    def check_options(self, options: PutOptions) -> None:
        headers.put_fields(options)
        check_tags(self, options.tags)

    def _write(self, key: str, source: Source, options: PutOptions) -> Steps[PutResult]:
        write = multipart.write if source.size > self.settings.multipart.threshold else _put
        if write_outcome.is_conditional(options):
            return write_outcome.repeated(self.service, key, lambda: write(self.service, key, source, options))
        return write(self.service, key, source, options)

    def _write_on(self, key: str, source: Source, options: PutOptions, resume: UploadState) -> Steps[PutResult]:
        if source.size <= self.settings.multipart.threshold:
            return self._write(key, source, options)

        def write() -> Steps[PutResult]:
            return multipart.write(self.service, key, source, options, resume)

        return write_outcome.repeated(self.service, key, write) if write_outcome.is_conditional(options) else write()

    def _writer(self, key: str, options: PutOptions, parts: PartOptions) -> StoreWriter:
        upload = multipart.MultipartUpload(self.service, key, options)
        return CloudWriter(self, key, options, upload, parts)

    # -- listing

    def _list_page(
        self, prefix: str, recursive: bool, token: str | None, start_after: str | None
    ) -> Steps[tuple[ListPage, str | None]]:
        return listing.list_page(self.service, prefix, recursive, token, start_after)

    def _versions_page(self, prefix: str, recursive: bool, token: str | None) -> Steps[tuple[VersionPage, str | None]]:
        if self.service.is_directory:
            raise unsupported(self, prefix, "keep versions in directory buckets")
        return history.versions_page(self.service, prefix, recursive, token)

    def _uploads_page(self, prefix: str, token: str | None) -> Steps[tuple[list[UploadEntry], str | None]]:
        return history.uploads_page(self.service, prefix, token)

    def _abort_upload(self, key: str, upload_id: str) -> Steps[None]:
        return history.abort_upload(self.service, key, upload_id)

    # -- deleting, copying

    def _delete_if_match(self, key: str, etag: str) -> Steps[None]:
        try:
            yield from super()._delete_if_match(key, etag)
        except S3dlioError as error:
            if error.status != 501:  # If-Match is not implemented: the look just before it has to do
                raise
            yield from self._delete(key, None)

    def _delete_many(self, keys: Sequence[str]) -> Steps[KeyErrors]:
        return batch_delete.delete_many(self.service, keys)

    def can_copy_from(self, source: ObjectStore) -> bool:
        ours = self.service.account.endpoint_url
        return isinstance(source, S3Store) and source.service.account.endpoint_url == ours

    def _copy(self, source: ObjectStore, source_key: str, key: str, options: PutOptions) -> Steps[PutResult]:
        return (yield from self._copy_sized(source, source_key, key, options, None))

    def _copy_sized(
        self, source: ObjectStore, source_key: str, key: str, options: PutOptions, size: int | None
    ) -> Steps[PutResult]:
        assert isinstance(source, S3Store)  # can_copy_from has said so
        wanted, origin = options.conditions, source.service
        pinned = Conditions(version_id=wanted.version_id, sse_customer_key=wanted.sse_customer_key)
        source._check_read(source_key, "COPY", pinned)

        def copy() -> Steps[PutResult]:
            return copying.copy(self.service, origin, source_key, key, options, size)

        return (yield from write_outcome.repeated(self.service, key, copy))

    # -- buckets

    def create_container(self) -> None:
        self._check_is_bucket("CREATE_CONTAINER")
        super().create_container()

    def delete_container(self) -> None:
        self._check_is_bucket("DELETE_CONTAINER")
        super().delete_container()

    def _check_is_bucket(self, operation: str) -> None:
        if is_arn(self.service.bucket):
            raise UnsupportedOperationError(
                "an access point cannot be made or deleted as a bucket is", uri=self.root, operation=operation,
                hint="see 'aws s3control create-access-point' and 'delete-access-point'",
            )  # fmt: skip

    # -- links and tags

    def presign(self, key: str, method: str = "GET", expires: int = 3600, *, version_id: str | None = None) -> str:
        """A URL with which anybody can do ``method`` on the object for ``expires`` seconds (1 to 604800: a week).

        Raises:
            ConfigError: another method or time, or anonymous access.
        """
        self.check_key(key, "PRESIGN")
        account, route = self.service.account, self.service.route
        check_link(account, self.uri(key), method, expires)
        return link(account, route.target, f"{route.base}/{encode_key(key)}", method, expires, version_id)

    def _get_tags(self, key: str) -> Steps[dict[str, str]]:
        return tags.get_tags(self.service, key)

    def _put_tags(self, key: str, new: Mapping[str, str]) -> Steps[None]:
        return tags.put_tags(self.service, key, new)


def _put(service: S3Service, key: str, source: Source, options: PutOptions) -> Steps[PutResult]:
    """Write an object in one request.

    Raises:
        EndpointError: the answer is none of S3's; every S3 names the object that it has stored.
    """
    mark = write_outcome.new_mark(options)
    fields = headers.put_fields(options) + headers.mark_fields(mark)
    if service.sends_checksums:
        fields.append(("x-amz-checksum-crc32c", crc32c.to_base64((yield from crc32c_of(source)))))
    elif service.signs_bodies:
        yield from read_through(source)
    request = service.request("PUT", key, "", fields, source)
    request.expect_continue = source.size > EXPECT_CONTINUE
    try:
        # 200 by the book; WebDAV servers and proxies in front of S3 also say 201 and 204.
        response = yield from service.send(request, key, (200, 201, 204))
    except S3dlioError as error:
        if mark is None:
            raise
        return (yield from write_outcome.judged(service, key, options, mark, error))
    etag = response.header(b"etag")
    if (etag is None and not service.api.marks_in(response)) or (response.body and service.foreign_answer(response)):
        raise service.api.error(response, service.asked(response))
    return PutResult(etag, response.header(b"x-amz-version-id"), source.size)
