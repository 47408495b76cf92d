"""The streaming writer of files: it appends to one that has no name yet."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from s3dlio.errors import S3dlioError, TransferCancelledError
from s3dlio.memory.sources import as_memory
from s3dlio.reentrancy import expect_finalizers, finalize_elsewhere
from s3dlio.stores.call import Call
from s3dlio.stores.local.atomic import Replacement
from s3dlio.stores.writer import StoreWriter
from s3dlio.types import Payload, PutResult

T = TypeVar("T")


class Output(Protocol):
    """Bytes appended to a file in order."""

    def write(self, data: memoryview) -> None:
        """Append; the memory may be reused afterwards."""

    def flush(self) -> None:
        """Write what is buffered; with O_DIRECT whole blocks of it."""

    def finish(self) -> int:
        """Write what is still buffered; the size of the file."""


class LocalWriter(StoreWriter):
    """Buffers small writes and passes large ones on; one PUT for observers, from the start to the end.

    Args:
        call: its ``start`` gives the new content of a file, a ``Replacement``, and its ``Output``.
        result_of: makes the result of what the file is in the end.
    """

    def __init__(self, call: Call[Any], result_of: Callable[[os.stat_result], PutResult]) -> None:
        self._target: Replacement
        self._out: Output
        self._closed = True  # for __del__, should the next lines fail
        self._running = False
        self._why = ""  # it is closed; not the error itself, whose frames would keep it and its buffers
        self._pid = os.getpid()
        self._call = call
        self._result_of = result_of
        call.begin()
        try:
            self._target, self._out = call.start()
        except BaseException as error:
            call.end(error)
            raise
        self._closed = False
        if call.store.observers:
            expect_finalizers()

    def write(self, data: Payload) -> int:
        view = as_memory(data)
        self._check_open()
        self._run(lambda: self._out.write(view))
        return len(view)

    def flush(self) -> None:
        self._check_open()
        self._run(self._out.flush)

    def close(self) -> PutResult:
        self._check_open()
        self._call.size = self._run(self._out.finish)
        result = self._result_of(self._run(self._target.commit, "it had its name already: the file is there"))
        self._closed = True
        self._call.end()
        return result

    def _run(self, work: Callable[[], T], hint: str | None = None) -> T:
        """Do what writes to the file. A signal handler may abort the writer meanwhile; the descriptor, which the system
        would give to the next file that is opened, is kept until this has ended."""
        before, self._running = self._running, True
        try:
            result = work()
        except BaseException as error:
            self._running = before
            self._give_up(error)
            raise
        self._running = before
        if self._closed:
            self._target.abort()
            raise self._aborted(hint)
        return result

    def _check_open(self) -> None:
        if self._closed:
            raise S3dlioError(f"the writer is closed{self._why}", uri=self._call.uri, operation="PUT")
        self._check_process(self._pid, self._call.uri)

    def _give_up(self, error: BaseException) -> None:
        self._closed = True
        if not isinstance(error, TransferCancelledError):
            self._why = f": an earlier write failed ({type(error).__name__}: {str(error)[:200]})"
        if not self._running:
            self._target.abort()
        self._call.end(error)

    def abort(self) -> None:
        if self._closed:
            return
        if os.getpid() == self._pid:
            self._give_up(self._aborted())
        else:
            self._closed = True
            self._target.abort()  # which leaves the parent's file

    def _aborted(self, hint: str | None = None) -> TransferCancelledError:
        return TransferCancelledError("the write was aborted", uri=self._call.uri, operation="PUT", hint=hint)

    def __del__(self) -> None:
        if self._closed:
            return
        forked = os.getpid() != self._pid
        if self._call.store.observers and not forked:
            finalize_elsewhere(self.abort)
        else:
            self.abort()  # nothing but the removal of a file
        if not forked:
            self._dropped(self._call.uri)
