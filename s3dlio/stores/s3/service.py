"""The S3 service below the verbs: requests for one bucket, and what the answers mean (Amazon S3 API Reference)."""

from __future__ import annotations

import base64
import hashlib
from typing import ClassVar

from s3dlio.config.settings import Settings
from s3dlio.errors import S3dlioError
from s3dlio.memory import crc32c
from s3dlio.memory.sources import Source
from s3dlio.net.message import Headers, Request
from s3dlio.net.response import Response
from s3dlio.net.retry import RetryPolicy
from s3dlio.stores.call import Steps
from s3dlio.stores.cloud import write_outcome
from s3dlio.stores.cloud.answer_check import S3_API, Api
from s3dlio.stores.cloud.percent import encode_key, encode_query
from s3dlio.stores.cloud.service import CloudService
from s3dlio.stores.s3 import failures, headers, recovery, xml
from s3dlio.stores.s3.account import S3Account
from s3dlio.stores.s3.route import Route
from s3dlio.types import NO_CONDITIONS, Conditions, ObjectMetadata, PutOptions, PutResult

#: What HEAD answers where the error document of a GET says why: another region, a token that has expired.
_UNEXPLAINED = (301, 400)


class S3Service(CloudService):
    """One bucket of a service.

    Args:
        account: credentials, region and endpoint.
        bucket: its name, or the ARN of an access point; empty for the service itself.
        root: the URI of the bucket.
        settings: timeouts, ranges, parts.

    Attributes:
        route: where requests go.
        is_directory: it is a directory bucket: listings take directories only, objects have no tags, their ETags are
            no MD5s.
    """

    api: ClassVar[Api] = S3_API
    deleted = (200, 202, 204)

    def __init__(
        self, account: S3Account, bucket: str, root: str | None = None, settings: Settings | None = None
    ) -> None:
        super().__init__(root or f"s3://{bucket}", settings or account.settings)
        self.account = account
        self.bucket = bucket
        self.route = Route(account, bucket, self.settings)
        self.is_directory = self.route.is_directory
        self.sends_checksums = account.checksums("request_checksum_calculation") == "when_supported"
        #: Bodies are hashed when their requests are signed.
        self.signs_bodies = account.settings.s3.payload_signing
        # What a function of Object Lambda makes of an object has another checksum.
        as_stored = self.route.place.service != "s3-object-lambda"
        self.verifies = as_stored and account.checksums("response_checksum_validation") == "when_supported"
        payer = self.settings.s3.requester_pays and not self.is_directory
        #: The fields of every request, and those of every read.
        self.common: Headers = (("x-amz-request-payer", "requester"),) if payer else ()
        self._read_headers: Headers = (
            *self.common,
            *((("x-amz-checksum-mode", "ENABLED"),) if self.verifies else ()),
        )

    @property
    def retry_policy(self) -> RetryPolicy:
        return self.account.policy

    @property
    def endpoint(self) -> str:
        return self.route.target.pool.name

    # -- requests

    def request(
        self, method: str, key: str = "", query: str = "", fields: Headers = (), body: Source | None = None
    ) -> Request:
        """A request for ``key`` (the bucket itself, if empty)."""
        path = f"{self.route.base}/{encode_key(key)}"
        return Request(self.route.target, method, path, query, (*self.common, *fields), body)

    def read_request(self, key: str, fields: Headers, conditions: Conditions) -> Request:
        route, fields = self.route, (*self._read_headers, *fields) if fields else self._read_headers
        request = Request(route.target, "GET", f"{route.base}/{encode_key(key)}", "", fields)
        if conditions is not NO_CONDITIONS:
            request.headers = (*request.headers, *headers.read_fields(conditions))
            request.query = version_query(conditions.version_id)
        return request

    def delete_request(self, key: str, version_id: str | None = None) -> Request:
        return self.request("DELETE", key, version_query(version_id))

    def conditional_delete(self, key: str, found: ObjectMetadata) -> Request:
        # Amazon S3 API Reference, DeleteObject: If-Match. Servers that do not know it have been asked just before.
        etag = found.etag
        fields = (("if-match", etag),) if etag and not etag.startswith("W/") else ()
        return self.request("DELETE", key, "", fields)

    def body_check(self, body: bytes) -> tuple[str, str]:
        """The field by which the service checks a document that is sent to it."""
        if self.is_directory:
            return "x-amz-checksum-crc32c", crc32c.to_base64(crc32c.crc32c(body))
        return "content-md5", base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()

    def recover(self, request: Request, response: Response) -> Steps[Response]:
        return recovery.recover(self.route, request, response)

    def second_tries(self) -> recovery.SecondTries:
        return recovery.SecondTries(self.route)

    # -- answers

    def pin(self, response: Response) -> Conditions | None:
        etag = response.header(b"etag")
        return None if etag is None or etag.startswith("W/") else Conditions(if_match=etag)

    def metadata_of(self, response: Response, size: int) -> ObjectMetadata:
        return headers.metadata_of(response, size)

    def checksum_of(self, response: Response) -> int | None:
        text = response.header(b"x-amz-checksum-crc32c")
        return None if text is None else headers.crc32c_of(text, response.header(b"x-amz-checksum-type"))

    def fail(self, response: Response, key: str) -> S3dlioError:
        failure = xml.parse_failure(response.body)
        if failure is not None:
            error = failures.error_of(response, failure)
        else:
            of_bucket = not key and bool(self.bucket)
            error = self.foreign_answer(response) or failures.unexplained(response, of_bucket=of_bucket)
        error.locate(self.uri(key), None)
        return error

    def is_gone_already(self, error: S3dlioError) -> bool:
        return failures.is_gone_already(error)

    # -- looks at one object

    def head_object(self, key: str, conditions: Conditions) -> Steps[ObjectMetadata]:
        response = yield from self._head(key, conditions, self._read_headers)
        size = response.header(b"content-length")
        unsized = response.status == 200 and size is None
        if response.status in _UNEXPLAINED or unsized or self.api.may_be_foreign(response):
            return (yield from self.head_by_get(key, conditions))
        if response.status != 200 or size is None:
            raise self.fail(response, key)
        return headers.metadata_of(response, int(size))

    def marked(self, key: str, options: PutOptions) -> Steps[write_outcome.Marked]:
        response = yield from self.look(key, options)
        result = PutResult(
            response.header(b"etag"), response.header(b"x-amz-version-id"), int(response.header(b"content-length") or 0)
        )
        return write_outcome.Marked(response.header(f"x-amz-meta-{write_outcome.MARK}".encode()), result)

    def look(self, key: str, options: PutOptions, fields: Headers = ()) -> Steps[Response]:
        """The answer to a HEAD of what was written with ``options``; ``fields`` are added.

        Raises:
            S3dlioError: any answer but 200.
        """
        conditions = Conditions(sse_customer_key=options.sse_customer_key)
        response = yield from self._head(key, conditions, (*self.common, *fields))
        if response.status in _UNEXPLAINED:
            yield from self.head_by_get(key, conditions)  # which finds the region or new keys, or raises the reason
            response = yield from self._head(key, conditions, (*self.common, *fields))
        if response.status != 200:
            raise self.fail(response, key)
        return response

    def _head(self, key: str, conditions: Conditions, fields: Headers) -> Steps[Response]:
        route, query = self.route, ""
        if conditions is not NO_CONDITIONS:
            query, fields = version_query(conditions.version_id), (*fields, *headers.read_fields(conditions))
        request = Request(route.target, "HEAD", f"{route.base}/{encode_key(key)}", query, fields)
        response: Response = yield request
        return response if response.status == 200 else (yield from self.recover(request, response))


def version_query(version_id: str | None) -> str:
    """The query of a request for one version of an object; empty for the present one."""
    return encode_query([("versionId", version_id)]) if version_id else ""
