"""Copying and joining inside the service (Cloud Storage JSON API, "Objects: rewrite", "Objects: compose")."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from s3dlio.config.sections import RetrySettings
from s3dlio.errors import ProtocolError, S3dlioError, ServiceError
from s3dlio.net.message import Pause, Request
from s3dlio.net.retry import backoff
from s3dlio.stores.call import Steps
from s3dlio.stores.cloud import write_outcome
from s3dlio.stores.cloud.percent import encode_query, encode_segment
from s3dlio.stores.gcs import headers
from s3dlio.stores.gcs.service import GcsService
from s3dlio.types import Conditions, PutOptions, PutResult

#: Sources of one compose request.
MAX_COMPOSED = 32


def rewrite(
    service: GcsService, source: GcsService, source_key: str, key: str, options: PutOptions
) -> Steps[PutResult]:
    """Copy an object. Between locations or storage classes that takes several requests, each with the token of the
    answer before."""
    properties = headers.properties(options)
    if properties:  # they replace all properties of the source
        wanted = options.conditions
        read = Conditions(version_id=wanted.version_id, sse_customer_key=wanted.sse_customer_key)
        original = yield from source.head_object(source_key, read)
        properties = {**headers.carried(original), **properties}
    query = [("fields", f"done,rewriteToken,totalBytesRewritten,objectSize,resource({headers.RESULT_FIELDS})")]
    if options.conditions.version_id:
        query.append(("sourceGeneration", options.conditions.version_id))
    if options.ssekms_key_id:
        query.append(("destinationKmsKeyName", options.ssekms_key_id))
    conditions = yield from service.write_conditions(key, options)
    query += conditions
    fields = headers.key_fields(options.sse_customer_key)
    fields += headers.key_fields(options.conditions.sse_customer_key, of_source=True)
    path = f"{source.path(source_key)}/rewriteTo/b/{service.bucket}/o/{encode_segment(key)}"
    token: headers.Fields = []
    progress = RewriteProgress(service.settings.retry)
    while True:
        request = service.request("POST", path, encode_query(query + token), fields, properties or None)
        request.idempotent = not conditions
        try:
            found = yield from service.ask(request, key)
        except S3dlioError as error:
            return (yield from write_outcome.judged(service, key, options, None, error))
        if found.get("done"):
            if not isinstance(found.get("resource"), dict) or not found["resource"].get("generation"):
                raise ProtocolError("the answer to a rewrite is that it is done, without the object")
            return headers.result_of(found["resource"])
        if not found.get("rewriteToken"):
            raise ProtocolError("the answer to an unfinished rewrite has no token for the rest")
        token = [("rewriteToken", found["rewriteToken"])]
        delay = progress.note(int(found.get("totalBytesRewritten", 0)), int(found.get("objectSize", 0)))
        if delay:
            yield Pause(delay)


class RewriteProgress:
    """Follows a rewrite from answer to answer: only so many in a row may report no progress.

    Args:
        retry: ``max_attempts`` is that number, and its delays are those between the requests.
    """

    def __init__(self, retry: RetrySettings) -> None:
        self._retry = retry
        self._size: int | None = None
        self._copied = -1  # the first answer may report 0 bytes
        self._stalled = 0

    def note(self, copied: int, size: int) -> float:
        """Take note of an answer that the rewrite is not done: ``copied`` of ``size`` bytes are. Returns the seconds
        to wait before the next request.

        Raises:
            ServiceError: the rewrite gets no further.
        """
        if self._size is None:
            self._size = size  # of later answers it may grow for ever
        if self._copied < copied <= self._size:
            self._copied, self._stalled = copied, 0
            return 0.0
        self._stalled += 1
        if self._stalled >= self._retry.max_attempts:
            raise ServiceError(
                f"the copy gets no further: {self._stalled} answers in a row report no more than {self._copied} of "
                f"{self._size} bytes",
                hint="copy again; if it stays so, download and upload the object",
            )
        return backoff(self._retry, self._stalled)


def compose_request(
    service: GcsService,
    sources: Sequence[tuple[str, str | None]],
    key: str,
    properties: dict[str, Any],
    options: PutOptions,
    conditions: list[tuple[str, str]],
) -> Request:
    """The request that makes one object of others, each (name, generation), in their order."""
    body = {
        "sourceObjects": [
            {"name": name, **({"generation": generation} if generation else {})} for name, generation in sources
        ],
        "destination": {"contentType": "application/octet-stream", **properties},
    }
    query = encode_query([("fields", headers.RESULT_FIELDS), *headers.key_name(options), *conditions])
    fields = headers.key_fields(options.sse_customer_key)
    request = service.request("POST", f"{service.path(key)}/compose", query, fields, body)
    request.idempotent = not conditions
    return request


def compose(service: GcsService, keys: Sequence[str], key: str, options: PutOptions) -> Steps[PutResult]:
    """Make one object of others; see :meth:`GcsStore.compose`."""
    conditions = yield from service.write_conditions(key, options)
    mark = write_outcome.new_mark(options)
    properties = headers.marked(headers.properties(options), mark)
    request = compose_request(service, [(name, None) for name in keys], key, properties, options, conditions)
    try:
        return headers.result_of((yield from service.ask(request, key)))
    except S3dlioError as error:
        return (yield from write_outcome.judged(service, key, options, mark, error))
