"""A service that lists directories in any order is listed as one that sorts by key and takes any prefix."""

from __future__ import annotations

import random
from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st

from s3dlio.stores.s3.directory_listing import sorted_pages
from s3dlio.types import ListEntry, ListPage

KEYS = st.sets(st.text("ab/é", min_size=1, max_size=6).filter(lambda key: not key.startswith("/")), max_size=30)
PREFIXES = st.text("ab/é", max_size=4)


def folded(keys: set[str], prefix: str) -> set[str]:
    """What stands directly below a prefix."""
    rests = ((key, key[len(prefix) :].find("/")) for key in keys if key.startswith(prefix))
    return {key if at < 0 else key[: len(prefix) + at + 1] for key, at in rests}


class Directories:
    """Lists directories alone, in pages, without order; names in several pages come more than once."""

    def __init__(self, keys: set[str], seed: int) -> None:
        self.keys = keys
        self.random = random.Random(seed)

    def __call__(self, directory: str, recursive: bool) -> Iterator[ListPage]:
        assert not directory or directory.endswith("/")
        deep = {key for key in self.keys if key.startswith(directory)}
        names = list(deep if recursive else folded(self.keys, directory))
        self.random.shuffle(names)
        while names:
            count = self.random.randint(1, 4)
            here, names = names[:count], names[count:]
            inner = [] if recursive else [name for name in here if name.endswith("/") and name != directory]
            keys = [name for name in here if name not in inner]
            yield ListPage(keys, inner, lambda keys=keys: [ListEntry(key, len(key), None, None, None) for key in keys])


@given(KEYS, PREFIXES, st.booleans(), st.integers(0, 1000))
def test_listings_are_as_of_a_service_that_sorts(keys: set[str], prefix: str, recursive: bool, seed: int) -> None:
    keys = {key for key in keys if "//" not in key}  # which name a directory without a name
    pages = list(sorted_pages(Directories(keys, seed), prefix, recursive, None))
    found = [name for page in pages for name in sorted([*page.keys, *page.prefixes])]
    wanted = {key for key in keys if key.startswith(prefix)} if recursive else folded(keys, prefix)
    assert found == sorted(wanted)
    assert all([entry.key for entry in page.entries] == list(page.keys) for page in pages)


@given(KEYS, st.text("ab/é", max_size=4), st.integers(0, 1000))
def test_a_listing_goes_on_after_a_key(keys: set[str], after: str, seed: int) -> None:
    found = [key for page in sorted_pages(Directories(keys, seed), "", True, after) for key in page.keys]
    assert found == sorted(key for key in keys if key > after)
