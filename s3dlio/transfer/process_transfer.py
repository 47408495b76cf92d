"""Transfers on worker processes: the parent's half. It lists, keeps the journal and the counts; workers move the bytes,
each by a route of its own between the same two stores (:mod:`s3dlio.transfer.process_transfer_job`)."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

from s3dlio.engine.process_job import Leases, Work
from s3dlio.engine.processes import WorkerProcess
from s3dlio.errors import S3dlioError, TransferCancelledError, WorkerDiedError
from s3dlio.stores.base import ObjectStore
from s3dlio.stores.local.atomic import remove_abandoned
from s3dlio.transfer.destination import Destination
from s3dlio.transfer.journal import Journal, State, Unfinished
from s3dlio.transfer.places import any_uri
from s3dlio.transfer.plan import Item
from s3dlio.transfer.process_work import refuse_memory
from s3dlio.transfer.route import Route, RouteOptions, Transferred
from s3dlio.types import NO_CONDITIONS


class TransferWork(Work):
    """Transfers items.

    Args:
        operation: the verb, for errors.
        source: where items are.
        destination: where they go.
        route: the way between the two, as this process would go it.
        how: as of that route.
    """

    def __init__(
        self, operation: str, source: ObjectStore, destination: Destination, route: Route, how: RouteOptions
    ) -> None:
        target = destination.store
        refuse_memory(source)
        refuse_memory(target)
        super().__init__(
            "s3dlio.transfer.process_transfer_job", "TransferJob", any_uri(source), any_uri(target), destination.prefix,
            how.verify, how.preserve_mtime, how.options, how.stamp, how.no_clobber, how.typed is not None,
            how.meter is not None, how.journal is not None,
        )  # fmt: skip
        self.operation = operation
        self.is_repeatable = how.options.conditions == NO_CONDITIONS and not how.no_clobber
        self._route = route
        self._directory = destination.directory
        self._meter = how.meter
        self._journal = how.journal
        self._metered: dict[int, int] = {}  # worker -> bytes that it told of objects that are not whole yet
        self._states: dict[str, Unfinished] = {}  # name -> how far an object is
        self._watched: dict[str, contextlib.AbstractContextManager[None]] = {}

    def uri(self, item: Item) -> str:
        return self._route.source_uri(item)

    def message(self, item: Item) -> Any:
        """The item; with a journal how far it was before, too."""
        if not isinstance(self._journal, Journal):
            return item
        return item, self._states.get(item.name) or self._journal.unfinished(item)

    def result(self, told: tuple[int, int, bool], leases: Leases) -> Transferred:
        return Transferred(*told)

    def on_note(self, worker: WorkerProcess, note: tuple[str, Any]) -> None:
        kind, about = note
        getattr(self, f"_on_{kind}")(worker, *about)

    def _on_bytes(self, worker: WorkerProcess, fresh: int, ended: int) -> None:
        """So many bytes have passed; so many of all that had are of objects that have ended."""
        self._metered[worker.number] = self._metered.get(worker.number, 0) + fresh - ended
        if self._meter is not None and fresh:
            self._meter(fresh)

    def _on_save(self, worker: WorkerProcess, item: Item, state: State) -> None:
        """An upload is so far."""
        assert isinstance(self._journal, Journal)
        self._journal.save(item, state)
        self._states[item.name] = Unfinished(item.stamp, state)

    def _on_state(self, worker: WorkerProcess, item: Item, state: State) -> None:
        """A download is so far."""
        assert isinstance(self._journal, Journal)
        name = item.name
        self._states[name] = Unfinished(item.stamp, state)
        if name not in self._watched:
            watching = self._watched[name] = self._journal.watching(item, lambda: self._states[name].state)
            watching.__enter__()

    def _on_left(self, worker: WorkerProcess, name: str, is_whole: bool) -> None:
        """A download has ended."""
        self._unwatch(name, None if is_whole else TransferCancelledError("it is not whole"))

    def _unwatch(self, name: str, error: Exception | None) -> None:
        """Of what is not whole, the journal keeps how far it is."""
        if (watching := self._watched.pop(name, None)) is not None:
            watching.__exit__(None if error is None else type(error), error, None)
        if error is None:
            self._states.pop(name, None)

    def on_death(self, worker: WorkerProcess, items: Sequence[Item]) -> None:
        if self._meter is not None and (lost := self._metered.pop(worker.number, 0)):
            self._meter(-lost)
        for item in items:
            self._unwatch(item.name, WorkerDiedError("its worker died"))
        kept = {str(found.state.get("partial")) for found in self._states.values()}
        if self._directory is not None and worker.unfinished:
            for name in {item.name.rpartition("/")[0] for item in items}:
                with contextlib.suppress(OSError, S3dlioError):  # it was not made yet, or may not be entered
                    segments = [*filter(None, name.split("/")), ""]
                    with self._directory.parent(segments, self._directory.uri) as parent:
                        remove_abandoned(parent, worker.unfinished, kept)
