"""What the transports of S3DLIO_BACKEND have in common beyond the contract of all stores: settings, copies, links."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import socket
import ssl
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import urllib3

from s3dlio.config.settings import Settings
from s3dlio.errors import AlreadyExistsError, ConfigError, PreconditionFailedError, S3dlioError
from s3dlio.stores.base import ObjectStore
from s3dlio.stores.registry import open_store
from s3dlio.types import Conditions, PutOptions
from s3dlio.uri import parse
from tests.servers import Server
from tests.servers.certs import Authority
from tests.servers.scripted import Expect, ReceivedRequest, ScriptedServer, respond
from tests.wire.s3_harness import settings_of

FULL = PutOptions(content_type="text/x-test", cache_control="no-cache", metadata={"a": "b"}, tags={"t": "1"})


@pytest.fixture(params=["native", "boto3", "arrow"])
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def opened(endpoint: str, backend: str, bucket: str = "b", **s3: Any) -> ObjectStore:
    return open_store(parse(f"s3://{bucket}/"), settings_of(endpoint, s3={"backend": backend, **s3}))


@pytest.fixture
def store(moto_server: Server, backend: str) -> ObjectStore:
    made = opened(moto_server.endpoint, backend, f"transports-{time.time_ns()}")
    made.create_container()
    return made


def test_a_copy_keeps_what_it_is_not_told_anew(store: ObjectStore) -> None:
    store.put("source", b"data", options=FULL)
    store.copy(store, "source", "same")
    store.copy(store, "source", "other", options=PutOptions(content_type="text/plain", tags={"u": "2"}))
    for key, kind, tags in (("same", "text/x-test", {"t": "1"}), ("other", "text/plain", {"u": "2"})):
        about = store.head(key)
        assert (about.content_type, about.cache_control, dict(about.metadata)) == (kind, "no-cache", {"a": "b"})
        assert store.get_tags(key) == tags


def test_tags_are_replaced(store: ObjectStore) -> None:
    store.put("k", b"data")
    assert store.get_tags("k") == {}
    store.put_tags("k", {"a": "1", "b": "2"})
    store.put_tags("k", {"c": "3=3"})
    assert store.get_tags("k") == {"c": "3=3"}


def test_links(store: ObjectStore) -> None:
    http = urllib3.PoolManager()
    assert http.request("PUT", store.presign("k é", "put"), body=b"data").status == 200
    assert http.request("GET", store.presign("k é")).data == b"data"
    assert http.request("HEAD", store.presign("k é", "HEAD", 60)).headers["content-length"] == "4"
    assert http.request("DELETE", store.presign("k é", "delete")).status == 204
    assert [page.keys for page in store.list() if page.keys] == []
    for method, expires in (("POST", 60), ("GET", 0), ("GET", 604_801), ("GET", True)):
        with pytest.raises(ConfigError):
            store.presign("k", method, expires)


def test_conditions_of_writes_are_not_dropped(store: ObjectStore) -> None:
    first = store.put("k", b"first")
    with pytest.raises(AlreadyExistsError):
        store.put("k", b"second", options=PutOptions(conditions=Conditions(if_none_match="*")))
    with pytest.raises(PreconditionFailedError):
        store.put("k", b"second", options=PutOptions(conditions=Conditions(if_match='"other"')))
    store.put("k", b"second", options=PutOptions(conditions=Conditions(if_match=first.etag)))
    assert store.get("k") == b"second"


def test_who_pays_is_said(backend: str) -> None:
    def pays(seen: ReceivedRequest) -> bool:
        return seen.headers.get("x-amz-request-payer") == "requester"

    answer = respond(body=b"data", headers=[("ETag", '"e"'), ("Last-Modified", "Fri, 20 Nov 2026 23:52:48 GMT")])
    with ScriptedServer([[Expect(pays), answer]]) as server:
        store = opened(server.endpoint, backend, requester_pays=True)
        assert store.get("k") == b"data"
        for method in ("GET", "PUT", "HEAD", "DELETE"):
            assert "x-amz-request-payer=requester" in store.presign("k", method)
        server.assert_consumed()


def test_a_profile_that_the_program_names_wins(
    backend: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def is_lab(seen: ReceivedRequest) -> bool:
        return "Credential=AKIDLAB/" in seen.headers["authorization"]

    (tmp_path / "keys").write_text("[lab]\naws_access_key_id = AKIDLAB\naws_secret_access_key = lab\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "keys"))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDENV")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    answer = respond(body=b"data", headers=[("ETag", '"e"'), ("Last-Modified", "Fri, 20 Nov 2026 23:52:48 GMT")])
    with ScriptedServer([[Expect(is_lab), answer]]) as server:
        named = {"profile": "lab", "endpoint_url": server.endpoint, "backend": backend}
        settings = Settings.resolve(s3=named, http={"read_timeout": 11.5})
        assert open_store(parse("s3://b/"), settings).get("k") == b"data"
        server.assert_consumed()


def test_arrow_asks_again_for_keys_that_end(monkeypatch: pytest.MonkeyPatch) -> None:
    from s3dlio.stores.s3.credentials import CredentialProvider
    from s3dlio.stores.s3.sigv4 import Credentials

    given: list[str] = []

    def credentials(self: CredentialProvider) -> Credentials:
        given.append(f"AKID{len(given)}")
        return Credentials(given[-1], "secret", "token")

    monkeypatch.setattr(CredentialProvider, "__call__", credentials)
    monkeypatch.setattr(CredentialProvider, "can_refresh", True)
    answer = respond(body=b"data", headers=[("ETag", '"e"'), ("Last-Modified", "Fri, 20 Nov 2026 23:52:48 GMT")])
    with ScriptedServer([[Expect(), answer, Expect(), answer]]) as server:
        store = opened(server.endpoint, "arrow")
        assert [bytes(store.get("k")) for _ in range(2)] == [b"data"] * 2
        used = [seen.headers["authorization"].split("Credential=")[1][:5] for seen in server.all_requests]
        assert used[0] != used[1]
        server.assert_consumed()


def test_a_forked_child_and_its_parent_go_on(store: ObjectStore) -> None:
    """object_store's runtime does not follow a fork; what the child lets go of must not be lost to the parent."""
    store.put("k", b"data")
    assert store.get("k") == b"data"
    child = os.fork()
    if not child:
        signal.alarm(20)  # a child that hangs is one that fails
        try:
            store.put("child", b"of mine")
            os._exit(store.get("k") != b"data" or store.get("child") != b"of mine")
        except BaseException:
            os._exit(2)
    _, status = os.waitpid(child, 0)
    assert status == 0
    assert store.get("child") == b"of mine"
    store.delete("child")
    assert store.get("k") == b"data"


def first_bytes(**s3: Any) -> bytes:
    """What the arrow transport sends first to an endpoint without TLS."""
    with socket.create_server(("127.0.0.1", 0)) as listening, ThreadPoolExecutor(1) as pool:
        store = opened(f"http://127.0.0.1:{listening.getsockname()[1]}", "arrow", **s3)
        asking = pool.submit(store.get, "k")
        connection, _ = listening.accept()
        with connection:
            connection.settimeout(20)
            sent = connection.recv(24, socket.MSG_WAITALL)
        listening.close()
        with pytest.raises(S3dlioError):
            asking.result()
    return sent


def test_arrow_speaks_http_2_where_that_is_asked_for() -> None:
    pytest.importorskip("obstore")
    assert first_bytes(h2c=True) == b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    assert first_bytes(https_h2=True).startswith(b"GET /b/k HTTP/1.1\r\n")


@pytest.mark.parametrize("variable", ["S3DLIO_HTTPS_H2", "S3DLIO_ENABLE_HTTP2"])
def test_arrow_offers_http_2_over_tls_where_that_is_asked_for(
    variable: str, monkeypatch: pytest.MonkeyPatch, authority: Authority
) -> None:
    pytest.importorskip("obstore")
    offered: list[str | None] = []

    def negotiate() -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(authority.cert, authority.key)
        context.set_alpn_protocols(["h2", "http/1.1"])
        with socket.create_server(("127.0.0.1", 0)) as listening:
            ready.put(listening.getsockname()[1])
            connection, _ = listening.accept()
            with connection, contextlib.suppress(OSError), context.wrap_socket(connection, server_side=True) as secure:
                offered.append(secure.selected_alpn_protocol())

    for value in ("1", "0"):
        ready: queue.Queue[int] = queue.Queue()
        monkeypatch.setenv(variable, value)
        settings = Settings.resolve(
            s3={"backend": "arrow", "access_key_id": "A", "secret_access_key": "S"},
            http={"ca_bundle": str(authority.bundle)}, retry={"max_attempts": 1},
        )  # fmt: skip
        with ThreadPoolExecutor(1) as pool:
            serving = pool.submit(negotiate)
            at = settings.replace(s3={"endpoint_url": f"https://127.0.0.1:{ready.get()}"})
            with pytest.raises(S3dlioError):
                open_store(parse("s3://b/"), at).get("k")
            serving.result()
    assert offered[0] == "h2"
    assert offered[1] in ("http/1.1", None)
