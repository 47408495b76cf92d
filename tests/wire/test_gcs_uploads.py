"""Large objects on Google Cloud Storage: sessions that resume, parts that are composed, what failures leave behind."""

from __future__ import annotations

import json
import logging
import random
import time
from typing import Any

import pytest

from s3dlio import errors
from s3dlio.config.settings import Settings
from s3dlio.engine.lanes import Lanes
from s3dlio.memory.sources import FileSource
from s3dlio.stores.cloud.part_size import part_size_for
from s3dlio.stores.gcs import GcsAccount, GcsStore, multipart
from s3dlio.types import Conditions, PutOptions
from tests.servers.gcs_scripted import Fault, FullGcsServer, crc32c

MIB = 1 << 20
DATA = random.Random(4).randbytes(2 * MIB + 12345)
CREATE_ONLY = PutOptions(conditions=Conditions(if_none_match="*"))
OPTIONS = PutOptions(content_type="text/x-test", metadata={"colour": "blau ä"})


@pytest.fixture
def server(faulty_gcs_server: FullGcsServer) -> FullGcsServer:
    return faulty_gcs_server


def make_store(server: FullGcsServer, multipart: dict[str, int] | None = None, **gcs: Any) -> GcsStore:
    settings = Settings.resolve(
        {},
        gcs={"endpoint_url": server.endpoint, **gcs},
        retry={"base_delay": 0.001, "max_delay": 0.01, "max_attempts": 3},
        multipart=multipart or {"threshold": MIB},
    )
    return GcsStore(GcsAccount(settings), "bucket")


@pytest.fixture
def store(server: FullGcsServer) -> GcsStore:
    return make_store(server)


@pytest.fixture
def resuming(server: FullGcsServer) -> GcsStore:
    return make_store(server, composite_upload=False)


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many parts of little data."""
    monkeypatch.setattr("s3dlio.stores.cloud.writer._MIN_PART", 1)


def names(server: FullGcsServer) -> list[str]:
    return sorted(server.buckets["bucket"])


def ranges(server: FullGcsServer) -> list[str]:
    return [seen.headers["content-range"] for seen in server.requests("PUT", "upload_id")]


# -- one request


@pytest.mark.parametrize("size", [0, 1, 70_000, MIB])
@pytest.mark.parametrize("options", [PutOptions(), OPTIONS, PutOptions(content_type="a/b")])
def test_small_objects_are_one_request(server: FullGcsServer, store: GcsStore, size: int, options: PutOptions) -> None:
    result = store.put("a/b", DATA[:size], options=options)
    (request,) = server.seen
    assert request.method == "POST"
    stored = server.buckets["bucket"]["a/b"]
    assert stored.data == DATA[:size]
    assert result == (stored.resource["etag"], str(stored.generation), size)
    assert stored.resource["contentType"] == (options.content_type or "application/octet-stream")
    assert stored.resource.get("metadata") == options.metadata


def test_bytes_from_a_file(server: FullGcsServer, store: GcsStore, tmp_path: Any) -> None:
    (tmp_path / "file").write_bytes(DATA)
    with (tmp_path / "file").open("rb") as file:
        source = FileSource(file.fileno(), 5, MIB)
        store.execute(store.write_call("k", source, options=OPTIONS))
    assert server.buckets["bucket"]["k"].data == DATA[5 : 5 + MIB]


def test_damage_on_the_way_is_refused(server: FullGcsServer, store: GcsStore) -> None:
    store.put("k", b"before")
    body = json.dumps({"error": {"code": 400, "message": "Provided CRC32C \"x\" doesn't match calculated CRC32C"}})
    server.faults = [Fault("POST", "uploadType=media", 400, body=body.encode())]
    with pytest.raises(errors.IntegrityError) as caught:
        store.put("k", b"after")
    assert caught.value.uri == "gs://bucket/k"
    assert store.get("k") == b"before"


@pytest.mark.parametrize("composite", [True, False])
@pytest.mark.parametrize("options", [PutOptions(), OPTIONS])
@pytest.mark.parametrize("size", [100, 9 * MIB])
def test_every_upload_tells_what_it_is_to_be(
    server: FullGcsServer, size: int, options: PutOptions, composite: bool
) -> None:
    """The service finds the damage, before it keeps anything."""
    store = make_store(server, {"threshold": MIB, "part_size": 5 * MIB}, composite_upload=composite)
    server.damages = True
    with pytest.raises(errors.S3dlioError) as caught:
        store.put("k", bytes(size), options=options)
    assert caught.value.status == 400
    assert isinstance(caught.value, errors.IntegrityError)
    assert names(server) == []
    assert not any("/o/k" in seen.target for seen in server.requests("DELETE"))


def test_damage_that_the_service_stored_is_removed(server: FullGcsServer, store: GcsStore) -> None:
    answer = json.dumps({"crc32c": crc32c(b"other"), "generation": "77", "etag": "x", "size": "5"}).encode()
    server.faults = [Fault("POST", "uploadType=media", 200, body=answer)]
    with pytest.raises(errors.IntegrityError):
        store.put("k", b"bytes")
    (deleted,) = server.requests("DELETE")
    assert deleted.target.endswith("/o/k?generation=77")


# -- resumable


def test_a_session(server: FullGcsServer, resuming: GcsStore) -> None:
    result = resuming.put("k", DATA, options=OPTIONS)
    stored = server.buckets["bucket"]["k"]
    assert stored.data == DATA
    assert stored.resource["metadata"] == OPTIONS.metadata
    assert stored.resource["contentType"] == "text/x-test"
    assert result.version_id == str(stored.generation)
    assert ranges(server) == [f"bytes 0-{len(DATA) - 1}/{len(DATA)}"]


def test_a_cut_is_resumed_where_the_session_is(server: FullGcsServer, resuming: GcsStore) -> None:
    # The 503 meets the question of how much there is.
    server.faults = [Fault("PUT", "upload_id", keep=MIB + 100), Fault("PUT", "upload_id", status=503)]
    resuming.put("k", DATA)
    assert server.buckets["bucket"]["k"].data == DATA
    size = len(DATA)
    assert ranges(server) == [
        f"bytes 0-{size - 1}/{size}", f"bytes */{size}", f"bytes */{size}", f"bytes {MIB}-{size - 1}/{size}",
    ]  # fmt: skip


def test_fewer_bytes_than_were_sent(server: FullGcsServer, resuming: GcsStore) -> None:
    server.faults = [
        Fault("PUT", "upload_id", status=308, keep=300_000),
        Fault("PUT", "upload_id", status=308, keep=MIB),
    ]
    resuming.put("k", DATA)
    assert server.buckets["bucket"]["k"].data == DATA
    assert [text.partition("-")[0] for text in ranges(server)] == ["bytes 0", "bytes 262144", f"bytes {262144 + MIB}"]


def test_a_session_that_stands_still(server: FullGcsServer, resuming: GcsStore) -> None:
    server.faults = [Fault("PUT", "upload_id", status=308, keep=10) for _ in range(3)]
    with pytest.raises(errors.ServiceError, match="takes no more bytes") as caught:
        resuming.put("k", DATA)
    assert "session-" not in str(caught.value)
    assert names(server) == []


@pytest.mark.parametrize("told", ["bytes=0-99999999", "bytes=5-10", "items=0-5"])
def test_a_session_that_tells_nonsense(server: FullGcsServer, resuming: GcsStore, told: str) -> None:
    server.faults = [Fault("PUT", "upload_id", status=308, headers=(("Range", told),))]
    with pytest.raises(errors.ProtocolError):
        resuming.put("k", DATA)
    assert names(server) == []


def test_a_session_that_claims_what_it_has_not(server: FullGcsServer, resuming: GcsStore) -> None:
    server.faults = [Fault("PUT", "upload_id", status=308, headers=(("Range", f"bytes=0-{MIB - 1}"),))]
    resuming.put("k", DATA)
    assert server.buckets["bucket"]["k"].data == DATA


def test_a_session_that_goes_to_and_fro(server: FullGcsServer, resuming: GcsStore) -> None:
    told = [(("Range", f"bytes=0-{MIB - 1}"),), (), (("Range", f"bytes=0-{MIB - 1}"),), ()]
    server.faults = [Fault("PUT", "upload_id", status=308, headers=fields) for fields in told]
    with pytest.raises(errors.ServiceError, match="takes no more bytes"):
        resuming.put("k", DATA)
    assert names(server) == []


def test_a_session_asks_for_patience(server: FullGcsServer, resuming: GcsStore) -> None:
    server.faults = [Fault("PUT", "upload_id", status=503, headers=(("Retry-After", "0"),)) for _ in range(2)]
    resuming.put("k", DATA)
    assert server.buckets["bucket"]["k"].data == DATA


@pytest.mark.parametrize("status", [404, 410])
def test_a_session_that_is_gone_is_started_over(server: FullGcsServer, resuming: GcsStore, status: int) -> None:
    server.faults = [Fault("PUT", "upload_id", keep=MIB), Fault("PUT", "upload_id", status=status)]
    resuming.put("k", DATA)
    assert server.buckets["bucket"]["k"].data == DATA
    assert len(server.requests("POST", "uploadType=resumable")) == 2


def test_sessions_that_are_always_gone(server: FullGcsServer, resuming: GcsStore) -> None:
    server.faults = [Fault("PUT", "upload_id", status=410) for _ in range(3)]
    with pytest.raises(errors.ServiceError, match="session is gone") as caught:
        resuming.put("k", DATA)
    assert (caught.value.status, caught.value.attempts, caught.value.uri) == (410, 3, "gs://bucket/k")
    assert names(server) == []


def test_a_lost_last_answer(server: FullGcsServer, resuming: GcsStore) -> None:
    server.faults = [Fault("PUT", "upload_id", after=True)]
    result = resuming.put("k", DATA, options=CREATE_ONLY)
    stored = server.buckets["bucket"]["k"]
    assert (stored.data, str(stored.generation)) == (DATA, result.version_id)
    assert ranges(server)[-1] == f"bytes */{len(DATA)}"


def test_a_session_refused(server: FullGcsServer, resuming: GcsStore) -> None:
    resuming.put("k", b"first")
    with pytest.raises(errors.AlreadyExistsError):
        resuming.put("k", DATA, options=CREATE_ONLY)
    server.faults = [Fault("PUT", "upload_id", status=403)]
    with pytest.raises(errors.PermissionDeniedError):
        resuming.put("k", DATA)
    server.faults = [Fault("POST", "uploadType=resumable", status=200)]  # without a Location
    with pytest.raises(errors.ProtocolError):
        resuming.put("k", DATA)
    assert resuming.get("k") == b"first"


def test_session_urls_stand_nowhere(
    server: FullGcsServer, resuming: GcsStore, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "s3dlio")
    server.faults = [Fault("PUT", "upload_id", keep=MIB), Fault("PUT", "upload_id", status=410)]
    resuming.put("k", DATA)
    assert caplog.records
    assert "session-" not in caplog.text


def test_a_stream_without_composing(server: FullGcsServer, resuming: GcsStore) -> None:
    with resuming.writer("k", options=OPTIONS) as writer:
        writer.write(DATA[:MIB])
        writer.write(DATA[MIB:])
    assert server.buckets["bucket"]["k"].data == DATA
    assert len(server.requests("POST", "uploadType=resumable")) == 1


# -- composite


def write_parts(store: GcsStore, options: PutOptions = OPTIONS, part_size: int = 60_000) -> Any:
    with store.writer("k", options=options, part_size=part_size) as writer:
        writer.write(DATA)
    return writer


def test_a_large_put_is_composed(server: FullGcsServer, store: GcsStore) -> None:
    result = store.put("k", DATA, options=OPTIONS)
    stored = server.buckets["bucket"]["k"]
    assert stored.data == DATA
    assert stored.resource["metadata"] == OPTIONS.metadata
    assert (result.size, result.version_id, result.etag) == (
        len(DATA), str(stored.generation), stored.resource["etag"]
    )  # fmt: skip
    assert names(server) == ["k"]
    assert store.head("k").crc32c == store.execute(store.head_call("k")).crc32c
    assert store.get("k") == DATA


def test_more_parts_than_one_compose_takes(server: FullGcsServer, store: GcsStore) -> None:
    write_parts(store)
    assert server.buckets["bucket"]["k"].data == DATA
    assert names(server) == ["k"]
    assert len(server.requests("POST", "/compose")) == 3  # 36 parts: 32 and 4, then both
    assert len(server.requests("POST", "/upload/")) == 36


@pytest.mark.parametrize("target", ["/compose", r"/upload/.*000007", r"level-1-000001/compose", "/o/k/compose"])
def test_nothing_is_left_of_a_failure(server: FullGcsServer, store: GcsStore, target: str) -> None:
    store.put("k", b"before")
    server.faults = [Fault("POST", target, status=403)]
    with pytest.raises(errors.PermissionDeniedError):
        write_parts(store)
    assert names(server) == ["k"]
    assert store.get("k") == b"before"


def test_what_is_on_its_way_is_waited_for_before_it_is_removed(server: FullGcsServer) -> None:
    store = make_store(server, multipart={"threshold": MIB, "part_size": 5 * MIB})
    server.faults = [Fault("POST", "000001", pause=0.3), Fault("POST", "000002", status=403)]
    with pytest.raises(errors.PermissionDeniedError):
        store.put("k", bytes(16 * MIB))
    time.sleep(0.4)  # what would come late is there now
    assert names(server) == []
    server.faults = [Fault("POST", "level-1-000000", pause=0.3), Fault("POST", "level-1-000001", status=403)]
    with pytest.raises(errors.PermissionDeniedError):
        write_parts(store)
    time.sleep(0.4)
    assert names(server) == []


def test_nothing_is_left_of_a_failed_put(server: FullGcsServer, store: GcsStore) -> None:
    server.faults = [Fault("POST", "/upload/", status=403)]
    with pytest.raises(errors.PermissionDeniedError):
        store.put("k", DATA)
    assert names(server) == []


def test_nothing_is_left_of_a_damaged_part(server: FullGcsServer, store: GcsStore) -> None:
    server.faults = [Fault("POST", "/upload/.*000003", status=200, body=b'{"crc32c": "AAAAAA==", "generation": "5"}')]
    with pytest.raises(errors.IntegrityError):
        write_parts(store)
    assert names(server) == []


def test_nothing_is_left_of_a_stream_that_is_given_up(server: FullGcsServer, store: GcsStore) -> None:
    writer = store.writer("k", part_size=60_000)
    writer.write(DATA)
    writer.abort()
    assert names(server) == []


def test_a_part_that_arrives_after_its_stream_was_given_up_does_not_stay(
    server: FullGcsServer, store: GcsStore
) -> None:
    lanes = Lanes(16)
    store.spare = lanes.spare
    server.faults = [Fault("POST", "/upload/.*000001", pause=0.3)]
    writer = store.writer("k", part_size=60_000)
    writer.write(DATA[:60_000])
    while not server.requests("POST", "/upload/"):
        time.sleep(0.001)
    writer.abort()
    lanes.close()
    time.sleep(0.4)  # what would come late is there now
    assert names(server) == []


def test_composing_only_what_is_not_there(server: FullGcsServer, store: GcsStore) -> None:
    write_parts(store, CREATE_ONLY)
    with pytest.raises(errors.AlreadyExistsError):
        write_parts(store, CREATE_ONLY)
    with pytest.raises(errors.AlreadyExistsError):
        store.put("k", DATA, options=CREATE_ONLY)
    assert names(server) == ["k"]


def test_a_lost_answer_to_the_last_compose(server: FullGcsServer, store: GcsStore) -> None:
    server.faults = [Fault("POST", "/o/k/compose", after=True)]
    write_parts(store, CREATE_ONLY)
    assert len(server.requests("POST", "/o/k/compose")) == 2  # the second met the first, and knew its mark
    assert server.buckets["bucket"]["k"].data == DATA
    assert names(server) == ["k"]


def test_a_lost_answer_and_another_object(server: FullGcsServer, store: GcsStore) -> None:
    store.put("k", b"of somebody else")
    server.faults = [Fault("POST", "/o/k/compose")]  # cut before anything was done
    generation = int(store.head("k").version_id or 0)
    write_parts(store, PutOptions(conditions=Conditions(generation=generation)))  # again: the condition still holds
    assert names(server) == ["k"]
    assert store.get("k") == DATA
    server.faults = [Fault("POST", "/o/k/compose")]
    with pytest.raises(errors.OutcomeUnknownError):  # the lost one may have been done, and replaced
        write_parts(store, PutOptions(conditions=Conditions(generation=generation)))
    assert names(server) == ["k"]


def test_parts_that_cannot_be_removed_are_told(
    server: FullGcsServer, store: GcsStore, caplog: pytest.LogCaptureFixture
) -> None:
    server.faults = [Fault("BATCHED", "000001", status=403, body=b"no")]
    store.put("k", DATA)
    assert server.buckets["bucket"]["k"].data == DATA
    assert "may have stayed" in caplog.text
    assert [name.startswith(multipart.PARTS) for name in names(server)] == [True, False]


def test_the_size_of_parts() -> None:
    assert part_size_for(1, 16 * MIB, multipart.MAX_PARTS) == 16 * MIB
    assert part_size_for(100 << 30, 16 * MIB, multipart.MAX_PARTS) == 100 * MIB
    assert part_size_for((100 << 30) + 1, 16 * MIB, multipart.MAX_PARTS) == 101 * MIB
