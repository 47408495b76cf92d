"""What a server may answer to do harm: sizes and pages without end, numbers that are none, names that no host has."""

from __future__ import annotations

import pytest

from s3dlio.errors import NetworkError, ProtocolError, S3dlioError
from s3dlio.memory.sinks import DiscardSink, MemorySink
from s3dlio.rfc3339 import parse_rfc3339
from s3dlio.stores import paging
from tests.servers.scripted import Close, Expect, ScriptedServer, Send, respond
from tests.wire.s3_harness import store_of

ONCE = {"max_attempts": 1}


def page(body: str, end: str = "<IsTruncated>false</IsTruncated>") -> Send:
    return respond(body=f"<ListBucketResult>{end}{body}</ListBucketResult>".encode())


def entry(size: str) -> str:
    return f"<Contents><Key>k</Key><Size>{size}</Size></Contents>"


@pytest.mark.parametrize("size", ["abc", "-5", "9" * 5000, "1.5"])
def test_a_listing_with_sizes_that_are_none(size: str) -> None:
    with ScriptedServer([[Expect(b"GET"), page(entry(size))]]) as server:
        (listed,) = store_of(server.endpoint).list("")
        with pytest.raises(ProtocolError, match="size that is none"):
            list(listed.entries)


def test_a_listing_of_elements_without_end_takes_no_minutes() -> None:
    endless = page("<Key>k</Key>" + "<Contents>" * 200_000)
    with ScriptedServer([[Expect(b"GET"), endless]]) as server, pytest.raises(ProtocolError, match="not a whole"):
        list(store_of(server.endpoint).list(""))


@pytest.mark.parametrize("tokens", ["AAAA", "ABABABAB", "ABCDECDECDECDE"])
def test_a_listing_that_goes_round_in_circles(tokens: str) -> None:
    more = "<IsTruncated>true</IsTruncated><NextContinuationToken>{}</NextContinuationToken>"
    script = [step for token in tokens * 4 for step in (Expect(b"GET"), page(entry("1"), more.format(token)))]
    with ScriptedServer([script]) as server, pytest.raises(ProtocolError, match=r"circles|does not get on"):
        list(store_of(server.endpoint).list(""))


def test_a_listing_of_one_page_again_and_again() -> None:
    more = "<IsTruncated>true</IsTruncated><NextContinuationToken>{}</NextContinuationToken>"
    script = [step for token in range(9) for step in (Expect(b"GET"), page(entry("1"), more.format(token)))]
    with ScriptedServer([script]) as server, pytest.raises(ProtocolError, match="circles"):
        list(store_of(server.endpoint).list(""))


def test_a_listing_of_nothing_comes_to_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paging, "MAX_EMPTY", 9)
    more = "<IsTruncated>true</IsTruncated><NextContinuationToken>{}</NextContinuationToken>"
    script = [step for token in range(20) for step in (Expect(b"GET"), page("", more.format(token)))]
    with ScriptedServer([script]) as server, pytest.raises(ProtocolError, match="9 pages in a row"):
        list(store_of(server.endpoint).list(""))


def test_a_list_of_buckets_comes_to_an_end() -> None:
    bucket = "<Buckets><Bucket><Name>b</Name></Bucket></Buckets><ContinuationToken>{}</ContinuationToken>"
    pages = [f"<ListAllMyBucketsResult>{bucket.format(token)}</ListAllMyBucketsResult>" for token in "ABABAB"]
    script = [step for text in pages for step in (Expect(b"GET"), respond(body=text.encode()))]
    with ScriptedServer([script]) as server, pytest.raises(ProtocolError, match="circles"):
        store_of(server.endpoint).list_containers()


def head_of(size: int) -> Send:
    return Send(f'HTTP/1.1 200 OK\r\nETag: "e"\r\nContent-Length: {size}\r\n\r\nhello'.encode())


@pytest.mark.parametrize("sink", [MemorySink, DiscardSink])
def test_a_size_that_no_object_has(sink: type[MemorySink] | type[DiscardSink]) -> None:
    with ScriptedServer([[Expect(b"GET"), head_of(10**18), Close()]]) as server:
        store = store_of(server.endpoint)
        with pytest.raises(ProtocolError, match="a size that no object has"):
            store.execute(store.read_call("k", sink()))


def test_ranges_of_an_enormous_object_are_not_without_number() -> None:
    """Ten thousand, and not the four million of a 256 TiB object at 64 MiB."""
    with ScriptedServer([[Expect(b"GET"), head_of(1 << 48), Close()]]) as server:
        store = store_of(server.endpoint, retry=ONCE)
        with pytest.raises(NetworkError):
            store.execute(store.read_call("k", DiscardSink()))


@pytest.mark.parametrize("total", ["20", "*"])
def test_a_range_that_ends_early(total: str) -> None:
    answer = respond("206 Partial Content", body=b"01", headers=[("Content-Range", f"bytes 0-1/{total}")])
    with ScriptedServer([[Expect(b"GET"), answer]]) as server:
        store = store_of(server.endpoint)
        if total == "*":  # the object may end there
            assert bytes(store.get_range("k", 0, 3)) == b"01"
        else:
            with pytest.raises(ProtocolError, match="less than the range"):
                store.get_range("k", 0, 3)


@pytest.mark.parametrize("field", ["bytes 0-%s/*", "bytes 0-2/%s"])
def test_a_content_range_of_thousands_of_digits(field: str) -> None:
    answer = respond("206 Partial Content", body=b"abc", headers=[("Content-Range", field % ("9" * 5000))])
    with ScriptedServer([[Expect(b"GET"), answer]]) as server, pytest.raises(ProtocolError):
        store_of(server.endpoint).get_range("k", 0, 3)


@pytest.mark.parametrize("host", ["a" * 64, "xn--", "..", "\xe9\xe9..x"])
def test_a_redirect_to_a_name_that_no_host_has(host: str) -> None:
    location = ("Location", f"http://{host}/k")
    with (
        ScriptedServer([[Expect(b"GET"), respond("307 x", headers=[location])]]) as server,
        pytest.raises(S3dlioError),
    ):
        store_of(server.endpoint, retry=ONCE).get("k")


@pytest.mark.parametrize("field", ["Retry-After", "x-ms-retry-after-ms"])
def test_a_pause_of_thousands_of_digits(field: str) -> None:
    busy = respond("503 x", headers=[(field, "9" * 5000)])
    with ScriptedServer([[Expect(b"GET"), busy, Expect(b"GET"), respond(body=b"here")]]) as server:
        assert bytes(store_of(server.endpoint).get("k")) == b"here"


ABSURD = "Mon, 01 Jan 2020 00:00:00 +" + "9" * 30


@pytest.mark.parametrize("date", [ABSURD, "Fri, 31 Dec 9999 23:59:59 GMT"])
def test_a_clock_that_no_server_has_turns_nobodys(date: str) -> None:
    skewed = respond(
        "403 Forbidden", body=b"<Error><Code>RequestTimeTooSkewed</Code></Error>", headers=[("Date", date)]
    )
    with ScriptedServer([[Expect(b"GET"), skewed, Expect(b"GET"), respond(body=b"hello")]]) as server:
        store = store_of(server.endpoint, retry=ONCE)
        with pytest.raises(S3dlioError, match="RequestTimeTooSkewed"):
            store.get("k")
        assert bytes(store.get("k")) == b"hello"


def test_a_time_of_change_that_no_calendar_has_is_none() -> None:
    head = Send(f"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nLast-Modified: {ABSURD}\r\n\r\n".encode())
    with ScriptedServer([[Expect(b"HEAD"), head]]) as server:
        assert store_of(server.endpoint).head("k").last_modified is None
    assert parse_rfc3339("9999-99-99T99:99:99Z") is None
    assert parse_rfc3339("99999-01-01T00:00:00Z") is None


def test_more_memory_than_there_is() -> None:
    with ScriptedServer([[Expect(b"GET"), head_of((1 << 48) - 1), Close()]]) as server:
        store = store_of(server.endpoint, range={"enabled": False})
        with pytest.raises(S3dlioError, match="no memory"):
            store.get("k")
