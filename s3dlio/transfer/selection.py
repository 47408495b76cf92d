"""What a URI selects: one object, the contents of a directory, or a wildcard; never a bare prefix.

======================  ==========================================================================================
key                     selects
======================  ==========================================================================================
empty, or ends in /     the contents of the directory; with ``recursive`` everything under it
a glob                  the objects whose whole key matches, see :mod:`s3dlio.transfer.glob`. Keys are data: where
                        there is an object or directory of exactly this name, and no ``*`` in it, that is meant
anything else           the object of exactly this name, and the directory of this name: as an entry ``name/``, or
                        with ``recursive`` everything under it. A local directory needs no trailing slash.
======================  ==========================================================================================

A ``pattern`` filters by the name relative to the base: the directory that was named, or the one in which the object
(the first wildcard) stands.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from s3dlio.errors import ConfigError, InvalidURIError, ObjectNotFoundError
from s3dlio.stores.base import ObjectStore
from s3dlio.transfer.glob import Glob, glob_regex, is_glob
from s3dlio.transfer.parallel_listing import fan_out, list_quickly
from s3dlio.transfer.rust_regex import in_python
from s3dlio.types import ListEntry, ListPage
from s3dlio.uri import LOCAL_SCHEMES, is_directory_like
from s3dlio.wording import either


class Selected(NamedTuple):
    """A page of a listing whose names are seen from ``base``, a prefix of all keys in it."""

    base: str
    page: ListPage


class Selection:
    """The objects that a key selects, listed page by page.

    Args:
        store: where.
        key: see the table above.
        recursive: also what is in sub-directories.
        pattern: a regular expression, found anywhere in the relative name; a glob is recognised (``pattern_finder``).
        fan_out: how many sub-directories of a recursive cloud listing are listed at a time; None: several, where that
            pays.

    Raises:
        ConfigError: the pattern is neither a regular expression nor a glob, or ``fan_out`` is below 1; the braces of
            the key stand for too many texts.
        InvalidURIError: a wildcard that ends in ``/``.
    """

    def __init__(
        self,
        store: ObjectStore,
        key: str,
        *,
        recursive: bool = False,
        pattern: str | None = None,
        fan_out: int | None = 1,
    ) -> None:
        if fan_out is not None and (isinstance(fan_out, bool) or not isinstance(fan_out, int) or fan_out < 1):
            raise ConfigError(f"fan_out must be an integer of at least 1, got {fan_out!r}", uri=store.uri(key))
        self._fan_out = fan_out
        self._store = store
        self._key = key
        self._recursive = recursive
        self._wanted = pattern_finder(pattern) if pattern is not None else None
        if "*" in key and key.endswith("/") and not self._is_local:
            raise InvalidURIError(
                f"the key '{key}' contains a wildcard and ends in '/', which is not defined (nothing was listed)",
                uri=store.uri(key),
                hint="leave out the last '/', or add '**' behind it",
            )

    @property
    def _is_local(self) -> bool:
        return self._store.scheme in LOCAL_SCHEMES

    def __iter__(self) -> Iterator[Selected]:
        wanted = self._wanted
        for base, page in self._unfiltered():
            yield Selected(base, page if wanted is None else _filtered(page, base, wanted))

    def _unfiltered(self) -> Iterator[Selected]:
        key = self._key
        if is_directory_like(key):
            return self._under(key)
        if self._is_local and os.path.isdir(key):
            return self._under(key + "/")
        if is_glob(key) and not (self._is_local and os.path.lexists(key)):
            return self._glob(key) if "*" in key or self._is_local else self._exact_or_glob(key)
        return self._exact(key)

    def _under(self, directory: str) -> Iterator[Selected]:
        if self._fan_out != 1 and self._recursive and self._store.is_cloud:
            width = self._fan_out
            pages = (
                list_quickly(self._store, directory) if width is None else fan_out(self._store, directory, width)
            )  # fmt: skip
        else:
            pages = self._store.list(directory, recursive=self._recursive)
        for page in pages:
            yield Selected(directory, page)

    def _exact(self, key: str) -> Iterator[Selected]:
        parent = _parent(key)
        if self._is_local:
            yield from self._file(parent, key)
            return
        # Of all keys that start with this one, the one that equals it comes first: one request, and no HEAD, which
        # could not tell a missing bucket from a missing object.
        first = next(iter(self._store.list(key, recursive=False)), None)
        if first is not None and key in first.keys[:1]:
            found = first
            yield Selected(parent, ListPage([key], (), lambda: found.entries[:1]))
        directory = key + "/"
        if self._recursive:
            yield from self._under(directory)
        elif any(page.keys or page.prefixes for page in self._store.list(directory, recursive=False)):
            yield Selected(parent, ListPage((), [directory]))

    def _file(self, parent: str, path: str) -> Iterator[Selected]:
        try:
            about = self._store.head(path)
        except ObjectNotFoundError:
            return
        entry = ListEntry(path, about.size, about.etag, about.last_modified, about.storage_class)
        yield Selected(parent, ListPage([path], (), lambda: [entry]))

    def _exact_or_glob(self, key: str) -> Iterator[Selected]:
        exact = False
        for found in self._exact(key):
            exact = exact or bool(found.page.keys or found.page.prefixes)
            yield found
        if not exact:
            yield from self._glob(key)

    def _glob(self, key: str) -> Iterator[Selected]:
        glob = Glob.of(key)
        for page in self._store.list(glob.head, recursive=glob.deep):
            yield Selected(glob.base, _kept(page, glob.matches, prefixes=False))


def check_names_one(store: ObjectStore, key: str, operation: str) -> None:
    """Refuse a glob where one object is meant: deleting it would succeed, and delete nothing.

    Raises:
        InvalidURIError: the key has a ``*``, and is no local file of that very name.
    """
    if "*" in key and not (store.scheme in LOCAL_SCHEMES and os.path.lexists(key)):
        raise InvalidURIError(
            "a '*' selects many objects, and only one would be deleted", uri=store.uri(key), operation=operation,
            hint=either(
                "use recursive=True to delete all that match; delete_many([uri]) takes every character literally",
                "use -r to delete all that match, or write '[*]' for the character itself, with -r too",
            ) + " (nothing was deleted)",
        )  # fmt: skip


def _parent(key: str) -> str:
    return key[: key.rfind("/") + 1]


def _filtered(page: ListPage, base: str, wanted: Callable[[str], bool]) -> ListPage:
    start = len(base)
    return _kept(page, lambda name: wanted(name[start:]), prefixes=True)


def _kept(page: ListPage, keep: Callable[[str], bool], *, prefixes: bool) -> ListPage:
    return ListPage(
        [key for key in page.keys if keep(key)],
        [prefix for prefix in page.prefixes if keep(prefix)] if prefixes else (),
        lambda: [entry for entry in page.entries if keep(entry.key)],
    )


def pattern_finder(pattern: str) -> Callable[[str], bool]:
    """What tells whether a ``pattern`` is found in a name. If it is no regular expression, such as ``*.npz``, it is a
    glob for the name or its end, from the beginning of a segment on; its ``*`` also crosses ``/``.

    Raises:
        ConfigError: it is neither, or the braces of the glob stand for too many texts.
    """
    try:
        search = re.compile(in_python(pattern)).search
    except re.error as error:
        if pattern[:1] in ("*", "?"):  # nothing to repeat: the author meant a glob
            match = glob_regex("**/" + pattern, crosses=True).fullmatch
            return lambda name: match(name) is not None
        raise ConfigError(
            f"invalid regex pattern {pattern!r}: {error}", hint="write a regular expression, or a glob such as *.npz"
        ) from error
    return lambda name: search(name) is not None
