"""s3:// carried entirely by boto3: the same contract as :class:`S3Store`, for comparison and as a way out. Chosen with
``S3DLIO_BACKEND=boto3``."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

from s3dlio.config.settings import Settings
from s3dlio.errors import EndpointError, NetworkError, ProtocolError, S3dlioError, TransferTimeoutError
from s3dlio.memory.sinks import Sink
from s3dlio.memory.sources import Source
from s3dlio.net import blocking
from s3dlio.stores.base import KeyErrors, ObjectStore
from s3dlio.stores.call import Steps
from s3dlio.stores.checks import check_tags
from s3dlio.stores.cloud import write_outcome
from s3dlio.stores.cloud.answer_check import S3_API
from s3dlio.stores.cloud.failures import create_only_error
from s3dlio.stores.cloud.percent import encode_key
from s3dlio.stores.cloud.reading import beyond_end
from s3dlio.stores.s3.account import S3Account, account_of
from s3dlio.stores.s3.batch_delete import failures_of
from s3dlio.stores.s3.buckets import REFUSED_REGION, region_hint
from s3dlio.stores.s3.copying import MAX_COPY
from s3dlio.stores.s3.directory_listing import sorted_pages
from s3dlio.stores.s3.failures import failed_delete
from s3dlio.stores.s3.hosts import DEFAULT_REGION, kind_of_zone, zone_of
from s3dlio.stores.s3.listing import MARKER
from s3dlio.stores.s3.presign import check_link, link
from s3dlio.stores.s3.xml import parse_delete
from s3dlio.stores.sdk.answers import check_answer, response_of
from s3dlio.stores.sdk.base import SdkStore
from s3dlio.stores.sdk.bodies import SourceFile, file_over
from s3dlio.stores.sdk.boto_answers import error_of, metadata_of, page_of, time_of, uploads_of, versions_of
from s3dlio.stores.sdk.boto_arguments import conditions_of, copy_arguments, put_arguments
from s3dlio.stores.sdk.boto_client import DOCUMENT, boto_client
from s3dlio.types import (
    NO_OPTIONS,
    Conditions,
    Container,
    ListPage,
    ObjectMetadata,
    Observer,
    PutOptions,
    PutResult,
    UploadEntry,
    VersionPage,
)
from s3dlio.uri import Location, bucket_beside

log = logging.getLogger("s3dlio.s3")

_PIECE = 1 << 20
#: Reads are one request each.
RANGES = ("range.enabled", "range.threshold", "range.chunk", "range.concurrency", "range.size_cache_seconds",
          "range.size_cache_entries")  # fmt: skip

_warned: set[tuple[str, str]] = set()


#: Bodies of so many bytes are handed to boto3 as a whole.
_AT_ONCE = 8 << 20


class BotoStore(SdkStore):
    """One bucket. The parameters are those of :class:`S3Store`."""

    scheme: ClassVar[str] = "s3"
    takes_customer_keys: ClassVar[bool] = True
    account: S3Account
    #: Settings that this transport cannot honour.
    unheeded: ClassVar[tuple[str, ...]] = (
        "http.pool_idle_seconds", "http.operation_timeout", "http.follow_redirects", "http.redirect_max",
        "http.tls_direct", "retry.base_delay", "retry.max_delay", "retry.retry_after_cap", "s3.h2c", "s3.https_h2",
        *RANGES,
    )  # fmt: skip

    def __init__(
        self, account: S3Account, bucket: str, root: str | None = None, observers: Sequence[Observer] = ()
    ) -> None:
        super().__init__(account, bucket, root, observers)
        self._place = account.endpoint.place(bucket)  # refuses what cannot be reached
        self._warn_of_unheeded()

    @property
    def endpoint(self) -> str:
        return self._place.url

    def _warn_of_unheeded(self) -> None:
        """Once for each setting: who has set it would wait for its effect in vain."""
        backend = self.settings.s3.backend
        for name in self.unheeded:
            origin = self.settings.origin(name)
            if origin != "default" and (backend, name) not in _warned:
                _warned.add((backend, name))
                log.warning("the transport %s has no use for %s, which is set (%s)", backend, name, origin)

    def _make_client(self) -> Any:
        return boto_client(self.account)

    @contextlib.contextmanager
    def _translated(self, key: str, options: PutOptions = NO_OPTIONS) -> Iterator[None]:
        """Turn boto3's exceptions into an S3dlioError."""
        from botocore import exceptions

        try:
            yield
        except exceptions.ClientError as error:
            raise create_only_error(error_of(error.response, self.uri(key)), options) from error
        except (exceptions.ConnectTimeoutError, exceptions.ReadTimeoutError) as error:
            raise TransferTimeoutError(str(error), uri=self.uri(key)) from error
        except exceptions.BotoCoreError as error:
            raise NetworkError(str(error), uri=self.uri(key)) from error

    # -- reading

    def _read(
        self, key: str, sink: Sink, offset: int, length: int | None, conditions: Conditions
    ) -> ObjectMetadata:
        if length == 0:
            return self._read_nothing(key, sink, conditions)
        arguments = conditions_of(conditions)
        if offset or length is not None:
            last = "" if length is None else offset + length - 1
            arguments["Range"] = f"bytes={offset}-{last}"
        try:
            with self._translated(key):
                answer = self.client.get_object(Bucket=self.container, Key=key, **arguments)
        except S3dlioError as error:
            if error.status != 416 or "Range" not in arguments:
                raise
            return beyond_end(sink, offset, self._head(key, conditions))
        about = answer["ResponseMetadata"]
        response = response_of(about["HTTPStatusCode"], about["HTTPHeaders"])
        check_answer(S3_API, self._place.url, "GET", response, arguments.get("Range"))
        self._fill(key, sink, answer, length)
        total = (answer.get("ContentRange") or "").rpartition("/")[2]
        return metadata_of(answer, int(total) if total.isdigit() else answer["ContentLength"])

    def _fill(self, key: str, sink: Sink, answer: Any, length: int | None) -> None:
        size, body = answer["ContentLength"], answer["Body"]
        if length is not None:
            size = min(size, length)  # where ranges are ignored, all of the object comes
        sink.begin(size)
        place = sink.at(0, size)
        with self._translated(key), contextlib.closing(body):
            done = 0
            while done < size:
                piece = body.read(min(_PIECE, size - done))
                if not piece:
                    raise NetworkError(f"the connection broke after {done} of {size} bytes", uri=self.uri(key))
                if isinstance(place, memoryview):
                    place[done : done + len(piece)] = piece
                else:
                    place(memoryview(piece))
                done += len(piece)
                self.receiving(len(piece))
        sink.end(size)

    def _head(self, key: str, conditions: Conditions) -> ObjectMetadata:
        with self._translated(key):
            answer = self.client.head_object(Bucket=self.container, Key=key, **conditions_of(conditions))
        return metadata_of(answer, answer["ContentLength"])

    # -- writing

    def check_options(self, options: PutOptions) -> None:
        put_arguments(options)
        check_tags(self, options.tags)

    def _write(self, key: str, source: Source, options: PutOptions) -> PutResult:
        if write_outcome.is_conditional(options):
            result: PutResult = blocking.drive(
                write_outcome.repeated(self, key, lambda: self._put_conditionally(key, source, options))
            )
            return result
        arguments = put_arguments(options)
        if source.size <= self.settings.multipart.threshold:
            return self._put(key, source, arguments)
        with file_over(source, self.sending) as file, self._translated(key):
            self._upload(key, file, arguments)
        about = self._head(key, Conditions(sse_customer_key=options.sse_customer_key))
        return PutResult(about.etag, about.version_id, source.size)

    def _put(self, key: str, source: Source, arguments: dict[str, Any]) -> PutResult:
        with file_over(source, self.sending) as file, self._translated(key):
            # A small file is read before anything is sent: one that changes meanwhile begins no request.
            body: Any = file.read() if source.size <= _AT_ONCE or source.whole() is not None else file
            answer = self.client.put_object(
                Bucket=self.container, Key=key, Body=body, ContentLength=source.size, **arguments
            )
        if not answer.get("ETag"):
            raise EndpointError(
                f"{self.account.endpoint_url or 'the endpoint'} is not {S3_API.name}: it confirms no put",
                uri=self.uri(key), hint=f"check host, port and path of the endpoint ({S3_API.setting})",
            )  # fmt: skip
        return PutResult(answer.get("ETag"), answer.get("VersionId"), source.size)

    def _put_conditionally(self, key: str, source: Source, options: PutOptions) -> Steps[PutResult]:
        """One put with conditions; its mark tells what boto3's own attempts leave open."""
        mark = write_outcome.new_mark(options)
        arguments = put_arguments(options) | conditions_of(options.conditions)
        arguments["Metadata"] = {**arguments.get("Metadata", {}), write_outcome.MARK: mark}
        try:
            return self._put(key, source, arguments)
        except S3dlioError as error:
            return (yield from write_outcome.judged(self, key, options, mark, error))

    def marked(self, key: str, options: PutOptions) -> Steps[write_outcome.Marked]:
        """See :class:`s3dlio.stores.cloud.write_outcome.Marking`."""
        yield from ()
        wanted = Conditions(sse_customer_key=options.sse_customer_key)
        with self._translated(key):
            answer = self.client.head_object(Bucket=self.container, Key=key, **conditions_of(wanted))
        result = PutResult(answer.get("ETag"), answer.get("VersionId"), answer.get("ContentLength", 0))
        return write_outcome.Marked(answer.get("Metadata", {}).get(write_outcome.MARK), result)

    def _upload(self, key: str, file: SourceFile, arguments: dict[str, Any]) -> None:
        from boto3.s3.transfer import TransferConfig

        multipart = self.settings.multipart
        config = TransferConfig(
            multipart_threshold=multipart.threshold,
            multipart_chunksize=multipart.part_size,
            max_concurrency=multipart.max_in_flight,
        )
        self.client.upload_fileobj(file, self.container, key, ExtraArgs=arguments, Config=config)

    # -- listing

    def _pages(self, prefix: str, recursive: bool, start_after: str | None) -> Iterator[ListPage]:
        walk = super()._pages
        if zone_of(self.container):
            return sorted_pages(lambda directory, deep: walk(directory, deep, None), prefix, recursive, start_after)
        return walk(prefix, recursive, start_after)

    def _list_page(
        self, prefix: str, recursive: bool, token: str | None, start_after: str | None
    ) -> tuple[ListPage, str | None]:
        arguments: dict[str, Any] = {"Bucket": self.container, "Prefix": prefix}
        if not recursive:
            arguments["Delimiter"] = "/"
        by_marker = token.startswith(MARKER) if token is not None else self.settings.s3.list_version == "1"
        begin = start_after if token is None else token.removeprefix(MARKER)
        if begin is not None:
            arguments["Marker" if by_marker else "StartAfter" if token is None else "ContinuationToken"] = begin
        with self._translated(""):
            answer = (self.client.list_objects if by_marker else self.client.list_objects_v2)(**arguments)
        return page_of(answer, prefix)

    # -- versions and unfinished uploads

    def _versions_page(self, prefix: str, recursive: bool, token: str | None) -> tuple[VersionPage, str | None]:
        arguments = {"Bucket": self.container, "Prefix": prefix, **_markers(token, "VersionIdMarker")}
        if not recursive:
            arguments["Delimiter"] = "/"
        with self._translated(""):
            return versions_of(self.client.list_object_versions(**arguments))

    def _uploads_page(self, prefix: str, token: str | None) -> tuple[list[UploadEntry], str | None]:
        arguments = {"Bucket": self.container, "Prefix": prefix, **_markers(token, "UploadIdMarker")}
        with self._translated(""):
            return uploads_of(self.client.list_multipart_uploads(**arguments))

    def _abort_upload(self, key: str, upload_id: str) -> None:
        try:
            with self._translated(key):
                self.client.abort_multipart_upload(Bucket=self.container, Key=key, UploadId=upload_id)
        except S3dlioError as error:
            if error.code != "NoSuchUpload":
                raise

    # -- deleting, copying

    def _delete(self, key: str, version_id: str | None) -> None:
        with self._translated(key):
            self.client.delete_object(
                Bucket=self.container, Key=key, **conditions_of(Conditions(version_id=version_id))
            )

    def _delete_many(self, keys: Sequence[str]) -> KeyErrors:
        with self._translated(""):
            answer = self.client.delete_objects(
                Bucket=self.container, Delete={"Objects": [{"Key": key} for key in keys], "Quiet": True}
            )
        failures = failures_of(set(keys), parse_delete(answer[DOCUMENT]))
        return [(key, failed_delete(failure.code, failure.message)) for key, failure in failures.items()]

    def can_copy_from(self, source: ObjectStore) -> bool:
        return isinstance(source, BotoStore) and source.account.endpoint_url == self.account.endpoint_url

    def _copy(self, source: ObjectStore, source_key: str, key: str, options: PutOptions) -> PutResult:
        assert isinstance(source, BotoStore)
        wanted = options.conditions
        version = conditions_of(Conditions(version_id=wanted.version_id))
        place = {"Bucket": source.container, "Key": source_key, **version}
        pinned = Conditions(version_id=wanted.version_id, sse_customer_key=wanted.sse_customer_key)
        found = source._head(source_key, pinned)
        arguments = copy_arguments(options, found, replace=found.size > MAX_COPY)
        with self._translated(key, options):
            told: str | None = None
            if found.size > MAX_COPY:
                self.client.copy(place, self.container, key, ExtraArgs=arguments)
            else:
                answer = self.client.copy_object(Bucket=self.container, Key=key, CopySource=place, **arguments)
                told = answer.get("CopyObjectResult", {}).get("ETag")
        about = self._head(key, Conditions(sse_customer_key=options.sse_customer_key))
        alike = about.etag is not None and about.etag == found.etag
        if about.size != found.size or not (told or alike or found.size > MAX_COPY):
            raise ProtocolError("the answer to a copy says neither that it is done nor why not", uri=self.uri(key))
        return PutResult(about.etag, about.version_id, about.size)

    # -- links and tags

    def presign(self, key: str, method: str = "GET", expires: int = 3600, *, version_id: str | None = None) -> str:
        self.check_key(key, "PRESIGN")
        check_link(self.account, self.uri(key), method, expires)
        # boto3 would sign in the old way, and name the host of another region.
        service, base = self.account.service(self.container)
        return link(self.account, service, f"{base}/{encode_key(key)}", method, expires, version_id)

    def _get_tags(self, key: str) -> dict[str, str]:
        with self._translated(key):
            answer = self.client.get_object_tagging(Bucket=self.container, Key=key)
        return {tag["Key"]: tag["Value"] for tag in answer["TagSet"]}

    def _put_tags(self, key: str, tags: Mapping[str, str]) -> None:
        tag_set = [{"Key": name, "Value": value} for name, value in tags.items()]
        with self._translated(key):
            self.client.put_object_tagging(Bucket=self.container, Key=key, Tagging={"TagSet": tag_set})

    # -- buckets

    def _create_container(self) -> None:
        arguments: dict[str, Any] = {}
        if zone := zone_of(self.container):
            location, redundancy = kind_of_zone(zone)
            arguments["CreateBucketConfiguration"] = {
                "Location": {"Type": location, "Name": zone},
                "Bucket": {"DataRedundancy": redundancy, "Type": "Directory"},
            }
        elif self.account.region != DEFAULT_REGION:
            arguments["CreateBucketConfiguration"] = {"LocationConstraint": self.account.region}
        try:
            with self._translated(""):
                self.client.create_bucket(Bucket=self.container, **arguments)
        except S3dlioError as error:
            if error.code == "BucketAlreadyOwnedByYou":
                return
            if error.code in REFUSED_REGION:
                error.hint = region_hint(self.account.region)
            raise

    def _delete_container(self) -> None:
        with self._translated(""):
            self.client.delete_bucket(Bucket=self.container)

    def _list_containers(self) -> list[Container]:
        with self._translated(""):
            ask = self.client.list_directory_buckets if zone_of(self.container) else self.client.list_buckets
            found = ask().get("Buckets", ())
        named = ((item["Name"], time_of(item.get("CreationDate"))) for item in found)
        return [Container(name, bucket_beside(self.root, self.container, name), created) for name, created in named]


def _markers(token: str | None, second: str) -> dict[str, str]:
    if token is None:
        return {}
    key, _, other = token.partition("\0")
    return {"KeyMarker": key, **({second: other} if other else {})}


def open_store(location: Location, settings: Settings, observers: Sequence[Observer] = ()) -> BotoStore:
    """The store of the bucket that ``location`` names. It does no I/O, but may read ``~/.aws``.

    Raises:
        ConfigError: as of :class:`s3dlio.stores.s3.account.S3Account`.
    """
    account = account_of(location, settings)
    return BotoStore(account, location.container, location.root, observers)
