"""Listings for fsspec: directories are what keys have before a ``/``, and entries are dictionaries."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from s3dlio.engine.session import Session
from s3dlio.errors import BatchError, IsDirectoryError, ObjectNotFoundError
from s3dlio.stores.base import ObjectStore
from s3dlio.transfer.many import Outcomes
from s3dlio.types import NO_CONDITIONS, Conditions, ListEntry, ListPage, ObjectMetadata
from s3dlio.uri import LOCAL_SCHEMES

#: Directories that are listed at a time.
_LISTINGS = 32

Info = dict[str, Any]


class Place(NamedTuple):
    """What a path of the file system stands for.

    Args:
        store, key: the object, or the directory.
        root: what the paths of keys of this store begin with.
    """

    store: ObjectStore
    key: str
    root: str

    @property
    def path(self) -> str:
        """The path itself."""
        return (self.root + self.key).rstrip("/") or "/"

    @property
    def prefix(self) -> str:
        """What all keys in this directory begin with."""
        return self.key if not self.key or self.key.endswith("/") else self.key + "/"

    @property
    def is_local(self) -> bool:
        return self.store.scheme in LOCAL_SCHEMES


def directory(path: str) -> Info:
    """What is told of a directory."""
    return {"name": path, "size": 0, "type": "directory"}


def file(path: str, about: ObjectMetadata | ListEntry) -> Info:
    """What is told of an object: its size in bytes, and what its store knows besides."""
    found: Info = {"name": path, "size": about.size, "type": "file"}
    if about.etag is not None:
        found["ETag"] = about.etag
    if about.last_modified is not None:
        found["LastModified"] = changed = datetime.fromisoformat(about.last_modified)
        found["mtime"] = changed.timestamp()
    if about.storage_class is not None:
        found["StorageClass"] = about.storage_class
    if isinstance(about, ObjectMetadata):
        if about.version_id is not None:
            found["VersionId"] = about.version_id
        if about.content_type is not None:
            found["ContentType"] = about.content_type
        if about.metadata:
            found["metadata"] = dict(about.metadata)
    return found


def info(place: Place, conditions: Conditions = NO_CONDITIONS) -> Info:
    """What there is at a place: an object, else a directory.

    Raises:
        ObjectNotFoundError: neither.
    """
    if place.key:
        try:
            return file(place.path, place.store.head(place.key, conditions=conditions))
        except IsDirectoryError:
            return directory(place.path)
        except ObjectNotFoundError:
            if place.is_local or not is_directory(place):
                raise
            return directory(place.path)
    next(iter(place.store.list("", recursive=False)), None)  # there is no such bucket, or there is
    return directory(place.path)


def is_directory(place: Place) -> bool:
    """Whether there are keys beneath a place of a cloud."""
    try:
        return any(page.keys or page.prefixes for page in place.store.list(place.prefix, recursive=False))
    except ObjectNotFoundError:  # there is no such bucket
        return False


def is_file(place: Place) -> bool:
    """Whether there is an object of this very name."""
    try:
        place.store.head(place.key)
        return True
    except (ObjectNotFoundError, IsDirectoryError, NotADirectoryError):
        return False


def children(place: Place, *, detail: bool) -> list[Info]:
    """What is directly in a directory, sorted; an object alone, where there is no directory of this name. Without
    ``detail`` only names and types are told.

    Raises:
        ObjectNotFoundError: there is neither.
    """
    found: dict[str, Info] = {}
    for page in place.store.list(place.prefix, recursive=False):
        for prefix in page.prefixes:
            path = (place.root + prefix)[:-1]
            found[path] = directory(path)
        found.update(_files(place, page.entries if detail else map(_bare, page.keys)))
    found.pop(place.path + "/", None)  # what stands for the directory itself
    if not found and place.key:
        about = info(place)
        if about["type"] == "file":
            return [about]
    return [found[path] for path in sorted(found)]


def beneath(
    session: Session, place: Place, *, withdirs: bool, detail: bool, maxdepth: int | None = None
) -> dict[str, Info]:
    """Every object beneath a directory of a cloud, by its path; with their directories, if wanted. One listing, or
    with ``maxdepth`` one of each directory down to there, those of one level at a time."""
    found: dict[str, Info] = {}
    level = [place.prefix]
    for _ in range(1 if maxdepth is None else maxdepth):
        below: list[str] = []
        for page in _pages(session, place.store, level, recursive=maxdepth is None):
            below += page.prefixes
            for path, about in _files(place, page.entries if detail else map(_bare, page.keys)):
                if not path.endswith("/"):
                    found[path] = about
                if withdirs:
                    _add_parents(found, place, path)
        if withdirs:
            found.update((path, directory(path)) for path in ((place.root + prefix)[:-1] for prefix in below))
        level = below
    return dict(sorted(found.items()))


def _pages(session: Session, store: ObjectStore, prefixes: Sequence[str], *, recursive: bool) -> Iterator[ListPage]:
    """The pages of several directories, whose first ones are asked for at once."""
    if len(prefixes) == 1:
        yield from store.list(prefixes[0], recursive=recursive)
        return
    first = Outcomes([store.uri(prefix) for prefix in prefixes], "LIST")
    try:
        first.run(
            [store] * len(prefixes), lambda index: store.list_page_call(prefixes[index], recursive, None),
            session, _LISTINGS,
        )  # fmt: skip
    except BatchError as error:
        raise error.failures[0].error from None
    for prefix, (page, more) in zip(prefixes, first.results, strict=True):
        if more is None:
            yield page
        else:
            yield from store.list(prefix, recursive=recursive)


def _add_parents(found: dict[str, Info], place: Place, path: str) -> None:
    """The directories between a place and an object beneath it."""
    shortest = len(place.root + place.prefix)
    while (slash := path.rfind("/")) >= shortest:
        path = path[:slash]
        if path in found:
            return
        found[path] = directory(path)


def _bare(key: str) -> ListEntry:
    return ListEntry(key, 0)


def _files(place: Place, entries: Any) -> Iterator[tuple[str, Info]]:
    for entry in entries:
        path = place.root + entry.key
        yield path, file(path, entry)


def names(found: Mapping[str, Info] | list[Info]) -> list[str]:
    """The paths of entries."""
    return list(found) if isinstance(found, Mapping) else [about["name"] for about in found]
