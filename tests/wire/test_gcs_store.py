"""Google Cloud Storage beyond the contract of every store: generations, checksums, batches, rewrites, tokens."""

from __future__ import annotations

import dataclasses
import datetime
import random
import threading
from typing import Any

import google.auth.credentials
import pytest

from s3dlio import errors
from s3dlio.config.settings import Settings
from s3dlio.memory.sinks import DiscardSink, MemorySink
from s3dlio.net.lane import Lane
from s3dlio.stores.gcs import GcsAccount, GcsStore
from s3dlio.stores.registry import open_store
from s3dlio.stores.sdk.gcs import GcsSdkStore
from s3dlio.types import Conditions, PutOptions
from s3dlio.uri import parse
from tests.servers.certs import Authority
from tests.servers.gcs_scripted import Fault, FullGcsServer
from tests.sinks import WriterSink

MIB = 1 << 20
DATA = random.Random(5).randbytes(3 * MIB + 77)


@pytest.fixture
def server(faulty_gcs_server: FullGcsServer) -> FullGcsServer:
    return faulty_gcs_server


def make_store(endpoint: str, http: dict[str, Any] | None = None, **gcs: Any) -> GcsStore:
    settings = Settings.resolve(
        {},
        gcs={"endpoint_url": endpoint, **gcs},
        http=http or {},
        retry={"base_delay": 0.001, "max_delay": 0.01, "max_attempts": 3},
        range={"threshold": MIB, "chunk": MIB},
    )
    return GcsStore(GcsAccount(settings), "bucket")


@pytest.fixture
def store(server: FullGcsServer) -> GcsStore:
    return make_store(server.endpoint)


# -- generations


def test_a_large_get_is_pinned_by_generation(server: FullGcsServer, store: GcsStore) -> None:
    generation = store.put("k", DATA).version_id
    server.seen.clear()
    assert store.get("k") == DATA
    first, *rest = server.requests("GET")
    assert "generation" not in first.target
    assert sorted(seen.headers["range"] for seen in rest) == [
        "bytes=1048576-2097151", "bytes=2097152-3145727", f"bytes=3145728-{len(DATA) - 1}"
    ]  # fmt: skip
    assert all(f"generation={generation}" in seen.target for seen in rest)


@pytest.mark.parametrize("length", [5, 2 * MIB, len(DATA) + 1])
def test_the_last_bytes_are_one_range_that_counts_from_the_end(
    server: FullGcsServer, store: GcsStore, length: int
) -> None:
    store.service.takes_suffix_ranges = True  # as Google's does
    store.put("k", DATA)
    server.seen.clear()
    sink = MemorySink()
    about = store.execute(store.tail_call("k", sink, length))
    assert (sink.view(), about.size) == (DATA[-length:], len(DATA))
    assert server.requests("GET")[0].headers["range"] == f"bytes=-{length}"
    assert not server.requests("HEAD")


def test_an_object_that_is_replaced_under_a_read(server: FullGcsServer, store: GcsStore) -> None:
    store.put("k", DATA)
    server.faults = [Fault("GET", "generation=", status=404, body=b"No such object: bucket/k")]
    with pytest.raises(errors.ObjectChangedError):
        store.get("k")


@pytest.mark.parametrize("verify", [True, False])
def test_an_object_that_is_known_is_read_at_once(server: FullGcsServer, verify: bool) -> None:
    store = make_store(server.endpoint, verify_crc32c=verify)
    store.put("k", DATA)
    store.remember("k", store.head("k"))
    server.seen.clear()
    assert store.get("k") == DATA
    assert ["range" in seen.headers and "generation=" in seen.target for seen in server.seen] == [True] * 4
    store.put("k", DATA[::-1])  # of another generation
    assert store.get("k") == DATA[::-1]
    about = store.head("k")
    store.remember("k", dataclasses.replace(about, crc32c=(about.crc32c or 0) ^ 1))
    if verify:
        with pytest.raises(errors.IntegrityError):
            store.get("k")
    else:
        assert store.get("k") == DATA[::-1]


def test_reads_by_generation(server: FullGcsServer, store: GcsStore) -> None:
    old = store.put("k", b"old")
    assert store.get("k", conditions=Conditions(generation=int(old.version_id or 0))) == b"old"
    assert store.get("k", conditions=Conditions(version_id=old.version_id)) == b"old"
    new = store.put("k", b"new")
    with pytest.raises(errors.PreconditionFailedError):
        store.get("k", conditions=Conditions(generation=int(old.version_id or 0)))
    with pytest.raises(errors.PreconditionFailedError):
        store.head("k", conditions=Conditions(generation=int(old.version_id or 0)))
    for read in (store.get, store.head):
        with pytest.raises(errors.ObjectNotFoundError):
            read("k", conditions=Conditions(version_id=old.version_id))
    assert store.head("k").version_id == new.version_id
    assert store.execute(store.read_call("k", DiscardSink())).version_id == new.version_id


def test_writes_by_generation_and_etag(store: GcsStore) -> None:
    def put(data: bytes, **conditions: Any) -> Any:
        return store.put("k", data, options=PutOptions(conditions=Conditions(**conditions)))

    first = put(b"1", generation=0)
    with pytest.raises(errors.PreconditionFailedError):
        put(b"2", generation=0)
    second = put(b"2", generation=int(first.version_id))
    with pytest.raises(errors.PreconditionFailedError):
        put(b"3", if_match=first.etag)
    third = put(b"3", if_match=second.etag)
    with pytest.raises(errors.PreconditionFailedError):
        put(b"4", if_none_match=third.etag)
    put(b"4", if_none_match=second.etag)
    put(b"5", if_match="*")
    with pytest.raises(errors.AlreadyExistsError):
        put(b"6", if_none_match="*")
    assert store.get("k") == b"5"
    store.delete("k")
    with pytest.raises(errors.PreconditionFailedError):
        put(b"7", if_match="*")
    put(b"7", if_none_match="x")
    assert store.get("k") == b"7"


def test_deleting_one_generation(store: GcsStore) -> None:
    old = store.put("k", b"old")
    store.put("k", b"new")
    store.delete("k", version_id=old.version_id)
    assert store.get("k") == b"new"


# -- checksums


def test_a_damaged_object(server: FullGcsServer, store: GcsStore) -> None:
    for size in (100, len(DATA)):
        store.put("k", DATA[:size])
        store.execute(store.read_call("k", WriterSink(lambda data: None)))
        server.buckets["bucket"]["k"].resource["crc32c"] = "AAAAAA=="
        with pytest.raises(errors.IntegrityError, match="CRC32C"):
            store.get("k")
        with pytest.raises(errors.IntegrityError):
            store.execute(store.read_call("k", WriterSink(lambda data: None)))
        assert make_store(server.endpoint, verify_crc32c=False).get("k") == DATA[:size]


def test_compressed_objects_come_as_they_are_stored(server: FullGcsServer, store: GcsStore) -> None:
    store.put("k", b"\x1f\x8bnot really gzip", options=PutOptions(content_encoding="gzip"))
    assert store.get("k") == b"\x1f\x8bnot really gzip"
    assert server.requests("GET")[0].headers["accept-encoding"] == "gzip"
    assert store.execute(store.read_call("k", DiscardSink())).content_encoding == "gzip"


# -- batches


def test_a_batch_and_what_fails_in_it(server: FullGcsServer, store: GcsStore) -> None:
    keys = ["a/b", "c d", "é", "%2F", "missing", "throttled", "kept"]
    for key in keys:
        if key != "missing":
            store.put(key, b"x")
    server.faults = [
        Fault("BATCHED", "throttled", status=503, body=b"later"),
        Fault("BATCHED", "kept", status=403, body=b"may not"),
    ]
    ((key, error),) = store.delete_many(keys)
    assert (key, error.uri, error.operation) == ("kept", "gs://bucket/kept", "DELETE")
    assert isinstance(error, errors.PermissionDeniedError)
    assert "may not" in str(error)
    assert sorted(server.buckets["bucket"]) == ["kept"]
    assert len(server.requests("POST", "/batch/")) == 1
    assert [seen.target for seen in server.requests("DELETE")] == ["/storage/v1/b/bucket/o/throttled"]


def test_many_batches(server: FullGcsServer, store: GcsStore) -> None:
    keys = [f"k{number}" for number in range(230)]
    for key in keys:
        store.put(key, b"")
    assert store.delete_many(keys) == []
    assert server.buckets["bucket"] == {}
    assert len(server.requests("POST", "/batch/")) == 3


@pytest.mark.parametrize("status", [404, 405, 501])
def test_a_service_without_batches(server: FullGcsServer, store: GcsStore, status: int) -> None:
    for key in "ab":
        store.put(key, b"x")
    server.faults = [Fault("POST", "/batch/", status=status)]
    assert store.delete_many(["a", "b", "c"]) == []
    assert store.delete_many(["a"]) == []
    assert len(server.requests("DELETE")) == 4
    assert len(server.requests("POST", "/batch/")) == 1


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"--x\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
        b"--x\r\nContent-ID: <response-0>\r\n\r\nHTTP/1.1 204 No Content\r\n--x--",
        b"--x\r\nContent-ID: <response-9>\r\n\r\nHTTP/1.1 204 No Content\r\n--x--",
        b"--x\r\nno status--x--",
    ],
)
def test_a_batch_that_is_not_answered_whole(server: FullGcsServer, store: GcsStore, body: bytes) -> None:
    fields = (("Content-Type", "multipart/mixed; boundary=x"),)
    server.faults = [Fault("POST", "/batch/", status=200, headers=fields, body=body)]
    with pytest.raises(errors.ProtocolError):
        store.delete_many(["a", "b"])


# -- copies


def test_a_rewrite_in_stretches(server: FullGcsServer, store: GcsStore) -> None:
    store.put("from", DATA, options=PutOptions(content_type="a/b", metadata={"x": "1"}, cache_control="no-cache"))
    result = store.copy(store, "from", "to/here")
    assert result is not None
    assert result.size == len(DATA)
    assert len(server.requests("POST", "/rewriteTo/")) == 4
    assert store.get("to/here") == DATA
    assert dict(store.head("to/here").metadata) == {"x": "1"}
    store.copy(store, "from", "to/there", options=PutOptions(content_type="c/d"))
    about = store.head("to/there")
    assert (about.content_type, about.cache_control, dict(about.metadata)) == ("c/d", "no-cache", {"x": "1"})
    with pytest.raises(errors.AlreadyExistsError):
        store.copy(store, "from", "to/here", options=PutOptions(conditions=Conditions(if_none_match="*")))


@pytest.mark.parametrize("kind", [GcsStore, GcsSdkStore])
def test_a_rewrite_that_gets_no_further_ends(
    server: FullGcsServer, store: GcsStore, kind: type[GcsStore | GcsSdkStore]
) -> None:
    store.put("from", DATA)
    server.rewrite_step = 0
    copier = kind(store.account, "bucket")
    with pytest.raises(errors.ServiceError, match=r"gets no further: 3 answers .* 0 of 3145805 bytes") as caught:
        copier.copy(copier, "from", "to")
    assert caught.value.uri == "gs://bucket/to"
    assert len(server.requests("POST", "/rewriteTo/")) == 1 + 3


def test_a_rewrite_that_copies_more_than_there_is_ends(server: FullGcsServer, store: GcsStore) -> None:
    store.put("from", b"data")
    for copied in (3, 4, 5, 6, 7):
        told = f'"totalBytesRewritten": "{copied}", "objectSize": "{copied + 1}"'
        body = f'{{"done": false, "rewriteToken": "t", {told}}}'.encode()
        server.faults.append(Fault("POST", "/rewriteTo/", status=200, body=body))
    with pytest.raises(errors.ServiceError, match="no more than 4 of 4 bytes"):
        store.copy(store, "from", "to")


def test_compose(store: GcsStore) -> None:
    for key in "abc":
        store.put(key, key.encode() * 3)
    result = store.compose(["c", "a", "b"], "all", options=PutOptions(content_type="text/plain"))
    assert result.size == 9
    assert store.get("all") == b"cccaaabbb"
    assert store.head("all").content_type == "text/plain"
    with pytest.raises(errors.ObjectNotFoundError):
        store.compose(["a", "missing"], "all")
    for keys in ([], ["a"] * 33):
        with pytest.raises(errors.ConfigError):
            store.compose(keys, "all")


# -- many at once


def test_a_lane(server: FullGcsServer, store: GcsStore) -> None:
    results: dict[int, Any] = {}

    def done(index: int, result: Any, error: BaseException | None) -> None:
        results[index] = error or result

    puts = [store.put_call(f"k{number}", b"%d" % number) for number in range(100)]
    Lane(window=16).run(enumerate(puts), done)
    assert {result.size for result in results.values()} == {1, 2}
    before = server.connections
    heads = [store.head_call(f"k{number}") for number in range(100)]
    Lane(window=16).run(enumerate(heads), done)
    assert [results[number].size for number in range(100)] == [1] * 10 + [2] * 90
    assert server.connections == before, "connections are kept"


# -- tokens, over TLS


class FakeCredentials:
    """What google-auth's credentials are to us."""

    def __init__(self, *tokens: str, lifetime: float = 3600) -> None:
        self.tokens = list(tokens)
        self.lifetime = lifetime
        self.token: str | None = None
        self.expiry: datetime.datetime | None = None
        self.refreshed = threading.Semaphore(0)

    def refresh(self, request: object) -> None:
        self.token = self.tokens.pop(0)
        now = datetime.datetime.now(datetime.UTC).replace(tzinfo=None)
        self.expiry = now + datetime.timedelta(seconds=self.lifetime)
        self.refreshed.release()


class Given(google.auth.credentials.Credentials):
    """Credentials that have their token already."""

    def __init__(self, token: str) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.token = token

    def refresh(self, request: object) -> None:
        """It stays the same."""


def tls_store(
    server: FullGcsServer, authority: Authority, monkeypatch: pytest.MonkeyPatch, credentials: FakeCredentials
) -> GcsStore:
    monkeypatch.setattr("google.auth.default", lambda **arguments: (credentials, "the-project"))
    server.buckets["bucket"] = {}
    return make_store(server.endpoint, http={"ca_bundle": str(authority.bundle)})


def test_a_token_travels_over_tls(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    with FullGcsServer(tls=authority, token="tok-secret-2") as server:
        credentials = FakeCredentials("tok-secret-1", "tok-secret-2")
        store = tls_store(server, authority, monkeypatch, credentials)
        store.put("k", b"data")  # the first token is refused, the second is not
        assert store.get("k") == b"data"
        assert [seen.headers["authorization"] for seen in server.seen] == [
            "Bearer tok-secret-1", "Bearer tok-secret-2", "Bearer tok-secret-2"
        ]  # fmt: skip
        assert store.account.project() == "the-project"
        assert "secret" not in f"{store!r} {store.account!r} {store.account.tokens!r} {store.account.service.signer!r}"


def test_the_sdk_gets_bundle_and_credentials(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("google.auth.default", lambda **arguments: (Given("tok-secret-3"), "the-project"))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/etc/ssl/certs/ca-certificates.crt")  # requests would prefer it
    with FullGcsServer(tls=authority, token="tok-secret-3") as server:
        store = GcsSdkStore(make_store(server.endpoint, http={"ca_bundle": str(authority.bundle)}).account, "bucket")
        store.create_container()
        store.put("k", b"data")
        assert store.get("k") == b"data"
        server.token = "another"
        with pytest.raises(errors.PermissionDeniedError) as caught:
            store.get("k")
        assert caught.value.__cause__ is None
        assert "secret" not in str(caught.value)


def test_a_token_that_stays_refused(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    with FullGcsServer(tls=authority, token="another") as server:
        store = tls_store(server, authority, monkeypatch, FakeCredentials("tok-secret-1", "tok-secret-2"))
        with pytest.raises(errors.PermissionDeniedError) as caught:
            store.get("k")
        assert "secret" not in str(caught.value)
        assert caught.value.hint


def test_tokens_are_renewed_beside_the_requests(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    with FullGcsServer(tls=authority) as server:
        credentials = FakeCredentials("short-1", "long-2", lifetime=300)  # less than is looked ahead
        store = tls_store(server, authority, monkeypatch, credentials)
        store.put("k", b"data")
        assert credentials.refreshed.acquire(timeout=10)
        credentials.lifetime = 3600
        store.get("k")
        assert credentials.refreshed.acquire(timeout=10), "renewed in the background"
        assert server.seen[-1].headers["authorization"] == "Bearer short-1"


def test_a_user_project_pays(server: FullGcsServer) -> None:
    store = make_store(server.endpoint, user_project="payer")
    store.put("k", b"x")
    assert server.seen[-1].headers["x-goog-user-project"] == "payer"
    assert "authorization" not in server.seen[-1].headers


# -- a customer's own key, a key of Cloud KMS


def test_keys_of_encryption(server: FullGcsServer, store: GcsStore) -> None:
    store.put("k", b"x", options=PutOptions(sse_customer_key=b"k" * 32))
    fields = server.seen[-1].headers
    assert fields["x-goog-encryption-algorithm"] == "AES256"
    assert fields["x-goog-encryption-key"] == "a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s="
    store.put("k", b"x", options=PutOptions(ssekms_key_id="projects/p/locations/l/keyRings/r/cryptoKeys/k"))
    assert "kmsKeyName=projects%2Fp%2Flocations" in server.seen[-1].target
    count = len(server.seen)
    with pytest.raises(errors.ConfigError):
        store.put("k", b"x", options=PutOptions(sse_customer_key=b"short"))
    for refused in (PutOptions(tags={"a": "b"}), PutOptions(server_side_encryption="AES256")):
        with pytest.raises(errors.UnsupportedOperationError):
            store.put("k", b"x", options=refused)
        with pytest.raises(errors.UnsupportedOperationError):
            store.writer("k", options=refused)
    assert len(server.seen) == count


@pytest.mark.parametrize("settings", [{}, {"composite_upload": False}, {"backend": "sdk"}])
@pytest.mark.parametrize("size", [100, 9 * MIB])
def test_what_has_a_customer_s_key_is_read_and_copied_with_it(
    server: FullGcsServer, settings: dict[str, Any], size: int
) -> None:
    found = open_store(
        parse("gs://bucket/"),
        Settings.resolve(
            {},
            gcs={"endpoint_url": server.endpoint, **settings},
            multipart={"threshold": MIB, "part_size": 5 * MIB},
            range={"threshold": MIB, "chunk": 4 * MIB},
            retry={"max_attempts": 1},
        ),
    )
    data = random.Random(6).randbytes(size)
    key, other = b"k" * 32, b"o" * 32
    found.put("k", data, options=PutOptions(sse_customer_key=key))
    read = Conditions(sse_customer_key=key)
    assert found.get("k", conditions=read) == data
    assert found.get_range("k", 10, 50, conditions=read) == data[10:60]
    assert found.head("k", conditions=read).size == size
    for wrong in (Conditions(), Conditions(sse_customer_key=other)):
        with pytest.raises(errors.ServiceError, match="encryption key"):
            found.get("k", conditions=wrong)
    found.copy(found, "k", "again", options=PutOptions(sse_customer_key=other, conditions=read))
    assert found.get("again", conditions=Conditions(sse_customer_key=other)) == data
    assert sorted(server.buckets["bucket"]) == ["again", "k"]
    with pytest.raises(errors.ConfigError):
        found.get("k", conditions=Conditions(sse_customer_key=b"short"))
