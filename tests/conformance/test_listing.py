"""Listings: complete, in order, page by page."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from s3dlio.stores.base import ObjectStore
from tests.conformance.stores import Case

NAMES = ["a", "a-b", "a.txt", "b/1", "b/2", "b/c/3", "b0", "ab/x", "Z", "ä", "日"]


def fill(case: Case, store: ObjectStore, names: list[str]) -> None:
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda name: store.put(case.key(name), name.encode()), names))


def test_nothing(case: Case, store: ObjectStore) -> None:
    pages = list(store.list(case.key("nothing/here/")))
    assert [key for page in pages for key in page.keys] == []
    assert [prefix for page in pages for prefix in page.prefixes] == []


def test_recursive(case: Case, store: ObjectStore) -> None:
    fill(case, store, NAMES)
    assert case.names() == sorted(NAMES)
    assert case.names("b/") == ["b/1", "b/2", "b/c/3"]
    assert case.names("b/c/") == ["b/c/3"]


def test_one_level(case: Case, store: ObjectStore) -> None:
    fill(case, store, NAMES)
    (page,) = store.list(case.key(""), recursive=False)
    level = {name for name in NAMES if "/" not in name}
    assert page.keys == [case.key(name) for name in sorted(level)]
    assert page.prefixes == [case.key("ab/"), case.key("b/")]
    (page,) = store.list(case.key("b/"), recursive=False)
    assert page.keys == [case.key("b/1"), case.key("b/2")]
    assert page.prefixes == [case.key("b/c/")]


def test_a_prefix_need_not_be_a_folder(case: Case, store: ObjectStore) -> None:
    fill(case, store, ["shard-1", "shard-10", "shard-2", "shar", "shard-1x/y"])
    assert case.names("shard-1") == ["shard-1", "shard-10", "shard-1x/y"]
    assert case.names("shard-1", recursive=False) == ["shard-1", "shard-10", "shard-1x/"]
    assert case.names("shard-3") == []


def test_start_after(case: Case, store: ObjectStore) -> None:
    case.needs("pages")
    fill(case, store, NAMES)
    for after in ["", "a", "a.", "b/1", "b/c", "b/c/3", "zzz"]:
        assert case.names(start_after=after) == sorted(name for name in NAMES if name > after), after


def test_entries(case: Case, store: ObjectStore) -> None:
    fill(case, store, ["one", "three", "two"])
    (page,) = store.list(case.key(""))
    for entry, name in zip(page.entries, ["one", "three", "two"], strict=True):
        about = store.head(case.key(name))
        assert (entry.key, entry.size, entry.etag) == (case.key(name), len(name), about.etag)
        assert entry.last_modified is not None
        assert about.last_modified is not None
        assert entry.last_modified[:19] == about.last_modified[:19]


def test_pages(case: Case, store: ObjectStore) -> None:
    case.needs("pages")
    size = case.page_size
    inner = [f"page/{number:04}" for number in range(size + size // 2)]
    names = inner + [f"sub-{number:04}/x" for number in range(30)]
    fill(case, store, names)
    pages = list(store.list(case.key("")))
    assert [len(page.keys) for page in pages] == [size, size // 2 + 30]
    assert [key for page in pages for key in page.keys] == [case.key(name) for name in names]
    assert len(case.names(recursive=False)) == 31
    page, token = store.execute(store.list_page_call(case.key("page/"), True, None))
    rest, end = store.execute(store.list_page_call(case.key("page/"), True, token))
    assert token is not None
    assert end is None
    assert [*page.keys, *rest.keys] == [case.key(name) for name in inner]
    failed = store.delete_many([case.key(name) for name in [*names, "page/missing"]])
    assert failed == []
    assert case.names() == []


def test_pages_of_prefixes(case: Case, store: ObjectStore) -> None:
    if case.new_container is not None and not case.is_local and type(store).__name__ != "MemoryStore":
        pytest.skip("test_pages covers the service's paging; this one is about our own")
    names = [f"{number:04}/{inner}" for number in range(1100) for inner in "ab"]
    fill(case, store, names)
    pages = list(store.list(case.key(""), recursive=False))
    assert [len(page.prefixes) for page in pages] == [1000, 100]
    found = [name.removeprefix(case.base) for page in pages for name in page.prefixes]
    assert found == sorted({name[:5] for name in names})
