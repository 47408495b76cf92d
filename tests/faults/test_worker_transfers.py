"""Whole trees on worker processes, on every cloud: the same as on one, whatever happens to a worker."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import s3dlio
from s3dlio.client import Client
from s3dlio.config.settings import Settings
from s3dlio.engine.cancel import CancelToken
from s3dlio.engine.process_batch import run_processes
from s3dlio.engine.process_job import Work
from s3dlio.errors import BatchError, ConfigError, ObjectNotFoundError, TransferCancelledError
from s3dlio.memory.sources import as_source
from s3dlio.transfer import process_transfer
from s3dlio.transfer.destination import open_destination
from s3dlio.transfer.process_transfer import TransferWork
from s3dlio.transfer.process_work import GenerateWork, PutWork
from s3dlio.transfer.route import RouteOptions
from tests.faults.test_worker_processes import eventually, workers_of
from tests.servers.gcs_scripted import FullGcsServer
from tests.servers.proxy import Fault, FaultProxy
from tests.witnesses import Outcomes

pytestmark = pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="needs Linux")

MIB = 1 << 20
ROOTS = {"s3": "s3://processes", "az": "az://devstoreaccount1/processes", "gs": "gs://processes", "file": ""}
TREE = {"a.bin": 0, "b/c.bin": 100, "b/d e%.bin": 70_000, "b/ü/f.bin": 40_000, "large.bin": 6 * MIB} | {
    f"many/{number}": 10 * number for number in range(60)
}


class Counted:
    """A progress observer."""

    def __init__(self) -> None:
        self.wanted = self.done = (0, 0)

    def add(self, total_objects: int, total_bytes: int) -> None:
        self.wanted = (self.wanted[0] + total_objects, self.wanted[1] + total_bytes)

    def advance(self, objects: int, bytes: int) -> None:
        self.done = (self.done[0] + objects, self.done[1] + bytes)

    def close(self) -> None:
        assert self.done == self.wanted


def tree_at(directory: Path) -> dict[str, bytes]:
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def crew() -> Iterator[Client]:
    """A client whose workers serve all tests."""
    with Client() as client:
        yield client


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name, size in TREE.items():
        path = tmp_path / "tree" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(size))
    return tmp_path / "tree"


@pytest.fixture(params=sorted(ROOTS))
def root(crew: Client, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A container on each kind of store."""
    if request.param == "file":
        return f"file://{tmp_path}/root"
    names = {"s3": "moto_server", "az": "azurite_server", "gs": "gcs_full_server"}
    for name, value in request.getfixturevalue(names[request.param]).env.items():
        monkeypatch.setenv(name, value)
    crew.reconfigure(Settings.resolve(multipart={"threshold": 5 * MIB, "part_size": 5 * MIB}))
    crew.create_bucket(ROOTS[request.param])
    return ROOTS[request.param]


def test_trees_and_batches_are_the_same_on_every_store(crew: Client, root: str, tree: Path, tmp_path: Path) -> None:
    expected = tree_at(tree)
    up = crew.upload(str(tree), f"{root}/up/", recursive=True, procs=2, verify=True, progress=Counted())
    assert (up.succeeded, up.bytes) == (len(TREE), sum(TREE.values()))
    down = crew.download(f"{root}/up/", tmp_path / "down", procs=2, progress=Counted())
    assert (down.succeeded, down.bytes) == (len(TREE), sum(TREE.values()))
    assert tree_at(tmp_path / "down") == expected
    uris = crew.list(f"{root}/up/", recursive=True)
    assert [(uri, bytes(view)) for uri, view in crew.get_many(uris, procs=2)] == [
        (uri, bytes(view)) for uri, view in crew.get_many(uris)
    ]
    crew.put_many([(f"{root}/put/{name}", data) for name, data in expected.items()], procs=2)
    assert crew.get_many_stats(crew.list(f"{root}/put/", recursive=True), procs=2) == (
        len(TREE), sum(TREE.values())
    )  # fmt: skip


def test_generated_objects_do_not_depend_on_the_processes(crew: Client, tmp_path: Path) -> None:
    for procs in (1, 2):
        crew.put(f"file://{tmp_path}/{procs}/", 20, "o-{}-of-{}", size=100_000, seed=7, procs=procs)
    assert tree_at(tmp_path / "1") == tree_at(tmp_path / "2")
    assert len(set(tree_at(tmp_path / "1").values())) == 20


def test_failures_of_a_transfer_are_those_of_one_process(crew: Client, tree: Path, tmp_path: Path) -> None:
    (tmp_path / "down" / "b").mkdir(parents=True)
    (tmp_path / "down" / "b" / "c.bin").mkdir()
    with pytest.raises(BatchError) as caught:
        crew.download(f"file://{tree}/", tmp_path / "down", procs=2)
    assert [Path(failure.uri).name for failure in caught.value.failures] == ["c.bin"]
    assert isinstance(caught.value.failures[0].error, s3dlio.IsDirectoryError)
    assert caught.value.succeeded == len(TREE) - 1


def test_a_cancelled_transfer_ends_and_counts_what_was_given_up(crew: Client, tree: Path, tmp_path: Path) -> None:
    cancel = CancelToken()

    class Cancelling(Counted):
        def advance(self, objects: int, bytes: int) -> None:
            cancel.cancel("enough")

        def close(self) -> None:
            """Not all of it was done."""

    with pytest.raises(TransferCancelledError, match="given up"):
        crew.download(f"file://{tree}/", tmp_path / "down", 2, procs=2, cancel=cancel, progress=Cancelling())


def test_a_conditional_write_of_a_killed_worker_is_not_done_again(crew: Client, tree: Path, tmp_path: Path) -> None:
    """Whose outcome is unknown: the file may be there by the worker's own hand."""
    options = s3dlio.PutOptions(conditions=s3dlio.Conditions(if_none_match="*"))

    with open_destination(crew.store_for(f"file://{tmp_path}/x")[0], f"{tmp_path}/") as place:
        source = crew.store_for(f"file://{tree}")[0]
        how = RouteOptions(options=options)
        assert not TransferWork("UPLOAD", source, place, place.route_from(source, RouteOptions()), how).is_repeatable


@pytest.fixture
def far(crew: Client, gcs_full_server: FullGcsServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultProxy]:
    """A proxy before the server, to which the workers have no connection yet."""
    with FaultProxy(gcs_full_server.endpoint) as proxy:
        for name, value in gcs_full_server.env.items():
            monkeypatch.setenv(name, value.replace(gcs_full_server.endpoint, proxy.endpoint))
        crew.reconfigure(Settings.resolve())
        crew.processes.give_back(crew.processes.take(2))  # there are some, whichever tests ran before
        yield proxy


def killing(
    client: Client, proxy: FaultProxy, is_time: Callable[[], bool], number: int = signal.SIGKILL
) -> threading.Thread:
    """Kills all workers when it is time, and no fault is met after that."""
    victims = workers_of(client)

    def kill() -> None:
        assert eventually(is_time)
        proxy.plan_every(None)
        for pid in victims:
            os.kill(pid, number)

    thread = threading.Thread(target=kill)
    thread.start()
    return thread


def test_a_large_download_of_a_killed_worker_resumes_at_another(
    crew: Client, far: FaultProxy, gcs_full_server: FullGcsServer, tmp_path: Path
) -> None:
    data, journal = os.urandom(24 * MIB), tmp_path / "journal"
    crew.create_bucket("gs://resumed")
    crew.put_bytes("gs://resumed/large", data)
    far.plan_every(Fault(stall_after=20 * MIB))
    killer = killing(crew, far, lambda: journal.exists() and b'"ranges":[[' in journal.read_bytes())
    summary = crew.download("gs://resumed/large", tmp_path / "down", procs=2, journal=str(journal))
    killer.join()
    assert summary.succeeded == 1
    assert (tmp_path / "down" / "large").read_bytes() == data
    assert os.listdir(tmp_path / "down") == ["large"]
    assert not journal.exists()
    ranges = [seen.headers.get("range", "") for seen in gcs_full_server.requests("GET", "alt=media")]
    assert any(re.fullmatch(r"bytes=[1-9]\d{6,}-\d+", wanted) for wanted in ranges)


def test_a_killed_worker_leaves_no_unfinished_file(crew: Client, far: FaultProxy, tmp_path: Path) -> None:
    crew.create_bucket("gs://unfinished")
    crew.put_bytes("gs://unfinished/d/o", os.urandom(2 * MIB))
    far.plan_every(Fault(stall_after=MIB))
    down = tmp_path / "down"
    killer = killing(crew, far, lambda: any((down / "d").glob(".s3dlio-*")))
    assert crew.download("gs://unfinished/", down, procs=2).succeeded == 1
    killer.join()
    assert list(tree_at(down)) == ["d/o"]


def test_a_worker_that_is_terminated_cleans_up_itself(
    crew: Client, far: FaultProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the system ends all processes of a job, its parent has no time to."""
    monkeypatch.setattr(process_transfer, "remove_abandoned", lambda *_: None)
    crew.create_bucket("gs://terminated")
    crew.put_bytes("gs://terminated/o", os.urandom(2 * MIB))
    far.plan_every(Fault(stall_after=MIB))
    down = tmp_path / "down"
    killer = killing(crew, far, lambda: any(down.glob(".s3dlio-*")), signal.SIGTERM)
    assert crew.download("gs://terminated/", down, procs=2).succeeded == 1
    killer.join()
    assert list(tree_at(down)) == ["o"]


@pytest.mark.parametrize("kind", [PutWork, GenerateWork])
@pytest.mark.parametrize("is_interrupted", [False, True])
def test_a_killed_writer_leaves_no_unfinished_file(
    crew: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: type[Work], is_interrupted: bool
) -> None:
    """Though the batch is interrupted at that very moment."""
    place = tmp_path / "place"
    place.mkdir()
    uri = f"file://{place}/x"
    work = PutWork(crew) if kind is PutWork else GenerateWork(crew, lambda index: uri, "RAW", 10, 1, 1, {})
    work.job = ("tests.process_jobs", "LeavingJob", ())

    def kill(worker: Any, pid: int) -> None:
        os.kill(pid, signal.SIGKILL)
        if is_interrupted:
            raise KeyboardInterrupt

    monkeypatch.setattr(work, "on_note", kill)
    items: list[Any] = [(uri, as_source(b"x"))] if kind is PutWork else [0]
    outcomes = Outcomes()
    with pytest.raises(KeyboardInterrupt) if is_interrupted else contextlib.nullcontext():
        run_processes(crew, work, items, procs=1, width=1, on_done=outcomes.done, cancel=CancelToken())
        assert outcomes.results == {0: None}
    assert (tmp_path / "marker").exists()
    assert os.listdir(place) == []


def test_the_older_benchmark_counts_what_each_process_did(
    tree: Path, fresh_settings: None, caplog: pytest.LogCaptureFixture
) -> None:
    told = s3dlio.mp_get(f"file://{tree}/many", procs=2, jobs=4, num=70, template="{}")
    (line,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert re.match(rf"GET file://{tree}/many/6\d: .*first failure", line)
    assert (told["attempted"], told["succeeded"], told["failed"]) == (70, 60, 10)
    assert told["total_bytes"] == sum(10 * number for number in range(60))
    assert told["bytes_source"] == "Observed"
    assert [worker["worker_id"] for worker in told["workers"]] == [0, 1]
    for name in ("attempted", "succeeded", "failed"):
        assert sum(worker[name] for worker in told["workers"]) == told[name]
    assert sum(worker["bytes"] for worker in told["workers"]) == told["total_bytes"]
    with pytest.raises(ConfigError, match="template"):
        s3dlio.mp_get(f"file://{tree}/many", num=2, template="x")
    s3dlio.api.default_client().close()


def test_nothing_selected_is_an_error_as_ever(crew: Client, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ObjectNotFoundError):
        crew.download(f"file://{tmp_path}/empty/", tmp_path / "down", procs=2)
