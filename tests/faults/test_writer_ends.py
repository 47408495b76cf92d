"""The streaming writer of the clouds: however it ends, there is the whole object, or nothing at all."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from s3dlio.config.settings import Settings
from s3dlio.errors import NetworkError, S3dlioError
from s3dlio.stores.registry import open_store
from s3dlio.stores.s3 import orphaned_uploads
from s3dlio.stores.s3.multipart import MultipartUpload
from s3dlio.types import Observation
from s3dlio.uri import parse
from tests.servers.scripted import Close, Expect, ScriptedServer, Until, respond
from tests.wire.s3_harness import store_of

PART = 5 << 20
BEGIN = [
    Expect(b"POST /b/k?uploads= "),
    respond(body=b"<InitiateMultipartUploadResult><UploadId>U1</UploadId></InitiateMultipartUploadResult>"),
]
SENT = respond(headers=[("ETag", '"e"')])
ABORT = [Expect(b"DELETE /b/k?uploadId=U1 "), respond("204 No Content")]


def test_a_writer_that_is_dropped_while_its_part_is_on_the_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread of the part is then the last to know the writer."""
    dropped, aborted = threading.Event(), threading.Event()
    threads: list[threading.Thread] = []
    abort = MultipartUpload.abort

    def told(self: MultipartUpload) -> Any:
        threads.append(threading.current_thread())
        yield from abort(self)
        aborted.set()

    monkeypatch.setattr(MultipartUpload, "abort", told)
    with ScriptedServer([[*BEGIN, Expect(b"PUT /b/k?partNumber=1"), Until(dropped), SENT, *ABORT]]) as server:
        writer = store_of(server.endpoint, multipart={"part_size": PART}).writer("k")
        writer.write(bytes(PART))
        del writer
        dropped.set()
        assert aborted.wait(20)
        server.assert_consumed()
    assert [thread.name for thread in threads] == ["s3dlio-finalizer"]


def test_observers_hear_of_a_dropped_writer_outside_of_its_finaliser(tmp_path: Path) -> None:
    """They may take a lock that the thread holds in which the collector strikes."""
    told, heard = threading.Event(), []

    def observer(observation: Observation) -> None:
        heard.append((observation.operation, threading.current_thread().name))
        told.set()

    store, key = open_store(parse(f"file://{tmp_path}/k"), Settings.resolve({}), [observer]), f"{tmp_path}/k"
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

        def interrupted() -> None:
            raise interrupt

        with monkeypatch.context() as patched:
            patched.setattr(writer._slots, "acquire", interrupted)
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
