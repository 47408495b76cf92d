"""A sync that goes on: whenever the source has changed, until it is interrupted."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from s3dlio.client import Client
from s3dlio.errors import ObjectNotFoundError, UnsupportedOperationError
from s3dlio.stores.local import inotify
from s3dlio.stores.local.inotify import TreeWatch
from s3dlio.transfer import watch as watching
from s3dlio.transfer.watch import Polling, settled, watch
from tests.e2e.conftest import Cli
from tests.servers import Server

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="inotify is Linux's")


def eventually(true: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    until = time.monotonic() + 30
    while not true():
        assert time.monotonic() < until
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)


@pytest.fixture
def bucket(moto_server: Server, monkeypatch: pytest.MonkeyPatch) -> str:
    for name, value in moto_server.env.items():
        monkeypatch.setenv(name, value)
    Client().create_bucket("watched")
    return "s3://watched/"


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    running: list[subprocess.Popen[str]] = []

    def run(*words: object) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "s3dlio", "sync", "--watch", *map(str, words)]
        running.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
        return running[-1]

    yield run
    for process in running:
        process.kill()
        process.wait()


@linux
def test_a_local_directory_is_followed(start: Callable[..., subprocess.Popen[str]], bucket: str, tmp_path: Path):
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "first").write_text("1")
    to, client = f"{bucket}local/", Client()
    process = start(tmp_path / "src", to, "--delete")
    eventually(lambda: client.exists(f"{to}first"), process)
    (tmp_path / "src" / "new" / "deep").mkdir(parents=True)
    (tmp_path / "src" / "new" / "deep" / "second").write_text("2")
    eventually(lambda: client.exists(f"{to}new/deep/second"), process)
    (tmp_path / "src" / "first").unlink()
    eventually(lambda: not client.exists(f"{to}first"), process)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert out.count("SYNC summary") >= 2  # the last may be cut off
    assert "Watching file://" in err
    assert "Traceback" not in err


def test_another_store_is_looked_at_again(start: Callable[..., subprocess.Popen[str]], bucket: str, tmp_path: Path):
    source, client = f"{bucket}remote/", Client()
    client.put_bytes(f"{source}a", b"a")
    process = start(source, tmp_path / "to", "--interval", "0.05", "--json")
    eventually((tmp_path / "to" / "a").exists, process)
    client.put_bytes(f"{source}b", b"b")
    eventually((tmp_path / "to" / "b").exists, process)


@linux
def test_what_fails_is_told_and_tried_again(start: Callable[..., subprocess.Popen[str]], bucket: str, tmp_path: Path):
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "ok").write_text("1")
    (tmp_path / "src" / "link").symlink_to("later")
    process, client, to = start(tmp_path / "src", f"{bucket}again/", "--interval", "0.1"), Client(), f"{bucket}again/"
    eventually(lambda: client.exists(f"{to}ok"), process)
    (tmp_path / "src" / "later").write_text("x")
    eventually(lambda: client.exists(f"{to}link"), process)


def test_what_cannot_be_watched_ends_at_once(cli: Cli, tmp_path: Path, bucket: str):
    assert "it is no directory" in cli("sync", "--watch", tmp_path / "none", f"{bucket}x/", code=1).err
    assert "leave out -n" in cli("sync", "--watch", "-n", tmp_path, f"{bucket}x/", code=2).err
    assert "invalid duration" in cli("sync", "--watch", "--interval", "0", tmp_path, f"{bucket}x/", code=2).err


@linux
def test_changes_are_seen_however_deep(tmp_path: Path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "loop").symlink_to(tmp_path)
    with TreeWatch(str(tmp_path)) as changes:
        assert not changes.wait(0)
        (tmp_path / "a" / "b" / "file").write_text("x")
        assert changes.wait(10)
        while changes.wait(0):
            pass
        (tmp_path / "a" / "new").mkdir()
        assert changes.wait(10)
        (tmp_path / "a" / "new" / "file").write_text("x")
        assert changes.wait(10)
    with pytest.raises(ObjectNotFoundError, match="it is no directory"):
        TreeWatch(str(tmp_path / "none"))


def test_many_changes_are_one(monkeypatch: pytest.MonkeyPatch):
    class Burst:
        left = 5

        def wait(self, timeout: float | None = None) -> bool:
            self.left -= 1
            return self.left >= 0

        def close(self) -> None:
            pass

    burst = Burst()
    assert settled(burst)
    assert burst.left == -1
    assert not settled(burst)


def test_where_the_kernel_has_no_watches_left_it_is_looked_at(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    def refuse(root: str) -> None:
        raise UnsupportedOperationError("no space")

    monkeypatch.setattr(inotify, "TreeWatch", refuse)
    store, key = Client().store_for(f"file://{tmp_path}/")
    found = watch(store, key, 0.001)
    assert isinstance(found, Polling)
    assert found.wait()
    assert watching.QUIET < watching.LONGEST
