"""The thread that makes rows of records and writes them, so that operations only append to a queue."""

from __future__ import annotations

import logging
import threading
import time
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any

from s3dlio.oplog.forms import Form
from s3dlio.oplog.log_file import LogFile
from s3dlio.oplog.records import FIELDS, Records

log = logging.getLogger("s3dlio.oplog")

#: Seconds that records gather before they are written: one wake-up serves many.
_GATHER = 0.1
#: Rows that are made at a time: other threads wait for the interpreter no longer than that takes (0.8 ms). Where so
#: many wait they gather no longer: they are in the CPU's cache still.
_ROWS = 1024


class Writer:
    """Takes records from ``queue`` and writes them to ``file``, until it is closed.

    Threads that append take no lock, and may be interrupted anywhere by code that appends, too.

    Args:
        file: where rows go; the writer closes it.
        queue: of records.
        form: makes lines of them.
        limit: how many wait at most.
    """

    def __init__(self, file: LogFile, queue: Records, form: Form, limit: int) -> None:
        self._file = file
        self._queue = queue
        self._lines = form.lines
        self._limit = limit * FIELDS
        self._enough = min(limit // 2, _ROWS) * FIELDS
        self.taken = 0
        self.written = 0
        self.error: OSError | None = None
        #: It waits for the first record: whoever appends one wakes it.
        self.is_asleep = False
        self._is_closing = False
        self._through = time.monotonic()
        self._wakes: SimpleQueue[None] = SimpleQueue()  # whose put may be interrupted by another one
        self._thread = threading.Thread(target=self._run, name="s3dlio-oplog", daemon=True)
        self._thread.start()

    @property
    def is_here(self) -> bool:
        """Whether this is the writer's own thread."""
        return threading.get_ident() == self._thread.ident

    def attend(self) -> None:
        """A record was appended where ``mark`` was reached: have the writer look at it, if need be."""
        if self.is_asleep or (self._queue.mark < self._limit and len(self._queue) >= self._enough):
            self.wake()

    def wake(self) -> None:
        """Have it look at the queue now."""
        self.is_asleep = False
        self._queue.mark = self._limit
        self._wakes.put(None)

    def close(self) -> None:
        """Write what is in the queue, end the file and the thread."""
        self._is_closing = True
        self.wake()
        if not self.is_here:
            self._thread.join()

    def _run(self) -> None:
        queue = self._queue
        while not self._is_closing:
            if not queue:
                self.is_asleep = True
                queue.mark = 0
                self._await_first()
                self.is_asleep = False
            queue.mark = self._enough
            if not self._is_closing and len(queue) < self._enough:
                self._wait(_GATHER)
            queue.mark = self._limit
            self._drain()
        self._drain()
        if self.error is None:
            self._guard(self._file.close)
        else:
            with suppress(OSError):
                self._file.abandon()

    def _await_first(self) -> None:
        """Wait for a record. When none comes for a while, what there is is written through."""
        for pause in (_GATHER, 1, None):
            # One that was about to be added when ``mark`` was set wakes nobody.
            if self._queue or self._is_closing:
                return
            with suppress(Empty):
                self._wakes.get(timeout=pause)
                return
            self._write_through()

    def _wait(self, seconds: float) -> None:
        with suppress(Empty):
            self._wakes.get(timeout=seconds)
            while True:
                self._wakes.get_nowait()  # several threads may have woken it for the same reason

    def _drain(self) -> None:
        while self._queue:
            fields = self._queue.take()
            count = len(fields) // FIELDS
            if count < 2 * _ROWS:
                self._write(fields, count)
                continue
            chunk = -(-count // (count // _ROWS)) * FIELDS  # no short rest
            for start in range(0, len(fields), chunk):
                some = fields[start : start + chunk]
                self._write(some, len(some) // FIELDS)

    def _write(self, fields: list[Any], count: int) -> None:
        first, self.taken = self.taken, self.taken + count
        if self.error is not None:
            return  # the queue must not fill up: operations go on without a log
        lines = self._lines(first, fields)
        self._guard(lambda: self._file.write(lines))
        if self.error is None:
            self.written += count
        if time.monotonic() > self._through + 1:
            self._write_through()

    def _write_through(self) -> None:
        """Have the file outlive this process."""
        self._guard(self._file.flush)
        self._through = time.monotonic()

    def _guard(self, work: Any) -> None:
        """Do something with the file; its first error ends the log, not the operations that it tells of."""
        if self.error is not None:
            return
        try:
            work()
        except OSError as error:
            error.__traceback__ = None
            self.error = error
            log.warning("the op-log %s ends here, it cannot be written: %s", self._file.path, error)
