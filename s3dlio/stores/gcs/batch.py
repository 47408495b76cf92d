"""Deleting many objects in one request (Cloud Storage JSON API, "Sending batch requests")."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from s3dlio.errors import ProtocolError
from s3dlio.memory.body import MemorySource
from s3dlio.net.message import Request, Response
from s3dlio.net.retry import TRANSIENT
from s3dlio.stores.base import KeyErrors, Steps
from s3dlio.stores.gcs import failures

if TYPE_CHECKING:
    from s3dlio.stores.gcs.store import GcsStore

log = logging.getLogger("s3dlio.gcs")

MAX_REQUESTS = 100
_BOUNDARY = re.compile(r"boundary=\"?([^\";]+)")
_CONTENT_ID = re.compile(r"(?im)^content-id:\s*<?response-(\d+)>?\s*$")
_STATUS = re.compile(r"(?m)^HTTP/1\.\d (\d{3})")
#: What services answer that do not know batches.
_UNKNOWN = frozenset({404, 405, 501})


def delete(store: GcsStore, keys: Sequence[str]) -> Steps[KeyErrors]:
    """Delete at most 100 objects; the keys that failed, each with its error."""
    if not keys:
        return []
    again = list(keys)
    failed: KeyErrors = []
    if store.takes_batches:
        request = batch_request(store, keys)
        response: Response = yield request
        if response.status != 200:
            response = yield from store.mend(request, response)
        if response.status == 200:
            again = _sort_out(store, keys, response, failed)
        elif response.status in _UNKNOWN:
            log.info("%s has no batches: deleting one by one", store.account.url)
            store.takes_batches = False
        else:
            raise store.fail(response, "")
    if again:
        responses: Sequence[Response] = yield (store.delete_request(key) for key in again)
        for key, answer in zip(again, responses, strict=True):
            _note(store, key, answer.status, bytes(answer.body), failed)
    return failed


def batch_request(store: GcsStore, keys: Sequence[str]) -> Request:
    """The request for a batch: one delete for each key; the token of the whole holds for all."""
    boundary = f"batch_{os.urandom(16).hex()}"
    parts = [
        f"--{boundary}\r\nContent-Type: application/http\r\nContent-ID: <{number}>\r\n\r\n"
        f"DELETE {store.delete_request(key).path} HTTP/1.1\r\n\r\n\r\n"
        for number, key in enumerate(keys)
    ]
    body = f"{''.join(parts)}--{boundary}--\r\n".encode("latin-1")
    fields = (("content-type", f"multipart/mixed; boundary={boundary}"),)
    path = f"{store.account.base}/batch/storage/v1"
    return Request(store.service, "POST", path, "", fields, MemorySource(memoryview(body)))


def parse(response: Response) -> Iterator[tuple[int | None, int, str]]:
    """The answers of a batch: the number of the request (None: not told), status, and the text of it.

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


def _sort_out(store: GcsStore, keys: Sequence[str], response: Response, failed: KeyErrors) -> list[str]:
    """Note what failed; the keys to try again alone, where the retry policy is in force."""
    left = dict(enumerate(keys))
    again: list[str] = []
    for position, (number, status, text) in enumerate(parse(response)):
        key = left.pop(position if number is None else number, None)
        if key is None:
            raise ProtocolError("the answer to a batch tells of a key twice, or of one that was not asked for")
        if status in TRANSIENT:
            again.append(key)
        else:
            _note(store, key, status, text[text.find("{") :].strip().encode() if "{" in text else b"", failed)
    if left:
        raise ProtocolError(f"the answer to a batch leaves out {len(left)} of {len(keys)} keys")
    return again


def _note(store: GcsStore, key: str, status: int, body: bytes, failed: KeyErrors) -> None:
    if status in (200, 204):
        return
    error = failures.error_of_parts(status, body, anonymous=store.account.anonymous)
    if not failures.is_gone_already(error):
        error.locate(store.uri(key), "DELETE")
        failed.append((key, error))
