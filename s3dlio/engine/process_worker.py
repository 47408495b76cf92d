"""The program of a worker process: it runs one batch at a time, and ends when its parent closes the channel.

What the parent says comes in on a thread of its own, so that a batch can be stopped, and is never in the parent's way.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator
from queue import SimpleQueue
from types import FrameType
from typing import Any

from s3dlio.engine.admission import Admission
from s3dlio.engine.batch import run_calls
from s3dlio.engine.cancel import CancelToken
from s3dlio.engine.executor import LEAVE_SECONDS
from s3dlio.engine.process_channel import MOST_FDS, Channel
from s3dlio.engine.process_job import Job, ResultMemory
from s3dlio.engine.session import Session
from s3dlio.errors import S3dlioError
from s3dlio.foreign_errors import from_exception, local_error
from s3dlio.hardware import share_cpus
from s3dlio.memory.shared import PeerMemory, Segment
from s3dlio.net import system
from s3dlio.stores.call import Call
from s3dlio.stores.local.atomic import unfinished_token
from s3dlio.types import Observation

log = logging.getLogger("s3dlio.processes")

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
            self._channel.send(("over", None if error is None else _sendable(error)))

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


class _ForwardedLog(logging.Handler):
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


class Worker:
    """The worker, for as long as its parent has the other end of ``channel``.

    Args:
        channel: to the parent.
        max_idle_bytes: of memory for results that stay with it between two batches.
    """

    def __init__(self, channel: Channel, max_idle_bytes: int) -> None:
        self._channel = channel
        self._results = ResultMemory(max_idle_bytes)
        self._payloads = PeerMemory(0)
        self._payloads.kept = True  # the parent knows when their leases are over
        self._session: Session | None = None
        self._batches: SimpleQueue[tuple[Batch, Any]] = SimpleQueue()
        self._batch: Batch | None = None
        self._is_running = False  # a batch, until it has cleaned up
        self._takes_interrupts = self._is_left = False  # each batch takes one
        self._status = 0  # to exit with

    def run(self) -> None:
        """Run batches, one after the other."""
        signal.signal(signal.SIGINT, self._interrupted)
        for number in (signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, self._terminated)
        with contextlib.suppress(OSError):
            self._channel.send(("begun", unfinished_token()))
        threading.Thread(target=self._receive, name="s3dlio-channel", daemon=True).start()
        while True:
            batch, message = self._batches.get()
            failure: BaseException | None = None
            try:
                self._is_running = self._takes_interrupts = True
                self._run(batch, *message)
            except BaseException as error:  # of the batch: all items that have no result yet are the parent's again
                failure = error
            finally:
                self._is_running = self._takes_interrupts = False
            if self._is_left:
                os._exit(self._status)
            with contextlib.suppress(OSError):  # the parent has gone, and the other thread ends this process
                batch.over(failure)
            del batch, message, failure

    def _interrupted(self, number: int, frame: FrameType | None) -> None:
        if self._takes_interrupts:
            self._takes_interrupts = False
            raise KeyboardInterrupt

    def _terminated(self, number: int, frame: FrameType | None) -> None:  # as all processes of a job may be
        self._status = 128 + number
        threading.Thread(target=self._leave, daemon=True).start()

    def _run(self, batch: Batch, settings: Any, surroundings: Any, home: str, name: str, arguments: Any) -> None:
        if surroundings is not None:
            _surround(*surroundings)
        if settings is not None:
            if self._session is not None:
                self._session.stores.close_lanes()
            self._session = Session(settings)
        assert self._session is not None
        logger, forwarded = logging.getLogger("s3dlio"), _ForwardedLog(batch)
        logger.addHandler(forwarded)
        if batch.is_observed:
            self._session.stores.add_observer(batch.observe)
        try:
            kind: Callable[..., Job] = getattr(importlib.import_module(home), name)
            batch.job = kind(self._session, self._results, batch.note, *arguments)
            with contextlib.closing(batch.job):
                batch.run(self._session)
        finally:
            logger.removeHandler(forwarded)
            if batch.is_observed:
                self._session.stores.remove_observer(batch.observe)

    # -- the thread of the channel

    def _receive(self) -> None:
        try:
            while True:
                (kind, *message), fds = self._channel.receive()
                getattr(self, f"_on_{kind}")(fds, *message)
        except EOFError:
            pass
        except BaseException:
            log.exception("a worker process has failed")
        self._leave()

    def _on_job(
        self, fds: list[int], level: int, procs: int, width: int, max_bytes: int | None, is_observed: bool,
        *message: Any,
    ) -> None:
        share_cpus(procs)
        logger = logging.getLogger("s3dlio")
        logger.setLevel(level)
        logger.propagate = False
        self._batch = Batch(self._channel, self._results, width, max_bytes, is_observed)
        self._batches.put((self._batch, message))

    def _on_items(
        self, fds: list[int], indices: list[int], items: list[Any], released: list[int],
        segments: list[tuple[int, int]], lease: tuple[int, int, int, int] | None,
    ) -> None:  # fmt: skip
        self._results.release(released)
        for fd, (number, length) in zip(fds, segments, strict=True):
            self._payloads.attach(Segment(number, fd, length))
            os.close(fd)
        if lease is not None:
            payloads = self._payloads.view(*lease)
            items = [(item, payloads[offset : offset + size]) for item, offset, size in items]
        assert self._batch is not None
        self._batch.add(indices, items)

    def _on_end(self, fds: list[int]) -> None:
        assert self._batch is not None
        self._batch.end()

    def _on_stop(self, fds: list[int], reason: str) -> None:
        assert self._batch is not None
        self._batch.stop(reason)

    def _leave(self) -> None:
        """Give up what is in flight, clean up, and end."""
        self._is_left = True
        if self._is_running and self._batch is not None:
            self._batch.abandon()
            os.kill(os.getpid(), signal.SIGINT)
            system.sleep(LEAVE_SECONDS)
        os._exit(self._status)


def _surround(environ: dict[str, str], directory: str | None, umask: int | None) -> None:
    if os.environ != environ:
        os.environ.clear()
        os.environ.update(environ)
    if directory is not None:
        try:
            os.chdir(directory)
        except OSError as error:
            if os.getcwd() != directory:  # relative paths would lead elsewhere
                raise local_error(error, directory) from error
    if umask is not None:
        os.umask(umask)


def main(fd: int, max_idle_bytes: int) -> None:
    """Be a worker.

    Args:
        fd: the inherited end of the channel.
        max_idle_bytes: as of :class:`Worker`.
    """
    os.set_inheritable(fd, False)
    Worker(Channel(system.socket(fileno=fd)), max_idle_bytes).run()
