"""A command that mpirun has started several times: the processes do its work together, and the first one tells it."""

from __future__ import annotations

import io
import os
import time
from collections.abc import Callable

from s3dlio.cli.context import Context
from s3dlio.cli.output import Output
from s3dlio.cluster.job import Job, join
from s3dlio.cluster.op_logs import gather_op_logs, part_name
from s3dlio.errors import S3dlioError
from s3dlio.launcher import mpi_rank

FAILED = 1
#: How long others let the first process tell what they all have (seconds).
_PATIENCE = 3.0
#: What several processes do together.
COMMANDS = frozenset({"bench", "cp", "download", "get", "mv", "put", "replay", "rm", "sync", "upload"})


def run_in_job(context: Context, run: Callable[[Context], int]) -> int:
    """Run a command with the other processes that were started for it; its exit code, which others than the first have
    only where they could not tell that one of it.

    Args:
        context: the command's.
        run: runs it in this process.
    """
    try:
        if not context.settings.cluster.mpi:
            return run(context)
        job = join(context.plain_client)
    except S3dlioError as error:
        if mpi_rank()[0]:  # most likely all processes have it, and this one is ended when the first has told it
            time.sleep(_PATIENCE)
        context.out.error(error)
        return FAILED
    context.join(job)
    if job.rank:
        context.out = _silent(context.out)
    code = FAILED
    try:
        with job:
            code = _run_recorded(context, job, run)
    except S3dlioError as error:
        context.out.error(error)
    return code if not job.rank or job.was_aborted else 0


def _run_recorded(context: Context, job: Job, run: Callable[[Context], int]) -> int:
    path = context.args.op_log
    if path is None:
        return run(context)
    context.args.op_log = part_name(path, job.group)
    code = run(context)
    if not job.has_failed:
        from s3dlio.oplog.control import op_log_stats

        stats = op_log_stats()
        gather_op_logs(job.group, path, has_rows=bool(stats and stats["written"]))
    return code


def _silent(out: Output) -> Output:
    """That of a process whose words nobody wants twice; the first one has its errors."""
    nowhere = io.TextIOWrapper(open(os.devnull, "wb"), encoding="utf-8", errors="surrogateescape")  # noqa: SIM115
    return Output(as_json=out.as_json, progress=False, verbosity=out.verbosity, stdout=nowhere, stderr=nowhere)
