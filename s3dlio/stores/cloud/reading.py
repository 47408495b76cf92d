"""The range engine: one read of one object, whichever cloud it is in.

One get is one request. Its head has size and version, before the body is read; a large object is then read as
concurrent ranges of that version, each straight into its place, and a body that breaks off is continued from where it
stopped. No HEAD comes before.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from s3dlio.errors import IntegrityError, ObjectChangedError, ProtocolError
from s3dlio.memory.hashing_sink import HashingSink
from s3dlio.memory.sinks import Sink
from s3dlio.net.message import Headers, Request
from s3dlio.net.response import Response
from s3dlio.records import replace
from s3dlio.stores.call import Steps
from s3dlio.stores.cloud.service import CloudService
from s3dlio.types import Conditions, ObjectMetadata, lazy_metadata

#: The last position may be -1: Azurite calls the single byte of an empty blob ``bytes 0--1/0``.
CONTENT_RANGE = re.compile(r"bytes (\d{1,19})-(-1|\d{1,19})/(\d{1,19}|\*)$")
_ACTUAL_SIZE = re.compile(rb"<ActualObjectSize>(\d{1,19})<")
#: No service stores objects of this many bytes (Azure's limit is the highest: 190 TiB).
_MAX_SIZE = 1 << 48
#: The most ranges that one object is read in; they become larger where these are not enough.
_MAX_RANGES = 10_000


class Known(NamedTuple):
    """What is known of an object from an earlier answer: its size in bytes, its version, until when that is believed
    (``time.monotonic``), and the CRC32C of the whole, if any."""

    size: int
    pin: Conditions
    until: float
    crc32c: int | None = None


class Read:
    """One read on its way: the whole object or a range of it, split where it is large, resumed where it breaks off."""

    __slots__ = ("_conditions", "_first", "_hashing", "_key", "_length", "_offset", "_origin", "_pin", "_ranged",
                 "_request", "_service", "_sink", "_split", "_whole", "unmeasured")  # fmt: skip

    def __init__(
        self, service: CloudService, key: str, sink: Sink, offset: int, length: int | None, conditions: Conditions
    ) -> None:
        self._service = service
        self._key = key
        self._sink = sink
        self._offset = offset
        self._length = length
        self._conditions = conditions
        self._ranged = offset != 0 or length is not None
        self._first: Response | None = None
        self._request: Request | None = None
        self._pin: Conditions | None = None
        self._split = False
        self._origin: Request | None = None
        self._hashing: HashingSink | None = None
        self._whole: int | None = None  # the size of the object, where the answer to a range was all of it
        #: Only the end of the connection shows where the body ends: it may have been cut.
        self.unmeasured = False

    def steps(self) -> Steps[ObjectMetadata]:
        """Send the first request and those that follow it; the metadata in their answers."""
        service = self._service
        headers: Headers = ()
        if self._ranged:
            headers = (("range", self._range()),)
        elif service.verifies:
            self._sink = self._hashing = HashingSink(self._sink)
        request = service.read_request(self._key, headers, self._conditions)
        request.sink = self._sink
        request.on_head = self._on_head
        request.resume = self._resume_first
        self._request = request
        try:
            response: Response = yield request
        finally:
            self._request = None  # it knows this read: buffers would wait for the collector of cycles
        if response.status not in (200, 206):
            response = yield from self._following(service.recover(request, response))
        if response.status == 416 and self._ranged:
            return (yield from self._finish_empty(response))
        about = self._finish(response)
        return (yield from self._check_size(about)) if self.unmeasured else about

    def _range(self) -> str:
        """The bytes that the first request asks for."""
        last = "" if self._length is None else str(self._offset + self._length - 1)
        return f"bytes={self._offset}-{last}"

    def _following(self, steps: Steps[Response]) -> Steps[Response]:
        """Run ``steps``, which recover the first request (a redirect), and read the rest from where they lead."""
        answer: Response | None = None
        try:
            while True:
                self._origin = steps.send(answer)
                answer = yield self._origin
        except StopIteration as stop:
            response: Response = stop.value
            return response

    def known_ranges(self, known: Known) -> list[Request]:
        """The ranges of an object whose size and version are known: all at once, none cut short."""
        self._pin = known.pin
        self._split = True
        if self._service.verifies and known.crc32c is not None:
            self._sink = self._hashing = HashingSink(self._sink)
        self._sink.begin(known.size)
        return self._ranges(0, known.size)

    def finish_known(self, responses: Sequence[Response], known: Known) -> ObjectMetadata:
        """All ranges have come."""
        self._sink.end(known.size)
        if self._hashing is not None:
            _verify(self._hashing, known.crc32c)
        return lazy_metadata(_metadata_of_known, self._service, responses[0], known)

    def _on_head(self, response: Response, length: int | None) -> tuple[int | None, Sequence[Request]]:
        """The head of the first answer is here, before its body: whether the rest is read in ranges."""
        if response.lower.find(b"\r\ncontent-type: text/html") >= 0:
            self._service.check_page(response, self._request)
        if self._ranged:
            if response.status != 206:
                return self._on_whole(response, length)
            announced = self._checked_range(response, self._offset, length)
            if self._length is not None and announced > self._length:
                raise ProtocolError("the server sent more than the range that was asked for")
            if self._lacks(response, announced):
                raise ProtocolError("the server sent less than the range that was asked for")
            if length is None:  # chunked: no place of a fixed size, but just so many bytes
                self._first = response
                self._sink.begin(None)
                return announced, ()
        elif response.status == 206:
            raise ProtocolError("a partial answer to a request for the whole object")
        if length is not None and length > _MAX_SIZE:
            raise ProtocolError(f"the server names a size that no object has: {length} bytes")
        self._first = response
        self._sink.begin(length)
        self.unmeasured = length is None and response.header(b"transfer-encoding") is None
        if self._hashing is not None and self._service.checksum_of(response) is None:
            self._hashing.enabled = False
        ranges = self._service.settings.range
        if length is None or length <= ranges.chunk or length <= ranges.threshold or not ranges.enabled:
            return None, ()
        self._pin = self._service.pin(response)
        if self._pin is None:
            return None, ()
        self._split = True
        chunk = self._chunk(length)
        return chunk, self._ranges(chunk, length)

    def _on_whole(self, response: Response, length: int | None) -> tuple[int | None, Sequence[Request]]:
        """The server sends the whole object for a range (RFC 9110, 14.2): the range is taken from its beginning."""
        wanted = self._length
        if self._offset or wanted is None:
            raise ProtocolError("the server ignored the range and sent the whole object")
        if length is not None:
            wanted = min(wanted, length)
        self._first, self._whole = response, length
        self._sink.begin(None if length is None else wanted)
        return wanted, ()

    def _chunk(self, size: int) -> int:
        """How long the ranges of a body of ``size`` bytes are."""
        return max(self._service.settings.range.chunk, -(-size // _MAX_RANGES))

    def _ranges(self, begin: int, size: int) -> list[Request]:
        """The ranges of a body of ``size`` bytes from ``begin`` on."""
        chunk = self._chunk(size)
        return [self._range_request(start, min(chunk, size - start)) for start in range(begin, size, chunk)]

    def _range_request(self, start: int, length: int) -> Request:
        """The stretch of ``length`` bytes at ``start`` of what is read, of the version that the first answer named."""
        first = self._offset + start
        conditions = pin = self._pin
        assert conditions is not None
        wanted = self._conditions
        if wanted.version_id is not None:
            conditions = replace(conditions, version_id=wanted.version_id)
        if wanted.sse_customer_key is not None:
            conditions = replace(conditions, sse_customer_key=wanted.sse_customer_key)
        headers = (("range", f"bytes={first}-{first + length - 1}"),)
        request = self._service.read_request(self._key, headers, conditions)
        if (origin := self._origin) is not None:
            request = request.moved(origin.service, origin.path, origin.query)
        request.sink = self._sink
        request.start = start
        request.begins = False

        def on_head(response: Response, announced: int | None) -> tuple[int | None, Sequence[Request]]:
            if response.status != 206:
                raise changed(response)
            found = self._service.pin(response)
            if found is not None and found != pin:  # a server that ignores If-Match
                raise changed(response)
            whole = None if self._ranged else self._sink.size
            if whole is not None and _total_of(response, whole) != whole:  # and whose answers name no version
                raise changed(response)
            if self._checked_range(response, first, announced) != length:
                raise ProtocolError("the server answered another range than was asked for")
            return length, ()

        request.on_head = on_head
        request.again = self._service.second_tries()
        request.check = self._check_range
        request.resume = lambda response, received: self._range_request(start + received, length - received)
        return request

    def _resume_first(self, response: Response, received: int) -> Request | None:
        """The rest of the first body, after it broke off. Before the first byte a new start does as well, unless
        ranges of this version are on their way already."""
        if not received and not self._split:
            return None
        size = self._sink.size
        self._pin = self._service.pin(response)
        if self._pin is None or size is None:
            return None
        end = min(size, self._chunk(size)) if self._split else size
        return self._range_request(received, end - received)

    def _checked_range(self, response: Response, first: int, length: int | None) -> int:
        """The length of a 206 body, checked against its Content-Range."""
        match = CONTENT_RANGE.match(response.header(b"content-range") or "")
        if match is None or int(match[1]) != first:
            raise ProtocolError("a partial answer without the Content-Range that was asked for")
        announced = max(0, int(match[2]) - first + 1)  # emulators answer an empty 206 beyond the end
        if length is not None and length != announced:
            raise ProtocolError("Content-Length and Content-Range disagree")
        return announced

    def _lacks(self, response: Response, announced: int) -> bool:
        """The object goes on where the answer ends, and more of it was asked for."""
        total = _total_of(response, 0)
        wanted = total - self._offset if self._length is None else min(self._length, total - self._offset)
        return announced < wanted

    def _check_range(self, response: Response) -> None:
        by_version = self._pin is not None and self._pin.version_id is not None
        if response.status == 412 or (response.status == 404 and by_version):  # that version is gone
            raise changed(response)
        if response.status != 206:
            raise self._service.fail(response, self._key)

    def _finish(self, response: Response) -> ObjectMetadata:
        """The last answer has come: what was read, or the error."""
        first, sink = self._first, self._sink
        if first is None:
            raise self._service.fail(response, self._key)
        if response is not first:
            self._check_range(response)  # the rest of a body that broke off
        size = sink.size if sink.size is not None else response.size
        sink.end(size)
        if self._hashing is not None:
            _verify(self._hashing, self._service.checksum_of(first))
        return lazy_metadata(_metadata_of, self._service, first, size if self._whole is None else self._whole)

    def _finish_empty(self, response: Response) -> Steps[ObjectMetadata]:
        """The answer says that the range lies beyond the end (416): nothing was read, if that can be."""
        size = _size_beyond_end(response)
        if size is None:
            size = (yield from self._service.head_object(self._key, self._conditions)).size
        about = lazy_metadata(_metadata_of, self._service, response, size)
        return beyond_end(self._sink, self._offset, about)

    def _check_size(self, about: ObjectMetadata) -> Steps[ObjectMetadata]:
        """Compare the length of a body that the end of its connection has ended with the size that a HEAD has."""
        try:
            known: ObjectMetadata = yield from self._service.head_object(self._key, self._conditions)
        except ProtocolError:  # a server that has it nowhere
            return about
        if known.size != about.size:
            raise IntegrityError(
                f"the connection ended after {about.size} bytes of {known.size}", hint="read it again"
            )
        return about


def _metadata_of(service: CloudService, response: Response, size: int) -> ObjectMetadata:
    """What the head of a read says. Most reads want the bytes only, and sixteen fields cost more than the rest of a
    small request."""
    return service.metadata_of(response, _total_of(response, size))


def _metadata_of_known(service: CloudService, response: Response, known: Known) -> ObjectMetadata:
    # A checksum in the answer to a range is not that of the object.
    return replace(_metadata_of(service, response, known.size), crc32c=known.crc32c)


def _verify(hashing: HashingSink, expected: int | None) -> None:
    if expected is not None and (found := hashing.crc32c()) != expected:
        raise IntegrityError(
            f"the bytes that arrived have CRC32C {found:08x}, the object has {expected:08x}",
            hint="read it again; if it stays, the stored copy or the way to it is damaged",
        )


def beyond_end(sink: Sink, offset: int, about: ObjectMetadata) -> ObjectMetadata:
    """The empty result of a range that the service says lies beyond the end of the object, if it does.

    Raises:
        ProtocolError: it does not.
    """
    if offset < about.size:
        raise ProtocolError(
            f"the service says that there is nothing from byte {offset} on, though the object has {about.size} bytes",
            hint="read it again",
        )
    sink.begin(0)
    sink.end(0)
    return about


def changed(response: Response) -> ObjectChangedError:
    """The error for an object that was replaced between two requests of one read."""
    return ObjectChangedError(
        "the object was replaced while it was read; nothing was returned", status=response.status, hint="read it again"
    )


def _size_beyond_end(response: Response) -> int | None:
    """The size of the object in the answer to a range beyond its end: in a field, or (S3) in its document."""
    size = _total_of(response, -1)
    if size < 0 and (match := _ACTUAL_SIZE.search(response.body)):
        size = int(match[1])
    return None if size < 0 else size


def _total_of(response: Response, otherwise: int) -> int:
    """The size of the whole object: after the slash of Content-Range, else the length of the body."""
    text = response.header(b"content-range")
    total = text.rpartition("/")[2] if text else ""
    return int(total) if total.isdecimal() and len(total) < 20 else otherwise
