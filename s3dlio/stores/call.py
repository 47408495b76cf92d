"""One operation on one key, ready to run: where errors learn their URI and observers learn of everything."""

from __future__ import annotations

import logging
import time
import weakref
from abc import ABC
from collections.abc import Callable, Generator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, TypeVar

from s3dlio.config.endpoints import name_of
from s3dlio.errors import InvalidURIError, S3dlioError, TransferCancelledError
from s3dlio.foreign_errors import from_exception, must_convert
from s3dlio.forking import ForkLock
from s3dlio.masking import redact
from s3dlio.memory.caller_buffer import let_go
from s3dlio.memory.sinks import Sink
from s3dlio.types import ListPage, ObjectMetadata, Observation, Observer, PutOptions
from s3dlio.uri import LOCAL_SCHEMES

if TYPE_CHECKING:
    from s3dlio.net.retry import RetryPolicy

log = logging.getLogger("s3dlio.stores")

T = TypeVar("T")
U = TypeVar("U")


#: Operations whose results say what observers want to know of them.
_TOLD_BY_RESULT = ("LIST", "HEAD")


class Journal(Protocol):
    """An observer that wants no more of an operation that went well than can be told without watching its requests."""

    #: It wants what the answers to requests say; then it is an observer like any other.
    wants_answers: bool

    def __call__(self, observation: Observation, /) -> None: ...

    def note(
        self, store: BaseStore, operation: str, key: str, objects: int, size: int, start_ns: int, first_byte_ns: int
    ) -> None:
        """An operation has ended, without an error, just now."""


#: A cloud operation: yields a Request (or an iterable of them, run concurrently), is sent the Response(s), returns T.
Steps = Generator[Any, Any, T]


class BaseStore(ABC):
    """What a call knows of the store that it belongs to: its names, how it works, and who observes it.

    Args:
        root: the URI of the container, as in :class:`s3dlio.uri.Location`.
        observers: called once for every finished operation.
    """

    scheme: ClassVar[str]
    #: Operations are generators of requests, for a lane; otherwise they block a thread.
    is_cloud: ClassVar[bool] = False
    #: Calls that block a thread wait for a service or a device, instead of computing or copying: a batch of them gets a
    #: thread for each call in flight, from the first one on.
    waits: ClassVar[bool] = False

    def __init__(self, root: str, observers: Sequence[Observer] = ()) -> None:
        self.root = root
        #: The only observer, where that is a journal, which is told of what goes well without an Observation.
        self.journal: Journal | None = None
        #: There are observers that want Observations of all operations.
        self.watched = False
        with _everywhere_lock:
            self.observers = observing(observers)
            _stores.add(self)
        #: Where large bodies find more event loops (``net.balancer``).
        self.spare: Callable[[int], Any] | None = None
        #: How many operations of each kind have paid in batches, and until when that is believed.
        self.widths: dict[str, tuple[int, float]] = {}

    @property
    def observers(self) -> tuple[Observer, ...]:
        """Called once for every finished operation, those of the process last."""
        return self._observers

    @observers.setter
    def observers(self, observers: tuple[Observer, ...]) -> None:
        only: Any = observers[0] if len(observers) == 1 else None
        self._observers = observers
        self.journal = only if getattr(only, "wants_answers", True) is False else None
        self.watched = bool(observers) and self.journal is None

    @property
    def endpoint(self) -> str | None:
        """Where requests go, as a URL; None for local stores."""
        return None

    def prepare(self) -> None:  # noqa: B027 - most have nothing to prepare
        """Fetch what requests need besides a connection, or leave it to them to fail to; it may block."""

    @property
    def retry_policy(self) -> RetryPolicy | None:
        """What decides whether its requests are sent again, and counts those that were; None where an SDK does."""
        return None

    def observed(self, steps: Steps[U], seen: Observation) -> Steps[U]:
        """The same steps; status, attempts and endpoint of their answers go into ``seen``. Only clouds have answers."""
        return steps

    def uri(self, key: str) -> str:
        """The URI of ``key``."""
        return f"{self.root}/{key}"

    def check_key(self, key: str, operation: str) -> None:
        """Refuse a key that names no object, before any I/O."""
        if not key:
            raise InvalidURIError("the URI names a container, not an object", uri=self.uri(key), operation=operation)

    def check_options(self, options: PutOptions) -> None:
        """Refuse options of writes that this store cannot keep, before any I/O; here none are.

        Raises:
            ConfigError: a value that cannot be sent.
            UnsupportedOperationError: there is nothing like it here.
        """
        return

    def check_keys(self, keys: Sequence[str], operation: str) -> None:
        """:meth:`check_key` for many."""
        if not all(keys) or type(self).check_key is not BaseStore.check_key:
            for key in keys:
                self.check_key(key, operation)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.root}>"


class Call(Generic[T]):
    """One operation on one key, ready to run once: on this thread (``run``) or by a driver (``steps``).

    Args:
        store: whose operation it is.
        operation: the verb as the op-log names it (``GET``, ``GET_RANGE``, ``PUT``, ...).
        key: the object, or the prefix.
        start: does the work (blocking store) or makes the generator that does (cloud store). Where it holds a body a
            ``functools.partial``: the frame of a function keeps what that closes over, as long as an error is kept.
        sink: where a read lands; has the bytes and the time of the first one, for observers.
        size: the bytes of a write, for observers.
        load: the bytes that it will bring into a file, where they are known beforehand.
        held: the bytes of memory that a write holds while it is in flight; without, all of ``size``.
    """

    __slots__ = (
        "_observation", "held", "key", "load", "objects", "operation", "range", "sink", "size", "spent", "start",
        "store",
    )  # fmt: skip

    #: Offset and length (None: to the end) of a read of a part; not set for others, which are most.
    range: tuple[int, int | None]

    def __init__(
        self,
        store: BaseStore,
        operation: str,
        key: str,
        start: Callable[[], Any],
        sink: Sink | None = None,
        size: int = 0,
        load: int = 0,
        held: int | None = None,
    ) -> None:
        self.store = store
        self.operation = operation
        self.key = key
        self.start = start
        self.sink = sink
        self.size = size
        self.load = load
        self.held = size if held is None else held
        self.objects = 1
        #: Seconds that earlier calls of the same operation took (the pages of a listing share its time).
        self.spent = 0.0
        self._observation: Observation | None = None

    @property
    def uri(self) -> str:
        return self.store.uri(self.key)

    @property
    def moved(self) -> int:
        """Bytes of the body of a call that has ended well. A head has none: its size is that of the object."""
        if self.sink is not None:
            return self.sink.size or 0
        return 0 if self.operation == "HEAD" else self.size

    def run(self) -> T:
        """Do the work of a blocking store."""
        journal = self.store.journal
        if journal is not None:
            return self._noted(journal)
        with self:
            result: T = self.start()
            if self.operation in _TOLD_BY_RESULT:
                self._take_in(result)
            return result

    def _noted(self, journal: Journal) -> T:
        started = time.time_ns()
        try:
            result: T = self.start()
        except BaseException as error:
            self._began(started)
            self.__exit__(type(error), error, None)
            raise
        self._note(journal, started, result)
        return result

    def steps(self) -> Steps[T]:
        """The requests of a cloud store, for a driver."""
        store = self.store
        if store.watched:
            return (yield from self._observed_steps())
        journal = store.journal
        started = 0 if journal is None else time.time_ns()
        try:
            result: T = yield from self.start()
        except BaseException as error:
            if started:
                self._began(started)
            self.__exit__(type(error), error, None)
            raise
        if journal is not None:
            self._note(journal, started, result)
        return result

    def _began(self, started: int) -> None:
        """Have it observed after all, since it fails."""
        self._observation = Observation(self.operation, self.uri, started)

    def _note(self, journal: Journal, started: int, result: Any) -> None:
        """Tell the journal that it went well."""
        if self.operation in _TOLD_BY_RESULT:
            self._take_in(result)
        if (sink := self.sink) is None:
            journal.note(self.store, self.operation, self.key, self.objects, self.size, started, 0)
        else:
            first = sink.first_byte_ns
            journal.note(self.store, self.operation, self.key, self.objects, sink.size or 0, started, first)

    def _observed_steps(self) -> Steps[T]:
        with self:
            steps = self.start()
            if self._observation is not None:
                steps = self.store.observed(steps, self._observation)
            result: T = yield from steps
            if self.operation in _TOLD_BY_RESULT:
                self._take_in(result)
            return result

    def observe(self, steps: Steps[U]) -> Steps[U]:
        """Other steps of this operation, whose answers observers see, too."""
        seen = self._observation
        return steps if seen is None else self.store.observed(steps, seen)

    @property
    def observation(self) -> Observation | None:
        """What observers get when it has ended, for answers that come outside of steps; None without observers."""
        return self._observation

    def _take_in(self, result: Any) -> None:
        """What observers are told of a listing, how many entries it has, and of a head, the size of the object."""
        if self.operation == "LIST":
            page: ListPage = result[0]
            self.objects = len(page.keys) + len(page.prefixes)
        elif isinstance(result, ObjectMetadata):
            self.size = result.size

    def __enter__(self) -> None:
        if self.store.observers:
            self._observation = Observation(self.operation, self.uri, time.time_ns())

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is None:
            if self._observation is not None:
                self._observe(None)
            return
        if must_convert(error):
            assert isinstance(error, Exception)
            of_service = self.store.scheme not in LOCAL_SCHEMES
            typed = from_exception(error, uri=self.uri, operation=self.operation, of_service=of_service)
            self._observe(typed)
            let_go(error, 2)
            try:
                raise typed from error
            finally:
                del typed  # its traceback has this frame: the cycle would keep the operation's buffers leased
        if isinstance(error, S3dlioError):
            error.locate(self.uri, self.operation)
        elif kind is GeneratorExit:
            error = TransferCancelledError("given up by its batch", uri=self.uri, operation=self.operation)
        self._observe(error)
        let_go(error, 2)  # a frame that has named its error is in a cycle with it, which would keep buffers leased

    def begin(self) -> None:
        """Begin work that goes on over several calls of its caller, as a writer's does; ``end`` ends it."""
        self.__enter__()

    def end(self, error: BaseException | None = None) -> None:
        """End it.

        Raises:
            S3dlioError: in place of an ``error`` that is not one yet, of this library's or of the system's.
        """
        self.__exit__(None if error is None else type(error), error, None)

    def _observe(self, error: BaseException | None) -> None:
        seen = self._observation
        if seen is None:
            return
        self._observation = None
        seen.end_ns = time.time_ns()
        seen.error = error
        seen.objects = self.objects
        seen.range = getattr(self, "range", None)
        if isinstance(error, S3dlioError):
            seen.attempts = max(seen.attempts, error.attempts)
            seen.status = error.status if error.status is not None else seen.status
        seen.service = url = self.store.endpoint
        if seen.endpoint is None and url is not None:
            seen.endpoint = name_of(url)
        if self.sink is not None:
            seen.first_byte_ns = self.sink.first_byte_ns
            seen.bytes = 0 if error else self.sink.size or 0
        elif not error:
            seen.bytes = self.size
        tell(self.store.observers, seen)


_everywhere: tuple[Observer, ...] = ()
_everywhere_lock = ForkLock()
_stores: weakref.WeakSet[BaseStore] = weakref.WeakSet()


def observing(observers: Sequence[Observer]) -> tuple[Observer, ...]:
    """A client's observers, and those of the process."""
    return (*(observer for observer in observers if observer not in _everywhere), *_everywhere)


def observe_everywhere(observer: Observer) -> None:
    """Call ``observer`` for every operation of every store in this process, from now on."""
    _change((*_everywhere, observer), (observer,))


def stop_observing_everywhere(observer: Observer) -> None:
    """Take back ``observe_everywhere``. Operations that run now may still be told."""
    _change(tuple(other for other in _everywhere if other != observer), ())


def _change(everywhere: tuple[Observer, ...], new: tuple[Observer, ...]) -> None:
    global _everywhere
    with _everywhere_lock:
        before, _everywhere = _everywhere, everywhere
        for store in list(_stores):
            own = tuple(observer for observer in store.observers if observer not in (*before, *new))
            store.observers = observing(own)


def tell(observers: Sequence[Observer], seen: Observation) -> None:
    """Call all observers with an operation that has ended. They run where that did: on an event loop, all that is in
    flight there waits for them."""
    for observer in observers:
        began = time.perf_counter()
        try:
            observer(seen)
        except Exception:  # what watches an operation must not break it
            log.exception("an observer of %s %s failed", seen.operation, redact(seen.uri))
        if (now := time.perf_counter()) - began > SLOW_OBSERVER:
            _note_slow(observer, now - began, now)


#: An observer that takes so many seconds holds up what is in flight beside its operation.
SLOW_OBSERVER = 0.05
#: Seconds between two words about it.
_SPEAK_AGAIN = 60.0
_speaks_at = 0.0


def _note_slow(observer: Observer, seconds: float, now: float) -> None:
    global _speaks_at
    if now >= _speaks_at:
        _speaks_at = now + _SPEAK_AGAIN
        name = getattr(observer, "__qualname__", type(observer).__qualname__)
        log.warning(
            "the observer %s took %.0f ms, for which other transfers may have waited: let it hand over to a thread of "
            "its own what takes long", name, seconds * 1000,
        )  # fmt: skip
