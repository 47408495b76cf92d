"""The observer that notes every operation for the op-log, on the thread that ran it."""

from __future__ import annotations

import itertools
import logging
import os
import re
import sys
import threading
import time
from time import time_ns
from typing import Any

from s3dlio.errors import S3dlioError
from s3dlio.foreign_errors import from_exception
from s3dlio.forking import ForkLock, renewed_in_child
from s3dlio.oplog.forms import FORMS
from s3dlio.oplog.identity import identity
from s3dlio.oplog.log_file import LogFile
from s3dlio.oplog.options import OpLogOptions
from s3dlio.oplog.records import Details, Record, Records
from s3dlio.oplog.sorting import sort_op_log
from s3dlio.oplog.writer import Writer
from s3dlio.stores.call import BaseStore
from s3dlio.types import Observation

log = logging.getLogger("s3dlio.oplog")

#: Seconds between two looks at a full queue.
_PAUSE = 0.0005
_threads = itertools.count()


class _Thread(threading.local):
    """Each thread's number, given when it first ends an operation."""

    def __init__(self) -> None:
        self.number = next(_threads)


_thread = _Thread()


class Recorder:
    """Notes operations for one op-log. In a forked child it goes on in a file of the child's own, beside the parent's:
    ``ops.tsv.zst`` -> ``ops.PID.tsv.zst``, made when the child's first operation ends.

    Args:
        path: the file.
        options: how it is written.

    Raises:
        S3dlioError: the file cannot be created.
    """

    def __init__(self, path: str, options: OpLogOptions) -> None:
        self.path = path
        self.options = options
        self.wants_answers = FORMS[options.format].wants_answers
        self._named = path
        self._lock = ForkLock()
        self._begin(self._open(path))
        renewed_in_child(self)

    def _begin(self, file: LogFile | None) -> None:
        self._queue = Records()
        self._is_closed = False
        self._is_opening = False
        self._failed: OSError | None = None
        self._dropped = self._rejected = self._changed_texts = 0
        self._writer = None if file is None else self._start(file)

    def _start(self, file: LogFile) -> Writer:
        return Writer(file, self._queue, FORMS[self.options.format](), self.options.buffer)

    def _open(self, path: str, flags: int = 0) -> LogFile:
        try:
            header = FORMS[self.options.format].header
            return LogFile(path, self.options.level, self.options.write_buffer, header, flags)
        except OSError as error:
            failed = from_exception(error, uri=path, operation="OPLOG")
            failed.reason = f"failed to create op-log file '{path}': {failed.reason}"
            raise failed from error

    def note(
        self, store: BaseStore, operation: str, key: str, objects: int, size: int, start_ns: int, first_byte_ns: int
    ) -> None:
        """Note an operation that has ended just now, without an error."""
        queue = self._queue
        record = (
            _thread.number, identity.current, operation, objects, store, key, size, start_ns, first_byte_ns, time_ns(),
            None,
        )  # fmt: skip
        if len(queue) < queue.mark:
            queue.extend(record)
        else:
            self._attend(record)

    def __call__(self, seen: Observation) -> None:
        """Note an operation that has ended."""
        error = "" if seen.error is None else self._text(seen.error)
        details = Details(error, seen.endpoint, seen.service, seen.status, seen.attempts, seen.range)
        self._attend((
            _thread.number, identity.current, seen.operation, seen.objects, None, seen.uri, seen.bytes, seen.start_ns,
            seen.first_byte_ns, seen.end_ns, details,
        ))  # fmt: skip

    def _attend(self, record: Record) -> None:
        """Add a record where that may not be all: the log has ended, the writer waits or is not there, or no room."""
        queue, writer = self._queue, self._writer
        if self._is_closed:
            self._count_rejected()
            return
        if writer is None and (writer := self._open_in_child()) is None:
            return
        if queue.waiting() >= self.options.buffer and not self._has_room(writer):
            return
        queue.extend(record)
        if len(queue) > queue.mark:
            writer.attend()

    def _text(self, error: BaseException) -> str:
        text = str(error) or type(error).__name__
        if not text.isprintable():
            with self._lock:
                self._changed_texts += 1
        return text

    def _has_room(self, writer: Writer) -> bool:
        """Wait for room in the queue, or count what is dropped."""
        if not self.options.lossless:
            with self._lock:
                self._dropped += 1
            writer.wake()
            return False
        while self._queue.waiting() >= self.options.buffer and not writer.is_here and not self._is_closed:
            writer.wake()
            time.sleep(_PAUSE)
        return True

    def _count_rejected(self) -> None:
        with self._lock:
            self._rejected += 1

    def _open_in_child(self) -> Writer | None:
        """The writer of a forked child, made by its first operation; None where its file cannot be created."""
        with self._lock:
            if self._writer is None and self._failed is None and not self._is_opening:
                self._is_opening = True
                try:
                    file = self._open_beside()
                except S3dlioError as error:
                    log.warning("this process has no op-log: %s", error)
                    self._failed = OSError(str(error))
                else:
                    self.path = file.path
                    self._writer = self._start(file)
                    _at_process_end(self.close)
            if self._writer is None:
                self._rejected += 1
            return self._writer

    def _open_beside(self) -> LogFile:
        """A new file for this process; other ones may have had its number."""
        stem, suffix = re.fullmatch(r"(.*?)((?:\.(?:tsv|csv|jsonl))?(?:\.zst)?)", self._named, re.DOTALL).groups()  # type: ignore[union-attr]
        for count in itertools.count(1):
            again = f"-{count}" if count > 1 else ""
            path = f"{stem}.{os.getpid()}{again}{suffix}"
            if not os.path.lexists(path):
                break
        return self._open(path, os.O_EXCL)

    def renew(self) -> None:
        """In a forked child: what the queue has is the parent's."""
        if not self._is_closed:
            self._begin(None)

    def close(self) -> None:
        """Write what is noted, and end the file; once.

        Raises:
            S3dlioError: not all of it could be written, or sorted.
        """
        with self._lock:
            if self._is_closed:
                return
            self._is_closed = True
        if self._writer is None:
            return
        self._writer.close()
        self._queue.mark = 0
        self._rejected += self._queue.waiting()  # by threads that were in the middle of it
        if self._writer.error is not None:
            failed = from_exception(self._writer.error, uri=self.path, operation="OPLOG")
            failed.hint = f"the log has {self._writer.written} of {self._writer.taken} operations"
            raise failed
        if self.options.sort:
            sort_op_log(self.path)

    def stats(self) -> dict[str, Any]:
        """What has become of the records so far."""
        writer = self._writer
        taken, written = (writer.taken, writer.written) if writer is not None else (0, 0)
        failure = writer.error if writer is not None else self._failed
        return {
            "path": self.path,
            "accepted": taken + (0 if self._is_closed else self._queue.waiting()),
            "written": written,
            "dropped_full": self._dropped,
            "rejected_closed": self._rejected,
            "rejected_unformattable": 0,  # a name that cannot stand in a row as it is, is escaped
            "rejected_unsafe_field": 0,
            "normalized_error_text": self._changed_texts,
            "lossless": self.options.lossless,
            "writer_failed": failure is not None,
            "writer_error": None if failure is None else str(failure),
        }


def _at_process_end(work: Any) -> None:
    """Have a child of ``multiprocessing`` do this at its end: it ends without what ``atexit`` knows."""
    if util := sys.modules.get("multiprocessing.util"):
        util.Finalize(None, work, exitpriority=-100)
