"""The checks can fail: each fault that is planted in the product is found within a few schedules."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from s3dlio.errors import S3dlioError
from s3dlio.net import attempts, lane, retry
from s3dlio.net.connection import Connection
from s3dlio.net.exchange import Exchange
from s3dlio.net.lane import Lane
from s3dlio.net.multiplexer import Multiplexer
from s3dlio.net.pending import PendingQueue
from s3dlio.net.pool import ConnectionPool
from s3dlio.net.sharing import SharingMultiplexer
from s3dlio.stores.cloud.part_sender import PartSender
from s3dlio.stores.cloud.reading import Read
from s3dlio.stores.cloud.writer import CloudWriter
from s3dlio.stores.s3 import multipart, orphaned_uploads
from tests.simulation import schedule

#: So many schedules at most show a planted fault.
_ENOUGH = 400
#: Where the first ones do not: what is rare is looked for where it was found.
_FIRST = {"_a_retry_that_duplicates_bytes": 330, "_retries_that_a_failed_task_keeps": 150}

Plant = Callable[[pytest.MonkeyPatch], None]


def _a_retry_that_duplicates_bytes(patch: pytest.MonkeyPatch) -> None:
    plain = Read._resume_first

    def resume(self: Read, response: Any, received: int) -> Any:
        request = plain(self, response, received)
        if request is not None and received:
            request.start -= 1
        return request

    patch.setattr(Read, "_resume_first", resume)


def _a_short_body_that_is_taken_for_whole(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Exchange, "_closed", Exchange._finish)


def _a_range_of_another_version(patch: pytest.MonkeyPatch) -> None:
    plain = Read._range_request

    def unpinned(self: Read, start: int, length: int) -> Any:
        request = plain(self, start, length)
        request.headers = tuple(pair for pair in request.headers if pair[0] != "if-match")
        request.on_head = lambda response, announced: (length, ())
        return request

    patch.setattr(Read, "_range_request", unpinned)


def _a_failed_connection_that_serves_again(patch: pytest.MonkeyPatch) -> None:
    plain = ConnectionPool.release
    patch.setattr(
        ConnectionPool, "release", lambda self, connection, *, reusable: plain(self, connection, reusable=True)
    )


def _idle_connections_that_nobody_looks_at(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Connection, "is_dropped", lambda self: False)
    patch.setattr(attempts, "found_stale", lambda request, fault: False)
    patch.setattr(lane, "found_stale", lambda request, fault: False)


def _connections_that_stay_open(patch: pytest.MonkeyPatch) -> None:
    kept: list[Connection] = []

    def discard(self: Multiplexer, connection: Connection) -> None:
        self._unwatch(connection)
        kept.append(connection)

    patch.setattr(Multiplexer, "_discard", discard)


def _deadlines_that_nobody_keeps(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Multiplexer, "expire", lambda self, now: None)


def _uploads_that_nobody_aborts(patch: pytest.MonkeyPatch) -> None:
    def abort(*args: Any, **named: Any) -> Any:
        yield from ()

    patch.setattr(orphaned_uploads, "abort", abort)


def _lost_uploads_that_nobody_looks_for(patch: pytest.MonkeyPatch) -> None:
    def look(*args: Any, **named: Any) -> Any:
        yield from ()

    patch.setattr(orphaned_uploads, "abort_unknown", look)


def _a_part_that_is_sent_twice_as_another(patch: pytest.MonkeyPatch) -> None:
    plain = multipart.MultipartUpload._in_order
    patch.setattr(multipart.MultipartUpload, "_in_order", lambda self: plain(self)[:-1] or plain(self))


def _errors_without_a_uri(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(S3dlioError, "locate", lambda self, uri, operation: None)


def _pauses_of_one_length(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(retry, "backoff", lambda settings, attempt: settings.base_delay)


def _a_window_that_is_not_kept(patch: pytest.MonkeyPatch) -> None:
    plain = Lane.__init__

    def wide(self: Lane, **named: Any) -> None:
        plain(self, **{**named, "window": named["window"] + 3, "limit": None})

    patch.setattr(Lane, "__init__", wide)


def _a_cancellation_that_nobody_sees(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Lane, "_cancel_all", lambda self: None)


def _retries_that_a_failed_task_keeps(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(PendingQueue, "remove", lambda self, task: 0)


def _errors_that_keep_buffers(patch: pytest.MonkeyPatch) -> None:
    kept: list[BaseException] = []
    plain = Lane._report

    def report(self: Lane, pending: Any, error: BaseException | None) -> None:
        if error is not None:
            error.__dict__["cycle"] = [error, pending]
            kept.append(error)
        plain(self, pending, error)

    patch.setattr(Lane, "_report", report)


def _lent_bodies_that_are_forgotten(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(SharingMultiplexer, "take_back", lambda self, pending: self.lent.discard(pending))


def _parts_that_are_not_counted(patch: pytest.MonkeyPatch) -> None:
    plain = PartSender.settle
    patch.setattr(PartSender, "settle", lambda self, upload, left: plain(self, upload, left and left + 3))


def _parts_that_go_on_after_the_end(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(PartSender, "give_up", lambda self: None)
    patch.setattr(PartSender, "await_given_up", lambda self, upload: None)


def _dropped_writers_that_nobody_aborts(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(CloudWriter, "_forsake", lambda self: None)


#: Those that only streaming writes show.
_STREAMING = (_parts_that_are_not_counted, _parts_that_go_on_after_the_end, _dropped_writers_that_nobody_aborts)
PLANTS: list[Plant] = [plant for name, plant in sorted(globals().items()) if name.startswith("_") and callable(plant)
                       and getattr(plant, "__module__", "") == __name__]  # fmt: skip


@pytest.mark.parametrize("plant", PLANTS, ids=lambda plant: plant.__name__.strip("_"))
def test_a_planted_fault_is_found(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch)
    first, streams = _FIRST.get(plant.__name__, 0), plant in _STREAMING
    assert any(schedule.run(seed, streams=streams).violations for seed in range(first, first + _ENOUGH))
