"""Credentials of a proxy go to the proxy, and nowhere else."""

from __future__ import annotations

import logging

import pytest

from s3dlio.errors import NetworkError
from tests.servers.scripted import Expect, ScriptedServer, respond
from tests.wire.s3_harness import store_of

FIELD = "Basic dXNlcjpwOnNzdw=="  # user:p:ssw


def test_a_plain_proxy_is_told_with_every_request(monkeypatch: pytest.MonkeyPatch) -> None:
    with ScriptedServer([[Expect(b"GET http://far.test/b/k"), respond(body=b"here")] * 2]) as proxy:
        monkeypatch.setenv("http_proxy", f"http://user:p%3Assw@127.0.0.1:{proxy.port}")
        store = store_of("http://far.test")
        for _ in range(2):
            assert bytes(store.get("k")) == b"here"
        assert [request.headers["proxy-authorization"] for request in proxy.all_requests] == [FIELD, FIELD]


def test_no_proxy_no_field(monkeypatch: pytest.MonkeyPatch) -> None:
    with ScriptedServer([[Expect(b"GET /b/k"), respond(body=b"here")]]) as server:
        monkeypatch.setenv("http_proxy", "http://user:p%3Assw@127.0.0.1:9")
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        assert bytes(store_of(server.endpoint).get("k")) == b"here"
        assert "proxy-authorization" not in server.all_requests[0].headers


def test_errors_and_logs_do_not_tell_them(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("http_proxy", "http://user:hidden@127.0.0.1:9")
    with pytest.raises(NetworkError) as caught:
        store_of("http://far.test", retry={"max_attempts": 1}).get("k")
    assert "hidden" not in str(caught.value) + repr(caught.value) + caplog.text
