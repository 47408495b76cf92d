"""Listings in other words than those of AWS, listings that cannot be right, and answers to batch deletes."""

from __future__ import annotations

from typing import Any

import pytest

from s3dlio.config.settings import Settings
from s3dlio.errors import PermissionDeniedError, ProtocolError, ThrottledError
from s3dlio.stores.azure.account import AzureAccount
from s3dlio.stores.azure.store import AzureStore
from s3dlio.stores.gcs.account import GcsAccount
from s3dlio.stores.gcs.store import GcsStore
from s3dlio.stores.s3 import S3Account
from s3dlio.stores.sdk.boto import BotoStore
from tests.servers.scripted import Expect, ScriptedServer, Send, respond
from tests.wire.s3_harness import settings_of, store_of


def item(key: str) -> str:
    return f"<Contents><Key>{key}</Key><ETag>e</ETag><Size>1</Size></Contents>"


def listing(inner: str, truncated: str = "<IsTruncated>false</IsTruncated>", count: int | None = 2) -> Send:
    counted = "" if count is None else f"<KeyCount>{count}</KeyCount>"
    body = f'<?xml version="1.0"?><ListBucketResult xmlns="urn:s3">{truncated}{counted}{inner}</ListBucketResult>'
    return respond(body=body.encode(), headers=[("Content-Type", "application/xml")])


def names(server: ScriptedServer, prefix: str = "", **s3: Any) -> list[str]:
    store = store_of(server.endpoint, s3=s3)
    found = list(store.list(prefix, recursive=False))
    assert [entry.size for page in found for entry in page.entries] == [1] * sum(len(page.keys) for page in found)
    return [name for page in found for name in (*page.keys, *page.prefixes)]


@pytest.mark.parametrize("count", [2, None])
@pytest.mark.parametrize(
    ("inner", "wanted"),
    [
        (item("a") + item("<![CDATA[R&D]]>"), ["a", "R&D"]),
        ("<CommonPrefixes><Prefix>p/</Prefix><Prefix>q/</Prefix></CommonPrefixes>", ["p/", "q/"]),
        (item("a") + item("b").replace("<Key>", "<Key >"), ["a", "b"]),
        (item("a") + item("b").replace("<Key>", "<Key >").replace("Contents>", "Contents\n>"), ["a", "b"]),
        (item("a") + item("b").replace("<Key>", '<Key xml:space="preserve">'), ["a", "b"]),
        (
            (item("a") + item("b")).replace("</", "</x:").replace("<", "<x:").replace("<x:/x:", "</x:")
            .replace("<x:Contents>", '<x:Contents xmlns:x="urn:s3">'),
            ["a", "b"],
        ),
        (item("a") + "<!-- " + item("ghost") + " -->" + item("b<!-- c -->d"), ["a", "bd"]),
        (item("Contents") + item("CommonPrefixes"), ["Contents", "CommonPrefixes"]),
    ],
    ids=["cdata", "prefixes", "blank", "blanks", "attribute", "name space", "comment", "words"],
)  # fmt: skip
def test_any_xml_is_understood(inner: str, wanted: list[str], count: int | None) -> None:
    with ScriptedServer([[Expect(b"GET"), listing(inner, count=count)]]) as server:
        assert names(server) == wanted


@pytest.mark.parametrize("flag", ["True", "1", " true "])
def test_flags_in_other_words(flag: str) -> None:
    first = f"<IsTruncated>{flag}</IsTruncated><NextContinuationToken>t</NextContinuationToken>"
    with ScriptedServer([[Expect(), listing(item("a"), first, 1), Expect(), listing(item("b"), count=1)]]) as server:
        assert names(server) == ["a", "b"]


@pytest.mark.parametrize(
    "answer",
    [
        listing(item("a"), "<NextContinuationToken>t</NextContinuationToken>", 1),
        listing(item("a"), "<IsTruncated>false</IsTruncated><NextContinuationToken>t</NextContinuationToken>", None),
        listing(item("a"), '<NextContinuationToken a="b">t</NextContinuationToken>', 1),
        listing(item("a"), count=2),
        listing(item("a") + item("b") + item("c"), count=2),
        listing(item("")),
        listing("<CommonPrefixes><Prefix/></CommonPrefixes>", count=1),
        listing("<Contents></Contents>", count=0),
        listing("<Contents><Key><b>a</b></Key></Contents>", count=1),
        respond(body=b"<!DOCTYPE x [<!ENTITY k 'a'>]><ListBucketResult><Contents><Key>&k;</Key></Contents>"
                b"</ListBucketResult>"),
        respond(body=b"<ListBuckets><Contents/></ListBuckets>"),
    ],
)  # fmt: skip
def test_a_listing_that_cannot_be_right_is_an_error(answer: Send) -> None:
    with ScriptedServer([[Expect(b"GET"), answer]]) as server, pytest.raises(ProtocolError):
        names(server)


@pytest.mark.parametrize("inner", [item("p/a") + item("other"), item("a") + item("p/a"),
                                   "<CommonPrefixes><Prefix>q/</Prefix></CommonPrefixes>"])  # fmt: skip
def test_what_was_not_asked_for_is_not_listed(inner: str) -> None:
    for backend in ("native", "boto3"):
        with ScriptedServer([[Expect(b"GET"), listing(inner, count=None)]]) as server:
            account = S3Account(settings_of(server.endpoint))
            store = store_of(server.endpoint) if backend == "native" else BotoStore(account, "b")
            with pytest.raises(ProtocolError, match="does not begin with it"):
                list(store.list("p/"))


def test_what_was_not_asked_for_on_the_other_clouds() -> None:
    blob = "<Blob><Name>other</Name><Properties><Content-Length>1</Content-Length></Properties></Blob>"
    body = f"<EnumerationResults><Blobs>{blob}</Blobs><NextMarker/></EnumerationResults>".encode()
    with ScriptedServer([[Expect(b"GET"), respond(body=body)]]) as server:
        settings = Settings.resolve({}, azure={"endpoint_url": f"{server.endpoint}/a", "anonymous": True})
        with pytest.raises(ProtocolError, match="does not begin with it"):
            list(AzureStore(AzureAccount(settings, "a"), "c").list("p/"))
    with ScriptedServer([[Expect(b"GET"), respond(body=b'{"items": [{"name": "other", "size": "1"}]}')]]) as server:
        settings = Settings.resolve({}, gcs={"endpoint_url": server.endpoint})
        with pytest.raises(ProtocolError, match="does not begin with it"):
            list(GcsStore(GcsAccount(settings), "b").list("p/"))


# -- the first version of ListObjects


def v1(inner: str, more: str = "") -> Send:
    flag = f"<IsTruncated>{'true' if more else 'false'}</IsTruncated>"
    return listing(inner, f"<Marker></Marker><EncodingType>url</EncodingType>{flag}{more}", None)


@pytest.mark.parametrize("backend", ["native", "boto3"])
@pytest.mark.parametrize("version", ["auto", "1"])
def test_services_that_know_only_the_first_version(version: str, backend: str) -> None:
    script: list[Any] = [
        Expect(lambda seen: ("list-type=2" in seen.target) == (version == "auto")),
        v1(item("a") + item("b%2B"), "<NextMarker>b%2B</NextMarker>"),
        Expect(lambda seen: "marker=b%2B" in seen.target and "list-type" not in seen.target),
        v1(item("c"), "<Nothing/>"),  # without a delimiter it tells no marker: the last name is one
        Expect(lambda seen: "marker=c" in seen.target),
        v1(item("d")),
    ]
    with ScriptedServer([script]) as server:
        settings = settings_of(server.endpoint, s3={"list_version": version})
        store = store_of(server.endpoint, s3={"list_version": version})
        other = store if backend == "native" else BotoStore(S3Account(settings), "b")
        assert [key for page in other.list() for key in page.keys] == ["a", "b+", "c", "d"]
        server.assert_consumed()


def test_where_the_first_version_starts_after() -> None:
    script: list[Any] = [
        Expect(lambda seen: "start-after=b" in seen.target), v1(item("a") + item("c")),
        Expect(lambda seen: "marker=b" in seen.target), v1(item("c")),
    ]  # fmt: skip
    with ScriptedServer([script]) as server:
        assert [key for page in store_of(server.endpoint).list(start_after="b") for key in page.keys] == ["c"]
        server.assert_consumed()


# -- batch deletes


def deleted(inner: str) -> Send:
    return respond(body=f"<DeleteResult>{inner}</DeleteResult>".encode())


@pytest.mark.parametrize("backend", ["native", "boto3"])
@pytest.mark.parametrize(
    ("inner", "error"),
    [
        ("<Error><Code>AccessDenied</Code></Error>", PermissionDeniedError),
        ("<Error><Code>SlowDown</Code></Error>", ThrottledError),
        ("<Error><Key></Key><Code>InternalError</Code></Error>", Exception),
        ("<Error><Key>other</Key><Code>AccessDenied</Code></Error>", ProtocolError),
        ("<Error><Key>precious</Key><Code>InternalError</Code></Error>", ProtocolError),
    ],
)
def test_a_batch_delete_is_told_of_what_was_asked(inner: str, error: type[Exception], backend: str) -> None:
    with ScriptedServer([[Expect(b"POST"), deleted(inner)]]) as server:
        account = S3Account(settings_of(server.endpoint))
        store = store_of(server.endpoint) if backend == "native" else BotoStore(account, "b")
        with pytest.raises(error):
            store.delete_many(["a", "b"])
        server.assert_consumed()  # and nothing else was deleted


def test_a_key_that_fails_twice_fails_once() -> None:
    twice = "<Error><Key>a</Key><Code>AccessDenied</Code></Error>" * 2
    with ScriptedServer([[Expect(b"POST"), deleted(twice)]]) as server:
        failed = store_of(server.endpoint).delete_many(["a", "b"])
    assert [key for key, _ in failed] == ["a"]
