"""az:// on Azurite, which checks signatures: every way to prove who asks, and what the service decides."""

from __future__ import annotations

import base64
import datetime
import hashlib
import json
import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import urllib3
from azure.storage.blob import BlobServiceClient, ContainerSasPermissions, generate_container_sas

from s3dlio import errors
from s3dlio.client import Client
from s3dlio.config.settings import Settings
from s3dlio.memory.sinks import DiscardSink, FileSink
from s3dlio.memory.sources import FileSource
from s3dlio.net import blocking
from s3dlio.net.lane import Lane
from s3dlio.net.message import Request
from s3dlio.stores.azure import AzureStore
from s3dlio.stores.azure import multipart as blocks
from s3dlio.stores.base import ObjectStore
from s3dlio.stores.cloud.part_size import part_size_for
from s3dlio.stores.registry import Stores, open_store
from s3dlio.types import Conditions, PutOptions
from s3dlio.uri import parse
from tests.servers.azurite import ACCOUNT, ACCOUNT_KEY, AzuriteServer
from tests.servers.certs import Authority

MIB = 1 << 20
CONTAINER = "wire"
ROOT = f"az://{ACCOUNT}/{CONTAINER}/"


def connect(server: AzuriteServer, root: str = ROOT, **sections: dict[str, Any]) -> ObjectStore:
    azure = {"endpoint_url": server.account_url, "key": ACCOUNT_KEY, **sections.pop("azure", {})}
    return open_store(parse(root), Settings.resolve(azure=azure, **sections))


@pytest.fixture(params=["native", "sdk"])
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def store(azurite_server: AzuriteServer) -> Iterator[AzureStore]:
    """The container, empty."""
    found = connect(azurite_server)
    assert isinstance(found, AzureStore)
    found.create_container()
    yield found
    for page in found.list():
        assert found.delete_many(page.keys) == []


def sdk(server: AzuriteServer) -> BlobServiceClient:
    return BlobServiceClient(server.account_url, credential={"account_name": ACCOUNT, "account_key": ACCOUNT_KEY})


def sas(hours: float, permission: str = "rwdlc") -> str:
    now = datetime.datetime.now(datetime.UTC)
    token: str = generate_container_sas(
        ACCOUNT,
        CONTAINER,
        ACCOUNT_KEY,
        permission=ContainerSasPermissions.from_string(permission),
        start=now - datetime.timedelta(hours=48),
        expiry=now + datetime.timedelta(hours=hours),
    )
    return token


# -- who asks


def use(store: ObjectStore) -> None:
    """One of each verb."""
    store.put("use/a b%2F", b"0123456789")
    assert store.get("use/a b%2F") == b"0123456789"
    assert store.get_range("use/a b%2F", 2, 3) == b"234"
    assert [key for page in store.list("use/") for key in page.keys] == ["use/a b%2F"]
    assert store.copy(store, "use/a b%2F", "use/copy") is not None
    assert store.delete_many(["use/a b%2F", "use/copy", "use/missing"]) == []
    with store.writer("use/stream", part_size=5 * MIB) as writer:
        writer.write(bytes(6 * MIB))
    assert store.head("use/stream").size == 6 * MIB
    store.delete("use/stream")


def test_a_signature_of_the_account(azurite_server: AzuriteServer, store: AzureStore, backend: str) -> None:
    use(connect(azurite_server, azure={"backend": backend}))


def test_a_shared_access_signature(azurite_server: AzuriteServer, store: AzureStore, backend: str) -> None:
    use(connect(azurite_server, azure={"key": None, "sas_token": "?" + sas(1), "backend": backend}))


def test_a_connection_string(azurite_server: AzuriteServer, store: AzureStore, backend: str) -> None:
    text = azurite_server.connection_string
    settings = Settings.resolve(azure={"connection_string": text, "backend": backend})
    use(Stores(settings).find(f"az://{CONTAINER}/key")[0])


def test_nobody(azurite_server: AzuriteServer, store: AzureStore, backend: str) -> None:
    container = sdk(azurite_server).get_container_client("public")
    container.create_container(public_access="container")
    container.upload_blob("key", b"public")
    reader = connect(azurite_server, f"az://{ACCOUNT}/public/", azure={"anonymous": True, "backend": backend})
    assert reader.get("key") == b"public"
    assert [key for page in reader.list() for key in page.keys] == ["key"]
    with pytest.raises(errors.S3dlioError):
        reader.put("key", b"x")
    container.delete_container()


def unsigned_token(tenant: str = "ab1f708d-50f6-404c-a006-d71b2ac7a606") -> str:
    """A token as Azurite takes it: it looks at the claims, and not at the signature."""
    now = int(datetime.datetime.now(datetime.UTC).timestamp())
    claims = {
        "aud": "https://storage.azure.com",
        "iss": f"https://sts.windows.net/{tenant}/",
        "iat": now - 60,
        "nbf": now - 60,
        "exp": now + 3600,
        "appid": "app",
        "oid": "23657296-5cd5-45b0-a809-d972a7f4dfe1",
        "tid": tenant,
        "ver": "1.0",
    }
    parts = [json.dumps(part).encode() for part in ({"alg": "none", "typ": "JWT"}, claims)] + [b"signature"]
    return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts)


def test_a_token(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    with AzuriteServer(tls=authority) as server:
        http = {"ca_bundle": str(authority.bundle)}
        connect(server, http=http).create_container()
        made = _tokens(monkeypatch)
        store = connect(server, azure={"key": None}, http=http)
        use(store)
        assert made == ["https://storage.azure.com/.default"]
        assert isinstance(store, AzureStore)
        assert store.account.tokens is not None
        good = store.account.tokens()
        monkeypatch.setattr(store.account.tokens, "_token", store.account.tokens._token._replace(value="withdrawn"))
        store.put("key", b"x")  # the service refuses the token: a new one is fetched, once
        assert len(made) == 2
        assert store.account.tokens() == good
        store.delete("key")


def _tokens(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Put a credential in the place of azure-identity's; the scopes that it is asked for."""
    from collections import namedtuple

    made: list[str] = []
    token = unsigned_token()

    class Credential:
        def get_token(self, scope: str) -> Any:
            made.append(scope)
            expires = datetime.datetime.now(datetime.UTC).timestamp() + 3600
            return namedtuple("AccessToken", "token expires_on")(token, int(expires))

    monkeypatch.setattr("s3dlio.stores.azure.credentials._default_credential", Credential)
    monkeypatch.setattr("importlib.util.find_spec", lambda name, *rest: object())
    return made


# -- who may not


WRONG = base64.b64encode(b"wrong" * 8).decode()


@pytest.mark.parametrize(
    ("azure", "code"),
    [
        ({"key": WRONG}, None),
        ({"key": None, "sas_token": "expired"}, None),
        ({"key": None, "sas_token": "sv=2023-11-03&sr=c&sp=r&sig=U0VDUkVUU0VDUkVU"}, None),
    ],
    ids=["wrong key", "expired signature", "forged signature"],
)
def test_access_is_denied(
    azurite_server: AzuriteServer, store: AzureStore, backend: str, azure: dict[str, Any], code: str | None
) -> None:
    store.put("key", b"x")
    if azure.get("sas_token") == "expired":
        azure = {**azure, "sas_token": sas(-1)}
    stranger = connect(azurite_server, azure={**azure, "backend": backend}, retry={"max_attempts": 1})
    for act in (
        lambda: stranger.get("key"),
        lambda: stranger.head("key"),
        lambda: stranger.put("key", b"y"),
        lambda: list(stranger.list()),
        lambda: stranger.delete("key"),
    ):
        with pytest.raises(errors.PermissionDeniedError) as caught:
            act()
        text = f"{caught.value!r} {caught.value.__cause__!r}"
        assert caught.value.status == 403
        assert caught.value.hint
        assert not any(secret in text for secret in (WRONG, ACCOUNT_KEY, "sig=U0", "U0VDUkVU", "SharedKey "))
    assert store.get("key") == b"x"


def test_a_batch_may_not_delete(azurite_server: AzuriteServer, store: AzureStore) -> None:
    store.put("key", b"x")
    reader = connect(azurite_server, azure={"key": None, "sas_token": sas(1, "rl")})
    ((key, error),) = reader.delete_many(["key"])
    assert key == "key"
    assert isinstance(error, errors.PermissionDeniedError)
    assert store.get("key") == b"x"


def test_a_missing_container(azurite_server: AzuriteServer, backend: str) -> None:
    store = connect(azurite_server, f"az://{ACCOUNT}/missing/", azure={"backend": backend})
    for act in (
        lambda: store.get("key"),
        lambda: store.put("key", b"x"),
        lambda: list(store.list()),
        lambda: store.delete("key"),
        lambda: store.delete_container(),
    ):
        with pytest.raises(errors.ObjectNotFoundError) as caught:
            act()
        assert caught.value.code == "ContainerNotFound"
        assert "container" in (caught.value.hint or "")


# -- reading


def test_large_reads_are_ranges_of_one_version(
    azurite_server: AzuriteServer, store: AzureStore, tmp_path: Path
) -> None:
    data = random.Random(1).randbytes(5 * MIB + 3)
    store.put("large", data)
    split = connect(azurite_server, range={"threshold": MIB, "chunk": MIB})
    assert split.get("large") == data
    assert split.get_range("large", 7, 4 * MIB) == data[7 : 7 + 4 * MIB]
    buffer = bytearray(len(data))
    assert split.get_into("large", buffer) == len(data)
    assert buffer == data
    with (tmp_path / "file").open("wb+") as file:
        split.execute(split.read_call("large", FileSink(file.fileno())))
    assert (tmp_path / "file").read_bytes() == data


def test_a_lane_runs_them_too(store: AzureStore) -> None:
    data = {f"lane/{number}": random.Random(number).randbytes(1000 * number) for number in range(40)}
    results: dict[int, Any] = {}

    def done(index: int, result: Any, error: BaseException | None) -> None:
        assert error is None, error
        results[index] = result

    Lane(window=8).run(enumerate(store.put_call(key, body) for key, body in data.items()), done)
    assert len(results) == 40
    sinks = {key: DiscardSink() for key in data}
    Lane(window=8).run(enumerate(store.read_call(key, sink) for key, sink in sinks.items()), done)
    assert {key: sink.size for key, sink in sinks.items()} == {key: len(body) for key, body in data.items()}
    Lane(window=8).run([(0, store.delete_many_call(list(data)))], done)
    assert results[0] == []
    assert [key for page in store.list("lane/") for key in page.keys] == []


# -- writing


def committed(server: AzuriteServer, key: str) -> int:
    client = sdk(server).get_blob_client(CONTAINER, key)
    return len(client.get_block_list("committed")[0])


@pytest.mark.parametrize("md5", [False, True])
def test_large_writes_are_blocks(azurite_server: AzuriteServer, store: AzureStore, tmp_path: Path, md5: bool) -> None:
    data = random.Random(2).randbytes(21 * MIB + 5)
    sections: dict[str, Any] = {"multipart": {"threshold": MIB, "part_size": 5 * MIB}, "azure": {"content_md5": md5}}
    writer = connect(azurite_server, **sections)
    result = writer.put("blocks", data)
    assert store.get("blocks") == data
    assert committed(azurite_server, "blocks") == 5
    about = store.head("blocks")
    assert (result.etag, result.size) == (about.etag, len(data))
    (tmp_path / "file").write_bytes(data)
    with (tmp_path / "file").open("rb") as file:
        writer.execute(writer.write_call("blocks", FileSource(file.fileno())))
    assert store.get("blocks") == data
    expected = base64.b64encode(hashlib.md5(data).digest()).decode()
    assert store.head("blocks").md5 == (expected if md5 else None)


def test_the_size_of_blocks_grows_with_the_blob() -> None:
    assert part_size_for(21 * MIB, 16 * MIB, blocks.MAX_BLOCKS) == 16 * MIB
    tebibytes = 190 << 40
    assert tebibytes / part_size_for(tebibytes, 16 * MIB, blocks.MAX_BLOCKS) <= blocks.MAX_BLOCKS
    assert part_size_for(tebibytes, 16 * MIB, blocks.MAX_BLOCKS) <= 4000 * MIB


def test_half_a_block_list_makes_no_blob(store: AzureStore) -> None:
    store.put("key", b"old")
    upload = blocks.BlockUpload(store.service, "key", PutOptions())
    request = upload.part(1, FileSource(os.open(__file__, os.O_RDONLY), 0, 100), None)
    upload.note(1, blocking.perform(request))
    upload._staged.add(2)  # never sent
    with pytest.raises(errors.S3dlioError) as caught:
        blocking.drive(upload.complete(200))
    assert caught.value.status == 400
    assert caught.value.code == "InvalidBlockList"
    assert "write again" in str(caught.value)
    assert store.get("key") == b"old"


def test_two_writes_of_one_key_do_not_mix(azurite_server: AzuriteServer, store: AzureStore) -> None:
    one_by_one = connect(azurite_server, multipart={"max_in_flight": 1})
    first, second = one_by_one.writer("key", part_size=5 * MIB), store.writer("key", part_size=5 * MIB)
    first.write(b"1" * 11 * MIB)  # the second part leaves when the first has been staged
    second.write(b"2" * 6 * MIB)
    second.close()
    # Azure drops what the other has staged so far, and must say so.
    with pytest.raises(errors.S3dlioError, match="write again"):
        first.close()
    assert store.get("key") == b"2" * 6 * MIB


def test_create_only_in_blocks(azurite_server: AzuriteServer, store: AzureStore) -> None:
    writer = connect(azurite_server, multipart={"threshold": MIB, "part_size": 5 * MIB})
    options = PutOptions(conditions=Conditions(if_none_match="*"))
    writer.put("key", bytes(2 * MIB), options=options)
    with pytest.raises(errors.AlreadyExistsError):
        writer.put("key", bytes(2 * MIB), options=options)
    stream = writer.writer("key", options=options, part_size=5 * MIB)
    stream.write(bytes(6 * MIB))
    with pytest.raises(errors.AlreadyExistsError):
        stream.close()
    assert store.head("key").size == 2 * MIB


@pytest.mark.parametrize("large", [False, True])
def test_what_a_write_says_is_kept(azurite_server: AzuriteServer, store: AzureStore, backend: str, large: bool) -> None:
    writer = connect(azurite_server, azure={"backend": backend}, multipart={"threshold": MIB, "part_size": 5 * MIB})
    options = PutOptions(
        content_type="text/x-test",
        content_encoding="identity",
        content_language="de",
        content_disposition="attachment",
        cache_control="no-cache",
        metadata={"Colour_1": "blue", "a": "1"},
        storage_class="Cool",
        tags={"project": "x y", "b": "c+d"},
    )
    writer.put("key", bytes(2 * MIB if large else 5), options=options)
    about = store.head("key")
    assert about.content_type == "text/x-test"
    assert about.content_encoding == "identity"
    assert about.content_language == "de"
    assert about.content_disposition == "attachment"
    assert about.cache_control == "no-cache"
    assert about.storage_class == "Cool"
    assert dict(about.metadata) == {"colour_1": "blue", "a": "1"}
    assert sdk(azurite_server).get_blob_client(CONTAINER, "key").get_blob_tags() == {"project": "x y", "b": "c+d"}
    (page,) = store.list("key")
    assert page.entries[0].storage_class == "Cool"


def test_md5_is_sent_and_verified(
    azurite_server: AzuriteServer, store: AzureStore, backend: str, tmp_path: Path
) -> None:
    careful = connect(azurite_server, azure={"content_md5": True, "verify_md5": True, "backend": backend})
    careful.put("key", b"0123456789")
    assert careful.get("key") == b"0123456789"
    assert careful.head("key").md5 == base64.b64encode(hashlib.md5(b"0123456789").digest()).decode()
    client = sdk(azurite_server).get_blob_client(CONTAINER, "key")
    settings = client.get_blob_properties().content_settings
    settings.content_md5 = bytearray(hashlib.md5(b"something else").digest())
    client.set_http_headers(settings)
    with pytest.raises(errors.IntegrityError, match="MD5"):
        careful.get("key")
    with (tmp_path / "file").open("wb+") as file, pytest.raises(errors.IntegrityError, match="MD5"):
        careful.execute(careful.read_call("key", FileSink(file.fileno())))
    assert careful.get_range("key", 0, 5) == b"01234"
    assert store.get("key") == b"0123456789"


# -- links and tags


def test_a_link_works_without_credentials(azurite_server: AzuriteServer, store: AzureStore, backend: str) -> None:
    signer = connect(azurite_server, azure={"backend": backend})
    http = urllib3.PoolManager()
    key = "folder/a b%ü"
    put = http.request("PUT", signer.presign(key, "PUT"), body=b"data", headers={"x-ms-blob-type": "BlockBlob"})
    assert put.status == 201
    assert http.request("GET", signer.presign(key)).data == b"data"
    assert http.request("HEAD", signer.presign(key, "HEAD", 60)).headers["content-length"] == "4"
    assert http.request("DELETE", signer.presign(key)).status == 403
    assert http.request("GET", signer.presign("other").replace("/other?", "/" + quote(key) + "?")).status == 403
    assert http.request("DELETE", signer.presign(key, "delete")).status == 202
    for method, expires in (("POST", 60), ("GET", 0), ("GET", 604_801), ("GET", True)):
        with pytest.raises(errors.ConfigError):
            signer.presign(key, method, expires)
    other = connect(azurite_server, azure={"key": None, "sas_token": sas(1), "backend": backend})
    with pytest.raises(errors.UnsupportedOperationError, match="AZURE_STORAGE_KEY"):
        other.presign(key)


def test_tags(azurite_server: AzuriteServer, store: AzureStore, backend: str) -> None:
    tagger = connect(azurite_server, azure={"backend": backend})
    store.put("key", b"x", options=PutOptions(tags={"a": "1"}))
    assert tagger.get_tags("key") == {"a": "1"}
    tagger.put_tags("key", {"b c": "x+y", "d": "2"})
    assert tagger.get_tags("key") == {"b c": "x+y", "d": "2"}
    tagger.put_tags("key", {})
    assert tagger.get_tags("key") == {}
    with pytest.raises(errors.ObjectNotFoundError):
        tagger.get_tags("missing")


# -- leases


def test_a_lease_is_respected(azurite_server: AzuriteServer, store: AzureStore, backend: str) -> None:
    store.put("key", b"old")
    lease = sdk(azurite_server).get_blob_client(CONTAINER, "key").acquire_lease()
    writer = connect(azurite_server, azure={"backend": backend})
    for act in (
        lambda: writer.put("key", b"new"),
        lambda: writer.put("key", b"new", options=PutOptions(conditions=Conditions(if_none_match='"x"'))),
        lambda: writer.delete("key"),
    ):
        with pytest.raises(errors.PreconditionFailedError) as caught:
            act()
        assert "lease" in str(caught.value)
        assert caught.value.code
    ((key, error),) = writer.delete_many(["key", "other"])
    assert key == "key"
    assert isinstance(error, errors.PreconditionFailedError)
    assert (error.uri, error.operation) == (writer.uri("key"), "DELETE")
    assert store.get("key") == b"old"
    lease.release()


# -- copying


def test_copies_keep_or_replace_what_belongs_to_the_blob(
    store: AzureStore, azurite_server: AzuriteServer, backend: str
) -> None:
    store.put(
        "source", b"data", options=PutOptions(content_type="text/plain", cache_control="no-cache", metadata={"a": "1"})
    )
    copier = connect(azurite_server, azure={"backend": backend})
    copier.copy(copier, "source", "plain ü%")
    about = store.head("plain ü%")
    assert (about.content_type, dict(about.metadata)) == ("text/plain", {"a": "1"})
    result = copier.copy(copier, "source", "other", options=PutOptions(metadata={"b": "2"}))
    about = store.head("other")
    assert result is not None
    assert result.etag == about.etag
    assert (about.content_type, dict(about.metadata)) == ("text/plain", {"b": "2"})
    with pytest.raises(errors.AlreadyExistsError):
        copier.copy(copier, "source", "other", options=PutOptions(conditions=Conditions(if_none_match="*")))


def test_a_copy_may_get_another_tier(store: AzureStore, azurite_server: AzuriteServer, backend: str) -> None:
    store.put("source", b"data", options=PutOptions(storage_class="Hot"))
    copier = connect(azurite_server, azure={"backend": backend})
    copier.copy(copier, "source", "cooler", options=PutOptions(storage_class="Cool"))
    assert [store.head(key).storage_class for key in ("source", "cooler")] == ["Hot", "Cool"]


def test_a_copy_may_get_another_type(store: AzureStore) -> None:
    store.put(
        "source", b"data", options=PutOptions(content_type="text/plain", cache_control="no-cache", metadata={"a": "1"})
    )
    result = store.copy(store, "source", "typed", options=PutOptions(content_type="text/x-new"))
    about = store.head("typed")
    assert result is not None
    assert result.etag == about.etag
    assert (about.content_type, about.cache_control, dict(about.metadata)) == ("text/x-new", "no-cache", {"a": "1"})
    assert about.md5 == store.head("source").md5


def test_other_services_are_not_asked_to_copy(azurite_server: AzuriteServer, store: AzureStore) -> None:
    other = open_store(parse("az://otheraccount/wire/"), Settings.resolve(azure={"key": ACCOUNT_KEY}))
    assert store.copy(other, "key", "key") is None
    assert store.copy(open_store(parse("memory://m/"), Settings.resolve()), "key", "key") is None


# -- listing


def test_listings_start_after_a_name(store: AzureStore, azurite_server: AzuriteServer, backend: str) -> None:
    for key in ("a", "b/1", "b/2", "c/1", "d"):
        store.put(key, b"")
    lister = connect(azurite_server, azure={"backend": backend})
    lister.page_size = 2  # type: ignore[attr-defined]

    def names(start_after: str) -> list[str]:
        pages = list(lister.list(recursive=False, start_after=start_after))
        assert [entry.key for page in pages for entry in page.entries] == [key for page in pages for key in page.keys]
        return [name for page in pages for name in [*page.keys, *page.prefixes]]

    assert sorted(names("")) == ["a", "b/", "c/", "d"]
    assert sorted(names("a")) == ["b/", "c/", "d"]
    assert sorted(names("b/1")) == ["b/", "c/", "d"]
    assert sorted(names("b/2")) == ["c/", "d"]
    assert names("d") == []


def test_containers_are_listed(azurite_server: AzuriteServer, store: AzureStore, backend: str) -> None:
    service = connect(azurite_server, azure={"backend": backend})
    assert ROOT.rstrip("/") in [container.uri for container in service.list_containers()]


def test_snapshots_are_not_lost_with_their_blob(azurite_server: AzuriteServer, store: AzureStore) -> None:
    store.put("key", b"x")
    client = sdk(azurite_server).get_blob_client(CONTAINER, "key")
    client.create_snapshot()
    with pytest.raises(errors.PreconditionFailedError, match="snapshots"):
        store.delete("key")
    client.delete_blob(delete_snapshots="include")


def test_requests_do_not_repeat_secrets(
    azurite_server: AzuriteServer, store: AzureStore, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", logger="s3dlio")
    use(connect(azurite_server, azure={"key": None, "sas_token": sas(1)}))
    assert "sig=" not in caplog.text
    assert "sig=" not in repr(Request(store.account.service, "GET", "/a"))


@pytest.mark.parametrize("name", ["hdi_isfolder", "Hdi_IsFolder"])
def test_blobs_that_stand_for_directories_are_no_objects(
    azurite_server: AzuriteServer, store: AzureStore, backend: str, name: str, tmp_path: Path
) -> None:
    container = sdk(azurite_server).get_container_client(CONTAINER)
    for key in ("tree", "tree/sub", "tree/empty"):
        container.upload_blob(key, b"", metadata={name: "true"})
    for key in ("tree/a", "tree/sub/b", "tree/none"):
        store.put(key, b"" if key.endswith("none") else key.encode())
    client = Client(azure={"endpoint_url": azurite_server.account_url, "key": ACCOUNT_KEY, "backend": backend})
    try:
        assert client.list_keys(ROOT, recursive=True) == ["tree/a", "tree/none", "tree/sub/b"]
        assert client.list_keys(f"{ROOT}tree") == ["tree/"]
        assert client.list_keys(f"{ROOT}tree/") == ["a", "none", "sub/"]
        assert client.download(f"{ROOT}tree/", tmp_path).succeeded == 3
        assert (tmp_path / "sub" / "b").read_bytes() == b"tree/sub/b"
    finally:
        client.delete_many([f"{ROOT}{key}" for key in ("tree", "tree/sub", "tree/empty")])
