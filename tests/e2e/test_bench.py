"""``s3-cli bench`` against real servers and files: what is measured, and that it leaves nothing behind."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from s3dlio.bench.plan import Plan
from s3dlio.bench.runner import Bench
from s3dlio.bench.sizes import Sizes
from s3dlio.client import Client
from s3dlio.engine.cancel import CancelToken
from s3dlio.engine.group import Group
from s3dlio.errors import ConfigError, ObjectNotFoundError
from s3dlio.oplog.identity import set_client_id
from s3dlio.oplog.reader import read_op_log
from tests.e2e.conftest import Cli
from tests.servers import Server

QUICK = ("--warm-up", "0", "--seed", "5")


def keys(uri: str) -> list[str]:
    return sorted(found.removeprefix(uri) for found in Client().list(uri, recursive=True))


@pytest.fixture(params=["moto", "azurite", "file", "direct"])
def place(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[str]:
    """A directory of each kind of store, with an object of somebody else's."""
    if request.param in ("file", "direct"):
        uri = f"{request.param}://{tmp_path}/"
    else:
        server: Server = request.getfixturevalue(f"{request.param}_server")
        for name, value in server.env.items():
            monkeypatch.setenv(name, value)
        name = "bench-" + re.sub("[^a-z0-9]+", "-", request.node.name.lower())[-40:].strip("-")
        uri = f"s3://{name}/" if request.param == "moto" else f"az://{server.env['AZURE_STORAGE_ACCOUNT']}/{name}/"
        Client().store_for(uri)[0].create_container()
    Client().put_bytes(f"{uri}theirs", b"kept")
    yield uri
    assert keys(uri) == ["theirs"]


@pytest.fixture
def folder(tmp_path: Path) -> str:
    return f"file://{tmp_path}/"


def measured(cli: Cli, *words: object, code: int = 0) -> dict[str, Any]:
    (record,) = cli("bench", *words, *QUICK, "--json", code=code).records
    return record


def test_every_store_is_measured_and_left_as_it_was(cli: Cli, place: str) -> None:
    record = measured(cli, "get", place, "-s", "1KiB-9KiB", "-n", 20, "--count", 60, "-j", "1,4")
    assert [run["concurrent"] for run in record["runs"]] == [1, 4]
    for run in record["runs"]:
        told = run["operations"]["GET"]
        assert (told["operations"], told["errors"]) == (60, 0)
        assert 60 * 1024 <= told["bytes"] <= 60 * 9 * 1024
        latency, first = told["latency_ns"], told["first_byte_ns"]
        assert 0 < latency["min"] <= latency["p50"] <= latency["p99"] <= latency["p99.9"] <= latency["max"]
        assert first["min"] <= first["p50"] <= latency["max"]
        assert latency["histogram"]["count"] == 60
        assert told["operations_per_second"] == pytest.approx(60 / run["seconds"], rel=0.01)
    assert record["prepared"]["objects"] == record["cleaned"]["objects"] == 20
    mixed = measured(cli, "mixed", place, "-s", "4KiB", "-n", 40, "--count", 120, "-j", 4)["runs"][0]["operations"]
    assert set(mixed) == {"GET", "HEAD", "PUT", "DELETE"}
    assert sum(one["operations"] for one in mixed.values()) == 120
    assert not any(one["errors"] for one in mixed.values())


def test_each_benchmark_does_what_it_is_called(cli: Cli, folder: str) -> None:
    def operation(*words: object) -> tuple[str, dict[str, Any]]:
        ((name, told),) = measured(cli, *words)["runs"][0]["operations"].items()
        return name, told

    assert operation("put", folder, "-s", "4KiB:1,8KiB:1", "--count", 30, "-j", 3)[1]["operations"] == 30
    assert operation("put", folder, "-s", "4KiB", "--count", 5, "--fresh-data")[1]["bytes"] == 5 * 4096
    name, told = operation("stat", folder, "-n", 5, "--count", 20)
    assert (name, told["bytes"]) == ("HEAD", 0)
    name, told = operation("list", folder, "-n", 30, "--count", 4, "-j", 2)
    assert (name, told["operations"], told["objects"]) == ("LIST", 4, 120)
    name, told = operation("get", folder, "-s", "64KiB", "-n", 3, "--count", 10, "--range-size", "1000", "--discard")
    assert (name, told["bytes"]) == ("GET_RANGE", 10_000)
    assert os.listdir(folder.removeprefix("file://")) == []


def test_deletes_end_with_the_objects(cli: Cli, folder: str) -> None:
    run = measured(cli, "delete", folder, "-n", 25, "-j", 4)["runs"][0]
    assert (run["exhausted"], run["operations"]["DELETE"]["operations"]) == (True, 25)
    run = measured(cli, "delete", folder, "-n", 25, "-j", 2, "--batch", 10)["runs"][0]
    assert run["operations"]["DELETE_BATCH"]["objects"] == 25
    assert run["slices"]["by"] == "objects"


def test_what_stays_is_read_again_and_never_written_to(cli: Cli, folder: str) -> None:
    measured(cli, "get", folder, "-n", 6, "-s", "2KiB", "--count", 3, "--prefix", "kept", "--no-clean")
    before = keys(folder)
    assert len(before) == 6
    told = measured(cli, "get", folder, "--count", 10, "--prefix", "kept", "--no-prepare")["runs"][0]["total"]
    assert (told["operations"], told["bytes"]) == (10, 10 * 2048)
    measured(cli, "mixed", folder, "--count", 60, "--prefix", "kept", "--no-prepare", "-s", "1KiB")
    assert keys(folder) == before
    for words in (("put", "--count", 5), ("get", "--count", 5)):
        error = cli("bench", words[0], folder, *words[1:], "--prefix", "kept", "--json", code=1).errors[-1]["error"]
        assert error["type"] == "ConfigError"
        assert "there are objects below" in error["message"]
    with pytest.raises(ObjectNotFoundError):
        Bench(Client(), Plan(operation="stat", uri=folder, sizes=Sizes.parse("1"), prefix="no", prepare=False)).run()
    assert keys(folder) == before


def test_clients_may_be_processes(cli: Cli, folder: str) -> None:
    record = measured(cli, "put", folder, "-s", "1KiB", "--count", 41, "-j", 5, "--procs", 2)
    run = record["runs"][0]
    assert (run["concurrent"], run["operations"]["PUT"]["operations"]) == (5, 41)
    assert record["cleaned"]["objects"] == 41
    assert keys(folder) == []


class Threads(Group):
    """A group of threads, as MPI makes one of processes."""

    size = 3
    hosts = ("localhost",) * size

    def __init__(self, rank: int, meeting: threading.Barrier, board: dict[int, Any]) -> None:
        self.rank, self._meeting, self._board = rank, meeting, board

    def barrier(self) -> None:
        self._meeting.wait()

    def share(self, value: Any) -> Any:
        return self._all(value)[0]

    def gather(self, value: Any) -> list[Any]:
        found = self._all(value)
        return [] if self.rank else found

    def first(self, work: Callable[[], Any]) -> Any:
        return self.share(None if self.rank else work())

    def moment(self, lead_ns: int) -> int:
        return int(self.share(super().moment(lead_ns)))

    def _all(self, value: Any) -> list[Any]:
        self._board[self.rank] = value
        self._meeting.wait()
        found = [self._board[rank] for rank in range(self.size)]
        self._meeting.wait()
        return found


@pytest.mark.parametrize(("operation", "width"), [("get", 7), ("put", 2), ("delete", 3)])
def test_a_group_shares_the_work_and_merges_what_it_measured(folder: str, operation: str, width: int) -> None:
    meeting = threading.Barrier(Threads.size)
    board: dict[int, Any] = {}
    plan = Plan(operation=operation, uri=folder, sizes=Sizes.parse("1KiB"), objects=20, concurrent=(width,),
                seconds=None, count=40, warm_up=0.0)  # fmt: skip
    benches: dict[int, Bench] = {}

    def work(rank: int) -> None:
        benches[rank] = Bench(Client(), plan, group=Threads(rank, meeting, board))
        benches[rank].run()

    threads = [threading.Thread(target=work, args=(rank,)) for rank in range(Threads.size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    set_client_id("")  # of all of them: it is the process's
    (result,) = benches[0].results
    assert benches[1].results == benches[2].results == []
    assert len({bench.directory for bench in benches.values()}) == 1
    assert (result.concurrent, result.errors) == (width, 0)
    assert result.total.operations == (20 if operation == "delete" else 40)
    if operation != "put":
        assert [bench.prepared.objects for bench in benches.values()] in ([7, 7, 6], [7, 6, 7], [6, 7, 7])
    assert os.listdir(folder.removeprefix("file://")) == []


def test_an_op_log_tells_what_was_measured_from_what_was_not(cli: Cli, folder: str, tmp_path: Path) -> None:
    log = tmp_path / "bench.tsv.zst"
    measured(cli, "get", folder, "-n", 4, "-s", "1KiB", "--count", 9, "--op-log", log)
    rows = [(row["client_id"], row["op"]) for row in read_op_log(log)]
    assert rows.count(("prepare", "PUT")) == 4
    assert rows.count(("", "GET")) == 9
    assert {client for client, _ in rows} == {"prepare", "", "clean-up"}


def test_why_objects_could_not_be_written_is_told_and_not_that_they_could_not_be_deleted(
    cli: Cli, moto_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in moto_server.env.items():
        monkeypatch.setenv(name, value)
    shown = cli("bench", "get", "s3://no-such-bucket-of-bench/", "-n", 3, "-s", "1KiB", code=1)
    assert "Error: PUT s3://no-such-bucket-of-bench/" in shown.err
    assert "not all that was written is deleted: s3://no-such-bucket-of-bench/s3dlio-bench-" in shown.err


def test_failures_are_counted_and_the_others_go_on(folder: str) -> None:
    sizes = Sizes.parse("1KiB")
    Bench(Client(), Plan(operation="get", uri=folder, sizes=sizes, objects=4, count=1, seconds=None, warm_up=0.0,
                         prefix="kept", clean=False)).run()  # fmt: skip

    def note(text: str) -> None:
        if text.startswith("get:"):
            Path(folder.removeprefix("file://"), "kept", "00000001").unlink()

    again = Plan(operation="get", uri=folder, sizes=sizes, count=100, seconds=None, warm_up=0.0, prefix="kept", seed=1,
                 prepare=False)  # fmt: skip
    (result,) = Bench(Client(), again, note=note).run()
    told = result.as_dict()
    failed = told["operations"]["GET"]["errors"]
    assert 0 < failed < 100
    assert told["operations"]["GET"]["operations"] == 100 - failed
    assert [(one["type"], one["count"]) for one in told["failures"]] == [("ObjectNotFoundError", failed)]


@pytest.mark.parametrize("width", [1, 4])
def test_what_is_ended_early_has_a_result_and_leaves_nothing(folder: str, width: int) -> None:
    cancel = CancelToken()
    client = Client()
    seen: list[object] = []

    def count(observation: object) -> None:
        seen.append(observation)
        if len(seen) == 50:
            cancel.cancel("enough")

    client.add_observer(count)
    plan = Plan(operation="put", uri=folder, sizes=Sizes.parse("1KiB"), concurrent=(width, 8), seconds=3600.0)
    (result,) = Bench(client, plan, cancel=cancel).run()
    assert result.interrupted
    assert keys(folder) == []


def test_ctrl_c_tells_what_was_done_and_cleans_up(folder: str) -> None:
    words = [sys.executable, "-m", "s3dlio", "bench", "put", folder, "-s", "1KiB", "-d", "1h", "--warm-up", "0"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        while not os.listdir(folder.removeprefix("file://")):  # until it writes
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        out, err = process.communicate()
    assert process.returncode == 128 + signal.SIGINT
    assert "interrupted after" in out
    assert "PUT" in out
    assert "Interrupted" in err
    assert keys(folder) == []


@pytest.mark.parametrize(("words", "message"), [
    (("get", "--count", "1", "-d", "1s"), "give one of them"), (("get", "-s", "x"), "size"),
    (("get", "--plot", "x.png"), ".svg"), (("put", "-j", "0"), "jobs"), (("stat", "--no-prepare"), "--prefix"),
    (("put", "-j", "2", "--procs", "4"), "processes"), (("get", "-d", "soon"), "duration"),
])  # fmt: skip
def test_a_command_line_that_cannot_be_is_refused(cli: Cli, folder: str, words: tuple[str, ...], message: str) -> None:
    assert message in cli("bench", *words, folder, code=2).err


def test_a_picture_and_a_table_are_made(cli: Cli, folder: str, tmp_path: Path) -> None:
    picture = tmp_path / "out.html"
    shown = cli("bench", "stat", folder, "-n", 3, "--count", 20, "-j", "1,2", *QUICK, "--plot", picture)
    assert "HEAD" in shown.out
    assert "fastest" in shown.out
    assert "<svg" in picture.read_text()
    assert "stat: 2 in flight" in shown.err


def test_what_belongs_to_a_figure_is_told_by_config_too(cli: Cli, folder: str) -> None:
    record = measured(cli, "stat", folder, "-n", 1, "--count", 1, "--region", "eu-west-1")
    (changed,) = cli("config", "--changed", "--region", "eu-west-1", "--json").records
    assert record["environment"] == json.loads(json.dumps(changed))
    assert changed["settings"]["s3.region"] == {"value": "eu-west-1", "origin": "argument"}
    assert re.search(r"^s3\.region +eu-west-1 +argument$", cli("config", "--changed", "--region", "eu-west-1").out,
                     re.MULTILINE)  # fmt: skip


def test_objects_of_others_stop_a_prefix_that_is_named(folder: str) -> None:
    Client().put_bytes(f"{folder}mine/x", b"x")
    plan = Plan(operation="get", uri=folder, sizes=Sizes.parse("1"), prefix="mine")
    with pytest.raises(ConfigError, match="objects below"):
        Bench(Client(), plan).run()
    assert keys(folder) == ["mine/x"]
