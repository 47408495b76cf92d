"""Processes that take shares of the logs: fresh interpreters, each of which reads the files and counts its blocks.

Decompressing a log costs a tenth of all, so each process does that for itself, and nothing passes between them but what
they have counted in the end.
"""

from __future__ import annotations

import contextlib
import logging
import os
import pickle
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from subprocess import PIPE, Popen
from typing import Any

from s3dlio.engine.processes import interpreter
from s3dlio.hardware import usable_cpus
from s3dlio.oplog.analysis.collector import Collector
from s3dlio.oplog.analysis.counting import Job, count_share
from s3dlio.oplog.analysis.merging import Log

log = logging.getLogger("s3dlio.oplog")

#: Compressed bytes of logs from which on another process pays: it starts in 0.2 s.
_PAYS = 48 << 20
#: Processes, by themselves: more CPUs would help, but each takes 120 MB.
_MOST = 2


Counted = tuple[Collector, list[Log]]


def processes_for(paths: Sequence[str], asked: int | None) -> int:
    """How many processes count logs: as many as were asked for, else two where these are large."""
    if asked is not None:
        return max(1, asked)
    if not sys.executable or getattr(sys, "frozen", False):
        return 1
    size = 0
    for path in paths:
        with contextlib.suppress(OSError):
            size += os.path.getsize(path) // (1 if path.endswith((".zst", ".gz")) else 6)
    return min(usable_cpus(), _MOST) if size >= _PAYS else 1


@contextmanager
def workers(job: Job, of: int) -> Iterator[list[Worker]]:
    """Processes for all shares but the first; none is left behind."""
    started: list[Worker] = []
    try:
        for mine in range(1, of):
            started.append(Worker(job, (mine, of)))
        yield started
    finally:
        for worker in started:
            worker.end()


class Worker:
    """A process that counts one share.

    Args:
        job: what.
        share: which blocks.
    """

    def __init__(self, job: Job, share: tuple[int, int]) -> None:
        self._job = job
        self._share = share
        command = interpreter("from s3dlio.oplog.analysis.worker import main; main()")
        self._process: Popen[bytes] | None = None
        try:
            self._process = Popen(command, stdin=PIPE, stdout=PIPE, process_group=0)  # Ctrl-C is ours
            assert self._process.stdin is not None
            with self._process.stdin as pipe:
                pipe.write(pickle.dumps((job, share)))
            self._process.stdin = None
        except OSError as error:
            log.info("logs are analyzed by one process fewer: %s", error)

    def counted(self) -> Counted:
        """What it has counted; where there is no such process, that is done here.

        Raises:
            S3dlioError: a log cannot be read.
        """
        if self._process is not None:
            data, _ = self._process.communicate()
            if self._process.returncode == 0:
                found = pickle.loads(data)
                if isinstance(found, BaseException):
                    raise found
                return found  # type: ignore[no-any-return]
            log.warning("a process that analyzes logs has ended with status %s", self._process.returncode)
        return count_share(self._job, self._share)

    def end(self) -> None:
        """End it, if it has not."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            if self._process.stdout is not None:
                self._process.stdout.close()


def main() -> None:
    """The program of a process: what to count comes in, what was counted goes out."""
    job, share = pickle.load(sys.stdin.buffer)
    found: Any
    try:
        found = count_share(job, share)
    except Exception as error:
        found = error
    pickle.dump(found, sys.stdout.buffer, pickle.HIGHEST_PROTOCOL)
    sys.stdout.buffer.flush()
