"""Listings of a service that lists directories only, and in no order (Amazon S3 API Reference, ListObjectsV2, on
directory buckets), presented as all others are: by any prefix, sorted by key.

Nothing can be returned before all of it is listed, so the names of a whole listing are in memory: 100 bytes and the
key for each object.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from s3dlio.types import ListEntry, ListPage

#: Names in one page.
_PAGE = 1000

#: The pages of a directory (a prefix that is empty or ends in ``/``), with or without what is deeper.
Walk = Callable[[str, bool], Iterator[ListPage]]


def sorted_pages(walk: Walk, prefix: str, recursive: bool, start_after: str | None) -> Iterator[ListPage]:
    """The pages of a listing by ``prefix``, in the order of keys.

    Args:
        walk: lists one directory.
        prefix: what keys begin with.
        recursive: with what is deeper than the first ``/`` after the prefix; without, that is folded into prefixes.
        start_after: the keys after this one.
    """
    keys: dict[str, tuple[ListPage, int]] = {}
    names: set[str] = set()
    for page in _selected(walk, prefix, recursive):
        for index, key in enumerate(page.keys):
            if key.startswith(prefix) and (start_after is None or key > start_after):
                keys[key] = page, index
        for name in page.prefixes:
            if name.startswith(prefix) and (start_after is None or name > start_after or start_after.startswith(name)):
                names.add(name)
    order = sorted({*keys, *names})
    for start in range(0, len(order), _PAGE):
        yield _page(order[start : start + _PAGE], keys, names)


def _selected(walk: Walk, prefix: str, recursive: bool) -> Iterator[ListPage]:
    """Pages with all that a listing shows, and more. A prefix that ends in the middle of a name is looked for in its
    directory, and only the sub-directories that fit are walked."""
    directory = prefix[: prefix.rfind("/") + 1]
    if prefix == directory or not recursive:
        yield from walk(directory, recursive)
        return
    inner: set[str] = set()
    for page in walk(directory, False):
        inner.update(name for name in page.prefixes if name.startswith(prefix))
        yield ListPage(page.keys, (), lambda page=page: page.entries)  # type: ignore[misc]
    for name in sorted(inner):
        yield from walk(name, True)


def _page(order: list[str], keys: dict[str, tuple[ListPage, int]], names: set[str]) -> ListPage:
    here = [name for name in order if name in keys]

    def entries() -> list[ListEntry]:
        return [page.entries[index] for page, index in map(keys.__getitem__, here)]

    return ListPage(here, [name for name in order if name in names], entries)
