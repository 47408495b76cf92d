"""Copies inside S3: what they keep, what is replaced, and large ones in parts."""

from __future__ import annotations

import time

import pytest

from s3dlio.client import Client
from s3dlio.errors import AlreadyExistsError, ServiceError
from s3dlio.stores.s3 import S3Account, S3Store, copying
from s3dlio.stores.sdk.boto import BotoStore
from s3dlio.types import Conditions, PutOptions
from tests.servers import Server
from tests.servers.scripted import Expect, ReceivedRequest, ScriptedServer, Send, respond
from tests.wire.s3_harness import error, settings_of, store_of

MIB = 1 << 20
COPIED = respond(body=b'<CopyObjectResult><ETag>"e"</ETag></CopyObjectResult>')
FULL = PutOptions(
    content_type="text/x-test", content_language="de", cache_control="no-cache", metadata={"a": "b"}, tags={"t": "1"}
)


@pytest.fixture
def store(moto_server: Server) -> S3Store:
    made = store_of(moto_server.endpoint, f"copies-{time.time_ns()}")
    made.create_container()
    made.put("source", b"0123456789", options=FULL)
    return made


@pytest.fixture(params=["whole", "parts"])
def in_parts(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Small objects are copied in parts, too, if their size is known."""
    monkeypatch.setattr(copying, "COPY_WHOLE", 9 if request.param == "parts" else 1 << 40)
    return request.param == "parts"


def copied(store: S3Store, options: PutOptions = FULL, size: int | None = 10) -> None:
    store.execute(store.copy_call(store, "source", "copy", options=options, size=size))


def kept(store: S3Store) -> tuple[object, ...]:
    about = store.head("copy")
    tags = store.get_tags("copy")
    return about.content_type, about.content_language, about.cache_control, dict(about.metadata), tags


@pytest.mark.usefixtures("in_parts")
def test_a_copy_keeps_everything(store: S3Store) -> None:
    copied(store, PutOptions())
    assert store.get("copy") == b"0123456789"
    assert kept(store) == ("text/x-test", "de", "no-cache", {"a": "b"}, {"t": "1"})


EXPIRES = "Fri, 20 Nov 2026 23:52:48 GMT"


@pytest.mark.parametrize("parts", [False, True])
def test_a_copy_keeps_when_it_expires(parts: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copying, "COPY_WHOLE", 9 if parts else 1 << 40)

    def keeps(seen: ReceivedRequest) -> bool:
        return seen.headers.get("expires") == EXPIRES and seen.headers["content-type"] == "text/plain"

    about = Send(respond(headers=[("ETag", '"e"'), ("Expires", EXPIRES)]).data.replace(b"Length: 0", b"Length: 10"))
    script = [Expect(b"HEAD"), about]
    if parts:
        begun = b"<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>"
        ended = b'<CompleteMultipartUploadResult><ETag>"e-1"</ETag></CompleteMultipartUploadResult>'
        script += [Expect(keeps), respond(body=begun), Expect(b"PUT"), COPIED, Expect(b"POST"), respond(body=ended)]
    else:
        script += [Expect(keeps), COPIED]
    with ScriptedServer([script]) as server:
        copied(store_of(server.endpoint), PutOptions(content_type="text/plain", tags={"a": "b"}))
        server.assert_consumed()


@pytest.mark.parametrize(
    ("told", "sent"), [(EXPIRES, EXPIRES), ("0", "Thu, 01 Jan 1970 00:00:00 GMT")], ids=["a date", "no date"]
)
def test_with_boto3_too(told: str, sent: str) -> None:
    head = respond(headers=[("ETag", '"e"'), ("Expires", told), ("Last-Modified", EXPIRES)])
    script = [Expect(b"HEAD"), head, Expect(lambda seen: seen.headers.get("expires") == sent), COPIED,
              Expect(b"HEAD"), head]  # fmt: skip
    with ScriptedServer([script]) as server:
        store = BotoStore(S3Account(settings_of(server.endpoint)), "b")
        store.copy(store, "source", "copy", options=PutOptions(content_type="text/plain"))
        server.assert_consumed()


@pytest.mark.usefixtures("in_parts")
def test_what_is_said_anew_replaces_only_that(store: S3Store) -> None:
    copied(store, PutOptions(content_type="text/plain"))
    assert kept(store) == ("text/plain", "de", "no-cache", {"a": "b"}, {"t": "1"})
    copied(store, PutOptions(cache_control="private"))
    assert kept(store) == ("text/x-test", "de", "private", {"a": "b"}, {"t": "1"})
    copied(store, PutOptions(metadata={"c": "d"}, tags={"u": "2"}))
    assert kept(store) == ("text/x-test", "de", "no-cache", {"c": "d"}, {"u": "2"})


def test_large_objects_are_copied_in_concurrent_parts(
    store: S3Store, moto_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the public face, which knows the size from its listing."""
    monkeypatch.setattr(copying, "COPY_WHOLE", 8 * MIB)
    monkeypatch.setattr(copying, "COPY_PART", 5 * MIB)
    data = bytes(range(256)) * 4 * 1024 * 12
    store.put("large", data, options=FULL)
    client = Client(settings=store.settings)
    client.copy(store.uri("large"), store.uri("copy"))
    assert store.get("copy") == data
    etag = store.head("copy").etag
    assert etag is not None
    assert etag.endswith('-3"')  # 5, 5 and 2 MiB
    assert kept(store) == ("text/x-test", "de", "no-cache", {"a": "b"}, {"t": "1"})


def test_an_object_too_large_for_one_request_is_copied_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its size was not known; the service refuses, and only then it is looked up."""
    monkeypatch.setattr(copying, "MAX_COPY", 9)
    part = respond(body=b'<CopyPartResult><ETag>"p"</ETag></CopyPartResult>')
    begun = respond(body=b"<X><UploadId>U</UploadId></X>")
    done = respond(body=b'<CompleteMultipartUploadResult><ETag>"w"</ETag></CompleteMultipartUploadResult>')
    refused = error("400 Bad Request", "InvalidRequest")
    head = Send(b'HTTP/1.1 200 OK\r\nETag: "v1"\r\nContent-Length: 10\r\n\r\n')

    def is_pinned(seen: ReceivedRequest) -> bool:
        fields = seen.headers
        source = fields["x-amz-copy-source"] == "/b/source?versionId=7"
        return source and fields["x-amz-copy-source-if-match"] == '"v1"'

    script = [
        Expect(b"PUT /b/copy "), refused, Expect(b"HEAD /b/source?versionId=7 "), head,
        Expect(b"GET /b/source?tagging=&versionId=7 "), error("501 Not Implemented", "NotImplemented"),
        Expect(b"POST /b/copy?uploads= "), begun, Expect(is_pinned), part, Expect(b"POST /b/copy?uploadId=U "), done,
    ]  # fmt: skip
    with ScriptedServer([script]) as server:
        store = store_of(server.endpoint)
        options = PutOptions(conditions=Conditions(version_id="7"))
        result = store.copy(store, "source", "copy", options=options)
        assert result is not None
        assert result.etag == '"w"'
        server.assert_consumed()


def test_a_small_copy_that_is_refused_stays_refused() -> None:
    """S3 says the same code about a copy onto itself."""
    head = Send(b'HTTP/1.1 200 OK\r\nETag: "v1"\r\nContent-Length: 10\r\n\r\n')
    script = [Expect(b"PUT"), error("400 Bad Request", "InvalidRequest"), Expect(b"HEAD"), head]
    with ScriptedServer([script]) as server:
        store = store_of(server.endpoint)
        with pytest.raises(ServiceError, match="no"):
            store.copy(store, "k", "k")
        server.assert_consumed()


def test_a_create_only_copy() -> None:
    there = error("412 Precondition Failed", "PreconditionFailed")
    with ScriptedServer([[Expect(b"PUT"), there]]) as server:
        store = store_of(server.endpoint)
        with pytest.raises(AlreadyExistsError):
            store.copy(store, "k", "l", options=PutOptions(conditions=Conditions(if_none_match="*")))
        server.assert_consumed()


def test_an_error_that_comes_with_200() -> None:
    script = [Expect(b"PUT"), error("200 OK", "InternalError"), Expect(b"PUT"), COPIED]
    with ScriptedServer([script]) as server:
        store = store_of(server.endpoint)
        result = store.copy(store, "k", "l")
        assert result is not None
        assert result.etag == '"e"'
        server.assert_consumed()


def test_tags_that_may_not_be_read_are_missed_aloud(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copying, "COPY_WHOLE", 9)
    head = Send(b'HTTP/1.1 200 OK\r\nETag: "v1"\r\nContent-Length: 10\r\n\r\n')
    denied = error("403 Forbidden", "AccessDenied")
    script = [Expect(b"HEAD"), head, Expect(b"GET"), denied, Expect(b"POST"), denied]
    with ScriptedServer([script]) as server:
        with pytest.raises(PermissionError):
            copied(store_of(server.endpoint), PutOptions())
        assert "the tags of s3://b/source may not be read" in caplog.text
        server.assert_consumed()
