"""az:// carried entirely by azure-storage-blob: the same contract as :class:`AzureStore`, for comparison and as a way
out. Chosen with ``S3DLIO_AZURE_BACKEND=sdk``."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from s3dlio.config.settings import Settings
from s3dlio.errors import ConfigError, ProtocolError, S3dlioError, ServiceError
from s3dlio.memory.sinks import Sink
from s3dlio.memory.sources import Source
from s3dlio.stores.azure import failures, presign
from s3dlio.stores.azure.account import AzureAccount, account_of
from s3dlio.stores.azure.headers import MARK_NAME
from s3dlio.stores.azure.names import check_blob
from s3dlio.stores.base import KeyErrors, ObjectStore
from s3dlio.stores.checks import check_tags
from s3dlio.stores.cloud import write_outcome
from s3dlio.stores.cloud.checksums import verify_md5
from s3dlio.stores.cloud.percent import encode_key
from s3dlio.stores.cloud.reading import beyond_end
from s3dlio.stores.paging import check_listing
from s3dlio.stores.sdk.azure_objects import (
    condition_arguments,
    entry_of,
    error_of,
    is_directory,
    keep_others,
    make_client,
    metadata_of,
    put_arguments,
    result_of,
    total_of,
    translated,
)
from s3dlio.stores.sdk.base import SdkStore
from s3dlio.stores.sdk.bodies import MemoryFile, file_over
from s3dlio.types import NO_OPTIONS, Conditions, Container, ListPage, ObjectMetadata, Observer, PutOptions, PutResult
from s3dlio.uri import Location

_COPY_PAUSE = 0.2


class AzureSdkStore(SdkStore):
    """One container. The parameters are those of :class:`AzureStore`."""

    scheme: ClassVar[str] = "az"
    delete_batch_size: ClassVar[int] = 256
    page_size: int | None = None
    account: AzureAccount

    @property
    def endpoint(self) -> str:
        return self.account.url

    def check_key(self, key: str, operation: str) -> None:
        super().check_key(key, operation)
        check_blob(key, self.uri(key), operation, resolves_dots=True)  # urllib3 does, before the request leaves

    # -- the SDK's clients

    def _make_client(self) -> Any:
        return make_client(self.account)

    def blob(self, key: str) -> Any:
        """The client of one blob."""
        return self.client.get_blob_client(self.container, key)

    def _containers(self) -> Any:
        return self.client.get_container_client(self.container)

    def _translated(self, key: str, options: PutOptions = NO_OPTIONS) -> contextlib.AbstractContextManager[None]:
        return translated(self.account, self.uri(key), options)

    # -- reading

    def _read(self, key: str, sink: Sink, offset: int, length: int | None, conditions: Conditions) -> ObjectMetadata:
        if length == 0:
            return self._read_nothing(key, sink, conditions)
        ranges = self.settings.range
        with self._translated(key):
            try:
                stream = self.blob(key).download_blob(
                    offset=offset or (0 if length is not None else None),
                    length=length,
                    max_concurrency=ranges.concurrency if ranges.enabled else 1,
                    **condition_arguments(conditions),
                )
            except Exception as error:
                if getattr(error, "status_code", None) != 416 or not (offset or length):
                    raise
                return beyond_end(sink, offset, self._head(key, conditions))
            size: int = stream.size
            sink.begin(size)
            place = sink.at(0, size)
            if isinstance(place, memoryview):
                stream.readinto(MemoryFile(place, self.receiving))
            else:
                for chunk in stream.chunks():
                    place(memoryview(chunk))
                    self.receiving(len(chunk))
            sink.end(size)
        about = metadata_of(stream.properties, total_of(stream.properties, size))
        if self.settings.azure.verify_md5 and offset == 0 and length is None:
            verify_md5(sink, about.md5)
        return about

    def _head(self, key: str, conditions: Conditions) -> ObjectMetadata:
        with self._translated(key):
            found = self.blob(key).get_blob_properties(**condition_arguments(conditions))
        if found.size is None:
            raise ProtocolError("the answer has no size of the object", status=200)
        return metadata_of(found, found.size)

    # -- writing

    def check_options(self, options: PutOptions) -> None:
        put_arguments(options)
        check_tags(self, options.tags)

    def _write(self, key: str, source: Source, options: PutOptions) -> PutResult:
        mark = write_outcome.new_mark(options)
        arguments = put_arguments(options)
        if mark is not None:
            arguments["metadata"] = {**arguments.get("metadata", {}), MARK_NAME: mark}
        try:
            with file_over(source, self.sending) as file, self._translated(key, options):
                answer = self.blob(key).upload_blob(
                    file,
                    length=source.size,
                    max_concurrency=self.settings.multipart.max_in_flight,
                    validate_content=self.settings.azure.content_md5,
                    **{"overwrite": True, **arguments},
                )
        except S3dlioError as error:
            if mark is None:
                raise
            return write_outcome.judged_of_sdk(error, options, mark, lambda: self._marked(key))
        return result_of(answer, source.size)

    def _marked(self, key: str) -> write_outcome.Marked:
        with self._translated(key):
            found = self.blob(key).get_blob_properties()
        result = PutResult(found.etag, found.version_id, found.size)
        return write_outcome.Marked((found.metadata or {}).get(MARK_NAME), result)

    # -- listing

    def _list_page(
        self, prefix: str, recursive: bool, token: str | None, start_after: str | None
    ) -> tuple[ListPage, str | None]:
        from azure.storage.blob import BlobPrefix

        found = self._names(prefix, recursive)
        with self._translated(""):
            pages = found.by_page(token)
            items = list(next(pages, ()))
        blobs = [item for item in items if not isinstance(item, BlobPrefix) and not is_directory(item)]
        folders = [item.name for item in items if isinstance(item, BlobPrefix)]
        if start_after:
            blobs = [blob for blob in blobs if blob.name > start_after]
            folders = [name for name in folders if name > start_after or self._has_later(name, start_after)]
        keys = [blob.name for blob in blobs]
        page = ListPage(keys, folders, lambda: [entry_of(blob) for blob in blobs])
        check_listing(page, prefix)
        return page, pages.continuation_token or None

    def _names(self, prefix: str, recursive: bool) -> Any:
        container = self._containers()
        walk = container.list_blobs if recursive else container.walk_blobs
        return walk(name_starts_with=prefix or None, results_per_page=self.page_size, include=["metadata"])

    def _has_later(self, folder: str, start_after: str) -> bool:
        """Whether anything in a folder comes after a key of that folder."""
        if not start_after.startswith(folder):
            return False
        with self._translated(folder):
            return any(blob.name > start_after for blob in self._names(folder, True))

    # -- deleting, copying

    def _delete(self, key: str, version_id: str | None) -> None:
        try:
            with self._translated(key):
                self.blob(key).delete_blob(**condition_arguments(Conditions(version_id=version_id)))
        except S3dlioError as error:
            if not failures.is_gone_already(error):
                raise

    def _delete_many(self, keys: Sequence[str]) -> KeyErrors:
        with self._translated(""):
            answers = list(self._containers().delete_blobs(*keys, raise_on_any_failure=False)) if keys else []
        if len(answers) != len(keys):
            raise ProtocolError(f"the answer to a batch has {len(answers)} of {len(keys)} keys")
        pairs = zip(keys, answers, strict=True)
        errors = [(key, error_of(self.account, self.uri(key), answer)) for key, answer in pairs]
        return [(key, error) for key, error in errors if error is not None and not failures.is_gone_already(error)]

    def can_copy_from(self, source: ObjectStore) -> bool:
        return isinstance(source, AzureSdkStore) and source.account.url == self.account.url

    def _copy(self, source: ObjectStore, source_key: str, key: str, options: PutOptions) -> PutResult:
        assert isinstance(source, AzureSdkStore)
        arguments = put_arguments(options)
        settings = arguments.pop("content_settings", None)
        url = source.blob(source_key).url
        if self.account.sas is not None and "sig=" not in url:
            url = f"{url}{'&' if '?' in url else '?'}{self.account.sas}"
        target = self.blob(key)
        with self._translated(key, options):
            answer = target.start_copy_from_url(url, **arguments)
            while answer["copy_status"] == "pending":
                time.sleep(_COPY_PAUSE)
                found = target.get_blob_properties()
                answer = {**answer, "copy_status": found.copy.status, "etag": found.etag}
            if answer["copy_status"] != "success":
                raise ServiceError(f"the copy {answer['copy_status']}", uri=self.uri(key), operation="COPY")
            if settings is not None:
                found = target.get_blob_properties()
                keep_others(settings, found.content_settings)  # which would be cleared
                same = condition_arguments(Conditions(if_match=found.etag))
                answer = target.set_http_headers(settings, **same)
        return result_of(answer, 0)

    # -- links and tags

    def presign(self, key: str, method: str = "GET", expires: int = 3600, *, version_id: str | None = None) -> str:
        """As of the native store: signing is no transport."""
        self.check_key(key, "PRESIGN")
        path = f"{self.account.base}/{self.container}/{encode_key(key)}"
        return presign.presign(self.account, self.container, key, path, method, expires, version_id)

    def _get_tags(self, key: str) -> dict[str, str]:
        with self._translated(key):
            return dict(self.blob(key).get_blob_tags())

    def _put_tags(self, key: str, tags: Mapping[str, str]) -> None:
        with self._translated(key):
            self.blob(key).set_blob_tags(dict(tags))

    # -- containers

    def _create_container(self) -> None:
        try:
            with self._translated(""):
                self._containers().create_container()
        except S3dlioError as error:
            if error.code != "ContainerAlreadyExists":
                raise

    def _delete_container(self) -> None:
        with self._translated(""):
            for _ in self._names("", True):
                raise failures.not_empty(self.root)
            self._containers().delete_container()

    def _list_containers(self) -> list[Container]:
        with self._translated(""):
            names = [item.name for item in self.client.list_containers()]
        return [Container(name, f"az://{self.account.name}/{name}") for name in names]


def open_store(location: Location, settings: Settings, observers: Sequence[Observer] = ()) -> AzureSdkStore:
    """The store of the container that ``location`` names. It does no I/O.

    Raises:
        ConfigError: ``azure.crc64``, which the SDK does not compute.
        InvalidURIError, ConfigError, PermissionDeniedError: as of :func:`account_of`.
    """
    account = account_of(location, settings)
    if settings.azure.crc64:
        raise ConfigError("the SDK computes no CRC64", hint="use azure.backend=native, or azure.content_md5")
    return AzureSdkStore(account, location.container, location.root, observers)
