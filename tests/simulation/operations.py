"""What a simulated client does: operations of the real store, each with what may come of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from s3dlio.errors import (
    AlreadyExistsError,
    IntegrityError,
    LengthMismatchError,
    NetworkError,
    ObjectChangedError,
    ObjectNotFoundError,
    OutcomeUnknownError,
    PreconditionFailedError,
    ProtocolError,
    S3dlioError,
    ServiceError,
    StorageFullError,
    ThrottledError,
    TransferCancelledError,
    TransferTimeoutError,
)
from s3dlio.memory.sinks import BufferSink, DiscardSink, MemorySink, Sink, Writer
from s3dlio.memory.sources import MemorySource, Source
from s3dlio.stores.call import Call
from s3dlio.types import Conditions, PutOptions

if TYPE_CHECKING:
    from tests.simulation.schedule import Schedule

SIZES = (0, 1, 100, 4_000, 30_000, 70_000, 150_000, 400_000)
#: What faults make of an operation that could not be done.
_OF_FAULTS = (NetworkError, TransferTimeoutError, ThrottledError, ServiceError, TimeoutError)


class Operation(ABC):
    """One operation.

    Args:
        schedule: in which it runs.
        key: of what.
    """

    #: Errors that are right without any fault.
    expected: tuple[type[BaseException], ...] = ()
    size = 0

    def __init__(self, schedule: Schedule, key: str) -> None:
        self.schedule = schedule
        self.world = schedule.world
        self.key = key
        self.began = self.ended = 0.0
        #: When it was given up, alone.
        self.cancelled_at: float | None = None
        self.settled = 0
        self.error: BaseException | None = None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.key})"

    @abstractmethod
    def make(self) -> Call[Any]:
        """The call of the store."""

    def call(self) -> Call[Any]:
        self.began = self.world.now
        self.schedule.running.append(self)
        call = self.make()
        call.start = _Begin(self, call.start)
        return call

    def begin(self) -> None:
        """Its first request is about to be made."""
        self.began = self.world.now
        self.world.note("begin", repr(self))

    def run(self) -> Any:
        """Alone, on this thread, by the driver for one call."""
        return self.schedule.store.execute(self.call())

    def settle(self, result: Any, error: BaseException | None) -> None:
        """It has ended."""
        self.ended = self.world.now
        self.settled += 1
        self.error = error
        self.world.note("end", repr(self), type(error).__name__ if error is not None else "done")
        if self.settled > 1:
            self.violate("it ended twice")
        if error is None:
            self.succeeded(result)
            return
        self._check_error(error)
        self.failed(error)

    def violate(self, what: str) -> None:
        self.world.violate(f"{self!r}: {what}")

    @abstractmethod
    def succeeded(self, result: Any) -> None:
        """Check what came of it."""

    def failed(self, error: BaseException) -> None:
        """Check what a failure left."""
        return

    def release(self) -> None:
        """Let go of what was read."""
        return

    def _check_error(self, error: BaseException) -> None:
        schedule = self.schedule
        if not isinstance(error, S3dlioError):
            if not (schedule.interrupted and isinstance(error, KeyboardInterrupt)):
                self.violate(f"no error of the library: {error!r}")
            return
        if self.cancelled_at is not None and isinstance(error, TransferCancelledError):
            return  # whoever has cancelled it gets no error of ours
        if not (error.uri or "").startswith("s3://b") or not error.operation:
            self.violate(f"an error without URI or operation: {error!r}")
        if not isinstance(error, self.expected) and not self._may_be(error):
            self.violate(f"an error that nothing explains: {error!r} after {schedule.faults.happened}")

    def _may_be(self, error: S3dlioError) -> bool:
        """Whether what went wrong explains an error."""
        schedule, happened = self.schedule, self.schedule.faults.happened
        given_up = schedule.cancelled or self.cancelled_at is not None
        if isinstance(error, TransferCancelledError):
            return given_up
        if isinstance(error, ObjectChangedError | LengthMismatchError):
            return self.key in schedule.replaced
        if error.code == "ConditionalRequestConflict":
            return bool(schedule.settings.retry.max_attempts < 5)  # the service says so now and then
        if isinstance(error, IntegrityError):
            return "damaged" in happened
        if isinstance(error, ProtocolError):
            return "extra" in happened or "error200" in happened
        if isinstance(error, OutcomeUnknownError):
            return schedule.may_fail or given_up or schedule.operation_timeout is not None
        if schedule.operation_timeout is not None and isinstance(error, _OF_FAULTS):
            over = self.ended - self.began >= schedule.operation_timeout - 0.2
            if over and isinstance(error, TransferTimeoutError):
                return True  # a pause may not fit
            return bool(happened or schedule.network.crowded)
        return isinstance(error, _OF_FAULTS) and schedule.may_fail


class _Begin:
    """Tells an operation when it begins; no frame of it stays in a traceback."""

    def __init__(self, operation: Operation, start: Any) -> None:
        self._operation = operation
        self._start = start

    def __call__(self) -> Any:
        self._operation.begin()
        return self._start()


class Reading(Operation):
    """An operation that reads a whole object, or a stretch of it."""

    offset = 0
    length: int | None = None

    def wanted(self, data: bytes) -> bytes:
        end = None if self.length is None else self.offset + self.length
        return data[self.offset : end]

    def check_bytes(self, found: bytes) -> None:
        versions = self.schedule.service.versions.get(self.key, [])
        for version in versions:
            lived = version.since <= self.ended and (version.until is None or version.until >= self.began)
            if lived and self.wanted(version.data) == found:
                return
        self.violate(f"{len(found)} bytes that no version had; {[len(v.data) for v in versions]} bytes had")


class Get(Reading):
    """A whole object in memory, or a range of one."""

    def __init__(self, schedule: Schedule, key: str, offset: int = 0, length: int | None = None) -> None:
        super().__init__(schedule, key)
        self.offset, self.length = offset, length
        if key not in schedule.service.objects:
            self.expected = (ObjectNotFoundError,)
        self._sink: Sink | None = None
        self._view: Any = None

    def make(self) -> Call[Any]:
        self._sink = MemorySink()
        return self.schedule.store.read_call(self.key, self._sink, offset=self.offset, length=self.length)

    def succeeded(self, result: Any) -> None:
        assert isinstance(self._sink, MemorySink)
        self._view = self._sink.view()
        self.check_bytes(bytes(self._view))

    def failed(self, error: BaseException) -> None:
        self._sink = None

    def release(self) -> None:
        if self._view is not None:
            self.check_bytes(bytes(self._view))  # it is still what it was
        self._view = self._sink = None


class Tail(Get):
    """The last bytes of an object."""

    def make(self) -> Call[Any]:
        assert self.length is not None
        self._sink = MemorySink()
        return self.schedule.store.tail_call(self.key, self._sink, self.length)

    def wanted(self, data: bytes) -> bytes:
        return data[max(0, len(data) - (self.length or 0)) :]


class GetKnown(Get):
    """A whole object whose size was asked for before: all ranges at once. It may have been replaced since."""

    def make(self) -> Call[Any]:
        schedule = self.schedule
        if (found := schedule.service.objects.get(self.key)) is not None:
            schedule.store.remember(self.key, schedule.known(found))
            if self.world.chance.random() < 0.3:
                schedule.replace(self.key)
        return super().make()


class GetInto(Reading):
    """A whole object in a buffer of the caller's, which is free afterwards."""

    def __init__(self, schedule: Schedule, key: str) -> None:
        super().__init__(schedule, key)
        found = schedule.service.objects.get(key)
        size = len(found.data) if found is not None else 10
        self.exact = self.world.chance.random() < 0.5
        self.buffer = bytearray(max(0, size + self.world.chance.choice((0, 0, 0, 5, -1))))
        self.expected = () if found is not None else (ObjectNotFoundError,)
        if len(self.buffer) != size:
            self.expected = (*self.expected, LengthMismatchError)

    def make(self) -> Call[Any]:
        self._sink = BufferSink(memoryview(self.buffer), exact=self.exact)
        return self.schedule.store.read_call(self.key, self._sink)

    def run(self) -> Any:
        self.begin()
        self.schedule.running.append(self)
        return self.schedule.store.get_into(self.key, self.buffer, exact=self.exact)

    def succeeded(self, result: Any) -> None:
        size = result if isinstance(result, int) else self._sink.size or 0
        self.check_bytes(bytes(self.buffer[:size]))

    def release(self) -> None:
        if hasattr(self, "_sink"):  # in a batch, for which there is no such verb
            self.error = None
        self.check_free()

    def check_free(self) -> None:
        """Nobody exports the buffer any more, not even the traceback of an error that is kept."""
        if hasattr(self, "_sink"):
            self._sink.release()
        try:
            self.buffer.append(0)  # refused while anybody does
        except BufferError:
            self.violate("the caller's buffer is still exported")
        else:
            del self.buffer[-1]


class Drop(Reading):
    """A whole object whose bytes nobody wants, into a sink that may be slow or full."""

    def __init__(self, schedule: Schedule, key: str) -> None:
        super().__init__(schedule, key)
        if key not in schedule.service.objects:
            self.expected = (ObjectNotFoundError,)
        chance = self.world.chance
        self._kind = chance.choice(("drop", "slow", "full"))
        if self._kind == "full":
            self.expected = (*self.expected, StorageFullError)

    def make(self) -> Call[Any]:
        chance = self.world.chance
        if self._kind == "drop":
            self._sink: Sink = DiscardSink()
        else:
            full = chance.choice((0, 1, 5_000, 100_000)) if self._kind == "full" else None
            self._sink = Collector(self.schedule, full)
        return self.schedule.store.read_call(self.key, self._sink)

    def succeeded(self, result: Any) -> None:
        if isinstance(self._sink, Collector):
            self.check_bytes(self._sink.whole_body())
        else:
            versions = self.schedule.service.versions[self.key]
            if all(len(version.data) != self._sink.size for version in versions):
                self.violate(f"{self._sink.size} bytes that no version had")


class Collector(Sink):
    """Takes bytes as a file does, slowly, until it is full."""

    def __init__(self, schedule: Schedule, full: int | None) -> None:
        super().__init__()
        self._schedule = schedule
        self._full = full
        self._data: dict[int, bytes] = {}

    def begin(self, size: int | None) -> None:
        super().begin(size)
        self._data.clear()

    def at(self, start: int, length: int | None) -> Writer:
        position = start

        def write(data: memoryview) -> None:
            nonlocal position
            if self._full is not None and position + len(data) > self._full:
                raise StorageFullError("the disk is full")
            self._data[position] = bytes(data)
            position += len(data)
            self._schedule.work(0.05)

        return write

    def whole_body(self) -> bytes:
        out = bytearray(self.size or 0)
        for start, data in self._data.items():
            out[start : start + len(data)] = data
        return bytes(out)


class Head(Reading):
    """The metadata of an object."""

    def __init__(self, schedule: Schedule, key: str) -> None:
        super().__init__(schedule, key)
        if key not in schedule.service.objects:
            self.expected = (ObjectNotFoundError,)

    def make(self) -> Call[Any]:
        return self.schedule.store.head_call(self.key)

    def succeeded(self, result: Any) -> None:
        versions = self.schedule.service.versions[self.key]
        if all((result.size, result.etag) != (len(version.data), version.etag) for version in versions):
            self.violate(f"size {result.size}, ETag {result.etag}, which no version had")


class Put(Operation):
    """A write, in one request or in parts, perhaps only where nothing is."""

    def __init__(self, schedule: Schedule, key: str, size: int, *, condition: str = "", breaks: bool = False) -> None:
        super().__init__(schedule, key)
        self.data = self.world.chance.randbytes(size)
        self.size = size
        self._condition = condition
        self._conditions = Conditions()
        found = schedule.service.objects.get(key)
        if condition == "create":
            self._conditions = Conditions(if_none_match="*")
        elif condition == "replace":
            self._conditions = Conditions(if_match=found.etag if found is not None else '"none"')
        self._holds = not condition or (condition == "create") == (found is None)
        if not self._holds:
            self.expected = (AlreadyExistsError, PreconditionFailedError, ObjectNotFoundError)
        self.breaks = breaks
        if breaks:
            self.expected = (*self.expected, StorageFullError)
        self._before = len(schedule.service.versions.get(key, ()))

    def make(self) -> Call[Any]:
        view = memoryview(self.data)
        source: Source = Breaking(view, self.world.chance.randint(0, self.size)) if self.breaks else MemorySource(view)
        return self.schedule.store.write_call(self.key, source, options=PutOptions(conditions=self._conditions))

    def _ours(self) -> list[Any]:
        """The versions that this write made."""
        made = self.schedule.service.versions.get(self.key, [])[self._before :]
        return [version for version in made if version.data == self.data]

    def succeeded(self, result: Any) -> None:
        ours = self._ours()
        if not ours:
            self.violate("it is not there")
        elif result.etag not in [version.etag for version in ours]:
            self.violate(f"the ETag {result.etag} is not that of what is there")
        if not self._holds:
            self.violate("its condition did not hold")
        if self._condition and len(ours) > 1:
            self.violate("a conditional write was done twice")
        if self.breaks and self.size and any(version.data != self.data for version in ours):
            self.violate("a broken source became an object")

    def failed(self, error: BaseException) -> None:
        refused = isinstance(error, (AlreadyExistsError, PreconditionFailedError, ObjectNotFoundError))
        if refused and self._condition and self._ours():
            self.violate(f"refused ({type(error).__name__}), and done")


class Stream(Put):
    """A write of pieces, some of them owned, which may be given up in the middle, or simply be dropped."""

    def __init__(self, schedule: Schedule, key: str, size: int, *, condition: str = "") -> None:
        super().__init__(schedule, key, size, condition=condition)
        chance = self.world.chance
        self._width = chance.choice((None, 1, 2))
        self._end = chance.choice(("close", "close", "close", "abort", "fail"))
        if schedule.store.spare(0) is not None and chance.random() < 0.2:
            self._end = "drop"
        if self._end != "close":
            self.expected = (*self.expected, StorageFullError)

    def run(self) -> Any:
        self.begin()
        self.schedule.running.append(self)
        chance, data = self.world.chance, memoryview(self.data)
        writer = self.schedule.store.writer(
            self.key, options=PutOptions(conditions=self._conditions), max_in_flight=self._width
        )
        try:
            while data:
                count = chance.choice((1, 900, 5_000, 70_000, 400_000))
                (writer.write_owned if chance.random() < 0.5 else writer.write)(data[:count])
                data = data[count:]
                if chance.random() < 0.1:
                    writer.flush()
                self.schedule.work(0.05)
                if self._end != "close" and chance.random() < 0.3:
                    break
            if self._end == "close":
                return writer.close()
            if self._end == "fail":
                raise StorageFullError("the disk is gone", uri=self.schedule.store.uri(self.key), operation="PUT")
        except BaseException:
            writer.abort()
            raise
        if self._end == "abort":
            writer.abort()
        return None

    def succeeded(self, result: Any) -> None:
        if self._end == "close":
            super().succeeded(result)
        elif self._ours() and self.size:
            self.violate(f"it is there after {self._end}")
        if self._end == "drop":
            self.world.pass_time(60.0)  # the lane aborts its upload


class Breaking(Source):
    """A source that cannot be read from some byte on."""

    def __init__(self, data: memoryview, at: int) -> None:
        self._data = data
        self.size = len(data)
        self._at = at

    def read(self, start: int, length: int) -> memoryview:
        if start + length > self._at:
            raise StorageFullError("the disk is gone")
        return self._data[start : start + length]

    def part(self, start: int, length: int) -> Source:
        return Breaking(self._data[start : start + length], self._at - start)


class Delete(Operation):
    """A delete; of what is not there, too."""

    def make(self) -> Call[Any]:
        return self.schedule.store.delete_call(self.key)

    def succeeded(self, result: Any) -> None:
        if self.key in self.schedule.service.objects:
            self.violate("it is still there")


class DeleteMany(Operation):
    """A batch delete."""

    def __init__(self, schedule: Schedule, keys: list[str]) -> None:
        super().__init__(schedule, keys[0])
        self._keys = keys

    def make(self) -> Call[Any]:
        return self.schedule.store.delete_many_call(self._keys)

    def succeeded(self, result: Any) -> None:
        failed = {key for key, _ in result}
        for key, error in result:
            if not isinstance(error, S3dlioError) or not error.uri:
                self.violate(f"{key}: no error of the library, or without a URI: {error!r}")
            if not self._may_be(error):
                self.violate(f"an error that nothing explains: {error!r}")
        left = [key for key in self._keys if key in self.schedule.service.objects and key not in failed]
        if left:
            self.violate(f"still there, and not told: {left}")


class Listing(Operation):
    """All pages of a listing. Objects that were there all the time are on it, each once, in order."""

    def __init__(self, schedule: Schedule, prefix: str) -> None:
        super().__init__(schedule, prefix)
        self.found: list[str] = []

    def make(self) -> Call[Any]:
        return self.schedule.store.list_page_call(self.key, True, None)

    def run(self) -> Any:
        self.begin()
        self.schedule.running.append(self)
        for page in self.schedule.store.list(self.key):
            self.found += page.keys
            self.schedule.work(0.1)
        return None

    def succeeded(self, result: Any) -> None:
        complete = result is None
        if result is not None:
            self.found = result[0].keys
        versions = self.schedule.service.versions
        steady = [
            key
            for key, made in sorted(versions.items())
            if key.startswith(self.key) and made[0].since < self.began and all(v.until is None for v in made[-1:])
        ]
        if self.found != sorted(set(self.found)):
            self.violate(f"not in order, or twice: {self.found}")
        if strange := [key for key in self.found if key not in versions]:
            self.violate(f"what was never there: {strange}")
        if complete and (left := [key for key in steady if key not in self.found]):
            self.violate(f"left out: {left}")


class Copy(Operation):
    """A copy inside the service."""

    def __init__(self, schedule: Schedule, source: str, key: str) -> None:
        super().__init__(schedule, key)
        self._source = source

    def make(self) -> Call[Any]:
        store = self.schedule.store
        return store.copy_call(store, self._source, self.key)

    def succeeded(self, result: Any) -> None:
        service = self.schedule.service
        datas = [version.data for version in service.versions[self._source]]
        found = service.objects.get(self.key)
        if found is None or found.data not in datas:
            self.violate("it is not there, or is another")
