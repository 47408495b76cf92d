"""Many ranges of objects at once: each straight into the memory that its caller gives, or handed to a function.

Small ranges that lie near each other in one object are read by one request.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from typing import Any

from s3dlio.engine.session import Session
from s3dlio.errors import IntegrityError, LengthMismatchError
from s3dlio.memory.caller_buffer import lent
from s3dlio.memory.pool import default_pool
from s3dlio.memory.sinks import BufferSink
from s3dlio.stores.base import ObjectStore
from s3dlio.stores.blocking import BlockingStore
from s3dlio.stores.call import Call
from s3dlio.transfer.many import Outcomes
from s3dlio.types import NO_CONDITIONS, Conditions

Land = Callable[[memoryview], None]
Failed = Callable[["RangeRead", BaseException], None]

#: Bytes between two ranges that are read and dropped rather than asked for around: a request takes as long as these.
GAP = 128 << 10
#: Ranges of fewer bytes are read together, so many bytes at a time.
_SMALL = 1 << 20
_TOGETHER = 8 << 20
#: Those that are in other memory for a while anyway.
_COPIED_TOGETHER = 32 << 20


class RangeRead:
    """A range of one object, and where it goes.

    Args:
        store, key: the object.
        offset, length: the range, in bytes. The object must have all of it.
        place: memory of just that length, which is filled.
        land: called with the bytes when all are there: those of ``place``, or, without one, in memory that is reused
            once nobody refers to it. What it raises is the error of the read.
        conditions: the version that is meant.
    """

    __slots__ = ("conditions", "key", "land", "length", "offset", "parts", "place", "store")
    #: Those that are read together by this one.
    parts: Sequence[RangeRead]

    def __init__(
        self,
        store: ObjectStore,
        key: str,
        offset: int,
        length: int,
        *,
        place: memoryview | None = None,
        land: Land | None = None,
        conditions: Conditions = NO_CONDITIONS,
    ) -> None:
        self.store = store
        self.key = key
        self.offset = offset
        self.length = length
        self.place = place
        self.land = land
        self.conditions = conditions
        self.parts = ()

    def take(self, data: memoryview) -> None:
        """The bytes of this range, which were read together with others."""
        if self.place is not None:
            self.place[:] = data
        if self.land is not None:
            self.land(data)


def read_ranges(
    session: Session, reads: Sequence[RangeRead], width: int = 64, failed: Failed | None = None, gap: int = GAP
) -> None:
    """Read all ranges, ``width`` at a time, after which ``reads`` refer to no memory any more. The bytes in flight of
    those without a place of their own are bounded by ``transfer.max_in_flight_bytes``.

    Args:
        session: whose lanes and threads read.
        reads: which ranges.
        width: how many requests at a time.
        failed: called with each read that failed, and its error; the others go on.
        gap: bytes between two small ranges that are read together, at most.

    Raises:
        BatchError: without ``failed``: reads failed; the first failure stops the rest. An object that ends before its
            range does is an IntegrityError in it.
    """
    together = merged([read for read in reads if read.length], gap)
    try:
        if together:
            lent(lambda: _read_all(session, together, width, failed))
    finally:
        together.clear()  # a thread of the executor may refer to its work a moment longer than the batch
        for read in reads:
            read.place = read.land = None


def merged(reads: Sequence[RangeRead], gap: int = GAP) -> list[RangeRead]:
    """The reads, with small ones of the same version that lie beside each other made one."""
    groups: dict[tuple[Any, ...], list[RangeRead]] = {}
    for read in reads:
        groups.setdefault((read.store, read.key, read.conditions), []).append(read)
    found: list[RangeRead] = []
    for group in groups.values():
        group.sort(key=lambda read: read.offset)
        run: list[RangeRead] = []
        for read in group:
            if run and not _joins(run, read, gap):
                found.append(_as_one(run))
                run = []
            run.append(read)
        found.append(_as_one(run))
    return found


def _joins(run: Sequence[RangeRead], read: RangeRead, gap: int) -> bool:
    """Whether a range is read together with those before it."""
    last = run[-1]
    copied = read.place is None and last.place is None  # so that being read together costs nothing more
    if not copied and (read.length >= _SMALL or last.length >= _SMALL):
        return False
    near = read.offset - last.offset - last.length <= gap
    return near and read.offset + read.length - run[0].offset <= (_COPIED_TOGETHER if copied else _TOGETHER)


def _as_one(run: list[RangeRead]) -> RangeRead:
    if len(run) == 1:
        return run[0]
    first = run[0]
    begin = first.offset
    parts = [(read.offset - begin, read.offset - begin + read.length, read) for read in run]

    def land(data: memoryview) -> None:
        for start, end, read in parts:
            read.take(data[start:end])

    length = max(map(itemgetter(1), parts))
    read = RangeRead(first.store, first.key, begin, length, land=land, conditions=first.conditions)
    read.parts = run
    return read


class _RangeReads(Outcomes):
    """Hands on what was read; keeps nothing."""

    def __init__(self, reads: Sequence[RangeRead], *, keep_going: bool = False) -> None:
        super().__init__([read.store.uri(read.key) for read in reads], "GET_RANGE", keep_going=keep_going)
        self._reads = reads
        self._sinks: dict[int, tuple[BufferSink, memoryview]] = {}

    def call(self, index: int) -> Call[Any]:
        """The call for one range, made when there is room for it."""
        read = self._reads[index]
        place = default_pool().lease(read.length) if read.place is None else read.place
        sink = BufferSink(place, exact=True)
        self._sinks[index] = sink, place
        call = read.store.read_call(
            read.key, sink, offset=read.offset, length=read.length, conditions=read.conditions
        )
        call.held = read.length if read.place is None else 0
        return call

    def done(self, index: int, result: Any, error: BaseException | None) -> None:
        sink, place = self._sinks.pop(index)
        sink.release()
        if error is None:
            try:
                self.land(index, place)
            except Exception as raised:
                error = raised
        if error is None:
            self.results[index] = None
        else:
            self.fail(index, _short(error, self._reads[index]))

    def land(self, index: int, data: memoryview) -> None:
        read = self._reads[index]
        if read.land is not None:
            read.land(data)

    def read(self, index: int) -> None:
        """Read one range of a store that does not wait."""
        call = self.call(index)
        sink, place = self._sinks.pop(index)
        try:
            call.run()
        except LengthMismatchError as error:
            raise _short(error, self._reads[index]) from error
        finally:
            sink.release()
        self.land(index, place)


def _short(error: BaseException, read: RangeRead) -> BaseException:
    """The error of a range that its object does not have."""
    if not isinstance(error, LengthMismatchError):
        return error
    short = IntegrityError(
        f"the object ends before byte {read.offset + read.length}, where a range of it should",
        uri=read.store.uri(read.key), operation="GET_RANGE",
        hint="it was truncated, or replaced by a shorter one",
    )  # fmt: skip
    short.__cause__ = error
    return short


def _read_all(session: Session, reads: Sequence[RangeRead], width: int, failed: Failed | None) -> None:
    outcomes = _RangeReads(reads, keep_going=failed is not None)
    stores = [read.store for read in reads]
    kinds = set(stores)
    if len(kinds) == 1 and isinstance(stores[0], BlockingStore) and not stores[0].waits:
        outcomes.run_each(outcomes.read, range(len(reads)), session, width, lambda index: reads[index].length)
    else:
        outcomes.run(stores, outcomes.call, session, width, bounded=True)
    if failed is not None:
        _hand_out(session, reads, outcomes.errors, width, failed)


def _hand_out(
    session: Session, reads: Sequence[RangeRead], errors: Mapping[int, BaseException], width: int, failed: Failed
) -> None:
    """Tell of each read that failed. Of those that were read together, some may lie within an object that ends before
    others do: then each is read alone."""
    alone: list[RangeRead] = []
    for index, error in errors.items():
        read = reads[index]
        if read.parts and isinstance(error, IntegrityError):
            alone += read.parts
            continue
        for each in read.parts or (read,):
            failed(each, error)
    if alone:
        _read_all(session, alone, width, failed)
