"""Command lines of a file, side by side in one process."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import s3dlio
from s3dlio.client import Client
from tests.e2e.conftest import Cli
from tests.servers import Server
from tests.servers.moto_server import MotoServer


@pytest.fixture
def bucket(moto_server: Server, monkeypatch: pytest.MonkeyPatch) -> str:
    for name, value in moto_server.env.items():
        monkeypatch.setenv(name, value)
    Client().create_bucket("running")
    return "s3://running/"


def script(tmp_path: Path, *lines: str) -> Path:
    (tmp_path / "commands").write_text("\n".join(lines) + "\n")
    return tmp_path / "commands"


def test_every_line_is_a_command(cli: Cli, bucket: str, tmp_path: Path):
    for name in ("a b", "c"):
        (tmp_path / name).write_text(name)
    lines = [f"cp '{tmp_path}/a b' {bucket}r/", "", "# a comment", f"s3-cli cp {tmp_path}/c {bucket}r/  # another"]
    lines += [f"put {bucket}p-{i}/ -n 2 -s 1k" for i in range(6)]
    run = cli("run", script(tmp_path, *lines), "--numworkers", 4)
    assert run.out.count("CP summary") == 2
    assert run.out.count("PUT summary: attempted=2, succeeded=2, failed=0\n") == 6
    assert run.err.endswith("8 commands, 0 failed\n")
    assert len(Client().list(bucket, recursive=True)) == 14


def test_lines_share_connections(cli: Cli, bucket: str, tmp_path: Path, moto_server: MotoServer):
    Client().put_bytes(f"{bucket}k", b"x")
    moto_server.reset_requests()
    cli("run", script(tmp_path, *[f"stat {bucket}k"] * 20), "-j", 2)
    assert len({seen.peer for seen in moto_server.requests()}) <= 2


def test_a_line_that_fails_is_named_and_the_others_go_on(cli: Cli, bucket: str, tmp_path: Path):
    path = script(tmp_path, f"stat {bucket}none", "", "nonsense here", f"ls {bucket} --nope", "cat 'open",
                  f"mb {bucket}x", "run other", f"cp - {bucket}k", "ls --help", f"put {bucket}z/")  # fmt: skip
    run = cli("run", path, "-j", 3, code=1)
    for number, says in {1: "NoSuchKey", 3: "unknown command 'nonsense'", 4: "unknown option '--nope'", 5: "No closing",
                         7: "cannot run beside", 8: "standard input", 9: "s3-cli ls --help"}.items():  # fmt: skip
        (line,) = [line for line in run.err.splitlines() if line.startswith(f"line {number} (")]
        assert says in line
    assert "9 commands, " in run.err
    assert s3dlio.Client().exists(f"{bucket}z/object_0_of_1.dat")
    (record, *_) = cli("run", path, "-j", 1, "--json", code=1).errors
    assert (record["error"]["line"], record["error"]["type"]) == (1, "ObjectNotFoundError")


def test_what_a_line_prints_stays_together(bucket: str, tmp_path: Path):
    data = bytes(range(256)) * 9000  # more than is kept in memory
    Client().put_many([(f"{bucket}o/{i}", bytes([i]) + data) for i in range(4)])
    path = script(tmp_path, *[f"cat {bucket}o/{i}" for i in range(4)])
    ended = subprocess.run([sys.executable, "-m", "s3dlio", "run", path, "-q"], capture_output=True, check=True)
    size = len(data) + 1
    pieces = [ended.stdout[start : start + size] for start in range(0, len(ended.stdout), size)]
    assert sorted(pieces) == [bytes([i]) + data for i in range(4)]
    assert ended.stderr == b""


def test_lines_come_from_standard_input_and_a_dry_run_only_shows_them(
    cli: Cli, bucket: str, monkeypatch: pytest.MonkeyPatch
):
    for words, out in (((), ""), (("-n",), f"rm {bucket}a 'b c'\n")):
        monkeypatch.setattr(sys, "stdin", io.StringIO(f"rm {bucket}a 'b c'\n"))
        run = cli("run", "-", *words, code=0 if words else 1)
        assert run.out == out
    monkeypatch.setattr(sys, "stdin", io.StringIO("ls --nope\n"))
    assert "unknown option" in cli("run", "-n", "-", code=2).err
    assert "No such file" in cli("run", "/none", code=1).err


def test_options_of_run_hold_for_its_lines(cli: Cli, bucket: str, tmp_path: Path, moto_server: Server):
    Client().put_bytes(f"{bucket}k", b"x")
    os.environ["AWS_ENDPOINT_URL"] = "http://127.0.0.1:9"
    path = script(tmp_path, f"stat {bucket}k", f"stat {bucket}k --json")
    run = cli("run", path, "--endpoint-url", moto_server.endpoint)
    assert any(line.startswith("{") and json.loads(line)["size"] == 1 for line in run.lines)


def test_several_endpoints_of_run_hold_for_its_lines(cli: Cli, bucket: str, tmp_path: Path, moto_server: Server):
    Client().put_bytes(f"{bucket}k", b"x")
    os.environ["AWS_ENDPOINT_URL"] = "http://127.0.0.1:9"
    path = script(tmp_path, f"stat {bucket}k --json")
    run = cli("run", path, "--endpoints", moto_server.endpoint, "--load-balance", "rank", "--bwlimit", "10M")
    assert run.records[0]["size"] == 1


def test_a_hash_within_a_word_begins_no_comment(cli: Cli, tmp_path: Path):
    path = script(tmp_path, "rm -r s3://b/dir#1/ 's3://b/# 2'  # ls", "  #rm s3://b/x", "ls s3://b/#")
    assert cli("run", "-n", path).lines == ["rm -r 's3://b/dir#1/' 's3://b/# 2'", "ls 's3://b/#'"]


def test_ctrl_c_ends_all_lines(tmp_path: Path):
    with MotoServer(delay=0.3) as server:
        path = script(tmp_path, *[f"put s3://many-{i}/ -c -n 100000 -s 1k -j 4" for i in range(4)])
        command = [sys.executable, "-m", "s3dlio", "run", path]
        process = subprocess.Popen(command, env=os.environ | server.env, stderr=subprocess.PIPE, text=True)
        while not any("object_" in seen.target for seen in server.requests()):
            assert process.poll() is None, "it ended before the first object was written"
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=20)
    assert (process.returncode, "Traceback" in err) == (130, False)
