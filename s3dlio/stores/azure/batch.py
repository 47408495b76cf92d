"""Deleting many blobs in one request (Azure Storage REST API, "Blob Batch")."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from s3dlio.errors import ProtocolError, S3dlioError
from s3dlio.memory.body import MemorySource
from s3dlio.net.message import Response
from s3dlio.net.retry import TRANSIENT
from s3dlio.stores.azure import failures, xml
from s3dlio.stores.base import KeyErrors, Steps

if TYPE_CHECKING:
    from s3dlio.stores.azure.store import AzureStore

log = logging.getLogger("s3dlio.azure")

MAX_REQUESTS = 256
_BOUNDARY = re.compile(r"boundary=\"?([^\";]+)")
_CONTENT_ID = re.compile(r"(?im)^content-id:\s*(\d+)\s*$")
_STATUS = re.compile(r"(?m)^HTTP/1\.\d (\d{3})")
_CODE = re.compile(r"(?im)^x-ms-error-code:\s*(\S+)\s*$")
_REQUEST_ID = re.compile(r"(?im)^x-ms-request-id:\s*(\S+)\s*$")
#: What services answer that do not know the request.
_UNKNOWN = frozenset({404, 405, 501})


def delete(store: AzureStore, keys: Sequence[str]) -> Steps[KeyErrors]:
    """Delete at most 256 blobs; the keys that failed, each with its error."""
    if not keys:
        return []
    again: Sequence[str] = keys
    failed: KeyErrors = []
    if store.takes_batches:
        boundary = f"batch_{os.urandom(16).hex()}"
        fields = (("content-type", f"multipart/mixed; boundary={boundary}"),)
        source = MemorySource(memoryview(render(store, keys, boundary)))
        request = store.request("POST", "", "comp=batch&restype=container", fields, source)
        response: Response = yield request
        if response.status != 202:
            response = yield from store.mend(request, response)
        if response.status == 202:
            again = _sort_out(store, keys, response, failed)
        else:
            error = store.fail(response, "")
            if response.status not in _UNKNOWN or error.code == "ContainerNotFound":
                raise error
            log.info("%s has no batches: deleting one by one", store.account.url)
            store.takes_batches = False
    if again:
        responses: Sequence[Response] = yield (store.delete_request(key) for key in again)
        for key, answer in zip(again, responses, strict=True):
            if answer.status != 202 and not failures.is_gone_already(error := store.fail(answer, key)):
                error.locate(None, "DELETE")
                failed.append((key, error))
    return failed


def render(store: AzureStore, keys: Sequence[str], boundary: str) -> bytes:
    """The body of a batch: one delete for each key, signed for itself."""
    parts = []
    for number, key in enumerate(keys):
        head = store.account.renderer.render_part(store.delete_request(key))
        parts.append(
            f"--{boundary}\r\ncontent-type: application/http\r\ncontent-transfer-encoding: binary\r\n"
            f"content-id: {number}\r\n\r\n".encode()
            + head
        )
    return b"".join(parts) + f"--{boundary}--\r\n".encode()


def parse(response: Response) -> Iterator[tuple[int | None, int, str]]:
    """The answers of a batch: number of the request (None: the batch as a whole), status, and the text of it.

    Raises:
        ProtocolError: the body is no batch of answers.
    """
    match = _BOUNDARY.search(response.header(b"content-type") or "")
    text = bytes(response.body).decode("utf-8", "replace")
    if match is None or f"--{match[1]}--" not in text:
        raise ProtocolError("the answer to a batch is not whole")
    for part in text.partition(f"--{match[1]}--")[0].split(f"--{match[1]}")[1:]:
        status, number = _STATUS.search(part), _CONTENT_ID.search(part)
        if status is None:
            raise ProtocolError("a part of the answer to a batch has no status")
        yield (int(number[1]) if number else None), int(status[1]), part


def _sort_out(store: AzureStore, keys: Sequence[str], response: Response, failed: KeyErrors) -> list[str]:
    """Note what failed; the keys to try again alone, where the retry policy is in force.

    Raises:
        S3dlioError: the batch as a whole was refused.
        ProtocolError: it is not told of each key what became of it.
    """
    left = dict(enumerate(keys))
    again: list[str] = []
    for number, status, text in parse(response):
        if number is None:
            raise _error(store, "", status, text)
        key = left.pop(number, None)
        if key is None:
            raise ProtocolError("the answer to a batch tells of a key twice, or of one that was not asked for")
        if status in TRANSIENT:
            again.append(key)
        elif status != 202 and not failures.is_gone_already(error := _error(store, key, status, text)):
            failed.append((key, error))
    if left:
        raise ProtocolError(f"the answer to a batch leaves out {len(left)} of {len(keys)} keys")
    return again


def _error(store: AzureStore, key: str, status: int, text: str) -> S3dlioError:
    failure = xml.parse_failure(text.encode())
    code, request_id = _CODE.search(text), _REQUEST_ID.search(text)
    error = failures.error_of_parts(
        status,
        code[1] if code else failure.code if failure else None,
        failure,
        store.account,
        request_id=request_id[1] if request_id else None,
        attempts=1,
    )
    error.locate(store.uri(key), "DELETE")
    return error
