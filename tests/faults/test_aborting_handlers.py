"""A signal handler aborts a writer in the middle of a call on it: the call ends at once, with an error that says what
is known of the object."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import s3dlio
from s3dlio.errors import S3dlioError, TransferCancelledError
from s3dlio.stores.cloud.spooled import SpooledWriter
from s3dlio.stores.local.atomic import Replacement
from s3dlio.streams.file_object import Layers, open_to_write
from s3dlio.streams.multipart_writer import MultipartWriter
from s3dlio.types import NO_OPTIONS
from tests.servers.scripted import Action, Expect, ExpectClose, ScriptedServer, respond
from tests.wire.s3_harness import settings_of

PATIENCE = 20


@contextlib.contextmanager
def striking(arrived: threading.Event, act: Callable[[], object]) -> Iterator[None]:
    """Have ``act`` done by a signal handler of this thread when the event has come."""

    def strike() -> None:
        assert arrived.wait(PATIENCE)
        os.kill(os.getpid(), signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, lambda *_: act())
    thread = threading.Thread(target=strike)
    thread.start()
    try:
        yield
    finally:
        thread.join()
        signal.signal(signal.SIGUSR1, before)


@contextlib.contextmanager
def silent_service() -> Iterator[tuple[ScriptedServer, threading.Event]]:
    """It gets an object in one request, never answers, and hears that the request is given up."""
    arrived = threading.Event()

    def told(request: Any) -> bool:
        arrived.set()
        return bool(request.target == "/b/k")

    with ScriptedServer([[Expect(told), ExpectClose()]]) as server:
        yield server, arrived
        server.assert_consumed()


def _spooled(client: s3dlio.Client) -> Any:
    return SpooledWriter(client.store_for("s3://b/k")[0], "k", NO_OPTIONS)


WRITERS: dict[str, Callable[[s3dlio.Client], Any]] = {
    "store": lambda client: client.store_for("s3://b/k")[0].writer("k"),
    "spooled": _spooled,
    "object": lambda client: client.create_stream_writer("s3://b/k"),
    "multipart": lambda client: MultipartWriter(client, "s3://b/k"),
}


@pytest.mark.parametrize("kind", WRITERS)
def test_the_only_request_of_a_small_object_is_given_up(kind: str) -> None:
    with silent_service() as (server, arrived), s3dlio.Client(settings_of(server.endpoint)) as client:
        writer = WRITERS[kind](client)
        writer.write(b"abc")
        with striking(arrived, writer.abort), pytest.raises(TransferCancelledError, match="may be there"):
            (writer.finalize if kind == "object" else writer.close)()
        with pytest.raises(S3dlioError):
            writer.write(b"d")
        writer.abort()


@pytest.mark.parametrize("kind", WRITERS)
def test_other_calls_of_the_handler_are_their_own(kind: str, tmp_path: Path) -> None:
    """They are neither given up with the write nor refused."""
    found: list[object] = []
    (tmp_path / "a").write_bytes(b"a")
    uris = [f"file://{tmp_path}/a", "s3://b/other"]
    other: list[Action] = [Expect(b"GET /b/other "), respond(body=b"other")]
    arrived = threading.Event()

    def told(request: Any) -> bool:
        arrived.set()
        return bool(request.target == "/b/k")

    with (
        ScriptedServer([[Expect(told), ExpectClose()], other]) as server,
        s3dlio.Client(settings_of(server.endpoint)) as client,
    ):
        writer = WRITERS[kind](client)

        def act() -> None:
            writer.abort()
            found.extend(data for _, data in client.get_many(uris))

        writer.write(b"abc")
        with striking(arrived, act), pytest.raises(TransferCancelledError):
            (writer.finalize if kind == "object" else writer.close)()
        server.assert_consumed()
    assert found == [b"a", b"other"]


@pytest.mark.parametrize("text", [False, True], ids=["bytes", "text"])
def test_a_file_that_is_being_stored_is_given_up(text: bool) -> None:
    with silent_service() as (server, arrived), s3dlio.Client(settings_of(server.endpoint)) as client:
        file = open_to_write(client, "s3://b/k", text, Layers(-1), NO_OPTIONS)
        file.write("abc" if text else b"abc")
        with striking(arrived, file.abort), pytest.raises(TransferCancelledError, match="may be there"):  # type: ignore[attr-defined]
            file.close()
        assert file.closed
        file.close()


def test_a_file_is_given_up_within_its_own_write(tmp_path: Path) -> None:
    """The interrupted call holds the lock of the buffer."""
    with s3dlio.Client() as client:
        file: Any = open_to_write(client, f"file://{tmp_path}/k", False, Layers(-1), NO_OPTIONS)
        write, arrived = file.raw._writer.write, threading.Event()
        ended = threading.Event()

        def abort() -> None:
            file.abort()
            ended.set()

        def slow(data: Any) -> int:
            arrived.set()
            while not ended.is_set():  # until the handler has run, on this thread
                signal.sigtimedwait([], 0.01)
            return int(write(data))

        file.raw._writer.write = slow
        with striking(arrived, abort), pytest.raises(S3dlioError, match="closed"):
            file.write(bytes(1 << 20))
        assert file.closed
        file.close()
        assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("scheme", ["file", "direct"])
def test_a_local_file_that_gets_its_name_meanwhile_is_said_to_be_there(
    scheme: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = Replacement.commit
    with s3dlio.Client() as client:
        writer: Any = client.create_stream_writer(f"{scheme}://{tmp_path}/k")
        writer.write(b"abc")

        def aborted(self: Replacement) -> Any:
            writer.abort()  # as a handler would
            return commit(self)

        monkeypatch.setattr(Replacement, "commit", aborted)
        with pytest.raises(TransferCancelledError, match="the file is there"):
            writer.finalize()
    assert (tmp_path / "k").read_bytes() == b"abc"
