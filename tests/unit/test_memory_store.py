"""What is particular to memory://; the contract itself is in tests/conformance."""

from __future__ import annotations

import itertools

import pytest

from s3dlio import errors
from s3dlio.memory.crc32c import crc32c
from s3dlio.stores.memory import MemoryStore
from s3dlio.types import Conditions, PutOptions

_names = itertools.count()


@pytest.fixture
def root() -> str:
    return f"memory://unit-{next(_names)}"


def test_stores_of_one_root_share_their_objects(root: str) -> None:
    MemoryStore(root).put("key", b"data")
    assert MemoryStore(root).get("key") == b"data"
    with pytest.raises(errors.ObjectNotFoundError):
        MemoryStore(root + "-other").get("key")


def test_the_payload_is_copied(root: str) -> None:
    payload = bytearray(b"before")
    store = MemoryStore(root)
    store.put("key", payload)
    payload[:] = b"after!"
    assert store.get("key") == b"before"


def test_metadata(root: str) -> None:
    store = MemoryStore(root)
    store.put("key", b"data", options=PutOptions(cache_control="no-store", content_encoding="zstd"))
    about = store.head("key")
    assert (about.cache_control, about.content_encoding, about.storage_class) == ("no-store", "zstd", "STANDARD")
    assert about.crc32c == crc32c(b"data")


def test_every_write_has_an_etag_of_its_own(root: str) -> None:
    store = MemoryStore(root)
    assert store.put("key", b"same").etag != store.put("key", b"same").etag


def test_a_copy_keeps_the_metadata_unless_it_is_given(root: str) -> None:
    store = MemoryStore(root)
    store.put("a", b"data", options=PutOptions(content_type="text/a", metadata={"k": "v"}))
    store.copy(store, "a", "b")
    store.copy(store, "a", "c", options=PutOptions(content_type="text/c"))
    assert (store.head("b").content_type, dict(store.head("b").metadata)) == ("text/a", {"k": "v"})
    assert (store.head("c").content_type, dict(store.head("c").metadata)) == ("text/c", {"k": "v"})


@pytest.mark.parametrize(
    "options",
    [
        PutOptions(tags={"a": "b"}),
        PutOptions(sse_customer_key=bytes(32)),
        PutOptions(conditions=Conditions(generation=3)),
        PutOptions(conditions=Conditions(version_id="v")),
    ],
)
def test_what_it_cannot_keep_is_refused(root: str, options: PutOptions) -> None:
    store = MemoryStore(root)
    with pytest.raises(errors.UnsupportedOperationError):
        store.put("key", b"data", options=options)
    assert [page.keys for page in store.list()] == [[]]


def test_if_match_on_nothing(root: str) -> None:
    with pytest.raises(errors.ObjectNotFoundError):
        MemoryStore(root).put("key", b"data", options=PutOptions(conditions=Conditions(if_match="*")))


def test_a_container_that_is_not_there_cannot_be_deleted(root: str) -> None:
    with pytest.raises(errors.ObjectNotFoundError):
        MemoryStore(root).delete_container()
