"""Replies to CreateMultipartUpload that get lost: what they leave open is looked for, and nothing else is touched."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

import pytest

from s3dlio.errors import ConfigError, NetworkError, PermissionDeniedError, ProtocolError
from s3dlio.net import blocking
from s3dlio.stores.s3 import S3Store, orphaned_uploads
from s3dlio.stores.s3.multipart import MultipartUpload
from s3dlio.types import PutOptions
from tests.faults.test_s3_multipart_faults import (
    ABORT,
    BEGIN,
    COMPLETE,
    DATA,
    DONE,
    PARTS,
    WHOLE_ETAG,
    open_uploads,
    serial,
    uploading,
)
from tests.servers import Server
from tests.servers.base import hold_port, port_of
from tests.servers.proxy import Fault, FaultProxy
from tests.servers.scripted import Close, Expect, Reset, ScriptedServer, Send, respond
from tests.wire.s3_harness import error, store_of

CREATE = Expect(b"POST /b/k?uploads= ")
LOOK = Expect(b"GET /b/?prefix=k&uploads= ")
NOW = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
LONG_AGO = "2010-11-10T20:48:33.000Z"


@pytest.fixture(autouse=True)
def _any_time_of_this_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(orphaned_uploads, "_COARSE_SECONDS", 3600.0)
    monkeypatch.setattr(orphaned_uploads, "_LATE", (0.001, 0.001))


def uploads(*found: tuple[str, str, str]) -> Send:
    """The answer that lists open uploads: key, upload id, when they were begun."""
    items = "".join(
        f"<Upload><Key>{key}</Key><UploadId>{upload}</UploadId><Initiated>{begun}</Initiated></Upload>"
        for key, upload, begun in found
    )
    body = f"<ListMultipartUploadsResult>{items}</ListMultipartUploadsResult>"
    date = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime())
    return respond(body=body.encode(), headers=[("Date", date)])


def parts(upload: str, *, some: bool = False) -> list[Any]:
    body = b"<ListPartsResult>%s</ListPartsResult>" % (b"<Part><PartNumber>1</PartNumber></Part>" if some else b"")
    return [Expect(f"GET /b/k?max-parts=1&uploadId={upload} ".encode()), respond(body=body)]


def aborted(upload: str) -> list[Any]:
    return [Expect(f"DELETE /b/k?uploadId={upload} ".encode()), respond("204 No Content")]


FOUND = uploads(
    ("k", "LOST", NOW), ("k", "U1", NOW), ("k", "BUSY", NOW), ("k", "OLD", LONG_AGO), ("k", "ODD", "soon"),
    ("k2", "OTHER", NOW),
)  # fmt: skip
LOOKED = [LOOK, FOUND, *parts("LOST"), *parts("BUSY", some=True), *aborted("LOST")]


def write(store: S3Store, streaming: bool) -> str | None:
    if not streaming:
        return store.put("k", DATA).etag
    writer = store.writer("k")
    writer.write(DATA)
    return writer.close().etag


@pytest.mark.parametrize("streaming", [False, True])
def test_what_a_lost_reply_left_open_is_aborted(streaming: bool) -> None:
    with ScriptedServer([[CREATE, Reset()], uploading(COMPLETE, DONE, *LOOKED)]) as server:
        assert write(serial(server.endpoint), streaming) == f'"{WHOLE_ETAG}"'
        server.assert_consumed()


def test_a_second_try_after_a_stale_connection_is_in_doubt_too() -> None:
    head = [Expect(b"HEAD"), respond(body=b"")]
    with ScriptedServer([[*head, CREATE, Reset()], uploading(COMPLETE, DONE, *LOOKED)]) as server:
        store = serial(server.endpoint)
        store.head("k")
        assert write(store, False) == f'"{WHOLE_ETAG}"'
        server.assert_consumed()


def test_after_an_upload_that_fails_later(caplog: pytest.LogCaptureFixture) -> None:
    refused = [Expect(b"PUT"), error("403 Forbidden", "AccessDenied")]
    gone = [Expect(b"GET /b/k?max-parts=1&uploadId=U1 "), error("404 Not Found", "NoSuchUpload")]
    with ScriptedServer([[CREATE, Reset()], [*BEGIN, *refused, *ABORT, *gone, *LOOKED]]) as server:
        with pytest.raises(PermissionDeniedError):
            write(serial(server.endpoint), False)
        server.assert_consumed()


@pytest.mark.parametrize("streaming", [False, True])
def test_replies_that_stay_lost(streaming: bool) -> None:
    lost = [[CREATE, Close()]] * 3
    look = [LOOK, uploads(("k", "A", NOW), ("k", "B", NOW)), *parts("A"), *parts("B"), *aborted("A"), *aborted("B")]
    with ScriptedServer([*lost, [*look, *[LOOK, uploads()] * 2]]) as server:
        with pytest.raises(NetworkError):
            write(serial(server.endpoint), streaming)
        server.assert_consumed()


@pytest.mark.parametrize("streaming", [False, True])
def test_the_try_after_a_stale_connection_counts(streaming: bool) -> None:
    """Each of the requests may have made an upload, the one that was sent again in silence too."""
    head = [Expect(b"HEAD"), respond(body=b"")]
    lost = [[*head, CREATE, Close()], *[[CREATE, Close()]] * 3]
    ids = ("A", "B", "C", "D")
    look = [LOOK, uploads(*((("k", name, NOW)) for name in ids)), *(step for name in ids for step in parts(name))]
    with ScriptedServer([*lost, [*look, *(step for name in ids for step in aborted(name))]]) as server:
        store = serial(server.endpoint)
        store.head("k")
        with pytest.raises(NetworkError) as caught:
            write(store, streaming)
        assert caught.value.attempts == 4
        server.assert_consumed()


def test_an_upload_that_lands_after_the_first_look_is_found_by_a_later_one() -> None:
    late = [LOOK, uploads(), LOOK, uploads(("k", "A", NOW)), *parts("A"), *aborted("A")]
    with ScriptedServer([[CREATE, Close()], late]) as server:
        store = store_of(server.endpoint, multipart=PARTS, retry={"max_attempts": 1})
        with pytest.raises(NetworkError):
            write(store, False)
        server.assert_consumed()


def test_an_answer_without_an_upload_is_in_doubt() -> None:
    look = [LOOK, uploads(("k", "A", NOW)), *parts("A"), *aborted("A")]
    with ScriptedServer([[CREATE, respond(body=b"<html>"), *look]]) as server:
        with pytest.raises(ProtocolError, match="names no upload"):
            write(serial(server.endpoint), False)
        server.assert_consumed()


def test_a_refusal_leaves_nothing_to_look_for() -> None:
    with ScriptedServer([[CREATE, error("403 Forbidden", "AccessDenied")]]) as server:
        with pytest.raises(PermissionDeniedError):
            write(serial(server.endpoint), False)
        server.assert_consumed()


def test_nobody_is_asked_where_nobody_is() -> None:
    asked: list[str] = []
    with hold_port() as holder:
        steps = MultipartUpload(serial(f"http://127.0.0.1:{port_of(holder)}").service, "k", PutOptions()).begin()
        with pytest.raises(NetworkError):
            blocking.drive(_noting(steps, asked))
    assert asked == ["POST"]


def _noting(steps: Any, asked: list[str]) -> Any:
    """The same operation; the methods of its requests are kept."""
    answer, failure = None, None
    while True:
        try:
            request = steps.send(answer) if failure is None else steps.throw(failure)
        except StopIteration as stop:
            return stop.value
        asked.append(request.method)
        answer, failure = None, None
        try:
            answer = yield request
        except Exception as error:
            failure = error


def test_a_look_that_is_refused_is_told_and_harms_nothing(caplog: pytest.LogCaptureFixture) -> None:
    look = [LOOK, error("403 Forbidden", "AccessDenied")]
    with ScriptedServer([[CREATE, Reset()], uploading(COMPLETE, DONE, *look)]) as server:
        assert write(serial(server.endpoint), False) == f'"{WHOLE_ETAG}"'
        assert "may be left open" in caplog.text
        server.assert_consumed()


def test_what_was_begun_at_another_time_is_not_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(orphaned_uploads, "_COARSE_SECONDS", 2.0)
    begun = [datetime.fromtimestamp(time.time() + away, UTC).isoformat() for away in (-3600, 3600)]
    look = [LOOK, uploads(("k", "BEFORE", begun[0]), ("k", "AFTER", begun[1]))]
    with ScriptedServer([[CREATE, Reset()], uploading(COMPLETE, DONE, *look)]) as server:
        write(serial(server.endpoint), False)
        server.assert_consumed()


def test_more_than_we_can_have_made_are_left_alone(caplog: pytest.LogCaptureFixture) -> None:
    """One reply was lost, and there are two empty uploads: one of them is somebody else's."""
    look = [LOOK, uploads(("k", "A", NOW), ("k", "B", NOW)), *parts("A"), *parts("B")]
    with ScriptedServer([[CREATE, Reset()], uploading(COMPLETE, DONE, *look)]) as server:
        assert write(serial(server.endpoint), False) == f'"{WHOLE_ETAG}"'
        assert "cannot be told" in caplog.text
        server.assert_consumed()


def test_what_this_process_was_told_of_is_no_orphan() -> None:
    """Another writer of the same object, which has sent no part yet."""
    theirs = respond(body=b"<InitiateMultipartUploadResult><UploadId>U2</UploadId></InitiateMultipartUploadResult>")
    first = [CREATE, theirs, CREATE, Reset()]
    look = [LOOK, uploads(("k", "U2", NOW), ("k", "LOST", NOW)), *parts("LOST"), *aborted("LOST")]
    with ScriptedServer([first, uploading(COMPLETE, DONE, *look)]) as server:
        store = serial(server.endpoint)
        blocking.drive(MultipartUpload(store.service, "k", PutOptions()).begin())
        assert write(store, False) == f'"{WHOLE_ETAG}"'
        server.assert_consumed()


@pytest.mark.parametrize("half", ["access_key_id", "secret_access_key"])
def test_what_was_never_asked_for_is_not_looked_for(half: str, caplog: pytest.LogCaptureFixture) -> None:
    with ScriptedServer([[]]) as server, pytest.raises(ConfigError):
        write(store_of(server.endpoint, s3={half: ""}, multipart=PARTS), False)
    assert "left open" not in caplog.text


def test_on_a_real_server(swift_server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(orphaned_uploads, "_COARSE_SECONDS", 2.0)
    env = swift_server.env
    keys = {"access_key_id": env["AWS_ACCESS_KEY_ID"], "secret_access_key": env["AWS_SECRET_ACCESS_KEY"]}
    bucket = f"lost-{time.time_ns()}"
    store_of(swift_server.endpoint, bucket, s3=keys).create_container()
    with FaultProxy(swift_server.endpoint) as proxy:
        proxy.plan(Fault(cut_after=10))  # the reply to the first request of the upload
        store = store_of(proxy.endpoint, bucket, s3=keys, multipart=PARTS)
        store.put("k", DATA)
        proxy.assert_planned_faults_happened()
        assert store.get("k") == DATA
        assert open_uploads(store) == 0
