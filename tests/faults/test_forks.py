"""A forked child has locks, connections, SDK clients and tokens of its own, whatever its parent was doing."""

from __future__ import annotations

import importlib
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import s3dlio
from s3dlio.config.settings import Settings
from s3dlio.forking import ForkBarrier
from s3dlio.stores.azure.credentials import entra_tokens
from s3dlio.stores.cloud.tokens import Token, Tokens
from s3dlio.stores.registry import open_store
from s3dlio.uri import parse
from tests.servers.gcs_scripted import FullGcsServer

#: Seconds after which a child that hangs is killed.
PATIENCE = 20
HOUSE = Path(s3dlio.__file__).parent
AZURE = {"account": "a", "key": "a2V5", "backend": "sdk", "endpoint_url": "http://127.0.0.1:9/a"}


def in_child(work: Callable[[], object]) -> bool:
    """Whether ``work`` is true in a forked child."""
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1] == 0
    status = 1
    try:
        signal.alarm(PATIENCE)
        status = not work()
    finally:
        os._exit(status)


def azure_store() -> Any:
    pytest.importorskip("azure.storage.blob")
    return open_store(parse("az://a/ccc/k"), Settings.resolve({}, azure=AZURE))


def gcs_store(endpoint: str) -> Any:
    pytest.importorskip("google.cloud.storage")
    gcs = {"endpoint_url": endpoint, "backend": "sdk", "anonymous": True, "project": "p"}
    return open_store(parse("gs://bucket/k"), Settings.resolve({}, gcs=gcs))


@pytest.mark.parametrize("kind", ["azure", "gcs"])
def test_a_fork_while_another_thread_makes_the_sdk_client(kind: str) -> None:
    store = azure_store() if kind == "azure" else gcs_store("http://127.0.0.1:9")
    held, leave = threading.Event(), threading.Event()

    def hold() -> None:
        with store._lock:
            held.set()
            leave.wait(PATIENCE)

    thread = threading.Thread(target=hold)
    thread.start()
    assert held.wait(PATIENCE)
    assert in_child(lambda: store.client is not None)
    leave.set()
    thread.join()


def test_an_sdk_client_never_speaks_on_its_parents_connection() -> None:
    with FullGcsServer() as server:
        store = gcs_store(server.endpoint)
        store.create_container()
        store.put("k", b"hello")
        assert store.get("k") == b"hello"  # from here on there is an idle connection

        def connects() -> bool:
            places: list[Any] = []
            connect = socket.socket.connect

            def seen(sock: socket.socket, place: Any) -> None:
                places.append(place)
                connect(sock, place)

            socket.socket.connect = seen  # type: ignore[method-assign, assignment]
            return bool(store.get("k") == b"hello" and places)

        assert in_child(connects)
        assert store.get("k") == b"hello"


def test_the_azure_client_is_another_one_in_a_child() -> None:
    store = azure_store()
    client = store.client
    assert in_child(lambda: store.client is not client)
    assert store.client is client


def test_a_child_makes_its_own_credential_of_entra_id() -> None:
    pytest.importorskip("azure.core")
    made: list[object] = []

    class Credential:
        def get_token(self, scope: str) -> Any:
            return type("Found", (), {"token": "text", "expires_on": 2e10})

    def make() -> Credential:
        made.append(0)
        return Credential()

    tokens = entra_tokens(make)
    assert tokens() == "text"
    tokens.forget()

    def again() -> bool:
        return tokens() == "text" and len(made) == 2

    assert in_child(again)
    tokens.forget()
    assert tokens() == "text"
    assert len(made) == 1


def test_a_child_renews_a_token_that_its_parent_was_renewing(monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = Tokens(lambda: Token("text", 2e10))
    tokens._renewing = True
    assert in_child(lambda: not tokens._renewing)


def test_a_fork_waits_for_a_module_that_another_thread_imports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of its own: calls import what few need when they first need it."""
    (tmp_path / "slow_to_import.py").write_text("import slow_to_import_gate as gate\ngate.inside.set()\ngate.wait()\n")
    (tmp_path / "slow_to_import_gate.py").write_text(
        "import threading\ninside, leave = threading.Event(), threading.Event()\n"
        "def wait():\n    leave.wait(0.2)\n"  # the fork cannot say that it waits: what is imported just takes a while
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(s3dlio, "__path__", [*s3dlio.__path__, str(tmp_path)])
    import slow_to_import_gate as gate  # type: ignore[import-not-found]

    thread = threading.Thread(target=importlib.import_module, args=("s3dlio.slow_to_import",))
    thread.start()
    assert gate.inside.wait(PATIENCE)
    assert in_child(lambda: importlib.import_module("s3dlio.slow_to_import") is not None)
    thread.join()


def test_a_fork_waits_for_work_that_it_must_not_interrupt() -> None:
    work, inside, leave = ForkBarrier(PATIENCE), threading.Event(), threading.Event()

    def hold() -> None:
        with work:
            inside.set()
            leave.wait(PATIENCE)

    def fork() -> None:
        work.before_fork()
        forked.set()
        work.after_fork()

    forked = threading.Event()
    holder, forker = threading.Thread(target=hold), threading.Thread(target=fork)
    holder.start()
    assert inside.wait(PATIENCE)
    forker.start()
    assert not forked.is_set()
    leave.set()
    assert forked.wait(PATIENCE)
    with work, work:  # the thread that is in there itself does not wait for itself
        work.before_fork()
        work.after_fork()
    holder.join()
    forker.join()


def test_there_is_one_registry_of_what_children_renew() -> None:
    own = [path.name for path in HOUSE.rglob("*.py") if "register_at_fork" in path.read_text(encoding="utf-8")]
    assert own == ["forking.py"]
    #: Locks of these live no longer than one transfer, write, benchmark or batch.
    brief = ("transfer/", "cli/", "engine/", "bench/", "net/cancellation.py", "forking.py")
    plain = re.compile(r"(?<!asyncio\.)\b(threading\.)?R?Lock\(\)")  # an event loop, and what waits in it, stays behind
    for path in HOUSE.rglob("*.py"):
        place = path.relative_to(HOUSE).as_posix()
        if not place.startswith(brief) and place != "stores/s3/credentials.py":
            assert not plain.search(path.read_text(encoding="utf-8")), place


def test_children_that_are_forked_while_threads_run_batches_read_at_once() -> None:
    """For as long as S3DLIO_TEST_FORK_SECONDS says, where that is set."""
    seconds = float(os.environ.get("S3DLIO_TEST_FORK_SECONDS", "0"))
    forks = 10**9 if seconds else 200
    ran = subprocess.run(
        [sys.executable, "-m", "tests.faults.fork_stress", str(seconds or 120), str(forks)],
        capture_output=True, text=True, timeout=(seconds or 120) + 60, check=False,
    )  # fmt: skip
    done, failed = ran.stdout.split()
    assert failed == "0", ran.stderr
    assert int(done) > 0
