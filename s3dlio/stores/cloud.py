"""What the cloud stores share: operations are generators of requests, run by the drivers of ``net``.

The range engine lives here once for all of them: one get is one request, and a large object becomes concurrent
ranges of the same version, with no HEAD before.
"""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar, TypeVar

from s3dlio.errors import ObjectChangedError, ProtocolError
from s3dlio.memory.body import Sink
from s3dlio.net import one
from s3dlio.net.message import Headers, Request, Response
from s3dlio.settings import Settings
from s3dlio.stores.base import Call, ObjectStore, Steps
from s3dlio.types import Conditions, ObjectMetadata, Observer

T = TypeVar("T")

_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)$")


class CloudStore(ObjectStore):
    """An object store behind HTTP.

    Args:
        root: the URI of the container.
        settings: timeouts, retries, ranges, parts.
        observers: as of ObjectStore.
    """

    is_cloud: ClassVar[bool] = True
    #: Writes carry a CRC32C for the service to check.
    sends_checksums = False

    def __init__(self, root: str, settings: Settings, observers: Sequence[Observer] = ()) -> None:
        super().__init__(root, observers)
        self.settings = settings

    def execute(self, call: Call[T]) -> T:
        result: T = one.drive(call.steps(), self.settings.range.concurrency)
        return result

    # -- what a service fills in

    @abstractmethod
    def read_request(self, key: str, headers: Headers, conditions: Conditions) -> Request:
        """A GET of the object, with ``headers`` added."""

    @abstractmethod
    def pin(self, metadata: ObjectMetadata, response: Response) -> Headers | None:
        """The headers that pin further reads to the version just seen; None when the answer named none."""

    @abstractmethod
    def metadata_of(self, response: Response, size: int) -> ObjectMetadata:
        """What the head of an answer tells about the object."""

    @abstractmethod
    def fail(self, response: Response, key: str) -> Exception:
        """The typed error for an answer that is not the wanted one."""

    @abstractmethod
    def mend(self, request: Request, response: Response) -> Steps[Response]:
        """A second chance for an answer that asks for another request (a redirect, a skewed clock); else the answer."""

    # -- reading

    def _read(
        self, key: str, sink: Sink, offset: int, length: int | None, conditions: Conditions
    ) -> Steps[ObjectMetadata]:
        if length == 0:
            metadata: ObjectMetadata = yield from self._head(key, conditions)
            sink.begin(0)
            sink.end(0)
            return metadata
        read = _Read(self, key, sink, offset, length, conditions)
        request = read.first_request()
        response: Response = yield request
        if response.status not in (200, 206):
            if response.status == 416 and read.ranged:
                sink.begin(0)
                sink.end(0)
                return self.metadata_of(response, read.total_of(response, 0))
            response = yield from self.mend(request, response)
            if response.status not in (200, 206):
                raise self.fail(response, key)
        return read.finish(response)


class _Read:
    """One read on its way: the whole object or a range of it, split where it is large, resumed where it breaks off."""

    __slots__ = ("_check", "_conditions", "_key", "_length", "_offset", "_pin", "_sink", "_store", "metadata", "ranged",
                 "split")  # fmt: skip

    def __init__(
        self, store: CloudStore, key: str, sink: Sink, offset: int, length: int | None, conditions: Conditions
    ) -> None:
        self._store = store
        self._key = key
        self._sink = sink
        self._offset = offset
        self._length = length
        self._conditions = conditions
        self._pin: Headers | None = None
        self.ranged = offset != 0 or length is not None
        self.metadata: ObjectMetadata | None = None
        self.split = False

    def first_request(self) -> Request:
        headers: Headers = ()
        if self.ranged:
            last = "" if self._length is None else str(self._offset + self._length - 1)
            headers = (("range", f"bytes={self._offset}-{last}"),)
        request = self._store.read_request(self._key, headers, self._conditions)
        request.sink = self._sink
        request.on_head = self._on_head
        request.resume = self._resume_first
        return request

    def total_of(self, response: Response, otherwise: int) -> int:
        """The size of the whole object."""
        text = response.header(b"content-range")
        if text is None:
            return otherwise
        total = text.rpartition("/")[2]
        return int(total) if total.isdigit() else otherwise

    def _on_head(self, response: Response, length: int | None) -> tuple[int | None, Sequence[Request]]:
        """The head of the first answer is here: what it tells of the object, and whether the rest is read in ranges."""
        if self.ranged:
            if response.status != 206:
                raise ProtocolError("the server ignored the range and sent the whole object")
            length = self._checked_range(response, self._offset, length)
        store = self._store
        self.metadata = store.metadata_of(response, self.total_of(response, length or 0))
        self._sink.begin(length)
        if length is None:
            return None, ()
        self._pin = store.pin(self.metadata, response)
        ranges = store.settings.range
        if not ranges.enabled or length <= ranges.threshold or length <= ranges.chunk or self._pin is None:
            return None, ()
        self.split = True
        more = [
            self._range_request(start, min(ranges.chunk, length - start))
            for start in range(ranges.chunk, length, ranges.chunk)
        ]
        return ranges.chunk, more

    def _range_request(self, start: int, length: int) -> Request:
        """The stretch of ``length`` bytes at ``start`` of what is read, of the version that the first answer named."""
        first = self._offset + start
        assert self._pin is not None
        headers = (("range", f"bytes={first}-{first + length - 1}"), *self._pin)
        request = self._store.read_request(self._key, headers, self._conditions)
        request.sink = self._sink
        request.start = start
        request.begins = False

        def on_head(response: Response, announced: int | None) -> tuple[int | None, Sequence[Request]]:
            if response.status != 206 or self._checked_range(response, first, announced) != length:
                raise ProtocolError("the server answered another range than was asked for")
            return None, ()

        request.on_head = on_head
        request.check = self._check_range
        request.resume = lambda response, received: self._range_request(start + received, length - received)
        return request

    def _resume_first(self, response: Response, received: int) -> Request | None:
        """The rest of the first body, after it broke off."""
        size = self._sink.size
        if self._pin is None or size is None:
            return None
        end = min(size, self._store.settings.range.chunk) if self.split else size
        return self._range_request(received, end - received)

    def _checked_range(self, response: Response, first: int, length: int | None) -> int:
        """The length of a 206 body, checked against its Content-Range."""
        match = _CONTENT_RANGE.match(response.header(b"content-range") or "")
        if match is None or int(match[1]) != first:
            raise ProtocolError("a partial answer without the Content-Range that was asked for")
        announced = int(match[2]) - first + 1
        if length is not None and length != announced:
            raise ProtocolError("Content-Length and Content-Range disagree")
        return announced

    def _check_range(self, response: Response) -> None:
        if response.status == 206:
            return
        if response.status == 412 or response.status == 200:
            raise ObjectChangedError(
                "the object was replaced while it was read; nothing was returned",
                status=response.status,
                hint="read it again",
            )
        raise self._store.fail(response, self._key)

    def finish(self, response: Response) -> ObjectMetadata:
        if response.status == 206 and not self.ranged:
            self._check_range(response)  # the rest of a body that broke off
        if self._sink.size is None:
            self._sink.end(response.size)
            if self.metadata is not None and not self.ranged:
                self.metadata = self._store.metadata_of(response, response.size)
        else:
            self._sink.end(self._sink.size)
        assert self.metadata is not None
        return self.metadata
