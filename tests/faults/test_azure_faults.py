"""What Azure may answer, or leave unanswered, and what comes of it: the recovery or the typed error, and no success
that is none. The server is scripted after the documentation of the service."""

from __future__ import annotations

import email.utils
import re
import time
from collections.abc import Callable
from typing import Any

import pytest

from s3dlio import errors
from s3dlio.config.settings import Settings
from s3dlio.memory.sources import MemorySource
from s3dlio.net.lane import Lane
from s3dlio.stores.azure import AzureStore
from s3dlio.stores.registry import open_store
from s3dlio.types import Conditions, PutOptions
from s3dlio.uri import parse
from tests.servers.scripted import (
    Action,
    Close,
    Expect,
    ExpectClose,
    ReceivedRequest,
    Reset,
    ScriptedServer,
    Send,
    respond,
)

MIB = 1 << 20
KEY = "c2VjcmV0LXNlY3JldC1zZWNyZXQ="
GET = Expect(b"GET /account/container/key HTTP/1.1\r\n")
PUT = Expect(b"PUT /account/container/key HTTP/1.1\r\n")
HEAD = Expect(b"HEAD /account/container/key HTTP/1.1\r\n")
DELETE = Expect(b"DELETE /account/container/key HTTP/1.1\r\n")
CREATE_ONLY = PutOptions(conditions=Conditions(if_none_match="*"))
ETAG = ("ETag", '"1"')


def refuse(status: str, code: str, message: str = "It is so.", *headers: tuple[str, str], detail: str = "") -> Send:
    """An error as Azure sends it."""
    text = f"<Code>{code}</Code><Message>{message}\nRequestId:r\nTime:t</Message>{detail}"
    body = f"<?xml version='1.0'?><Error>{text}</Error>"
    fields = [("x-ms-error-code", code), ("x-ms-request-id", "r"), ("Content-Type", "application/xml"), *headers]
    return respond(status, body=body.encode(), headers=fields)


def created(etag: str = '"1"') -> Send:
    return respond("201 Created", headers=[("ETag", etag)])


BUSY = refuse("503 Server Busy", "ServerBusy", "Slow down.", ("Retry-After", "0"))


def connect(server: ScriptedServer, **sections: dict[str, Any]) -> AzureStore:
    settings = Settings.resolve(
        azure={"endpoint_url": server.endpoint, "key": KEY, **sections.pop("azure", {})},
        retry={"max_attempts": 3, "base_delay": 0.0, "max_delay": 0.0, **sections.pop("retry", {})},
        range={"concurrency": 1, **sections.pop("range", {})},
        multipart={"max_in_flight": 1, **sections.pop("multipart", {})},
        http={"read_timeout": 10.0},
        **sections,
    )
    store = open_store(parse("az://account/container/"), settings)
    assert isinstance(store, AzureStore)
    return store


def play(
    script: list[list[Action]] | list[Action], act: Callable[[AzureStore], Any], **sections: dict[str, Any]
) -> Any:
    """Let ``act`` use a store on a server with this script; every instruction must be used."""
    scripts: Any = script if isinstance(script[0], list) else [script]
    with ScriptedServer(scripts) as server:
        try:
            return act(connect(server, **sections))
        finally:
            server.assert_consumed()


# -- answers that pass


@pytest.mark.parametrize(
    "busy",
    [
        BUSY,
        refuse("429 Too Many Requests", "TooManyRequests", "Slow down.", ("Retry-After", "0")),
        refuse("500 Operation Timed Out", "OperationTimedOut"),
        refuse("500 Internal Server Error", "InternalError"),
        refuse("503 Server Busy", "ServerBusy", "Slow down.", ("x-ms-retry-after-ms", "1")),
    ],
)
@pytest.mark.parametrize(
    ("expected", "answer", "act"),
    [
        (GET, respond(body=b"data", headers=[ETAG]), lambda store: store.get("key")),
        (PUT, created(), lambda store: store.put("key", b"data")),
        (DELETE, respond("202 Accepted"), lambda store: store.delete("key")),
    ],
    ids=["get", "put", "delete"],
)
def test_busy_for_a_moment(expected: Expect, answer: Send, act: Callable[[AzureStore], Any], busy: Send) -> None:
    play([expected, busy, expected, busy, expected, answer], act)


def test_a_create_only_write_is_repeated() -> None:
    def write(store: AzureStore) -> Any:
        return store.put("key", b"data", options=CREATE_ONLY)

    play([PUT, BUSY, PUT, created()], write)
    play([PUT, refuse("500 Internal Server Error", "InternalError"), PUT, created()], write)


def test_busy_for_too_long() -> None:
    with pytest.raises(errors.ThrottledError) as caught:
        play([GET, BUSY, GET, BUSY, GET, BUSY], lambda store: store.get("key"))
    assert (caught.value.status, caught.value.code, caught.value.attempts) == (503, "ServerBusy", 3)
    assert caught.value.request_id == "r"


def test_retry_after_is_honoured() -> None:
    pauses: list[float] = []
    busy = refuse("503 Server Busy", "ServerBusy", "Slow down.", ("Retry-After", "7"))

    def act(store: AzureStore) -> None:
        policy = store.account.service.policy
        decide = policy.after_response

        def note(*arguments: Any) -> float | None:
            delay = decide(*arguments)
            if delay is not None:
                pauses.append(delay)
            return 0.0 if delay is not None else None

        policy.after_response = note  # type: ignore[method-assign]
        store.get("key")

    play([GET, busy, GET, respond(body=b"data")], act)
    assert pauses == [7.0]


def test_our_clock_is_off() -> None:
    now = email.utils.formatdate(time.time() + 86400, usegmt=True)
    wrong = refuse("403 Forbidden", "AuthenticationFailed", "Bad date.", ("Date", now))

    def follows(request: ReceivedRequest) -> bool:
        then = email.utils.parsedate_to_datetime(request.headers["x-ms-date"]).timestamp()
        return abs(then - time.time() - 86400) < 60

    def act(store: AzureStore) -> None:
        assert store.get("key") == b"data"
        assert store.get("key") == b"data"

    answer = respond(body=b"data")
    play([GET, wrong, Expect(follows), answer, Expect(follows), answer], act)


# -- answers that stand


@pytest.mark.parametrize(
    ("answer", "kind", "says"),
    [
        (refuse("404 Not Found", "BlobNotFound"), errors.ObjectNotFoundError, "It is so"),
        (refuse("404 Not Found", "ContainerNotFound"), errors.ObjectNotFoundError, "create the container"),
        (refuse("403 Forbidden", "AuthenticationFailed"), errors.PermissionDeniedError, "its key"),
        (refuse("403 Forbidden", "AuthorizationPermissionMismatch"), errors.PermissionDeniedError, "role"),
        (refuse("412 Precondition Failed", "ConditionNotMet"), errors.PreconditionFailedError, "It is so"),
        (refuse("412 Precondition Failed", "LeaseIdMissing"), errors.PreconditionFailedError, "lease"),
        (refuse("409 Conflict", "LeaseAlreadyPresent"), errors.PreconditionFailedError, "lease"),
        (refuse("409 Conflict", "LeaseIdMismatchWithBlobOperation"), errors.PreconditionFailedError, "lease"),
        (refuse("409 Conflict", "BlobArchived"), errors.PreconditionFailedError, "archive"),
        (refuse("409 Conflict", "BlobImmutableDueToPolicy"), errors.PreconditionFailedError, "retention"),
        (refuse("409 Conflict", "ContainerBeingDeleted"), errors.ServiceError, "30 seconds"),
        (refuse("400 Bad Request", "InvalidHeaderValue"), errors.ServiceError, "It is so"),
        (respond("302 Found", headers=[("Location", "http://127.0.0.1:1/")]), errors.ServiceError, "302"),
        (respond("403 Forbidden"), errors.PermissionDeniedError, "its key"),
    ],
)
@pytest.mark.parametrize(
    ("expected", "act"), [(GET, lambda store: store.get("key")), (PUT, lambda store: store.put("key", b"x"))]
)
def test_refusals(
    expected: Expect, act: Callable[[AzureStore], Any], answer: Send, kind: type[errors.S3dlioError], says: str
) -> None:
    with pytest.raises(kind) as caught:
        play([expected, answer], act)
    assert says in str(caught.value)
    assert "RequestId" not in str(caught.value)
    assert caught.value.uri == "az://account/container/key"


def test_a_signature_that_has_ended_says_when() -> None:
    detail = (
        "<AuthenticationErrorDetail>Signature not valid in the specified time frame: Start [x] - Expiry [y] - "
        "Current [z]</AuthenticationErrorDetail>"
    )
    azure = {"key": None, "sas_token": "sv=1&se=2020-01-01T00%3A00%3A00Z&sig=SECRET"}
    with pytest.raises(errors.PermissionDeniedError) as caught:
        play(
            [
                Expect(b"GET /account/container/key?sv=1"),
                refuse("403 Forbidden", "AuthenticationFailed", detail=detail),
            ],
            lambda store: store.get("key"),
            azure=azure,
        )
    assert "2020-01-01T00:00:00Z" in str(caught.value)
    assert "SECRET" not in str(caught.value)


def test_what_was_signed_is_not_repeated() -> None:
    detail = (
        "<AuthenticationErrorDetail>The MAC signature found is 'SECRET'; string to sign ...</AuthenticationErrorDetail>"
    )
    with pytest.raises(errors.PermissionDeniedError) as caught:
        play([GET, refuse("403 Forbidden", "AuthenticationFailed", detail=detail)], lambda store: store.get("key"))
    assert "SECRET" not in repr(caught.value)


def test_a_name_that_is_taken() -> None:
    with pytest.raises(errors.AlreadyExistsError):
        play(
            [PUT, refuse("409 Conflict", "BlobAlreadyExists")],
            lambda store: store.put("key", b"x", options=CREATE_ONLY),
        )
    with pytest.raises(errors.AlreadyExistsError):
        play(
            [PUT, refuse("412 Precondition Failed", "ConditionNotMet")],
            lambda store: store.put("key", b"x", options=CREATE_ONLY),
        )
    with pytest.raises(errors.PreconditionFailedError) as caught:  # a lease is none
        play(
            [PUT, refuse("412 Precondition Failed", "LeaseIdMissing")],
            lambda store: store.put("key", b"x", options=CREATE_ONLY),
        )
    assert not isinstance(caught.value, errors.AlreadyExistsError)


# -- reading


def partial(first: int, data: bytes, total: int) -> Send:
    headers = [("Content-Range", f"bytes {first}-{first + len(data) - 1}/{total}"), ETAG]
    return respond("206 Partial Content", body=data, headers=headers)


def asks(first: int, last: int, etag: str | None = '"1"') -> Expect:
    def match(request: ReceivedRequest) -> bool:
        return request.headers.get("range") == f"bytes={first}-{last}" and request.headers.get("if-match") == etag

    return Expect(match)


def test_a_body_that_breaks_off_is_continued() -> None:
    head = b'HTTP/1.1 200 OK\r\nETag: "1"\r\nContent-Length: 10\r\n\r\n'
    script: list[list[Action]] = [[GET, Send(head + b"0123"), Reset()], [asks(4, 9), partial(4, b"456789", 10)]]
    assert play(script, lambda store: store.get("key")) == b"0123456789"


def test_a_blob_that_changes_while_it_is_read() -> None:
    head = b'HTTP/1.1 200 OK\r\nETag: "1"\r\nContent-Length: 10\r\n\r\n'
    changed = refuse("412 Precondition Failed", "ConditionNotMet")
    with pytest.raises(errors.ObjectChangedError):
        play([[GET, Send(head + b"0123"), Reset()], [asks(4, 9), changed]], lambda store: store.get("key"))


def test_a_large_blob_that_changes_between_its_ranges() -> None:
    size = 3 * 64 * 1024
    head = f'HTTP/1.1 200 OK\r\nETag: "1"\r\nContent-Length: {size}\r\n\r\n'.encode()
    step = 64 * 1024
    script: list[list[Action]] = [
        [GET, Send(head + bytes(step)), ExpectClose()],
        [asks(step, 2 * step - 1), refuse("412 Precondition Failed", "ConditionNotMet")],
    ]
    with pytest.raises(errors.ObjectChangedError):
        play(script, lambda store: store.get("key"), range={"threshold": step, "chunk": step})


def test_a_range_beyond_the_end_is_empty() -> None:
    beyond = refuse("416 Range Not Satisfiable", "InvalidRange", "Beyond.", ("Content-Range", "bytes */10"))
    assert play([asks(50, 59, None), beyond], lambda store: store.get_range("key", 50, 10)) == b""


def test_not_modified() -> None:
    with pytest.raises(errors.PreconditionFailedError):
        play(
            [GET, Send(b"HTTP/1.1 304 Not Modified\r\nx-ms-error-code: ConditionNotMet\r\n\r\n")],
            lambda store: store.get("key", conditions=Conditions(if_none_match='"1"')),
        )


def test_the_version_is_kept_when_a_read_is_continued() -> None:
    expect = Expect(b"GET /account/container/key?versionid=2026-01-01T00%3A00%3A00.0Z HTTP/1.1\r\n")
    head = b'HTTP/1.1 200 OK\r\nETag: "1"\r\nContent-Length: 4\r\n\r\n'
    script: list[list[Action]] = [[expect, Send(head + b"01"), Reset()], [expect, partial(2, b"23", 4)]]
    conditions = Conditions(version_id="2026-01-01T00:00:00.0Z")
    assert play(script, lambda store: store.get("key", conditions=conditions)) == b"0123"


# -- listing


def page(names: list[str], marker: str = "") -> Send:
    blobs = "".join(f"<Blob><Name>{name}</Name></Blob>" for name in names)
    text = f"<EnumerationResults><Blobs>{blobs}</Blobs><NextMarker>{marker}</NextMarker></EnumerationResults>"
    return respond(body=text.encode())


LIST = Expect(b"GET /account/container?comp=list&restype=container HTTP/1.1\r\n")
NEXT = Expect(b"GET /account/container?comp=list&marker=m%2F1&restype=container HTTP/1.1\r\n")


def names(store: AzureStore) -> list[str]:
    return [key for found in store.list() for key in found.keys]


def test_pages_may_be_empty_before_the_last() -> None:
    after = Expect(b"GET /account/container?comp=list&marker=m2&restype=container HTTP/1.1\r\n")
    assert play([LIST, page(["a"], "m/1"), NEXT, page([], "m2"), after, page(["b"])], names) == ["a", "b"]


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (refuse("403 Forbidden", "AuthenticationFailed"), errors.PermissionDeniedError),
        (respond(body=b"<EnumerationResults><Blobs>"), errors.ProtocolError),
        (respond(body=b"<html>welcome</html>"), errors.ProtocolError),
    ],
)
def test_a_listing_that_fails_half_way_raises(answer: Send, kind: type[Exception]) -> None:
    with pytest.raises(kind):
        play([LIST, page(["a"], "m/1"), NEXT, answer], names)


# -- blocks


def block(request: ReceivedRequest) -> bool:
    return request.target.startswith("/account/container/key?blockid=") and request.target.endswith("&comp=block")


BLOCK = Expect(block)
COMMIT = Expect(b"PUT /account/container/key?comp=blocklist HTTP/1.1\r\n")
LOOK = Expect(b"GET /account/container/key?blocklisttype=committed&comp=blocklist HTTP/1.1\r\n")
PARTS: dict[str, Any] = {"multipart": {"threshold": MIB, "part_size": 5 * MIB}}


def put_in_blocks(store: AzureStore, **options: Any) -> Any:
    return store.execute(store.write_call("key", MemorySource(memoryview(bytes(6 * MIB))), **options))


def test_a_block_that_is_refused_ends_the_write_uncommitted() -> None:
    with pytest.raises(errors.PermissionDeniedError):
        play([BLOCK, created(), BLOCK, refuse("403 Forbidden", "AuthenticationFailed")], put_in_blocks, **PARTS)


def test_a_block_is_sent_again() -> None:
    assert (
        play([BLOCK, BUSY, BLOCK, created(), BLOCK, created(), COMMIT, created()], put_in_blocks, **PARTS).etag == '"1"'
    )


class Committed:
    """Answers Get Block List with the blocks that Put Block List named, or with others."""

    def __init__(self, *, ours: bool) -> None:
        self.ours = ours
        self.ids: list[str] = []

    def commit(self, request: ReceivedRequest) -> bool:
        self.ids = re.findall("<Latest>([^<]*)</Latest>", request.body.decode())
        return "comp=blocklist" in request.target and len(self.ids) == 2

    def answer(self) -> bytes:
        ids = self.ids if self.ours else ["b3RoZXI="]
        items = "".join(f"<Block><Name>{name}</Name><Size>1</Size></Block>" for name in ids)
        return f"<BlockList><CommittedBlocks>{items}</CommittedBlocks></BlockList>".encode()


class Later(Send):
    """A response whose body is known when it is due."""

    def __init__(self, body: Callable[[], bytes]) -> None:
        object.__setattr__(self, "_body", body)
        object.__setattr__(self, "piece", 0)
        object.__setattr__(self, "pause", 0.0)

    @property
    def data(self) -> bytes:  # type: ignore[override]
        return respond(body=self._body(), headers=[("ETag", '"2"')]).data  # type: ignore[attr-defined]


@pytest.mark.parametrize("ours", [True, False])
@pytest.mark.parametrize("lost", ["answer", "server"])
def test_an_answer_to_the_block_list_that_is_lost(lost: str, ours: bool) -> None:
    committed = Committed(ours=ours)
    create_only = {"options": CREATE_ONLY}
    broken: list[Action] = (
        [Close()] if lost == "answer" else [refuse("500 Internal Server Error", "InternalError"), Close()]
    )
    script: list[list[Action]] = [
        [BLOCK, created(), BLOCK, created(), Expect(committed.commit), *broken],
        [LOOK, Later(committed.answer)],
    ]
    if ours:
        result = play(script, lambda store: put_in_blocks(store, **create_only), **PARTS)
        assert (result.etag, result.size) == ('"2"', 6 * MIB)
    else:
        with pytest.raises((errors.NetworkError, errors.ServiceError)):
            play(script, lambda store: put_in_blocks(store, **create_only), **PARTS)


def test_a_block_list_is_repeated_where_nothing_depends_on_it() -> None:
    script: list[list[Action]] = [[BLOCK, created(), BLOCK, created(), COMMIT, Close()], [COMMIT, created()]]
    assert play(script, put_in_blocks, **PARTS).etag == '"1"'


def test_blocks_that_are_gone() -> None:
    script = [BLOCK, created(), BLOCK, created(), COMMIT, refuse("400 Bad Request", "InvalidBlockList")]
    with pytest.raises(errors.ServiceError, match="write again"):
        play(script, put_in_blocks, **PARTS)


def test_a_large_body_waits_for_the_go_ahead() -> None:
    refusal = refuse("403 Forbidden", "AuthorizationPermissionMismatch")
    ask = Expect(lambda request: request.headers.get("expect") == "100-continue", body=False)
    with pytest.raises(errors.PermissionDeniedError):
        play([ask, refusal, ExpectClose()], lambda store: store.put("key", bytes(2 * MIB)))


# -- copying


def copied(status: str, *headers: tuple[str, str], line: str = "200 OK") -> Send:
    return respond(line, headers=[("x-ms-copy-id", "c1"), ("x-ms-copy-status", status), ETAG, *headers])


COPY = Expect(
    lambda request: (
        request.headers.get("x-ms-copy-source", "").endswith("/account/container/source%20%25")
        and request.target == "/account/container/key"
    )
)
ABORT = Expect(b"PUT /account/container/key?comp=copy&copyid=c1 HTTP/1.1\r\n")


def copy(store: AzureStore) -> Any:
    return store.copy(store, "source %", "key")


@pytest.fixture(autouse=True)
def _quick_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("s3dlio.stores.azure.copying._FIRST_PAUSE", 0.001)


def look(status: str, *headers: tuple[str, str]) -> list[Action]:
    fields = "".join(f"{name}: {value}\r\n" for name, value in [*headers, ("ETag", '"2"'), ("Content-Length", "5")])
    return [HEAD, Send(f"HTTP/1.1 200 OK\r\nx-ms-copy-id: c1\r\nx-ms-copy-status: {status}\r\n{fields}\r\n".encode())]


def test_a_copy_is_waited_for() -> None:
    script = [COPY, copied("pending", line="202 Accepted"), *look("pending"), *look("success")]
    assert play(script, copy).etag == '"2"'


def test_a_copy_is_waited_for_in_a_lane() -> None:
    done: list[Any] = []

    def act(store: AzureStore) -> None:
        calls = [(0, store.copy_call(store, "source %", "key"))]
        Lane(window=4).run(calls, lambda index, result, error: done.append((result, error)))

    play([COPY, copied("pending", line="202 Accepted"), *look("pending"), *look("success")], act)
    ((result, error),) = done
    assert error is None
    assert result.etag == '"2"'


def test_a_copy_that_fails_on_its_way() -> None:
    why = ("x-ms-copy-status-description", "404 BlobNotFound")
    script = [COPY, copied("pending", line="202 Accepted"), *look("failed", why)]
    with pytest.raises(errors.ServiceError, match="404 BlobNotFound"):
        play(script, copy)


def test_a_copy_that_another_write_replaces() -> None:
    replaced = Send(b'HTTP/1.1 200 OK\r\nETag: "3"\r\nContent-Length: 5\r\n\r\n')
    with pytest.raises(errors.PreconditionFailedError, match="another write"):
        play([COPY, copied("pending", line="202 Accepted"), HEAD, replaced], copy)


def test_a_copy_that_is_given_up_is_aborted(monkeypatch: pytest.MonkeyPatch) -> None:
    # The second pause would outlast this test, if the cancellation did not end it.
    monkeypatch.setattr("s3dlio.stores.azure.copying._GROWTH", 600_000)
    monkeypatch.setattr("s3dlio.stores.azure.copying._LONGEST_PAUSE", 600.0)

    class Cancel:
        cancelled = False

    cancel = Cancel()
    failed: list[BaseException | None] = []

    def seen(request: ReceivedRequest) -> bool:
        cancel.cancelled = True
        return request.method == "HEAD"

    def act(store: AzureStore) -> None:
        calls = [(0, store.copy_call(store, "source %", "key"))]
        Lane(window=1, cancel=cancel).run(calls, lambda index, result, error: failed.append(error))

    pending = look("pending")[1]
    script: list[Action] = [COPY, copied("pending", line="202 Accepted"), Expect(seen), pending]
    play([*script, ABORT, respond("204 No Content", length=False)], act)
    assert isinstance(failed[0], errors.TransferCancelledError)


def test_a_copy_shows_its_source_the_signature_too() -> None:
    def shows(request: ReceivedRequest) -> bool:
        source = request.headers.get("x-ms-copy-source", "")
        return source.endswith("/account/container/source%20%25?sv=1&sig=s") and request.target.endswith("?sv=1&sig=s")

    azure = {"key": None, "sas_token": "sv=1&sig=s"}
    play([Expect(shows), copied("success", line="202 Accepted")], copy, azure=azure)


def test_properties_are_set_on_the_copy_that_was_made_and_no_other() -> None:
    def sets(request: ReceivedRequest) -> bool:
        fields = request.headers
        return request.target.endswith("?comp=properties") and (
            fields.get("if-match"), fields.get("x-ms-blob-content-type"), fields.get("x-ms-blob-cache-control")
        ) == ('"2"', "text/x", "no-cache")  # fmt: skip

    about = look("success", ("Content-Type", "text/plain"), ("Cache-Control", "no-cache"))
    replaced = refuse("412 Precondition Failed", "ConditionNotMet")
    script = [COPY, copied("success", line="202 Accepted"), *about, Expect(sets), replaced]
    options = PutOptions(content_type="text/x")
    with pytest.raises(errors.PreconditionFailedError):
        play(script, lambda store: store.copy(store, "source %", "key", options=options))


# -- batches


BATCH = Expect(b"POST /account/container?comp=batch&restype=container HTTP/1.1\r\n")


def batch(*parts: str, boundary: str = "batchresponse_1", end: str = "--batchresponse_1--") -> Send:
    text = "".join(f"--batchresponse_1\r\nContent-Type: application/http\r\n{part}\r\n" for part in parts) + end
    headers = [("Content-Type", f"multipart/mixed; boundary={boundary}")]
    return respond("202 Accepted", body=text.encode(), headers=headers)


def part(number: int | None, status: str, code: str = "") -> str:
    named = "" if number is None else f"Content-ID: {number}\r\n"
    if not code:
        return f"{named}\r\nHTTP/1.1 {status}\r\nx-ms-request-id: p\r\n"
    body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>So.\nRequestId:p</Message></Error>"
    return f"{named}\r\nHTTP/1.1 {status}\r\nx-ms-error-code: {code}\r\nx-ms-request-id: p\r\n\r\n{body}\r\n"


def test_a_batch_tells_of_each_key() -> None:
    answer = batch(
        part(1, "404 Not Found", "BlobNotFound"),
        part(0, "202 Accepted"),
        part(2, "412 Precondition Failed", "LeaseIdMissing"),
        part(3, "503 Server Busy", "ServerBusy"),
    )
    alone = [Expect(b"DELETE /account/container/d "), BUSY]  # what was too busy is tried again alone
    failed = dict(play([BATCH, answer, *alone * 3], lambda store: store.delete_many(["a", "b", "c", "d"])))
    assert set(failed) == {"c", "d"}
    assert isinstance(failed["c"], errors.PreconditionFailedError)
    assert isinstance(failed["d"], errors.ThrottledError)
    assert (failed["c"].uri, failed["c"].request_id) == ("az://account/container/c", "p")
    assert (failed["d"].uri, failed["d"].operation, failed["d"].attempts) == ("az://account/container/d", "DELETE", 3)


def test_a_key_that_was_too_busy_in_a_batch_is_deleted_after_it() -> None:
    script = [BATCH, batch(part(0, "500 Internal Server Error", "InternalError")), DELETE, respond("202 Accepted")]
    assert play(script, lambda store: store.delete_many(["key"])) == []


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (batch(part(0, "202 Accepted")), errors.ProtocolError),  # and b?
        (batch(part(0, "202 Accepted"), part(0, "202 Accepted")), errors.ProtocolError),
        (batch(part(0, "202 Accepted"), part(7, "202 Accepted")), errors.ProtocolError),
        (batch(part(0, "202 Accepted"), "Content-ID: 1\r\n\r\nnonsense"), errors.ProtocolError),
        (batch(part(0, "202 Accepted"), part(1, "202 Accepted"), end=""), errors.ProtocolError),
        (batch(part(0, "202 Accepted"), part(1, "202 Accepted"), boundary="other"), errors.ProtocolError),
        (batch(part(None, "400 Bad Request", "InvalidInput")), errors.ServiceError),
        (refuse("403 Forbidden", "AuthorizationFailure"), errors.PermissionDeniedError),
        (refuse("404 Not Found", "ContainerNotFound"), errors.ObjectNotFoundError),
    ],
)
def test_a_batch_that_leaves_keys_in_doubt_raises(answer: Send, kind: type[Exception]) -> None:
    with pytest.raises(kind):
        play([BATCH, answer], lambda store: store.delete_many(["a", "b"]))


def test_a_service_without_batches() -> None:
    def act(store: AzureStore) -> list[Any]:
        return [store.delete_many(["a", "b"]), store.delete_many(["c"]), store.delete_many([])]

    def delete(key: str) -> Expect:
        return Expect(f"DELETE /account/container/{key} HTTP/1.1\r\n".encode())

    script = [
        BATCH,
        respond("501 Not Implemented"),
        delete("a"),
        respond("202 Accepted"),
        delete("b"),
        refuse("412 Precondition Failed", "LeaseIdMissing"),
        delete("c"),
        refuse("404 Not Found", "BlobNotFound"),
    ]
    first, second, third = play(script, act)
    assert [key for key, _ in first] == ["b"]
    assert (second, third) == ([], [])
