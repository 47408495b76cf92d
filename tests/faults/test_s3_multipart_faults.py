"""Uploads in parts under faults: one object or none, no part left behind, replies that got lost looked up."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from s3dlio.engine.admission import Admission
from s3dlio.engine.batch import run_calls
from s3dlio.engine.cancel import CancelToken
from s3dlio.engine.executor import InlineExecutor
from s3dlio.errors import (
    AlreadyExistsError,
    NetworkError,
    PermissionDeniedError,
    S3dlioError,
    ServiceError,
    TransferCancelledError,
)
from s3dlio.memory import crc32c
from s3dlio.net import blocking, lane
from s3dlio.stores.s3 import S3Store
from s3dlio.types import Conditions, PutOptions
from tests.servers import Server
from tests.servers.proxy import Fault, FaultProxy
from tests.servers.scripted import Close, Expect, ReceivedRequest, Reset, ScriptedServer, Send, respond
from tests.wire.s3_harness import error, store_of

MIB = 1 << 20
PARTS = {"threshold": 5 * MIB, "part_size": 5 * MIB, "max_in_flight": 2}
DATA = bytes(6 * MIB)

BEGUN = respond(body=b"<InitiateMultipartUploadResult><UploadId>U1</UploadId></InitiateMultipartUploadResult>")
BEGIN = [Expect(b"POST /b/k?uploads= "), BEGUN]
COMPLETE = Expect(b"POST /b/k?uploadId=U1 ")
ABORT = [Expect(b"DELETE /b/k?uploadId=U1 "), respond("204 No Content")]
MD5S = [hashlib.md5(DATA[: 5 * MIB]), hashlib.md5(DATA[5 * MIB :])]
WHOLE_ETAG = hashlib.md5(b"".join(md5.digest() for md5 in MD5S)).hexdigest() + "-2"
DONE = respond(
    body=f'<CompleteMultipartUploadResult><ETag>"{WHOLE_ETAG}"</ETag></CompleteMultipartUploadResult>'.encode()
)


def uploading(*rest: Any, options: PutOptions | None = None) -> Any:
    """A small scripted exchange of one writer: begin, two parts one after another, and ``rest`` on one connection."""
    parts: list[Any] = []
    for number, md5 in enumerate(MD5S, 1):
        answer = respond(headers=[("ETag", f'"{md5.hexdigest()}"')])
        parts += [Expect(f"PUT /b/k?partNumber={number}&uploadId=U1 ".encode()), answer]
    return [*BEGIN, *parts, *rest]


def put(store: S3Store, options: PutOptions | None = None) -> Any:
    return store.put("k", DATA, options=options or PutOptions())


def serial(endpoint: str) -> S3Store:
    """One part at a time, so that a script can say what comes next."""
    return store_of(endpoint, multipart=PARTS | {"max_in_flight": 1})


def found(etag: str = WHOLE_ETAG, size: int = len(DATA)) -> Send:
    return Send(f'HTTP/1.1 200 OK\r\nETag: "{etag}"\r\nContent-Length: {size}\r\n\r\n'.encode())


HEAD = Expect(b"HEAD /b/k ")


def test_parts_become_one_object() -> None:
    with ScriptedServer([uploading(COMPLETE, DONE)]) as server:
        result = put(serial(server.endpoint))
        assert (result.etag, result.size) == (f'"{WHOLE_ETAG}"', len(DATA))
        server.assert_consumed()


def test_another_root_element_is_understood() -> None:
    other = respond(
        body=DONE.data[DONE.data.index(b"\r\n\r\n") + 4 :].replace(
            b"CompleteMultipartUploadResult", b"CompleteMultipartUpload"
        )
    )
    with ScriptedServer([uploading(COMPLETE, other)]) as server:
        assert put(serial(server.endpoint)).etag == f'"{WHOLE_ETAG}"'
        server.assert_consumed()


def test_an_error_that_comes_with_200() -> None:
    with ScriptedServer([uploading(COMPLETE, error("200 OK", "InvalidPart"), *ABORT)]) as server:
        with pytest.raises(ServiceError) as caught:
            put(serial(server.endpoint))
        assert caught.value.code == "InvalidPart"
        server.assert_consumed()


def test_a_transient_error_that_comes_with_200_is_tried_again() -> None:
    with ScriptedServer([uploading(COMPLETE, error("200 OK", "InternalError"), COMPLETE, DONE)]) as server:
        assert put(serial(server.endpoint)).etag == f'"{WHOLE_ETAG}"'
        server.assert_consumed()


def test_blanks_before_the_answer() -> None:
    body = b" \n" * 1000 + DONE.data[DONE.data.index(b"\r\n\r\n") + 4 :]
    with ScriptedServer([uploading(COMPLETE, respond(body=body))]) as server:
        assert put(serial(server.endpoint)).etag == f'"{WHOLE_ETAG}"'
        server.assert_consumed()


@pytest.mark.parametrize("again", [error("404 Not Found", "NoSuchUpload"), DONE], ids=["gone", "done again"])
def test_a_lost_reply_is_looked_up(again: Send) -> None:
    looked = [] if again is DONE else [HEAD, found()]
    with ScriptedServer([uploading(COMPLETE, Reset()), [COMPLETE, again, *looked]]) as server:
        assert put(serial(server.endpoint)).etag == f'"{WHOLE_ETAG}"'
        server.assert_consumed()


@pytest.mark.parametrize(
    "seen",
    [found(etag="0" * 32 + "-2"), found(size=5), respond("404 Not Found", length=True), respond("403 Forbidden")],
    ids=["another object", "another size", "nothing", "not allowed to look"],
)
def test_a_lost_reply_of_what_is_not_there(seen: Send) -> None:
    gone = error("404 Not Found", "NoSuchUpload")
    seen = Send(seen.data[: seen.data.index(b"\r\n\r\n") + 4])
    with ScriptedServer([uploading(COMPLETE, Reset()), [COMPLETE, gone, HEAD, seen, *ABORT]]) as server:
        with pytest.raises(S3dlioError) as caught:
            put(serial(server.endpoint))
        assert caught.value.code == "NoSuchUpload"
        server.assert_consumed()


def test_replies_that_stay_lost_are_looked_up() -> None:
    lost = [COMPLETE, Close()]
    with ScriptedServer([uploading(*lost), lost, lost, lost, [HEAD, found()]]) as server:
        assert put(serial(server.endpoint)).etag == f'"{WHOLE_ETAG}"'
        server.assert_consumed()


@pytest.mark.parametrize("body", [b"", b"<html>", b"<CompleteMultipartUploadResult/>"])
def test_an_answer_that_says_nothing_is_looked_up(body: bytes) -> None:
    with ScriptedServer([uploading(COMPLETE, respond(body=body), HEAD, found())]) as server:
        assert put(serial(server.endpoint)).etag == f'"{WHOLE_ETAG}"'
        server.assert_consumed()


def test_a_create_only_upload_meets_itself_after_a_lost_reply() -> None:
    create = PutOptions(conditions=Conditions(if_none_match="*"))
    there = error("412 Precondition Failed", "PreconditionFailed")
    # The same bytes prove nothing, since another may have written them; tests of conditional writes tell of the mark.
    with ScriptedServer([uploading(COMPLETE, Reset()), [COMPLETE, there, HEAD, found(), *ABORT]]) as server:
        with pytest.raises(AlreadyExistsError, match="another writer"):
            put(serial(server.endpoint), create)
        server.assert_consumed()
    with ScriptedServer([uploading(COMPLETE, there, *ABORT)]) as server:
        with pytest.raises(AlreadyExistsError):
            put(serial(server.endpoint), create)
        server.assert_consumed()


GATEWAY = respond("504 Gateway Timeout")
INTERNAL = error("200 OK", "InternalError")


@pytest.mark.parametrize("answer", [GATEWAY, INTERNAL], ids=["504", "200 InternalError"])
def test_errors_that_leave_it_open_are_looked_up(answer: Send) -> None:
    """The service went on behind the gateway that gave up: the object is there, and nothing is to be aborted."""
    with ScriptedServer([uploading(*[COMPLETE, answer] * 3, HEAD, found())]) as server:
        assert put(serial(server.endpoint)).etag == f'"{WHOLE_ETAG}"'
        server.assert_consumed()
    with ScriptedServer([uploading(*[COMPLETE, answer] * 3, HEAD, found(size=5), *ABORT)]) as server:
        with pytest.raises(ServiceError):
            put(serial(server.endpoint))
        server.assert_consumed()


def test_a_lost_reply_where_etags_are_no_md5s_is_looked_up_by_checksum() -> None:
    crc = crc32c.to_base64(crc32c.crc32c(DATA))
    key = PutOptions(sse_customer_key=b"k" * 32)

    def has_key_and_checksum(seen: ReceivedRequest) -> bool:
        fields = seen.headers
        return "x-amz-server-side-encryption-customer-key" in fields and fields["x-amz-checksum-crc32c"] == crc

    def asks(seen: ReceivedRequest) -> bool:
        fields = seen.headers
        asks_for_checksum = fields["x-amz-checksum-mode"] == "ENABLED"
        return asks_for_checksum and "x-amz-server-side-encryption-customer-key" in fields

    head = f'HTTP/1.1 200 OK\r\nETag: "kms"\r\nContent-Length: {len(DATA)}\r\nx-amz-checksum-crc32c: {crc}\r\n\r\n'
    gone = error("404 Not Found", "NoSuchUpload")
    script = uploading(Expect(has_key_and_checksum), gone, Expect(asks), Send(head.encode()))
    with ScriptedServer([script]) as server:
        checked = {"request_checksum_calculation": "when_supported"}
        store = store_of(server.endpoint, multipart=PARTS | {"max_in_flight": 1}, s3=checked)
        assert put(store, key).etag == '"kms"'
        server.assert_consumed()


LOOK = Expect(b"GET /b/k?max-parts=1&uploadId=U1 ")
STRAGGLER = respond(body=b"<ListPartsResult><Part><PartNumber>1</PartNumber></Part></ListPartsResult>")
GONE = error("404 Not Found", "NoSuchUpload")


@pytest.mark.parametrize("late", [0, 1, 2])
def test_a_refused_part_aborts_until_no_part_is_left(late: int) -> None:
    """Parts that were on their way may be stored after the first abort."""
    refused = [Expect(b"PUT"), error("403 Forbidden", "AccessDenied")]
    again = [*ABORT, LOOK, STRAGGLER] * late
    with ScriptedServer([[*BEGIN, *refused, *again, *ABORT, LOOK, GONE]]) as server:
        with pytest.raises(PermissionDeniedError):
            put(serial(server.endpoint))
        server.assert_consumed()


def test_parts_that_do_not_go_are_told(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("s3dlio.stores.s3.orphaned_uploads._PAUSES", (0.0, 0.0))
    refused = [Expect(b"PUT"), error("403 Forbidden", "AccessDenied")]
    with ScriptedServer([[*BEGIN, *refused, *[*ABORT, LOOK, STRAGGLER] * 2]]) as server:
        with pytest.raises(PermissionDeniedError):
            put(serial(server.endpoint))
        assert "still has parts" in caplog.text
        server.assert_consumed()


def test_who_may_not_look_has_aborted_all_the_same() -> None:
    denied = error("403 Forbidden", "AccessDenied")
    with ScriptedServer([[*BEGIN, Expect(b"PUT"), denied, *ABORT, LOOK, denied]]) as server:
        with pytest.raises(PermissionDeniedError):
            put(serial(server.endpoint))
        server.assert_consumed()


def test_an_abort_that_fails_is_reported_and_hides_nothing(caplog: pytest.LogCaptureFixture) -> None:
    refused = error("403 Forbidden", "AccessDenied")
    script = uploading(COMPLETE, error("400 Bad", "InvalidPart"), Expect(b"DELETE"), refused)
    with ScriptedServer([script]) as server:
        with pytest.raises(ServiceError) as caught:
            put(serial(server.endpoint))
        assert caught.value.code == "InvalidPart"
        assert "could not be aborted" in caplog.text
        server.assert_consumed()


# -- on a real server: no parts are left behind


@pytest.fixture
def proxied(moto_server: Server) -> Iterator[tuple[FaultProxy, S3Store]]:
    """A store on moto behind a proxy, and its bucket."""
    with FaultProxy(moto_server.endpoint) as proxy:
        store = store_of(proxy.endpoint, f"parts-{time.time_ns()}", multipart=PARTS, retry={"max_attempts": 5})
        store.create_container()
        yield proxy, store


def open_uploads(store: S3Store) -> int:
    def steps() -> Any:
        return (yield from store.service.send(store.service.request("GET", "", "uploads="), ""))

    return bytes(blocking.drive(steps()).body).count(b"<UploadId>")


def stop_at_part(monkeypatch: pytest.MonkeyPatch, number: int, what: Callable[[], None]) -> None:
    """Do something when part ``number`` is made."""
    from s3dlio.stores.s3 import multipart

    real = multipart.MultipartUpload.part

    def part(self: Any, at: int, *args: Any) -> Any:
        if at == number:
            what()
        return real(self, at, *args)

    monkeypatch.setattr(multipart.MultipartUpload, "part", part)


def interrupt() -> None:
    raise KeyboardInterrupt


def test_faults_on_the_way_do_not_show(proxied: tuple[FaultProxy, S3Store], monkeypatch: pytest.MonkeyPatch) -> None:
    proxy, store = proxied
    data = bytes(range(256)) * 4096 * 21
    stop_at_part(monkeypatch, 2, lambda: proxy.plan(Fault(reset=True), Fault(cut_after=10)))
    store.put("k", data)
    assert store.get("k") == data
    assert open_uploads(store) == 0
    proxy.assert_planned_faults_happened()


def interrupted_write(store: S3Store) -> None:
    with store.writer("k", part_size=5 * MIB) as writer:
        writer.write(bytes(21 * MIB))
        interrupt()


def interrupted_batch(store: S3Store) -> None:
    run_calls(
        [store.put_call(f"k{number}", bytes(21 * MIB)) for number in range(3)],
        admission=Admission(4),
        on_done=lambda index, result, failure: None,
        cancel=CancelToken(),
        executor=InlineExecutor(),
    )


WAYS: dict[str, Callable[[S3Store], object]] = {
    "put": lambda store: store.put("k", bytes(21 * MIB)),
    "writer": interrupted_write,
    "batch": interrupted_batch,
}


@pytest.mark.parametrize("way", WAYS)
def test_ctrl_c_leaves_no_parts(way: str, proxied: tuple[FaultProxy, S3Store], monkeypatch: pytest.MonkeyPatch) -> None:
    _, store = proxied
    if way != "writer":
        stop_at_part(monkeypatch, 4, interrupt)
    with pytest.raises(KeyboardInterrupt):
        WAYS[way](store)
    assert open_uploads(store) == 0
    assert [key for listed in store.list() for key in listed.keys] == []


def test_a_cancelled_batch_leaves_no_parts(
    proxied: tuple[FaultProxy, S3Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, store = proxied
    token = CancelToken()
    failures: list[BaseException | None] = []

    monkeypatch.setattr(lane, "_CHECK_SECONDS", 0.0)  # it looks at its token before every turn
    stop_at_part(monkeypatch, 3, lambda: token.cancel("enough"))
    run_calls(
        [store.put_call("k", bytes(41 * MIB))],
        admission=Admission(2),
        on_done=lambda index, result, failure: failures.append(failure),
        cancel=token,
        executor=InlineExecutor(),
    )
    assert [type(failure) for failure in failures] == [TransferCancelledError]
    assert open_uploads(store) == 0


def test_a_server_that_goes_away(proxied: tuple[FaultProxy, S3Store], monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing can be aborted then: the error is that of the network, not that of the abort."""
    proxy, store = proxied
    stop_at_part(monkeypatch, 3, proxy.stop)
    with pytest.raises(NetworkError):
        store.put("k", bytes(21 * MIB))
