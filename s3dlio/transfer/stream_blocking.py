"""The reads of a stream from stores that block: they run in the background, until none is left."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterator
from functools import partial
from typing import Any

from s3dlio.engine.admission import Admission
from s3dlio.engine.batch import run_calls
from s3dlio.engine.cancel import CancelToken
from s3dlio.engine.executor import BaseExecutor
from s3dlio.errors import TransferCancelledError
from s3dlio.forking import ForkLock
from s3dlio.stores.call import Call
from s3dlio.transfer.stream_entry import Reader, StreamRead


class BlockingReads:
    """Those of one stream, which it does not refer to: in a cycle, its buffers would stay until the next collection.

    Args:
        width: how many at a time.
        cancel: once cancelled, none begins any more.
        executor: whose threads help.
    """

    def __init__(self, width: int, cancel: CancelToken, executor: BaseExecutor) -> None:
        self._width = width
        self._cancel = cancel
        self._executor = executor
        self._reads: deque[StreamRead] = deque()
        self._lock = ForkLock()
        self._is_running = False

    def add(self, read: StreamRead) -> bool:
        """Have it read; True: the caller has ``run`` run, on another thread."""
        with self._lock:
            self._reads.append(read)
            begins, self._is_running = not self._is_running, True
            return begins

    def run(self, stream: Reader) -> None:
        """Read, until none is left; ``stream`` hears of their ends."""
        while True:
            begun: dict[int, StreamRead] = {}
            try:
                run_calls(
                    self._calls(begun), admission=Admission(self._width, adaptive=False), cancel=self._cancel,
                    on_done=partial(_on_done, stream, begun), executor=self._executor,
                )  # fmt: skip
            except BaseException as error:
                stream.fail(error)
            left = [*begun.values()]  # what a loop had taken when the stream ended, and did not read
            with self._lock:
                if self._cancel.cancelled:
                    left.extend(self._reads)
                    self._reads.clear()
                self._is_running = bool(self._reads)
            for read in left:
                stream.over(read, TransferCancelledError("nobody reads on"))
            if not self._is_running:
                return

    def _calls(self, begun: dict[int, StreamRead]) -> Iterator[Call[Any]]:
        for index in itertools.count():
            try:
                read = self._reads.popleft()
            except IndexError:
                return
            call, read.call, read.operation = read.call, None, None
            assert call is not None
            begun[index] = read
            del read
            yield call
            del call


def _on_done(
    stream: Reader, begun: dict[int, StreamRead], index: int, result: Any, error: BaseException | None
) -> None:
    stream.over(begun.pop(index), error)
