"""Our Shared Key signatures, side by side with those of azure-storage-blob."""

from __future__ import annotations

import base64
import hmac
from types import SimpleNamespace
from urllib.parse import parse_qsl

import pytest
from azure.core.pipeline.transport import HttpRequest
from azure.storage.blob import generate_blob_sas
from azure.storage.blob._shared.authentication import SharedKeyCredentialPolicy
from hypothesis import given, settings
from hypothesis import strategies as st

from s3dlio.memory.sources import MemorySource
from s3dlio.net.message import Headers, Request
from s3dlio.stores.azure.presign import signed_query
from s3dlio.stores.azure.sharedkey import (
    API_VERSION,
    BearerRenderer,
    HeadRenderer,
    SasRenderer,
    SharedKeySigner,
    sign,
    string_to_sign,
)
from s3dlio.stores.cloud.hmac_sha256 import HmacSha256
from s3dlio.stores.cloud.percent import encode_key, encode_query

KEY = base64.b64encode(b"k" * 64).decode()
DATE = "Fri, 20 Nov 2026 23:52:48 GMT"

names = st.text("abcdefghijklmnopqrstuvwxyz0123456789_", min_size=1, max_size=12).map(lambda n: "m" + n)
values = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=30)
keys = st.text(min_size=1, max_size=40).filter(lambda key: key.encode("utf-8", "replace").decode() == key)
standard = st.sampled_from(
    ["content-encoding", "content-language", "content-md5", "content-type", "if-match", "if-none-match"]
)
own = st.sampled_from(
    ["x-ms-blob-type", "x-ms-blob-content-type", "x-ms-blob-content-md5", "x-ms-access-tier", "x-ms-copy-source",
     "x-ms-copy-source-if-match", "x-ms-lease-id", "x-ms-tags", "x-ms-range", "x-ms-blob-cache-control"]
)  # fmt: skip
fields = st.dictionaries(st.one_of(standard, own, names.map(lambda name: f"x-ms-meta-{name}")), values, max_size=9)
queries = st.dictionaries(
    st.sampled_from(["comp", "restype", "prefix", "marker", "delimiter", "blockid", "versionid", "maxresults"]),
    st.text(max_size=20).filter(lambda text: text.encode("utf-8", "replace").decode() == text),
    max_size=5,
)


def signature_of_the_sdk(method: str, url: str, sent: dict[str, str]) -> str:
    """The Authorization field that azure-storage-blob sends. It leaves Range out (it uses x-ms-range itself) and
    reads the line for it under another name."""
    request = HttpRequest(method, url, headers={k if k != "range" else "byte_range": v for k, v in sent.items()})
    SharedKeyCredentialPolicy("account", KEY).on_request(
        SimpleNamespace(http_request=request, context=SimpleNamespace(transport=None))
    )
    return str(request.headers["Authorization"])


@settings(max_examples=300)
@given(
    st.sampled_from(["GET", "HEAD", "PUT", "POST", "DELETE"]), keys, queries, fields, st.integers(0, 1 << 40),
    st.booleans(), st.booleans(),
)  # fmt: skip
def test_signatures_are_those_of_the_sdk(
    method: str, key: str, query: dict[str, str], given: dict[str, str], length: int, ranged: bool, emulator: bool
) -> None:
    path = ("/account" if emulator else "") + "/container/" + encode_key(key)
    encoded = encode_query(list(query.items()))
    sent = {"x-ms-date": DATE, "x-ms-version": API_VERSION, **given}
    if ranged:
        sent["range"] = "bytes=5-100"
    text = string_to_sign("account", method, path, encoded, list(sent.items()), length)
    ours = f"SharedKey account:{sign(HmacSha256(base64.b64decode(KEY)), text)}"
    url = f"https://account.blob.core.windows.net{path}" + (f"?{encoded}" if encoded else "")
    assert ours == signature_of_the_sdk(method, url, {**sent, "content-length": str(length)})


def rendered(renderer: HeadRenderer, request: Request) -> tuple[str, dict[str, str]]:
    head = renderer.render(request).decode()
    assert head.endswith("\r\n\r\n")
    line, *rest = head.removesuffix("\r\n\r\n").split("\r\n")
    return line, dict(pair.split(": ", 1) for pair in rest)


TYPED = (("x-ms-blob-type", "BlockBlob"),)


def request(method: str, path: str, query: str = "", size: int | None = None, fields: Headers = TYPED) -> Request:
    body = None if size is None else MemorySource(memoryview(bytes(size)))
    return Request(None, method, path, query, fields, body)  # type: ignore[arg-type]


@pytest.mark.parametrize("fields", [(), TYPED, (("range", "bytes=5-100"), ("if-match", '"1"'))])
@pytest.mark.parametrize("query", ["", "comp=block"])
@pytest.mark.parametrize(("method", "size"), [("GET", None), ("PUT", None), ("PUT", 0), ("PUT", 5)])
def test_a_head_is_signed_as_it_is_sent(method: str, size: int | None, query: str, fields: Headers) -> None:
    signer = SharedKeySigner("h", "", "agent", "account", base64.b64decode(KEY))
    target = f"/c/k%20k?{query}" if query else "/c/k%20k"
    line, sent = rendered(signer, request(method, "/c/k%20k", query, size, fields))
    assert line == f"{method} {target} HTTP/1.1"
    assert sent.get("content-length") == (None if method == "GET" else str(size or 0))
    assert sent.items() >= dict(fields).items()
    proof = sent.pop("authorization")
    assert proof == signature_of_the_sdk(method, f"https://h{target}", sent)


def test_a_part_of_a_batch_is_signed_as_it_is_sent() -> None:
    signer = SharedKeySigner("h", "", "agent", "account", base64.b64decode(KEY))
    signer.render_part(request("DELETE", "/c/k", fields=()))
    signer.render(request("GET", "/c/k", fields=()))  # of the same second, with other fields
    line, *rest = signer.render_part(request("DELETE", "/c/k", fields=())).decode().splitlines()
    sent = dict(pair.split(": ", 1) for pair in rest if pair)
    assert line == "DELETE /c/k HTTP/1.1"
    assert set(sent) == {"x-ms-date", "authorization", "content-length"}
    assert sent.pop("authorization") == signature_of_the_sdk("DELETE", "https://h/c/k", sent)


@given(st.binary(max_size=200), st.binary(max_size=300))
def test_codes_are_those_of_the_standard_library(key: bytes, message: bytes) -> None:
    under = HmacSha256(key)
    assert under.of(message).digest() == under.of(message).digest() == hmac.digest(key, message, "sha256")


def test_a_body_may_wait_for_the_go_ahead() -> None:
    put = request("PUT", "/c/k", size=5)
    put.expect_continue = True
    assert rendered(HeadRenderer("h", "", "agent"), put)[1]["expect"] == "100-continue"


def test_a_proxy_is_told_the_whole_url() -> None:
    line, _ = rendered(HeadRenderer("h", "http://h", "agent"), request("GET", "/c/k"))
    assert line == "GET http://h/c/k HTTP/1.1"


def test_a_shared_access_signature_is_appended_to_the_target() -> None:
    renderer = SasRenderer("h", "", "agent", "sv=1&sig=s")
    assert rendered(renderer, request("GET", "/c/k"))[0] == "GET /c/k?sv=1&sig=s HTTP/1.1"
    line, sent = rendered(renderer, request("GET", "/c/k", "comp=tags"))
    assert line == "GET /c/k?comp=tags&sv=1&sig=s HTTP/1.1"
    assert "authorization" not in sent
    assert renderer.render_part(request("DELETE", "/c/k")).startswith(b"DELETE /c/k?sv=1&sig=s HTTP/1.1\r\n")


def test_a_token_is_asked_for_each_request() -> None:
    tokens = iter(["one", "two"])
    renderer = BearerRenderer("h", "", "agent", lambda: next(tokens))
    assert rendered(renderer, request("GET", "/c/k"))[1]["authorization"] == "Bearer one"
    assert rendered(renderer, request("GET", "/c/k"))[1]["authorization"] == "Bearer two"


def test_the_clock_of_the_service_is_followed() -> None:
    signer = SharedKeySigner("h", "", "agent", "account", base64.b64decode(KEY))
    before = rendered(signer, request("GET", "/c/k"))[1]["x-ms-date"]
    signer.skew = 86400.0
    assert rendered(signer, request("GET", "/c/k"))[1]["x-ms-date"][5:7] != before[5:7]


@settings(max_examples=300)
@given(keys, st.sampled_from(["r", "cw", "d"]), st.booleans())
def test_links_are_those_of_the_sdk(key: str, permissions: str, versioned: bool) -> None:
    version = "2026-01-01T00:00:00.0000000Z" if versioned else None
    end = "2030-01-01T00:00:00Z"
    theirs = generate_blob_sas(
        "account", "container", key, account_key=KEY, permission=permissions, expiry=end, protocol="https",
        version_id=version,
    )  # fmt: skip
    sent = dict(parse_qsl(theirs))
    ours = signed_query(
        "account", base64.b64decode(KEY), f"/container/{key}", permissions, end, "https", version, sent["sv"]
    )
    assert dict(parse_qsl(ours)) == sent | ({"versionid": version} if version else {})
