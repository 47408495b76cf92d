"""Transfers on worker processes: the worker's half, a route that is gone for the items that the parent hands out."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

from s3dlio.engine.process_job import Job, Note, ResultMemory
from s3dlio.engine.session import Session
from s3dlio.net import system
from s3dlio.stores.call import Call
from s3dlio.transfer.content_types import TypedOptions
from s3dlio.transfer.destination import open_destination
from s3dlio.transfer.journal import State, Unfinished
from s3dlio.transfer.plan import Item
from s3dlio.transfer.route import RouteOptions, Transferred
from s3dlio.types import PutOptions

_TELL_SECONDS = 0.1  # between two notes of how many bytes have passed
_STATE_SECONDS = 1.0  # between two notes of how far downloads are


class TransferJob(Job):
    """Transfers items from one store to another. Arguments are those of the route's options.

    Args:
        source, target: URIs in the two stores.
        prefix: where to, in the target.
        is_typed: names tell content types.
        is_metered: the parent wants to know of bytes as they pass.
        has_journal: the parent has one; items come with how far they were before.
    """

    def __init__(
        self, session: Session, results: ResultMemory, note: Note, source: str, target: str,
        prefix: str, verify: bool, preserve_mtime: bool, options: PutOptions, stamp: bool, no_clobber: bool,
        is_typed: bool, is_metered: bool, has_journal: bool,
    ) -> None:  # fmt: skip
        super().__init__(session, results, note)
        self._cleanup = contextlib.ExitStack()
        self._states = _States(note) if has_journal else None
        self._is_metered = is_metered
        self._fresh = 0
        self._told = system.monotonic()
        self._lock = threading.Lock()
        how = RouteOptions(
            verify, preserve_mtime, options, self._meter if is_metered else None, stamp, self._states, session.executor,
            no_clobber, TypedOptions(options) if is_typed else None,
        )  # fmt: skip
        destination = self._cleanup.enter_context(
            open_destination(session.store_for(target)[0], prefix, ignores_case=False)  # the parent looks after that
        )
        self._route = destination.route_from(session.store_for(source)[0], how)

    def call(self, item: Any) -> tuple[Call[Transferred], None]:
        if self._states is not None:
            item, before = item
            self._states.begin(Item(*item), before)
        return self._route.task(Item(*item)), None

    def result(self, context: None, result: Transferred) -> tuple[int, int, bool]:
        if self._is_metered:
            self._tell(result.metered, later=True)
        return result.bytes, result.metered, result.same

    def _meter(self, count: int) -> None:
        with self._lock:
            self._fresh += count
        if system.monotonic() - self._told > _TELL_SECONDS:
            self._tell(0)

    def _tell(self, ended: int, *, later: bool = False) -> None:
        with self._lock:
            fresh, self._fresh = self._fresh, 0
            self._told = system.monotonic()
        self.note(("bytes", (fresh, ended)), later=later)

    def close(self) -> None:
        if self._states is not None:
            self._states.close()
        self._cleanup.close()


class _States:
    """How far large objects are, as the journal of the parent has it (:class:`s3dlio.transfer.journal.ItemStates`).

    Args:
        note: tells the parent.
    """

    def __init__(self, note: Note) -> None:
        self._note = note
        self._before: dict[str, Unfinished] = {}
        self._watched: dict[str, tuple[Item, Callable[[], State]]] = {}
        self._has_ended = threading.Event()
        self._thread: threading.Thread | None = None

    def begin(self, item: Item, before: Unfinished | None) -> None:
        """An item, and how far it was before."""
        if before is not None:
            self._before[item.name] = before

    def unfinished(self, item: Item) -> Unfinished | None:
        """See :meth:`s3dlio.transfer.journal.Journal.unfinished`."""
        found = self._before.pop(item.name, None)
        return found if found is not None and found.state else None

    def save(self, item: Item, state: State) -> None:
        """See :meth:`s3dlio.transfer.journal.Journal.save`."""
        self._note(("save", (item, state)))

    @contextlib.contextmanager
    def watching(self, item: Item, state: Callable[[], State]) -> Iterator[None]:
        """See :meth:`s3dlio.transfer.journal.Journal.watching`."""
        self._watched[item.name] = item, state
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="s3dlio-states", daemon=True)
            self._thread.start()
        self._note(("state", (item, state())))
        is_whole = False
        try:
            yield
            is_whole = True
        finally:
            del self._watched[item.name]
            if not is_whole:
                self._note(("state", (item, state())))
            self._note(("left", (item.name, is_whole)))

    def _run(self) -> None:
        while not self._has_ended.wait(_STATE_SECONDS):
            for item, state in list(self._watched.values()):
                self._note(("state", (item, state())))

    def close(self) -> None:
        """The batch is over."""
        self._has_ended.set()
