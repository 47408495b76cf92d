"""Batches of one verb on worker processes: the parent's halves of :mod:`s3dlio.transfer.process_jobs`."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from s3dlio.engine.cancel import CancelToken, surrounding_token
from s3dlio.engine.process_batch import run_processes
from s3dlio.engine.process_job import Leases, Work
from s3dlio.engine.processes import WorkerProcess
from s3dlio.engine.session import Session
from s3dlio.errors import BatchError, ItemFailure, TransferCancelledError, UnsupportedOperationError
from s3dlio.memory.sources import Source
from s3dlio.memory.view import BytesView
from s3dlio.stores.call import BaseStore
from s3dlio.stores.local.atomic import remove_abandoned
from s3dlio.transfer.many import checked_writes
from s3dlio.uri import LOCAL_SCHEMES

_JOBS = "s3dlio.transfer.process_jobs"


class GetWork(Work):
    """Reads objects; results are views of shared memory."""

    def __init__(self) -> None:
        super().__init__(_JOBS, "GetJob")

    def result(self, told: tuple[int, int, int], leases: Leases) -> BytesView:
        token, offset, size = told
        return leases[token](offset, offset + size)


class StatsWork(Work):
    """Reads objects and tells how many bytes each has."""

    def __init__(self) -> None:
        super().__init__(_JOBS, "StatsJob")


class PutWork(Work):
    """Writes (URI, source) pairs."""

    operation = "PUT"
    has_payloads = True

    def __init__(self, session: Session) -> None:
        super().__init__(_JOBS, "PutJob")
        self._session = session

    def on_death(self, worker: WorkerProcess, items: Sequence[tuple[str, Source]]) -> None:
        """Remove its unfinished files."""
        places = [self._session.store_for(uri) for uri, _ in items]
        for directory in {os.path.dirname(key) for store, key in places if store.scheme in LOCAL_SCHEMES}:
            if worker.unfinished:
                with contextlib.suppress(OSError):
                    remove_abandoned(directory, worker.unfinished)

    def uri(self, item: tuple[str, Source]) -> str:
        return item[0]

    def message(self, item: tuple[str, Source]) -> str:
        return item[0]

    def size(self, item: tuple[str, Source]) -> int:
        return item[1].size

    def fill(self, item: tuple[str, Source], place: memoryview) -> None:
        source, position = item[1], 0
        while position < source.size:
            data = source.read(position, source.size - position)
            place[position : position + len(data)] = data
            position += len(data)


class GenerateWork(Work):
    """Writes generated objects; items are their indices.

    Args:
        uri_of: gives the URI of an object.
        object_type, size, dedup, compress, options: as of :class:`GeneratedObjects`, with a seed.
    """

    operation = "PUT"

    def __init__(
        self, uri_of: Callable[[int], str], object_type: str, size: int, dedup: int, compress: int,
        options: dict[str, Any],
    ) -> None:  # fmt: skip
        super().__init__(_JOBS, "GenerateJob", object_type, size, dedup, compress, options)
        self._uri_of = uri_of

    def uri(self, item: int) -> str:
        return self._uri_of(item)

    def message(self, item: int) -> tuple[str, int]:
        return self._uri_of(item), item


class _Outcomes:
    """How the items ended: ``results`` and ``errors`` by position. The first failure stops the batch unless it is to
    ``keep_going``. Used on one thread."""

    def __init__(self, count: int, *, keep_going: bool = False) -> None:
        self.cancel = surrounding_token() or CancelToken()
        self.results: list[Any] = [None] * count
        self.errors: dict[int, BaseException] = {}
        self._keep_going = keep_going
        self._ended = 0
        self._given_up = 0

    def done(self, index: int, result: Any, error: BaseException | None) -> None:
        self._ended += 1
        if error is None:
            self.results[index] = result
        elif self.cancel.cancelled and isinstance(error, TransferCancelledError):
            self._given_up += 1
        else:
            self.errors[index] = error
            if not self._keep_going:
                self.cancel.cancel("another item of the batch failed")

    def run(self, session: Session, work: Work, items: Sequence[Any], procs: int, width: int) -> None:
        """Run the batch.

        Raises:
            BatchError: items failed, and it was not to ``keep_going``.
            TransferCancelledError: the awaited call around it was cancelled.
        """
        run_processes(session, work, items, procs=procs, width=width, on_done=self.done, cancel=self.cancel)
        if self.errors and not self._keep_going:
            failures = [ItemFailure(index, work.uri(items[index]), error) for index, error in self.errors.items()]
            raise BatchError(failures, attempted=self._ended, operation=work.operation, cancelled=self._given_up)
        self.cancel.check()


def get_many(
    session: Session, uris: Sequence[str], width: int, procs: int, *, keep_going: bool = False
) -> list[tuple[str, BytesView | BaseException]]:
    """As of :mod:`s3dlio.transfer.many`; the views are of shared memory."""
    unique = list(dict.fromkeys(uris))
    check_all(session, unique, "GET")
    outcomes = _Outcomes(len(unique), keep_going=keep_going)
    outcomes.run(session, GetWork(), unique, procs, width)
    for index, error in outcomes.errors.items():
        outcomes.results[index] = error
    pairs = zip(unique, outcomes.results, strict=True)
    if len(unique) == len(uris):
        return list(pairs)
    by_uri = dict(pairs)
    return [(uri, by_uri[uri]) for uri in uris]


def get_many_stats(session: Session, uris: Sequence[str], width: int, procs: int) -> tuple[int, int]:
    """As of :mod:`s3dlio.transfer.many`."""
    check_all(session, uris, "GET")
    outcomes = _Outcomes(len(uris))
    outcomes.run(session, StatsWork(), uris, procs, width)
    return len(uris), sum(outcomes.results)


def put_many(session: Session, items: Iterable[Sequence[Any]], width: int, procs: int) -> None:
    """As of :mod:`s3dlio.transfer.many`; payloads are copied once, to where a worker sees them."""
    uris, stores, _, sources, _ = checked_writes(session, items)
    for store in set(stores):
        refuse_memory(store)
    pairs = list(zip(uris, sources, strict=True))
    sources.clear()
    try:
        _Outcomes(len(pairs)).run(session, PutWork(session), pairs, procs, width)
    finally:
        pairs.clear()


def check_all(session: Session, uris: Iterable[str], operation: str) -> None:
    """Look at all URIs before the first is read.

    Raises:
        InvalidURIError: one of them is no URI, or names no object.
        UnsupportedOperationError: it is an object of this process.
    """
    find, stores = session.store_for, set()
    for uri in uris:
        store, key = find(uri)
        store.check_key(key, operation)
        stores.add(store)
    for store in stores:
        refuse_memory(store)


def refuse_memory(store: BaseStore) -> None:
    """Refuse objects that other processes do not see.

    Raises:
        UnsupportedOperationError: the store has such.
    """
    if store.scheme == "memory":
        raise UnsupportedOperationError(
            "memory:// is the memory of this process, which others do not see", uri=store.root, hint="leave procs out"
        )
