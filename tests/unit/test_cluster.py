"""Several ranks: what they tell each other, how work is divided, how one limit serves all of a host."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import s3dlio
from s3dlio import Client
from s3dlio.cluster import join
from s3dlio.cluster.clock_offset import measure_offset
from s3dlio.cluster.host_room import HostRoom, make_room, start_of
from s3dlio.cluster.rank_group import RankGroup
from s3dlio.engine.group import ALONE
from s3dlio.errors import BatchError, ConfigError, CorruptDataError, ObjectNotFoundError, S3dlioError
from s3dlio.launcher import launched_rank, mpi_rank
from s3dlio.oplog.sorting import merge_op_logs
from tests.wires import on_ranks, wires

RANKS = 4


def test_what_rank_0_gives_is_at_all_and_what_all_give_is_at_rank_0() -> None:
    found = on_ranks(RANKS, lambda group: (group.share(f"from {group.rank}"), group.gather(group.rank)))
    assert found == [("from 0", [0, 1, 2, 3]), *[("from 0", [])] * 3]


def test_each_entry_is_dealt_once_and_always_to_the_same_rank() -> None:
    entries = list(range(2000))

    def take(group: RankGroup) -> list[int]:
        mine = iter(entries) if not group.rank else never()
        return list(group.deal(mine, lambda entry: 1 + entry % 7))

    first, again = on_ranks(RANKS, take), on_ranks(RANKS, take)
    assert first == again
    assert sorted(entry for part in first for entry in part) == entries  # type: ignore[union-attr]
    loads = [sum(1 + entry % 7 for entry in part) for part in first]  # type: ignore[union-attr]
    assert max(loads) - min(loads) <= 7


def never() -> Iterator[Any]:
    raise AssertionError("only rank 0 looks")
    yield


def test_entries_without_weight_are_for_rank_0() -> None:
    found = on_ranks(3, lambda group: list(group.deal(iter("abc"), lambda entry: -1)))
    assert found == [["a", "b", "c"], [], []]


def test_entries_come_while_others_are_still_looked_for() -> None:
    """A rank has its first entries before rank 0 has found the last one."""
    begun = threading.Event()

    def entries() -> Iterator[int]:
        yield from range(64)
        assert begun.wait(20)
        yield 64

    def take(group: RankGroup) -> int:
        count = 0
        for _ in group.deal(entries()):
            if group.rank == 1:
                begun.set()
            count += 1
        return count

    assert sum(on_ranks(2, take)) == 65  # type: ignore[arg-type]


def test_what_fails_while_rank_0_looks_fails_everywhere() -> None:
    def entries() -> Iterator[int]:
        yield from range(10)
        raise S3dlioError("the listing broke")

    found = on_ranks(RANKS, lambda group: (list(group.deal(entries())), group.barrier()))
    assert all(isinstance(error, S3dlioError) and error.reason == "the listing broke" for error in found), found


def test_an_error_of_one_rank_is_that_of_all() -> None:
    def work(group: RankGroup) -> None:
        if group.rank == 2:
            raise ObjectNotFoundError("gone", uri="s3://b/k", operation="GET")
        group.barrier()

    found = on_ranks(RANKS, work)
    assert [type(error) for error in found] == [ObjectNotFoundError] * RANKS
    assert "on rank 2 of 4, host here" in found[0].__notes__  # type: ignore[union-attr]


def test_an_error_of_what_only_rank_0_does_is_raised_by_all_and_they_can_go_on() -> None:
    def work(group: RankGroup) -> str:
        def fail() -> None:
            raise ConfigError("no")

        try:
            group.first(fail)
        except ConfigError:
            return group.share("goes on")
        return "no error"

    assert on_ranks(3, work) == ["goes on"] * 3


def test_a_part_that_one_rank_stops_is_stopped_at_the_others() -> None:
    def work(group: RankGroup) -> str:
        stopped: list[str] = []
        changed = threading.Event()

        def stop(reason: str) -> None:
            stopped.append(reason)
            changed.set()

        with group.stoppable(stop) as stop_others:
            if group.rank == 1:
                stop_others("an object failed")
            else:
                assert changed.wait(20)
        group.barrier()
        with group.stoppable(stop):  # another part goes on
            group.barrier()
        return " ".join(stopped)

    assert on_ranks(3, work) == ["an object failed", "", "an object failed"]


def test_clocks_are_compared() -> None:
    """A clock that is ahead by more than the way of a message is known by so much; otherwise there is no difference."""
    ahead = {0: 0, 1: 5_000_000_000, 2: 0, 3: -7_000_000_000}
    found: dict[int, int] = {}

    def measure(wire: Any) -> None:
        import time

        found[wire.rank] = measure_offset(wire, lambda: time.time_ns() + ahead[wire.rank])

    threads = [threading.Thread(target=measure, args=(wire,)) for wire in wires(RANKS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert found[0] == found[2] == 0
    assert found[1] == pytest.approx(ahead[1], abs=2_000_000_000)
    assert found[3] == pytest.approx(ahead[3], abs=2_000_000_000)


# -- transfers


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    source = tmp_path / "source"
    source.mkdir()
    for number in range(40):
        (source / f"file-{number:02}").write_bytes(bytes([number]) * (number * 100))
    return source


def divided(group: RankGroup) -> Client:
    client = Client()
    client.group = group
    return client


def test_a_copy_is_divided_and_all_get_the_summary_of_all(tree: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"

    def copy(group: RankGroup) -> s3dlio.TransferSummary:
        return divided(group).copy(str(tree), f"{target}/", recursive=True)

    found = on_ranks(RANKS, copy)
    for summary in found:
        assert isinstance(summary, s3dlio.TransferSummary), summary
        assert (summary.attempted, summary.succeeded, summary.bytes) == (40, 40, 78000)
        assert [part["rank"] for part in summary.ranks] == [0, 1, 2, 3]
        assert all(part["succeeded"] for part in summary.ranks)
    assert {path.name for path in target.iterdir()} == {path.name for path in tree.iterdir()}


def test_a_failure_of_one_object_is_told_with_its_uri_by_all(tree: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    (target / "file-07").mkdir(parents=True)  # a file cannot take the place of a directory

    def copy(group: RankGroup) -> None:
        divided(group).copy(str(tree), f"{target}/", recursive=True, continue_on_error=True)

    found = on_ranks(RANKS, copy)
    for error in found:
        assert isinstance(error, BatchError)
        assert [failure.uri for failure in error.failures] == [f"file://{tree}/file-07"]


def test_what_has_been_done_is_not_done_again_by_another_number_of_ranks(tree: Path, tmp_path: Path) -> None:
    target, journal = tmp_path / "target", tmp_path / "journal"
    (target / "file-07").mkdir(parents=True)

    def copy(client: Client) -> s3dlio.TransferSummary:
        return client.copy(str(tree), f"{target}/", recursive=True, continue_on_error=True, journal=str(journal))

    assert all(isinstance(error, BatchError) for error in on_ranks(3, lambda group: copy(divided(group))))
    assert sorted(path.name for path in tmp_path.glob("journal*")) == ["journal", "journal.rank-1", "journal.rank-2"]
    assert all(isinstance(error, BatchError) for error in on_ranks(2, lambda group: copy(divided(group))))
    (target / "file-07").rmdir()
    summary = copy(Client())
    assert (summary.succeeded, summary.skipped) == (1, 39)
    assert not list(tmp_path.glob("journal*"))


def test_a_sync_is_divided_and_deletes_what_is_too_much(tree: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.mkdir()
    for number in range(5):
        (target / f"surplus-{number}").write_text("x")

    def sync(group: RankGroup) -> tuple[int, int, int]:
        summary = divided(group).sync(str(tree), str(target), delete=True)
        return summary.succeeded, summary.deleted, summary.skipped

    assert on_ranks(3, sync) == [(40, 5, 0)] * 3
    assert on_ranks(3, sync) == [(0, 0, 40)] * 3


def test_generated_objects_and_deletions_are_divided(tmp_path: Path) -> None:
    def work(group: RankGroup) -> tuple[int, list[int]]:
        client = divided(group)
        put = client.put(f"file://{tmp_path}/made", 10, template="object-{}", size=10)
        client.delete(f"file://{tmp_path}/made/object-3")
        group.barrier()
        client.delete(f"file://{tmp_path}/made/", recursive=True)
        return put.succeeded, [part["succeeded"] for part in put.ranks]

    assert on_ranks(3, work) == [(10, [4, 3, 3])] * 3
    assert not (tmp_path / "made").exists()


# -- one limit for a host


@pytest.fixture
def room() -> list[HostRoom]:
    path = make_room(RANKS)
    rooms = [HostRoom(path, index, RANKS, start_of(RANKS, RANKS)) for index in range(RANKS)]
    os.unlink(path)
    return rooms


def test_ranks_of_a_host_begin_with_as_many_requests_as_one_process(room: list[HostRoom]) -> None:
    limits = [each.limit(32) for each in room]
    assert [limit.limit for limit in limits] == [16] * RANKS
    assert (start_of(8, 64), start_of(8, 8), start_of(128, 128)) == (8, 64, 128)


def test_a_refused_request_of_one_rank_slows_all_down(room: list[HostRoom]) -> None:
    limits = [each.limit(32) for each in room]
    limits[0].throttled()
    assert limits[0].limit == 8
    for limit in limits[1:]:
        limit.round_over()
    assert [limit.limit for limit in limits] == [8] * RANKS


def test_ranks_that_have_nothing_left_leave_their_part_to_others(room: list[HostRoom]) -> None:
    limits = [each.limit(64) for each in room]
    limits[0].throttled()
    del limits[2:]
    while limits[0].limit == 8:
        limits[0].round_over()
    assert limits[0].limit >= 16


# -- launchers, jobs of one, logs


def test_the_rank_is_that_of_a_launcher_of_mpi(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("OMPI_", "PMI", "SLURM_", "MV2_")) or name in ("RANK", "WORLD_SIZE"):
            monkeypatch.delenv(name)
    assert mpi_rank() == launched_rank() == (0, 1)
    monkeypatch.setenv("RANK", "3")
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert (mpi_rank(), launched_rank()) == ((0, 1), (3, 4))
    monkeypatch.setenv("PMI_RANK", "1")
    monkeypatch.setenv("PMI_SIZE", "2")
    assert mpi_rank() == (1, 2)


def test_a_job_of_one_process_needs_no_mpi(tree: Path, tmp_path: Path) -> None:
    with join() as job:
        assert (job.rank, job.size, job.group) == (0, 1, ALONE)
        assert job.client.copy(str(tree), f"{tmp_path}/target/", recursive=True).succeeded == 40


def test_logs_of_several_become_one(tmp_path: Path) -> None:
    names = "idx thread op client_id n_objects bytes endpoint file error start first_byte end duration_ns"
    columns = names.replace(" ", "\t") + "\n"
    row = "0\t1\tGET\t{}\t1\t5\ts3://b\tb/k\t\t2026-11-28T00:00:0{}.000000000Z\t\t2026-11-28T00:00:09.000000000Z\t1\n"
    (tmp_path / "a").write_text(columns + row.format("a", 1) + row.format("a", 3))
    (tmp_path / "b").write_text(columns + row.format("b", 2))
    merge_op_logs([tmp_path / "a", tmp_path / "b"], tmp_path / "all")
    assert [each["client_id"] for each in s3dlio.read_op_log(str(tmp_path / "all"))] == ["a", "b", "a"]
    (tmp_path / "b").write_text(columns.replace("\terror", "") + "\n")
    with pytest.raises(CorruptDataError, match="columns"):
        merge_op_logs([tmp_path / "a", tmp_path / "b"], tmp_path / "all")
