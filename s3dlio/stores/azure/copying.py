"""Copies inside one account: the service moves the bytes, and the client waits for the end (Azure Storage REST API,
"Copy Blob", "Abort Copy Blob", "Set Blob Properties")."""

from __future__ import annotations

import logging
from urllib.parse import urlsplit

from s3dlio.errors import PreconditionFailedError, S3dlioError, ServiceError
from s3dlio.net.message import Pause
from s3dlio.net.response import Response
from s3dlio.stores.azure import headers
from s3dlio.stores.azure.service import AzureService, version_query
from s3dlio.stores.call import Steps
from s3dlio.stores.cloud import write_outcome
from s3dlio.stores.cloud.percent import encode_query
from s3dlio.types import PutOptions, PutResult

log = logging.getLogger("s3dlio.azure")

#: Seconds before the first look at a copy that goes on; each pause is so many times the one before, up to a limit.
_FIRST_PAUSE = 0.1
_GROWTH = 2
_LONGEST_PAUSE = 5.0


def copy(
    service: AzureService, source: AzureService, source_key: str, key: str, options: PutOptions
) -> Steps[PutResult]:
    """Copy a blob. Metadata replaces what the source has, if given; content type and the like are set afterwards."""
    fields = [("x-ms-copy-source", _source_url(source, source_key, options.conditions.version_id))]
    fields += headers.attached_fields(options)
    fields += headers.condition_fields(options.conditions)
    request = service.request("PUT", key, "", fields)
    request.idempotent = not write_outcome.is_conditional(options)
    response: Response = yield request
    if response.status != 202:
        response = yield from service.recover(request, response)
        if response.status != 202:
            return (yield from write_outcome.judged(service, key, options, None, service.fail(response, key)))
    status = response.header(b"x-ms-copy-status")
    if status is None:
        raise service.api.error(response, service.asked(response))  # what is there now may be another write's
    if status != "success":
        response = yield from _wait(service, key, response)
    if properties := headers.property_fields(options):
        response = yield from _set_properties(service, key, dict(properties))
    return headers.result_of(response, 0)


def _source_url(source: AzureService, key: str, version_id: str | None) -> str:
    parts = urlsplit(source.account.url)
    query = "&".join(filter(None, (version_query(version_id), source.account.sas)))
    return f"{parts.scheme}://{parts.netloc}{source.path(key)}" + (f"?{query}" if query else "")


def _wait(service: AzureService, key: str, response: Response) -> Steps[Response]:
    """Look at the target until its copy is done; abort the copy after an error or a cancellation."""
    copy_id = response.header(b"x-ms-copy-id")
    pause = _FIRST_PAUSE
    try:
        while response.header(b"x-ms-copy-status") == "pending":
            yield Pause(pause)
            pause = min(_GROWTH * pause, _LONGEST_PAUSE)
            response = yield from service.head(key)
    except GeneratorExit:
        raise  # the driver is gone, and with it the way to send an abort
    except BaseException:
        yield from _abort(service, key, copy_id)
        raise
    if response.header(b"x-ms-copy-id") != copy_id:
        raise PreconditionFailedError("another write replaced the target while it was copied")
    status = response.header(b"x-ms-copy-status")
    if status != "success":
        why = response.header(b"x-ms-copy-status-description") or "no reason was given"
        raise ServiceError(f"the copy ended as '{status}': {why}", status=response.status)
    return response


def _abort(service: AzureService, key: str, copy_id: str | None) -> Steps[None]:
    query = encode_query([("comp", "copy"), ("copyid", copy_id or "")])
    request = service.request("PUT", key, query, (("x-ms-copy-action", "abort"),))
    try:
        yield from service.send(request, key, (204, 404, 409))  # 409: it is over already
    except S3dlioError as error:
        log.warning("the copy to %s could not be aborted: %s", service.uri(key), error)


def _set_properties(service: AzureService, key: str, properties: dict[str, str]) -> Steps[Response]:
    """Set some properties and keep the others, which Azure would clear."""
    head = yield from service.head(key)
    kept = dict(headers.property_fields(headers.metadata_of(head, 0)))
    fields = [*(kept | properties).items()]
    if md5 := headers.md5_of(head):
        fields.append(("x-ms-blob-content-md5", md5))
    if etag := head.header(b"etag"):
        fields.append(("if-match", etag))
    response = yield from service.send(service.request("PUT", key, "comp=properties", fields), key)
    return response
