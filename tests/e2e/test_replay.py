"""``s3-cli replay`` against servers and files: what is recorded is done again, and what the command says about it."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import s3dlio
from s3dlio.client import Client
from tests.e2e.conftest import Cli
from tests.servers import Server
from tests.servers.memory_s3 import MemoryS3

S3_CLI = [sys.executable, "-m", "s3dlio"]


@pytest.fixture
def tree(cli: Cli, tmp_path: Path) -> Path:
    """A directory with six objects, and logs of how they were written, looked at, read and deleted."""
    uri = f"file://{tmp_path}/data/"
    cli("--op-log", tmp_path / "put.zst", "put", uri, "-n", 6, "-s", "70k")
    cli("--op-log", tmp_path / "get.zst", "get", "-r", uri)
    return tmp_path


def kinds(path: Path) -> Counter[str]:
    return Counter(row["op"] for row in s3dlio.read_op_log(path))


def test_what_was_done_to_files_is_done_elsewhere(cli: Cli, tree: Path) -> None:
    mapped = f"file://{tree}/data=file://{tree}/again"
    run = cli("replay", tree / "put.zst", tree / "get.zst", "--map", mapped, "--closed-loop", "--json",
              "--op-log", tree / "replay.zst")  # fmt: skip
    (report,) = run.records
    assert (report["attempted"], report["failed"]) == (13, 0)
    assert report["operations"]["PUT"]["bytes"] == report["operations"]["GET"]["bytes"] == 6 * 70_000
    assert report["operations"]["GET"]["other_size"] == 0
    assert {path.name for path in (tree / "again").iterdir()} == {path.name for path in (tree / "data").iterdir()}
    assert kinds(tree / "replay.zst") == kinds(tree / "put.zst") + kinds(tree / "get.zst")
    written = {path.read_bytes() for path in (tree / "again").iterdir()}
    assert len(written) == 6  # other bytes for each


def test_what_writes_where_it_was_recorded_is_refused(cli: Cli, tree: Path) -> None:
    before = {path.name: path.stat().st_mtime_ns for path in (tree / "data").iterdir()}
    run = cli("replay", tree / "put.zst", code=1)
    assert "--in-place" in run.err
    assert {path.name: path.stat().st_mtime_ns for path in (tree / "data").iterdir()} == before
    run = cli("replay", tree / "get.zst")
    assert run.out.startswith("7 operations in ")
    assert "began late by   p50 " in run.out
    cli("replay", tree / "put.zst", "--in-place", "--speed", "max")
    assert {path.name: path.stat().st_mtime_ns for path in (tree / "data").iterdir()} != before


def test_a_dry_run_tells_what_would_be_done(cli: Cli, tree: Path) -> None:
    run = cli("replay", "-n", tree / "put.zst", "--target", f"file://{tree}/other")
    assert run.lines[0].startswith("6 operations of 1 clients")
    assert f"-> file://{tree}/other{tree}/data/object_" in run.out
    assert not (tree / "other").exists()


def test_seeded_writes_are_the_same_bytes(cli: Cli, tree: Path) -> None:
    stored = []
    for name in ("one", "two"):
        cli("replay", tree / "put.zst", "--map", f"file://{tree}/data=file://{tree}/{name}", "--seed", 7, "-x", 4)
        stored.append({path.name: path.read_bytes() for path in (tree / name).iterdir()})
    assert stored[0] == stored[1]


def test_failures_stop_it_or_are_counted(cli: Cli, tree: Path) -> None:
    nowhere = ("--map", f"file://{tree}/data=file://{tree}/nowhere")
    run = cli("replay", tree / "get.zst", *nowhere, "--speed", "0.001", "--ops", "GET", "-j", 1, code=1)
    assert "stopped: an operation failed" in run.out
    assert "No such file" in run.err
    run = cli("replay", tree / "get.zst", *nowhere, "--continue-on-error", "--ops", "GET", "--json", code=1)
    assert (run.records[0]["attempted"], run.records[0]["failed"]) == (6, 6)
    for wrong in (("--max-errors", "1"), ("--think-time",), ("--speed", "0"), ("--map", "x"), ("--ops", ",")):
        cli("replay", tree / "get.zst", *wrong, code=2)
    assert "nothing to replay" in cli("replay", tree / "get.zst", "--ops", "DELETE", code=1).err


def test_ctrl_c_ends_it_with_a_report(tree: Path) -> None:
    command = [*S3_CLI, "-v", "replay", str(tree / "get.zst"), "--speed", "0.00001"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        while "LIST" not in process.stderr.readline():  # the first operation is over; the next is minutes away
            pass
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "stopped: interrupted" in out
    assert out.startswith("1 operations in ")


@pytest.fixture(scope="module")
def server() -> Any:
    with MemoryS3() as started:
        yield started


@pytest.fixture
def client(server: MemoryS3, monkeypatch: pytest.MonkeyPatch) -> Any:
    server.clear()
    for name, value in server.env.items():
        monkeypatch.setenv(name, value)
    with Client() as made:
        yield made


def test_a_log_of_files_is_replayed_on_s3(cli: Cli, tree: Path, client: Client, server: MemoryS3) -> None:
    server.counts()
    mapped = f"file://{tree}/data=s3://bucket/new"
    run = cli("replay", tree / "put.zst", tree / "get.zst", "--map", mapped, "--closed-loop", "--ops", "PUT,GET",
              "--json")  # fmt: skip
    assert run.records[0]["failed"] == 0
    counts = server.counts()
    assert (counts["PUT"], counts["GET"]) == (6, 6)
    assert counts["received"] == counts["sent"] == 6 * 70_000


def test_ctrl_c_gives_up_what_a_service_does_not_answer(tmp_path: Path) -> None:
    lines = ["op\tendpoint\tfile\tbytes\tstart\tduration_ns\tthread"]
    lines += [f"GET\ts3://b\tb/{number}\t9\t2026-11-28T00:00:00Z\t1000\t{number}" for number in range(5)]
    (tmp_path / "ops.tsv").write_text("\n".join(lines) + "\n")
    with socket.create_server(("127.0.0.1", 0)) as silent, contextlib.ExitStack() as stack:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        command = [*S3_CLI, "replay", str(tmp_path / "ops.tsv"), "--endpoint", url, "--no-sign-request"]
        process = stack.enter_context(
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        )
        for _ in range(5):
            connection, _ = silent.accept()
            stack.enter_context(connection)
            assert connection.recv(3) == b"GET"
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "stopped: interrupted; 5 operations in flight were given up" in out


def test_objects_are_made_that_are_read_before_they_are_written(
    cli: Cli, tree: Path, client: Client, server: MemoryS3
) -> None:
    mapped = ("--map", f"file://{tree}/data=s3://bucket/made", "--ops", "GET", "--prepare")
    run = cli("replay", tree / "get.zst", *mapped)
    assert "note: 6 objects were written before (420000 bytes" in run.out
    assert "GET: 6, 420000 bytes\n" in run.out
    server.counts()
    cli("replay", tree / "put.zst", tree / "get.zst", *mapped[:2], "--prepare", "--ops", "PUT,GET", "--closed-loop")
    counts = server.counts()
    assert (counts["PUT"], counts["GET"]) == (6, 6)  # the log writes them itself
    before = {path.name: path.stat().st_mtime_ns for path in (tree / "data").iterdir()}
    assert "--in-place" in cli("replay", tree / "get.zst", "--prepare", code=1).err
    assert {path.name: path.stat().st_mtime_ns for path in (tree / "data").iterdir()} == before


def test_listings_and_heads_on_a_real_service(
    cli: Cli, moto_server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, value in moto_server.env.items():
        monkeypatch.setenv(name, value)
    cli("create-bucket", "s3://replayed")
    cli("put", "s3://replayed/a/", "-n", 3, "-s", 1000)
    cli("--op-log", tmp_path / "ls.zst", "ls", "-r", "s3://replayed/a/")
    cli("--op-log", tmp_path / "stat.zst", "stat", "s3://replayed/a/object_0_of_3.dat")
    cli("--op-log", tmp_path / "missing.zst", "stat", "s3://replayed/a/none", code=1)
    logs = [tmp_path / f"{name}.zst" for name in ("ls", "stat", "missing")]
    (report,) = cli("replay", *logs, "--speed", "max", "--json").records
    assert report["failed"] == 0
    assert (report["operations"]["HEAD"]["count"], report["operations"]["HEAD"]["failed_as_recorded"]) == (2, 1)
    assert report["operations"]["LIST"]["count"] >= 1


def test_more_operations_in_flight_than_a_lane_has_connections(client: Client, tmp_path: Path) -> None:
    """All of them begin at one moment, whatever the store does."""
    names = ("idx", "thread", "op", "client_id", "n_objects", "bytes", "endpoint", "file", "start", "duration_ns")
    client.put_bytes("s3://bucket/key", bytes(4096))
    lines = ["\t".join(names)]
    for number in range(600):
        start = f"2026-11-28T00:00:00.{number:09}Z"
        lines.append(f"{number}\t{number}\tGET\t\t1\t4096\ts3://bucket\tbucket/key\t{start}\t1000")
    (tmp_path / "burst.tsv").write_text("\n".join(lines) + "\n")
    report = s3dlio.replay_op_log(tmp_path / "burst.tsv", session=client)
    assert (report.attempted, report.failed, report.bytes) == (600, 0, 600 * 4096)


def test_large_objects_and_ranges(client: Client, tmp_path: Path) -> None:
    lines = ["op\tendpoint\tfile\tbytes\tstart\tduration_ns\trange"]
    for number, (op, size, part) in enumerate(
        [("PUT", 20 << 20, ""), ("GET", 20 << 20, ""), ("GET_RANGE", 1000, "5000-5999"), ("STAT", 0, ""),
         ("DELETE", 0, "")]
    ):  # fmt: skip
        lines.append(f"{op}\t\ts3://old/dir/big\t{size}\t2026-11-28T00:00:0{number}Z\t1000\t{part}")
    (tmp_path / "big.tsv").write_text("\n".join(lines) + "\n")
    report = s3dlio.replay_op_log(
        tmp_path / "big.tsv", session=client, mapping={"s3://old": "s3://bucket"}, closed_loop=True
    )
    assert report.failed == 0
    assert report.kinds["GET_RANGE"].bytes == 1000
    assert report.kinds["GET"].bytes == report.kinds["PUT"].bytes == 20 << 20
    assert all(not kind.other_size for kind in report.kinds.values())
    assert not client.exists("s3://bucket/dir/big")


def test_an_executor_of_the_users_own(tree: Path) -> None:
    class Lengths(s3dlio.S3dlioExecutor):
        seen: list[str] = []  # noqa: RUF012

        def get(self, uri: str) -> int | None:
            self.seen.append(os.path.basename(uri))
            return super().get(uri)

    with Client() as client:
        report = s3dlio.replay_op_log(tree / "get.zst", Lengths(client), session=client)
    assert sorted(Lengths.seen) == sorted(path.name for path in (tree / "data").iterdir())
    assert report.kinds["GET"].bytes == 6 * 70_000
