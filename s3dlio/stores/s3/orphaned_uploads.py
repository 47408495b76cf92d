"""What could stay behind of multipart uploads, at their owner's cost, until somebody aborts it: parts that were on
their way when an upload was given up, and uploads that nobody knows of, because the reply to CreateMultipartUpload was
lost and the request went again or not. They are looked for, not guessed.

Source: Amazon S3 API Reference, ListMultipartUploads, ListParts, AbortMultipartUpload.
"""

from __future__ import annotations

import logging

from s3dlio.errors import S3dlioError
from s3dlio.net import system
from s3dlio.net.message import Pause
from s3dlio.net.response import Response
from s3dlio.rfc3339 import parse_rfc3339
from s3dlio.stores.call import Steps
from s3dlio.stores.cloud.percent import encode_query
from s3dlio.stores.s3.history import parse_uploads
from s3dlio.stores.s3.recovery import time_of
from s3dlio.stores.s3.service import S3Service

log = logging.getLogger("s3dlio.s3")

#: Seconds before an upload is aborted again that still has parts.
_PAUSES = (0.1, 0.3, 1.0)
#: Seconds before it is looked again for an upload whose creation was given up on its way: 5 % come after a first look.
_LATE = (0.2, 0.6)
#: Services give times in whole seconds, and the Date of an answer is as coarse.
_COARSE_SECONDS = 2.0

#: Ids of open uploads that this process has begun or resumed: no lost request made these.
known: set[str] = set()


def abort(service: S3Service, key: str, upload: str, *, stragglers: bool) -> Steps[None]:
    """Abort an upload. A failure is logged: whoever gives up has a reason of its own to tell.

    Args:
        service: where.
        key: the object.
        upload: its id.
        stragglers: parts were on their way. The service may still store them, so the upload is looked at afterwards,
            and aborted again while it has parts (Amazon S3 API Reference, AbortMultipartUpload).
    """
    query = encode_query([("uploadId", upload)])
    look = encode_query([("max-parts", "1"), ("uploadId", upload)])
    try:
        for pause in _PAUSES:
            yield from service.send(service.request("DELETE", key, query), key, (200, 204, 404))
            if not stragglers:
                return
            response: Response = yield service.request("GET", key, look)
            if response.status != 200 or b"<Part>" not in response.body:
                return  # gone, or not for us to see
            yield Pause(pause)
        log.warning("upload %s of %s still has parts after it was aborted", upload, service.uri(key))
    except S3dlioError as error:
        log.warning("upload %s of %s could not be aborted: %s", upload, service.uri(key), error)


def abort_unknown(
    service: S3Service, key: str, asked: float, answered: float, lost: int, *, late: bool = False
) -> Steps[None]:
    """Abort uploads of ``key`` that lost requests made: begun during the request, without a part, and not ``known``.

    Another client's upload has parts soon after it was begun, so this is called when the write is over. It is mistaken
    for an orphan only if it has none and was begun in the same seconds. Where there are more of the kind than there
    were lost requests, some belong to other clients, and all stay. A listing that fails is logged.

    Args:
        service: where.
        key: the object.
        asked, answered: the moments (``time.monotonic``) before and after CreateMultipartUpload.
        lost: requests without a clear answer; each may have made one upload.
        late: the last of them may not have reached the service yet, so it is looked for more than once.
    """
    try:
        for pause in (0.0, *_LATE) if late else (0.0,):
            if pause:
                yield Pause(pause)
            found = yield from _begun(service, key, asked, answered)
            if len(found) > lost:
                told = "%d empty uploads of %s: it cannot be told which a lost reply left"
                log.warning(told, len(found), service.uri(key))
                return
            for upload in found:
                log.info("upload %s of %s came of a request whose reply was lost: aborted", upload, service.uri(key))
                query = encode_query([("uploadId", upload)])
                yield from service.send(service.request("DELETE", key, query), key, (200, 204, 404))
            lost -= len(found)
            if not lost:
                return
    except S3dlioError as error:
        log.warning("an upload of %s may be left open after a lost reply: %s", service.uri(key), error)


def _begun(service: S3Service, key: str, asked: float, answered: float) -> Steps[list[str]]:
    """The uploads of ``key`` that were begun in that time, are not ``known`` and have no part."""
    prefix = key[: key.rfind("/") + 1] if service.is_directory else key
    request = service.request("GET", "", encode_query([("prefix", prefix), ("uploads", "")]))
    sent = system.monotonic()
    response: Response = yield from service.send(request, key)
    now = time_of(response) or system.time()  # the service's clock, at some moment since then, says when uploads began
    first, last = now - (system.monotonic() - asked), now - (sent - answered)
    found: list[str] = []
    for name, upload, initiated in parse_uploads(response.body)[0]:
        begun = parse_rfc3339(initiated or "")
        if name != key or upload in known or begun is None:
            continue
        in_time = first - _COARSE_SECONDS <= begun / 1e9 <= last + _COARSE_SECONDS
        if in_time and (yield from _is_empty(service, key, upload)):
            found.append(upload)
    return found


def _is_empty(service: S3Service, key: str, upload: str) -> Steps[bool]:
    """Whether an upload is open and has no part."""
    query = encode_query([("max-parts", "1"), ("uploadId", upload)])
    response: Response = yield from service.send(service.request("GET", key, query), key, (200, 404))
    return response.status == 200 and b"<Part>" not in response.body
