"""The source of a transfer, whatever its scheme: a store, and the plan of what is selected in it."""

from __future__ import annotations

import itertools
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from s3dlio.errors import InvalidURIError, IsDirectoryError, ObjectNotFoundError
from s3dlio.records import Record
from s3dlio.stores.base import ObjectStore
from s3dlio.transfer.glob import is_glob
from s3dlio.transfer.overlap import check_apart, check_glob_apart, check_roots_apart
from s3dlio.transfer.places import Places, as_directory, name_places, place_list, place_uri
from s3dlio.transfer.plan import Filter, Item, Plan
from s3dlio.transfer.select_local import Root, check_names, expand, local_path, select_local
from s3dlio.transfer.select_remote import select_remote
from s3dlio.transfer.selection import pattern_finder
from s3dlio.transfer.stream_entry import Entry
from s3dlio.uri import LOCAL_SCHEMES, has_scheme, is_directory_like
from s3dlio.wording import recursively

if TYPE_CHECKING:
    from s3dlio.engine.session import Session


class Origin(Record):
    """What is transferred.

    Args:
        store: where it is.
        uri: as the user named it, for messages.
        key: what is selected in a store; of local files the path or glob, where one was named.
        roots: local files and directories; None for other stores.
        recursive, pattern, keep: what of it is wanted.
        into_links: links to local directories are followed.
    """

    store: ObjectStore
    uri: str
    key: str
    roots: Sequence[Root] | None
    recursive: bool
    pattern: str | None
    keep: Filter
    into_links: bool

    @classmethod
    def at(
        cls,
        session: Session,
        places: Places,
        *,
        recursive: bool = True,
        pattern: str | None = None,
        keep: Filter | None = None,
        into_links: bool = True,
    ) -> Origin:
        """The source that the user named: one URI, or any number of local paths.

        Raises:
            ObjectNotFoundError: a local one is not there.
            ConfigError, InvalidURIError: a pattern or glob that cannot be understood; two sources with one name.
        """
        several = place_list(places)
        keep = keep or Filter()
        if pattern is not None:
            pattern_finder(pattern)  # before any I/O
        if len(several) == 1:
            uri = place_uri(several[0])
            store, key = session.store_for(uri)
            if store.scheme not in LOCAL_SCHEMES:
                return cls(store, uri, key, None, recursive, pattern, keep, into_links)
        elif remote := next((p for p in several if has_scheme(os.fspath(p)) and not _is_local(os.fspath(p))), None):
            raise InvalidURIError(
                "of several sources, all must be local paths", uri=os.fspath(remote), hint="copy them one by one"
            )
        roots = expand(several, recursive=recursive)
        check_names(roots, recursive, keep)
        scheme = "direct" if all(os.fspath(p).lower().startswith("direct://") for p in several) else "file"
        store, _ = session.store_for(f"{scheme}:///")
        named = local_path(several[0]) if len(several) == 1 else ""
        return cls(store, name_places(several), named, roots, recursive, pattern, keep, into_links)

    def plan(self) -> Plan:
        """What is selected, one after the other; listed again with each call."""
        if self.roots is None:
            return select_remote(self.store, self.key, recursive=self.recursive, pattern=self.pattern, keep=self.keep)
        plan = select_local(self.roots, recursive=self.recursive, keep=self.keep, into_links=self.into_links)
        return plan if self.pattern is None else _matching(plan, self.pattern)

    def single(self) -> Entry | None:
        """The one object that the source names exactly; None where it may be several.

        Raises:
            ObjectNotFoundError: an object is named, and is not there.
            IsDirectoryError: a directory is named.
        """
        if self.roots is not None:
            first = self.roots[0]  # of a glob that finds one file: where it goes must not hang on how many it finds
            alone = first.path == self.key and not first.is_directory
            return next(iter(self.plan()), None) if alone else None
        if self.recursive or self.pattern is not None or is_directory_like(self.key) or "*" in self.key:
            return None  # without a '*', a glob may also be the exact name of an object
        try:
            about = self.store.head(self.key)
        except ObjectNotFoundError as error:
            if any(page.keys for page in itertools.islice(self.store.list(self.key + "/", recursive=False), 1)):
                raise self._directory() from error
            if is_glob(self.key):
                return None
            raise
        name = self.key.rpartition("/")[2]
        return Item(name, self.key, about.size, about.etag, about.last_modified) if self.keep(name) else None

    def check_recursive(self, operation: str = "COPY") -> None:
        """Refuse a directory where only objects are wanted.

        Raises:
            IsDirectoryError: it is one.
        """
        if self.recursive:
            return
        if self.roots is None and is_directory_like(self.key) and self.pattern is None:
            raise self._directory(operation)
        if any(root.is_directory for root in self.roots or ()):
            raise self._directory(operation)

    def _directory(self, operation: str = "COPY") -> IsDirectoryError:
        return IsDirectoryError(
            "it is a directory", uri=self.uri, operation=operation, hint=f"use {recursively()}; nothing was copied"
        )

    def check_apart(self, target: ObjectStore, prefix: str) -> None:
        """Refuse a destination inside the source.

        Raises:
            InvalidURIError: it is.
        """
        prefix = as_directory(prefix)
        check_glob_apart(self.store, self.key, target, prefix)
        if self.roots is not None:
            check_roots_apart(self.roots, self.store, target, prefix)
        elif "*" not in self.key:
            check_apart(self.store, self.key, target, prefix)


def _matching(plan: Plan, pattern: str) -> Plan:
    found = pattern_finder(pattern)
    return (entry for entry in plan if not isinstance(entry, Item) or found(entry.name))


def _is_local(text: str) -> bool:
    return text.partition("://")[0].lower() in LOCAL_SCHEMES
