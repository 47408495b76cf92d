"""What S3 answers besides the object: redirects, clocks, tokens, errors, pages, and how the store takes them."""

from __future__ import annotations

import email.utils
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from s3dlio.config.settings import Settings
from s3dlio.engine.admission import Admission
from s3dlio.engine.batch import run_calls
from s3dlio.engine.cancel import CancelToken
from s3dlio.engine.executor import InlineExecutor
from s3dlio.errors import (
    AlreadyExistsError,
    ConfigError,
    ObjectNotFoundError,
    PermissionDeniedError,
    ProtocolError,
    S3dlioError,
    ServiceError,
    ThrottledError,
)
from s3dlio.memory.sinks import DiscardSink
from s3dlio.stores.cloud.failures import error_for
from s3dlio.stores.s3 import S3Account, S3Store
from s3dlio.stores.s3.credentials import CredentialProvider
from s3dlio.stores.s3.sigv4 import Credentials
from s3dlio.stores.sdk.boto import BotoStore
from s3dlio.types import Conditions, PutOptions
from tests.servers.certs import Authority
from tests.servers.scripted import Close, Expect, ReceivedRequest, ScriptedServer, Send, Wait, respond
from tests.wire.s3_harness import SECRET, error, settings_of, store_of

OK = respond(body=b"hello", headers=[("ETag", '"e"')])


def region_of(seen: ReceivedRequest) -> str:
    return seen.headers["authorization"].split("Credential=")[1].split("/")[2]


def together(match: Callable[[ReceivedRequest], bool], count: int = 3) -> Callable[[ReceivedRequest], bool]:
    """Let no request of ``count`` connections be answered before all are there: so each has one for itself."""
    barrier = threading.Barrier(count)

    def all_there(seen: ReceivedRequest) -> bool:
        barrier.wait(20)
        return match(seen)

    return all_there


# -- what is not there


@pytest.mark.parametrize("backend", ["native", "boto3"])
def test_a_missing_object_or_bucket_is_told_truly(backend: str) -> None:
    """An answer to HEAD has no document that would say which of them it is."""
    with ScriptedServer([[Expect(b"HEAD"), respond("404 Not Found")]]) as server:
        store: S3Store | BotoStore = store_of(server.endpoint)
        if backend == "boto3":
            store = BotoStore(S3Account(settings_of(server.endpoint)), "b")
        with pytest.raises(ObjectNotFoundError) as caught:
            store.head("k")
        assert caught.value.reason == "the object or its bucket does not exist"
        server.assert_consumed()


def test_what_is_known_of_it_is_said() -> None:
    with ScriptedServer([[Expect(b"GET"), respond("404 Not Found")]]) as server:
        with pytest.raises(ObjectNotFoundError, match="the bucket does not exist"):  # only it can be missing
            list(store_of(server.endpoint).list())
        server.assert_consumed()
    with ScriptedServer([[Expect(b"GET"), error("404 Not Found", "NoSuchBucket")]]) as server:
        with pytest.raises(ObjectNotFoundError, match=r": no \(.*; check the bucket name"):  # as the service says it
            store_of(server.endpoint).get("k")
        server.assert_consumed()
    assert error_for(404, code="BlobNotFound").reason == "the object does not exist"
    assert error_for(404, code="ContainerNotFound").reason == "the container does not exist"


# -- regions and hosts


@pytest.mark.parametrize(
    "answer",
    [
        respond("301 Moved Permanently", headers=[("x-amz-bucket-region", "eu-west-1")]),
        respond("307 Temporary Redirect", headers=[("x-amz-bucket-region", "eu-west-1")]),
        error("400 Bad Request", "AuthorizationHeaderMalformed", Region="eu-west-1"),
    ],
    ids=["301", "307", "400"],
)
def test_the_region_is_followed_and_remembered(answer: Send) -> None:
    def is_european(seen: ReceivedRequest) -> bool:
        return region_of(seen) == "eu-west-1"

    first = Expect(lambda seen: region_of(seen) == "us-east-1")
    with ScriptedServer([[first, answer, Expect(is_european), OK, Expect(is_european), OK]]) as server:
        store = store_of(server.endpoint)
        assert bytes(store.get("k")) == b"hello"
        assert bytes(store.get("k")) == b"hello"
        server.assert_consumed()


def test_many_requests_in_flight_are_moved_alike() -> None:
    """When the answers of the second and third come, the first has moved the store already."""
    moved = respond("301 Moved Permanently", headers=[("x-amz-bucket-region", "eu-west-1")])
    script = [Expect(), Wait(0.1), moved, Expect(together(lambda seen: region_of(seen) == "eu-west-1")), OK]
    with ScriptedServer([script] * 3) as server:
        assert batch(store_of(server.endpoint), 3) == [None] * 3
        server.assert_consumed()


def test_a_region_that_is_none_is_not_believed() -> None:
    evil = respond("301 Moved", headers=[("x-amz-bucket-region", "evil.example.com/#")])
    with ScriptedServer([[Expect(), evil]]) as server:
        with pytest.raises(ServiceError):
            store_of(server.endpoint).get("k")
        server.assert_consumed()


def batch(store: S3Store, count: int) -> list[BaseException | None]:
    calls = [store.read_call("k", DiscardSink()) for _ in range(count)]
    outcomes: list[BaseException | None] = [ServiceError("not run")] * count

    def done(index: int, result: Any, failure: BaseException | None) -> None:
        outcomes[index] = failure

    run_calls(calls, admission=Admission(count), on_done=done, cancel=CancelToken(), executor=InlineExecutor())
    return outcomes


@pytest.mark.parametrize("status", ["301 A", "302 B", "307 C", "308 D"])
def test_another_host_gets_no_secret(status: str) -> None:
    def is_bare(seen: ReceivedRequest) -> bool:
        names = set(seen.headers)
        return not any(word in name for name in names for word in ("authorization", "token"))

    def keeps_what_was_asked_for(seen: ReceivedRequest) -> bool:
        fields = seen.headers
        told = (fields.get("if-none-match"), fields.get("x-amz-server-side-encryption"), fields.get("x-amz-meta-a"))
        return is_bare(seen) and told == ("*", "AES256", "1")

    options = PutOptions(
        conditions=Conditions(if_none_match="*"), server_side_encryption="AES256", metadata={"a": "1"}
    )
    with ScriptedServer([[Expect(keeps_what_was_asked_for), respond(headers=[("ETag", '"e"')])]]) as other:
        there = respond(status, headers=[("Location", f"{other.endpoint}/elsewhere?a=b")])
        with ScriptedServer([[Expect(lambda seen: not is_bare(seen)), there]]) as server:
            store_of(server.endpoint, s3={"session_token": "TOKEN"}).put("k", b"data", options=options)
            assert other.all_requests[0].target == "/elsewhere?a=b"
            assert other.all_requests[0].body == b"data"
            server.assert_consumed()
        other.assert_consumed()


def test_a_redirect_that_leaves_out_the_version_is_not_followed() -> None:
    """The delete of one version would become that of the object."""
    with ScriptedServer([[]]) as other:
        there = respond("307 There", headers=[("Location", f"{other.endpoint}/b/k")])
        with ScriptedServer([[Expect(b"DELETE /b/k?versionId=v1 "), there]]) as server:
            with pytest.raises(ProtocolError, match="leaves out versionId"):
                store_of(server.endpoint).delete("k", version_id="v1")
            server.assert_consumed()
        assert not other.all_requests


def test_the_same_host_is_signed_anew() -> None:
    there = respond("307 There", headers=[("Location", "http://127.0.0.1:{}/b/other")])
    with ScriptedServer([[Expect(), there, Expect(lambda seen: "authorization" in seen.headers), OK]]) as server:
        answer = there.data.replace(b"{}", str(server.port).encode())
        server._scripts[0][1] = Send(answer)
        assert bytes(store_of(server.endpoint).get("k")) == b"hello"
        assert server.all_requests[1].target == "/b/other"
        server.assert_consumed()


def test_redirects_come_to_an_end() -> None:
    script: list[Any] = []
    with ScriptedServer([script]) as other:
        there = respond("307 There", headers=[("Location", f"{other.endpoint}/x")])
        other._scripts = [[Expect(b"GET /x"), there] * 3]
        with ScriptedServer([[Expect(), there]]) as server:
            with pytest.raises(ServiceError):
                store_of(server.endpoint, http={"redirect_max": 3}).get("k")
            server.assert_consumed()
        other.assert_consumed()


def test_redirects_can_be_switched_off() -> None:
    there = respond("307 There", headers=[("Location", "http://127.0.0.1:9/x")])
    with ScriptedServer([[Expect(), there]]) as server:
        with pytest.raises(ServiceError):
            store_of(server.endpoint, http={"follow_redirects": False}).get("k")
        server.assert_consumed()


@pytest.mark.parametrize("location", ["ftp://host/x", "/relative", "nonsense"])
def test_redirects_to_nowhere(location: str) -> None:
    with ScriptedServer([[Expect(), respond("307 There", headers=[("Location", location)])]]) as server:
        with pytest.raises(ServiceError):
            store_of(server.endpoint).get("k")
        server.assert_consumed()


@pytest.mark.parametrize("location", ["http://host:port/x", "http://[::1/x", "http://host:99999/x"])
def test_redirects_to_what_is_no_address(location: str) -> None:
    with ScriptedServer([[Expect(), respond("307 There", headers=[("Location", location)])]]) as server:
        with pytest.raises(ProtocolError, match="redirects"):
            store_of(server.endpoint).get("k")
        server.assert_consumed()


def test_never_from_tls_to_plain_text(authority: Authority) -> None:
    with ScriptedServer([]) as plain:
        there = respond("307 There", headers=[("Location", f"{plain.endpoint}/x")])
        with ScriptedServer([[Expect(), there]], tls=authority) as server:
            with pytest.raises(ServiceError):
                store_of(server.endpoint, http={"ca_bundle": str(authority.bundle)}).get("k")
            server.assert_consumed()
        plain.assert_consumed()


# -- clocks and tokens


def skewed(seconds: int) -> Send:
    body = error("403 Forbidden", "RequestTimeTooSkewed").data
    date = email.utils.formatdate(time.time() + seconds, usegmt=True)
    return Send(body.replace(b"\r\nContent-Length", f"\r\nDate: {date}\r\nContent-Length".encode()))


def test_a_skewed_clock_is_corrected_once() -> None:
    with ScriptedServer([[Expect(), skewed(7200), Expect(), OK, Expect(), OK]]) as server:
        store = store_of(server.endpoint)
        store.get("k")
        store.get("k")
        dates = [seen.headers["x-amz-date"] for seen in server.all_requests]
        assert dates[0] < dates[1] <= dates[2]
        server.assert_consumed()
    with ScriptedServer([[Expect(), skewed(7200), Expect(), skewed(7200)]]) as server:
        with pytest.raises(PermissionDeniedError):
            store_of(server.endpoint).get("k")
        server.assert_consumed()


def test_a_skewed_clock_with_many_requests_in_flight() -> None:
    script = [Expect(), Wait(0.1), skewed(-7200), Expect(together(lambda seen: True)), OK]
    with ScriptedServer([script] * 3) as server:
        assert batch(store_of(server.endpoint), 3) == [None] * 3
        server.assert_consumed()


def test_a_clock_that_is_not_told() -> None:
    with ScriptedServer([[Expect(), error("403 Forbidden", "RequestTimeTooSkewed")]]) as server:
        with pytest.raises(PermissionDeniedError):
            store_of(server.endpoint).get("k")
        server.assert_consumed()


class ChangingKeys(CredentialProvider):
    """Credentials that another call makes new."""

    turn = 0
    asked = False

    def __call__(self) -> Credentials:
        self.turn += 1
        return Credentials(f"KEY{self.turn}", SECRET, "TOKEN")

    def refused(self) -> bool:
        self.asked = True
        return True


def changing_account(settings: Settings) -> S3Account:
    account = S3Account(settings)
    account.credentials = ChangingKeys(settings)
    return account


def test_an_expired_token_is_refreshed_in_the_middle_of_a_batch() -> None:
    expired = error("400 Bad Request", "ExpiredToken")
    with ScriptedServer([[Expect(), Wait(0.05), expired, Expect(together(lambda seen: True)), OK]] * 3) as server:
        store = S3Store(changing_account(settings_of(server.endpoint)), "b")
        assert batch(store, 3) == [None] * 3
        server.assert_consumed()


def test_fixed_credentials_that_have_expired() -> None:
    with ScriptedServer([[Expect(), error("400 Bad Request", "ExpiredToken")]]) as server:
        with pytest.raises(PermissionDeniedError, match="new credentials"):
            store_of(server.endpoint).get("k")
        server.assert_consumed()


# -- errors


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (error("404 Not Found", "NoSuchKey"), ObjectNotFoundError),
        (error("404 Not Found", "NoSuchBucket"), ObjectNotFoundError),
        (respond("404 Not Found"), ObjectNotFoundError),
        (error("403 Forbidden", "AccessDenied"), PermissionDeniedError),
        (respond("403 Forbidden", body=b"<html>"), PermissionDeniedError),
        (error("400 Bad Request", "InvalidArgument"), ServiceError),
        (respond("418 Teapot"), ServiceError),
    ],
)
def test_errors_say_what_where_and_which(answer: Send, kind: type[S3dlioError]) -> None:
    with ScriptedServer([[Expect(), answer]]) as server:
        with pytest.raises(kind) as caught:
            store_of(server.endpoint).get("k")
        assert (caught.value.uri, caught.value.operation) == ("s3://b/k", "GET")
        if b"x-amz-request-id" in answer.data:
            assert caught.value.request_id == "RID"
        server.assert_consumed()


def test_throttled_to_the_end() -> None:
    with ScriptedServer(
        [[Expect(), error("503 Slow Down", "SlowDown")] * 1 + [Expect(), error("503 S", "SlowDown")] * 2]
    ) as server:
        with pytest.raises(ThrottledError, match="after 3 attempts"):
            store_of(server.endpoint).get("k")
        server.assert_consumed()


SIZELESS = Send(b"HTTP/1.1 200 OK\r\nETag: x\r\n\r\n")


@pytest.mark.parametrize(
    ("answer", "size"),
    [
        (respond("206 Partial Content", body=b"x", headers=[("Content-Range", "bytes 0-0/7")]), 7),
        (respond(body=b"hello"), 5),  # ranges are ignored
        (respond("416 Range Not Satisfiable", headers=[("Content-Range", "bytes */0")]), 0),
    ],
    ids=["a range", "the whole", "empty"],
)
def test_head_without_a_size_asks_for_the_first_byte(answer: Send, size: int) -> None:
    with ScriptedServer([[Expect(b"HEAD"), SIZELESS, Expect(b"GET"), answer]]) as server:
        assert store_of(server.endpoint).head("k").size == size
        server.assert_consumed()


def test_a_size_that_nobody_tells() -> None:
    answer = respond("206 Partial Content", body=b"x", headers=[("Content-Range", "bytes 0-0/*")])
    with ScriptedServer([[Expect(b"HEAD"), SIZELESS, Expect(b"GET"), answer]]) as server:
        with pytest.raises(ProtocolError, match="size"):
            store_of(server.endpoint).head("k")
        server.assert_consumed()


@pytest.mark.parametrize("status", ["400 Bad Request", "301 Moved Permanently"])
def test_a_head_that_says_no_more_is_asked_as_get(status: str) -> None:
    """Where the bucket is, and what is wrong with a token, stands in the document that HEAD cannot have."""

    def in_ireland(seen: ReceivedRequest) -> bool:
        return "/eu-west-1/" in seen.headers["authorization"]

    there = respond("206 Partial Content", body=b"x", headers=[("Content-Range", "bytes 0-0/7"), ("ETag", '"e"')])
    elsewhere = error("400 Bad Request", "AuthorizationHeaderMalformed", Region="eu-west-1")
    script = [Expect(b"HEAD"), respond(status), Expect(b"GET"), elsewhere, Expect(in_ireland), there]
    with ScriptedServer([script]) as server:
        account = changing_account(settings_of(server.endpoint))
        assert S3Store(account, "b").head("k").size == 7
        assert isinstance(account.credentials, ChangingKeys)
        assert not account.credentials.asked  # the keys were good
        server.assert_consumed()
    expired = error("400 Bad Request", "ExpiredToken")
    with ScriptedServer([[Expect(b"HEAD"), respond(status), Expect(b"GET"), expired]]) as server:
        with pytest.raises(PermissionDeniedError, match="get new credentials"):
            store_of(server.endpoint).head("k")
        server.assert_consumed()


# -- writing


def test_the_look_after_a_lost_answer_asks_a_get_why_a_head_is_refused() -> None:
    whole = respond("206 Partial Content", body=b"x", headers=[("Content-Range", "bytes 0-0/1"), ("ETag", '"e"')])
    expired = error("400 Bad Request", "ExpiredToken")
    script: list[Any] = [Expect(b"PUT"), error("500 Internal Server Error", "InternalError")] * 3
    script += [Expect(b"HEAD"), respond("400 Bad Request"), Expect(b"GET"), expired, Expect(b"GET"), whole]
    script += [Expect(b"HEAD"), respond(headers=[("ETag", '"e"')])]
    create = PutOptions(conditions=Conditions(if_none_match="*"))
    with ScriptedServer([script]) as server:
        store = S3Store(changing_account(settings_of(server.endpoint)), "b")
        with pytest.raises(AlreadyExistsError, match="another writer"):
            store.put("k", b"x", options=create)
        server.assert_consumed()


def test_a_create_only_put_that_met_an_object() -> None:
    create = PutOptions(conditions=Conditions(if_none_match="*"))
    with ScriptedServer([[Expect(), error("412 Precondition Failed", "PreconditionFailed")]]) as server:
        with pytest.raises(AlreadyExistsError):
            store_of(server.endpoint).put("k", b"x", options=create)
        server.assert_consumed()


@pytest.mark.parametrize(
    "options",
    [
        PutOptions(content_type="a\r\nEvil: 1"),
        PutOptions(metadata={"a": "b\nEvil: 1"}),
        PutOptions(metadata={"a\r\nEvil": "b"}),
        PutOptions(metadata={"a: b\r\nEvil": "b"}),
        PutOptions(metadata={"A": "1", "a": "2"}),
        PutOptions(metadata={"a": "ü"}),
        PutOptions(storage_class="X\x00"),
        PutOptions(conditions=Conditions(if_match='"x"\r\nEvil: 1')),
    ],
)
def test_what_breaks_out_of_a_header_is_refused_before_io(options: PutOptions) -> None:
    with ScriptedServer([]) as server:
        store = store_of(server.endpoint)
        with pytest.raises(ConfigError):
            store.put("k", b"x", options=options)
        with pytest.raises(ConfigError), store.writer("k", options=options) as writer:
            writer.write(b"x" * (40 << 20))
        server.assert_consumed()


@pytest.mark.parametrize("field", ["if_match", "if_none_match"])
def test_conditions_of_reads_are_held_to_the_same(field: str) -> None:
    conditions = Conditions(**{field: '"x"\r\nEvil: 1'})  # type: ignore[arg-type]
    with ScriptedServer([]) as server:
        store = store_of(server.endpoint)
        with pytest.raises(ConfigError):
            store.get("k", conditions=conditions)
        with pytest.raises(ConfigError):
            store.head("k", conditions=conditions)
        server.assert_consumed()


def test_blanks_around_a_value_are_not_signed() -> None:
    def fits(seen: ReceivedRequest) -> bool:
        return b"x-amz-meta-a: b  c\r\n" in seen.head

    with ScriptedServer([[Expect(fits), respond(headers=[("ETag", '"e"')])]]) as server:
        store_of(server.endpoint).put("k", b"x", options=PutOptions(metadata={"a": "  b  c "}))
        server.assert_consumed()


# -- listings


def page(keys: list[str], *, token: str | None = None, truncated: bool | None = None, encoded: bool = True) -> Send:
    more = truncated if truncated is not None else token is not None
    contents = "".join(f"<Contents><Key>{key}</Key><Size>1</Size></Contents>" for key in keys)
    following = f"<NextContinuationToken>{token}</NextContinuationToken>" if token else ""
    encoding = "<EncodingType>url</EncodingType>" if encoded else ""
    body = (
        f"<ListBucketResult>{encoding}<IsTruncated>{str(more).lower()}</IsTruncated>{following}{contents}"
        "</ListBucketResult>"
    )
    return respond(body=body.encode())


def keys_of(server: ScriptedServer) -> list[str]:
    return [key for found in store_of(server.endpoint).list() for key in found.keys]


def test_pages_follow_each_other() -> None:
    script = [
        Expect(b"GET /b/?encoding-type=url&list-type=2&prefix= "),
        page(["a+b", "%C3%A4%26", "c%2Bd"], token="t/1=&amp;"),
        Expect(b"GET /b/?continuation-token=t%2F1%3D%26&encoding-type=url"),
        page(["x&amp;y", "&#128;&#x41;&#10;&lt;&apos;&amp;copy"], encoded=False),
    ]
    with ScriptedServer([script]) as server:
        assert keys_of(server) == ["a b", "ä&", "c+d", "x&y", "\x80A\n<'&copy"]
        server.assert_consumed()


def test_page_seven_fails() -> None:
    script: list[Any] = []
    for number in range(6):
        script += [Expect(), page([f"k{number}"], token=f"t{number}")]
    script += [Expect(), error("500 Oops", "InternalError")] * 3
    with ScriptedServer([script]) as server:
        pages = store_of(server.endpoint).list()
        assert [next(pages).keys for _ in range(6)] == [[f"k{number}"] for number in range(6)]
        with pytest.raises(ServiceError, match="after 3 attempts"):
            next(pages)
        server.assert_consumed()


@pytest.mark.parametrize(
    "answer",
    [
        page([], truncated=True),
        respond(body=b"<ListBucketResult><Contents><Key>a</Key>"),
        respond(body=b""),
        respond(body=b"<html>welcome</html>"),
        respond(body=b"<ListBucketResult><Contents><Key>\xff</Key></Contents></ListBucketResult>"),
        respond(body=b"<ListBucketResult><Contents><Key>&#9999999;</Key></Contents></ListBucketResult>"),
    ],
    ids=["no token", "cut", "empty", "html", "latin-1", "no character"],
)
def test_a_page_that_is_not_whole(answer: Send) -> None:
    with ScriptedServer([[Expect(), answer]]) as server:
        with pytest.raises(ProtocolError):
            keys_of(server)
        server.assert_consumed()


def test_a_page_cut_by_the_network_comes_again() -> None:
    whole = page(["a", "b"])
    with ScriptedServer([[Expect(), Send(whole.data[:-30]), Close()], [Expect(), whole]]) as server:
        assert keys_of(server) == ["a", "b"]
        server.assert_consumed()


def test_a_listing_that_does_not_get_on() -> None:
    with ScriptedServer([[Expect(), page(["a"], token="t"), Expect(), page(["a"], token="t")]]) as server:
        with pytest.raises(ProtocolError, match="does not get on"):
            keys_of(server)
        server.assert_consumed()


# -- deleting


def test_keys_that_xml_cannot_carry_are_deleted_alone() -> None:
    def names_the_others(seen: ReceivedRequest) -> bool:
        return b"<Key>a&amp;b</Key>" in seen.body and b"<Key>cr&#13;</Key>" in seen.body and b"\x01" not in seen.body

    refused = (
        b"<DeleteResult><Error><Key>a&amp;b</Key><Code>AccessDenied</Code><Message>no</Message></Error></DeleteResult>"
    )
    script = [
        Expect(names_the_others),
        respond(body=refused),
        Expect(b"DELETE /b/%01 "),
        error("403 No", "AccessDenied"),
    ]
    with ScriptedServer([script]) as server:
        failed = store_of(server.endpoint).delete_many(["a&b", "\x01", "cr\r"])
        assert [(key, type(problem), problem.uri) for key, problem in failed] == [
            ("a&b", PermissionDeniedError, "s3://b/a&b"),
            ("\x01", PermissionDeniedError, "s3://b/\x01"),
        ]
        server.assert_consumed()


def test_a_delete_that_is_not_answered_properly() -> None:
    with ScriptedServer([[Expect(), respond(body=b"<html>")]]) as server:
        with pytest.raises(ProtocolError):
            store_of(server.endpoint).delete_many(["a"])
        server.assert_consumed()
