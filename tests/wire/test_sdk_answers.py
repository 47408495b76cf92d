"""What the SDKs of the clouds take for an answer is looked at first: web pages, other ranges, redirects."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import pytest

from s3dlio.config.settings import Settings
from s3dlio.errors import EndpointError, ProtocolError, S3dlioError, UnsupportedOperationError
from s3dlio.stores.azure.account import AzureAccount
from s3dlio.stores.base import ObjectStore
from s3dlio.stores.gcs.account import GcsAccount
from s3dlio.stores.s3 import S3Account
from s3dlio.stores.sdk.arrow import ArrowStore
from s3dlio.stores.sdk.azure import AzureSdkStore
from s3dlio.stores.sdk.boto import BotoStore
from s3dlio.stores.sdk.gcs import GcsSdkStore
from s3dlio.types import Conditions
from tests.servers.scripted import Expect, ScriptedServer, Send, respond
from tests.wire.s3_harness import settings_of

DATA = b"0123456789abcdefghij"
MODIFIED = "Wed, 01 Jan 2025 00:00:00 GMT"
PAGE = respond(body=b"<html><title>Log in</title></html>", headers=[("Content-Type", "text/html")])


def boto(endpoint: str) -> ObjectStore:
    return BotoStore(S3Account(settings_of(endpoint, retry={"max_attempts": 1})), "b")


def arrow(endpoint: str) -> ObjectStore:
    return ArrowStore(S3Account(settings_of(endpoint, retry={"max_attempts": 1})), "b")


def azure(endpoint: str) -> ObjectStore:
    settings = _settings(azure={"endpoint_url": f"{endpoint}/a", "anonymous": True})
    return AzureSdkStore(AzureAccount(settings, "a"), "c")


def gcs(endpoint: str, **sections: dict[str, Any]) -> ObjectStore:
    return GcsSdkStore(GcsAccount(_settings(gcs={"endpoint_url": endpoint, "project": "p"}, **sections)), "b")


def _settings(**sections: dict[str, Any]) -> Settings:
    return Settings.resolve({}, retry={"max_attempts": 1}, **sections)


STORES: dict[str, Callable[[str], ObjectStore]] = {"boto3": boto, "arrow": arrow, "azure": azure, "gcs": gcs}
VERBS: dict[str, Callable[[ObjectStore], Any]] = {
    "get": lambda store: store.get("k"),
    "put": lambda store: store.put("k", b"data"),
    "list": lambda store: list(store.list()),
    "delete_many": lambda store: store.delete_many(["k"]),
    "create": lambda store: store.create_container(),
    "containers": lambda store: store.list_containers(),
}


def part(told: str, data: bytes) -> Send:
    fields = [("Content-Range", told), ("ETag", '"e"'), ("Last-Modified", MODIFIED), ("x-ms-blob-type", "BlockBlob")]
    return respond("206 Partial Content", body=data, headers=fields)


def answering(answer: Send) -> ScriptedServer:
    """A server that has one answer to everything. (Google's SDK asks for the bucket as well, beside the first read.)"""
    return ScriptedServer([[Expect(), answer] * 3] * 4)


def whole() -> Send:
    return respond(body=DATA, headers=[("ETag", '"e"'), ("Last-Modified", MODIFIED)])


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("transport", STORES)
def test_a_web_page_is_no_answer(transport: str, verb: str) -> None:
    with answering(PAGE) as server:
        store = STORES[transport](server.endpoint)
        if (transport, verb) == ("gcs", "delete_many"):
            [(_, error)] = store.delete_many(["k"])
            assert isinstance(error, EndpointError)
            return
        kind = S3dlioError if (transport, verb) == ("arrow", "put") else EndpointError
        with pytest.raises(kind):
            VERBS[verb](store)


@pytest.mark.parametrize(
    "answer",
    [
        part("bytes 7-9/20", DATA[7:10]),
        part("bytes 5-12/20", DATA[5:13]),
        part("bytes 5-5/20", DATA[5:6]),
        part("bytes 5-7/2x", DATA[5:8]),
        whole(),
    ],
    ids=["another", "more", "less", "damaged", "whole"],
)
@pytest.mark.parametrize("transport", ["boto3", "azure", "gcs"])
def test_another_range_is_not_the_one_that_was_asked_for(transport: str, answer: Send) -> None:
    with answering(answer) as server, pytest.raises(ProtocolError):
        STORES[transport](server.endpoint).get_range("k", 5, 3)


@pytest.mark.parametrize("transport", ["boto3", "azure", "gcs"])  # object_store does not tell the status
def test_a_part_is_not_the_whole(transport: str) -> None:
    with answering(part("bytes 0-3/20", DATA[:4])) as server, pytest.raises(ProtocolError):
        STORES[transport](server.endpoint).get("k")


def test_the_beginning_of_a_whole_object_is_its_beginning() -> None:
    with ScriptedServer([[Expect(b"GET"), whole()]]) as server:
        assert boto(server.endpoint).get_range("k", 0, 3) == DATA[:3]


@pytest.mark.parametrize(
    "inner",
    [
        '<x:Contents xmlns:x="urn:s3"><x:Key>a</x:Key><x:Size>1</x:Size></x:Contents>',
        "<KeyCount>2</KeyCount><Contents><Key>a</Key><Size>1</Size></Contents>",
    ],
)
def test_boto3_overlooks_no_name(inner: str) -> None:
    body = f"<ListBucketResult><IsTruncated>false</IsTruncated>{inner}</ListBucketResult>".encode()
    with ScriptedServer([[Expect(b"GET"), respond(body=body)]]) as server:
        if "KeyCount" in inner:
            with pytest.raises(ProtocolError):
                list(boto(server.endpoint).list())
        else:
            assert [key for page in boto(server.endpoint).list() for key in page.keys] == ["a"]


def test_another_host_does_not_see_a_customers_key() -> None:
    key = b"S" * 32
    sent = base64.b64encode(key).decode()
    with answering(whole()) as other:  # where the lookup of the bucket may go, which carries no key
        moved = respond("307 Temporary Redirect", headers=[("Location", f"{other.endpoint}/k")])
        with answering(moved) as server, pytest.raises(UnsupportedOperationError) as caught:
            gcs(server.endpoint).get("k", conditions=Conditions(sse_customer_key=key))
        assert not any(sent.encode() in request.head for request in other.all_requests)
        assert sent not in str(caught.value)


@pytest.mark.parametrize("transport", ["azure", "gcs"])
def test_redirects_are_not_followed_where_they_must_not(transport: str) -> None:
    with ScriptedServer([]) as other:
        moved = respond("307 Temporary Redirect", headers=[("Location", f"{other.endpoint}/k")])
        with answering(moved) as server:
            store: Any = STORES[transport](server.endpoint)
            store.account.settings = store.account.settings.replace(http={"follow_redirects": False})
            with pytest.raises(EndpointError, match="follow_redirects"):
                store.get("k")
        assert other.extra_connections == 0
