"""gs:// carried entirely by google-cloud-storage: the same contract as :class:`GcsStore`, for comparison and as a way
out. Chosen with ``S3DLIO_GCS_BACKEND=sdk``."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from typing import Any, ClassVar

from s3dlio.config.settings import Settings
from s3dlio.errors import AlreadyExistsError, ObjectNotFoundError, ProtocolError, S3dlioError
from s3dlio.memory.sinks import Sink
from s3dlio.memory.sources import Source
from s3dlio.records import replace
from s3dlio.stores.base import ObjectStore
from s3dlio.stores.cloud import write_outcome
from s3dlio.stores.cloud.reading import beyond_end
from s3dlio.stores.gcs import buckets, failures, headers, presign
from s3dlio.stores.gcs.account import GcsAccount, account_of
from s3dlio.stores.gcs.copying import RewriteProgress
from s3dlio.stores.gcs.names import check_object
from s3dlio.stores.paging import check_listing
from s3dlio.stores.sdk.base import SdkStore
from s3dlio.stores.sdk.bodies import file_over
from s3dlio.stores.sdk.gcs_objects import (
    describe,
    entry_of,
    make_client,
    metadata_of,
    read_arguments,
    retry_of,
    translated,
)
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
from s3dlio.uri import Location


class GcsSdkStore(SdkStore):
    """One bucket. The parameters are those of :class:`GcsStore`.

    The SDK does not know the size of a body before it has it, so a get first holds the whole object in memory.
    """

    scheme: ClassVar[str] = "gs"
    reads_return_metadata: ClassVar[bool] = False
    takes_customer_keys: ClassVar[bool] = True
    delete_batch_size: ClassVar[int] = 100
    page_size = 1000
    account: GcsAccount

    @property
    def endpoint(self) -> str:
        return self.account.url

    def check_key(self, key: str, operation: str) -> None:
        super().check_key(key, operation)
        check_object(key, self.uri(key), operation)

    # -- the SDK's objects

    def _common(self) -> dict[str, Any]:
        """What every call gets: time-outs of connecting and of silence, and its retries."""
        http = self.settings.http
        return {"timeout": (http.connect_timeout, http.read_timeout), "retry": retry_of(self.account)}

    def _make_client(self) -> Any:
        return make_client(self.account)

    def _bucket(self) -> Any:
        return self.client.bucket(self.container, user_project=self.settings.gcs.user_project)

    def blob(self, key: str, conditions: Conditions = NO_CONDITIONS) -> Any:
        """What is there already: of the version and with the key that ``conditions`` name."""
        version = conditions.version_id
        return self._bucket().blob(
            key, generation=int(version) if version else None, encryption_key=conditions.sse_customer_key
        )

    def _new_blob(self, key: str, options: PutOptions) -> Any:
        return self._bucket().blob(
            key, encryption_key=options.sse_customer_key, kms_key_name=options.ssekms_key_id
        )

    def _translated(self, key: str, options: PutOptions = NO_OPTIONS) -> contextlib.AbstractContextManager[None]:
        return translated(self.account, self.uri(key), options)

    # -- reading

    def _read(self, key: str, sink: Sink, offset: int, length: int | None, conditions: Conditions) -> ObjectMetadata:
        if length == 0:
            return self._read_nothing(key, sink, conditions)
        ranged = offset != 0 or length is not None
        blob = self.blob(key, conditions)
        try:
            with self._translated(key):
                data = blob.download_as_bytes(
                    start=offset if ranged else None,
                    end=offset + length - 1 if length is not None else None,
                    raw_download=True,
                    checksum="crc32c" if self.settings.gcs.verify_crc32c and not ranged else None,
                    **read_arguments(conditions),
                    **self._common(),
                )
        except S3dlioError as error:
            if error.status != 416 or not ranged:
                raise
            data = b""
        bare = replace(conditions, if_match=None, if_none_match=None, generation=None)
        if ranged and not data:
            return beyond_end(sink, offset, self._head(key, bare))
        self.receiving(len(data))
        sink.take(data if length is None else data[:length])  # where ranges are ignored, all of the object comes
        return self._head(key, bare) if ranged else metadata_of(blob, len(data))

    def _head(self, key: str, conditions: Conditions) -> ObjectMetadata:
        blob = self.blob(key, conditions)
        with self._translated(key):
            blob.reload(**read_arguments(conditions), **self._common())
        return metadata_of(blob, blob.size)

    # -- writing

    def check_options(self, options: PutOptions) -> None:
        headers.properties(options)

    def _write(self, key: str, source: Source, options: PutOptions) -> PutResult:
        mark = write_outcome.new_mark(options)
        blob = self._new_blob(key, options)
        describe(blob, options, mark)
        generation = self._generation(key, options)
        try:
            with file_over(source, self.sending) as file, self._translated(key, options):
                blob.upload_from_file(
                    file,
                    size=source.size,
                    content_type=options.content_type or "application/octet-stream",
                    checksum="crc32c",
                    if_generation_match=generation,
                    **self._common(),
                )
        except S3dlioError as error:
            if mark is None:
                raise
            return write_outcome.judged_of_sdk(error, options, mark, lambda: self._marked(key))
        return PutResult(blob.etag, str(blob.generation), source.size)

    def _marked(self, key: str) -> write_outcome.Marked:
        blob = self.blob(key)
        with self._translated(key):
            blob.reload(**self._common())
        result = PutResult(blob.etag, str(blob.generation), int(blob.size or 0))
        return write_outcome.Marked((blob.metadata or {}).get(write_outcome.MARK), result)

    def _generation(self, key: str, options: PutOptions) -> int | None:
        """The generation that a write's conditions allow to replace; 0: none at all."""
        conditions = options.conditions
        known = headers.generation_of(conditions)
        if known is not None or not write_outcome.is_conditional(options):
            return None if known is None else int(known)
        try:
            found = self._head(key, Conditions())
        except ObjectNotFoundError:
            found = ObjectMetadata(0, version_id="0")
        headers.check_etag_conditions(conditions, found.etag)
        return int(found.version_id or 0)

    # -- listing

    def _list_page(
        self, prefix: str, recursive: bool, token: str | None, start_after: str | None
    ) -> tuple[ListPage, str | None]:
        found = self.client.list_blobs(
            self._bucket(),
            prefix=prefix or None,
            delimiter=None if recursive else "/",
            start_offset=start_after or None,
            page_token=token,
            page_size=self.page_size,
            fields=headers.LIST_FIELDS,
            **self._common(),
        )
        with self._translated(""):
            page = next(found.pages, ())
            blobs = [blob for blob in page if blob.name != start_after]
        keys = [blob.name for blob in blobs]
        listed = ListPage(keys, sorted(found.prefixes), lambda: [entry_of(blob) for blob in blobs])
        check_listing(listed, prefix)
        return listed, found.next_page_token

    # -- deleting, copying

    def _delete(self, key: str, version_id: str | None) -> None:
        try:
            with self._translated(key):
                self.blob(key, Conditions(version_id=version_id)).delete(**self._common())
        except S3dlioError as error:
            if not failures.is_gone_already(error):
                raise

    # The SDK's batch raises the first failure only: many are deleted one by one.

    def can_copy_from(self, source: ObjectStore) -> bool:
        return isinstance(source, GcsSdkStore) and source.account.url == self.account.url

    def _copy(self, source: ObjectStore, source_key: str, key: str, options: PutOptions) -> PutResult:
        assert isinstance(source, GcsSdkStore)
        blob = self._new_blob(key, options)
        original = source.blob(source_key, options.conditions)
        with self._translated(key, options):
            if headers.properties(options):  # a resource replaces all that the source has
                original.reload(**self._common())
                carried = metadata_of(original, 0)
                for name, value in headers.carried(carried).items():
                    blob._patch_property(name, value)
                describe(blob, options)
            condition = self._generation(key, options)
            token: str | None = None
            progress = RewriteProgress(self.settings.retry)
            while True:
                token, copied, size = blob.rewrite(
                    original, token=token, if_generation_match=condition, **self._common()
                )
                if token is None:
                    if not blob.generation:
                        raise ProtocolError("the answer to a rewrite is that it is done, without the object")
                    return PutResult(blob.etag, str(blob.generation), int(blob.size or 0))
                time.sleep(progress.note(copied, size))

    def presign(self, key: str, method: str = "GET", expires: int = 3600, *, version_id: str | None = None) -> str:
        """A URL with which anybody can do ``method`` on the object; see :func:`s3dlio.stores.gcs.presign.presign`."""
        self.check_key(key, "PRESIGN")
        return presign.presign(self.account, self.container, key, method, expires, version_id, self.uri(key))

    # -- buckets

    def _create_container(self) -> None:
        project = self.account.project()
        try:
            with self._translated(""):
                self.client.create_bucket(self.container, project=project, **self._common())
        except AlreadyExistsError as error:
            with self._translated(""):
                visible = self._bucket().exists(**self._common())
            if not visible:
                error.hint = buckets.TAKEN
                raise

    def _delete_container(self) -> None:
        try:
            with self._translated(""):
                self._bucket().delete(**self._common())
        except AlreadyExistsError as error:
            raise failures.not_empty(self.root) from error

    def _list_containers(self) -> list[Container]:
        project = self.account.project()
        with self._translated(""):
            found = list(self.client.list_buckets(project=project, **self._common()))
        return [
            Container(item.name, f"gs://{item.name}", item.time_created.strftime("%Y-%m-%dT%H:%M:%S.%fZ"))
            for item in found
        ]


def open_store(location: Location, settings: Settings, observers: Sequence[Observer] = ()) -> GcsSdkStore:
    """The store of the bucket that ``location`` names. It does no I/O.

    Raises:
        InvalidURIError, ConfigError: as of :func:`account_of`.
    """
    return GcsSdkStore(account_of(location, settings), location.container, location.root, observers)
