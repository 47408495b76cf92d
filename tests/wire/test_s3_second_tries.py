"""Answers that ask for the same request in another way: no go-ahead, no error document, another address."""

from __future__ import annotations

import email.utils
import time
from urllib.parse import parse_qs, urlsplit

import pytest

from s3dlio.errors import PermissionDeniedError, ServiceError
from s3dlio.types import PutOptions
from tests.servers.scripted import Expect, ReceivedRequest, ScriptedServer, Send, respond
from tests.wire.s3_harness import store_of

LARGE = 9 << 20


def test_a_server_that_knows_no_go_ahead_gets_the_body_at_once() -> None:
    def waits(seen: ReceivedRequest) -> bool:
        return seen.headers.get("expect") == "100-continue"

    refused = respond("417 Expectation Failed", headers=[("Connection", "close")])
    stored = respond(headers=[("ETag", '"e"')])
    with ScriptedServer(
        [[Expect(waits, body=False), refused], [Expect(lambda seen: not waits(seen)), stored]]
    ) as server:
        store_of(server.endpoint).put("k", bytes(LARGE))
        assert len(server.all_requests[1].body) == LARGE
        server.assert_consumed()


def refusal_of_a_head(seconds: int) -> Send:
    """403 to HEAD, which has no error document; the service's clock is ``seconds`` ahead of ours."""
    date = email.utils.formatdate(time.time() + seconds, usegmt=True)
    return Send(f"HTTP/1.1 403 Forbidden\r\nDate: {date}\r\n\r\n".encode())


def test_the_date_of_a_refused_stat_corrects_the_clock() -> None:
    there = Send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
    with ScriptedServer([[Expect(b"HEAD"), refusal_of_a_head(-7200), Expect(b"HEAD"), there]]) as server:
        store = store_of(server.endpoint)
        assert store.head("k").size == 5
        first, second = (seen.headers["x-amz-date"] for seen in server.all_requests)
        assert second < first
        signed_at = parse_qs(urlsplit(store.presign("k")).query)["X-Amz-Date"][0]
        assert signed_at < first  # links are valid by the service's clock, too
        server.assert_consumed()


@pytest.mark.parametrize("seconds", [0, 600])
def test_a_stat_that_is_refused_in_time_stays_refused(seconds: int) -> None:
    with ScriptedServer([[Expect(b"HEAD"), refusal_of_a_head(seconds)]]) as server:
        with pytest.raises(PermissionDeniedError):
            store_of(server.endpoint).head("k")
        server.assert_consumed()


def test_metadata_travels_to_another_host_whatever_it_is_called() -> None:
    def has_metadata(seen: ReceivedRequest) -> bool:
        return seen.headers["x-amz-meta-tokenizer"] == "bpe" and seen.headers["x-amz-meta-customer"] == "c"

    options = PutOptions(metadata={"tokenizer": "bpe", "customer": "c"})
    with ScriptedServer([[Expect(has_metadata), respond(headers=[("ETag", '"e"')])]]) as other:
        there = respond("307 There", headers=[("Location", f"{other.endpoint}/x")])
        with ScriptedServer([[Expect(), there]]) as server:
            store_of(server.endpoint).put("k", b"data", options=options)
            server.assert_consumed()
        other.assert_consumed()


def test_the_query_of_a_redirect_to_the_same_host_is_signed_in_order() -> None:
    with ScriptedServer([[]]) as server:
        there = respond("307 There", headers=[("Location", f"{server.endpoint}/b/k?z&a=1%2F2")])
        server._scripts[0] = [Expect(), there, Expect(b"GET /b/k?a=1%2F2&z= "), respond(body=b"x")]
        assert bytes(store_of(server.endpoint).get("k")) == b"x"
        server.assert_consumed()


def test_who_pays_stands_in_links() -> None:
    url = store_of("http://127.0.0.1:9", s3={"requester_pays": True}).presign("k")
    assert parse_qs(urlsplit(url).query)["x-amz-request-payer"] == ["requester"]


def test_a_redirect_that_is_not_followed_says_so() -> None:
    there = respond("307 There", headers=[("Location", "http://127.0.0.1:9/x")])
    with ScriptedServer([[Expect(), there]]) as server:
        with pytest.raises(ServiceError, match="307"):
            store_of(server.endpoint, http={"redirect_max": 0}).get("k")
        server.assert_consumed()
