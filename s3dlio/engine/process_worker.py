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
from collections.abc import Callable
from queue import SimpleQueue
from types import FrameType
from typing import Any

from s3dlio.engine.executor import LEAVE_SECONDS
from s3dlio.engine.process_channel import Channel
from s3dlio.engine.process_job import Job, ResultMemory
from s3dlio.engine.process_worker_batch import Batch, ForwardedLog
from s3dlio.engine.session import Session
from s3dlio.foreign_errors import local_error
from s3dlio.hardware import share_cpus
from s3dlio.memory.shared import PeerMemory, Segment
from s3dlio.net import system
from s3dlio.stores.local.atomic import unfinished_token
from s3dlio.stores.registry import trace_where_logged
from s3dlio.wording import speak_to

log = logging.getLogger("s3dlio.processes")


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
        logger, forwarded = logging.getLogger("s3dlio"), ForwardedLog(batch)
        logger.addHandler(forwarded)
        if batch.is_observed:
            self._session.stores.add_observer(batch.observe)
        trace_where_logged()
        before = self._session.stores.retries
        try:
            kind: Callable[..., Job] = getattr(importlib.import_module(home), name)
            batch.job = kind(self._session, self._results, batch.note, *arguments)
            batch.job.cancel = batch.cancel
            with contextlib.closing(batch.job):
                batch.run(self._session)
        finally:
            batch.retries = self._session.stores.retries - before
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


def _surround(environ: dict[str, str], directory: str | None, umask: int | None, at_command: bool) -> None:
    speak_to(command=at_command)
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
