"""Conditional writes that meet others, and those whose answers get lost: a mark in the metadata of what was written
tells whether it was done, equal content does not."""

from __future__ import annotations

import http.server
import itertools
import json
import re
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from s3dlio.config.settings import Settings
from s3dlio.errors import (
    AlreadyExistsError,
    NetworkError,
    OutcomeUnknownError,
    PreconditionFailedError,
    ServiceError,
)
from s3dlio.memory.sources import as_source
from s3dlio.stores.azure.account import AzureAccount
from s3dlio.stores.azure.store import AzureStore
from s3dlio.stores.base import ObjectStore
from s3dlio.stores.gcs.account import GcsAccount
from s3dlio.stores.gcs.store import GcsStore
from s3dlio.stores.s3 import S3Account, S3Store
from s3dlio.stores.sdk.azure import AzureSdkStore
from s3dlio.stores.sdk.boto import BotoStore
from s3dlio.stores.sdk.gcs import GcsSdkStore
from s3dlio.stores.writer import UploadState
from s3dlio.types import Conditions, PutOptions
from tests.threads import serving

PART = 5 << 20
CREATE = PutOptions(conditions=Conditions(if_none_match="*"))
_turn = itertools.count(1)


class Cloud(http.server.ThreadingHTTPServer):
    """One object, written under conditions; ``faults`` are what becomes of the next writes."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.version = 0
        self.marks: dict[str, str] = {}  # the metadata of the object
        self.faults: list[str] = []
        self.writes = 0
        self.blind = False
        self.uploads: list[dict[str, str]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def store(self, metadata: dict[str, str]) -> None:
        self.version, self.marks = self.version + 1, metadata


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Cloud

    def log_message(self, *_: Any) -> None: ...

    def answer(self, status: int, body: bytes = b"", **fields: str) -> None:
        self.send_response_only(status)
        sized = {"Content-Length": str(len(body)), **{name.replace("_", "-"): value for name, value in fields.items()}}
        for name, value in sized.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def fail(self, status: int, code: str) -> None:
        self.answer(status, f"<Error><Code>{code}</Code><Message>no</Message></Error>".encode(), x_ms_error_code=code)

    def do_HEAD(self) -> None:
        cloud = self.server
        if cloud.blind:
            return self.fail(403, "AccessDenied")
        if not cloud.version:
            return self.answer(404)
        fields = {f"x-{kind}-meta-{name}": value for kind in ("amz", "ms") for name, value in cloud.marks.items()}
        self.answer(200, ETag=f'"{cloud.version}"', **fields, Content_Length="1")
        return None

    def do_GET(self) -> None:
        cloud = self.server
        if cloud.blind:
            return self.fail(403, "AccessDenied")
        found = {"generation": str(cloud.version), "etag": f'"{cloud.version}"', "size": "1", "metadata": cloud.marks}
        self.answer(200 if cloud.version else 404, json.dumps(found if cloud.version else {}).encode())
        return None

    def do_DELETE(self) -> None:
        self.answer(204)

    def body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("content-length") or 0))

    def do_PUT(self) -> None:
        self.body()
        if "partNumber" in self.path:
            return self.answer(200, ETag='"p"')
        self.write(self.metadata(), lambda: self.answer(201 if "x-ms-version" in self.headers else 200, ETag='"e"'))
        return None

    def do_POST(self) -> None:
        cloud, body = self.server, self.body()
        query = parse_qs(urlsplit(self.path).query, keep_blank_values=True)
        if "uploads" in query:
            cloud.uploads.append(self.metadata())
            self.answer(200, f"<R><UploadId>{len(cloud.uploads) - 1}</UploadId></R>".encode())
        elif "uploadId" in query:
            done = b"<CompleteMultipartUploadResult><ETag>e</ETag></CompleteMultipartUploadResult>"
            self.write(cloud.uploads[int(query["uploadId"][0])], lambda: self.answer(200, done))
        else:  # Cloud Storage
            match = re.search(rb"\r\n\r\n({.*})\r\n", body)
            said = json.loads(match[1])["metadata"] if match else {}
            result = {"generation": "9", "etag": "e", "size": "1"}
            self.write(said, lambda: self.answer(200, json.dumps(result).encode()), query)

    def metadata(self) -> dict[str, str]:
        fields = [(name.lower(), value) for name, value in self.headers.items()]
        return {name.partition("-meta-")[2]: value for name, value in fields if "-meta-" in name}

    def holds(self, query: dict[str, list[str]]) -> bool:
        version = self.server.version
        if "ifGenerationMatch" in query:
            return query["ifGenerationMatch"] == [str(version)]
        if (wanted := self.headers.get("if-match")) is not None:
            return wanted == f'"{version}"'
        return self.headers.get("if-none-match") != "*" or not version

    def write(self, metadata: dict[str, str], answer: Callable[[], None], query: Any = None) -> None:
        cloud = self.server
        cloud.writes += 1
        fault = cloud.faults.pop(0) if cloud.faults else ""
        if fault == "conflict":
            return self.fail(409, "ConditionalRequestConflict")
        if not self.holds(query or {}):
            return self.fail(412, "PreconditionFailed")
        if "store" in fault or not fault:
            cloud.store(metadata)
        if "replace" in fault:
            cloud.store({"s3dlio-attempt": "another"})
        if "drop" in fault:
            self.close_connection = True
        elif "503" in fault:
            self.fail(503, "SlowDown")
        else:
            answer()
        return None


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    with serving(Cloud()) as server:
        yield server


def s3_settings(cloud: Cloud) -> Settings:
    keys = {"access_key_id": "a", "secret_access_key": "b", "region": "us-east-1", "endpoint_url": cloud.url}
    return Settings.resolve({}, s3=keys, multipart={"threshold": PART, "part_size": PART}, **quick())


def quick() -> dict[str, Any]:
    retry = {"max_attempts": 3, "base_delay": 0.001, "max_delay": 0.002}
    return {"retry": retry, "http": {"read_timeout": 10.0 + next(_turn) / 1000}}


def s3(cloud: Cloud) -> ObjectStore:
    return S3Store(S3Account(s3_settings(cloud)), "b")


def boto(cloud: Cloud) -> ObjectStore:
    return BotoStore(S3Account(s3_settings(cloud)), "b")


def azure(cloud: Cloud) -> ObjectStore:
    settings = Settings.resolve({}, azure={"endpoint_url": f"{cloud.url}/a", "anonymous": True}, **quick())
    return AzureStore(AzureAccount(settings, "a"), "c")


def gcs(cloud: Cloud) -> ObjectStore:
    return GcsStore(GcsAccount(Settings.resolve({}, gcs={"endpoint_url": cloud.url}, **quick())), "b")


def azure_sdk(cloud: Cloud) -> ObjectStore:
    settings = Settings.resolve({}, azure={"endpoint_url": f"{cloud.url}/a", "anonymous": True}, **quick())
    return AzureSdkStore(AzureAccount(settings, "a"), "c")


def gcs_sdk(cloud: Cloud) -> ObjectStore:
    return GcsSdkStore(GcsAccount(Settings.resolve({}, gcs={"endpoint_url": cloud.url}, **quick())), "b")


NATIVE = {"s3": s3, "azure": azure, "gcs": gcs}
STORES = {**NATIVE, "boto3": boto}
SDKS = {"azure": azure_sdk, "gcs": gcs_sdk}
LOST = ["store drop", "store 503", "drop"]


@pytest.mark.parametrize("fault", LOST)
@pytest.mark.parametrize("name", STORES)
def test_what_was_stored_without_an_answer_is_ours(name: str, fault: str, cloud: Cloud) -> None:
    cloud.faults = [fault]
    STORES[name](cloud).put("k", b"x", options=CREATE)
    assert cloud.version == 1


@pytest.mark.parametrize("name", SDKS)
def test_what_an_sdk_has_stored_without_an_answer_is_ours(name: str, cloud: Cloud) -> None:
    cloud.faults = ["store 503"]
    SDKS[name](cloud).put("k", b"x", options=CREATE)
    assert cloud.version == 1
    with pytest.raises(AlreadyExistsError):
        SDKS[name](cloud).put("k", b"x", options=CREATE)


@pytest.mark.parametrize("fault", LOST)
def test_what_was_stored_in_parts_without_an_answer_is_ours(fault: str, cloud: Cloud) -> None:
    cloud.faults = [fault]
    s3(cloud).put("k", bytes(PART + 1), options=CREATE)
    assert cloud.version == 1
    with s3(cloud).writer("k", options=PutOptions(conditions=Conditions(if_match='"1"'))) as stream:
        cloud.faults = [fault]
        stream.write(bytes(PART + 1))
    assert cloud.version == 2


@pytest.mark.parametrize("name", STORES)
def test_what_another_has_written_meanwhile_is_not_ours(name: str, cloud: Cloud) -> None:
    cloud.faults = ["replace drop"]
    with pytest.raises(AlreadyExistsError, match="another writer"):
        STORES[name](cloud).put("k", b"x", options=CREATE)
    assert cloud.marks == {"s3dlio-attempt": "another"}


@pytest.mark.parametrize("name", STORES)
def test_a_condition_that_does_not_hold_is_clear_at_once(name: str, cloud: Cloud) -> None:
    cloud.store({})
    with pytest.raises(AlreadyExistsError):
        STORES[name](cloud).put("k", b"x", options=CREATE)
    with pytest.raises(PreconditionFailedError) as caught:
        STORES[name](cloud).put("k", b"x", options=PutOptions(conditions=Conditions(if_match='"7"')))
    assert not isinstance(caught.value, AlreadyExistsError)
    assert cloud.version == 1


@pytest.mark.parametrize("name", NATIVE)
def test_nobody_can_tell_whether_a_replaced_write_was_done(name: str, cloud: Cloud) -> None:
    cloud.store({})
    cloud.faults = ["store replace drop"]
    with pytest.raises(OutcomeUnknownError, match="it is unknown whether the write was done"):
        NATIVE[name](cloud).put("k", b"x", options=PutOptions(conditions=Conditions(if_match='"1"')))


@pytest.mark.parametrize("name", ["s3", "azure"])
def test_nobody_can_tell_where_nobody_may_look(name: str, cloud: Cloud) -> None:
    cloud.faults, cloud.blind = ["store drop"], True
    with pytest.raises(OutcomeUnknownError) as caught:
        NATIVE[name](cloud).put("k", b"x", options=CREATE)
    assert isinstance(caught.value.__cause__, PreconditionFailedError)
    assert caught.value.hint == "look at the object before you write again"


@pytest.mark.parametrize("name", NATIVE)
def test_what_is_not_there_was_not_written(name: str, cloud: Cloud) -> None:
    cloud.faults = ["drop"] * 3
    with pytest.raises(NetworkError):
        NATIVE[name](cloud).put("k", b"x", options=CREATE)


@pytest.mark.parametrize("size", [1, PART + 1])
def test_a_conflict_is_tried_again_from_the_beginning(size: int, cloud: Cloud) -> None:
    cloud.faults = ["conflict"]
    s3(cloud).put("k", bytes(size), options=CREATE)
    assert cloud.version == 1
    assert len(cloud.uploads) == (2 if size > PART else 0)  # the parts, too


def test_a_conflict_of_a_write_with_a_journal_is_tried_again(cloud: Cloud) -> None:
    cloud.faults = ["conflict"]
    store, saved = s3(cloud), dict[str, Any]()
    resume = UploadState({}, {}, saved.update)
    store.execute(store.write_call("k", as_source(bytes(PART + 1)), options=CREATE, resume=resume))
    assert cloud.version == 1
    assert len(cloud.uploads) == 2


def test_a_conflict_without_end_is_not_an_object_that_is_there(cloud: Cloud) -> None:
    cloud.faults = ["conflict"] * 9
    with pytest.raises(ServiceError, match="another write to the same key was going on"):
        s3(cloud).put("k", b"x", options=CREATE)
    assert cloud.writes == 3


@pytest.mark.parametrize("name", STORES)
def test_the_mark_is_not_shown(name: str, cloud: Cloud) -> None:
    options = PutOptions(metadata={"colour": "blue"}, conditions=Conditions(if_none_match="*"))
    store = STORES[name](cloud)
    store.put("k", b"x", options=options)
    assert len(cloud.marks) == 2
    if name != "gcs":
        assert store.head("k").metadata == {"colour": "blue"}
    assert unquote(cloud.marks["colour"]) == "blue"
