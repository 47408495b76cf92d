"""Objects that are encrypted with a key of the customer (SSE-C): every request that touches them names the key."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import Any

import pytest

import s3dlio
from s3dlio.client import Client
from s3dlio.errors import ConfigError, UnsupportedOperationError
from s3dlio.memory.sinks import MemorySink
from s3dlio.stores.registry import open_store
from s3dlio.stores.s3 import copying
from s3dlio.types import Conditions, PutOptions
from s3dlio.uri import parse
from tests.servers.scripted import Expect, ReceivedRequest, ScriptedServer, Send, respond
from tests.wire.s3_harness import read, settings_of, store_of

KEY = b"0123456789abcdef" * 2
OTHER = b"f" * 32
LOCKED = Conditions(sse_customer_key=KEY)
FIELD = "x-amz-server-side-encryption-customer-"
SOURCE = "x-amz-copy-source-server-side-encryption-customer-"


def names(key: bytes, prefix: str = FIELD) -> Any:
    def check(seen: ReceivedRequest) -> bool:
        fields = seen.headers
        digest = base64.b64encode(hashlib.md5(key).digest()).decode()
        told = [fields.get(prefix + name) for name in ("algorithm", "key", "key-md5")]
        return told == ["AES256", base64.b64encode(key).decode(), digest]

    return check


def both(seen: ReceivedRequest) -> bool:
    return bool(names(OTHER)(seen) and names(KEY, SOURCE)(seen))


def client_of(server: ScriptedServer, **sections: Any) -> Client:
    return Client(settings=settings_of(server.endpoint, **sections))


def ranged(first: int, last: int, total: int, body: bytes) -> Send:
    fields = [("ETag", '"e"'), ("Content-Range", f"bytes {first}-{last}/{total}")]
    return respond("206 Partial Content", body=body, headers=fields)


HEAD = Send(b'HTTP/1.1 200 OK\r\nETag: "e"\r\nContent-Length: 4\r\n\r\n')


def test_reads_name_the_key(tmp_path: Path) -> None:
    whole = respond(body=b"data", headers=[("ETag", '"e"')])
    script = [
        Expect(names(KEY)), whole, Expect(names(KEY)), ranged(1, 2, 4, b"at"), Expect(names(KEY)), whole,
        Expect(names(KEY)), whole, Expect(names(KEY)), HEAD,
    ]  # fmt: skip
    with ScriptedServer([script]) as server, client_of(server) as client:
        assert client.get("s3://b/k", conditions=LOCKED) == b"data"
        assert client.get_range("s3://b/k", 1, 2, conditions=LOCKED) == b"at"
        buffer = bytearray(4)
        assert client.get_into("s3://b/k", buffer, conditions=LOCKED) == 4
        assert client.get_to_file("s3://b/k", tmp_path / "f", conditions=LOCKED) == 4
        assert client.stat("s3://b/k", conditions=LOCKED)["size"] == 4
        server.assert_consumed()


def test_every_range_names_the_key() -> None:
    size = 300_000
    first = Send(f'HTTP/1.1 200 OK\r\nETag: "e"\r\nContent-Length: {size}\r\n\r\n'.encode() + bytes(200_000))
    rest = ranged(200_000, size - 1, size, bytes(100_000))
    ranges = {"chunk": 200_000, "threshold": 200_000}
    with ScriptedServer([[Expect(names(KEY)), first], [Expect(names(KEY)), rest]]) as server:
        with client_of(server, range=ranges) as client:
            assert client.get("s3://b/k", conditions=LOCKED) == bytes(size)
        server.assert_consumed()


def test_conditions_and_a_version_beside_the_key() -> None:
    def check(seen: ReceivedRequest) -> bool:
        return bool(names(KEY)(seen) and seen.headers["if-match"] == '"e"' and seen.target == "/b/k?versionId=7")

    with ScriptedServer([[Expect(check), respond(body=b"data")]]) as server, client_of(server) as client:
        wanted = Conditions(if_match='"e"', sse_customer_key=KEY)
        assert client.get("s3://b/k", version_id="7", conditions=wanted) == b"data"
        server.assert_consumed()


def test_a_write_that_is_verified_names_the_key() -> None:
    script = [Expect(names(KEY)), respond(headers=[("ETag", '"e"')]), Expect(names(KEY)), HEAD]
    with ScriptedServer([script]) as server, client_of(server, transfer={"put_verify": True}) as client:
        client.put_bytes("s3://b/k", b"data", options=PutOptions(sse_customer_key=KEY))
        server.assert_consumed()


@pytest.mark.parametrize("in_parts", [False, True])
def test_copies_name_the_keys_of_both(in_parts: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    done = respond(body=b'<X><UploadId>U</UploadId><ETag>"w"</ETag></X>')
    script = [Expect(both), done]
    if in_parts:
        monkeypatch.setattr(copying, "COPY_WHOLE", 3)
        tags = respond(body=b"<Tagging><TagSet></TagSet></Tagging>")
        begin, complete = Expect(names(OTHER)), Expect(b"POST /b/copy?uploadId=U ")
        script = [Expect(names(KEY)), HEAD, Expect(), tags, begin, done, Expect(both), done, complete, done]
    options = PutOptions(sse_customer_key=OTHER, conditions=LOCKED)
    with ScriptedServer([script]) as server:
        store = open_store(parse("s3://b/"), settings_of(server.endpoint))
        store.execute(store.copy_call(store, "k", "copy", options=options, size=4))
        server.assert_consumed()


def test_boto3_names_them_too() -> None:
    answer = respond(body=b"data", headers=[("ETag", '"e"'), ("Last-Modified", "Fri, 20 Nov 2026 23:52:48 GMT")])
    copied = respond(body=b'<CopyObjectResult><ETag>"w"</ETag></CopyObjectResult>')
    script = [
        Expect(names(KEY)), answer, Expect(names(KEY)), respond(headers=[("ETag", '"e"')]),
        Expect(names(KEY)), HEAD, Expect(both), copied, Expect(names(OTHER)), HEAD,
    ]  # fmt: skip
    with ScriptedServer([script]) as server:
        store = open_store(parse("s3://b/"), settings_of(server.endpoint, s3={"backend": "boto3"}))
        assert store.get("k", conditions=LOCKED) == b"data"
        store.put("k", b"data", options=PutOptions(sse_customer_key=KEY))
        store.copy(store, "k", "copy", options=PutOptions(sse_customer_key=OTHER, conditions=LOCKED))
        server.assert_consumed()


def test_what_is_no_key_or_has_no_place_is_refused_before_io(tmp_path: Path) -> None:
    with ScriptedServer([]) as server, client_of(server, azure={"anonymous": True}) as client:
        with pytest.raises(ConfigError, match="32 bytes"):
            client.get("s3://b/k", conditions=Conditions(sse_customer_key=b"short"))
        for uri in (f"file://{tmp_path}/k", "memory://m/k", "az://account/container/k"):
            with pytest.raises(UnsupportedOperationError, match="customer's key"):
                client.get(uri, conditions=LOCKED)
        with pytest.raises(UnsupportedOperationError, match="generations"):
            client.get("s3://b/k", conditions=Conditions(generation=7))
        server.assert_consumed()
    assert "0123" not in repr(LOCKED)
    assert s3dlio.Conditions is Conditions


@pytest.mark.parametrize("verb", ["get", "get_many", "get_range", "stat", "put", "put in parts", "copy"])
def test_a_redirect_to_another_host_is_refused(verb: str) -> None:
    """Without the key an object would be stored in the clear there; with it that host could read all there is."""
    mib = 1 << 20
    verbs: dict[str, Any] = {
        "get": lambda store: store.get("k", conditions=LOCKED),
        "get_many": lambda store: read(store, "k", MemorySink(), lane=True, conditions=LOCKED),
        "get_range": lambda store: store.get_range("k", 1, 2, conditions=LOCKED),
        "stat": lambda store: store.head("k", conditions=LOCKED),
        "put": lambda store: store.put("k", b"data", options=PutOptions(sse_customer_key=KEY)),
        "put in parts": lambda store: store.put("k", bytes(11 * mib), options=PutOptions(sse_customer_key=KEY)),
        "copy": lambda store: store.copy(store, "a", "k", options=PutOptions(sse_customer_key=KEY)),
    }
    with ScriptedServer([]) as other:
        moved = respond("307 Temporary Redirect", headers=[("Location", f"{other.endpoint}/elsewhere?uploads=")])
        with ScriptedServer([[Expect(names(KEY)), moved]]) as server:
            store = store_of(server.endpoint, multipart={"threshold": 5 * mib, "part_size": 5 * mib})
            with pytest.raises(UnsupportedOperationError, match="customer's key") as caught:
                verbs[verb](store)
            server.assert_consumed()
        other.assert_consumed()
    assert base64.b64encode(KEY).decode() not in str(caught.value)
