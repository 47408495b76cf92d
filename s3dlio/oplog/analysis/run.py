"""The analysis of logs: what is in them is counted, by one process or several, and becomes a report."""

from __future__ import annotations

from s3dlio.errors import CorruptDataError
from s3dlio.oplog.analysis.counting import Job, Offsets, Paths, count, opened
from s3dlio.oplog.analysis.report import Report
from s3dlio.oplog.analysis.worker import processes_for, workers


def analyze_op_logs(
    paths: Paths, *, skip_warmup: float = 0, clock_offsets: Offsets = None, processes: int | None = None
) -> Report:
    """What op-logs tell, of one client or of several.

    Args:
        paths: the logs, in any form that ``read_op_log`` reads; several are one run.
        skip_warmup: operations that begin in the first so many seconds are left out.
        clock_offsets: how far the clocks of logs are ahead (seconds), which is taken off their times: by path, or in
            the order of the logs.
        processes: how many share the work; None: two, if the logs are large and there are so many CPUs.

    Returns:
        The report; its ``to_dict`` has all figures.

    Raises:
        ObjectNotFoundError, LocalIOError: a log is not there, or cannot be read.
        CorruptDataError: one is no op-log, or nothing in them can be counted. What else is wrong with them the
            report's notes tell; the good rows are counted.
        ConfigError: an offset is of no log.
    """
    with opened(paths, clock_offsets) as readers:
        logs = [reader.log for reader in readers]
        begin = min((reader.begin for reader in readers if reader.begin is not None), default=0)
        cut = begin + round(skip_warmup * 1e9) if skip_warmup else None
        of = processes_for([one.path for one in logs], processes)
        job = Job([(one.path, one.offset) for one in logs], [reader.plausible for reader in readers], cut)
        for reader in readers:
            reader.share(0, of)
        with workers(job, of) as others:
            data = count(readers, cut)
            for other in others:
                found, theirs = other.counted()
                data.take(found)
                for mine, one in zip(logs, theirs, strict=True):
                    mine.take(one)
    if not data.rows:
        left_out = sum(log.skipped for log in logs)
        reason = (
            f"all {left_out} operations are in the warm-up that is left out" if left_out else "no operation is in it"
        )
        raise CorruptDataError(f"there is nothing to analyze: {reason}", uri=logs[0].path)
    return Report(data, logs, skip_warmup)
