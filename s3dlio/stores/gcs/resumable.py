"""An upload that survives dropped connections: a session takes the bytes, and answers after a failure how many it has.

The URL of a session is a credential (with it anybody may write), so no message has it.
Source: Cloud Storage documentation, "Resumable uploads", "Perform resumable uploads".
"""

from __future__ import annotations

import logging
import re
from typing import Any
from urllib.parse import urlsplit

from s3dlio.errors import (
    NetworkError,
    ProtocolError,
    S3dlioError,
    ServiceError,
    TransferTimeoutError,
    UnsupportedOperationError,
)
from s3dlio.memory import crc32c
from s3dlio.memory.sources import Source
from s3dlio.net.message import Pause, Request, Service
from s3dlio.net.pool import pool_for_url
from s3dlio.net.response import Response
from s3dlio.net.retry import TRANSIENT, RetryPolicy, backoff, retry_after
from s3dlio.records import replace
from s3dlio.stores.call import Steps
from s3dlio.stores.cloud import write_outcome
from s3dlio.stores.cloud.checksums import crc32c_of
from s3dlio.stores.gcs import headers, uploads
from s3dlio.stores.gcs.service import GcsService
from s3dlio.stores.writer import UploadState
from s3dlio.types import PutOptions, PutResult

log = logging.getLogger("s3dlio.gcs")

_INCOMPLETE = 308
_RANGE = re.compile(r"bytes=0-(\d{1,19})\Z")


class _SessionGoneError(ServiceError):
    """The service no longer has the session; the upload can start over."""


def write(
    service: GcsService, key: str, source: Source, options: PutOptions, resume: UploadState | None = None
) -> Steps[PutResult]:
    """Write an object through a session, and through a new one when the service no longer has it. With ``resume``
    the first session is that of an earlier write, if it is still open."""
    crc = yield from crc32c_of(source)
    mark = write_outcome.new_mark(options)
    before = resume.state.get("session") if resume is not None else None
    if resume is not None and isinstance(before, str) and mark is not None:
        mark = resume.state.get("mark") or mark  # the session was opened with it
    most = service.settings.retry.max_attempts
    attempt, gone = 1, False
    while True:
        session = _Session(service, key, source, headers.key_fields(options.sse_customer_key))
        try:
            if isinstance(before, str):
                response = yield from session.resume(before)
            else:
                conditions = yield from service.write_conditions(key, options)
                location = yield from session.open(options, mark, crc, conditions)
                if resume is not None:
                    resume.save({"session": location, "mark": mark or ""})
                response = yield from session.send()
            return (yield from uploads.checked(service, key, response, crc))
        except S3dlioError as error:
            gone = gone or isinstance(error, _SessionGoneError)  # perhaps after it had stored the object
            if not isinstance(error, _SessionGoneError) or attempt >= most:
                error.attempts = max(error.attempts, attempt)
                typed = uploads.typed_damage(error)
                return (yield from write_outcome.judged(service, key, options, mark, typed, left_open=gone))
            log.info("an upload session of %s is gone; attempt %d of %d", service.uri(key), attempt, most)
        attempt, before = attempt + 1, None


class _Session:
    """One upload session."""

    def __init__(self, service: GcsService, key: str, source: Source, key_fields: headers.Fields) -> None:
        self._service = service
        self._key_fields = key_fields
        self._key = key
        self._source = source
        self._place: tuple[Service, str, str] | None = None

    def __repr__(self) -> str:
        return f"<upload session of {self._service.uri(self._key)}>"

    def open(
        self, options: PutOptions, mark: str | None, crc: int, conditions: list[tuple[str, str]]
    ) -> Steps[str]:
        """Open a session with the properties of the object, its checksum included. Returns the URL of the session."""
        properties = headers.marked(headers.properties(options), mark)
        resource: dict[str, Any] = {**properties, "name": self._key, "crc32c": crc32c.to_base64(crc)}
        query = [("uploadType", "resumable"), ("name", self._key), ("fields", headers.RESULT_FIELDS)]
        fields = [
            *headers.JSON,
            ("x-upload-content-type", headers.content_type(properties)),
            ("x-upload-content-length", str(self._source.size)),
            *self._key_fields,
        ]
        query += [*headers.key_name(options), *conditions]
        request = self._service.upload_request(query, fields, headers.json_source(resource))
        response = yield from self._service.send(request, self._key, (200, 201))
        location = response.header(b"location")
        if not location:
            raise ProtocolError("the answer names no upload session")
        self._place = self._find(location)
        return location

    def resume(self, location: str) -> Steps[Response]:
        """Continue the session of an earlier write; raises as :meth:`send`."""
        self._place = self._find(location)
        response: Response = yield self._request(f"bytes */{self._source.size}", None)
        if response.status in (200, 201):
            return response
        if response.status != _INCOMPLETE:
            raise _SessionGoneError("the upload session is gone", status=response.status)
        return (yield from self.send(self._persisted(response)))

    def _find(self, location: str) -> tuple[Service, str, str]:
        """Where the bytes go. A session needs no token, and another host gets none.

        Raises:
            ProtocolError: it is no URL that can be used.
            UnsupportedOperationError: another host, which must not see the customer's key.
        """
        account = self._service.account
        parts = urlsplit(location)
        own = account.service.pool
        if parts.scheme not in ("http", "https") or not parts.netloc or (own.secure and parts.scheme == "http"):
            raise ProtocolError("the URL of the upload session cannot be used")
        host = account.service
        if pool_for_url(location, account.settings.http) is not own:
            if self._key_fields:
                raise UnsupportedOperationError(
                    "the upload session is at another host, which must not see the customer's key",
                    hint="use that host as the endpoint",
                )
            host = account.without_token(location)
        return host, parts.path, parts.query

    def send(self, position: int = 0) -> Steps[Response]:
        """Send the bytes from ``position`` on (after a failure from the session's) until the answer has the object.

        Raises:
            _SessionGoneError: the service no longer has it.
            S3dlioError: refused, or no progress for ``retry.max_attempts`` attempts.
        """
        retry = self._service.settings.retry
        furthest, stalled = position, 0
        while True:
            failure: S3dlioError | None = None
            try:
                response: Response = yield self._bytes_from(position)
                if response.status in TRANSIENT:
                    failure = self._service.fail(response, self._key)
                    yield Pause(min(retry_after(response) or 0.0, retry.retry_after_cap))
            except (NetworkError, TransferTimeoutError) as error:
                failure = error
            if failure is not None:
                response = yield self._request(f"bytes */{self._source.size}", None)
            if response.status in (200, 201):
                return response
            if response.status in (404, 410):
                raise _SessionGoneError("the upload session is gone", status=response.status, hint="write it again")
            if response.status != _INCOMPLETE:
                raise self._service.fail(response, self._key)
            position = self._persisted(response)
            stalled = 0 if position > furthest else stalled + 1
            furthest = max(furthest, position)
            if stalled >= retry.max_attempts:
                raise failure or ServiceError("the upload session takes no more bytes", status=_INCOMPLETE)
            if stalled:
                yield Pause(backoff(retry, stalled))

    def _bytes_from(self, position: int) -> Request:
        """The rest of the object, in one attempt: after a failure the session's position comes first."""
        size = self._source.size
        if position == size:
            return self._request(f"bytes */{size}", None)
        source = self._source.part(position, size - position) if position else self._source
        request = self._request(f"bytes {position}-{size - 1}/{size}", source)
        host = request.service
        once = replace(self._service.settings.retry, max_attempts=1)
        request.service = Service(host.pool, host.signer, RetryPolicy(once, host.policy.total_timeout))
        request.idempotent = False
        return request

    def _request(self, content_range: str, body: Source | None) -> Request:
        assert self._place is not None
        host, path, query = self._place
        return Request(host, "PUT", path, query, (("content-range", content_range), *self._key_fields), body)

    def _persisted(self, response: Response) -> int:
        """How many bytes the session has: those of the answer's Range, none without one."""
        value = response.header(b"range")
        if value is None:
            return 0
        match = _RANGE.match(value)
        if match is None or int(match[1]) >= self._source.size:
            raise ProtocolError("the upload session reports bytes that were not sent")
        return int(match[1]) + 1
