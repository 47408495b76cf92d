"""Batches of one verb on worker processes: the parent's halves of :mod:`s3dlio.transfer.process_jobs`."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from s3dlio.engine.process_job import Leases, Work
from s3dlio.engine.processes import WorkerProcess
from s3dlio.engine.session import Session
from s3dlio.errors import UnsupportedOperationError
from s3dlio.memory.sources import Source
from s3dlio.memory.view import BytesView
from s3dlio.stores.call import BaseStore
from s3dlio.stores.local.atomic import remove_abandoned
from s3dlio.transfer import many
from s3dlio.types import NO_OPTIONS, PutOptions
from s3dlio.uri import LOCAL_SCHEMES
from s3dlio.wording import option

_JOBS = "s3dlio.transfer.process_jobs"


class GetWork(Work):
    """Reads objects; results are views of shared memory."""

    is_bounded = False

    def __init__(self) -> None:
        super().__init__(_JOBS, "GetJob")

    def result(self, told: tuple[int, int, int], leases: Leases) -> BytesView:
        token, offset, size = told
        return leases[token](offset, offset + size)


class StatsWork(Work):
    """Reads objects and tells how many bytes each has."""

    is_bounded = False

    def __init__(self) -> None:
        super().__init__(_JOBS, "StatsJob")


class _WriteWork(Work):
    """Writes objects, or files. Arguments, after the session, are those of :class:`Work`."""

    operation = "PUT"

    def __init__(self, session: Session, name: str, *arguments: Any) -> None:
        super().__init__(_JOBS, name, *arguments)
        self._session = session

    def on_death(self, worker: WorkerProcess, items: Sequence[Any]) -> None:
        """Remove its unfinished files."""
        places = [self._session.store_for(self.uri(item)) for item in items]
        files = [os.path.realpath(key) for store, key in places if store.scheme in LOCAL_SCHEMES]
        for directory in set(map(os.path.dirname, files)):
            if worker.unfinished:
                with contextlib.suppress(OSError):
                    remove_abandoned(directory, worker.unfinished)


class PutWork(_WriteWork):
    """Writes (URI, source) pairs."""

    has_payloads = True

    def __init__(self, session: Session) -> None:
        super().__init__(session, "PutJob")

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


class GenerateWork(_WriteWork):
    """Writes generated objects; items are their indices.

    Args:
        session: whose stores they are in.
        uri_of: gives the URI of an object.
        object_type, size, dedup, compress, data: as of :class:`GeneratedObjects`, with a seed.
        options: of the writes.
    """

    def __init__(
        self, session: Session, uri_of: Callable[[int], str], object_type: str, size: int, dedup: int, compress: int,
        data: dict[str, Any], options: PutOptions = NO_OPTIONS,
    ) -> None:  # fmt: skip
        super().__init__(session, "GenerateJob", object_type, size, dedup, compress, data, options)
        self._uri_of = uri_of

    def uri(self, item: int) -> str:
        return self._uri_of(item)

    def message(self, item: int) -> tuple[str, int]:
        return self._uri_of(item), item


def get_many(
    session: Session, uris: Sequence[str], width: int, procs: int, *, keep_going: bool = False
) -> list[tuple[str, BytesView | BaseException]]:
    """As of :mod:`s3dlio.transfer.many`; the views are of shared memory."""
    unique = many.each_once(uris)
    check_all(session, unique, "GET")
    outcomes = many.Outcomes(unique, "GET", keep_going=keep_going)
    outcomes.run_processes(session, GetWork(), unique, procs, width)
    return many.in_order(uris, unique, outcomes.in_place())


def get_many_stats(session: Session, uris: Sequence[str], width: int, procs: int) -> tuple[int, int]:
    """As of :mod:`s3dlio.transfer.many`."""
    check_all(session, uris, "GET")
    outcomes = many.Outcomes(uris, "GET")
    outcomes.run_processes(session, StatsWork(), uris, procs, width)
    return len(outcomes.results), sum(outcomes.results)


def put_many(session: Session, items: Iterable[Sequence[Any]], width: int, procs: int) -> None:
    """As of :mod:`s3dlio.transfer.many`; payloads are copied once, to where a worker sees them."""
    uris, stores, _, sources, _ = many.checked_writes(session, items)
    for store in set(stores):
        refuse_memory(store)
    pairs = list(zip(uris, sources, strict=True))
    sources.clear()
    try:
        many.Outcomes(uris, "PUT").run_processes(session, PutWork(session), pairs, procs, width)
    finally:
        pairs.clear()


def check_all(session: Session, uris: Sequence[str], operation: str) -> None:
    """Look at all URIs before the first is read.

    Raises:
        InvalidURIError: one of them is no URI, or names no object.
        UnsupportedOperationError: it is an object of this process.
    """
    stores, _, _ = many.targets(session, uris, operation)
    for store in set(stores):
        refuse_memory(store)


def refuse_memory(store: BaseStore) -> None:
    """Refuse objects that other processes do not see.

    Raises:
        UnsupportedOperationError: the store has such.
    """
    if store.scheme == "memory":
        raise UnsupportedOperationError(
            "memory:// is the memory of this process, which others do not see", uri=store.root,
            hint=f"leave {option('procs')} out",
        )
