"""A replay by several processes: each plays the part of some recorded clients, all by one clock."""

from __future__ import annotations

import time

from s3dlio.client import Client
from s3dlio.engine.group import Group
from s3dlio.oplog.replay.config import ReplayConfig
from s3dlio.oplog.replay.replaying import Replay
from s3dlio.oplog.replay.report import ReplayReport
from s3dlio.records import replace
from s3dlio.transfer.progress import Progress

#: Everybody is ready so long before it begins (nanoseconds).
_LEAD_NS = 50_000_000


class GroupReplay:
    """This process's part of a replay; every process reads the logs.

    Args:
        group: the processes.
        client: whose stores are used.
        config: what, and how.
        progress: an observer of the operations of this process.

    Attributes:
        report: what this process has done so far; after ``run``, at rank 0, what all have.

    Raises:
        ConfigError: the configuration cannot be used; nothing has been done.
    """

    def __init__(self, group: Group, client: Client, config: ReplayConfig, progress: Progress | None = None) -> None:
        if group.size > 1:
            config = replace(config, share=(group.rank, group.size))
        self._group = group
        self._replay = Replay(config, client, progress=progress)
        self.report = self._replay.report

    def run(self) -> ReplayReport:
        """Replay it.

        Raises:
            S3dlioError: it cannot go on, here or elsewhere.
        """
        with self._group.stoppable(self._stop) as stop_others:
            self._replay.run(self._together)
            if self.report.failed and self.report.stopped:
                stop_others(self.report.stopped)
        return merged_reports(self._group, self.report)

    def _together(self) -> None:
        """All begin at one moment."""
        if self._group.size > 1:
            time.sleep(max(0, self._group.moment(_LEAD_NS) - time.perf_counter_ns()) / 1e9)

    def _stop(self, reason: str) -> None:
        self.report.stopped = self.report.stopped or reason


def merged_reports(group: Group, report: ReplayReport) -> ReplayReport:
    """The report of all ranks, at rank 0."""
    if group.size == 1:
        return report
    reports = group.gather(report)
    ranks = group.describe([_counts(each) for each in reports])
    for other in reports[1:]:
        report.merge(other)
    report.ranks = ranks
    return report


def _counts(report: ReplayReport) -> dict[str, int]:
    return {"operations": report.attempted, "failed": report.failed}
