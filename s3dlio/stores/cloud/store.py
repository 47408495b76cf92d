"""What the cloud stores share: operations are generators of requests, run by the drivers of ``net``."""

from __future__ import annotations

import contextlib
import time
from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import ClassVar, TypeVar

from s3dlio.config.settings import Settings
from s3dlio.errors import EndpointError, ObjectChangedError, ObjectNotFoundError, ProtocolError, S3dlioError
from s3dlio.memory.body import DiscardSink, Sink
from s3dlio.net import blocking as one
from s3dlio.net.message import Headers, Request, Response
from s3dlio.stores.base import Call, ObjectStore, Steps, check_etag
from s3dlio.stores.cloud.failures import Api
from s3dlio.stores.cloud.reading import Known, Read
from s3dlio.types import NO_CONDITIONS, Conditions, ObjectMetadata, Observer

T = TypeVar("T")


#: So many known objects are kept before those whose time is over are dropped (and then twice as many as were left).
_TIDY_KNOWN = 1024


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
        self._known: dict[str, Known] = {}
        self._tidy_at = _TIDY_KNOWN

    def execute(self, call: Call[T]) -> T:
        writes = call.operation in ("PUT", "COPY")
        width = self.settings.multipart.max_in_flight if writes else self.settings.range.concurrency
        result: T = one.drive(call.steps(), width, call.spent)
        return result

    # -- what a service fills in

    @abstractmethod
    def read_request(self, key: str, headers: Headers, conditions: Conditions) -> Request:
        """A GET of the object, with ``headers`` added."""

    @abstractmethod
    def pin(self, response: Response) -> Conditions | None:
        """What holds further reads to the version just seen (ETag or generation); None when the answer named none."""

    @abstractmethod
    def metadata_of(self, response: Response, size: int) -> ObjectMetadata:
        """What the head of an answer tells about the object, whose size is ``size``."""

    #: Reads of whole objects are compared with the checksum that the service tells.
    verifies = False

    def checksum_of(self, response: Response) -> int | None:
        """The CRC32C of the whole object, where an answer tells it."""
        return None

    #: How answers of the service are known.
    api: ClassVar[Api]

    @property
    @abstractmethod
    def endpoint(self) -> str:
        """Where requests go, for messages."""

    def stranger(self, response: Response) -> EndpointError | None:
        """The error for an answer that somebody else than the service gave, if it is one."""
        return self.api.stranger(response, self.endpoint)

    def check_page(self, response: Response) -> None:
        """Refuse a web page in place of an object: those of the service tell of a version or a time.

        Raises:
            EndpointError: it is somebody else's.
        """
        told = b"\r\netag:" in response.lower or b"\r\nlast-modified:" in response.lower
        if not told and not self.api.marks_in(response):
            raise self.api.error(response, self.endpoint)

    def parsed(self, response: Response, parse: Callable[[bytes | bytearray], T]) -> T:
        """What ``parse`` makes of a document.

        Raises:
            EndpointError: it is a web page.
            ProtocolError: it is none of those that were asked for.
        """
        try:
            return parse(response.body)
        except ProtocolError as error:
            raise self.stranger(response) or error from None

    @abstractmethod
    def fail(self, response: Response, key: str) -> S3dlioError:
        """The typed error for an answer that is not the wanted one."""

    @abstractmethod
    def mend(self, request: Request, response: Response) -> Steps[Response]:
        """A second chance for an answer that asks for another request (a redirect, a skewed clock); else the answer."""

    def send(self, request: Request, key: str, wanted: tuple[int, ...] = (200,)) -> Steps[Response]:
        """Send a request; the answer, if its status is a wanted one.

        Raises:
            S3dlioError: any other answer.
        """
        response: Response = yield request
        if response.status not in wanted:
            response = yield from self.mend(request, response)
            if response.status not in wanted:
                raise self.fail(response, key)
        return response

    def second_tries(self) -> Callable[[Request, Response], Request | None] | None:
        """The same chance for one request of a concurrent set (``Request.again``); None where there is none."""
        return None

    # -- reading

    def _read(
        self, key: str, sink: Sink, offset: int, length: int | None, conditions: Conditions
    ) -> Steps[ObjectMetadata]:
        if length == 0:
            metadata: ObjectMetadata = yield from self._head(key, conditions)
            sink.begin(0)
            sink.end(0)
            return metadata
        if self._known and offset == 0 and length is None and conditions is NO_CONDITIONS:
            known = self._known.get(key)
            if known is not None and self._reads_at_once(known) and sink.restartable:
                try:
                    read = Read(self, key, sink, offset, length, conditions)
                    return read.finish_known((yield read.known_ranges(known)), known)
                except (ObjectChangedError, ObjectNotFoundError):
                    self.forget(key)
        read = Read(self, key, sink, offset, length, conditions)
        request = read.first_request()
        response: Response = yield request
        if response.status not in (200, 206):
            response = yield from read.following(self.mend(request, response))
        if response.status == 416 and (offset or length is not None):
            return (yield from read.finish_empty(response))
        about = read.finish(response)
        return (yield from read.check_size(about)) if read.unmeasured else about

    # -- deleting

    def _delete_if_match(self, key: str, etag: str) -> Steps[None]:
        """The delete of one version: a look at what is there, and the request with the service's own condition."""
        try:
            found: ObjectMetadata = yield from self._head(key, NO_CONDITIONS)
        except ObjectNotFoundError:
            return
        check_etag(found, etag)
        request = self.conditional_delete(key, found)
        with contextlib.suppress(ObjectNotFoundError):
            yield from self.send(request, key, (200, 202, 204))

    @abstractmethod
    def conditional_delete(self, key: str, found: ObjectMetadata) -> Request:
        """The request that deletes just the version ``found``."""

    def head_by_get(self, key: str, conditions: Conditions) -> Steps[ObjectMetadata]:
        """What HEAD would tell, by a GET of the first byte: its errors have a document that says why."""
        request = self.read_request(key, (("range", "bytes=0-0"),), conditions)
        sink = request.sink = DiscardSink()

        def on_head(response: Response, length: int | None) -> tuple[int | None, Sequence[Request]]:
            sink.begin(None)
            return (1 if length else None), ()  # where ranges are ignored, the rest is not waited for

        request.on_head = on_head
        response = yield from self.send(request, key, (200, 206, 416))
        size = response.header(b"content-length") if response.status == 200 else None
        if response.status != 200:
            size = (response.header(b"content-range") or "").rpartition("/")[2]
        if size is None or not size.isdecimal():
            raise ProtocolError("the service does not tell the size of the object", status=response.status)
        return self.metadata_of(response, int(size))

    # -- what is known of objects before they are read

    def remember(self, key: str, metadata: ObjectMetadata) -> None:
        """Keep size and version of an object for ``range.size_cache_seconds``: a large one is then read as concurrent
        ranges from its first byte on. A change in between is noticed, because every range names the version; the whole
        is compared with the checksum that was told, where reads are."""
        pin = self.pin_of(metadata)
        if pin is not None:
            now = time.monotonic()
            if len(self._known) >= self._tidy_at:
                self._known = {name: known for name, known in list(self._known.items()) if known.until > now}
                self._tidy_at = max(_TIDY_KNOWN, 2 * len(self._known))
            if len(self._known) >= self.settings.range.size_cache_entries:
                del self._known[next(iter(self._known))]
            until = now + self.settings.range.size_cache_seconds
            self._known[key] = Known(metadata.size, pin, until, metadata.crc32c)

    def pin_of(self, metadata: ObjectMetadata) -> Conditions | None:
        """As ``pin``, from what is known of an object."""
        etag = metadata.etag
        return None if etag is None or etag.startswith("W/") else Conditions(if_match=etag)

    def forget(self, key: str | None = None) -> None:
        """Forget one object, or all."""
        if key is None:
            self._known.clear()
        else:
            self._known.pop(key, None)

    def _reads_at_once(self, known: Known) -> bool:
        ranges = self.settings.range
        large = known.size > max(ranges.chunk, ranges.threshold)
        return large and ranges.enabled and time.monotonic() < known.until
