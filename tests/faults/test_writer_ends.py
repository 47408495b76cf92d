"""The streaming writer of the clouds: however it ends, there is the whole object, or nothing at all; what is on its way
is given up at once, and every part keeps its number."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from s3dlio.config.settings import Settings
from s3dlio.engine.lanes import Lanes
from s3dlio.errors import NetworkError, S3dlioError, TransferCancelledError
from s3dlio.stores.registry import open_store
from s3dlio.stores.s3 import S3Store, orphaned_uploads
from s3dlio.stores.s3.multipart import MultipartUpload
from s3dlio.types import Observation
from s3dlio.uri import parse
from tests.servers.scripted import Action, Close, Expect, ExpectClose, Reset, ScriptedServer, Until, respond
from tests.wire.s3_harness import error, store_of

PART = 5 << 20
BEGIN = [
    Expect(b"POST /b/k?uploads= "),
    respond(body=b"<InitiateMultipartUploadResult><UploadId>U1</UploadId></InitiateMultipartUploadResult>"),
]
SENT = respond(headers=[("ETag", '"e"')])
DONE = respond(body=b"<CompleteMultipartUploadResult><ETag>&quot;e-1&quot;</ETag></CompleteMultipartUploadResult>")
ABORT = [Expect(b"DELETE /b/k?uploadId=U1 "), respond("204 No Content")]
#: A part was on its way when it was given up: the service is asked what it has.
ABORT_STRAGGLERS = [*ABORT, Expect(b"GET /b/k?max-parts=1"), error("404 Not Found", "NoSuchUpload")]


def part(number: int) -> Expect:
    return Expect(b"PUT /b/k?partNumber=%d&" % number)


@pytest.fixture
def lanes() -> Iterator[Lanes]:
    made = Lanes(64)
    yield made
    made.close()


def laned(server: ScriptedServer, lanes: Lanes, **multipart: Any) -> S3Store:
    """A store whose client has lanes, and the patience of an hour."""
    store = store_of(server.endpoint, multipart={"part_size": PART, **multipart}, http={"read_timeout": 3600.0})
    store.spare = lanes.spare
    return store


class OnArrival:
    """Expects a request, and lets the test go on when it is there."""

    def __init__(self, number: int) -> None:
        self.arrived = threading.Event()
        self.expect = Expect(lambda request: self._tell(request.target.startswith(f"/b/k?partNumber={number}&")))

    def _tell(self, as_expected: bool) -> bool:
        self.arrived.set()
        return as_expected


def silent_part() -> tuple[OnArrival, list[list[Action]]]:
    """A service that never answers to the first part, and is told of the end all the same."""
    first = OnArrival(1)
    return first, [[*BEGIN, first.expect, ExpectClose()], [*ABORT_STRAGGLERS]]


@pytest.mark.parametrize("how", ["abort", "exception", "dropped"])
def test_what_is_on_its_way_is_given_up_at_once(lanes: Lanes, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The service is silent, and may be so for an hour."""
    first, script = silent_part()
    threads: list[str] = []
    abort = MultipartUpload.abort

    def told(self: MultipartUpload) -> Any:
        threads.append(threading.current_thread().name)
        yield from abort(self)

    monkeypatch.setattr(MultipartUpload, "abort", told)
    with ScriptedServer(script) as server:
        writer = laned(server, lanes).writer("k")
        writer.write(bytes(PART))
        assert first.arrived.wait(20)
        if how == "abort":
            writer.abort()
        elif how == "exception":
            with pytest.raises(KeyError), writer:
                raise KeyError
        else:
            with pytest.warns(ResourceWarning, match="dropped without close"):
                del writer
        server.assert_consumed()
    assert threads == ["s3dlio-lane" if how == "dropped" else threading.current_thread().name]


@pytest.mark.parametrize("where", ["write", "close", "flush"])
def test_ctrl_c_gives_up_what_is_on_its_way(lanes: Lanes, where: str) -> None:
    first, script = silent_part()
    with ScriptedServer(script) as server:
        writer = laned(server, lanes, max_in_flight=1).writer("k")

        def strike() -> None:
            assert first.arrived.wait(20)
            os.kill(os.getpid(), signal.SIGINT)

        thread = threading.Thread(target=strike)

        def go_on() -> None:
            with writer:
                thread.start()
                getattr(writer, where)(*[bytes(2 * PART)] if where == "write" else [])
                thread.join()  # where the signal comes late

        writer.write(bytes(PART))
        with pytest.raises(KeyboardInterrupt):
            go_on()
        thread.join()
        server.assert_consumed()


def test_a_part_that_fails_gives_up_the_others(lanes: Lanes) -> None:
    first, second = OnArrival(1), OnArrival(2)
    script: list[list[Action]] = [
        [*BEGIN, first.expect, Until(second.arrived), error("403 Forbidden", "AccessDenied")],
        [second.expect, ExpectClose()],
        ABORT_STRAGGLERS,
    ]
    with ScriptedServer(script) as server:
        writer = laned(server, lanes).writer("k")
        writer.write(bytes(PART))
        assert first.arrived.wait(20)
        writer.write(bytes(PART))
        with pytest.raises(PermissionError) as caught:
            writer.close()
        assert isinstance(caught.value, S3dlioError)
        assert (caught.value.uri, caught.value.operation) == ("s3://b/k", "PUT")
        server.assert_consumed()


def test_a_part_that_is_sent_again_keeps_its_number(lanes: Lanes) -> None:
    script: list[list[Action]] = [
        [*BEGIN, part(1), SENT, part(2), Reset()],
        [part(2), error("503 Slow Down", "SlowDown")],
        [part(2), SENT, part(3), SENT, Expect(b"POST /b/k?uploadId=U1"), DONE],
    ]
    with ScriptedServer(script) as server:
        writer = laned(server, lanes, max_in_flight=1).writer("k")
        for letter in b"abc":
            writer.write(bytes([letter]) * PART)
        assert writer.close().size == 3 * PART
        assert writer.parts == 3
        *bodies, named = [request.body for request in (*server.requests[1], *server.requests[2])]
        assert [(body[0], len(body)) for body in bodies] == [(b, PART) for b in b"bbc"]
        assert [named.count(b"<PartNumber>%d<" % number) for number in (1, 2, 3)] == [1, 1, 1]
        server.assert_consumed()


def test_lost_lanes_are_no_lost_parts(lanes: Lanes) -> None:
    """The client was closed in the middle of a write; another lane takes the next part."""
    script: list[list[Action]] = [[*BEGIN, part(1), SENT, part(2), SENT, Expect(b"POST /b/k?uploadId=U1"), DONE]]
    with ScriptedServer(script) as server:
        writer = laned(server, lanes).writer("k")
        writer.write(bytes(PART))
        lanes.close()
        writer.write(bytes(PART))
        assert writer.close().size == 2 * PART
        server.assert_consumed()


def client_threads() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name.startswith("s3dlio")}


def test_a_store_without_lanes_sends_on_the_calling_thread() -> None:
    refused = error("403 Forbidden", "AccessDenied")
    script: list[list[Action]] = [[*BEGIN, part(1), SENT, part(2), refused, *ABORT_STRAGGLERS]]
    with ScriptedServer(script) as server:
        writer = store_of(server.endpoint, multipart={"part_size": PART}).writer("k")
        before = client_threads()
        writer.write(bytes(2 * PART))
        with pytest.raises(PermissionError):
            writer.close()
        assert client_threads() <= before
        server.assert_consumed()


_DROPPED_AT_THE_END = """
import sys
from s3dlio.client import Client
client = Client(endpoint_url=sys.argv[1], region="us-east-1", access_key_id="a", secret_access_key="b")
store, key = client.store_for("s3://b/k")
writer = store.writer(key, part_size=5 << 20)
writer.write(bytes(5 << 20))
writer.flush()
del writer
"""


def test_the_end_of_the_program_waits_for_what_a_dropped_writer_has_left() -> None:
    with ScriptedServer([[*BEGIN, part(1), SENT, *ABORT]]) as server:
        command = [sys.executable, "-W", "ignore::ResourceWarning", "-c", _DROPPED_AT_THE_END, server.endpoint]
        subprocess.run(command, check=True, timeout=60)
        server.assert_consumed()


def test_observers_hear_of_a_dropped_writer_outside_of_its_finaliser(tmp_path: Path) -> None:
    """They may take a lock that the thread holds in which the collector strikes."""
    told, heard = threading.Event(), []

    def observer(observation: Observation) -> None:
        heard.append((observation.operation, threading.current_thread().name))
        told.set()

    store, key = open_store(parse(f"file://{tmp_path}/k"), Settings.resolve({}), [observer]), f"{tmp_path}/k"
    with pytest.warns(ResourceWarning, match="dropped without close"):
        store.writer(key).write(b"data")
    assert told.wait(20)
    assert heard == [("PUT", "s3dlio-finalizer")]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt(), MemoryError()])
def test_what_an_interrupted_write_has_taken_is_not_known(
    interrupt: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Going on would make an object with a hole, or with bytes twice."""
    with ScriptedServer([[*BEGIN, Expect(b"PUT /b/k?partNumber=1"), SENT, *ABORT]]) as server:
        writer: Any = store_of(server.endpoint, multipart={"part_size": PART, "max_in_flight": 1}).writer("k")
        writer.write(bytes(PART))
        writer.flush()

        def interrupted(*_: object) -> None:
            raise interrupt

        with monkeypatch.context() as patched:
            patched.setattr(writer._sender, "settle", interrupted)
            with pytest.raises(type(interrupt)):
                writer.write(bytes(PART))
        with pytest.raises(S3dlioError if isinstance(interrupt, KeyboardInterrupt) else MemoryError):
            writer.close()
        with pytest.raises(S3dlioError, match="closed"):
            writer.write(b"more")
        server.assert_consumed()


def test_an_upload_that_does_not_begin_takes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(orphaned_uploads, "_LATE", (0.001, 0.001))
    look = [Expect(b"GET /b/?prefix=k&uploads= "), respond(body=b"<ListMultipartUploadsResult/>")] * 3
    with ScriptedServer([*([Expect(b"POST /b/k?uploads= "), Close()] for _ in range(3)), look]) as server:
        writer = store_of(server.endpoint, multipart={"part_size": PART}).writer("k")
        with pytest.raises(NetworkError):
            writer.write(bytes(PART))
        with pytest.raises(NetworkError):
            writer.close()
        server.assert_consumed()


@contextlib.contextmanager
def _on_signal(act: Callable[[], None]) -> Iterator[None]:
    before = signal.signal(signal.SIGUSR1, lambda *_: act())
    try:
        yield
    finally:
        signal.signal(signal.SIGUSR1, before)


@pytest.mark.parametrize("where", ["write", "close", "flush"])
def test_a_signal_handler_aborts_what_waits_for_parts(lanes: Lanes, where: str) -> None:
    """The handler takes the ends of the parts that the interrupted call waits for, which has to end all the same."""
    first, script = silent_part()
    with ScriptedServer(script) as server:
        writer = laned(server, lanes, max_in_flight=1).writer("k")

        def strike() -> None:
            assert first.arrived.wait(20)
            os.kill(os.getpid(), signal.SIGUSR1)

        def go_on() -> None:
            thread.start()
            getattr(writer, where)(*[bytes(2 * PART)] if where == "write" else [])
            thread.join()  # or after it
            writer.close()

        writer.write(bytes(PART))
        thread = threading.Thread(target=strike)
        late = "the writer is closed"  # the signal came before the call
        with _on_signal(writer.abort), pytest.raises(S3dlioError, match=f"s3://b/k: (the write was aborted|{late})"):
            go_on()
        with pytest.raises(S3dlioError, match="closed"):
            writer.write(b"x")
        server.assert_consumed()


def test_an_abort_while_the_object_is_made_says_that_it_may_be_there(lanes: Lanes) -> None:
    made = threading.Event()

    def arrived(request: Any) -> bool:
        made.set()
        return True

    looked = [Expect(b"HEAD /b/k "), respond("404 Not Found")]
    script: list[list[Action]] = [[*BEGIN, part(1), SENT, Expect(arrived), ExpectClose()], [*looked], [*ABORT]]
    with ScriptedServer(script) as server:
        writer = laned(server, lanes).writer("k")
        writer.write(bytes(PART))
        writer.flush()

        def strike() -> None:
            assert made.wait(20)
            os.kill(os.getpid(), signal.SIGUSR1)

        thread = threading.Thread(target=strike)
        thread.start()
        with _on_signal(writer.abort), pytest.raises(TransferCancelledError, match="the object may be there"):
            writer.close()
        thread.join()
        server.assert_consumed()
