"""Observers are told of every operation once, with its bytes, times and error."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from s3dlio import errors
from s3dlio.memory.sinks import DiscardSink
from s3dlio.stores.base import ObjectStore
from s3dlio.types import Observation
from tests.conformance.stores import Case


@pytest.fixture
def seen(store: ObjectStore) -> Iterator[list[Observation]]:
    observations: list[Observation] = []
    before = store.observers
    store.observers = (observations.append,)
    yield observations
    store.observers = before


def told(seen: list[Observation]) -> list[tuple[str, str, int, int]]:
    result = [(o.operation, o.uri, o.bytes, o.objects) for o in seen]
    for observation in seen:
        assert 0 < observation.start_ns <= observation.end_ns
        assert observation.first_byte_ns == 0 or observation.start_ns <= observation.first_byte_ns <= observation.end_ns
        assert observation.duration_ns >= 0
    seen.clear()
    return result


def test_objects(case: Case, store: ObjectStore, seen: list[Observation]) -> None:
    key = case.key("object")
    uri = store.uri(key)
    store.put(key, b"0123456789")
    assert told(seen) == [("PUT", uri, 10, 1)]
    store.get(key)
    assert seen[0].first_byte_ns > 0
    assert told(seen) == [("GET", uri, 10, 1)]
    store.get_range(key, 2, 3)
    store.get_into(key, bytearray(10))
    store.execute(store.read_call(key, DiscardSink()))
    store.head(key)
    assert told(seen) == [("GET_RANGE", uri, 3, 1), ("GET", uri, 10, 1), ("GET", uri, 10, 1), ("HEAD", uri, 10, 1)]
    list(store.list(case.key("")))
    assert told(seen) == [("LIST", store.uri(case.key("")), 0, 1)]
    store.delete(key)
    assert told(seen) == [("DELETE", uri, 0, 1)]


def test_ranges_places_and_answers(case: Case, store: ObjectStore, seen: list[Observation]) -> None:
    key = case.key("object")
    store.put(key, b"0123456789")
    store.get(key)
    store.get_range(key, 2, 3)
    store.get_range(key, 4)
    with store.writer(key) as writer:
        writer.write(b"abc")
    assert [o.range for o in seen] == [None, None, (2, 3), (4, None), None]
    assert {o.attempts for o in seen} == {1}
    if store.scheme in ("file", "direct", "memory"):
        assert {(o.endpoint, o.status) for o in seen} == {(None, None)}
        return
    for observation in seen:
        host, _, port = (observation.endpoint or "").rpartition(":")
        assert host
        assert port.isdecimal()
    if store.is_cloud:
        assert {o.status // 100 for o in seen if o.status is not None} == {2}
        assert [o.status for o in seen[1:4]] == [200, 206, 206]
    seen.clear()
    with pytest.raises(errors.ObjectNotFoundError) as caught:
        store.head(case.key("missing"))
    assert seen[0].status == caught.value.status
    assert seen[0].attempts == caught.value.attempts


def test_errors(case: Case, store: ObjectStore, seen: list[Observation]) -> None:
    key = case.key("missing")
    with pytest.raises(errors.ObjectNotFoundError) as caught:
        store.get(key)
    (observation,) = seen
    assert observation.error is caught.value
    assert observation.bytes == 0
    assert told(seen) == [("GET", store.uri(key), 0, 1)]


def test_what_is_refused_before_any_work_is_not_observed(
    case: Case, store: ObjectStore, seen: list[Observation]
) -> None:
    with pytest.raises(errors.InvalidURIError):
        store.get("")
    with pytest.raises(TypeError):
        store.put(case.key("object"), "text")
    assert seen == []


def test_batch_delete(case: Case, store: ObjectStore, seen: list[Observation]) -> None:
    keys = [case.key(name) for name in ("a", "b", "c")]
    store.delete_many(keys)
    ((operation, _, size, objects),) = told(seen)
    assert (operation, size, objects) == ("DELETE_BATCH", 0, 3)
