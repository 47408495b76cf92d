"""Reading any number of objects, one after the other, while the next ones are on their way.

A thread of the stream runs one endless batch. Its input is gated: the next object is asked for when there is room for
it among those that were asked for and not yet taken, by number and by bytes. So an endless generator of URIs runs in
constant memory, and a reader that computes for a while finds the next objects ready.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sized
from typing import Any, Self

from s3dlio.engine.admission import Admission
from s3dlio.engine.batch import run_calls
from s3dlio.engine.cancel import CancelToken
from s3dlio.engine.executor import LEAVE_SECONDS
from s3dlio.engine.prefetch import Prefetcher
from s3dlio.engine.session import Session
from s3dlio.errors import ConfigError, S3dlioError, TransferCancelledError, TransferTimeoutError
from s3dlio.memory.pool import SMALL
from s3dlio.memory.sinks import MemorySink
from s3dlio.memory.view import BytesView
from s3dlio.stores.call import Call
from s3dlio.uri import as_uri

#: A URI, or a stretch of an object: (URI, offset, length).
Entry = Any
#: What was asked for, and its bytes, or the error in their place.
Outcome = tuple[Any, BytesView | BaseException]

_LOOK = 0.2  # seconds between two looks whether the reader has gone
_RECENT = 64  # so many sizes tell what the next object may have
_FIRST = 8  # so many objects whose size nobody knows yet fill the bytes that there is room for


class _Sink(MemorySink):
    """Collects an object, and tells its size as soon as its head is there, where that matters."""

    __slots__ = ("_begun",)

    def __init__(self, begun: Callable[[int], None]) -> None:
        super().__init__()
        self._begun = begun

    def begin(self, size: int | None) -> None:
        super().begin(size)
        if size is not None and size >= SMALL:
            self._begun(size)


    def hand_over(self) -> BytesView:
        """The object; the sink, which an idle thread may still see, keeps nothing of it."""
        view = self.view()
        self._buffer = self._grown = None
        return view


class _Room:
    """How much has been asked for and not been taken: a number of objects, and their bytes, as far as those are known.

    An object whose size nobody has told yet counts as the largest of the last ones.
    """

    def __init__(self, objects: int, size: int) -> None:
        self._objects = objects
        self._bytes = size
        self._sizes: dict[int, int] = {}  # position -> bytes
        self._held = 0
        self._recent: deque[int] = deque(maxlen=_RECENT)

    def take(self, position: int, length: int | None) -> bool:
        """Take room for one more, of this length where it is known; False where there is none. One alone always
        fits."""
        taken = len(self._sizes)
        if taken >= self._objects:
            return False
        if length is None:
            length = max(self._recent) if self._recent else self._bytes // _FIRST
        if taken and self._held + length > self._bytes:
            return False
        self._held += length
        self._sizes[position] = length
        return True

    def correct(self, position: int, size: int) -> None:
        """The size of an object is known."""
        if position in self._sizes:
            self._held += size - self._sizes[position]
            self._sizes[position] = size
            self._recent.append(size)

    def give_back(self, position: int) -> None:
        self._held -= self._sizes.pop(position)


def _parts(entry: Entry) -> tuple[Any, int, int | None]:
    if not isinstance(entry, tuple):
        return entry, 0, None
    if len(entry) != 3:
        raise TypeError(f"an entry is a URI, or (uri, offset, length), not {len(entry)} items")
    return entry


class Stream:
    """The working part of an iterator over many objects: its thread holds this, and not the iterator.

    Args:
        session: whose stores and threads are used.
        entries: what to read; URIs, or (URI, offset, length).
        width: how many calls are in flight at most.
        objects: how many may be asked for and not be taken.
        size: how many bytes of them, about.
        ordered: outcomes come in the order of ``entries``, otherwise as they arrive.
    """

    def __init__(
        self, session: Session, entries: Iterable[Entry], width: int, *, objects: int, size: int, ordered: bool
    ) -> None:
        self._session = session
        self._width = width
        self._ordered = ordered
        self._cancel = CancelToken()
        self._changed = threading.Condition()
        self._room = _Room(objects, size)
        self._asked: dict[int, tuple[Entry, _Sink, int]] = {}  # position in the batch -> entry, sink, position in input
        self._arrived: dict[int, Outcome] = {}  # position in the input -> outcome; insertion order is that of arrival
        self._next = 0  # of the input: what comes next, where that matters
        self._ended = False
        self._failure: BaseException | None = None
        self._input_error: BaseException | None = None
        self._listener: Callable[[], None] | None = None
        #: Set by the batch: whether it waits for the next call, or is given None while there is no room.
        self.waits = True
        self._calls = self._make_calls(entries)
        self._process = os.getpid()
        self.thread = threading.Thread(target=self._run, name="s3dlio-stream", daemon=True)
        self.thread.start()

    # -- the batch, on the stream's thread

    def _run(self) -> None:
        failure = None
        try:
            run_calls(
                self._calls, admission=Admission.of(self._session.settings.transfer, self._width), on_done=self._done,
                cancel=self._cancel, executor=self._session.executor, ahead=self,
            )  # fmt: skip
        except BaseException as error:
            failure = error
        finally:
            self._calls.close()
            with self._changed:
                self._failure, self._ended = failure or self._input_error, True
                if self._cancel.cancelled:
                    self._arrived.clear()
                self._tell()

    def _make_calls(self, entries: Iterable[Entry]) -> Any:
        """The calls of the batch, each when there is room for it; None where the batch must not wait for that."""
        boxes = ((entry,) for entry in entries)
        # What is all there is read here; what may be a while in coming, on a thread that may wait for it.
        ahead = None if isinstance(entries, Sized) else Prefetcher(boxes, self._width, stopped=self._is_stopped)
        source: Iterator[tuple[Entry] | None] = boxes if ahead is None else ahead
        batched = position = 0
        try:
            while True:
                if ahead is not None:
                    ahead.waits = self.waits
                try:
                    box = next(source)
                except StopIteration:
                    return
                except BaseException as error:  # what is in flight goes on; this comes after it
                    self._input_error = error
                    return
                if box is None:
                    yield None
                    continue
                (entry,) = box
                length = entry[2] if isinstance(entry, tuple) and len(entry) == 3 else None
                while not self._take_room(position, length):
                    if self._cancel.cancelled:
                        return
                    yield None
                call = self._call(entry, position, batched)
                position += 1
                if call is not None:
                    batched += 1
                    yield call
        finally:
            if ahead is not None:
                ahead.close()

    def _is_stopped(self) -> bool:
        return self._cancel.cancelled

    def _take_room(self, position: int, length: int | None) -> bool:
        """Take room for the next object; False where there is none and the batch must not wait, or was stopped."""
        with self._changed:
            while not self._room.take(position, length):
                if self._cancel.cancelled or not self.waits:
                    return False
                self._changed.wait(_LOOK)
            return True

    def _call(self, entry: Entry, position: int, batched: int) -> Call[Any] | None:
        """The read of one entry; None for one that cannot be read, whose error has its place among the outcomes."""

        def begun(size: int) -> None:
            with self._changed:
                self._room.correct(position, size)

        sink = _Sink(begun)
        try:
            uri, offset, length = _parts(entry)
            store, key = self._session.store_for(as_uri(uri))
            call = store.read_call(key, sink, offset=offset, length=length)
        except (S3dlioError, TypeError, ValueError) as error:
            self._put(position, (entry, error))
            return None
        self._asked[batched] = entry if isinstance(entry, tuple) else as_uri(entry), sink, position
        return call

    def _done(self, batched: int, result: Any, error: BaseException | None) -> None:
        entry, sink, position = self._asked.pop(batched)
        if error is not None and self._cancel.cancelled and isinstance(error, TransferCancelledError):
            return
        self._put(position, (entry, sink.hand_over() if error is None else error))

    def _put(self, position: int, outcome: Outcome) -> None:
        data = outcome[1]
        with self._changed:
            if self._cancel.cancelled:
                return
            self._room.correct(position, len(data) if isinstance(data, BytesView) else 0)
            self._arrived[position] = outcome
            self._tell()

    def _tell(self) -> None:
        """Wake who waits. Called under the lock."""
        self._changed.notify_all()
        if self._listener is not None:
            listener, self._listener = self._listener, None
            listener()

    # -- the reader's side

    def take(self, wait: float | None = 0.0, listener: Callable[[], None] | None = None) -> Outcome | None:
        """The next outcome; None where there is none within ``wait`` seconds (None: for ever).

        Args:
            wait: seconds.
            listener: is called once when that may have changed, on another thread.

        Raises:
            StopIteration: there are no more.
            BaseException: what ``entries`` raised, when all that came before has been taken.
        """
        if os.getpid() != self._process:
            raise S3dlioError("this iterator belongs to another process", hint="make one after the fork")
        with self._changed:
            self._changed.wait_for(self._is_there, wait)
            if not self._is_there():
                self._listener = listener
                return None
            position = self._next if self._ordered else next(iter(self._arrived), None)
            outcome = None if position is None else self._arrived.pop(position, None)
            if outcome is None or position is None:
                if self._failure is not None:
                    failure, self._failure = self._failure, None
                    raise failure
                raise StopIteration
            self._next += 1
            self._room.give_back(position)
            self._changed.notify_all()
            return outcome

    def _is_there(self) -> bool:
        return self._ended or (self._next in self._arrived if self._ordered else bool(self._arrived))

    def drop(self) -> None:
        """Ask the thread to end and to give the buffers back. One assignment: safe in a finaliser."""
        self._cancel.cancel("nobody reads on")

    def close(self) -> None:
        """Stop, give the buffers back, and wait a while for what is in flight."""
        self.drop()
        if os.getpid() != self._process:
            return
        with self._changed:
            self._arrived.clear()
            self._changed.notify_all()
        self.thread.join(LEAVE_SECONDS)


class ManyIterator(Iterator[tuple[Any, Any]]):
    """(URI, data) of many objects, which are read while the caller works on the ones before; see ``iter_many``.

    It ends with its loop: by ``break``, an error or its last object. As a context manager, or by ``close``, it waits
    until nothing is in flight any more.
    """

    def __init__(self, stream: Stream, *, timeout: float | None, continue_on_error: bool) -> None:
        self._stream = stream
        self._timeout = timeout
        self._continue = continue_on_error

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> tuple[Any, Any]:
        outcome = self._stream.take(self._timeout)
        if outcome is None:
            self.close()
            raise late(self._timeout)
        if isinstance(outcome[1], BaseException) and not self._continue:
            self.close()
            raise outcome[1]
        return outcome

    def close(self) -> None:
        """Stop, give the buffers back, and wait a while for what is in flight."""
        self._stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        if stream := getattr(self, "_stream", None):
            stream.drop()


async def outcomes(
    open_stream: Callable[[], Stream], *, timeout: float | None, continue_on_error: bool
) -> AsyncIterator[tuple[Any, Any]]:
    """The outcomes of a stream, which is opened here, for an event loop: it waits for none of them."""
    import asyncio

    loop = asyncio.get_running_loop()
    changed = asyncio.Event()

    def tell() -> None:
        with contextlib.suppress(RuntimeError):  # the loop has been closed: nobody reads on
            loop.call_soon_threadsafe(changed.set)

    stream = open_stream()
    try:
        while True:
            changed.clear()
            try:
                outcome = stream.take(0.0, tell)
            except StopIteration:
                return
            if outcome is None:
                try:
                    await asyncio.wait_for(changed.wait(), timeout)
                except TimeoutError:
                    raise late(timeout) from None
                continue
            if isinstance(outcome[1], BaseException) and not continue_on_error:
                raise outcome[1]
            yield outcome
    finally:
        stream.drop()


def late(timeout: float | None) -> TransferTimeoutError:
    """The error of a reader that waited in vain."""
    return TransferTimeoutError(
        f"no object arrived within {timeout} seconds", operation="GET", hint="raise timeout=, or look at the endpoint"
    )


def check_room(prefetch: int | None, width: int, max_bytes: int) -> tuple[int, int]:
    """How many objects and bytes may be asked for and not be taken.

    Raises:
        ConfigError: less than 1.
    """
    objects = 4 * width if prefetch is None else prefetch
    for name, value in (("prefetch", objects), ("max_bytes", max_bytes)):
        if isinstance(value, bool) or not isinstance(value, int):
            raise TypeError(f"{name} must be an integer, not {type(value).__name__}")
        if value < 1:
            raise ConfigError(f"{name} must be at least 1, got {value}")
    return max(objects, 1), max_bytes
