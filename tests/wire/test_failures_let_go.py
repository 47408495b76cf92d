"""What a failure keeps: no connection, no buffer in a cycle of its traceback, and what an attempt may have done."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Iterator
from typing import Any

import pytest

from s3dlio.client import Client
from s3dlio.config.sections import RetrySettings
from s3dlio.errors import S3dlioError, StorageFullError
from s3dlio.memory.pool import default_pool
from s3dlio.memory.sinks import MemorySink
from s3dlio.net.attempts import found_stale, retry_after_drop
from s3dlio.net.faults import ConnectionDropped
from s3dlio.stores.cloud.write_outcome import may_be_done
from tests.leases import assert_returned
from tests.servers.scripted import Expect, ExpectClose, ScriptedServer, respond
from tests.sinks import WriterSink
from tests.wire.harness import get, put, service_of
from tests.wire.s3_harness import error, read, settings_of, store_of

KIB = 1024
BODY = bytes(range(256)) * 1200  # 300 KiB
SMALL_RANGES = {"threshold": 64 * KIB, "chunk": 64 * KIB, "concurrency": 4}


@pytest.fixture(params=["blocking", "lane"])
def lane(request: pytest.FixtureRequest) -> bool:
    return bool(request.param == "lane")


@pytest.fixture
def _no_collections() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


def full(data: memoryview) -> None:
    raise StorageFullError("the disk is full")


def test_a_sink_that_refuses_the_head_of_a_large_object_costs_its_connection(lane: bool) -> None:
    """Its ranges were asked for with the same bytes."""
    answer = respond(body=BODY, headers=[("ETag", '"v1"')])
    with ScriptedServer([[Expect(), answer, ExpectClose()]]) as server:
        kept: list[BaseException] = []
        with pytest.raises(StorageFullError) as caught:
            read(store_of(server.endpoint, range=SMALL_RANGES), "k", WriterSink(full), lane=lane)
        kept.append(caught.value)
        server.assert_consumed()


def test_the_error_of_a_sink_is_not_its_own_cause(lane: bool) -> None:
    with ScriptedServer([[Expect(), respond(body=b"hello")]]) as server, pytest.raises(StorageFullError) as caught:
        read(store_of(server.endpoint), "k", WriterSink(full), lane=lane)
    assert caught.value.__cause__ is not caught.value


@pytest.mark.usefixtures("_no_collections")
def test_a_failed_read_gives_its_buffer_back_with_its_error(lane: bool) -> None:
    before = default_pool().stats().leased
    refused = error("412 Precondition Failed", "PreconditionFailed")
    head = [Expect(), respond(body=BODY, headers=[("ETag", '"v1"')])]
    with ScriptedServer([head, *[[Expect(), refused]] * 4]) as server:
        failed = fails(server.endpoint, lane)
        assert isinstance(failed, S3dlioError)
        del failed
    assert_returned(before)


def fails(endpoint: str, lane: bool) -> BaseException | None:
    try:
        read(store_of(endpoint, range=SMALL_RANGES), "k", MemorySink(), lane=lane)
    except S3dlioError as found:
        return found
    return None


def dropped(**how: Any) -> ConnectionDropped:
    return ConnectionDropped("gone", **how)


@pytest.mark.parametrize("first", [dropped(untouched=True), dropped(timed_out=True)])
def test_what_an_earlier_attempt_may_have_done_is_not_forgotten(first: ConnectionDropped) -> None:
    """The service is gone when the last attempt is made, but one had reached it."""
    service = service_of("http://127.0.0.1:9", retry=RetrySettings(max_attempts=2, base_delay=0.0))
    request, _ = retry_after_drop(put(service, b"x"), first, 1, 0.0, 1)
    with pytest.raises(S3dlioError) as caught:
        retry_after_drop(request, dropped(never_sent=True), 2, 0.0, 2)
    assert may_be_done(caught.value)


def test_what_a_stale_connection_may_have_carried_is_not_forgotten() -> None:
    service = service_of("http://127.0.0.1:9", retry=RetrySettings(max_attempts=1, base_delay=0.0))
    request = put(service, b"x")
    assert found_stale(request, dropped(untouched=True))
    with pytest.raises(S3dlioError) as caught:
        retry_after_drop(request, dropped(never_sent=True), 1, 0.0, 2)
    assert may_be_done(caught.value)


def test_what_nobody_has_seen_was_not_done() -> None:
    service = service_of("http://127.0.0.1:9", retry=RetrySettings(max_attempts=2, base_delay=0.0))
    request, _ = retry_after_drop(get(service), dropped(never_sent=True), 1, 0.0, 1)
    with pytest.raises(S3dlioError) as caught:
        retry_after_drop(request, dropped(never_sent=True), 2, 0.0, 2)
    assert not may_be_done(caught.value)


@pytest.mark.usefixtures("_no_collections")
def test_a_client_goes_with_an_iterator_that_was_left() -> None:
    with ScriptedServer([[Expect(), respond(body=b"hello", headers=[("ETag", '"v1"')])]]) as server:
        client = Client(settings_of(server.endpoint))
        objects = client.iter_many(["s3://b/k", "s3://b/k"], max_in_flight=1, prefetch=1)
        assert next(objects)[1] == b"hello"
        left = threading.Event()
        weakref.finalize(client, left.set)
        del objects, client
        assert left.wait(10)
