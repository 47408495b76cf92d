"""A batch in a worker process: the items that come in, the calls made of them, and the results that go out."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections import deque
from collections.abc import Iterator
from typing import Any

from s3dlio.engine.admission import Admission
from s3dlio.engine.batch import run_calls
from s3dlio.engine.cancel import CancelToken
from s3dlio.engine.process_channel import MOST_FDS, Channel
from s3dlio.engine.process_job import ResultMemory
from s3dlio.engine.session import Session
from s3dlio.errors import S3dlioError
from s3dlio.foreign_errors import from_exception
from s3dlio.net import system
from s3dlio.stores.call import Call
from s3dlio.types import Observation

#: Results wait for others for so long (seconds), or until so many are there: a message costs as much as ten results.
_GATHER_SECONDS, _GATHER = 0.005, 128


class Batch:
    """One batch: the items that come in, the calls made of them, and the results that go out.

    Args:
        channel: to the parent.
        results: where results lie.
        width: how many calls are in flight at most.
        max_bytes: of its writes in flight, at most; None: no bound.
        is_observed: the parent wants to hear of operations.
    """

    def __init__(
        self, channel: Channel, results: ResultMemory, width: int, max_bytes: int | None, is_observed: bool
    ) -> None:
        self.cancel = CancelToken()
        #: Set by the one who pulls: whether it waits for the next item, or is given None where there is none.
        self.waits = True
        self.is_observed = is_observed
        self._channel = channel
        self._results = results
        self._width = width
        self._max_bytes = max_bytes
        self._items: deque[tuple[int, Any]] = deque()
        self._has_ended = False
        self._is_over = False
        self._changed = threading.Condition()
        self._in_flight: dict[int, tuple[int, Any]] = {}
        self._done: list[tuple[int, Any]] = []
        self._errors: list[tuple[int, BaseException]] = []
        self._observed: list[Observation] = []
        self._notes: list[Any] = []
        self._sent = system.monotonic()
        self._lock = threading.RLock()  # what is logged in here is sent, too
        self.job: Any = None
        #: Requests that were sent again.
        self.retries = 0

    # -- what comes in, on the thread of the channel

    def add(self, indices: list[int], items: list[Any]) -> None:
        """More items."""
        self._items.extend(zip(indices, items, strict=True))
        with self._changed:
            self._changed.notify_all()

    def end(self) -> None:
        """There are no more."""
        self._has_ended = True
        with self._changed:
            self._changed.notify_all()

    def stop(self, reason: str) -> None:
        """Start no more of them, and give up what is in flight."""
        self._items.clear()
        self.cancel.cancel(reason)
        self.end()

    def abandon(self) -> None:
        """The same, and tell the parent nothing more: what has no result yet is another worker's."""
        self._is_over = True
        self.stop("this process ends")

    # -- calls

    def run(self, session: Session) -> None:
        """Run all that come."""
        run_calls(
            self._calls(), ahead=self, on_done=self._on_done, cancel=self.cancel, executor=session.executor,
            admission=Admission(self._width, self._max_bytes, adaptive=session.settings.transfer.adaptive),
        )  # fmt: skip

    def _calls(self) -> Iterator[Call[Any] | None]:
        items, in_flight, call_of = self._items, self._in_flight, self.job.call
        position = 0
        while True:
            try:
                index, item = items.popleft()
            except IndexError:
                if self._has_ended and not items:
                    return
                if self.waits:
                    self.flush()
                    with self._changed:
                        self._changed.wait_for(lambda: bool(items) or self._has_ended)
                else:
                    yield None
                continue
            try:
                call, context = call_of(item)
            except Exception as error:
                with self._lock:
                    self._errors.append((index, _sendable(error)))
                    self._tell()
                continue
            in_flight[position] = index, context
            position += 1
            yield call
            del call, item, context

    def _on_done(self, position: int, result: Any, error: BaseException | None) -> None:
        index, context = self._in_flight.pop(position)
        with self._lock:  # a result and what is announced for it go out together
            if error is None:
                self._done.append((index, self.job.result(context, result)))
            else:
                self._errors.append((index, _sendable(error)))
            self._tell()

    # -- what goes out

    def _tell(self) -> None:
        """Tell the parent what has ended, if that is worth a message."""
        waiting = len(self._done) + len(self._errors)
        # Where no item is left, the parent does not hear late that half of the window has nothing to do.
        if (
            waiting >= _GATHER
            or (not self._items and 2 * waiting >= len(self._in_flight))
            or system.monotonic() - self._sent > _GATHER_SECONDS
        ):
            self._flush()

    def note(self, note: Any, *, later: bool = False) -> None:
        """Tell the parent's half of the job something; see :class:`Note`."""
        with self._lock:
            if not self._is_over:
                self._notes.append(note)
                if not later:
                    self._flush()

    def observe(self, observation: Observation) -> None:
        """An operation has ended."""
        with self._lock:
            if observation.error is not None:
                observation.error = _sendable(observation.error)
            self._observed.append(observation)

    def log(self, record: logging.LogRecord) -> None:
        """Something was logged."""
        with self._lock, contextlib.suppress(OSError):
            if not self._is_over:
                self._channel.send(("log", record))

    def flush(self) -> None:
        """Tell the parent all that it has not heard."""
        with self._lock:
            self._flush()

    def over(self, error: BaseException | None) -> None:
        """The last message of the batch."""
        self._results.end()
        with self._lock:
            self._flush()
            self._is_over = True  # what a straggler still tells is of no batch
            self._channel.send(("over", None if error is None else _sendable(error), self.retries))

    def _flush(self) -> None:
        self._sent = system.monotonic()
        if self._is_over:
            return  # of a straggler: the parent has taken it for not done
        while segments := self._results.take_segments(MOST_FDS):
            fds = [segment.fd for segment in segments]
            try:
                self._channel.send(("segments", [(segment.number, segment.length) for segment in segments]), fds)
            finally:
                for fd in fds:
                    os.close(fd)
        announced = self._results.take_announced()
        done, errors, observed, notes = self._done, self._errors, self._observed, self._notes
        if not (done or errors or observed or notes or any(announced)):
            return
        self._done, self._errors, self._observed, self._notes = [], [], [], []
        self._channel.send(("results", done, errors, [*announced], observed, notes))


def _sendable(error: BaseException) -> BaseException:
    """The error as the parent can unpickle it: of a class that it knows, as its causes are."""
    if not _is_known(error):
        error = from_exception(error) if isinstance(error, Exception) else S3dlioError(repr(error))
    found: BaseException | None = error
    while found is not None and (cause := found.__cause__) is not None:
        if not _is_known(cause):
            found.__cause__ = RuntimeError(f"{type(cause).__name__}: {cause}")
        found = found.__cause__
    return error


def _is_known(error: BaseException) -> bool:
    home = type(error).__module__.partition(".")[0]
    return home == "s3dlio" or (home == "builtins" and isinstance(error, OSError | ValueError | TypeError))


class ForwardedLog(logging.Handler):
    """Sends records to the parent, whose handlers the user has configured."""

    def __init__(self, batch: Batch) -> None:
        super().__init__()
        self._batch = batch

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if record.exc_info:
            text = f"{text}\n{logging.Formatter().formatException(record.exc_info)}"
        record.msg, record.args, record.exc_info, record.exc_text = text, None, None, None
        self._batch.log(record)
