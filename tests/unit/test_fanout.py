"""Listings that fan out over sub-directories tell the same as one that does not."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3dlio.errors import NetworkError
from s3dlio.stores.memory import MemoryStore
from s3dlio.transfer.parallel_listing import fan_out
from s3dlio.types import ListPage


def keys_of(pages: Iterator[ListPage]) -> list[str]:
    found: list[str] = []
    for page in pages:
        assert [entry.key for entry in page.entries] == list(page.keys)
        found += page.keys
    return found


NAMES = st.lists(st.text("ab/é~!", min_size=1, max_size=6), max_size=40)


@given(NAMES, st.integers(2, 5))
def test_the_same_keys_in_the_same_order(names: list[str], width: int) -> None:
    store = MemoryStore("memory://fanout-property")
    for page in list(store.list("")):
        assert store.delete_many(page.keys) == []
    for name in names:
        store.put(name, b"x")
    assert keys_of(fan_out(store, "", width)) == keys_of(store.list(""))


def test_many_pages_of_many_directories() -> None:
    store = MemoryStore("memory://fanout-pages")
    wanted = [f"d{directory:02}/{number:04}" for directory in range(7) for number in range(1100)]
    for name in [*wanted, "a", "d03", "z"]:
        store.put(name, b"")
    assert keys_of(fan_out(store, "", 3)) == sorted([*wanted, "a", "d03", "z"])
    first = next(fan_out(store, "", 3))  # given up after the first page: no thread stays behind
    assert first.keys == ["a"]


class Failing(MemoryStore):
    def _list_page(self, prefix: str, *rest: object) -> object:
        if prefix == "d3/":
            raise NetworkError("cut")
        return super()._list_page(prefix, *rest)  # type: ignore[arg-type]


def test_a_branch_that_fails_is_raised_in_its_place() -> None:
    store = Failing("memory://fanout-failing")
    for number in range(6):
        store.put(f"d{number}/x", b"")
    pages = fan_out(store, "", 2)
    assert [next(pages).keys for _ in range(3)] == [["d0/x"], ["d1/x"], ["d2/x"]]
    with pytest.raises(NetworkError, match="cut"):
        next(pages)
