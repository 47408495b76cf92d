"""Directory buckets of S3 Express One Zone over a scripted server: sessions, listings, renames, copies."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

import s3dlio
from s3dlio.errors import BatchError, PermissionDeniedError, ProtocolError
from s3dlio.memory.sinks import MemorySink
from s3dlio.stores.cloud import tokens
from s3dlio.stores.registry import open_store
from s3dlio.stores.s3 import S3Account, S3Store, sessions
from s3dlio.stores.s3.express import ExpressStore
from s3dlio.uri import parse
from tests.servers.scripted import Action, Expect, ReceivedRequest, ScriptedServer, Send, respond
from tests.threads import run_in_threads
from tests.wire.s3_harness import error, read, settings_of

BUCKET = "train--usw2-az1--x-s3"
PATH = f"/{BUCKET}"


def session(token: str, *, seconds: float = 300) -> Send:
    """The answer to CreateSession."""
    end = (datetime.now(UTC) + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")
    return respond(body=(
        f"<CreateSessionResult><Credentials><SessionToken>{token}</SessionToken><SecretAccessKey>s{token}"
        f"</SecretAccessKey><AccessKeyId>ASIA{token}</AccessKeyId><Expiration>{end}</Expiration></Credentials>"
        "</CreateSessionResult>"
    ).encode())  # fmt: skip


def asks_for_session(request: ReceivedRequest) -> bool:
    fields = request.headers
    return (
        request.target == f"{PATH}/?session="
        and "Credential=AKIATEST/" in fields["authorization"]
        and "/s3express/aws4_request" in fields["authorization"]
        and "x-amz-s3session-token" not in fields
    )


def with_session(line: str, token: str = "one") -> Expect:
    """A request that is signed with the keys of a session."""

    def matches(request: ReceivedRequest) -> bool:
        fields = request.headers
        return (
            request.head.startswith(f"{line} ".encode())
            and fields.get("x-amz-s3session-token") == token
            and f"Credential=ASIA{token}/" in fields["authorization"]
            and "x-amz-security-token" not in fields
        )

    return Expect(matches)


def with_own_keys(line: str) -> Expect:
    return Expect(
        lambda request: request.head.startswith(f"{line} ".encode())
        and "Credential=AKIATEST/" in request.headers["authorization"]
        and "/s3express/" in request.headers["authorization"]
        and "x-amz-s3session-token" not in request.headers
    )


SESSION: list[Action] = [Expect(asks_for_session), session("one")]


def serving(*script: Action, sessions: Sequence[str] = ("one",), before: bool = False) -> ScriptedServer:
    """A server of one connection for requests, and of one for the sessions that are made while one waits.

    Args:
        before: the session is made before the first request has a connection, as for a lane and a transfer.
    """
    made: list[Action] = [action for token in sessions for action in (Expect(asks_for_session), session(token))]
    return ScriptedServer([made, script] if before else [script, made])


def store_of(endpoint: str, **sections: Any) -> ExpressStore:
    return ExpressStore(S3Account(settings_of(endpoint, **sections)), BUCKET)


@pytest.fixture
def _no_session_is_young(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "_YOUNG", -1.0)


def listing(*names: str, token: str | None = None) -> Send:
    keys = "".join(
        f"<Contents><Key>{name}</Key><Size>{len(name)}</Size></Contents>" for name in names if not name.endswith("/")
    )
    folded = "".join(
        f"<CommonPrefixes><Prefix>{name}</Prefix></CommonPrefixes>" for name in names if name.endswith("/")
    )
    more = f"<IsTruncated>true</IsTruncated><NextContinuationToken>{token}</NextContinuationToken>" if token else ""
    return respond(body=f"<ListBucketResult>{keys}{folded}{more}</ListBucketResult>".encode())


# -- sessions


@pytest.mark.parametrize("lane", [False, True])
def test_one_session_signs_all_requests_of_a_bucket(lane: bool) -> None:
    script = [with_session(f"GET {PATH}/a"), respond(body=b"a"), with_session(f"GET {PATH}/b"), respond(body=b"b")]
    with serving(*script, before=lane) as server:
        store = store_of(server.endpoint)
        other = ExpressStore(store.service.account, BUCKET)
        for one, key in ((store, "a"), (other, "b")):
            sink = MemorySink()
            read(one, key, sink, lane=lane)
            assert bytes(sink.view()) == key.encode()
        server.assert_consumed()


@pytest.mark.usefixtures("_no_session_is_young")
@pytest.mark.parametrize("refusal", [error("400 Bad Request", "ExpiredToken"), error("403 Forbidden", "InvalidToken")])
def test_a_session_that_has_ended_is_made_anew(refusal: Send) -> None:
    script = [with_session(f"GET {PATH}/a"), refusal,
              with_session(f"GET {PATH}/a", "two"), respond(body=b"a")]  # fmt: skip
    with serving(*script, sessions=("one", "two")) as server:
        assert bytes(store_of(server.endpoint).get("a")) == b"a"
        server.assert_consumed()


@pytest.mark.usefixtures("_no_session_is_young")
def test_a_head_that_cannot_say_why_is_a_get_that_finds_a_new_session() -> None:
    script = [with_session(f"HEAD {PATH}/a"), respond("400 Bad Request"),
              with_session(f"GET {PATH}/a"), error("400 Bad Request", "ExpiredToken"),
              with_session(f"GET {PATH}/a", "two"), respond(headers=[("ETag", '"e"')])]  # fmt: skip
    with serving(*script, sessions=("one", "two")) as server:
        assert store_of(server.endpoint).head("a").size == 0
        server.assert_consumed()


def test_a_refusal_that_comes_late_does_not_end_a_new_session() -> None:
    script = [with_session(f"GET {PATH}/a"), error("400 Bad Request", "ExpiredToken")]
    with serving(*script, *script) as server:
        with pytest.raises(PermissionDeniedError):
            store_of(server.endpoint).get("a")
        server.assert_consumed()


def test_a_session_is_renewed_before_its_end_beside_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    renewals: list[Any] = []

    class Later:
        def __init__(self, *, target: Any, **_: Any) -> None:
            renewals.append(target)

        def start(self) -> None:
            pass

    monkeypatch.setattr(tokens, "threading", SimpleNamespace(Thread=Later))
    script = [
        Expect(asks_for_session), session("one", seconds=100), with_session(f"GET {PATH}/a"), respond(body=b"a"),
        Expect(asks_for_session), session("two"), with_session(f"GET {PATH}/a", "two"), respond(body=b"a"),
    ]  # fmt: skip
    with ScriptedServer([script]) as server:
        store = store_of(server.endpoint)
        signer: Any = store.service.route.target.signer
        signer.render(store.service.request("GET", "a"))
        signer._stamp = None  # a second later
        store.get("a")
        assert len(renewals) == 1
        renewals[0]()
        signer._stamp = None
        store.get("a")
        server.assert_consumed()


def test_threads_that_need_a_session_at_once_make_one() -> None:
    with ScriptedServer([SESSION]) as server:
        signer: Any = store_of(server.endpoint).service.route.target.signer
        barrier = threading.Barrier(8)
        found: list[Any] = []

        def ask() -> None:
            barrier.wait()
            found.append(signer._session.credentials())

        run_in_threads(lambda _: ask(), range(8))
        assert len(found) == 8
        assert len(set(found)) == 1
        server.assert_consumed()


def test_who_may_not_make_a_session_is_told_what_is_missing() -> None:
    with ScriptedServer([[], [Expect(asks_for_session), error("403 Forbidden", "AccessDenied")]]) as server:
        with pytest.raises(PermissionDeniedError, match="CreateSession") as caught:
            store_of(server.endpoint).get("a")
        assert caught.value.operation == "CREATE_SESSION"
        server.assert_consumed()


def test_an_answer_that_is_no_session_shows_nothing_of_it() -> None:
    answer = respond(body=b"<SecretAccessKey>hush</SecretAccessKey>")
    with ScriptedServer([[], [Expect(asks_for_session), answer]]) as server:
        with pytest.raises(ProtocolError) as caught:
            store_of(server.endpoint).get("a")
        assert "hush" not in str(caught.value)


def test_own_keys_sign_where_sessions_are_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    with ScriptedServer([[with_own_keys(f"GET {PATH}/a"), respond(body=b"a")]]) as server:
        store = store_of(server.endpoint, s3={"disable_express_session_auth": True})
        assert bytes(store.get("a")) == b"a"
        server.assert_consumed()


# -- listings


def pages(store: S3Store, *arguments: Any, **named: Any) -> list[tuple[list[str], list[str], list[int]]]:
    return [
        (list(page.keys), list(page.prefixes), [entry.size for entry in page.entries])
        for page in store.list(*arguments, **named)
    ]


def asks_to_list(prefix: str, *, deep: bool, token: str | None = None) -> Expect:
    def matches(request: ReceivedRequest) -> bool:
        query = request.target.partition("?")[2].split("&")
        return (
            f"prefix={prefix}" in query and ("delimiter=%2F" not in query) == deep
            and ((f"continuation-token={token}" in query) if token else "continuation-token" not in request.target)
            and "start-after" not in request.target
        )  # fmt: skip

    return Expect(matches)


def test_a_listing_is_sorted() -> None:
    script = [asks_to_list("d%2F", deep=True), listing("d/c", "d/ab", token="t"),
              asks_to_list("d%2F", deep=True, token="t"), listing("d/b", "d/a/x")]  # fmt: skip
    with serving(*script) as server:
        assert pages(store_of(server.endpoint), "d/") == [(["d/a/x", "d/ab", "d/b", "d/c"], [], [5, 4, 3, 3])]
        server.assert_consumed()


def test_a_prefix_within_a_name_is_looked_for_in_its_directory() -> None:
    script = [asks_to_list("d%2F", deep=False), listing("d/xy", "d/ab2", "d/ac/", "d/ab/", "d/x/"),
              asks_to_list("d%2Fab%2F", deep=True), listing("d/ab/z", "d/ab/y")]  # fmt: skip
    with serving(*script) as server:
        assert pages(store_of(server.endpoint), "d/ab") == [(["d/ab/y", "d/ab/z", "d/ab2"], [], [6, 6, 5])]
        server.assert_consumed()
    script = [asks_to_list("", deep=False), listing("b", "ab", "ad/", "ac/", "x/", "aa")]
    with serving(*script) as server:
        store = store_of(server.endpoint)
        assert pages(store, "a", recursive=False, start_after="aa") == [(["ab"], ["ac/", "ad/"], [2])]
        server.assert_consumed()


# -- writing, copying, renaming, deleting


def test_an_etag_that_looks_like_an_md5_is_none() -> None:
    fields = [("ETag", '"' + "0" * 32 + '"')]
    script = [with_session(f"GET {PATH}/a"), respond(body=b"abc", headers=fields)]
    with serving(*script) as server:
        store = store_of(server.endpoint, s3={"response_checksum_validation": "when_supported"})
        assert bytes(store.get("a")) == b"abc"
        server.assert_consumed()


def test_a_batch_delete_is_checked_by_its_crc32c() -> None:
    script = [with_session(f"POST {PATH}/?delete="), respond(body=b"<DeleteResult></DeleteResult>")]
    with serving(*script) as server:
        assert store_of(server.endpoint).delete_many(["a", "b"]) == []
        request = server.requests[0][-1]
        assert "x-amz-checksum-crc32c" in request.headers
        assert "content-md5" not in request.headers
        server.assert_consumed()


def test_a_copy_is_signed_with_own_keys_and_leaves_tags_behind(caplog: pytest.LogCaptureFixture) -> None:
    done = respond(body=b"<CopyObjectResult><ETag>e</ETag></CopyObjectResult>")
    put = with_own_keys(f"PUT {PATH}/b")
    with ScriptedServer([[put, error("501 Not Implemented", "NotImplemented"), put, done]]) as server:
        store = store_of(server.endpoint)
        general = S3Store(store.service.account, "general")
        result = store.copy(general, "a", "b")
        assert result is not None
        assert result.etag == "e"
        first, second = server.all_requests
        assert first.headers["x-amz-copy-source"] == "/general/a"
        assert "x-amz-tagging-directive" not in first.headers
        assert second.headers["x-amz-tagging-directive"] == "REPLACE"
        assert second.headers["x-amz-tagging"] == ""
        assert second.headers["x-amz-object-annotation-directive"] == "EXCLUDE"
        assert "without the tags" in caplog.text
        server.assert_consumed()


@pytest.fixture
def client_at() -> Iterator[Any]:
    clients: list[s3dlio.Client] = []

    def make(endpoint: str) -> s3dlio.Client:
        keys = {"access_key_id": "AKIATEST", "secret_access_key": "s"}
        clients.append(s3dlio.Client(s3={"endpoint_url": endpoint, "region": "us-west-2", **keys}))
        return clients[-1]

    yield make
    for client in clients:
        client.close()


def renames(source: str, key: str) -> Expect:
    return Expect(
        lambda request: request.head.startswith(f"PUT {PATH}/{key}?renameObject= ".encode())
        and request.headers["x-amz-rename-source"] == source
        and len(request.headers["x-amz-client-token"]) == 32
        and "x-amz-s3session-token" in request.headers
    )


def test_a_move_within_a_bucket_is_a_rename(client_at: Any) -> None:
    script = [asks_to_list("d%2F", deep=True), listing("d/b", "d/a%20b"), renames("d/a%2520b", "e/a%2520b"),
              respond(), renames("d/b", "e/b"), respond()]  # fmt: skip
    with serving(*script, before=True) as server:
        client = client_at(server.endpoint)
        summary = client.move(f"s3://{BUCKET}/d/", f"s3://{BUCKET}/e/", recursive=True, max_in_flight=1)
        assert summary.succeeded == 2
        server.assert_consumed()


def test_a_rename_that_fails_is_told_of(client_at: Any) -> None:
    script = [asks_to_list("d%2F", deep=True), listing("d/b"), renames("d/b", "e/b"),
              error("403 Forbidden", "AccessDenied")]  # fmt: skip
    with serving(*script, before=True) as server:
        with pytest.raises(BatchError, match="AccessDenied"):
            client_at(server.endpoint).move(f"s3://{BUCKET}/d/", f"s3://{BUCKET}/e/", recursive=True)
        server.assert_consumed()


# -- buckets


def test_a_directory_bucket_is_made_and_deleted_with_own_keys() -> None:
    script = [with_own_keys(f"PUT {PATH}"), respond(), with_own_keys(f"DELETE {PATH}"), respond("204 No Content")]
    with ScriptedServer([script]) as server:
        store = store_of(server.endpoint)
        store.create_container()
        store.delete_container()
        body = server.all_requests[0].body
        assert b"<Type>AvailabilityZone</Type><Name>usw2-az1</Name>" in body
        assert b"<Type>Directory</Type>" in body
        server.assert_consumed()


def test_directory_buckets_are_listed_page_by_page() -> None:
    def page(name: str, more: str) -> Send:
        return respond(body=(
            f"<ListAllMyDirectoryBucketsResult><Buckets><Bucket><Name>{name}</Name></Bucket></Buckets>{more}"
            "</ListAllMyDirectoryBucketsResult>").encode())  # fmt: skip

    script = [with_own_keys("GET /"), page("a--usw2-az1--x-s3", "<ContinuationToken>t</ContinuationToken>"),
              with_own_keys("GET /?continuation-token=t"), page(BUCKET, "")]  # fmt: skip
    with ScriptedServer([script]) as server:
        found = store_of(server.endpoint).list_containers()
        assert [item.name for item in found] == ["a--usw2-az1--x-s3", BUCKET]
        assert found[0].uri == "s3://a--usw2-az1--x-s3"
        server.assert_consumed()


@pytest.mark.parametrize("backend", ["boto3", "arrow"])
def test_the_other_transports_sort_and_have_sessions_too(backend: str) -> None:
    if backend == "arrow":
        pytest.importorskip("obstore")
    session_of_boto3 = Expect(lambda request: request.target == f"{PATH}?session")
    script = [session_of_boto3, session("one"), asks_to_list("", deep=True), listing("b", "a"),
              with_session(f"GET {PATH}/a"), respond(body=b"a")]  # fmt: skip
    with ScriptedServer([script]) as server:
        settings = settings_of(server.endpoint, s3={"backend": backend})
        store = open_store(parse(f"s3://{BUCKET}/"), settings)
        assert [page.keys for page in store.list()] == [["a", "b"]]
        assert bytes(store.get("a")) == b"a"
        server.assert_consumed()
