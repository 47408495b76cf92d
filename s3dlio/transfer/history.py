"""What a URI selects among the versions of objects, and among the uploads that were never completed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from s3dlio.stores.base import ObjectStore
from s3dlio.transfer.glob import Glob, is_glob
from s3dlio.transfer.selection import pattern_finder
from s3dlio.types import UploadEntry, VersionEntry, VersionPage
from s3dlio.uri import is_directory_like


class _Scope(NamedTuple):
    """What is listed of a key: the objects with this ``prefix`` that are ``wanted``, whose names are seen from
    ``base``; ``deep``: with what is in sub-directories."""

    prefix: str
    base: str
    deep: bool
    wanted: Callable[[str], bool]


def _scope(key: str, recursive: bool) -> _Scope:
    if is_directory_like(key):
        return _Scope(key, key, recursive, lambda name: True)
    if is_glob(key):
        glob = Glob.of(key)
        return _Scope(glob.head, glob.base, glob.deep, glob.matches)
    base = key[: key.rfind("/") + 1]
    return _Scope(key, base, recursive, lambda name: name == key or (recursive and name.startswith(f"{key}/")))


def select_versions(
    store: ObjectStore, key: str, *, recursive: bool = False, pattern: str | None = None
) -> Iterator[VersionPage]:
    """The versions of the objects that a key selects, as of :class:`s3dlio.transfer.selection.Selection`.

    Raises:
        ConfigError: the pattern is none.
        UnsupportedOperationError: the store keeps no versions.
    """
    scope = _scope(key, recursive)
    found = pattern_finder(pattern) if pattern is not None else lambda name: True
    start = len(scope.base)

    def wanted(name: str) -> bool:
        return scope.wanted(name) and found(name[start:])

    for page in store.list_versions(scope.prefix, recursive=scope.deep):
        versions = [version for version in page.versions if wanted(version.key)]
        folders = [name for name in page.prefixes if found(name[start:])] if is_directory_like(key) else ()
        yield VersionPage(versions, folders)
        if not is_directory_like(key) and not is_glob(key) and not recursive and _is_past(page, key):
            return  # keys are sorted: none of this name follows


def _is_past(page: VersionPage, key: str) -> bool:
    return bool(page.versions) and page.versions[-1].key > key


def versions_of(store: ObjectStore, key: str) -> list[VersionEntry]:
    """All versions of one object, the newest first, where the store tells times."""
    found = [version for page in select_versions(store, key) for version in page.versions]
    return sorted(found, key=lambda version: (version.is_latest, version.last_modified or ""), reverse=True)


def select_uploads(store: ObjectStore, key: str) -> Iterator[UploadEntry]:
    """The open uploads of the objects that a key selects, and of everything beneath it; each once.

    Raises:
        UnsupportedOperationError: the store has none.
    """
    scope = _scope(key, True)
    last: UploadEntry | None = None
    for page in store.list_uploads(scope.prefix):
        for upload in page:
            if scope.wanted(upload.key) and (last is None or upload[:2] != last[:2]):
                yield upload
            last = upload
