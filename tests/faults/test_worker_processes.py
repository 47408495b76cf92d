"""Worker processes: nothing is lost when one dies, and nothing is left of them when they end."""

from __future__ import annotations

import gc
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import s3dlio
from s3dlio.client import Client
from s3dlio.engine import process_batch
from s3dlio.engine.cancel import CancelToken
from s3dlio.engine.process_batch import run_processes
from s3dlio.errors import (
    BatchError,
    ConfigError,
    ObjectNotFoundError,
    S3dlioError,
    TransferCancelledError,
    UnsupportedOperationError,
    WorkerDiedError,
)  # fmt: skip
from tests.process_jobs import DeedWork
from tests.witnesses import Outcomes

pytestmark = pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="needs Linux")

SIZES = (0, 1, 4096, 32 << 10, 128 << 10, 100, 3 << 20)


@pytest.fixture(scope="module")
def crew() -> Iterator[Client]:
    """A client whose workers are there already for all tests but the first."""
    with Client() as client:
        yield client


@pytest.fixture
def files(tmp_path: Path) -> dict[str, bytes]:
    """Files of many sizes: URI -> content."""
    found = {}
    for number, size in enumerate(SIZES * 10):
        path = tmp_path / f"{number}.bin"
        path.write_bytes(os.urandom(size))
        found[f"file://{path}"] = path.read_bytes()
    return found


def do(client: Client, items: list[tuple[str, Any]], work: DeedWork | None = None, width: int = 4) -> Outcomes:
    outcomes = Outcomes()
    run_processes(
        client, work or DeedWork(), items, procs=2, width=width, on_done=outcomes.done, cancel=CancelToken()
    )
    return outcomes


def is_alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def eventually(is_so: Callable[[], bool], seconds: float = 20) -> bool:
    """Whether it becomes so; for what another process does."""
    end = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def workers_of(client: Client) -> list[int]:
    return [worker.process.pid for worker in client.processes._idle]


# -- what they do


def test_all_verbs_of_many_give_what_this_process_gives(crew: Client, files: dict[str, bytes]) -> None:
    uris = [*files, next(iter(files))]
    found = crew.get_many(uris, procs=2)
    assert [uri for uri, _ in found] == uris
    assert all(bytes(view) == files[uri] for uri, view in found)
    assert crew.get_many_stats(list(files), procs=2) == (len(files), sum(map(len, files.values())))
    crew.put_many([(f"{uri}.copy", view) for uri, view in found[:-1]], 3, procs=2)
    assert all(Path(f"{uri[7:]}.copy").read_bytes() == data for uri, data in files.items())


def test_a_failure_is_typed_and_names_its_object(crew: Client, files: dict[str, bytes]) -> None:
    missing = "file:///is/not/there"
    with pytest.raises(BatchError) as caught:
        crew.get_many([*files, missing], procs=2)
    assert isinstance(caught.value.__cause__, ObjectNotFoundError)
    assert [failure.uri for failure in caught.value.failures] == [missing]
    assert caught.value.failures[0].error.uri == missing  # type: ignore[attr-defined]
    outcomes = dict(crew.get_many_outcomes([missing, *files], procs=2))
    assert isinstance(outcomes.pop(missing), ObjectNotFoundError)
    assert {uri: bytes(view) for uri, view in outcomes.items()} == files  # type: ignore[arg-type]


def test_errors_keep_cause_and_attempts_and_odd_ones_become_ours(crew: Client) -> None:
    errors = do(crew, [("fail", "gone"), ("fail_oddly", None)]).errors
    assert (str(errors[0]), errors[0].attempts) == (str(errors[0]), 3)  # type: ignore[attr-defined]
    assert isinstance(errors[0], ObjectNotFoundError)
    assert str(errors[0].__cause__) == "the cause"
    assert isinstance(errors[1], S3dlioError)
    assert "odd" in str(errors[1])


def test_observers_and_loggers_of_this_process_hear_of_everything_once(
    files: dict[str, bytes], caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[tuple[str, str, int]] = []
    with Client() as client:
        client.add_observer(lambda heard: seen.append((heard.operation, heard.uri, heard.bytes)))
        client.get_many_stats(list(files), procs=2)
        with caplog.at_level(logging.WARNING, "s3dlio"):
            do(client, [("log", "a word")])
    assert sorted(event for event in seen if event[0] == "GET") == sorted(
        ("GET", uri, len(data)) for uri, data in files.items()
    )
    assert [(record.name, record.getMessage()) for record in caplog.records] == [("s3dlio.test", "a word")]


def test_what_this_program_changes_reaches_workers_that_run(
    crew: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    do(crew, [("echo", 0)])
    monkeypatch.setenv("S3DLIO_TEST_WORD", "word")
    monkeypatch.chdir(tmp_path)
    before = os.umask(0o027)
    try:
        told = do(crew, [("surroundings", "S3DLIO_TEST_WORD")]).results
    finally:
        os.umask(before)
    assert told == {0: ("word", str(tmp_path), 0o027)}


def test_secrets_reach_workers_and_stand_in_no_command_line() -> None:
    with Client(access_key_id="id", secret_access_key="s3cr3t-k3y") as client:
        assert do(client, [("secret", None)] * 4).results == dict.fromkeys(range(4), "s3cr3t-k3y")
        for pid in workers_of(client):
            for name in ("cmdline", "environ"):
                assert b"s3cr3t" not in Path(f"/proc/{pid}/{name}").read_bytes()


@pytest.mark.parametrize(("procs", "error"), [(0, ConfigError), (-1, ConfigError), (True, TypeError), ("2", TypeError),
                                              (10**6, ConfigError)])  # fmt: skip
def test_an_unusable_number_of_processes_is_refused(procs: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="procs"):
        Client().get_many_stats(["file:///x"], procs=procs)


def test_the_memory_of_this_process_is_refused() -> None:
    with pytest.raises(UnsupportedOperationError, match="memory of this process"):
        Client().get_many(["memory://b/k"], procs=2)


# -- when they die


def test_what_a_killed_worker_had_is_done_by_another(crew: Client, tmp_path: Path) -> None:
    marker = tmp_path / "marker"

    class Killing(DeedWork):
        def on_note(self, worker: Any, note: int) -> None:
            super().on_note(worker, note)
            marker.touch()  # before it dies: the next one finds it
            os.kill(note, signal.SIGKILL)

    work = Killing()
    outcomes = do(crew, [("tell_and_wait", str(marker))] + [("echo", number) for number in range(50)], work)
    assert not outcomes.errors
    assert outcomes.results[0] != work.heard[0]
    assert [outcomes.results[number + 1] for number in range(50)] == list(range(50))
    assert not is_alive(work.heard[0])


def test_an_item_that_kills_whoever_has_it_fails_alone(crew: Client) -> None:
    outcomes = do(crew, [("echo", 1), ("die", None), *(("echo", number) for number in range(20))], width=8)
    assert list(outcomes.errors) == [1]
    error = outcomes.errors[1]
    assert isinstance(error, WorkerDiedError)
    assert (error.uri, error.attempts) == ("test://die", 3)
    assert "SIGKILL" in str(error)
    assert len(outcomes.results) == 21


def test_what_must_not_be_done_twice_is_told_to_be_unknown(crew: Client) -> None:
    work = DeedWork()
    work.is_repeatable = False
    errors = do(crew, [("die", None)], work).errors
    assert isinstance(errors[0], s3dlio.OutcomeUnknownError)


def test_a_worker_that_hangs_is_killed_once_its_batch_was_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process_batch, "_STOP_SECONDS", 0.1)
    cancel, outcomes = CancelToken(), Outcomes()

    class Cancelling(DeedWork):
        def on_note(self, worker: Any, note: int) -> None:
            super().on_note(worker, note)
            cancel.cancel("enough")

    work = Cancelling()
    with Client() as client:
        run_processes(client, work, [("hang", None)], procs=1, width=1, on_done=outcomes.done, cancel=cancel)
        assert isinstance(outcomes.errors[0], TransferCancelledError)
        assert not is_alive(work.heard[0])


def test_views_outlive_the_worker_that_was_killed(files: dict[str, bytes]) -> None:
    with Client() as client:
        found = client.get_many(list(files), procs=2)
        for pid in workers_of(client):
            os.kill(pid, signal.SIGKILL)
        assert all(bytes(view) == files[uri] for uri, view in client.get_many(list(files), procs=2))
    assert all(bytes(view) == files[uri] for uri, view in found)


# -- memory


def test_memory_is_leased_again_when_the_last_view_has_gone_and_not_before(files: dict[str, bytes]) -> None:
    with Client() as client:
        found = client.get_many(list(files), procs=2)
        kept = np.frombuffer(found[6][1][1 << 20 : 2 << 20], dtype="u1")
        expected = kept.tobytes()
        del found
        gc.collect()
        memories = [worker.memory for worker in client.processes._idle]
        assert sum(memory.lent for memory in memories) == 1
        segments = [len(memory._mappings) for memory in memories]
        for _ in range(3):
            client.get_many(list(files), procs=2)
        assert kept.tobytes() == expected
        assert [len(memory._mappings) for memory in memories] <= [count + 1 for count in segments]
    assert kept.tobytes() == expected


def test_a_forked_child_has_its_parents_views_and_workers_of_its_own(files: dict[str, bytes]) -> None:
    with Client() as client:
        found = client.get_many(list(files), procs=2)
        ready, go = os.pipe()

        pid = os.fork()
        if not pid:
            status = 1
            try:
                signal.alarm(30)
                own = client.get_many(list(files), procs=2)
                os.read(ready, 1)  # until the parent has dropped its views and read over what it could
                status = not all(bytes(view) == files[uri] for uri, view in [*found, *own])
                client.close()
            finally:
                os._exit(status)
        del found
        for _ in range(3):
            assert len(client.get_many(list(files), procs=2)) == len(files)
        os.write(go, b"!")
        assert os.waitpid(pid, 0)[1] == 0
        assert len(client.get_many(list(files), procs=2)) == len(files)
    os.close(ready)
    os.close(go)


# -- how they end


def mapped() -> int:
    """How much shared memory of this kind is mapped here; it has no names that could be left anywhere."""
    return Path("/proc/self/maps").read_text().count("memfd:s3dlio")


def test_nothing_is_left_of_a_closed_client(files: dict[str, bytes]) -> None:
    gc.collect()
    before = mapped()
    client = Client()
    client.get_many_stats(list(files), procs=2)
    client.close()
    fds = len(os.listdir("/proc/self/fd"))
    client.put_many([(f"{uri}.2", b"x" * 100_000) for uri in files], procs=2)
    pids = workers_of(client)
    assert len(pids) == 2
    client.close()
    assert not any(map(is_alive, pids))
    assert len(os.listdir("/proc/self/fd")) == fds
    gc.collect()
    assert mapped() == before


def test_workers_end_with_a_client_that_is_dropped(files: dict[str, bytes]) -> None:
    client = Client()
    client.get_many_stats(list(files), procs=2)
    pids = workers_of(client)
    del client
    gc.collect()
    assert eventually(lambda: not any(map(is_alive, pids)))


def test_an_interrupt_ends_the_workers_of_its_batch(tmp_path: Path) -> None:
    class Interrupted(DeedWork):
        def on_note(self, worker: Any, note: int) -> None:
            super().on_note(worker, note)
            if len(self.heard) == 2:
                raise KeyboardInterrupt

    work = Interrupted()
    with Client() as client:
        begun = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            do(client, [("tell_and_wait", str(tmp_path / "never"))] * 2, work, width=2)
        assert time.monotonic() - begun < 15
        assert not any(map(is_alive, work.heard))
        assert do(client, [("echo", 1)]).results == {0: 1}


@pytest.mark.parametrize("number", [None, signal.SIGTERM])
def test_workers_are_let_clean_up_after_an_interrupt(tmp_path: Path, number: int | None) -> None:
    """That of their parent, and where the system ends all processes of a job at once."""

    class Interrupted(DeedWork):
        def on_note(self, worker: Any, note: int) -> None:
            if number is not None:
                os.kill(note, number)
            raise KeyboardInterrupt

    with Client() as client, pytest.raises(KeyboardInterrupt):
        do(client, [("clean_up", str(tmp_path / "clean"))], Interrupted(), width=1)
    assert (tmp_path / "clean").exists()


SCRIPT = """
import os, signal, sys, threading
import s3dlio
print("begun", flush=True)
uris = sys.argv[2:]
with s3dlio.Client() as client:
    assert client.get_many_stats(uris, procs=2)[0] == len(uris)
    print(*(worker.process.pid for worker in client.processes._idle), flush=True)
    if sys.argv[1] == "wait":
        signal.pause()
"""


@pytest.mark.parametrize("end", ["wait", "go on"])
def test_a_script_needs_no_main_guard_and_leaves_no_worker(tmp_path: Path, files: dict[str, bytes], end: str) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    with subprocess.Popen([sys.executable, script, end, *files], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        pids = [int(word) for word in process.stdout.readline().split()]
        if end == "wait":
            assert all(map(is_alive, pids))
            process.kill()
        assert process.stdout.read() == ""  # a worker that ran the script would say that it has begun
    assert len(pids) == 2
    assert eventually(lambda: not any(map(is_alive, pids)))
