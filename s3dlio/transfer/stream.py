"""Reading any number of objects, one after the other, while the next ones are on their way.

The next objects are asked for when there is room for them among those that were asked for and not yet taken, by number
and by bytes: so an endless generator of URIs runs in constant memory, and a reader that computes for a while finds the
next objects ready. A stream has no thread: objects of clouds come on the client's resident lanes, others are read, and
generators are asked, in the background.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, NoReturn

from s3dlio.engine.admission import Admission
from s3dlio.engine.background import background
from s3dlio.engine.cancel import CancelToken
from s3dlio.engine.executor import LEAVE_SECONDS
from s3dlio.engine.session import Session
from s3dlio.errors import S3dlioError, TransferCancelledError
from s3dlio.foreign_errors import from_exception
from s3dlio.hardware import available_memory, usable_cpus
from s3dlio.memory.pool import default_pool
from s3dlio.memory.view import BytesView
from s3dlio.net.pending import PendingRequest
from s3dlio.net.resident import ResidentLane
from s3dlio.transfer.stream_blocking import BlockingReads
from s3dlio.transfer.stream_entry import Entry, EntrySink, Outcome, StreamRead, Taken, is_large, parts_of
from s3dlio.transfer.stream_room import Room
from s3dlio.types import NO_CONDITIONS, Conditions
from s3dlio.uri import as_uri

#: So many reads that are at hand begin together.
_TOGETHER = 16


class Stream:
    """The working part of an iterator over many objects.

    Args:
        session: whose stores, lanes and threads are used.
        entries: what to read; URIs, or (URI, offset, length).
        width: how many calls are in flight at most.
        objects: how many may be asked for and not be taken.
        size: how many bytes of them, about.
        ordered: outcomes come in the order of ``entries``, otherwise as they arrive.
        here: the reader's thread may make calls, which takes a moment; False for an event loop.
        at_hand: no entry is a while in coming, so the reader's thread asks for them itself; default: those of lists.
        pins: the versions of objects that are meant, by URI.
    """

    def __init__(
        self, session: Session, entries: Iterable[Entry], width: int, *, objects: int, size: int, ordered: bool,
        here: bool = True, at_hand: bool | None = None, pins: Mapping[str, Conditions] | None = None,
    ) -> None:  # fmt: skip
        self._session = session
        self._pins = pins or {}
        self._width = width
        self._ordered = ordered
        self._cancel = CancelToken()
        self._changed = threading.Condition()
        self._room = Room(objects, size)
        self._lacks_bytes = False
        self._entries = iter(entries)
        self._is_at_hand = here and (isinstance(entries, (list, tuple)) if at_hand is None else at_hand)
        self._held: tuple[Entry] | None = None  # the next entry, which waits for room
        self._position = 0  # of the next entry
        self._is_filling = True  # a thread asks for more
        self._is_input_over = False
        self._asked = 0  # objects that have room, and no outcome yet
        self._wanted: deque[StreamRead] = deque()  # those of clouds that have not begun
        self._in_flight: set[StreamRead] = set()
        self._others = BlockingReads(width, self._cancel, session.executor)
        self._lanes: set[ResidentLane] = set()
        self._moved = 0
        self._arrived: dict[int, Outcome] = {}  # position in the input -> outcome; insertion order is that of arrival
        self._next = 0  # of the input: what comes next, where that matters
        self._failure: BaseException | None = None
        #: The input has ended by an error, or an interrupt.
        self.is_broken = False
        self._listener: Callable[[], None] | None = None
        self._admission = Admission.of(session.settings.transfer, width)
        self._recalled: Any = None
        #: As many as pay are in flight.
        self.limit = self._admission.limit
        self._process = os.getpid()
        # What the reader has done with is where the next objects land.
        self._forget_idle = default_pool().keep_idle(min(size, available_memory() // 16))
        self._fill_soon()

    # -- asking for more: on one thread at a time

    def _fill_soon(self) -> None:
        if self._is_at_hand:
            self._fill()
        else:
            background.run(self._fill)

    def _fill(self) -> None:
        """Ask for as many objects as there is room for."""
        found: list[StreamRead] = []
        failure: BaseException | None = None
        try:
            while not self._cancel.cancelled:
                if self._held is None:
                    if found and not self._is_at_hand:  # the next one may be a while in coming
                        self._begin(found)
                    self._held = (next(self._entries),)
                (entry,) = self._held
                if not self._take_room(entry):
                    self._begin(found)
                    return
                self._held = None
                if (read := self._read(entry, self._position)) is not None:
                    found.append(read)
                self._position += 1
                if len(found) >= _TOGETHER:
                    self._begin(found)
        except StopIteration:
            pass
        except BaseException as error:  # what is in flight goes on; this comes after it
            if self._is_at_hand and not isinstance(error, Exception):  # an interrupt of the reader
                self._interrupted(found)
                raise
            failure = error
        self._begin(found)
        self._end_input(failure)

    def _interrupted(self, found: list[StreamRead]) -> None:
        lost = {read.position for read in found} | ({self._position} if self._room.has(self._position) else set())
        self._break()
        with self._changed:
            self._asked -= len(lost)
            self._is_filling, self._is_input_over = False, True

    def _end_input(self, failure: BaseException | None) -> None:
        close = getattr(self._entries, "close", None)
        try:
            if close is not None:
                close()
        except BaseException as error:
            failure = failure or error
        self._held = None
        with self._changed:
            self._is_filling, self._is_input_over = False, True
            self._failure = self._failure or failure
            self.is_broken = self.is_broken or failure is not None
            self._tell()

    def _take_room(self, entry: Entry) -> bool:
        """Take room for the next object; False where there is none: then nobody asks for more until there is."""
        length = entry[2] if isinstance(entry, tuple) and len(entry) == 3 else None
        with self._changed:
            if self._room.take(self._position, length):
                self._asked += 1
                return True
            self._lacks_bytes = not self._room.is_full
            self._is_filling = False
            self._changed.notify_all()
            return False

    def _wants_more(self) -> bool:
        """Whether the caller, which has the lock, is to ask for more after it has given that back."""
        if self._is_filling or self._is_input_over or not self._room.is_roomy:
            return False
        self._is_filling, self._lacks_bytes = True, False
        return True

    def _read(self, entry: Entry, position: int) -> StreamRead | None:
        """The read of one entry; None for one that cannot be read, whose error has its place among the outcomes."""
        sink = EntrySink(partial(self._correct, position))
        try:
            uri, offset, length = parts_of(entry)
            store, key = self._session.store_for(as_uri(uri))
            conditions = self._pins.get(uri, NO_CONDITIONS) if self._pins else NO_CONDITIONS
            call = store.read_call(key, sink, offset=offset, length=length, conditions=conditions)
        except (S3dlioError, TypeError, ValueError) as error:
            self._put(position, (entry, error))
            return None
        width = self._session.settings.range.concurrency if store.is_cloud else 1
        return StreamRead(self, entry if isinstance(entry, tuple) else as_uri(entry), position, call, sink, width)

    def _correct(self, position: int, size: int) -> None:
        """The size of an object is known."""
        with self._changed:
            more = self._room.correct(position, size) and self._lacks_bytes and self._wants_more()
        if more:
            background.run(self._fill)

    def _begin(self, found: list[StreamRead]) -> None:
        """Have objects read, and forget the list."""
        clouds = others = False
        with self._changed:
            for read in found:
                assert read.call is not None
                if not read.call.store.is_cloud:
                    others = self._others.add(read) or others
                    continue
                if self._recalled is None:
                    self._recalled = read.call.store
                    self._admission.recall(self._recalled, "GET")
                self._wanted.append(read)
                clouds = clouds or len(self._in_flight) < self.limit.current
        found.clear()
        if clouds:
            self.start()
        if others:
            background.run(partial(self._others.run, self))

    def start(self) -> None:
        """Have a lane begin what is wanted. From any thread."""
        while self._wanted:
            try:
                lane = self._session.lanes.beside()
            except (RuntimeError, S3dlioError) as error:  # no more threads, or descriptors
                refused = error if isinstance(error, S3dlioError) else from_exception(error, operation="GET")
                with self._changed:
                    wanted, self._wanted = self._wanted, deque()
                for read in wanted:
                    self.over(read, refused)
                return
            self._lanes.add(lane)
            if lane.post(partial(self.go_on, lane)):
                return

    def go_on(self, lane: ResidentLane) -> None:
        """Begin what is wanted, as far as it may be in flight. On the lane's thread."""
        begins = []
        with self._changed:
            if self._cancel.cancelled:
                self._asked -= len(self._wanted)
                self._wanted.clear()
                self._changed.notify_all()
            while self._wanted and len(self._in_flight) < self.limit.current:
                read = self._wanted.popleft()
                self._in_flight.add(read)
                begins.append(read)
        if begins:
            lane.begin(begins)

    def lane_for(self, pending: PendingRequest) -> ResidentLane | None:
        """The lane for a body that turns out to be large, or None. One of the CPUs is left to the kernel."""
        cpus = usable_cpus() - 1
        if cpus < 2 or not is_large(pending) or self._cancel.cancelled:
            return None
        self._moved += 1
        lane: ResidentLane = self._session.lanes.numbered(self._moved % cpus)
        self._lanes.add(lane)
        return lane

    def fail(self, error: BaseException) -> None:
        """Reading cannot go on."""
        self._failure = error
        self._cancel.cancel("reading has failed")

    def over(self, read: StreamRead, error: BaseException | None) -> None:
        """A read has ended."""
        read.call = None
        if error is not None:
            read.sink.let_go()
        if error is not None and self._cancel.cancelled and isinstance(error, TransferCancelledError):
            with self._changed:
                self._in_flight.discard(read)
                self._asked -= 1
                self._tell()
            return
        self._put(read.position, (read.entry, read.sink.hand_over() if error is None else error), read)

    def _put(self, position: int, outcome: Outcome, read: StreamRead | None = None) -> None:
        data = outcome[1]
        lane = None if read is None else read.lane
        with self._changed:
            if read is not None:
                self._in_flight.discard(read)
            self._asked -= 1
            freed = self._room.correct(position, len(data) if isinstance(data, BytesView) else 0)
            if not self._cancel.cancelled:
                self._arrived[position] = outcome
            more = freed and self._lacks_bytes and self._wants_more()
            if not isinstance(lane, ResidentLane):
                self._tell()
            else:  # who waits would take turns with the lane at the interpreter's lock
                lane.after_turn(self._tell_now)
        if more:
            background.run(self._fill)

    def _tell_now(self) -> None:
        with self._changed:
            if not self._asked or self._is_there():
                self._tell()

    def _tell(self) -> None:
        """Wake who waits. Called under the lock."""
        self._changed.notify_all()
        if self._listener is not None:
            listener, self._listener = self._listener, None
            listener()

    # -- the reader's side

    def take(self, wait: float | None = 0.0, listener: Callable[[], None] | None = None) -> Taken | None:
        """The position in the input of the next outcome, and that; None: there is none in ``wait`` seconds.

        Args:
            wait: seconds; None: for ever.
            listener: is called once when that may have changed, on another thread.

        Raises:
            StopIteration: there are no more.
            BaseException: what ``entries`` raised, when all that came before has been taken.
        """
        if os.getpid() != self._process:
            raise S3dlioError("this iterator belongs to another process", hint="make one after the fork")
        taking = False
        try:
            with self._changed:
                if not (self._is_there() or self._changed.wait_for(self._is_there, wait)):
                    self._listener = listener
                    return None
                position = self._next if self._ordered else next(iter(self._arrived), None)
                taking = True
                outcome = None if position is None else self._arrived.pop(position, None)
                if outcome is None or position is None:
                    self._end()
                self._next += 1
                self._room.give_back(position)
                more = self._wants_more()
            if more:
                self._fill_soon()
            return position, outcome
        except BaseException as error:
            if taking and not isinstance(error, Exception):  # an interrupt: an outcome is lost, or nobody asks for more
                self._break()
            raise

    def _break(self) -> None:
        self.is_broken = True
        self._failure = self._failure or S3dlioError("reading was interrupted; begin again", operation="GET")
        self.drop()

    def _end(self) -> NoReturn:
        self._forget_idle()
        if self._recalled is not None:
            self._admission.remember(self._recalled, "GET")
        failure, self._failure = self._failure or StopIteration(), None
        raise failure

    def _is_there(self) -> bool:
        if self._next in self._arrived if self._ordered else self._arrived:
            return True
        return (self._is_input_over and not self._asked) or self._cancel.cancelled

    def drop(self) -> None:
        """Have all that is in flight given up, and give the buffers back. It waits for nothing, and takes no lock: it
        may come from a finaliser."""
        self._cancel.cancel("nobody reads on")
        self._forget_idle()
        self._arrived = {}  # the reader may be looking at the old one
        if os.getpid() == self._process:
            for lane in tuple(self._lanes):
                lane.post(partial(self._stop, lane))

    def end(self) -> None:
        """Have all given up, as :meth:`drop`, and wake who waits for the next outcome."""
        self.drop()
        with self._changed:
            self._tell()

    def waits_for(self) -> str | None:
        """The URI of the object that is next, or of one that is in flight."""
        with self._changed:
            first = min(self._in_flight, key=lambda read: read.position, default=None)
        return None if first is None else str(parts_of(first.entry)[0])

    def _stop(self, lane: ResidentLane) -> None:
        """Give up what a lane has in flight, on its thread."""
        self.go_on(lane)
        with self._changed:
            self._arrived = {}
            running = [read for read in self._in_flight if read.lane is lane]
        for read in running:
            lane.cancel(read, "nobody reads on")

    def close(self) -> None:
        """Stop, give the buffers back, and wait a while for what is in flight."""
        self.drop()
        if os.getpid() != self._process:
            return
        with self._changed:
            self._changed.notify_all()
            ends = not (self._is_filling or self._is_input_over)
            self._is_filling = self._is_filling or ends
        if ends:
            self._end_input(None)
        with self._changed:
            self._changed.wait_for(lambda: not (self._asked or self._is_filling), LEAVE_SECONDS)
