"""Pages of versions and of open uploads, as each service writes them."""

from __future__ import annotations

import json

import pytest

from s3dlio.config.settings import Settings
from s3dlio.errors import ProtocolError, UnsupportedOperationError
from s3dlio.stores.azure.account import AzureAccount
from s3dlio.stores.azure.store import AzureStore
from s3dlio.stores.gcs import GcsAccount, GcsStore
from s3dlio.transfer.history import select_uploads, select_versions
from s3dlio.types import UploadEntry, VersionEntry
from tests.servers.gcs_scripted import FullGcsServer
from tests.servers.scripted import Expect, ScriptedServer, Send, respond
from tests.wire.s3_harness import store_of


def version(key: str, number: str, latest: str = "false", tag: str = "Version") -> str:
    return (
        f"<{tag}><Key>{key}</Key><VersionId>{number}</VersionId><IsLatest>{latest}</IsLatest>"
        f"<LastModified>2026-11-2{number}T00:00:00.000Z</LastModified>"
        + ("<ETag>&quot;e&quot;</ETag><Size>7</Size><StorageClass>STANDARD</StorageClass>" if tag == "Version" else "")
        + f"</{tag}>"
    )


def versions(inner: str, more: str = "<IsTruncated>false</IsTruncated>", root: str = "ListVersionsResult") -> Send:
    body = f'<?xml version="1.0"?><{root} xmlns="urn:s3"><EncodingType>url</EncodingType>{more}{inner}</{root}>'
    return respond(body=body.encode(), headers=[("Content-Type", "application/xml")])


TIME = "2026-11-20T00:00:00Z"
MORE = (
    "<IsTruncated>true</IsTruncated><NextKeyMarker>d%2Fa+b</NextKeyMarker><NextVersionIdMarker>3</NextVersionIdMarker>"
)


def test_versions_of_s3_come_in_pages_and_the_newest_first() -> None:
    first = versions(version("d%2Fa+b", "1") + version("d%2Fa+b", "3", "true", "DeleteMarker"), MORE)
    last = versions(version("d%2Fb", "2", "true") + "<CommonPrefixes><Prefix>d%2Fx+y%2F</Prefix></CommonPrefixes>")
    asked = b"GET /b/?delimiter=%2F&encoding-type=url&key-marker=d%2Fa%20b&prefix=d%2F&version-id-marker=3&versions="
    with ScriptedServer([[Expect(b"GET /b/?delimiter=%2F&encoding"), first, Expect(asked), last]]) as server:
        pages = list(store_of(server.endpoint).list_versions("d/", recursive=False))
    assert pages[0].versions == [
        VersionEntry("d/a b", "3", True, True, 0, None, "2026-11-23T00:00:00.000Z"),
        VersionEntry("d/a b", "1", False, False, 7, '"e"', "2026-11-21T00:00:00.000Z", "STANDARD"),
    ]
    assert ([one.key for one in pages[1].versions], pages[1].prefixes) == (["d/b"], ["d/x y/"])


def test_versions_of_one_object_end_where_its_name_ends() -> None:
    page = versions(version("k", "1", "true") + version("k2", "2", "true"), MORE.replace("d%2Fa+b", "k2"))
    with ScriptedServer([[Expect(b"GET"), page]]) as server:
        found = list(select_versions(store_of(server.endpoint), "k"))
    assert [one.key for page in found for one in page.versions] == ["k"]


@pytest.mark.parametrize(
    ("inner", "more", "says"),
    [
        (version("k", "1").replace("7", "many"), "", "a size that is none"),
        (version("k", "1"), "<IsTruncated>true</IsTruncated>", "without the marker"),
        (version("other", "1"), "", "does not begin with it"),
        ("<Version>", "", "not a whole"),
    ],
)
def test_a_listing_that_cannot_be_right_is_refused(inner: str, more: str, says: str) -> None:
    with ScriptedServer([[Expect(b"GET"), versions(inner, more)]]) as server, pytest.raises(ProtocolError, match=says):
        list(store_of(server.endpoint).list_versions("k"))


def test_uploads_of_s3_come_in_pages() -> None:
    def upload(key: str) -> str:
        return f"<Upload><Key>{key}</Key><UploadId>i{key}</UploadId><Initiated>{TIME}</Initiated></Upload>"

    more = MORE.replace("NextVersionIdMarker", "NextUploadIdMarker").replace("d%2Fa+b", "k")
    first = versions(upload("k"), more, "ListMultipartUploadsResult")
    last = versions(upload("k2") + upload("k%2Fx"), root="ListMultipartUploadsResult")
    asked = b"GET /b/?encoding-type=url&key-marker=k&prefix=k&upload-id-marker=3&uploads="
    with ScriptedServer([[Expect(b"GET"), first, Expect(asked), last]]) as server:
        found = list(select_uploads(store_of(server.endpoint), "k"))
    assert found == [UploadEntry("k", "ik", TIME), UploadEntry("k/x", "ik%2Fx", TIME)]


BLOBS = """<?xml version="1.0"?><EnumerationResults><Blobs>
<Blob><Name>k</Name><VersionId>2026-11-20T00:00:00.0000000Z</VersionId><Properties><Content-Length>3</Content-Length>
<Etag>0x1</Etag><Last-Modified>Fri, 20 Nov 2026 00:00:00 GMT</Last-Modified></Properties></Blob>
<Blob><Name>k</Name><VersionId>2026-11-21T00:00:00.0000000Z</VersionId><IsCurrentVersion>true</IsCurrentVersion>
<Properties><Content-Length>5</Content-Length></Properties></Blob>
<BlobPrefix><Name>d/</Name></BlobPrefix></Blobs><NextMarker/></EnumerationResults>"""


def test_versions_of_azure() -> None:
    answer = respond(body=BLOBS.encode(), headers=[("x-ms-request-id", "i"), ("Content-Type", "application/xml")])
    asked = b"GET /a/c?comp=list&delimiter=%2F&include=versions&prefix=&restype=container"
    with ScriptedServer([[Expect(asked), answer]]) as server:
        azure = {"endpoint_url": f"{server.endpoint}/a", "account": "a", "key": "QUFB"}
        store = AzureStore(AzureAccount(Settings.resolve({}, azure=azure), "a"), "c")
        (page,) = store.list_versions(recursive=False)
        with pytest.raises(UnsupportedOperationError, match="never committed are invisible"):
            list(store.list_uploads())
    assert [(one.key, one.version_id[8:10], one.is_latest, one.size) for one in page.versions] == [
        ("k", "20", False, 3), ("k", "21", True, 5)]  # fmt: skip
    assert (page.versions[0].etag, page.prefixes) == ('"0x1"', ["d/"])


def test_generations_of_google_cloud_storage() -> None:
    items = [
        {"name": "k", "generation": "1", "size": "3", "updated": "2026-11-20T00:00:00Z", "timeDeleted": "2026-11-21"},
        {"name": "k", "generation": "2", "size": "5", "updated": "2026-11-21T00:00:00Z"},
    ]
    pages = [{"items": items[:1], "nextPageToken": "t"}, {"items": items[1:], "prefixes": ["d/"]}]
    json_type = [("Content-Type", "application/json")]
    answers = [respond(body=json.dumps(page).encode(), headers=json_type) for page in pages]
    with ScriptedServer([[Expect(b"GET"), answers[0], Expect(b"GET"), answers[1]]]) as server:
        store = GcsStore(GcsAccount(Settings.resolve({}, gcs={"endpoint_url": server.endpoint})), "bucket")
        found = list(store.list_versions(recursive=False))
    assert [(one.version_id, one.is_latest, one.size) for page in found for one in page.versions] == [
        ("1", False, 3), ("2", True, 5)]  # fmt: skip
    assert found[1].prefixes == ["d/"]


def test_the_parts_of_composite_uploads_are_what_google_cloud_storage_keeps(faulty_gcs_server: FullGcsServer) -> None:
    settings = Settings.resolve({}, gcs={"endpoint_url": faulty_gcs_server.endpoint})
    store = GcsStore(GcsAccount(settings), "bucket")
    for name in (".s3dlio/parts/aa/1", ".s3dlio/parts/aa/2", ".s3dlio/parts/bb/1", "object"):
        store.put(name, b"x")
    found = list(select_uploads(store, ""))
    assert [(one.key, one.upload_id) for one in found] == [(".s3dlio/parts/aa/", "aa"), (".s3dlio/parts/bb/", "bb")]
    store.execute(store.abort_upload_call(found[0].key, found[0].upload_id))
    assert [key for page in store.list() for key in page.keys] == [".s3dlio/parts/bb/1", "object"]
    with pytest.raises(UnsupportedOperationError, match="do not tell which object"):
        list(store.list_uploads("object"))
