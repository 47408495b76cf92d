"""One version of one object, of which any stretch can be read: what is replaced meanwhile is never mixed in."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, wait
from functools import partial
from typing import TYPE_CHECKING, cast

from s3dlio.engine.session import Session
from s3dlio.errors import LengthMismatchError, ObjectChangedError, ObjectNotFoundError, PreconditionFailedError
from s3dlio.memory.sinks import BufferSink, MemorySink
from s3dlio.records import replace
from s3dlio.stores.base import ObjectStore
from s3dlio.stores.call import Call
from s3dlio.stores.local.opened import OpenedFile
from s3dlio.stores.local.store import LocalStore
from s3dlio.types import Conditions, ObjectMetadata

if TYPE_CHECKING:
    from s3dlio.stores.cloud.store import CloudStore

#: Bytes of a cloud's object that are asked for when it is opened: with its size and version they are one request.
FIRST = 1 << 20
#: A longer stretch of a cloud's object is read in ranges of this many bytes, several at a time.
_RANGE = 8 << 20


class OneVersion(ABC):
    """One version of an object.

    Attributes:
        size: its bytes.
        first: those that came when it was opened, from its beginning on.
        etag: as the store told it, None where it tells none.
    """

    size: int
    etag: str | None = None
    first: memoryview = memoryview(b"")

    @abstractmethod
    def read_into(self, offset: int, view: memoryview) -> None:
        """Fill ``view`` with the bytes from ``offset`` on, which must be there.

        Raises:
            ObjectChangedError: the object was replaced since it was opened.
            NetworkError, ...
        """

    def close(self) -> None:  # noqa: B027 - most hold nothing
        """Let go of what is held."""


class VersionAhead(OneVersion):
    """One of which stretches can be read in the background."""

    #: That is quicker than to read them when they are wanted.
    reads_ahead = False

    @abstractmethod
    def start(self, offset: int, view: memoryview) -> Future[ObjectMetadata]:
        """Begin to fill ``view``, in the background."""

    @abstractmethod
    def finish(self, started: Future[ObjectMetadata]) -> None:
        """Wait for what was started; raises as :meth:`read_into` does."""


def open_version(session: Session, store: ObjectStore, key: str, conditions: Conditions) -> OneVersion:
    """The version of an object that is there now.

    Raises:
        ObjectNotFoundError, PermissionDeniedError, IsDirectoryError, ...
    """
    if isinstance(store, LocalStore):
        return _FileVersion(OpenedFile(store, key, conditions))
    kind = _CloudVersion if store.is_cloud else _StoreVersion
    return kind(session, store, key, conditions)


class _FileVersion(OneVersion):
    """A local file: the kernel reads ahead."""

    def __init__(self, file: OpenedFile) -> None:
        self._file = file
        self.size = file.size
        self.etag = file.etag
        if not self.size:
            self.first = memoryview(file.read_unsized())
            self.size = len(self.first)

    def read_into(self, offset: int, view: memoryview) -> None:
        self._file.read_into(offset, view)

    def close(self) -> None:
        self._file.close()


class _StoreVersion(VersionAhead):
    """An object of a store whose calls block: of an SDK, or in memory."""

    def __init__(self, session: Session, store: ObjectStore, key: str, conditions: Conditions) -> None:
        self._session = session
        self._store = store
        self._key = key
        self._pinned = conditions
        self.reads_ahead = getattr(store, "waits", False)
        self._open()

    def _open(self) -> None:
        about = self._store.head(self._key, conditions=self._pinned)
        self._pin(about, None if about.etag is None else Conditions(if_match=about.etag))

    def _pin(self, about: ObjectMetadata, pin: Conditions | None) -> None:
        self.size = about.size
        self.etag = about.etag
        #: What is read is named by its version, and not found when that is gone.
        self._by_version = pin is not None and pin.version_id is not None
        if pin is not None:
            named = {name: value for name in _PINS if (value := getattr(pin, name)) is not None}
            self._pinned = replace(self._pinned, **named)

    def read_into(self, offset: int, view: memoryview) -> None:
        sink = BufferSink(view, exact=True)
        try:
            self._checked(partial(self._store.execute, self._call(offset, sink, view)))
        finally:
            sink.release()

    def start(self, offset: int, view: memoryview) -> Future[ObjectMetadata]:
        call = self._call(offset, BufferSink(view, exact=True), view)
        return self._session.executor.submit(partial(self._store.execute, call))

    def finish(self, started: Future[ObjectMetadata]) -> None:
        self._checked(started.result)

    def _call(self, offset: int, sink: BufferSink, view: memoryview) -> Call[ObjectMetadata]:
        return self._store.read_call(self._key, sink, offset=offset, length=len(view), conditions=self._pinned)

    def _checked(self, read: Callable[[], ObjectMetadata]) -> None:
        """Read, and compare the version that was read with the one that was opened: some servers ignore conditions."""
        try:
            about = read()
            if None not in (about.etag, self.etag) and about.etag != self.etag:
                raise _replaced(self._store.uri(self._key))
        except ObjectChangedError:
            raise
        except (PreconditionFailedError, LengthMismatchError, ObjectNotFoundError) as error:
            if isinstance(error, ObjectNotFoundError) and not self._by_version:
                raise
            raise _replaced(self._store.uri(self._key)) from error


def _replaced(uri: str) -> ObjectChangedError:
    return ObjectChangedError(
        "the object was replaced since it was opened", uri=uri, operation="GET_RANGE", hint="open it again"
    )


#: The conditions that hold a read to one version.
_PINS = ("if_match", "generation", "version_id")


class _CloudVersion(_StoreVersion):
    """An object of a cloud: one request opens it, long stretches are several ranges at a time."""

    def _open(self) -> None:
        self.reads_ahead = True
        store, key = cast("CloudStore", self._store), self._key
        sink = MemorySink()
        about = store.execute(store.read_call(key, sink, offset=0, length=FIRST, conditions=self._pinned))
        self.first = sink.contents() or self.first
        if about.size == len(self.first) == FIRST:  # or its answer does not tell the size of the whole
            about = store.head(key, conditions=self._pinned)
        self._pin(about, store.service.pin_of(about))

    def read_into(self, offset: int, view: memoryview) -> None:
        from s3dlio.engine.lanes import on_lane

        if len(view) < 2 * _RANGE or on_lane():
            super().read_into(offset, view)
        else:
            self._read_ranges(offset, view)

    def _read_ranges(self, offset: int, view: memoryview) -> None:
        """All ranges of a long stretch, ``range.concurrency`` at a time, each straight into its place."""
        at_once = cast("CloudStore", self._store).settings.range.concurrency
        starts = iter(range(0, len(view), _RANGE))
        running: set[Future[ObjectMetadata]] = set()
        try:
            while True:
                while len(running) < at_once and (at := next(starts, -1)) >= 0:
                    running.add(self.start(offset + at, view[at : at + _RANGE]))
                if not running:
                    return
                ended, running = wait(running, return_when=FIRST_COMPLETED)
                for future in ended:
                    self.finish(future)
        finally:
            for future in running:
                future.cancel()
            wait(running)  # nobody writes into the caller's memory any more

    def start(self, offset: int, view: memoryview) -> Future[ObjectMetadata]:
        sink = BufferSink(view, exact=True)
        started = self._session.lanes.submit(self._call(offset, sink, view))
        started.add_done_callback(lambda _: sink.release())
        return started
