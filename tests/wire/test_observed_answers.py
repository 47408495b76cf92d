"""What observers are told of requests that were tried again, of parts, and of servers that never answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from s3dlio.errors import NetworkError, S3dlioError
from s3dlio.memory.sinks import MemorySink
from s3dlio.oplog.control import finalize_op_log, init_op_log
from s3dlio.oplog.reader import read_op_log
from s3dlio.stores.s3 import S3Store
from s3dlio.types import Observation
from tests.servers.scripted import Close, Expect, ScriptedServer, respond
from tests.wire.s3_harness import error, read, store_of


def observed(endpoint: str, **sections: Any) -> tuple[S3Store, list[Observation]]:
    store = store_of(endpoint, **sections)
    seen: list[Observation] = []
    store.observers = (seen.append,)
    return store, seen


@pytest.mark.parametrize("lane", [False, True])
def test_tries_are_counted(lane: bool) -> None:
    busy = error("503 Slow Down", "SlowDown")
    with ScriptedServer([[Expect(b"GET /b/k "), busy, Expect(b"GET /b/k "), respond(body=b"x")]]) as server:
        store, seen = observed(server.endpoint)
        read(store, "k", MemorySink(), lane=lane)
        (told,) = seen
        assert (told.attempts, told.status, told.endpoint) == (2, 200, f"127.0.0.1:{server.port}")
        server.assert_consumed()


@pytest.mark.parametrize("lane", [False, True])
def test_the_last_status_of_a_failure_is_told(lane: bool) -> None:
    busy = error("503 Slow Down", "SlowDown")
    with ScriptedServer([[Expect(b"GET /b/k "), busy] * 3]) as server:
        store, seen = observed(server.endpoint)
        with pytest.raises(S3dlioError):
            read(store, "k", MemorySink(), lane=lane)
        (told,) = seen
        assert (told.attempts, told.status, told.endpoint) == (3, 503, f"127.0.0.1:{server.port}")


@pytest.mark.parametrize("lane", [False, True])
def test_a_server_that_never_answers_has_no_status(lane: bool) -> None:
    with ScriptedServer([[Expect(b"GET /b/k "), Close()]] * 3) as server:
        store, seen = observed(server.endpoint)
        with pytest.raises(NetworkError):
            read(store, "k", MemorySink(), lane=lane)
        (told,) = seen
        assert (told.attempts, told.status, told.endpoint) == (3, None, f"127.0.0.1:{server.port}")


def test_a_write_in_parts_is_one_operation() -> None:
    begun = respond(body=b"<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>")
    part, busy = respond(headers=[("ETag", '"p"')]), error("503 Slow Down", "SlowDown")
    done = respond(body=b"<CompleteMultipartUploadResult><ETag>e</ETag></CompleteMultipartUploadResult>")
    script = [Expect(b"POST /b/k?uploads="), begun, Expect(b"PUT /b/k?partNumber=1"), busy,
              Expect(b"PUT /b/k?partNumber=1"), part, Expect(b"POST /b/k?uploadId=u"), done]  # fmt: skip
    with ScriptedServer([script]) as server:
        store, seen = observed(server.endpoint)
        with store.writer("k", part_size=5 << 20) as writer:
            writer.write(bytes(5 << 20))
        (told,) = seen
        assert (told.operation, told.bytes, told.attempts, told.status) == ("PUT", 5 << 20, 2, 200)
        server.assert_consumed()


def test_an_operation_is_the_same_with_observers() -> None:
    """Also where it is given up in the middle."""
    with ScriptedServer([[Expect(b"GET /b/k ")]]) as server:
        store, seen = observed(server.endpoint)
        steps = store.read_call("k", MemorySink()).steps()
        next(steps)
        steps.close()
        (told,) = seen
        assert told.status is None
        assert "given up" in str(told.error)


@pytest.mark.parametrize("form", ["tsv", "warp", "jsonl"])
@pytest.mark.parametrize("lane", [False, True])
def test_the_op_log_has_each_read_once_with_what_it_took(tmp_path: Path, form: str, lane: bool) -> None:
    busy, part = error("503 Slow Down", "SlowDown"), respond("206 Partial Content", body=b"xy", headers=[
        ("Content-Range", "bytes 3-4/10")])  # fmt: skip
    script = [Expect(b"GET /b/k "), busy, Expect(b"GET /b/k "), respond(body=b"x"), Expect(b"GET /b/k "), part,
              Expect(b"GET /b/k "), error("404 Not Found", "NoSuchKey")]  # fmt: skip
    with ScriptedServer([script]) as server:
        store = store_of(server.endpoint)
        init_op_log(tmp_path / "log", format=form)
        try:
            read(store, "k", MemorySink(), lane=lane)
            read(store, "k", MemorySink(), lane=lane, offset=3, length=2)
            with pytest.raises(S3dlioError) as caught:
                read(store, "k", MemorySink(), lane=lane)
        finally:
            finalize_op_log()
        server.assert_consumed()
    rows = list(read_op_log(tmp_path / "log"))
    assert [(row["op"], row["bytes"]) for row in rows] == [("GET", 1), ("GET_RANGE", 2), ("GET", 0)]
    assert [row["error"] for row in rows] == ["", "", str(caught.value)]
    assert all(row["start"] <= row["first_byte"] <= row["end"] for row in rows[:2])
    place = f"127.0.0.1:{server.port}"
    expected = {"tsv": "s3://b", "warp": f"http://{place}", "jsonl": place}
    assert {row["endpoint"] for row in rows} == {expected[form]}
    if form == "jsonl":
        assert [(row["attempts"], row["status"]) for row in rows] == [(2, 200), (1, 206), (1, 404)]
        assert [row["range"] for row in rows] == ["", "3-4", ""]
