"""What a transfer did: counted while it runs, returned when it has ended."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from s3dlio.errors import BatchError, ItemFailure, TransferCancelledError
from s3dlio.masking import redact
from s3dlio.records import Record, field
from s3dlio.stores.registry import Stores
from s3dlio.transfer.progress import NoProgress, Progress
from s3dlio.transfer.times import Times

log = logging.getLogger("s3dlio.transfer")

_WARNINGS = 20  # passed-over items spelled out in the log at level WARNING; the rest at DEBUG


class TransferSummary(Record):
    """The end of a transfer.

    Args:
        attempted: objects that were started, or refused.
        succeeded: objects that are complete at their destination (deleted, for a delete).
        failed: objects that are not.
        skipped: objects that were left out: done before (journal, sync), folder markers, unwanted sub-directories.
        bytes: bytes that were transferred.
        seconds: from the start of the first object to the end.
        failures: every failed object and its error.
        deleted: objects that a sync removed at the destination.
        times: how long its operations took, where that was measured.
        retries: requests that were sent again meanwhile by the client, after a failure or because the service asked for
            a slower pace; those of SDK transports are not known.
        ranks: what each process did of it, where several did it together.
    """

    attempted: int
    succeeded: int
    failed: int
    skipped: int
    bytes: int
    seconds: float
    failures: Sequence[ItemFailure] = field(default=(), repr=False)
    deleted: int = 0
    times: Times | None = field(default=None, repr=False, compare=False)
    retries: int = field(default=0, repr=False, compare=False)
    ranks: Sequence[Mapping[str, Any]] = field(default=(), repr=False)

    @property
    def given_up(self) -> int:
        """How many objects were started and neither done nor failed: they were in flight when others failed."""
        return self.attempted - self.succeeded - self.failed

    def raise_for_failures(self, operation: str, *, hint: str | None = None) -> None:
        """Raise the BatchError that carries every failure, if there is one.

        Args:
            operation: the verb.
            hint: what to do; default: how many were given up.
        """
        if self.failures:
            error = BatchError(
                self.failures, attempted=self.attempted, operation=operation, cancelled=self.given_up,
                skipped=self.skipped,
            )  # fmt: skip
            if hint is None and self.given_up:
                hint = f"{self.given_up} in flight were given up, and no more were started"
            error.hint = hint
            error.summary = self
            raise error


class Tally:
    """Counts of a running transfer. Safe to call from any thread.

    Args:
        progress: an observer of the counts of objects and bytes (``transfer.progress.Progress``).
    """

    def __init__(self, progress: Progress | None = None) -> None:
        self._progress = progress or NoProgress()
        self._lock = threading.Lock()
        self._made, self._started = time.monotonic(), 0.0
        self.attempted = 0
        self.succeeded = 0
        self.skipped = 0
        self.cancelled = 0
        self.bytes = 0
        self.failures: list[ItemFailure] = []
        self.times: Times | None = None
        self._stores: Stores | None = None
        self._retries = self._again = 0
        self.stopped_at = ""  # the object whose failure ended the transfer early
        self.ranks: list[dict[str, Any]] = []

    @contextlib.contextmanager
    def running(self, stores: Stores) -> Iterator[None]:
        """While the block runs, requests of these stores that are sent again count. An interrupt that ends it has the
        summary of what was done until then (``summary``)."""
        self._stores, self._retries = stores, stores.retries
        try:
            yield
        except KeyboardInterrupt as interrupt:
            vars(interrupt)["summary"] = self.summary()
            raise

    def start(self, objects: int = 1) -> int:
        """That many more objects; returns the position of the first in the transfer. The first one starts the clock:
        what it takes to get ready is not the store's time."""
        with self._lock:
            self._started = self._started or time.monotonic()
            self.attempted += objects
            return self.attempted - objects

    def succeed(self, size: int, metered: int = 0, objects: int = 1) -> None:
        """``objects`` are complete; progress already knows of ``metered`` of their bytes."""
        with self._lock:
            self.succeeded += objects
            self.bytes += size
            self._progress.advance(objects, size - metered)

    def fail(self, index: int, uri: str, error: BaseException) -> None:
        log.debug("failed: %s", error)
        with self._lock:
            self.failures.append(ItemFailure(index, uri, error))
            if not isinstance(error, TransferCancelledError):  # given up: it is not through
                self._progress.advance(1, 0)

    def give_up(self, objects: int = 1) -> None:
        """Objects were in flight when the transfer was stopped."""
        with self._lock:
            self.cancelled += objects

    def skip(self, uri: str, reason: str, *, expected: bool = False) -> None:
        """An object is left out; said at level WARNING unless it was ``expected``."""
        with self._lock:
            self.skipped += 1
            loud = not expected and self.skipped <= _WARNINGS
        log.log(logging.WARNING if loud else logging.DEBUG, "skipped %s: %s", redact(uri), reason)

    def unchanged(self, uri: str, size: int) -> None:
        """An object that was started turned out to be at its destination already."""
        with self._lock:
            self.attempted -= 1
            self.skipped += 1
            self._progress.advance(1, size)
        log.debug("skipped %s: it is at its destination already", redact(uri))

    def add(self, part: TransferSummary, cancelled: int, stopped_at: str) -> None:
        """Count what another process did, which had ``cancelled`` objects in flight when it was stopped."""
        first = self.attempted
        for name in ("attempted", "succeeded", "skipped", "bytes"):
            setattr(self, name, getattr(self, name) + getattr(part, name))
        self.failures += [ItemFailure(first + each.index, each.uri, each.error) for each in part.failures]
        self.cancelled += cancelled
        self.stopped_at = self.stopped_at or stopped_at
        self._again += part.retries
        if part.times is not None:
            self.times = self.times or Times()
            self.times.merge(part.times)

    def began(self, other: Tally) -> None:
        """This began when another did."""
        self._made, self._started = other._made, other._started

    def summary(self, deleted: int = 0) -> TransferSummary:
        with self._lock:
            return TransferSummary(
                attempted=self.attempted,
                succeeded=self.succeeded,
                failed=len(self.failures),
                skipped=self.skipped,
                bytes=self.bytes,
                seconds=time.monotonic() - (self._started or self._made),
                failures=tuple(sorted(self.failures, key=lambda failure: failure.index)),
                deleted=deleted,
                times=self.times,
                retries=self._again + (0 if self._stores is None else self._stores.retries - self._retries),
                ranks=tuple(self.ranks),
            )
