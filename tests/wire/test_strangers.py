"""What answers at an endpoint and is not the service: a web page, a login portal, a proxy, some other server."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from s3dlio.config.settings import Settings
from s3dlio.errors import EndpointError, ObjectNotFoundError, PermissionDeniedError, S3dlioError, ServiceError
from s3dlio.stores.azure.account import AzureAccount
from s3dlio.stores.azure.store import AzureStore
from s3dlio.stores.base import ObjectStore
from s3dlio.stores.gcs.account import GcsAccount
from s3dlio.stores.gcs.store import GcsStore
from s3dlio.types import PutOptions
from tests.servers.scripted import Expect, ScriptedServer, Send, respond
from tests.wire.s3_harness import store_of

HTML = b"<!DOCTYPE html><html><head><title>Log in here</title></head></html>"


def page(status: str = "200 OK", **fields: str) -> Send:
    return respond(status, body=HTML, headers=[("Content-Type", "text/html"), *fields.items()])


def settings(**sections: dict[str, Any]) -> Settings:
    return Settings.resolve({}, retry={"max_attempts": 1}, **sections)


def azure(endpoint: str) -> AzureStore:
    return AzureStore(AzureAccount(settings(azure={"endpoint_url": f"{endpoint}/a", "anonymous": True}), "a"), "c")


def gcs(endpoint: str) -> GcsStore:
    return GcsStore(GcsAccount(settings(gcs={"endpoint_url": endpoint, "project": "p"})), "b")


def s3(endpoint: str) -> ObjectStore:
    return store_of(endpoint, retry={"max_attempts": 1})


STORES: dict[str, Callable[[str], ObjectStore]] = {"s3": s3, "azure": azure, "gcs": gcs}
VERBS: dict[str, Callable[[ObjectStore], Any]] = {
    "get": lambda store: store.get("k"),
    "put": lambda store: store.put("k", b"data"),
    "list": lambda store: list(store.list()),
    "delete": lambda store: store.delete("k"),
    "delete_many": lambda store: store.delete_many(["k"]),
    "copy": lambda store: store.copy(store, "k", "l"),
    "create": lambda store: store.create_container(),
    "containers": lambda store: store.list_containers(),
}


@pytest.mark.parametrize("status", ["200 OK", "404 Not Found"])
@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("cloud", STORES)
def test_a_web_page_is_no_answer(cloud: str, verb: str, status: str) -> None:
    with ScriptedServer([[Expect(), page(status)] * 3]) as server:
        if cloud == "s3" and verb == "delete" and status == "200 OK":
            pytest.skip("a delete has nothing to tell")
        if (cloud, verb) in {("azure", "delete_many"), ("gcs", "delete_many"), ("gcs", "delete")}:
            pytest.skip("its errors are those of single deletes")
        with pytest.raises(S3dlioError) as caught:
            VERBS[verb](STORES[cloud](server.endpoint))
        assert isinstance(caught.value, EndpointError), repr(caught.value)
        assert not isinstance(caught.value, ObjectNotFoundError)
        assert server.endpoint in str(caught.value)
        assert "Log in here" in str(caught.value) or verb == "get"  # whose body is not read
        assert "check host, port and path of the endpoint" in str(caught.value)


@pytest.mark.parametrize("cloud", STORES)
def test_a_web_server_that_has_no_such_page_is_no_store_without_the_object(cloud: str) -> None:
    missing = respond("404 Not Found", headers=[("Content-Type", "text/html")])
    asked = [] if cloud == "gcs" else [Expect(b"HEAD"), missing]
    script = [*asked, Expect(b"GET"), page("404 Not Found")]
    with ScriptedServer([script]) as server, pytest.raises(EndpointError, match="check host, port and path"):
        STORES[cloud](server.endpoint).head("k")


@pytest.mark.parametrize("cloud", ["s3", "azure"])
def test_a_service_whose_404_looks_like_a_web_servers_is_asked_again(cloud: str) -> None:
    missing = respond("404 Not Found", headers=[("Content-Type", "text/html")])
    gone = b"<?xml version='1.0'?><Error><Code>NoSuchKey</Code><Message>gone</Message></Error>"
    script = [Expect(b"HEAD"), missing, Expect(b"GET"), respond("404 Not Found", body=gone)]
    with ScriptedServer([script]) as server, pytest.raises(ObjectNotFoundError):
        STORES[cloud](server.endpoint).head("k")


def test_a_put_that_nobody_confirms_is_not_stored() -> None:
    for answer in (respond(), respond("204 No Content"), page(ETag='"e"')):
        with ScriptedServer([[Expect(b"PUT"), answer]]) as server, pytest.raises(EndpointError):
            s3(server.endpoint).put("k", b"data")


def test_services_that_name_themselves_are_believed() -> None:
    with ScriptedServer([[Expect(b"PUT"), respond(headers=[("x-amz-request-id", "R")])]]) as server:
        s3(server.endpoint).put("k", b"data")
    with ScriptedServer([[Expect(b"GET"), page(ETag='"e"')]]) as server:  # an object that is a web page
        assert s3(server.endpoint).get("k") == HTML
    missing = page("404 Not Found", **{"x-amz-request-id": "R"})  # as endpoints of websites answer
    with ScriptedServer([[Expect(b"GET"), missing]]) as server, pytest.raises(ObjectNotFoundError):
        s3(server.endpoint).get("k")


def test_what_gateways_answer_keeps_its_meaning() -> None:
    with ScriptedServer([[Expect(b"GET"), page("502 Bad Gateway")]]) as server, pytest.raises(ServiceError):
        s3(server.endpoint).get("k")
    with ScriptedServer([[Expect(b"GET"), page("403 Forbidden")]]) as server, pytest.raises(PermissionDeniedError):
        s3(server.endpoint).get("k")


# -- copies that nobody confirms


RESULT = b"<CopyObjectResult><ETag>&quot;e&quot;</ETag></CopyObjectResult>"


def head(etag: str, size: int = 4) -> Send:
    return Send(f'HTTP/1.1 200 OK\r\nETag: "{etag}"\r\nContent-Length: {size}\r\n\r\n'.encode())


@pytest.mark.parametrize(
    "answer", [respond(), Send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n   \r\n0\r\n\r\n")]
)
def test_a_copy_without_a_result_is_looked_for(answer: Send) -> None:
    with ScriptedServer([[Expect(b"PUT"), answer, Expect(), head("e"), Expect(b"HEAD /b/l"), head("e")]]) as server:
        store = s3(server.endpoint)
        copied = store.copy(store, "k", "l")
        assert copied is not None
        assert copied.etag == '"e"'
        server.assert_consumed()
    for other in (head("other"), head("e", 3), respond("404 Not Found")):
        with ScriptedServer([[Expect(b"PUT"), answer, Expect(), head("e"), Expect(), other]]) as server:
            store = s3(server.endpoint)
            with pytest.raises(S3dlioError, match="neither that it is done nor why not"):
                store.copy(store, "k", "l")
    with ScriptedServer([[Expect(), head("e"), Expect(b"PUT"), answer]]) as server:
        store = s3(server.endpoint)
        with pytest.raises(S3dlioError, match="neither that it is done nor why not"):
            store.copy(store, "k", "l", options=PutOptions(content_type="text/plain"))  # no look shows that it was set


def test_a_copy_on_azure_without_a_status_is_none() -> None:
    with ScriptedServer([[Expect(b"PUT"), respond("202 Accepted")]]) as server:
        store = azure(server.endpoint)
        with pytest.raises(EndpointError):
            store.copy(store, "k", "l")


def test_a_rewrite_that_is_done_with_nothing() -> None:
    with ScriptedServer([[Expect(b"POST"), respond(body=b'{"done": true}')]]) as server:
        store = gcs(server.endpoint)
        with pytest.raises(S3dlioError, match="done, without the object"):
            store.copy(store, "k", "l")


# -- buckets elsewhere


def test_a_bucket_is_made_in_the_region_that_is_set() -> None:
    def constrained(seen: Any) -> bool:
        return b"<LocationConstraint>eu-west-1</LocationConstraint>" in seen.body

    refused = respond("400 Bad Request", body=b"<Error><Code>InvalidLocationConstraint</Code></Error>")
    with ScriptedServer([[Expect(constrained), respond(), Expect(constrained), refused]]) as server:
        store = store_of(server.endpoint, s3={"region": "eu-west-1"})
        store.create_container()
        with pytest.raises(ServiceError, match="makes no buckets in 'eu-west-1'"):
            store.create_container()
        server.assert_consumed()
