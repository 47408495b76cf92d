"""Completion: what is offered, how long it is waited for, and that real shells put it on the line."""

from __future__ import annotations

import os
import pty
import re
import select
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from s3dlio.cli import completing_uris
from s3dlio.cli.completing import SCHEMES, candidates, split
from s3dlio.client import Client
from tests.e2e.conftest import Cli
from tests.servers import Server

PROGRAM = "s3-cli"


def offered(line: str) -> list[str]:
    """What may follow a line, which ends where the cursor is."""
    return [word for word, _ in candidates(split(f"{PROGRAM} {line}")[0])]


# -- commands, options, values, paths


@pytest.mark.parametrize(("line", "some"), [
    ("", ["ls", "cp", "versions"]), ("li", ["list-buckets", "list"]), ("versions ", ["ls", "restore", "rm"]),
    ("--endpoint x cre", ["create-bucket"]), ("ls --lo", ["--long", "--load-balance"]), ("ls --progr", ["--progress"]),
    ("rm -", ["-r", "--recursive", "--yes"]), ("put --object-type N", ["NPY", "NPZ"]), ("put -o N", ["NPY"]),
    ("put --object-type=N", ["--object-type=NPY"]), ("completion ", ["bash", "zsh", "fish"]),
    ("ls --load-balance r", ["round_robin", "rank"]), ("ls ", list(SCHEMES)), ("ls g", ["gs://"]),
    ("presign --method ", ["GET", "PUT"]),
])  # fmt: skip
def test_what_is_offered(line: str, some: list[str]):
    found = offered(line)
    assert set(some) <= set(found)
    last = line.rpartition(" ")[2]
    assert all(word.startswith(last) for word in found)


@pytest.mark.parametrize("line", ["ls -p ", "ls -j ", "rm -- -", "find s3://b/ --exec ", "nonsense x", "ls --no-such="])
def test_where_nothing_is_known_nothing_is_offered(line: str):
    assert not [word for word in offered(line) if word not in SCHEMES]


def test_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "dir").mkdir()
    for name in ("a file", "dir/x", ".hidden"):
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    assert offered("upload ") == ["a file", "dir/"]
    assert set(offered("cp ")) == {*SCHEMES, "a file", "dir/"}
    assert offered("cp di") == ["direct://", "dir/"]
    assert offered("cp x dir/") == ["dir/x"]
    assert offered("upload .h") == [".hidden"]
    assert offered("get --keylist a") == ["a file"]
    assert offered("get --keylist=a") == ["--keylist=a file"]
    assert offered(f"ls file://{tmp_path}/d") == [f"file://{tmp_path}/dir/"]


@pytest.mark.parametrize(("line", "words", "is_open"), [
    ("s3-cli ls a b", ["ls", "a", "b"], False), ("s3-cli ls ", ["ls", ""], False),
    ("s3-cli ls 'a b", ["ls", "a b"], True), (r"s3-cli ls a\ b", ["ls", "a b"], False),
    ('A=1 s3-cli ls "x', ["ls", "x"], True), ("s3-cli", [""], False), ("s3-cli ls '' x", ["ls", "", "x"], False),
    (r'/bin/s3-cli ls "a\"b', ["ls", 'a"b'], True),
])  # fmt: skip
def test_words_of_a_line(line: str, words: list[str], is_open: bool):
    assert split(line) == (words, is_open)


# -- buckets and keys


@pytest.fixture
def buckets(moto_server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Client]:
    for name, value in moto_server.env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with Client() as client:
        for name in ("completion-one", "completion-two"):
            client.create_bucket(name)
        for key in ("logs/a.txt", "logs/b c.txt", "log.txt"):
            client.put_bytes(f"s3://completion-one/{key}", b"")
        yield client
        client.delete("s3://completion-one/", recursive=True)


def test_buckets_and_keys(buckets: Client):
    assert offered("ls s3://completion-") == ["s3://completion-one/", "s3://completion-two/"]
    assert offered("ls s3://completion-one/lo") == ["s3://completion-one/log.txt", "s3://completion-one/logs/"]
    assert offered("cp s3://completion-one/logs/") == [
        "s3://completion-one/logs/a.txt", "s3://completion-one/logs/b c.txt"
    ]  # fmt: skip


def test_a_directory_is_remembered_for_some_seconds(buckets: Client, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    assert len(offered("ls s3://completion-one/logs/")) == 2
    buckets.put_bytes("s3://completion-one/logs/new", b"")
    assert len(offered("ls s3://completion-one/logs/")) == 2
    assert offered("ls s3://completion-one/logs/a") == ["s3://completion-one/logs/a.txt"]
    assert len(offered("ls --region eu-west-1 s3://completion-one/logs/")) == 3  # another place, perhaps
    (kept, *_) = (tmp_path / "cache" / "s3dlio" / "completion").iterdir()
    assert kept.stat().st_mode & 0o077 == 0
    monkeypatch.setattr(completing_uris, "FRESH", 0.0)
    assert len(offered("ls s3://completion-one/logs/")) == 3


def test_a_service_that_is_silent_is_waited_for_a_second(tmp_path: Path):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        environ = os.environ | {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{silent.getsockname()[1]}"}
        environ |= {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "XDG_CACHE_HOME": str(tmp_path)}
        command = [sys.executable, "-m", "s3dlio", "__complete", "zsh", "ls", "s3://b/x"]
        began = time.monotonic()
        done = subprocess.run(command, env=environ, capture_output=True, timeout=20)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert time.monotonic() - began < 8  # the start of Python on a busy machine included


def test_errors_say_nothing(cli: Cli):
    assert cli("__complete", "zsh", "ls", "s3://b\x00/").out == ""
    assert cli("__complete", "zsh", "cp", "/no/such/place/").out == ""
    assert cli("__complete", "sh", "ls", code=2).out == ""


# -- shells


class Shell:
    """An interactive shell on a terminal."""

    def __init__(self, command: list[str], environ: dict[str, str]) -> None:
        self._pid, self._terminal = pty.fork()
        if not self._pid:
            os.execvpe(command[0], command, environ)
        self.seen = ""

    def type(self, text: str) -> None:
        os.write(self._terminal, text.encode())

    def wait_for(self, pattern: str) -> str:
        """Read until the screen has it; returns what it is. What was read is not looked at again."""
        until = time.monotonic() + 30
        while (found := re.search(pattern, self.seen)) is None:
            ready, _, _ = select.select([self._terminal], [], [], max(0.0, until - time.monotonic()))
            assert ready, f"no {pattern!r} in {self.seen!r}"
            self.seen += os.read(self._terminal, 4096).decode(errors="replace")
        self.seen = self.seen[found.end() :]
        return found[0]

    def close(self) -> None:
        os.kill(self._pid, 9)
        os.waitpid(self._pid, 0)
        os.close(self._terminal)


@pytest.fixture
def surroundings(buckets: Client, tmp_path: Path) -> dict[str, str]:
    """The environment of a shell that finds both names of the command."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("s3-cli", "s3dlio"):
        (programs / name).write_text(f"#!/bin/sh\nexec {sys.executable} -m s3dlio \"$@\"\n")
        (programs / name).chmod(0o755)
    more = {"PATH": f"{programs}:{os.environ['PATH']}", "TERM": "dumb", "HOME": str(tmp_path), "PS1": "> ",
            "S3DLIO_COMPLETION_SECONDS": "20"}
    return {**os.environ, **more, "PYTHONPATH": str(Path(__file__).parents[2]), "ZDOTDIR": str(tmp_path)}


@pytest.mark.parametrize("program", ["s3-cli", "s3dlio"])
@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_a_real_shell_completes(shell: str, program: str, surroundings: dict[str, str]):
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    options = ["--norc", "--noprofile", "-i"] if shell == "bash" else ["-f", "-i"]
    with_shell = Shell([shell, *options], surroundings)
    try:
        ready = "echo rea''dy\n"
        with_shell.type(f'eval "$(s3-cli completion {shell})"; {ready}')
        with_shell.wait_for(r"\nready")
        for typed, expected in (
            ("ls s3://completion-o", "s3://completion-one/"), ("ls s3://completion-one/logs/a", "logs/a.txt "),
            ("ls s3://completion-one/logs/b", r"logs/b\\ c.txt "), ("create", "create-bucket "),
        ):  # fmt: skip
            with_shell.type(f": {program}; {program} {typed}\t")
            assert with_shell.wait_for(f"; {program} [^\n]*{expected}")
            with_shell.type(f"\x15{ready}")  # what is on the line goes
            with_shell.wait_for(r"\nready")
    finally:
        with_shell.close()


@pytest.mark.skipif(shutil.which("fish") is None, reason="fish is not installed")
def test_fish_completes(surroundings: dict[str, str]):
    def completed(line: str) -> list[str]:
        script = f"s3-cli completion fish | source; complete -C '{line}'"
        ran = subprocess.run(["fish", "--no-config", "-c", script], env=surroundings, capture_output=True, text=True)
        assert not ran.stderr
        return ran.stdout.splitlines()

    assert completed("s3-cli create") == ["create-bucket\tCreate buckets, containers or directories"]
    assert completed("s3dlio ls s3://completion-o") == ["s3://completion-one/"]
    assert completed("s3-cli ls s3://completion-one/logs/") == [
        "s3://completion-one/logs/a.txt", "s3://completion-one/logs/b c.txt"
    ]  # fmt: skip
    assert [line.partition("\t")[0] for line in completed("s3dlio ls --endpoint-")] == ["--endpoint-url"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_is_for_both_names(cli: Cli, shell: str):
    (record,) = cli("completion", shell, "--json").records
    assert record == {"shell": shell, "script": cli("completion", shell).out}
    assert "s3dlio" in record["script"]
