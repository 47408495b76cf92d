"""Listings that fan out over sub-directories tell the same as one that does not."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3dlio.errors import NetworkError
from s3dlio.stores.memory import MemoryStore
from s3dlio.transfer import parallel_listing
from s3dlio.transfer.parallel_listing import fan_out, list_quickly
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


def test_without_threads_directories_are_listed_one_after_another(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(work: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(parallel_listing.background, "start", start)
    store = MemoryStore("memory://fanout-alone")
    for number in range(6):
        store.put(f"d{number}/x", b"")
    assert keys_of(fan_out(store, "", 2)) == keys_of(store.list(""))


@pytest.mark.parametrize(("directories", "each", "several"), [(4, 600, True), (600, 4, False), (1, 999, False)])
def test_sub_directories_are_listed_at_a_time_where_they_are_large(
    monkeypatch: pytest.MonkeyPatch, directories: int, each: int, several: bool
) -> None:
    store = MemoryStore(f"memory://fanout-quickly-{directories}")
    wanted = [f"d{directory:03}/{number:04}" for directory in range(directories) for number in range(each)]
    for name in [*wanted, "a", "z"] if several else wanted:
        store.put(name, b"")
    fanned = []
    monkeypatch.setattr(parallel_listing, "fan_out", lambda *given: fanned.append(given) or fan_out(*given))
    assert keys_of(list_quickly(store, "")) == keys_of(store.list(""))
    assert bool(fanned) == several


def test_nothing_is_listed_quickly() -> None:
    assert keys_of(list_quickly(MemoryStore("memory://fanout-nothing"), "")) == []
