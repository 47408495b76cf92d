"""Deleting one version of an object: the look, the service's own condition, and what servers make of it."""

from __future__ import annotations

import pytest

from s3dlio.config.settings import Settings
from s3dlio.errors import PreconditionFailedError
from s3dlio.stores.azure import AzureAccount, AzureStore
from s3dlio.stores.gcs import GcsAccount, GcsStore
from tests.servers.scripted import Action, Expect, ReceivedRequest, ScriptedServer, Send, respond
from tests.wire.s3_harness import error, store_of

HEAD = Send(b'HTTP/1.1 200 OK\r\nETag: "one"\r\nContent-Length: 5\r\n\r\n')
GONE = Send(b"HTTP/1.1 204 No Content\r\n\r\n")


def with_etag(request: ReceivedRequest) -> bool:
    return request.method == "DELETE" and request.headers.get("if-match") == '"one"'


def test_s3_deletes_the_version_that_it_names() -> None:
    with ScriptedServer([[Expect(b"HEAD"), HEAD, Expect(with_etag), GONE]]) as server:
        store = store_of(server.endpoint)
        store.execute(store.delete_call("k", if_match='"one"'))
        server.assert_consumed()


REFUSED = error("412 Precondition Failed", "PreconditionFailed")


@pytest.mark.parametrize(
    ("etag", "asked"),
    [('"two"', []), ('"one"', [Expect(with_etag), REFUSED])],
    ids=["another is not asked to go", "replaced behind the look"],
)
def test_another_object_than_the_one_that_is_meant_stays(etag: str, asked: list[Action]) -> None:
    with ScriptedServer([[Expect(b"HEAD"), HEAD, *asked]]) as server:
        store = store_of(server.endpoint)
        with pytest.raises(PreconditionFailedError):
            store.execute(store.delete_call("k", if_match=etag))
        server.assert_consumed()


def test_where_if_match_is_not_implemented_the_look_has_to_do() -> None:
    unknown = error("501 Not Implemented", "NotImplemented")

    def plain(request: ReceivedRequest) -> bool:
        return request.method == "DELETE" and "if-match" not in request.headers

    with ScriptedServer([[Expect(b"HEAD"), HEAD, Expect(with_etag), unknown, Expect(plain), GONE]]) as server:
        store = store_of(server.endpoint)
        store.execute(store.delete_call("k", if_match='"one"'))
        server.assert_consumed()


def test_azure_names_the_etag() -> None:
    gone = respond("202 Accepted")
    with ScriptedServer([[Expect(b"HEAD"), HEAD, Expect(with_etag), gone]]) as server:
        azure = {"endpoint_url": f"{server.endpoint}/a", "key": "a2V5"}
        store = AzureStore(AzureAccount(Settings.resolve({}, azure=azure), "a"), "c")
        store.execute(store.delete_call("k", if_match='"one"'))
        server.assert_consumed()


def test_gcs_names_the_generation() -> None:
    def of_generation(request: ReceivedRequest) -> bool:
        return request.method == "DELETE" and "ifGenerationMatch=7" in request.target

    found = respond(body=b'{"etag": "one", "generation": "7", "size": "5"}')
    with ScriptedServer([[Expect(b"GET"), found, Expect(of_generation), GONE]]) as server:
        store = GcsStore(GcsAccount(Settings.resolve({}, gcs={"endpoint_url": server.endpoint})), "b")
        store.execute(store.delete_call("k", if_match="one"))
        server.assert_consumed()
