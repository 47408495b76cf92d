"""Deleting many objects in one request, as Azure and Google Cloud Storage know it: a multipart body of requests, and
one of answers. What the service was too busy for is deleted alone, with the retries of single requests; so is
everything where it has no batches.
"""

from __future__ import annotations

import logging
import os
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence

from s3dlio.errors import ProtocolError, S3dlioError
from s3dlio.memory.sources import MemorySource
from s3dlio.net.message import Headers, Request
from s3dlio.net.response import Response
from s3dlio.net.retry import TRANSIENT
from s3dlio.stores.base import KeyErrors
from s3dlio.stores.call import Steps
from s3dlio.stores.cloud.service import CloudService

log = logging.getLogger("s3dlio.stores")

_BOUNDARY = r"boundary=\"?([^\";]+)"
_CONTENT_ID = r"(?im)^content-id:\s*<?(?:response-)?(\d{1,9})>?\s*$"
_STATUS = r"(?m)^HTTP/1\.\d (\d{3})"
#: What services answer that do not know batches.
_UNKNOWN = frozenset({404, 405, 501})


class BatchDelete(ABC):
    """Deletes sets of keys of one container. What differs between the services, subclasses say."""

    #: The status of a batch that was taken.
    taken: int

    service: CloudService

    def __init__(self, service: CloudService) -> None:
        self.service = service
        #: The service takes batches; found out at the first one.
        self.available = True

    @abstractmethod
    def request(self, fields: Headers, body: MemorySource) -> Request:
        """The request for a batch."""

    @abstractmethod
    def part(self, number: int, key: str) -> bytes:
        """The part of a batch for one key: from behind the boundary to the end of the line before the next."""

    @abstractmethod
    def error_of(self, key: str, status: int, text: str) -> S3dlioError:
        """The error for one answer of a batch."""

    def number_of(self, place: int, status: int, text: str) -> int:
        """Which request an answer without a number belongs to, when it is at ``place`` among the answers."""
        return place

    def run(self, keys: Sequence[str]) -> Steps[KeyErrors]:
        """Delete as many keys as a batch takes; those that failed, each with its error.

        Raises:
            S3dlioError: the batch as a whole was refused.
            ProtocolError: the answer leaves out a key.
        """
        again, failed = list(keys), KeyErrors()
        if again and self.available:
            request = self._request(keys)
            response: Response = yield request
            if response.status != self.taken:
                response = yield from self.service.recover(request, response)
            if response.status == self.taken:
                again = self._sort_out(keys, response, failed)
            else:
                error = self.service.fail(response, "")
                if response.status not in _UNKNOWN or error.code == "ContainerNotFound":
                    raise error
                log.info("%s has no batches: deleting one by one", request.service.pool.name)
                self.available = False
        if again:
            responses: Sequence[Response] = yield (self.service.delete_request(key) for key in again)
            for key, answer in zip(again, responses, strict=True):
                if answer.status not in self.service.deleted:
                    self._note(key, self.service.fail(answer, key), failed)
        return failed

    def _request(self, keys: Sequence[str]) -> Request:
        boundary = f"batch_{os.urandom(16).hex()}"
        line = f"--{boundary}\r\n".encode()
        parts = [line + self.part(number, key) for number, key in enumerate(keys)]
        body = MemorySource(memoryview(b"".join(parts) + f"--{boundary}--\r\n".encode()))
        return self.request((("content-type", f"multipart/mixed; boundary={boundary}"),), body)

    def _sort_out(self, keys: Sequence[str], response: Response, failed: KeyErrors) -> list[str]:
        """Note what failed; the keys to try again alone, where the retry policy is in force."""
        left = dict(enumerate(keys))
        again: list[str] = []
        for place, (number, status, text) in enumerate(parse(response)):
            key = left.pop(self.number_of(place, status, text) if number is None else number, None)
            if key is None:
                raise ProtocolError("the answer to a batch has a key twice, or one that was not asked for")
            if status in TRANSIENT:
                again.append(key)
            elif status not in self.service.deleted:
                self._note(key, self.error_of(key, status, text), failed)
        if left:
            raise ProtocolError(f"the answer to a batch leaves out {len(left)} of {len(keys)} keys")
        return again

    def _note(self, key: str, error: S3dlioError, failed: KeyErrors) -> None:
        if not self.service.is_gone_already(error):
            error.locate(self.service.uri(key), "DELETE")
            failed.append((key, error))


def parse(response: Response) -> Iterator[tuple[int | None, int, str]]:
    """The answers of a batch: the number of the request (None: there is none), status, and the text of it.

    Raises:
        ProtocolError: the body is no batch of answers.
    """
    match = re.search(_BOUNDARY, response.header(b"content-type") or "")
    text = bytes(response.body).decode("utf-8", "replace")
    if match is None or f"--{match[1]}--" not in text:
        raise ProtocolError("the answer to a batch is not whole")
    for part in text.partition(f"--{match[1]}--")[0].split(f"--{match[1]}")[1:]:
        status, number = re.search(_STATUS, part), re.search(_CONTENT_ID, part)
        if status is None:
            raise ProtocolError("a part of the answer to a batch has no status")
        yield (int(number[1]) if number else None), int(status[1]), part
