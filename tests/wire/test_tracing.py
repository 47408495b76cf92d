"""What the log tells of requests: one line an attempt, heads without secrets, and nothing where nobody asked."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator

import pytest

from s3dlio.client import Client
from s3dlio.net.exchange import Exchange
from s3dlio.net.tracing import TRACE, look, shown
from s3dlio.types import PutOptions
from tests.servers.scripted import Close, Expect, ScriptedServer, respond
from tests.wire.harness import DRIVERS, get, put, service_of
from tests.wire.s3_harness import SECRET, settings_of, store_of


@pytest.fixture
def level(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    caplog.set_level(logging.DEBUG, "s3dlio")
    look()
    yield caplog
    caplog.set_level(logging.WARNING, "s3dlio")
    look()


def lines(caplog: pytest.LogCaptureFixture, name: str) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == f"s3dlio.net.{name}"]


@pytest.mark.parametrize("driver", DRIVERS)
def test_each_attempt_has_a_line(level: pytest.LogCaptureFixture, driver: str):
    script = [[Expect(), respond("503 Slow Down"), Expect(), respond(body=b"four")]]
    with ScriptedServer(script) as server:
        service = service_of(server.endpoint)
        DRIVERS[driver](get(service))
    first, second = lines(level, "requests")
    url = f"GET {server.endpoint}/k"
    times = r"first byte \d+\.\d ms, total \d+\.\d ms"
    assert re.fullmatch(rf"{url}: 503; attempt 1; 0 bytes sent, 0 received; {times}", first)
    assert re.fullmatch(rf"{url}: 200; attempt 2; 0 bytes sent, 4 received; {times}", second)
    retry = [record.getMessage() for record in level.records if record.name == "s3dlio.net"]
    assert [re.sub(r"\d\.\d s", "T", text) for text in retry] == [
        f"{url}: answered 503 Slow Down; attempt 2 of at most 4 follows in T"
    ]
    assert service.policy.retries == 1


@pytest.mark.parametrize("driver", DRIVERS)
def test_an_attempt_without_an_answer_says_why(level: pytest.LogCaptureFixture, driver: str):
    with ScriptedServer([[Expect(), Close()], [Expect(), respond()]]) as server:
        DRIVERS[driver](put(service_of(server.endpoint), b"data"))
    first, second = lines(level, "requests")
    assert "closed before the answer was complete; attempt 1; 4 bytes sent, 0 received; total" in first
    assert ": 200; attempt 2; 4 bytes sent" in second


def test_heads_are_shown_without_secrets(level: pytest.LogCaptureFixture):
    level.set_level(TRACE, "s3dlio")
    key = b"k" * 32
    answer = respond(headers=[("x-amz-request-id", "RID"), ("set-cookie", "crumbs")])
    with ScriptedServer([[Expect(), answer]]) as server:
        store = store_of(server.endpoint, s3={"session_token": "TOKEN-1"})
        store.put("k", b"1", options=PutOptions(sse_customer_key=key))
    request, answered = lines(level, "headers")
    assert "> PUT /b/k HTTP/1.1" in request
    assert "> authorization: AWS4-HMAC-SHA256 ***" in request
    assert "> x-amz-security-token: ***" in request
    assert "> x-amz-server-side-encryption-customer-key: ***" in request
    assert "> x-amz-server-side-encryption-customer-algorithm: AES256" in request
    assert "< x-amz-request-id: RID" in answered
    logged = "\n".join(record.getMessage() for record in level.records)
    for secret in ("TOKEN-1", SECRET, "a2tra2tra2tr", "crumbs", "Signature="):
        assert secret not in logged


@pytest.mark.parametrize(("field", "told"), [
    (b"authorization: Bearer abc", "authorization: Bearer ***"),
    (b"proxy-authorization: Basic abc", "proxy-authorization: Basic ***"),
    (b"x-ms-encryption-key: abc", "x-ms-encryption-key: ***"),
    (b"x-goog-encryption-key: abc", "x-goog-encryption-key: ***"),
    (b"x-ms-copy-source-authorization: Bearer abc", "x-ms-copy-source-authorization: Bearer ***"),
    (b"x-amz-s3session-token: abc", "x-amz-s3session-token: ***"),
    (b"x-ms-copy-source: https://h/c/k?sig=abc&se=1", "x-ms-copy-source: https://h/c/k?sig=***&se=1"),
    (b"location: https://h/upload?uploadType=resumable&upload_id=abc", "location: https://h/upload?uploadType=resumable"
     "&upload_id=***"),
    (b"x-guploader-uploadid: abc", "x-guploader-uploadid: ***"),
    (b"etag: \x1b[31mred", "etag: \\x1b[31mred"),
])  # fmt: skip
def test_which_fields_are_secret(field: bytes, told: str):
    head = b"GET /k?X-Amz-Signature=abc HTTP/1.1\r\n" + field + b"\r\n\r\n"
    assert shown(head, ">") == f"> GET /k?X-Amz-Signature=*** HTTP/1.1\n> {told}"


def test_nothing_is_traced_unless_asked_for():
    look()
    assert Exchange.kind is Exchange


def test_a_program_that_configures_logging_itself_gets_the_requests(caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.DEBUG, "s3dlio")
    try:
        with ScriptedServer([[Expect(), respond(body=b"1")]]) as server:
            assert Client(settings_of(server.endpoint)).get("s3://b/k") == b"1"
        assert len(lines(caplog, "requests")) == 1
    finally:
        caplog.set_level(logging.WARNING, "s3dlio")
        look()
