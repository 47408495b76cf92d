"""What Google Cloud Storage may answer, or leave unanswered, and what comes of it: the recovery or the typed error."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from typing import Any

import pytest

from s3dlio import errors
from s3dlio.config.settings import Settings
from s3dlio.memory.sinks import MemorySink
from s3dlio.net.lane import Lane
from s3dlio.stores.base import ObjectStore
from s3dlio.stores.registry import open_store
from s3dlio.types import Conditions, PutOptions
from s3dlio.uri import parse
from tests.servers.gcs_scripted import Fault, FullGcsServer
from tests.servers.scripted import Action, Expect, Reset, ScriptedServer, Send, respond

Act = Callable[[ObjectStore], Any]


@pytest.fixture
def server(faulty_gcs_server: FullGcsServer) -> FullGcsServer:
    return faulty_gcs_server


def open_at(endpoint: str, bucket: str = "bucket", **gcs: Any) -> ObjectStore:
    settings = Settings.resolve(
        {},
        gcs={"endpoint_url": endpoint, "project": "p", **gcs},
        retry={"base_delay": 0.001, "max_delay": 0.01, "max_attempts": 3},
    )
    return open_store(parse(f"gs://{bucket}/"), settings)


@pytest.fixture
def store(server: FullGcsServer) -> ObjectStore:
    return open_at(server.endpoint)


def explained(status: int, reason: str, message: str) -> bytes:
    error = {"code": status, "message": message, "errors": [{"reason": reason, "message": message}]}
    return json.dumps({"error": error}).encode()


def failure_of(act: Callable[[], object]) -> errors.S3dlioError:
    with pytest.raises(errors.S3dlioError) as caught:
        act()
    return caught.value


# -- answers that are errors


@pytest.mark.parametrize(
    ("status", "reason", "kind", "operation"),
    [
        (400, "invalid", errors.ServiceError, "GET"),
        (401, "required", errors.PermissionDeniedError, "GET"),
        (403, "forbidden", errors.PermissionDeniedError, "GET"),
        (403, "rateLimitExceeded", errors.ThrottledError, "GET"),
        (404, "notFound", errors.ObjectNotFoundError, "GET"),
        (412, "conditionNotMet", errors.PreconditionFailedError, "GET"),
        (416, "requestedRangeNotSatisfiable", errors.RangeNotSatisfiableError, "GET"),
        (418, "odd", errors.ServiceError, "GET"),
    ],
)
def test_an_error_is_told_whole(
    server: FullGcsServer, store: ObjectStore, status: int, reason: str, kind: type[errors.S3dlioError], operation: str
) -> None:
    fields = (("X-GUploader-UploadID", "id-7"),)
    server.faults = [Fault("GET", "/o/k", status, fields, explained(status, reason, "because of this."))]
    error = failure_of(lambda: store.get("k"))
    assert type(error) is kind
    assert (error.status, error.code, error.request_id, error.uri, error.operation) == (
        status, reason, "id-7", "gs://bucket/k", operation
    )  # fmt: skip
    assert "because of this" in str(error)
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"error": "text"}', b"\xff\xfe", b'{"error": {}}'])
def test_an_error_without_an_explanation(server: FullGcsServer, store: ObjectStore, body: bytes) -> None:
    server.faults = [Fault("GET", "/o/k", 403, body=body)]
    error = failure_of(lambda: store.head("k"))
    assert isinstance(error, errors.PermissionDeniedError)
    assert "access was denied" in str(error) or "\ufffd" in str(error)


@pytest.mark.parametrize("backend", ["native", "sdk"])
def test_a_missing_bucket(server: FullGcsServer, backend: str) -> None:
    store = open_at(server.endpoint, "missing", backend=backend)
    acts: list[Act] = [
        lambda store: store.get("k"),
        lambda store: store.head("k"),
        lambda store: store.put("k", b"x"),
        lambda store: list(store.list()),
        lambda store: store.delete("k"),
        lambda store: store.delete_container(),
    ]
    for act in acts:
        error = failure_of(lambda act=act: act(store))  # type: ignore[misc]
        assert isinstance(error, errors.ObjectNotFoundError)
        assert "bucket" in str(error.hint)
    ((_, error),) = store.delete_many(["k"])
    assert isinstance(error, errors.ObjectNotFoundError)


@pytest.mark.parametrize("backend", ["native", "sdk"])
def test_a_bucket_of_somebody_else(server: FullGcsServer, backend: str) -> None:
    store = open_at(server.endpoint, "theirs", backend=backend)
    server.faults = [Fault("POST", "/b\\?", 409, body=explained(409, "conflict", "That name is not available."))]
    error = failure_of(store.create_container)
    assert isinstance(error, errors.AlreadyExistsError)
    assert "choose another" in str(error.hint)


@pytest.mark.parametrize("backend", ["native", "sdk"])
def test_nobody_at_the_endpoint(backend: str) -> None:
    with ScriptedServer([]) as gone:
        endpoint = gone.endpoint
    settings = Settings.resolve({}, gcs={"endpoint_url": endpoint, "backend": backend}, retry={"max_attempts": 1})
    error = failure_of(lambda: open_store(parse("gs://bucket/"), settings).get("k"))
    assert isinstance(error, (errors.NetworkError, errors.TransferTimeoutError))
    assert error.uri == "gs://bucket/k"


# -- slower, please


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
@pytest.mark.parametrize(
    ("method", "act"),
    [
        ("GET", lambda store: store.get("k")),
        ("GET", lambda store: store.head("k")),
        ("GET", lambda store: list(store.list())),
        ("POST", lambda store: store.put("k", b"x")),
        ("POST", lambda store: store.delete_many(["k"])),
        ("POST", lambda store: store.copy(store, "k", "l")),
        ("DELETE", lambda store: store.delete("k")),
    ],
)
def test_what_passes_is_tried_again(
    server: FullGcsServer, store: ObjectStore, method: str, act: Act, status: int
) -> None:
    store.put("k", b"x")
    fields = (("Retry-After", "0"),)
    server.faults = [Fault(method, status=status, headers=fields), Fault(method, status=status)]
    act(store)


@pytest.mark.parametrize(("status", "kind"), [(429, errors.ThrottledError), (503, errors.ThrottledError)])
def test_what_does_not_pass(
    server: FullGcsServer, store: ObjectStore, status: int, kind: type[errors.S3dlioError]
) -> None:
    for method, act in (("GET", lambda: store.get("k")), ("POST", lambda: store.put("k", b"x"))):
        server.faults = [Fault(method, status=status) for _ in range(3)]
        error = failure_of(act)
        assert isinstance(error, kind)
        assert (error.attempts, error.status) == (3, status)
    assert server.buckets["bucket"] == {}


@pytest.mark.parametrize("status", [429, 500, 503])
def test_the_sdk_counts_as_well(server: FullGcsServer, status: int) -> None:
    store = open_at(server.endpoint, backend="sdk")
    store.put("k", b"x")
    for act in (lambda: store.get("k"), lambda: store.head("k"), lambda: list(store.list())):
        server.faults = [Fault("GET", status=status), Fault("GET", status=status)]
        act()
        server.faults = [Fault("GET", status=status) for _ in range(3)]
        error = failure_of(act)
        assert error.status == status
        assert isinstance(error, errors.ServiceError if status == 500 else errors.ThrottledError)


# -- answers that are lost


def test_a_lost_answer_to_a_put(server: FullGcsServer, store: ObjectStore) -> None:
    server.faults = [Fault("POST", "/upload/", after=True)]
    store.put("k", b"x")
    assert len(server.requests("POST", "/upload/")) == 2


def test_a_lost_answer_to_a_conditional_put_is_found_by_its_mark(server: FullGcsServer, store: ObjectStore) -> None:
    """Sent again it meets its own object."""
    server.faults = [Fault("POST", "/upload/", after=True)]
    options = PutOptions(conditions=Conditions(if_none_match="*"))
    store.put("k", b"x", options=options)
    assert len(server.requests("POST", "/upload/")) == 2
    assert store.head("k").metadata == {}


def test_a_body_that_breaks_off_goes_on_at_its_generation() -> None:
    fields = [("X-Goog-Generation", "5"), ("ETag", "e"), ("X-Goog-Hash", "crc32c=yZRlqg==")]
    head = respond(body=b"", headers=fields, length=False).data[:-2] + b"Content-Length: 11\r\n\r\n"
    rest = respond(
        "206 Partial Content", body=b" world", headers=[*fields, ("Content-Range", "bytes 5-10/11")]
    )
    target = b"GET /download/storage/v1/b/bucket/o/k?alt=media"
    first: list[Action] = [Expect(target + b" "), Send(head + b"hello"), Reset()]
    second: list[Action] = [Expect(target + b"&generation=5 "), rest]
    with ScriptedServer([first, second]) as server:
        assert open_at(server.endpoint).get("k") == b"hello world"
        server.assert_consumed()
        assert server.all_requests[1].headers["range"] == "bytes=5-10"


def test_a_server_that_ignores_ranges() -> None:
    script: list[Action] = [Expect(b"GET"), respond(body=b"the whole object")]
    with ScriptedServer([script]) as server, pytest.raises(errors.ProtocolError):
        open_at(server.endpoint).get_range("k", 4, 5)


@pytest.mark.parametrize("body", [b"", b"[]", b"<html>", b'{"items": '])
def test_a_listing_that_is_no_json(server: FullGcsServer, store: ObjectStore, body: bytes) -> None:
    server.faults = [Fault("GET", "/o\\?", 200, body=body)]
    with pytest.raises(errors.ProtocolError):
        list(store.list())


def test_a_listing_that_fails_on_a_later_page(server: FullGcsServer, store: ObjectStore) -> None:
    for number in range(5):
        store.put(f"k{number}", b"")
    store.page_size = 2  # type: ignore[attr-defined]
    server.faults = [Fault("GET", "pageToken=k4", 403)]
    seen: list[str] = []

    def walk() -> None:
        for page in store.list():
            seen.extend(page.keys)

    assert isinstance(failure_of(walk), errors.PermissionDeniedError)
    assert seen == ["k0", "k1", "k2", "k3"]


def test_faults_on_a_lane(server: FullGcsServer, store: ObjectStore) -> None:
    for number in range(20):
        store.put(f"k{number}", b"%d" % number)
    server.faults = [
        Fault("GET", "/o/k3\\?", 503, (("Retry-After", "0"),)),
        Fault("GET", "/o/k5\\?"),
        Fault("GET", "/o/k7\\?", 403),
    ]
    results: dict[int, Any] = {}
    sinks = [MemorySink() for _ in range(20)]
    reads = [store.read_call(f"k{number}", sink) for number, sink in enumerate(sinks)]
    Lane(window=4).run(enumerate(reads), lambda index, result, error: results.update({index: error}))
    assert [index for index, error in results.items() if error] == [7]
    assert isinstance(results[7], errors.PermissionDeniedError)
    assert [bytes(sink.view()) for sink in sinks if sink.size] == [b"%d" % n for n in range(20) if n != 7]
