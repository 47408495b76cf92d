"""The group of many ranks, by messages."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from s3dlio.cluster.clock_offset import measure_offset
from s3dlio.cluster.dealing import Dealer, received
from s3dlio.cluster.messenger import Messenger
from s3dlio.cluster.transport import Transport
from s3dlio.engine.group import Group
from s3dlio.errors import S3dlioError, TransferCancelledError
from s3dlio.foreign_errors import from_exception

T = TypeVar("T")

log = logging.getLogger("s3dlio.cluster")

#: Ranks of one host begin so long after each other (seconds), all within the longest.
_STAGGER, _LONGEST_STAGGER = 0.005, 0.25


class RankGroup(Group):
    """All ranks that a transport reaches.

    Args:
        transport: how; this measures the clocks by it, and then leaves it to a thread.

    Attributes:
        clock_offset: how far this rank's clock is ahead of that of rank 0 (nanoseconds).
        local: the ranks of this host.
    """

    def __init__(self, transport: Transport) -> None:
        self.rank, self.size = transport.rank, transport.size
        self._transport = transport
        self.clock_offset = measure_offset(transport)
        self._messenger = Messenger(transport)
        self._messenger.on_stop = self._stop
        self._calls = 0
        self._part = 0
        self._stops: dict[int, Callable[[str], object]] = {}
        self._stopped: dict[int, str] = {}
        self._staggers = True
        self._told: set[int] = set()  # ids of errors that all ranks have got
        self.hosts: tuple[str, ...] = tuple(self._everywhere(transport.host))
        self.local = tuple(rank for rank, host in enumerate(self.hosts) if host == transport.host)

    # -- together

    def barrier(self) -> None:
        self._everywhere(None)

    def share(self, value: T) -> T:
        subject = self._subject("share")
        if not self.rank:
            self._messenger.tell_all(subject, value)
            return value
        told: T = self._messenger.receive(0, subject)
        return told

    def gather(self, value: T) -> list[T]:
        subject = self._subject("gather")
        if self.rank:
            self._messenger.send(0, subject, value)
            self._messenger.check()
            return []
        self._messenger.send(0, subject, value)
        return [self._messenger.receive(rank, subject) for rank in range(self.size)]

    def _everywhere(self, value: T) -> list[T]:
        return self.share(self.gather(value))

    def first(self, work: Callable[[], T]) -> T:
        told: tuple[Any, BaseException | None] = None, None
        if not self.rank:
            try:
                told = work(), None
            except Exception as error:
                told = None, plain(error)
        result, failure = self.share(told)
        if failure is not None:
            self._told.add(id(failure))
            raise failure
        return result  # type: ignore[no-any-return]

    def deal(self, entries: Iterator[T], weight: Callable[[T], int] = lambda entry: 1) -> Iterator[T]:
        self._calls += 1
        number = self._calls
        if self._staggers:  # only who comes late to many requests needs that
            self._staggers = False
            time.sleep(min(_STAGGER, _LONGEST_STAGGER / len(self.local)) * self.local.index(self.rank))
        if self.rank:
            return received(self._messenger, number)
        return Dealer(self._messenger, number, self.size, entries, weight).own()

    def moment(self, lead_ns: int) -> int:
        wall = self.share(time.time_ns() + lead_ns)
        return time.perf_counter_ns() + wall + self.clock_offset - time.time_ns()

    def _subject(self, kind: str) -> tuple[str, int]:
        self._calls += 1
        return kind, self._calls

    # -- stopping

    @contextlib.contextmanager
    def stoppable(self, stop: Callable[[str], object]) -> Iterator[Callable[[str], None]]:
        self._part += 1
        part = self._part
        self._stops[part] = stop
        if part in self._stopped or self._messenger.failure is not None:
            stop(self._stopped.get(part, "another process failed"))
        try:
            yield lambda reason: self._messenger.tell_all("stop", (part, reason))
        finally:
            del self._stops[part]

    def _stop(self, part: int, reason: str) -> None:
        """A part, or with -1 everything, is to stop; called by the messenger's thread."""
        self._stopped[part] = reason
        for number, stop in list(self._stops.items()):
            if part in (-1, number):
                stop(reason)

    @contextlib.contextmanager
    def telling_errors(self) -> Iterator[None]:
        try:
            yield
        except BaseException as error:
            failure = self._messenger.failure
            if failure is None and id(error) not in self._told:
                self._fail(error)
            raise

    def _fail(self, error: BaseException) -> None:
        told = plain(error)
        if self.rank:
            told.add_note(f"on rank {self.rank} of {self.size}, host {self._transport.host}")
        self._messenger.tell_all("failed", told)
        self._messenger.failure = self._messenger.failure or (self.rank, error)  # from now on nobody waits for others

    @property
    def has_failed(self) -> bool:
        """Whether this or another rank has failed."""
        return self._messenger.failure is not None

    # -- the end

    def close(self, patience: float) -> bool:
        """Wait until all ranks are here, and end the messages; False where some are not within ``patience`` seconds.
        Nothing can be told afterwards."""
        deadline = time.monotonic() + patience
        messenger = self._messenger
        messenger.send(0, "bye", None)

        def is_over() -> bool:
            return time.monotonic() > deadline

        if not self.rank:
            here = all(self._hears(rank, is_over) for rank in range(self.size))
            messenger.tell_all("end", here)
        else:
            here = self._hears(0, is_over, "end")
        return messenger.close(max(1.0, deadline - time.monotonic())) and here

    def _hears(self, rank: int, is_over: Callable[[], bool], subject: str = "bye") -> bool:
        while not self._messenger.look(rank, subject):
            if is_over():
                return False
            time.sleep(0.001)
        return True


def plain(error: BaseException) -> BaseException:
    """The error as one of ours, which other processes can be told; an interrupt becomes one, too."""
    if isinstance(error, S3dlioError):
        return error
    if isinstance(error, Exception):
        return from_exception(error, uri=None, operation=None)
    return TransferCancelledError("a process of the job was interrupted")
