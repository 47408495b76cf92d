"""One container as a web service: its requests, what to do after a refused signature or token, and typed errors."""

from __future__ import annotations

import logging
import time

from s3dlio.errors import S3dlioError
from s3dlio.memory.sources import Source
from s3dlio.net.dates import clock_of
from s3dlio.net.message import Headers, Request
from s3dlio.net.response import Response
from s3dlio.net.retry import RetryPolicy
from s3dlio.stores.azure import failures, headers
from s3dlio.stores.azure.account import AzureAccount
from s3dlio.stores.call import Steps
from s3dlio.stores.cloud.answer_check import AZURE_API
from s3dlio.stores.cloud.percent import encode_key, encode_query
from s3dlio.stores.cloud.service import CloudService
from s3dlio.stores.cloud.write_outcome import Marked
from s3dlio.types import NO_CONDITIONS, Conditions, ObjectMetadata, PutOptions

log = logging.getLogger("s3dlio.azure")

#: A clock that is off by more seconds than this is corrected by the service's own (it refuses beyond 15 minutes).
_SKEW = 300
#: Codes for a token that has ended or was withdrawn; one that lacks a role has another.
_BAD_TOKEN = ("InvalidAuthenticationInfo", "AuthenticationFailed", None)


class AzureService(CloudService):
    """One container, or the account itself.

    Args:
        account: credentials and endpoint.
        container: its name; empty for the account itself.
        root: the URI of the container.
    """

    api = AZURE_API
    takes_suffix_ranges = False
    deleted = (202,)

    def __init__(self, account: AzureAccount, container: str, root: str) -> None:
        super().__init__(root, account.settings)
        self.account = account
        self.container = container
        self._service = account.service
        self._base = f"{account.base}/{container}" if container else account.base
        azure = account.settings.azure
        #: Bodies are read for a checksum before they are sent.
        self.hashes = bool(azure.crc64 or azure.content_md5)

    @property
    def retry_policy(self) -> RetryPolicy:
        return self._service.policy

    @property
    def endpoint(self) -> str:
        return self._service.pool.name

    # -- requests

    def path(self, key: str) -> str:
        """The path of a key (of the container itself, if empty), percent-encoded."""
        return f"{self._base}/{encode_key(key)}" if key else self._base or "/"

    def request(
        self, method: str, key: str = "", query: str = "", fields: Headers = (), body: Source | None = None
    ) -> Request:
        """A request for ``key`` (the container itself, if empty)."""
        return Request(self._service, method, self.path(key), query, fields, body)

    def account_request(self, query: str) -> Request:
        """A GET of the account itself."""
        return Request(self._service, "GET", self.account.base or "/", query)

    def read_request(self, key: str, fields: Headers, conditions: Conditions) -> Request:
        request = Request(self._service, "GET", f"{self._base}/{encode_key(key)}", "", fields)
        if conditions is not NO_CONDITIONS:
            request.headers = (*fields, *headers.condition_fields(conditions))
            request.query = version_query(conditions.version_id)
        return request

    def delete_request(self, key: str, version_id: str | None = None) -> Request:
        return self.request("DELETE", key, version_query(version_id))

    def conditional_delete(self, key: str, found: ObjectMetadata) -> Request:
        return self.request("DELETE", key, "", (("if-match", found.etag or ""),))

    # -- answers

    def pin(self, response: Response) -> Conditions | None:
        etag = response.header(b"etag")
        return None if etag is None else Conditions(if_match=etag)

    def metadata_of(self, response: Response, size: int) -> ObjectMetadata:
        return headers.metadata_of(response, size)

    def fail(self, response: Response, key: str) -> S3dlioError:
        foreign = self.foreign_answer(response) if b"<Code>" not in response.body else None
        error = foreign or failures.error_of(response, self.account)
        error.locate(self.uri(key), None)
        return error

    def is_gone_already(self, error: S3dlioError) -> bool:
        return failures.is_gone_already(error)

    def recover(self, request: Request, response: Response) -> Steps[Response]:
        """Send the request again where the local clock was off or the token was withdrawn."""
        if response.status not in (401, 403):
            return response
        renderer, tokens = self.account.renderer, self.account.tokens
        if tokens is not None and response.header(b"x-ms-error-code") in _BAD_TOKEN:
            tokens.forget()
            response = yield request
        elif (date := response.header(b"date")) and self.account.key is not None:
            skew = _skew_of(date)
            if skew is not None and abs(skew - renderer.skew) > _SKEW:
                log.warning("the clock is off by %d s; using that of the service", skew)
                renderer.skew = skew
                response = yield request
        return response

    # -- looks at one blob

    def head(self, key: str) -> Steps[Response]:
        """The answer to a HEAD of a blob."""
        return self.send(self.request("HEAD", key), key)

    def head_object(self, key: str, conditions: Conditions) -> Steps[ObjectMetadata]:
        fields = headers.condition_fields(conditions)
        request = self.request("HEAD", key, version_query(conditions.version_id), fields)
        response = yield from self.send(request, key, (200, 404))
        size = response.header(b"content-length")
        if size is None or self.api.may_be_foreign(response):
            return (yield from self.head_by_get(key, conditions))
        if response.status == 404:
            raise self.fail(response, key)
        return headers.metadata_of(response, int(size))

    def marked(self, key: str, options: PutOptions) -> Steps[Marked]:
        response = yield from self.head(key)
        size = int(response.header(b"content-length") or 0)
        return Marked(response.header(headers.MARK_FIELD.encode()), headers.result_of(response, size))


def _skew_of(date: str) -> float | None:
    """How many seconds a server's clock is ahead of the local one."""
    clock = clock_of(date)
    return None if clock is None else clock - time.time()


def version_query(version_id: str | None) -> str:
    """The query that names a version; empty for the current one."""
    return encode_query([("versionid", version_id)]) if version_id else ""
