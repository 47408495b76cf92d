"""What the cloud stores share: operations are generators of requests, run by the drivers of ``net``."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any, ClassVar, Protocol, TypeVar

from s3dlio.errors import ObjectChangedError, ObjectNotFoundError
from s3dlio.memory.sinks import Sink
from s3dlio.net import blocking, system
from s3dlio.net.retry import RetryPolicy
from s3dlio.records import replace
from s3dlio.stores.base import ObjectStore
from s3dlio.stores.call import Call, Steps
from s3dlio.stores.checks import check_etag
from s3dlio.stores.cloud.observing import observed
from s3dlio.stores.cloud.reading import Known, Read
from s3dlio.stores.cloud.service import CloudService
from s3dlio.stores.cloud.suffix_range import TailRead
from s3dlio.types import NO_CONDITIONS, Conditions, Container, ObjectMetadata, Observation, Observer

T = TypeVar("T")


#: So many known objects are kept before those whose time is over are dropped (and then twice as many as were left).
_TIDY_KNOWN = 1024


class Containers(Protocol):
    """The module that makes, deletes and lists containers."""

    def create(self, service: Any, /) -> Steps[None]: ...

    def delete(self, service: Any, /) -> Steps[None]: ...

    def list_all(self, service: Any, /) -> Steps[list[Container]]: ...


class CloudStore(ObjectStore):
    """An object store behind HTTP: the verbs, above a service that builds requests and knows the answers.

    A subclass makes its service, and names the type of it (``service: S3Service``).

    Args:
        service: of the container.
        observers: as of ObjectStore.
    """

    is_cloud: ClassVar[bool] = True
    service: CloudService
    containers: ClassVar[Containers]

    def __init__(self, service: CloudService, observers: Sequence[Observer] = ()) -> None:
        super().__init__(service.root, observers)
        self.settings = service.settings
        self.service = service
        self._known: dict[str, Known] = {}
        self._tidy_at = _TIDY_KNOWN

    def execute(self, call: Call[T]) -> T:
        result: T = blocking.drive(call.steps(), self.width_of(call), call.spent, self.spare)
        return result

    def width_of(self, call: Call[Any]) -> int:
        """How many requests of one call are in flight, at most, where it is alone."""
        writes = call.operation in ("PUT", "COPY")
        return self.settings.multipart.max_in_flight if writes else self.settings.range.concurrency

    @property
    def endpoint(self) -> str:
        return self.service.endpoint

    def prepare(self) -> None:
        with contextlib.suppress(Exception):  # requests meet the same, and say for what they were
            self.service.read_request("key", (), NO_CONDITIONS).service.prepare()

    @property
    def retry_policy(self) -> RetryPolicy:
        return self.service.retry_policy

    def observed(self, steps: Steps[T], seen: Observation) -> Steps[T]:
        return observed(steps, seen)

    # -- reading

    def _head(self, key: str, conditions: Conditions) -> Steps[ObjectMetadata]:
        return self.service.head_object(key, conditions)

    def _read(
        self, key: str, sink: Sink, offset: int, length: int | None, conditions: Conditions
    ) -> Steps[ObjectMetadata]:
        if length == 0:
            return self._read_nothing(key, sink, conditions)
        read = Read(self.service, key, sink, offset, length, conditions)
        if self._known and length is None and not offset and conditions is NO_CONDITIONS and sink.restartable:
            known = self._known.get(key)
            if known is not None and self._reads_at_once(known):
                return self._read_known(read, key, sink, known)
        return read.steps()

    def _read_nothing(self, key: str, sink: Sink, conditions: Conditions) -> Steps[ObjectMetadata]:
        metadata = yield from self.service.head_object(key, conditions)
        sink.begin(0)
        sink.end(0)
        return metadata

    def _read_known(self, read: Read, key: str, sink: Sink, known: Known) -> Steps[ObjectMetadata]:
        """All ranges at once; from the beginning where the object is another by now."""
        try:
            return read.finish_known((yield read.known_ranges(known)), known)
        except (ObjectChangedError, ObjectNotFoundError):
            self.forget(key)
        return (yield from Read(self.service, key, sink, 0, None, NO_CONDITIONS).steps())

    def _read_tail(self, key: str, sink: Sink, length: int, conditions: Conditions) -> Steps[ObjectMetadata]:
        if length and self.service.takes_suffix_ranges:
            return (yield from TailRead(self.service, key, sink, length, conditions).steps())
        about: ObjectMetadata = yield from self._head(key, conditions)
        pin = self.service.pin_of(about)
        if pin is not None:
            conditions = replace(conditions, if_match=pin.if_match, generation=pin.generation)
        return (yield from self._read(key, sink, max(0, about.size - length), min(length, about.size), conditions))

    # -- deleting

    def _delete(self, key: str, version_id: str | None) -> Steps[None]:
        return self.service.delete(key, version_id)

    def _delete_if_match(self, key: str, etag: str) -> Steps[None]:
        """The delete of one version: a look at what is there, and the request with the service's own condition."""
        try:
            found: ObjectMetadata = yield from self._head(key, NO_CONDITIONS)
        except ObjectNotFoundError:
            return
        check_etag(found, etag)
        request = self.service.conditional_delete(key, found)
        with contextlib.suppress(ObjectNotFoundError):
            yield from self.service.send(request, key, (200, 202, 204))

    # -- containers

    def _create_container(self) -> Steps[None]:
        return self.containers.create(self.service)

    def _delete_container(self) -> Steps[None]:
        return self.containers.delete(self.service)

    def _list_containers(self) -> Steps[list[Container]]:
        return self.containers.list_all(self.service)

    # -- what is known of objects before they are read

    def remember(self, key: str, metadata: ObjectMetadata) -> None:
        """Keep size and version of an object for ``range.size_cache_seconds``: a large one is then read as concurrent
        ranges from its first byte on. A change in between is noticed, because every range names the version; the whole
        is compared with the checksum that is known, where reads are."""
        pin = self.service.pin_of(metadata)
        if pin is not None:
            now = system.monotonic()
            if len(self._known) >= self._tidy_at:
                self._known = {name: known for name, known in list(self._known.items()) if known.until > now}
                self._tidy_at = max(_TIDY_KNOWN, 2 * len(self._known))
            if len(self._known) >= self.settings.range.size_cache_entries:
                del self._known[next(iter(self._known))]
            until = now + self.settings.range.size_cache_seconds
            self._known[key] = Known(metadata.size, pin, until, metadata.crc32c)

    def forget(self, key: str | None = None) -> None:
        """Forget one object, or all."""
        if key is None:
            self._known.clear()
        else:
            self._known.pop(key, None)

    def _reads_at_once(self, known: Known) -> bool:
        ranges = self.settings.range
        large = known.size > max(ranges.chunk, ranges.threshold)
        return large and ranges.enabled and system.monotonic() < known.until
