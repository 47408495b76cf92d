"""Our signatures are those of botocore, on thousands of requests drawn from a seed."""

from __future__ import annotations

import datetime
import random
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import botocore.auth
import pytest
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotoCredentials

from s3dlio.errors import InvalidURIError
from s3dlio.memory.sources import MemorySource
from s3dlio.net.message import Request
from s3dlio.stores.cloud.percent import encode_key, encode_query
from s3dlio.stores.s3.sigv4 import Credentials, SigV4Signer, presign
from tests.wire.harness import service_of

NOW = 1_790_000_000
LETTERS = "abcXYZ019-_.~/ +%&=?#:;,@!$'()*[]{}|\\^`\"<>äß€漢🦆\t\n\x7f"
REGIONS = ["us-east-1", "eu-central-1", "cn-north-1"]


@pytest.fixture(autouse=True)
def _same_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both signers see the same clock."""
    monkeypatch.setattr("time.time", lambda: float(NOW))
    moment = datetime.datetime.fromtimestamp(NOW, datetime.UTC)
    monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda remove_tzinfo=True: moment.replace(tzinfo=None))


def text(draw: random.Random, letters: str, most: int) -> str:
    return "".join(draw.choice(letters) for _ in range(draw.randint(1, most)))


def credentials_of(draw: random.Random) -> Credentials:
    token = text(draw, "ABC/+=123", 60) if draw.random() < 0.4 else None
    return Credentials(text(draw, "ABC123", 20), text(draw, "abc/+XYZ", 40), token)


def query_of(draw: random.Random) -> list[tuple[str, str]]:
    names = draw.sample(["prefix", "uploadId", "partNumber", "versionId", "a b", "list-type", "delete", "~", "ä"], 3)
    return [(name, draw.choice(["", text(draw, LETTERS, 12)])) for name in names[: draw.randint(0, 3)]]


def headers_of(draw: random.Random) -> list[tuple[str, str]]:
    names = draw.sample(["x-amz-meta-a", "x-amz-meta-a-b", "content-type", "range", "if-match", "x-amz-tagging"], 4)
    values = ["a  b   c", "bytes=0-9", "a=1&b=2", '"etag"', "x", "a,b", "one two"]
    return [(name, draw.choice(values)) for name in names[: draw.randint(0, 4)]]


def fields_of(head: bytes) -> dict[str, str]:
    lines = head.decode("latin-1").split("\r\n")[1:-2]
    return {name: value for name, _, value in (line.partition(": ") for line in lines)}


def botocore_signature(
    signer: SigV4Signer, keys: Credentials, request: Request, query: list[tuple[str, str]], payload: str
) -> str:
    """The Authorization field that botocore gives the same request."""
    headers = {"host": signer.host, **dict(request.headers)}
    url = f"https://{signer.host}{request.path}" + (f"?{encode_query(query)}" if query else "")
    theirs = AWSRequest(request.method, url, headers=headers, data=b"")
    theirs.context["payload_signing_enabled"] = payload != "UNSIGNED-PAYLOAD"
    auth = botocore.auth.S3SigV4Auth(BotoCredentials(*keys), "s3", signer.region)
    auth.payload = lambda _: payload  # type: ignore[method-assign]
    auth.add_auth(theirs)
    return str(theirs.headers["Authorization"])


@pytest.mark.parametrize("seed", range(4))
def test_headers_are_signed_as_botocore_signs_them(seed: int) -> None:
    draw = random.Random(seed)
    service = service_of("https://bucket.example.com:9000")
    for _ in range(500):
        keys, region = credentials_of(draw), draw.choice(REGIONS)
        sign_payload = draw.random() < 0.5
        signer = SigV4Signer(service.pool.host_header, "", region, lambda keys=keys: keys, sign_payload, "agent")  # type: ignore[misc]
        query = query_of(draw)
        body = MemorySource(memoryview(draw.randbytes(50))) if draw.random() < 0.5 else None
        method = draw.choice(["PUT", "POST"]) if body else draw.choice(["GET", "HEAD", "DELETE", "PUT"])
        path = "/" + encode_key(text(draw, LETTERS, 30))
        request = Request(service, method, path, encode_query(query), headers_of(draw), body)
        head = signer.render(request)
        ours = fields_of(head)
        payload = ours["x-amz-content-sha256"]
        assert ours["authorization"] == botocore_signature(signer, keys, request, query, payload)
        assert ours["host"] == "bucket.example.com:9000"
        assert ours.get("x-amz-security-token") == keys.token
        assert (payload == "UNSIGNED-PAYLOAD") == (body is not None and not sign_payload)


@pytest.mark.parametrize("seed", range(2))
def test_urls_are_signed_as_botocore_signs_them(seed: int) -> None:
    draw = random.Random(seed)
    for _ in range(500):
        keys, region, expires = credentials_of(draw), draw.choice(REGIONS), draw.randint(1, 604_800)
        method = draw.choice(["GET", "PUT", "HEAD", "DELETE"])
        path = "/b/" + encode_key(text(draw, LETTERS, 30))
        version = [("versionId", text(draw, "abc+/=.", 20))] if draw.random() < 0.3 else []
        url = presign(method, ("http", "127.0.0.1:9000", path), region, keys, expires, query=version, now=NOW)
        plain = f"http://127.0.0.1:9000{path}" + (f"?{encode_query(version)}" if version else "")
        theirs = AWSRequest(method, plain, headers={"host": "127.0.0.1:9000"})
        botocore.auth.S3SigV4QueryAuth(BotoCredentials(*keys), "s3", region, expires=expires).add_auth(theirs)
        assert parts_of(url) == parts_of(theirs.url)


def parts_of(url: str) -> tuple[str, dict[str, str]]:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}{parts.path}", dict(parse_qsl(parts.query, keep_blank_values=True))


def signer_of(credentials: Any, **options: Any) -> SigV4Signer:
    return SigV4Signer("host", "", "us-east-1", credentials, False, "agent", **options)


def test_credentials_are_asked_for_once_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[float] = []
    now = [float(NOW)]
    monkeypatch.setattr("time.time", lambda: now[0])

    def credentials() -> Credentials:
        asked.append(now[0])
        return Credentials("A", f"secret{len(asked)}")

    signer = signer_of(credentials)
    request = Request(service_of("http://host"), "GET", "/k")
    first = signer.render(request)
    assert signer.render(request) == first
    now[0] += 1
    assert signer.render(request) != first
    assert len(asked) == 2
    signer.forget_credentials()
    signer.render(request)
    assert len(asked) == 3


def test_a_skewed_clock_is_corrected() -> None:
    signer = signer_of(lambda: Credentials("A", "B"))
    request = Request(service_of("http://host"), "GET", "/k")
    signer.skew = 3600.0
    stamp = datetime.datetime.fromtimestamp(NOW + 3600, datetime.UTC).strftime("%Y%m%dT%H%M%SZ")
    assert fields_of(signer.render(request))["x-amz-date"] == stamp


def test_a_key_that_is_no_text() -> None:
    with pytest.raises(InvalidURIError, match="surrogate"):
        encode_key("caf\udce9")


def test_secrets_are_not_shown() -> None:
    shown = repr(Credentials("AKIA", "very-secret", "very-secret-token"))
    assert "AKIA" in shown
    assert "very-secret" not in shown


def test_requests_of_one_second_are_signed_as_if_each_were_the_first() -> None:
    """What their heads have in common is made once."""
    draw = random.Random(7)
    keys = credentials_of(draw)
    service = service_of("http://127.0.0.1:9")

    def signer() -> SigV4Signer:
        return SigV4Signer("h", "", "us-east-1", lambda: keys, False, "test")

    shared = signer()
    sets = [(), *(tuple(headers_of(draw)) for _ in range(40))]
    for _ in range(200):
        body = draw.choice([None, None, MemorySource(memoryview(b"x" * draw.randint(0, 9)))])
        method = draw.choice(["PUT", "POST"] if body else ["GET", "HEAD", "PUT"])
        path = f"/b/{draw.randint(0, 99)}"
        request = Request(service, method, path, "", draw.choice(sets), body)
        assert shared.render(request) == signer().render(request)
