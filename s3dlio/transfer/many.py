"""Batches of one verb over many URIs: reads, writes, stats, with their outcomes in the order of the input."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from s3dlio.engine.admission import Admission
from s3dlio.engine.batch import run_kinds
from s3dlio.engine.cancel import CancelToken, surrounding_token
from s3dlio.engine.session import Session
from s3dlio.errors import BatchError, ItemFailure, TransferCancelledError
from s3dlio.memory.sinks import DiscardSink, MemorySink
from s3dlio.memory.sources import Source, as_source
from s3dlio.memory.view import BytesView
from s3dlio.stores.base import ObjectStore
from s3dlio.stores.call import Call
from s3dlio.types import ObjectMetadata, Payload
from s3dlio.uri import as_uri


def uri_list(uris: Iterable[str | os.PathLike[str]]) -> list[str]:
    """The URIs as text.

    Raises:
        TypeError: a single URI, or an item that is none.
    """
    if isinstance(uris, str | os.PathLike):
        raise TypeError("expected several URIs (a list), not a single one")
    return [as_uri(uri) for uri in uris]


class Outcomes:
    """How the items of a batch ended. The first failure stops the batch unless it is to ``keep_going``."""

    def __init__(self, uris: Sequence[str], operation: str, *, keep_going: bool = False) -> None:
        self.cancel = surrounding_token() or CancelToken()
        self.errors: dict[int, BaseException] = {}
        self._uris = uris
        self._operation = operation
        self._keep_going = keep_going
        self._ended = 0
        self._given_up = 0
        self._lock = threading.Lock()

    def done(self, index: int, result: Any, error: BaseException | None) -> None:
        with self._lock:
            self._ended += 1
            if error is None:
                self.succeeded(index, result)
            elif self.cancel.cancelled and isinstance(error, TransferCancelledError):
                self._given_up += 1
            else:
                self.errors[index] = error
                if not self._keep_going:
                    self.cancel.cancel("another item of the batch failed")

    def succeeded(self, index: int, result: Any) -> None:
        """An item ended well; subclasses keep what they need. Called under the lock."""

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
        if self.errors and not self._keep_going:
            failures = [ItemFailure(index, self._uris[index], error) for index, error in self.errors.items()]
            raise BatchError(failures, attempted=self._ended, operation=self._operation, cancelled=self._given_up)
        self.cancel.check()


class _Metadata(Outcomes):
    def __init__(self, uris: Sequence[str]) -> None:
        super().__init__(uris, "HEAD")
        self.found: dict[int, ObjectMetadata] = {}

    def succeeded(self, index: int, result: ObjectMetadata) -> None:
        self.found[index] = result


class _Totals(Outcomes):
    """Counts objects and bytes; keeps the sinks of what is in flight only."""

    def __init__(self, uris: Sequence[str]) -> None:
        super().__init__(uris, "GET")
        self.objects = 0
        self.bytes = 0
        self.sinks: dict[int, DiscardSink] = {}

    def done(self, index: int, result: Any, error: BaseException | None) -> None:
        super().done(index, result, error)
        del self.sinks[index]

    def succeeded(self, index: int, result: Any) -> None:
        self.objects += 1
        self.bytes += self.sinks[index].size or 0


def _targets(session: Session, uris: Sequence[str], operation: str) -> list[tuple[ObjectStore, str]]:
    """Stores and keys of all URIs, looked at before the first request.

    Raises:
        InvalidURIError: one of them is no URI, or names no object.
    """
    targets = [session.store_for(uri) for uri in uris]
    for store, key in targets:
        store.check_key(key, operation)
    return targets


def get_many(
    session: Session, uris: Sequence[str], width: int, *, keep_going: bool = False
) -> list[tuple[str, BytesView | BaseException]]:
    """Read every URI, each once; the results stand in the order of ``uris``, equal URIs share their view.

    Raises:
        InvalidURIError: one of them is no URI, or names no object; nothing was read.
        BatchError: reads failed, and it was not to ``keep_going``: then the error stands in the object's place.
    """
    unique = list(dict.fromkeys(uris))
    targets = _targets(session, unique, "GET")
    sinks = [MemorySink() for _ in unique]
    outcomes = Outcomes(unique, "GET", keep_going=keep_going)

    def call(index: int) -> Call[Any]:
        store, key = targets[index]
        return store.read_call(key, sinks[index])

    outcomes.run([store for store, _ in targets], call, session, width)
    results: list[BytesView | BaseException] = [sink.view() for sink in sinks]
    for index, error in outcomes.errors.items():
        results[index] = error
    if len(unique) == len(uris):
        return list(zip(unique, results, strict=True))
    by_uri = dict(zip(unique, results, strict=True))
    return [(uri, by_uri[uri]) for uri in uris]


def get_many_stats(session: Session, uris: Sequence[str], width: int) -> tuple[int, int]:
    """Read every URI, drop the bytes, and tell how many objects and bytes there were."""
    targets = _targets(session, uris, "GET")
    totals = _Totals(uris)

    def call(index: int) -> Call[Any]:
        store, key = targets[index]
        sink = totals.sinks[index] = DiscardSink()
        return store.read_call(key, sink)

    totals.run([store for store, _ in targets], call, session, width)
    return totals.objects, totals.bytes


def stat_many(session: Session, uris: Sequence[str], width: int) -> list[ObjectMetadata]:
    """What the stores tell about every URI, each asked once, in the order of ``uris``.

    Raises:
        BatchError: it failed for one of them; the first failure stops the rest.
    """
    unique = list(dict.fromkeys(uris))
    targets = _targets(session, unique, "HEAD")
    outcomes = _Metadata(unique)

    def call(index: int) -> Call[Any]:
        store, key = targets[index]
        return store.head_call(key)

    outcomes.run([store for store, _ in targets], call, session, width)
    by_uri = {uri: outcomes.found[index] for index, uri in enumerate(unique)}
    return [by_uri[uri] for uri in uris]


def put_many(session: Session, items: Iterable[Sequence[Any]], width: int) -> None:
    """Write (URI, payload) pairs, in the order of the input. All are checked before the first is written.

    Raises:
        TypeError: an item is no pair, or its payload has no bytes; the message says which.
        InvalidURIError: a URI is none, or names no object.
        BatchError: writes failed; the first failure stops the rest.
    """
    writes = checked_writes(session, items)
    uris = [uri for uri, _, _, _ in writes]

    def call(index: int) -> Call[Any]:
        _, store, key, source = writes[index]
        return store.write_call(key, source)

    try:
        Outcomes(uris, "PUT").run([store for _, store, _, _ in writes], call, session, width, bounded=True)
    finally:
        writes.clear()  # a thread of the executor may refer to its work a moment longer than the batch


def checked_writes(session: Session, items: Iterable[Sequence[Any]]) -> list[tuple[str, ObjectStore, str, Source]]:
    """The URIs, stores, keys and sources of (URI, payload) pairs.

    Raises:
        TypeError, InvalidURIError: as of :func:`put_many`.
    """
    writes: list[tuple[str, ObjectStore, str, Source]] = []
    for index, item in enumerate(items):
        uri, payload = _pair(index, item)
        store, key = session.store_for(uri)
        store.check_key(key, "PUT")
        try:
            writes.append((uri, store, key, as_source(payload)))
        except TypeError as error:
            raise TypeError(f"item {index} ({uri}): {error}") from error
    return writes


def _pair(index: int, item: Any) -> tuple[str, Payload]:
    if not isinstance(item, tuple | list) or len(item) != 2:
        raise TypeError(f"item {index} must be a pair (uri, data), not {type(item).__name__}")
    try:
        return as_uri(item[0]), item[1]
    except TypeError as error:
        raise TypeError(f"item {index}: {error}") from error
