"""The lower half of a cloud store: the service that a container lives in.

A service builds requests, sends them and knows what the answers mean: settings, URIs, versions, checksums, typed
errors, and what to do about an answer that asks for another request. It knows no verb, no call and no observer: those
are the store's (``CloudStore``), which holds a service. Reading, multipart uploads, copying, listing and deleting in
batches take the service alone, so that none of them imports the store that uses it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import ClassVar, TypeVar

from s3dlio.config.settings import Settings
from s3dlio.errors import EndpointError, ProtocolError, S3dlioError
from s3dlio.memory.sinks import DiscardSink
from s3dlio.net.message import Headers, Request
from s3dlio.net.response import Response
from s3dlio.net.retry import RetryPolicy
from s3dlio.stores.call import Steps
from s3dlio.stores.cloud.answer_check import Api
from s3dlio.stores.cloud.part_size import Measured
from s3dlio.stores.cloud.write_outcome import Marked
from s3dlio.types import Conditions, ObjectMetadata, PutOptions

T = TypeVar("T")


class CloudService(ABC):
    """One container of a service, seen from below: requests and answers.

    Args:
        root: the URI of the container.
        settings: timeouts, retries, ranges, parts.
    """

    #: How answers of the service are known.
    api: ClassVar[Api]
    #: Writes carry a CRC32C for the service to check.
    sends_checksums = False
    #: Ranges may count from the end of an object.
    takes_suffix_ranges = True
    #: Reads of whole objects are compared with the checksum that the service names.
    verifies = False
    #: What a delete that was done is answered with.
    deleted: ClassVar[tuple[int, ...]]

    def __init__(self, root: str, settings: Settings) -> None:
        self.root = root
        self.settings = settings
        self.measured = Measured()

    @property
    @abstractmethod
    def endpoint(self) -> str:
        """Where requests go, for messages."""

    @property
    @abstractmethod
    def retry_policy(self) -> RetryPolicy:
        """What decides whether its requests are sent again."""

    def uri(self, key: str) -> str:
        """The URI of ``key``."""
        return f"{self.root}/{key}"

    # -- requests

    @abstractmethod
    def read_request(self, key: str, headers: Headers, conditions: Conditions) -> Request:
        """A GET of the object, with ``headers`` added."""

    @abstractmethod
    def delete_request(self, key: str, version_id: str | None = None) -> Request:
        """The request that deletes an object, or one version of it."""

    @abstractmethod
    def conditional_delete(self, key: str, found: ObjectMetadata) -> Request:
        """The request that deletes just the version ``found``."""

    @abstractmethod
    def recover(self, request: Request, response: Response) -> Steps[Response]:
        """A second chance for an answer that asks for another request (a redirect, a skewed clock); else the answer."""

    def second_tries(self) -> Callable[[Request, Response], Request | None] | None:
        """The same chance for one request of a concurrent set (``Request.again``); None where there is none."""
        return None

    def send(self, request: Request, key: str, wanted: tuple[int, ...] = (200,)) -> Steps[Response]:
        """Send a request; the answer, if its status is a wanted one.

        Raises:
            S3dlioError: any other answer.
        """
        response: Response = yield request
        if response.status not in wanted:
            response = yield from self.recover(request, response)
            if response.status not in wanted:
                raise self.fail(response, key)
        return response

    # -- answers

    @abstractmethod
    def pin(self, response: Response) -> Conditions | None:
        """What holds further reads to the version just seen (ETag or generation); None when the answer named none."""

    def pin_of(self, metadata: ObjectMetadata) -> Conditions | None:
        """As ``pin``, from what is known of an object."""
        etag = metadata.etag
        return None if etag is None or etag.startswith("W/") else Conditions(if_match=etag)

    @abstractmethod
    def metadata_of(self, response: Response, size: int) -> ObjectMetadata:
        """The metadata in the head of an answer about an object of ``size`` bytes."""

    def checksum_of(self, response: Response) -> int | None:
        """The CRC32C of the whole object, where an answer has it."""
        return None

    @abstractmethod
    def fail(self, response: Response, key: str) -> S3dlioError:
        """The typed error for an answer that is not the wanted one."""

    def asked(self, response: Response, request: Request | None = None) -> str:
        """Who answered: this service, or that one of its endpoints; the request tells it while the answer comes."""
        if (flight := getattr(request, "flight", None)) is not None:
            return str(flight.endpoint.name)
        return getattr(response, "server", self.endpoint)

    def foreign_answer(self, response: Response) -> EndpointError | None:
        """The error for an answer that another server than the service gave, if it is one."""
        return self.api.foreign_answer(response, self.asked(response))

    def check_page(self, response: Response, request: Request | None) -> None:
        """Refuse a web page in place of an object: those of the service have a version or a time.

        Raises:
            EndpointError: it is another server's.
        """
        is_object = b"\r\netag:" in response.lower or b"\r\nlast-modified:" in response.lower
        if not is_object and not self.api.marks_in(response):
            raise self.api.error(response, self.asked(response, request))

    def parsed(self, response: Response, parse: Callable[[bytes | bytearray], T]) -> T:
        """What ``parse`` makes of a document.

        Raises:
            EndpointError: it is a web page.
            ProtocolError: it is none of those that were asked for.
        """
        try:
            return parse(response.body)
        except ProtocolError as error:
            raise self.foreign_answer(response) or error from None

    @abstractmethod
    def is_gone_already(self, error: S3dlioError) -> bool:
        """Whether a delete found nothing to delete, in a container that exists."""

    def delete(self, key: str, version_id: str | None = None) -> Steps[None]:
        """Delete an object, or one version of it; one that is not there is no error."""
        try:
            yield from self.send(self.delete_request(key, version_id), key, self.deleted)
        except S3dlioError as error:
            if not self.is_gone_already(error):
                raise

    # -- looks at one object

    @abstractmethod
    def head_object(self, key: str, conditions: Conditions) -> Steps[ObjectMetadata]:
        """The metadata of an object, without its bytes.

        Raises:
            ObjectNotFoundError, PreconditionFailedError, ...
        """

    def head_by_get(self, key: str, conditions: Conditions) -> Steps[ObjectMetadata]:
        """The same by a GET of the first byte: its errors have a document that says why."""
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
            raise ProtocolError("the answer has no size of the object", status=response.status)
        return self.metadata_of(response, int(size))

    @abstractmethod
    def marked(self, key: str, options: PutOptions) -> Steps[Marked]:
        """Look at an object for the mark of a conditional write.

        Raises:
            ObjectNotFoundError: there is none.
        """
