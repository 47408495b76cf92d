"""A batch on worker processes, as the caller's thread runs it: it feeds the workers, takes their results, and gives
what a dead one had to the others.

The caller's thread alone looks at the input and at the workers; it reads and writes no object itself. A worker has as
many items as it may have in flight, and as many more as it does in some milliseconds, so that it never waits for the
next message, and the last items are not all at one of them.
"""

from __future__ import annotations

import logging
import os
import select
import signal
from collections import deque
from collections.abc import Iterable, Sized
from contextlib import suppress
from typing import Any

from s3dlio.config.settings import Settings
from s3dlio.engine.batch_input import SlowInput
from s3dlio.engine.blocking_calls import Done
from s3dlio.engine.cancel import CancelToken
from s3dlio.engine.process_job import Work
from s3dlio.engine.process_member import Member
from s3dlio.engine.processes import Surroundings, WorkerProcess
from s3dlio.engine.session import Session
from s3dlio.errors import OutcomeUnknownError, TransferCancelledError, WorkerDiedError
from s3dlio.memory.shared import Segment
from s3dlio.memory.view import parts_of
from s3dlio.net import system
from s3dlio.stores.call import observing, tell
from s3dlio.wording import either, option

log = logging.getLogger("s3dlio.processes")

_MESSAGE = 128  # items that go out at a time
_MESSAGE_BYTES = 4 << 20  # of payloads: what is larger goes out alone
_LOOK = 0.1  # seconds between two looks whether the batch was cancelled
_SLOW_INPUT = 0.005  # the same for whether a listing has more
_DEATHS = 3  # so often an item is tried on workers that die
_STOP_SECONDS = 30.0  # so long a worker has to end what it is in the middle of, once the batch was cancelled
_TOGETHER = 8  # so many items that a worker died with are tried together once more; then each alone

def of_each(settings: Settings, procs: int) -> Settings:
    """The settings of each of so many workers: they divide a limit of bandwidth."""
    if settings.http.bwlimit is None:
        return settings
    from s3dlio.config.bandwidth import parse_timetable

    return settings.replace(http={"bwlimit": str(parse_timetable(settings.http.bwlimit).divided(procs))})


class ProcessBatch:
    """One batch. Parameters are those of :func:`run_processes`."""

    def __init__(
        self, session: Session, work: Work, items: Iterable[Any], procs: int, width: int, on_done: Done,
        cancel: CancelToken, ahead: SlowInput | None = None,
    ) -> None:  # fmt: skip
        self._session = session
        self._work = work
        self._items = iter(items)
        self._on_result = on_done
        self._cancel = cancel
        self._ahead = ahead
        expected = self._expected = len(items) if isinstance(items, Sized) else None
        budget = session.settings.transfer.max_in_flight_bytes
        procs = min(procs, width, max(1, expected if expected is not None else procs))
        self._budget = max(1, budget // procs)
        self._settings = of_each(session.settings, procs)
        self._widths = [width // procs + (number < width % procs) for number in range(procs)]
        self._members: dict[int, Member] = {}  # by the descriptor of the channel
        self._poll = system.poll()
        self._again: deque[tuple[int, Any]] = deque()  # what dead workers had
        self._deaths: dict[int, int] = {}  # position -> how many died with it
        self._position = 0
        self._stillborn = 0
        self._surroundings = Surroundings.now()
        self._has_ended = False
        self._is_stopped = False
        #: The number of the worker whose results are being taken, from 0.
        self.number = 0

    def run(self) -> None:
        """Run it."""
        processes = self._session.processes
        workers = processes.take(len(self._widths))
        try:
            for number, worker in enumerate(workers):
                self._begin(worker, number)
            self._loop()
        except BaseException as error:
            try:
                processes.drop([*workers, *self._workers()], interrupt=not isinstance(error, Exception))
            finally:
                for member in self._members.values():  # some may have been killed before they had cleaned up
                    self._work.on_death(member.worker, list(member.has.values()))
            raise
        else:
            processes.give_back(self._workers())
        finally:
            self._members.clear()

    def _workers(self) -> list[WorkerProcess]:
        return [member.worker for member in self._members.values()]

    def _begin(self, worker: WorkerProcess, number: int) -> None:
        session, surroundings = self._session, self._surroundings
        level = logging.getLogger("s3dlio").getEffectiveLevel()
        told = (
            None if worker.settings is self._settings else self._settings,
            None if worker.surroundings == surroundings else surroundings,
        )
        width = self._widths[number]
        self._members[worker.channel.fileno()] = Member(worker, number, width)
        self._poll.register(worker.channel.fileno(), select.POLLIN)
        max_bytes = self._budget if self._work.is_bounded else None
        about = level, len(self._widths), width, max_bytes, bool(observing(session.stores.observers))
        with suppress(OSError):  # it has died: that is seen when its channel is read
            worker.channel.send(("job", *about, *told, *self._work.job))
            worker.settings, worker.surroundings = self._settings, surroundings

    def _loop(self) -> None:
        while not self._is_stopped:
            waits_for_input = self._feed()
            if self._cancel.cancelled:
                self._stop()
            elif self._has_ended and not self._again and not any(member.has for member in self._members.values()):
                break
            else:
                self._hear(_SLOW_INPUT if waits_for_input else _LOOK)
        for member in self._members.values():
            member.send(("end",))
        until = system.monotonic() + _STOP_SECONDS
        while late := [member for member in self._members.values() if not member.is_over]:
            self._hear(_LOOK)
            if self._is_stopped and system.monotonic() > until:
                for member in late:
                    member.worker.process.kill()  # it hangs

    def _stop(self) -> None:
        """Nothing more is started, and what is in flight is given up."""
        self._is_stopped = True
        for index, _ in self._again:
            self._on_result(index, None, TransferCancelledError("given up by its batch"))
        self._again.clear()
        for member in self._members.values():
            member.send(("stop", self._cancel.reason))

    # -- what goes out

    def _feed(self) -> bool:
        """Give every worker what it has room for; whether the input has nothing just now."""
        if self._is_stopped or self._cancel.cancelled:
            return False
        members = sorted(self._members.values(), key=lambda member: len(member.has))
        while self._again and members:
            if not self._feed_again(members):
                return False
        while not self._has_ended:
            fed = False
            for member in members:
                room = member.room if member.sent_bytes < self._budget else 0
                enough = min(_MESSAGE, max(member.width // 4, member.ahead // 2))
                if room <= 0 or (room < enough and len(member.has) >= member.width):
                    continue
                taken, is_late = self._take(room, member)
                if taken:
                    member.give(self._work, taken)
                    fed = True
                if is_late:
                    return True
            if not fed:
                return False
        return False

    def _feed_again(self, members: list[Member]) -> bool:
        """Give something to do again to a worker; whether one has room for it. What two have died with is given to
        one that has nothing else, and alone, so that it is known who is to blame."""
        alone = self._deaths[self._again[0][0]] >= _DEATHS - 1
        member = members[0]
        if member.is_alone or (alone and member.has) or member.room <= 0:
            return False
        count = 1 if alone else min(_TOGETHER, len(self._again))
        member.is_alone = alone
        member.give(self._work, [self._again.popleft() for _ in range(count)])
        members.sort(key=lambda member: (member.is_alone, len(member.has)))
        return True

    def _take(self, room: int, member: Member) -> tuple[list[tuple[int, Any]], bool]:
        """Some of the input; whether it has no more just now."""
        most = min(room, _MESSAGE)
        if self._expected is not None:
            left = self._expected - self._position
            most = max(1, min(most, left // (2 * len(self._members))))
        work, ahead, size = self._work, self._ahead, 0
        taken: list[tuple[int, Any]] = []
        if ahead is not None:
            ahead.waits = not any(other.has for other in self._members.values())
        limit = self._budget - member.sent_bytes if member.has else self._budget
        while len(taken) < most:
            try:
                item = next(self._items)
            except StopIteration:
                self._has_ended = True
                break
            if item is None:
                return taken, True
            if ahead is not None:
                ahead.waits = False
            taken.append((self._position, item))
            self._position += 1
            size += work.size(item)
            if size >= min(_MESSAGE_BYTES, limit):
                break
        return taken, False

    # -- what comes in

    def _hear(self, seconds: float) -> None:
        for fd, _ in self._poll.poll(1000 * seconds):
            member = self._members[fd]
            try:
                (kind, *message), fds = member.worker.channel.receive()
            except EOFError:
                self._on_death(fd, member)
            else:
                getattr(self, f"_on_{kind}")(member, fds, *message)

    def _on_begun(self, member: Member, fds: list[int], unfinished: str) -> None:
        member.worker.unfinished = unfinished

    def _on_segments(self, member: Member, fds: list[int], segments: list[tuple[int, int]]) -> None:
        try:
            for fd, (number, length) in zip(fds, segments, strict=True):
                member.worker.memory.attach(Segment(number, fd, length))
        finally:
            for fd in fds:
                os.close(fd)

    def _on_log(self, member: Member, fds: list[int], record: logging.LogRecord) -> None:
        logger = logging.getLogger(record.name)
        if logger.isEnabledFor(record.levelno):
            logger.handle(record)

    def _on_results(
        self, member: Member, fds: list[int], done: list[tuple[int, Any]], errors: list[tuple[int, BaseException]],
        announced: tuple[list[tuple[int, int, int, int]], list[int]], observed: list[Any], notes: list[Any],
    ) -> None:  # fmt: skip
        leases, memory, has = member.leases, member.worker.memory, member.has
        self.number = member.number
        for seen in observed:
            tell(observing(self._session.stores.observers), seen)
        for note in notes:
            self._work.on_note(member.worker, note)
        for token, *where in announced[0]:
            leases[token] = parts_of(memory.view(token, *where))
        result, on_result = self._work.result, self._on_result
        for index, told in done:
            del has[index]
            on_result(index, result(told, leases), None)
        for index, error in errors:
            del has[index]
            on_result(index, None, error)
        for token in announced[1]:
            del leases[token]
        member.answered([index for index, _ in done + errors])

    def _on_over(self, member: Member, fds: list[int], error: BaseException | None, retries: int) -> None:
        member.is_over = True
        self._session.stores.retries_of_workers += retries
        if error is not None and not self._is_stopped:
            raise error
        for index in list(member.has):  # it was stopped before these began
            del member.has[index]
            self._on_result(index, None, TransferCancelledError("given up by its batch"))

    def _on_death(self, fd: int, member: Member) -> None:
        """A worker has died: the others, and a new one, do what it had."""
        worker, work = member.worker, self._work
        del self._members[fd]
        self._poll.unregister(fd)
        code = worker.kill()
        died = f"a worker process died ({_ending(code)})"
        if not worker.unfinished:
            self._stillborn += 1
            if self._stillborn >= _DEATHS:
                raise WorkerDiedError(f"{died} before it had begun, {_DEATHS} times", hint=_advice(code))
        items = list(member.has.items())
        log.warning("%s; what it had is done again: %d operations", died, len(items))
        work.on_death(worker, [item for _, item in items])
        for index, item in items:
            deaths = self._deaths[index] = self._deaths.get(index, 0) + 1
            if self._is_stopped:
                self._on_result(index, None, TransferCancelledError("given up by its batch"))
            elif not work.is_repeatable:
                unknown = OutcomeUnknownError(f"{died} that had it", uri=work.uri(item), operation=work.operation)
                self._on_result(index, None, unknown)
            elif deaths < _DEATHS:
                self._again.append((index, item))
            else:
                self._on_result(index, None, WorkerDiedError(
                    f"{died} each time that one had this operation", uri=work.uri(item), operation=work.operation,
                    attempts=deaths, hint=_advice(code),
                ))  # fmt: skip
        if not self._is_stopped and (self._again or not self._has_ended):
            self._begin(self._session.processes.start(), member.number)


def _ending(code: int) -> str:
    with suppress(ValueError):
        return signal.Signals(-code).name
    return f"exit code {code}"


def _advice(code: int) -> str:
    """What to do about workers that end so."""
    if code == -signal.SIGKILL:
        fewer = f"use fewer processes, or a lower {either('max_in_flight', '-j')}"
        return f"the system kills what takes too much memory: {fewer}"
    return f"standard error may tell why; without {option('procs')} the operation runs in this process"


def run_processes(
    session: Session,
    work: Work,
    items: Iterable[Any],
    *,
    procs: int,
    width: int,
    on_done: Done,
    cancel: CancelToken,
    ahead: SlowInput | None = None,
) -> None:
    """Do ``work`` with every item on worker processes, and return when all that were started have ended.

    Args:
        session: whose workers, settings and observers are used.
        work: the verb.
        items: one by one, when a worker has room; as the ``calls`` of :func:`run_calls`.
        procs: how many workers at most; each has one call in flight at least.
        width: how many calls are in flight at most, on all of them.
        on_done: called once for every item that was started, on this thread.
        cancel: once cancelled, nothing is started any more, and what is in flight is given up.
        ahead: as of :func:`run_calls`.
    """
    ProcessBatch(session, work, items, procs, width, on_done, cancel, ahead).run()
