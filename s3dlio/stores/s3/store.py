"""The S3 store: every verb once, as a generator of requests (Amazon S3 API Reference)."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence, Set
from typing import ClassVar

from s3dlio.config.settings import Settings
from s3dlio.errors import (
    EndpointError,
    ProtocolError,
    S3dlioError,
    UnsupportedOperationError,
)
from s3dlio.memory import crc32c
from s3dlio.memory.sinks import Sink
from s3dlio.memory.sources import MemorySource, Source
from s3dlio.net.message import Headers, Request, Response, Service
from s3dlio.stores.base import Call, ObjectStore, ObjectWriter, Steps
from s3dlio.stores.cloud import attempts
from s3dlio.stores.cloud.checksums import crc32c_of, md5_compared
from s3dlio.stores.cloud.failures import S3_API, check_listing, error_for
from s3dlio.stores.cloud.percent import encode_key, encode_query
from s3dlio.stores.cloud.store import SelfServedStore
from s3dlio.stores.cloud.writer import CloudWriter
from s3dlio.stores.paging import Paging
from s3dlio.stores.s3 import copying, headers, multipart, xml
from s3dlio.stores.s3 import recovery as mending
from s3dlio.stores.s3.access_points import is_arn
from s3dlio.stores.s3.account import TRANSIENT_CODES, S3Account
from s3dlio.stores.s3.links import check_link, link
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
from s3dlio.uri import bucket_beside

#: What tokens of the next page begin with that are markers, for the first version of ListObjects: no XML carries it.
MARKER = "\0"
#: Where a listing has no document that says so: only the bucket can be missing.
_NO_BUCKET = "the bucket does not exist"
#: What HEAD answers where a GET would have said why: another region, a token that has ended.
_SAYS_NO_MORE = (301, 400)
#: Bodies larger than this wait for the server's go-ahead, so that a refusal does not cost the upload.
EXPECT_CONTINUE = 8 * 1024 * 1024


class S3Store(SelfServedStore):
    """One bucket.

    Args:
        account: credentials, region and endpoint.
        bucket: its name, or the ARN of an access point; empty for the service itself (list_containers).
        root: the URI of the bucket.
        settings: timeouts, ranges, parts.
        observers: as of ObjectStore.
    """

    scheme: ClassVar[str] = "s3"
    api = S3_API
    takes_customer_keys: ClassVar[bool] = True
    keeps_tags: ClassVar[bool] = True
    #: The ETag of an object that was written in one part, and not encrypted with a key of KMS, is its MD5.
    etags_are_md5: ClassVar[bool] = True
    #: Listings, those of uploads too, take directories only, not any prefix.
    lists_directories: ClassVar[bool] = False

    def __init__(
        self,
        account: S3Account,
        bucket: str,
        root: str | None = None,
        settings: Settings | None = None,
        observers: Sequence[Observer] = (),
    ) -> None:
        super().__init__(root or f"s3://{bucket}", settings or account.settings, observers)
        self.account = account
        self.bucket = bucket
        self.region = account.region
        self.locate(None)
        self.sends_checksums = account.checksums("request_checksum_calculation") == "when_supported"
        # What a function of Object Lambda makes of an object has another checksum.
        as_stored = self._place.service != "s3-object-lambda"
        self.verifies = as_stored and account.checksums("response_checksum_validation") == "when_supported"
        payer = self.settings.s3.requester_pays and not self.lists_directories
        self._common: Headers = (("x-amz-request-payer", "requester"),) if payer else ()
        self._read_headers: Headers = (
            *self._common,
            *((("x-amz-checksum-mode", "ENABLED"),) if self.verifies else ()),
        )

    def locate(self, region: str | None) -> None:
        """Find the service for our bucket, in another region than the configured one if ``region`` says so."""
        self.region = region or self.region
        self._place = place = self.account.place(self.bucket, self.region)
        self.service, self.base = self.account.service_at(place), place.path
        #: The same with the account's own keys: copies are not signed with those of a session.
        self.keyed = self.service
        #: Where the bucket is made and deleted.
        self.plain, _ = self.account.service(self.bucket, self.region, accelerated=False)

    @property
    def is_movable(self) -> bool:
        """Whether the service may say that the bucket is in another region; an access point and a zone are fixed."""
        return not is_arn(self.bucket) and self._place.service == "s3"

    def home_of(self, request: Request) -> Service:
        """Where a request belongs."""
        of_bucket = request.method in ("PUT", "DELETE") and request.path == (self.base or "/")
        return self.plain if of_bucket else self.service

    # -- requests

    def request(
        self,
        method: str,
        key: str = "",
        query: str = "",
        fields: Headers = (),
        body: Source | None = None,
        sink: Sink | None = None,
    ) -> Request:
        """A request for ``key`` (the bucket itself, if empty)."""
        path = f"{self.base}/{encode_key(key)}"
        return Request(self.service, method, path, query, (*self._common, *fields), body, sink)

    @property
    def endpoint(self) -> str:
        return self.service.pool.name

    def fail(self, response: Response, key: str) -> S3dlioError:
        failure = xml.parse_failure(response.body)
        request_id = response.header(b"x-amz-request-id")
        if failure is None:
            message = _NO_BUCKET if response.status == 404 and not key and self.bucket else None
            error = self.stranger(response) or error_for(
                response.status, message=message, request_id=request_id, attempts=response.attempts
            )
        else:
            error = error_for(
                response.status if response.status != 200 else 500,
                code=failure.code,
                message=failure.message,
                request_id=request_id or failure.request_id,
                attempts=response.attempts,
            )
        error.locate(self.uri(key), None)
        return error

    def mend(self, request: Request, response: Response) -> Steps[Response]:
        return mending.mend(self, request, response)

    def second_tries(self) -> mending.SecondTries:
        return mending.SecondTries(self)

    # -- reading

    def _read(
        self, key: str, sink: Sink, offset: int, length: int | None, conditions: Conditions
    ) -> Steps[ObjectMetadata]:
        steps = super()._read(key, sink, offset, length, conditions)
        whole = offset == 0 and length is None
        if self.verifies and whole and self.etags_are_md5:  # where there is no CRC32C
            return md5_compared(steps, sink, headers.md5_of)
        return steps

    def read_request(self, key: str, fields: Headers, conditions: Conditions) -> Request:
        request = Request(self.service, "GET", f"{self.base}/{encode_key(key)}", "", (*self._read_headers, *fields))
        if conditions is not NO_CONDITIONS:
            request.headers = (*request.headers, *headers.read_fields(conditions))
            request.query = _version(conditions.version_id)
        return request

    def pin(self, response: Response) -> Conditions | None:
        etag = response.header(b"etag")
        return None if etag is None or etag.startswith("W/") else Conditions(if_match=etag)

    def checksum_of(self, response: Response) -> int | None:
        text = response.header(b"x-amz-checksum-crc32c")
        return None if text is None else headers.crc32c_of(text, response.header(b"x-amz-checksum-type"))

    def metadata_of(self, response: Response, size: int) -> ObjectMetadata:
        return headers.metadata_of(response, size)

    def _head(self, key: str, conditions: Conditions) -> Steps[ObjectMetadata]:
        fields = [*self._read_headers, *headers.read_fields(conditions)]
        request = Request(
            self.service, "HEAD", f"{self.base}/{encode_key(key)}", _version(conditions.version_id), fields
        )
        response: Response = yield request
        if response.status != 200:
            response = yield from self.mend(request, response)
        size = response.header(b"content-length")
        if response.status in _SAYS_NO_MORE or (response.status == 200 and size is None):
            return (yield from self.head_by_get(key, conditions))
        if response.status != 200 or size is None:
            raise self.fail(response, key)
        return headers.metadata_of(response, int(size))

    # -- writing

    def _write(self, key: str, source: Source, options: PutOptions) -> Steps[PutResult]:
        write = multipart.write if source.size > self.settings.multipart.threshold else _put
        if attempts.is_conditional(options):
            return (yield from attempts.repeated(self, key, lambda: write(self, key, source, options)))
        return (yield from write(self, key, source, options))

    def marked(self, key: str, options: PutOptions) -> Steps[attempts.Marked]:
        """See :class:`s3dlio.stores.cloud.attempts.Marking`."""
        request = self.request("HEAD", key, "", headers.sse_customer_fields(options.sse_customer_key))
        response: Response = yield from self.send(request, key)
        result = PutResult(
            response.header(b"etag"), response.header(b"x-amz-version-id"), int(response.header(b"content-length") or 0)
        )
        return attempts.Marked(response.header(f"x-amz-meta-{attempts.MARK}".encode()), result)

    def stored(self, response: Response, size: int) -> PutResult:
        """What the answer to a put tells; every S3 names the object that it has stored.

        Raises:
            EndpointError: it is none of S3's.
        """
        etag = response.header(b"etag")
        if (etag is None and not self.api.marks_in(response)) or (response.body and self.stranger(response)):
            raise self.api.error(response, self.endpoint)
        return PutResult(etag, response.header(b"x-amz-version-id"), size)

    def _write_on(self, key: str, source: Source, options: PutOptions, resume: UploadState) -> Steps[PutResult]:
        if source.size > self.settings.multipart.threshold:
            return (yield from multipart.write(self, key, source, options, resume))
        return (yield from self._write(key, source, options))

    def writer(
        self,
        key: str,
        *,
        options: PutOptions = NO_OPTIONS,
        part_size: int | None = None,
        expected_size: int | None = None,
    ) -> ObjectWriter:
        self.check_key(key, "PUT")
        return CloudWriter(self, key, options, multipart.Upload(self, key, options), part_size, expected_size)

    # -- listing

    def _list_page(
        self, prefix: str, recursive: bool, token: str | None, start_after: str | None
    ) -> Steps[tuple[ListPage, str | None]]:
        first = self.settings.s3.list_version == "1" and not self.lists_directories
        by_marker = token.startswith(MARKER) if token is not None else first
        parameters = [("encoding-type", "url"), ("prefix", prefix)]
        if not recursive:
            parameters.append(("delimiter", "/"))
        begin = start_after if token is None else token.removeprefix(MARKER)
        if by_marker:
            parameters += [("marker", begin)] if begin else []
        else:
            parameters.append(("list-type", "2"))
            if begin is not None:
                parameters.append(("start-after" if token is None else "continuation-token", begin))
        response = yield from self.send(self.request("GET", "", encode_query(sorted(parameters))), "")
        page, following, first_version = self.parsed(response, xml.parse_list)
        check_listing(page, prefix)
        if first_version and not by_marker and begin is not None:  # which it has not heeded
            return (yield from self._list_page(prefix, recursive, MARKER + begin, None))
        if following is not None and first_version:
            following = MARKER + following
        if following is not None and following == token:
            raise ProtocolError("the listing does not get on: the token of the next page is that of this one")
        return page, following

    # -- deleting, copying

    def _delete(self, key: str, version_id: str | None) -> Steps[None]:
        request = self.request("DELETE", key, _version(version_id))
        try:
            yield from self.send(request, key, (200, 202, 204))
        except S3dlioError as error:
            absent = error.status == 404 and error.code is None and not isinstance(error, EndpointError)
            if error.code != "NoSuchKey" and not absent:
                raise

    def conditional_delete(self, key: str, found: ObjectMetadata) -> Request:
        # Amazon S3 API Reference, DeleteObject: If-Match. Servers that do not know it have been asked just before.
        etag = found.etag
        fields = (("if-match", etag),) if etag and not etag.startswith("W/") else ()
        return self.request("DELETE", key, "", fields)

    def _delete_if_match(self, key: str, etag: str) -> Steps[None]:
        try:
            yield from super()._delete_if_match(key, etag)
        except S3dlioError as error:
            if error.status != 501:  # If-Match is not implemented: the look just before it has to do
                raise
            yield from self._delete(key, None)

    def _delete_many(self, keys: Sequence[str]) -> Steps[list[tuple[str, S3dlioError]]]:
        alone = [key for key in keys if xml.UNSPEAKABLE.search(key)]  # XML cannot carry them
        failed: list[tuple[str, S3dlioError]] = []
        if len(alone) < len(keys):
            body = xml.render_delete(key for key in keys if not xml.UNSPEAKABLE.search(key))
            fields = (self.body_check(body), ("content-type", "application/xml"))
            request = self.request("POST", "", "delete=", fields, MemorySource(memoryview(body)))
            response = yield from self.send(request, "")
            for key, failure in failures_of(set(keys), self.parsed(response, xml.parse_delete)).items():
                if failure.code.encode() in TRANSIENT_CODES:  # tried again where the retry policy is in force
                    alone.append(key)
                    continue
                error = failed_delete(failure.code, failure.message)
                error.locate(self.uri(key), "DELETE")
                failed.append((key, error))
        for key in alone:
            try:
                yield from self._delete(key, None)
            except S3dlioError as error:
                error.locate(self.uri(key), "DELETE")
                failed.append((key, error))
        return failed

    def body_check(self, body: bytes) -> tuple[str, str]:
        """The field by which the service checks a document that is sent to it."""
        return "content-md5", base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()

    def can_copy_from(self, source: ObjectStore) -> bool:
        return isinstance(source, S3Store) and source.account.endpoint_url == self.account.endpoint_url

    def _copy(self, source: ObjectStore, source_key: str, key: str, options: PutOptions) -> Steps[PutResult]:
        return (yield from self._copy_sized(source, source_key, key, options, None))

    def _copy_sized(
        self, source: ObjectStore, source_key: str, key: str, options: PutOptions, size: int | None
    ) -> Steps[PutResult]:
        assert isinstance(source, S3Store)  # can_copy_from has said so

        def copy() -> Steps[PutResult]:
            return copying.copy(self, source, source_key, key, options, size)

        return (yield from attempts.repeated(self, key, copy))

    # -- buckets

    def create_container(self) -> None:
        self._check_is_bucket("CREATE_CONTAINER")
        super().create_container()

    def delete_container(self) -> None:
        self._check_is_bucket("DELETE_CONTAINER")
        super().delete_container()

    def _check_is_bucket(self, operation: str) -> None:
        if is_arn(self.bucket):
            raise UnsupportedOperationError(
                "an access point cannot be made or deleted as a bucket is", uri=self.root, operation=operation,
                hint="see 'aws s3control create-access-point' and 'delete-access-point'",
            )  # fmt: skip

    def _create_container(self) -> Steps[None]:
        body = None
        if self.region != "us-east-1":
            text = (
                '<CreateBucketConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
                f"<LocationConstraint>{self.region}</LocationConstraint></CreateBucketConfiguration>"
            )
            body = MemorySource(memoryview(text.encode()))
        try:
            response = yield from self.send(self._bucket_request("PUT", body), "", (200, 204))
        except S3dlioError as error:
            if error.code == "BucketAlreadyOwnedByYou":
                return
            if error.code in REFUSED_REGION:
                error.hint = region_hint(self.region)
            raise
        if (stranger := self.stranger(response)) is not None:
            raise stranger

    def _delete_container(self) -> Steps[None]:
        yield from self.send(self._bucket_request("DELETE", None), "", (200, 204))

    def _bucket_request(self, method: str, body: Source | None) -> Request:
        return Request(self.plain, method, self.base or "/", "", self._common, body)

    def _list_containers(self) -> Steps[list[Container]]:
        service, base = self.account.service("", self.region)
        found: list[Container] = []
        token: str | None = None
        paging = Paging()
        while True:
            query = encode_query([("continuation-token", token)]) if token else ""
            response = yield from self.send(Request(service, "GET", base or "/", query), "")
            page, token = self.parsed(response, xml.parse_buckets)
            paging.check(page, token)
            for name, created in page:
                uri = bucket_beside(self.root, self.bucket, name)
                found.append(Container(name, uri, without_fraction(created)))
            if token is None:
                return found

    # -- links and tags

    def presign(self, key: str, method: str = "GET", expires: int = 3600, *, version_id: str | None = None) -> str:
        """A URL with which anybody can do ``method`` on the object for ``expires`` seconds (1 to 604800: a week).

        Raises:
            ConfigError: another method or time, or anonymous access.
        """
        self.check_key(key, "PRESIGN")
        check_link(self.account, self.uri(key), method, expires)
        return link(self.account, self.service, f"{self.base}/{encode_key(key)}", method, expires, version_id)

    def get_tags(self, key: str) -> dict[str, str]:
        """The tags of an object."""
        return self.execute(Call(self, "GET_TAGS", key, lambda: self._get_tags(key)))

    def put_tags(self, key: str, tags: Mapping[str, str]) -> None:
        """Replace the tags of an object."""
        self.execute(Call(self, "PUT_TAGS", key, lambda: self._put_tags(key, tags)))

    def _get_tags(self, key: str) -> Steps[dict[str, str]]:
        response = yield from self.send(self.request("GET", key, "tagging="), key)
        return self.parsed(response, xml.parse_tags)

    def _put_tags(self, key: str, tags: Mapping[str, str]) -> Steps[None]:
        body = xml.render_tags(tags.items())
        source = MemorySource(memoryview(body))
        fields = (self.body_check(body),)
        yield from self.send(self.request("PUT", key, "tagging=", fields, source), key, (200, 204))


def _put(store: S3Store, key: str, source: Source, options: PutOptions) -> Steps[PutResult]:
    """Write an object in one request."""
    mark = attempts.new_mark(options)
    fields = headers.put_fields(options) + headers.mark_fields(mark)
    if store.sends_checksums:
        fields.append(("x-amz-checksum-crc32c", crc32c.to_base64(crc32c_of(source))))
    request = store.request("PUT", key, "", fields, source)
    request.expect_continue = source.size > EXPECT_CONTINUE
    try:
        # 200 by the book; WebDAV servers and proxies in front of S3 also say 201 and 204.
        response = yield from store.send(request, key, (200, 201, 204))
    except S3dlioError as error:
        if mark is None:
            raise
        return (yield from attempts.judged(store, key, options, mark, error))
    return store.stored(response, source.size)


#: Codes of a bucket that was to be made in a region that the service does not have.
REFUSED_REGION = frozenset(
    {"InvalidLocationConstraint", "IllegalLocationConstraintException", "InvalidRegion", "InvalidRegionName"}
)


def region_hint(region: str) -> str:
    """What to do where a bucket was refused because of its region."""
    return f"the service makes no buckets in {region!r}: name a region that it has (us-east-1 asks for none)"


_STATUS_OF = {"AccessDenied": 403, "NoSuchKey": 404, "NoSuchBucket": 404, "SlowDown": 503, "InternalError": 500}


def failures_of(asked: Set[str], told: Sequence[tuple[str | None, xml.Failure]]) -> dict[str, xml.Failure]:
    """The failures of a batch delete by key, each one of those ``asked`` for.

    Raises:
        S3dlioError: one that names no key stands for the batch as a whole.
        ProtocolError: one names a key that was not asked for.
    """
    failures: dict[str, xml.Failure] = {}
    for key, failure in told:
        if not key:
            raise failed_delete(failure.code, failure.message)
        if key not in asked:
            raise ProtocolError(
                f"the answer to a batch delete tells of {key[:200]!r}, which was not asked for ({failure.code})"
            )
        failures[key] = failure
    return failures


def failed_delete(code: str, message: str) -> S3dlioError:
    """The error for one key of a batch delete, which comes without a status."""
    return error_for(_STATUS_OF.get(code, 500), code=code, message=message)


def _version(version_id: str | None) -> str:
    return encode_query([("versionId", version_id)]) if version_id else ""


def without_fraction(date: str | None) -> str | None:
    """``2026-11-20T23:52:47.000Z`` as ``2026-11-20T23:52:47Z``."""
    return date.partition(".")[0] + "Z" if date and "." in date else date
