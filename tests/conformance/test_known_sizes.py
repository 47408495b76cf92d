"""Sizes that are known before a read: the same bytes, and a change in between is noticed."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator

import pytest

from s3dlio import errors
from s3dlio.stores.base import ObjectStore
from s3dlio.stores.cloud.store import CloudStore
from tests.conformance.stores import Case


@pytest.fixture
def small_chunks(store: ObjectStore) -> Iterator[CloudStore]:
    """The store, reading in ranges of 64 KiB."""
    if not isinstance(store, CloudStore):
        pytest.skip("reads whole objects at once")
    settings = store.settings
    store.settings = settings.replace(range={"chunk": 65536, "threshold": 65536})
    yield store
    store.settings = settings
    store.forget()


def test_a_known_size_saves_nothing_but_time(case: Case, small_chunks: CloudStore) -> None:
    key, data = case.key("large"), os.urandom(300_001)
    small_chunks.put(key, data)
    assert small_chunks.get(key) == data
    small_chunks.remember(key, small_chunks.head(key))
    assert small_chunks.get(key) == data


def test_a_replaced_object_is_read_anew(case: Case, small_chunks: CloudStore) -> None:
    key, old, new = case.key("large"), os.urandom(300_001), os.urandom(200_002)
    small_chunks.put(key, old)
    small_chunks.remember(key, small_chunks.head(key))
    small_chunks.put(key, new)
    assert small_chunks.get(key) == new


def test_a_wrong_size_is_not_believed(case: Case, small_chunks: CloudStore) -> None:
    key, data = case.key("large"), os.urandom(300_001)
    small_chunks.put(key, data)
    about = small_chunks.head(key)
    small_chunks.remember(key, dataclasses.replace(about, etag='"0123456789abcdef0123456789abcdef"'))
    assert small_chunks.get(key) == data


def test_an_object_that_has_gone(case: Case, small_chunks: CloudStore) -> None:
    key = case.key("large")
    small_chunks.put(key, os.urandom(300_001))
    small_chunks.remember(key, small_chunks.head(key))
    small_chunks.delete(key)
    with pytest.raises(errors.ObjectNotFoundError):
        small_chunks.get(key)
