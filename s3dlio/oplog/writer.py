"""The thread that makes rows of records and writes them, so that operations only append to a queue."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any

from s3dlio.oplog.log_file import LogFile
from s3dlio.oplog.rows import RowFormatter

log = logging.getLogger("s3dlio.oplog")

#: Seconds that records gather before they are written: one wake-up serves many.
_GATHER = 0.1
#: Rows that are made at a time: other threads wait for the interpreter no longer than that takes (0.2 ms).
_ROWS = 64


class Writer:
    """Takes records from the left of ``queue`` and writes them to ``file``, until it is closed.

    Threads that append take no lock, and may be interrupted anywhere by code that appends, too.

    Args:
        file: where rows go; the writer closes it.
        queue: of records.
        limit: where half of it waits, records gather no longer.
    """

    def __init__(self, file: LogFile, queue: deque[Any], limit: int) -> None:
        self._file = file
        self._queue = queue
        self.half = max(1, limit // 2)
        self.taken = 0
        self.written = 0
        self.error: OSError | None = None
        #: It waits for the first record: whoever appends one wakes it.
        self.is_asleep = False
        self._is_closing = False
        self._formatter = RowFormatter()
        self._wakes: SimpleQueue[None] = SimpleQueue()  # whose put may be interrupted by another one
        self._thread = threading.Thread(target=self._run, name="s3dlio-oplog", daemon=True)
        self._thread.start()

    @property
    def is_here(self) -> bool:
        """Whether this is the writer's own thread."""
        return threading.get_ident() == self._thread.ident

    def wake(self) -> None:
        """Have it look at the queue now."""
        self.is_asleep = False
        self._wakes.put(None)

    def close(self) -> None:
        """Write what is in the queue, end the file and the thread."""
        self._is_closing = True
        self.wake()
        if not self.is_here:
            self._thread.join()

    def _run(self) -> None:
        while not self._is_closing:
            if not self._queue:
                self._guard(self._file.flush)
                self.is_asleep = True
                if not self._queue:  # what came before the flag wakes nobody
                    self._wakes.get()
                self.is_asleep = False
            if not self._is_closing and len(self._queue) < self.half:
                self._wait(_GATHER)
            self._drain()
        self._drain()
        if self.error is None:
            self._guard(self._file.close)
        else:
            with suppress(OSError):
                self._file.abandon()

    def _wait(self, seconds: float) -> None:
        with suppress(Empty):
            self._wakes.get(timeout=seconds)
            while True:
                self._wakes.get_nowait()  # several threads may have woken it for the same reason

    def _drain(self) -> None:
        since = time.monotonic()
        while self._queue:
            rows = []
            with suppress(IndexError):
                for _ in range(_ROWS):
                    rows.append(self._queue.popleft())
            first, self.taken = self.taken, self.taken + len(rows)
            if self.error is not None:
                continue  # the queue must not fill up: operations go on without a log
            line = self._formatter.line
            text = "".join([line(number, row) for number, row in enumerate(rows, first)])
            self._guard(lambda text=text: self._file.write(text))
            if self.error is None:
                self.written += len(rows)
            if time.monotonic() > since + 1:
                self._guard(self._file.flush)
                since = time.monotonic()

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
