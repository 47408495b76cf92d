"""Batches of one verb over many URIs: reads, writes, stats, with their outcomes in the order of the input."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar, cast

from s3dlio.engine.admission import Admission
from s3dlio.engine.batch import run_each, run_kinds
from s3dlio.engine.blocking_calls import BULKY
from s3dlio.engine.cancel import CancelToken, surrounding_token
from s3dlio.engine.session import Session
from s3dlio.errors import BatchError, ItemFailure, TransferCancelledError
from s3dlio.hardware import usable_cpus
from s3dlio.memory.sinks import DiscardSink, MemorySink
from s3dlio.memory.sources import Source, as_source
from s3dlio.memory.view import BytesView
from s3dlio.net import system
from s3dlio.stores.base import ObjectStore
from s3dlio.stores.call import Call
from s3dlio.transfer.small_batches import A_HANDFUL, WIDTH, alone, drain_alone, get_alone, read_first, stat_alone
from s3dlio.types import ObjectMetadata, Payload
from s3dlio.uri import as_uri

if TYPE_CHECKING:
    from s3dlio.engine.process_job import Work
    from s3dlio.stores.blocking import BlockingStore

A = TypeVar("A")


def uri_list(uris: Iterable[str | os.PathLike[str]]) -> list[str]:
    """The URIs as text.

    Raises:
        TypeError: a single URI, or an item that is none.
    """
    if type(uris) is not list and isinstance(uris, (str, os.PathLike)):
        raise TypeError("expected several URIs (a list), not a single one")
    return [uri if type(uri) is str else as_uri(uri) for uri in uris]


_PENDING: Any = object()
#: So many items that need no call begin one after another, for so many seconds at most.
_FEW = 16
_A_WHILE = 1e-3


class Outcomes:
    """How the items of a batch ended: ``results`` and ``errors`` by position. The first failure stops the batch unless
    it is to ``keep_going``."""

    def __init__(self, uris: Sequence[str], operation: str, *, keep_going: bool = False) -> None:
        self.cancel = surrounding_token() or CancelToken()
        self.results: list[Any] = [_PENDING] * len(uris)
        self.errors: dict[int, BaseException] = {}
        self._uris = uris
        self._operation = operation
        self._keep_going = keep_going
        self._given_up: list[int] = []

    # Called from several threads: all that is changed is changed in one step.

    def done(self, index: int, result: Any, error: BaseException | None) -> None:
        """A call ended; subclasses keep something else than its result."""
        if error is None:
            self.results[index] = result
        else:
            self.fail(index, error)

    def fail(self, index: int, error: BaseException) -> None:
        """An item could not be done."""
        if self.cancel.cancelled and isinstance(error, TransferCancelledError):
            self._given_up.append(index)
            return
        self.errors[index] = error
        if not self._keep_going:
            self.cancel.cancel("another item of the batch failed")

    def run(
        self,
        stores: Sequence[ObjectStore],
        make: Callable[[int], Call[Any]],
        session: Session,
        width: int,
        *,
        bounded: bool = False,
    ) -> None:
        """Run the batch, ``width`` calls at a time: one for each of ``stores``, made by ``make`` from its position; the
        bytes in flight may be ``bounded``.

        Raises:
            BatchError: items failed, and it was not to ``keep_going``.
            TransferCancelledError: the awaited call around it was cancelled.
        """
        run_kinds(
            [store.is_cloud for store in stores], make, on_done=self.done, cancel=self.cancel,
            admission=Admission.of(session.settings.transfer, width, bounded=bounded), executor=session.executor,
        )  # fmt: skip
        self._end()

    def run_each(
        self,
        do: Callable[[A], Any],
        items: Sequence[A],
        session: Session,
        width: int,
        size: Callable[[A], int] | None = None,
        done: Sequence[Any] = (),
    ) -> None:
        """Run a batch of stores that do not wait, without calls: an item costs less than a call that is made for it.

        Args:
            do: does an item, as the verb for one does; gives what is to be kept.
            items: one for each URI.
            session: whose threads help.
            width: how many items are in flight at most.
            size: how many bytes an item will copy, about.
            done: what the first items gave, which are over already.

        Raises:
            BatchError, TransferCancelledError: as of :meth:`run`.
        """
        begun = len(done)
        self.results[:begun] = done
        bulky = size is not None and begun < len(items) - 1 and size(items[begun]) >= BULKY
        if not (begun or bulky):
            begun = self._begin(do, items if len(items) <= _FEW else items[:_FEW])
        if begun < len(items):
            results = self.results

            def run(index: int) -> None:
                try:
                    results[index] = do(items[index])
                except Exception as error:
                    self.fail(index, error)

            run_each(
                range(begun, len(items)), run, width=width, cancel=self.cancel, executor=session.executor,
                loops=usable_cpus() if bulky else 1,
            )  # fmt: skip
        if self.errors or self.cancel.cancelled:
            self._end()

    def run_processes(self, session: Session, work: Work, items: Sequence[Any], procs: int, width: int) -> None:
        """Run a batch on worker processes.

        Args:
            session: whose workers do it.
            work: the verb.
            items: one for each URI.
            procs: how many workers.
            width: how many items are in flight at most, on all of them.

        Raises:
            BatchError, TransferCancelledError: as of :meth:`run`.
        """
        from s3dlio.engine.process_batch import run_processes

        run_processes(session, work, items, procs=procs, width=width, on_done=self.done, cancel=self.cancel)
        self._end()

    def in_place(self) -> list[Any]:
        """The results, and the errors in the places of those that there are none of."""
        for index, error in self.errors.items():
            self.results[index] = error
        return self.results

    def _begin(self, do: Callable[[A], Any], items: Sequence[A]) -> int:
        """Do the first items, one after another, until that takes long; returns how many are over. Most batches of so
        few are over then: threads that may join, and who looks for what takes long, cost as much as an item or two."""
        results, cancel, clock, index = self.results, self.cancel, system.perf_counter, 0
        until = clock() + _A_WHILE
        try:
            for item in items:
                if cancel.cancelled or clock() > until:
                    return index
                results[index] = do(item)
                index += 1
        except Exception as error:
            self.fail(index, error)
            index += 1
        return index

    def _end(self) -> None:
        if self.errors and not self._keep_going:
            failures = [ItemFailure(index, self._uris[index], error) for index, error in self.errors.items()]
            given_up = len(self._given_up)
            attempted = len(failures) + given_up + sum(result is not _PENDING for result in self.results)
            raise BatchError(failures, attempted=attempted, operation=self._operation, cancelled=given_up)
        self.cancel.check()


class _Reads(Outcomes):
    """Keeps what was read."""

    def __init__(self, uris: Sequence[str], operation: str, *, keep_going: bool = False) -> None:
        super().__init__(uris, operation, keep_going=keep_going)
        self.sinks: dict[int, MemorySink] = {}

    def done(self, index: int, result: Any, error: BaseException | None) -> None:
        sink = self.sinks.pop(index)
        if error is None:
            self.results[index] = sink.view()
        else:
            self.fail(index, error)


class _Sizes(Outcomes):
    """Keeps the sizes of what was read."""

    def __init__(self, uris: Sequence[str], operation: str) -> None:
        super().__init__(uris, operation)
        self.sinks: dict[int, DiscardSink] = {}

    def done(self, index: int, result: Any, error: BaseException | None) -> None:
        sink = self.sinks.pop(index)
        if error is None:
            self.results[index] = sink.size or 0
        else:
            self.fail(index, error)


def targets(
    session: Session, uris: Sequence[str], operation: str
) -> tuple[list[ObjectStore], list[str], BlockingStore | None]:
    """Stores and keys of all URIs, looked at before the first request; and the store of all of them, where it is one,
    and does not wait, for requests or otherwise.

    Raises:
        InvalidURIError: one of them is no URI, or names no object.
    """
    stores, keys = session.stores.find_all(uris)
    if not stores or stores.count(stores[0]) != len(stores):
        for store, key in zip(stores, keys, strict=True):
            store.check_key(key, operation)
        return stores, keys, None
    store = stores[0]
    store.check_keys(keys, operation)
    return stores, keys, None if store.is_cloud or store.waits else cast("BlockingStore", store)


def get_many(
    session: Session, uris: Sequence[str], width: int, *, keep_going: bool = False
) -> list[tuple[str, BytesView | BaseException]]:
    """Read every URI, each once; the results stand in the order of ``uris``, equal URIs share their view.

    Raises:
        InvalidURIError: one of them is no URI, or names no object; nothing was read.
        BatchError: reads failed, and it was not to ``keep_going``: then the error stands in the object's place.
    """
    if len(uris) == 1 and width >= WIDTH:
        return [(uris[0], get_alone(session, uris[0], keep_going))]
    unique = each_once(uris)
    begun = read_first(session, unique) if 1 < len(unique) <= A_HANDFUL else []
    if begun and len(begun) == len(uris):
        return [(uri, BytesView(data)) for uri, data in zip(uris, begun)]  # noqa: B905
    stores, keys, store = targets(session, unique, "GET")
    if store is not None:
        small = begun or store.read_small(keys, _A_WHILE)
        if len(small) == len(uris):
            return [(uri, BytesView(data)) for uri, data in zip(uris, small)]  # noqa: B905
        outcomes = Outcomes(unique, "GET", keep_going=keep_going)
        outcomes.run_each(store.get, keys, session, width, store.size_hint, [BytesView(data) for data in small])
    else:
        outcomes = reads = _Reads(unique, "GET", keep_going=keep_going)

        def call(index: int) -> Call[Any]:
            sink = reads.sinks[index] = MemorySink()
            return stores[index].read_call(keys[index], sink)

        reads.run(stores, call, session, width)
    return in_order(uris, unique, outcomes.in_place())


def each_once(uris: Sequence[str]) -> Sequence[str]:
    """The URIs without those that are named again; ``uris`` itself where none is."""
    once = dict.fromkeys(uris)
    return uris if len(once) == len(uris) else list(once)


def in_order(uris: Sequence[str], unique: Sequence[str], results: Sequence[Any]) -> list[tuple[str, Any]]:
    """Every URI with its result; equal URIs, of which one was read, share it."""
    if unique is uris:
        return list(zip(uris, results))  # noqa: B905
    by_uri = dict(zip(unique, results, strict=True))
    return [(uri, by_uri[uri]) for uri in uris]


def get_many_stats(session: Session, uris: Sequence[str], width: int) -> tuple[int, int]:
    """Read every URI, drop the bytes, and tell how many objects and bytes there were."""
    begun = read_first(session, uris) if 0 < len(uris) <= A_HANDFUL else []
    if begun and len(begun) == len(uris):
        return len(begun), sum(map(len, begun))
    if len(uris) == 1 and width >= WIDTH and not begun:
        return 1, drain_alone(session, uris[0])
    stores, keys, store = targets(session, uris, "GET")
    if store is not None:
        small = list(map(len, begun or store.read_small(keys, _A_WHILE)))
        if len(small) == len(uris):
            return len(small), sum(small)
        outcomes = Outcomes(uris, "GET")
        outcomes.run_each(store.drain, keys, session, width, store.size_hint, small)
    else:
        outcomes = reads = _Sizes(uris, "GET")

        def call(index: int) -> Call[Any]:
            sink = reads.sinks[index] = DiscardSink()
            return stores[index].read_call(keys[index], sink)

        reads.run(stores, call, session, width)
    return len(outcomes.results), sum(outcomes.results)


def stat_many(session: Session, uris: Sequence[str], width: int) -> list[ObjectMetadata]:
    """What the stores tell about every URI, each asked once, in the order of ``uris``.

    Raises:
        BatchError: it failed for one of them; the first failure stops the rest.
    """
    if len(uris) == 1:
        return [stat_alone(session, uris[0])]
    unique = list(dict.fromkeys(uris))
    stores, keys, store = targets(session, unique, "HEAD")
    heads = Outcomes(unique, "HEAD")
    if store is not None:
        heads.run_each(store.head, keys, session, width)
    else:
        heads.run(stores, lambda index: stores[index].head_call(keys[index]), session, width)
    if len(unique) == len(uris):
        return heads.results
    by_uri = dict(zip(unique, heads.results, strict=True))
    return [by_uri[uri] for uri in uris]


def put_many(session: Session, items: Iterable[Sequence[Any]], width: int) -> None:
    """Write (URI, payload) pairs, in the order of the input. All are checked before the first is written.

    Raises:
        TypeError: an item is no pair, or its payload has no bytes; the message says which.
        InvalidURIError: a URI is none, or names no object.
        BatchError: writes failed; the first failure stops the rest.
    """
    uris, stores, keys, sources, store = checked_writes(session, items)

    def call(index: int) -> Call[Any]:
        return stores[index].write_call(keys[index], sources[index])

    outcomes = Outcomes(uris, "PUT")
    try:
        if len(uris) == 1 and width >= WIDTH:
            alone(uris[0], "PUT", lambda: stores[0].execute(call(0)))
        elif store is not None:
            write = store.write_call
            outcomes.run_each(
                lambda index: write(keys[index], sources[index]).run(), range(len(uris)), session, width,
                lambda index: sources[index].size,
            )  # fmt: skip
        else:
            outcomes.run(stores, call, session, width, bounded=True)
    finally:
        sources.clear()  # a thread of the executor may refer to its work a moment longer than the batch


def checked_writes(
    session: Session, items: Iterable[Sequence[Any]]
) -> tuple[list[str], list[ObjectStore], list[str], list[Source], BlockingStore | None]:
    """The URIs, stores, keys and sources of (URI, payload) pairs; and the store, as of :func:`_targets`.

    Raises:
        TypeError, InvalidURIError: as of :func:`put_many`.
    """
    uris: list[str] = []
    sources: list[Source] = []
    for index, item in enumerate(items):
        if type(item) is tuple and len(item) == 2 and type(item[0]) is str:
            uri, payload = item
        else:
            uri, payload = _pair(index, item)
        try:
            sources.append(as_source(payload))
        except TypeError as error:
            raise TypeError(f"item {index} ({uri}): {error}") from error
        uris.append(uri)
    stores, keys, store = targets(session, uris, "PUT")
    return uris, stores, keys, sources, store


def _pair(index: int, item: Any) -> tuple[str, Payload]:
    if not isinstance(item, tuple | list) or len(item) != 2:
        raise TypeError(f"item {index} must be a pair (uri, data), not {type(item).__name__}")
    try:
        return as_uri(item[0]), item[1]
    except TypeError as error:
        raise TypeError(f"item {index}: {error}") from error
