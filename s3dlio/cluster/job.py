"""A job of several processes: it begins in each of them with ``join``, and ends together."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any

from s3dlio.client import Client
from s3dlio.cluster.host_room import HostRoom, make_room, start_of
from s3dlio.cluster.rank_group import RankGroup
from s3dlio.cluster.transport import Transport
from s3dlio.engine.admission import limit_by
from s3dlio.engine.group import ALONE, Group
from s3dlio.launcher import mpi_rank
from s3dlio.oplog.identity import get_client_id, get_clock_offset, set_client_id, set_clock_offset

if TYPE_CHECKING:
    from s3dlio.bench.plan import Plan
    from s3dlio.bench.result import Result
    from s3dlio.engine.cancel import CancelToken
    from s3dlio.oplog.replay.config import ReplayConfig
    from s3dlio.oplog.replay.report import ReplayReport
    from s3dlio.transfer.progress import Progress

log = logging.getLogger("s3dlio.cluster")

#: How long ranks wait for each other at the end (seconds): of a job, and after a failure.
_PATIENCE, _SHORT = 120.0, 5.0


class Job:
    """This process's part of a job. Every process makes the same calls in the same order.

    A context manager: an error that leaves it ends the job in every process.

    Args:
        group: all processes.
        client: whose settings are used.
        transport: how they reach each other; None: there is one.

    Attributes:
        group: the processes: their number, ``barrier``, ``share``, ``gather``, ``deal``.
        client: its transfers (``upload``, ``download``, ``copy``, ``move``, ``sync``, ``put``) and recursive deletions
            are divided among the processes: the first one lists, all work, and each gets the summary of all.
    """

    def __init__(self, group: Group, client: Client, transport: Transport | None = None) -> None:
        self.group = group
        self.client = Client(client.settings)
        self.client.group = group
        self._plain = client
        self._transport = transport
        #: A process did not come to the end of the job, and all are ended.
        self.was_aborted = False
        self._cleanup = contextlib.ExitStack()

    @property
    def rank(self) -> int:
        """The number of this process, from 0."""
        return self.group.rank

    @property
    def size(self) -> int:
        """How many processes there are."""
        return self.group.size

    @property
    def clock_offset(self) -> int:
        """How far this process's clock is ahead of that of the first one (nanoseconds); op-logs have it taken off."""
        return self.group.clock_offset if isinstance(self.group, RankGroup) else 0

    @property
    def has_failed(self) -> bool:
        """Whether some process has failed: then none waits for others any more."""
        return isinstance(self.group, RankGroup) and self.group.has_failed

    def bench(self, plan: Plan, *, cancel: CancelToken | None = None) -> list[Result]:
        """Measure a store with all processes together, which divide what is in flight.

        Args:
            plan: as of :class:`s3dlio.bench.plan.Plan`.
            cancel: ends it early.

        Returns:
            The results of all, in the first process; elsewhere nothing.
        """
        from s3dlio.bench.runner import Bench

        return Bench(self._plain, plan, group=self.group, cancel=cancel).run()

    def replay(self, config: ReplayConfig, *, progress: Progress | None = None) -> ReplayReport:
        """Replay op-logs with all processes together, which divide the recorded clients and begin at one moment.

        Args:
            config: what, and how; ``share`` is set here.
            progress: an observer of the operations of this process.

        Returns:
            What all have done, in the first process; elsewhere what this one has. It is whole, too, where operations
            failed: ``report.raise_for_failures()`` raises that.
        """
        from s3dlio.cluster.replaying import GroupReplay

        return GroupReplay(self.group, self._plain, config, progress).run()

    def __enter__(self) -> Job:
        group = self.group
        if isinstance(group, RankGroup):
            self._cleanup.enter_context(_named(group))
            self._cleanup.enter_context(_sharing_host(group))
        self._telling = self._cleanup.enter_context(contextlib.ExitStack())
        self._telling.enter_context(group.telling_errors())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            with contextlib.suppress(BaseException):
                self._telling.__exit__(kind, error, trace)
            self.close(failed=error is not None)
        finally:
            self._cleanup.close()
            self.client.close()

    def close(self, *, failed: bool = False) -> None:
        """End it, with the others. After a failure of this or another process, one that does not come is ended."""
        group, transport = self.group, self._transport
        self._transport = None
        if not isinstance(group, RankGroup) or transport is None:
            return
        if group.close(_SHORT if failed or group.has_failed else _PATIENCE):
            transport.leave()
        else:
            log.error("a process of the job does not end: all are ended")
            self.was_aborted = True
            transport.abort(1)


@contextlib.contextmanager
def _named(group: RankGroup) -> Iterator[None]:
    """While the block runs, the rows of an op-log tell the rank, and are by the clock of rank 0."""
    name, offset = get_client_id(), get_clock_offset()
    set_client_id(f"{name}/rank-{group.rank}" if name else f"rank-{group.rank}")
    set_clock_offset(offset + group.clock_offset)
    try:
        yield
    finally:
        set_client_id(name)
        set_clock_offset(offset)


@contextlib.contextmanager
def _sharing_host(group: RankGroup) -> Iterator[None]:
    """While the block runs, the ranks of a host have one limit of requests in flight."""
    local = group.local
    made = None
    if local[0] == group.rank and len(local) > 1:
        try:
            made = make_room(len(local))
        except OSError as error:
            log.warning("the ranks of this host do not share a limit of requests in flight: %s", error)
    path = group.share(group.gather(made))[local[0]]
    try:
        if path is not None:
            room = HostRoom(path, local.index(group.rank), len(local), start_of(len(local), group.size))
            limit_by(room.limit)
        group.barrier()
    finally:
        if made is not None:
            os.unlink(made)
    try:
        yield
    finally:
        limit_by(None)


def join(client: Client | None = None, *, transport: Transport | None = None) -> Job:
    """Become a part of the job that a launcher of MPI has started this process for; without one, a job of one process.

    Args:
        client: whose settings are used; None: the default one.
        transport: how processes reach each other; None: by MPI.

    Returns:
        The job, for a ``with``.

    Raises:
        ConfigError: the process was started by a launcher of MPI, and mpi4py is not installed.
    """
    if client is None:
        from s3dlio.api import default_client

        client = default_client()
    if transport is None and (mpi_rank()[1] > 1 or _runs_mpi()) and client.settings.cluster.mpi:
        from s3dlio.cluster.mpi import MpiTransport

        transport = MpiTransport()
    if transport is None or transport.size == 1:
        return Job(ALONE, client)
    return Job(RankGroup(transport), client, transport)


def _runs_mpi() -> bool:
    mpi: Any = sys.modules.get("mpi4py.MPI")
    return mpi is not None and mpi.Is_initialized() and not mpi.Is_finalized()
