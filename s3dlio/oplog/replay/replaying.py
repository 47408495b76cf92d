"""The loop of a replay: it reads ahead while there is time, begins operations at their moments, counts the ends."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from queue import Empty
from typing import Any

from s3dlio.engine.session import Session
from s3dlio.errors import ConfigError
from s3dlio.memory.caller_buffer import let_go
from s3dlio.oplog.replay.clock import Clock, quiet
from s3dlio.oplog.replay.config import ReplayConfig
from s3dlio.oplog.replay.dependencies import ClosedLoop
from s3dlio.oplog.replay.execution import CustomExecution, Execution, StoreExecution
from s3dlio.oplog.replay.executor import OpExecutor
from s3dlio.oplog.replay.item import Item
from s3dlio.oplog.replay.plan import check_places
from s3dlio.oplog.replay.preparing import prepare_objects
from s3dlio.oplog.replay.report import ReplayReport
from s3dlio.oplog.replay.retarget import Places
from s3dlio.oplog.replay.schedule import OpenLoop, Schedule
from s3dlio.oplog.replay.trace import Trace
from s3dlio.transfer.progress import NoProgress, Progress

log = logging.getLogger("s3dlio.replay")

#: Why a replay stopped that was interrupted.
INTERRUPTED = "interrupted"
#: With less time than this (nanoseconds) before the next operation, nothing is read ahead.
_SLACK = 300_000
#: The first operation begins so long after everything is ready.
_LEAD = 5_000_000
#: In a longer pause than this (nanoseconds) operations that end are counted at once.
_LONG = 20_000_000
#: How many ends are counted before the next operation is looked at again.
_ENDS = 32
#: How long what is in flight may take to end after an interrupt (seconds).
_PATIENCE = 5.0


class Replay:
    """One replay of logs.

    Args:
        config: what, and how.
        session: the client whose stores are used; None: the default one.
        executor: does the operations in place of the stores.
        clock: another one than the system's, for tests.
        progress: an observer of the counts of operations and bytes.

    Raises:
        ConfigError: the configuration cannot be used; nothing has been done.
    """

    def __init__(
        self,
        config: ReplayConfig,
        session: Session | None = None,
        executor: OpExecutor | None = None,
        clock: Clock | None = None,
        progress: Progress | None = None,
    ) -> None:
        if session is None:
            from s3dlio.api import default_client

            session = default_client()
        self.config = config
        self.trace = Trace(config)
        #: What has been done so far; whole after ``run``, and also where that raised.
        self.report = ReplayReport(config.speed, closed_loop=config.closed_loop)
        self._session = session
        self._clock = clock or Clock()
        self._progress = progress or NoProgress()
        if config.prepare and executor is not None:
            raise ConfigError("prepare writes to stores, and an executor takes their place")
        self._places = Places(config)
        self._execution = self._make_execution(executor)
        self._schedule = self._make_schedule()

    def _make_execution(self, executor: OpExecutor | None) -> Execution:
        if executor is not None:
            return CustomExecution(self._session, self._places, self._clock, executor)
        return StoreExecution(self._session, self._places, self._clock, self.config)

    def _make_schedule(self) -> Schedule:
        config = self.config
        if config.closed_loop:
            return ClosedLoop(self.trace, config.speed, self._clock, config.window, think_time=config.think_time)
        return OpenLoop(self.trace, config.speed, self._execution.prepare)

    def run(self, together: Callable[[], None] | None = None) -> ReplayReport:
        """Replay it all.

        Args:
            together: called when everything is ready and before the first operation: waits for other processes that
                are to begin at the same time.

        Returns:
            What was done, failures included.

        Raises:
            ConfigError: it would change what is stored where it was recorded, and may not; nothing has been done.
            CorruptDataError: a log is none, ends in the middle, or is out of order. What began before has ended.
        """
        check_places(self.config)
        if self.config.prepare and (self.config.share is None or not self.config.share[0]):
            self._prepare()
        try:
            with quiet():
                self._run(together)
        except BaseException as error:
            self._break_off(error)
            raise
        finally:
            self._finish()
        return self.report

    def _run(self, together: Callable[[], None] | None) -> None:
        schedule = self._schedule
        schedule.open()
        if not self.config.closed_loop:
            while schedule.fill():
                pass
        self._execution.warm_up()
        if together is not None:
            together()
        schedule.begin(self._clock.now() + _LEAD)
        while self._goes_on():
            due = schedule.due()
            if due is None:
                if not schedule.fill() and not self._wait_for_end():
                    return
                continue
            left = due - self._clock.now()
            if left > _SLACK and schedule.fill():
                continue
            if len(self._execution.in_flight) >= self.config.max_in_flight:
                self.report.held_up += 1
                self._wait_for_end()
            elif left <= 0:
                self._begin(schedule.take())
            elif self.config.closed_loop:
                self._wait_for_end(due)
            elif left > _LONG:
                self._wait_for_end(due - _LONG // 2)
            else:
                self._clock.sleep_until(due)
        while self._wait_for_end():  # what has begun ends
            pass

    def _prepare(self) -> None:
        made = prepare_objects(self.config, self._session, self._progress)
        made.raise_for_failures("PUT")
        took = f"{made.bytes} bytes in {made.seconds:.3f} s"
        self.report.notes.append(f"{made.succeeded} objects were written before ({took})")

    def _begin(self, item: Item) -> None:
        if self.config.closed_loop:
            self._execution.prepare(item)
        self._execution.begin(item)

    def _goes_on(self) -> bool:
        """Count operations that have ended; False: one of them ends the replay."""
        ended = self._execution.ended
        with suppress(Empty):
            for _ in range(_ENDS):
                self._over(ended.get_nowait())
        return not self.report.stopped

    def _wait_for_end(self, until: int | None = None) -> bool:
        """Wait for one to end; False: none has, or nothing is in flight."""
        if not self._execution.in_flight and until is None:
            return False
        item = self._clock.wait_for(self._execution.ended, until)
        if item is not None:
            self._over(item)
        return item is not None

    def _over(self, item: Item) -> None:
        failed = self.report.add(item)
        item.over = True
        self._execution.in_flight.discard(item)
        self._schedule.ended(item)
        self._progress.add(1, item.size)
        self._progress.advance(1, item.size)
        if item.error is not None:
            if failed:
                self._failed(item)
            let_go(item.error)

    def _failed(self, item: Item) -> None:
        config, report = self.config, self.report
        log.info("%s failed: %s", item.operation.kind, item.error)
        if not config.continue_on_error:
            report.stopped = report.stopped or "an operation failed"
        elif config.max_errors is not None and report.failed > config.max_errors:
            report.stopped = report.stopped or f"more than {config.max_errors} operations failed"

    def _break_off(self, error: BaseException) -> None:
        """Give up what is in flight, and count it."""
        self.report.stopped = INTERRUPTED if not isinstance(error, Exception) else str(error)
        execution = self._execution
        execution.cancel()
        with suppress(Empty):
            while any(not item.ended for item in execution.in_flight):
                execution.ended.get(timeout=_PATIENCE)
        for item in execution.in_flight:
            if item.ended and not item.error and not item.over:
                self.report.add(item)
            else:
                self.report.given_up += not item.over

    def _finish(self) -> None:
        report, trace = self.report, self.trace
        report.skipped = trace.skipped.copy()
        if trace.backwards:
            report.notes.append(f"{trace.backwards} operations ended before they began: the recorded clock went back")
        if len(self._places.replaced) > 1:
            places = ", ".join(sorted(self._places.replaced)[:5])
            report.notes.append(f"the target takes the place of {len(self._places.replaced)}: {places}")


def replay_workload(
    config: ReplayConfig, executor: OpExecutor | None = None, *, session: Session | None = None
) -> ReplayReport:
    """Replay what an op-log has recorded.

    Args:
        config: what, and how.
        executor: does the operations; None: the stores of the client.
        session: the client; None: the default one.

    Returns:
        What was done, failures included where ``continue_on_error`` is set.

    Raises:
        BatchError: an operation failed that did not when it was recorded, and the rest was left out.
        ConfigError: it would write or delete where that was recorded, and may not (``in_place``); nothing was done.
        CorruptDataError: a file is no op-log, ends in the middle, or is out of order.
    """
    report = Replay(config, session, executor).run()
    if not config.continue_on_error:
        report.raise_for_failures()
    return report


def replay_op_log(
    path: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    executor: OpExecutor | None = None,
    *,
    session: Session | None = None,
    **options: Any,
) -> ReplayReport:
    """Replay an op-log, or several together.

    Args:
        path: the log, or a list of them.
        executor, session: as of :func:`replay_workload`, whose errors are raised.
        **options: as of :class:`ReplayConfig`: ``target_uri=``, ``speed=``, ``closed_loop=``, ...

    Returns:
        What was done.

    Raises:
        ConfigError: there is no such option, or it cannot be used.
    """
    try:
        config = ReplayConfig(op_log_path=path, **options)
    except TypeError as error:
        raise ConfigError(f"replay_op_log(): {error}") from None
    return replay_workload(config, executor, session=session)
