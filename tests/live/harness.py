"""What the tests against real accounts share."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest

from s3dlio import errors
from s3dlio.stores.base import ObjectStore
from s3dlio.types import PutResult

MIB = 1 << 20
#: Keys that some services or libraries change on their way.
ODD_KEYS = ["plain", "with space", "per%cent", "%2F", "plus+", "ünïcödé/日本語/🎉", "a//b", "q?m&h#"]
#: Settings with which objects of some MiB are read and written in parts.
SMALL_PARTS: dict[str, dict[str, Any]] = {
    "multipart": {"threshold": 8 * MIB, "part_size": 5 * MIB},
    "range": {"threshold": 4 * MIB, "chunk": 4 * MIB},
}


def new_container(store: ObjectStore) -> Iterator[ObjectStore]:
    """Make the container of a store, and delete it afterwards with everything in it."""
    store.create_container()
    try:
        yield store
    finally:
        for page in store.list():
            store.delete_many(page.keys)
        store.delete_container()


def check_keys(store: ObjectStore, *more: str) -> None:
    """Objects of odd names, and of some more, can be written, read, listed and deleted."""
    for key in (*ODD_KEYS, *more):
        check_key(store, key)


def check_key(store: ObjectStore, key: str) -> None:
    """An object of this name can be written, read, listed and deleted."""
    store.put(key, key.encode())
    assert store.get(key) == key.encode()
    assert [found for page in store.list(key) for found in page.keys] == [key]
    store.delete(key)
    with pytest.raises(errors.ObjectNotFoundError):
        store.head(key)


def put_large(store: ObjectStore, key: str) -> tuple[bytes, PutResult]:
    """An object that is written in parts and read in ranges; its bytes, and what the write returned."""
    data = random.Random(1).randbytes(21 * MIB + 3)
    result = store.put(key, data)
    assert store.get(key) == data
    assert store.get_range(key, 5 * MIB - 1, 7) == data[5 * MIB - 1 :][:7]
    assert store.get_range(key, len(data) + 5, 10) == b""
    return data, result
