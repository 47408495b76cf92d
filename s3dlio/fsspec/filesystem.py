"""The file system of fsspec over all stores of a client. Its paths are ``s3/bucket/key``."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from fsspec.callbacks import DEFAULT_CALLBACK
from fsspec.utils import isfilelike

from s3dlio.errors import AlreadyExistsError, BatchError, ConfigError, ObjectNotFoundError
from s3dlio.fsspec import bulk, listing, opening
from s3dlio.fsspec.base import BaseFileSystem
from s3dlio.fsspec.listing import Info
from s3dlio.fsspec.reading import cat_many, cat_ranges, read
from s3dlio.records import replace
from s3dlio.transfer.pairs import Pair
from s3dlio.types import NO_CONDITIONS, Conditions
from s3dlio.uri import SCHEMES


class S3dlioFileSystem(BaseFileSystem):
    """Every store as a file system of fsspec: ``s3dlio://s3/bucket/key``, or ``s3://bucket/key`` as it is.

    Directories of object stores are what keys have before a ``/``: they need not be made, and are gone with the last
    object in them. Errors are those of s3dlio, which are the builtins that fsspec's users expect. Without options it
    is the default client that is used, as it is configured at the time.

    Args:
        use_listings_cache: keep listings, until they expire or are changed through this file system; default: no.
        listings_expiry_time, max_paths: how long (seconds), and how many.
        default_block_size: bytes at hand for small reads, and of the parts of writes; default: as fits.
        **options: of the client: arguments and sections of ``s3dlio.Client``, or the names that s3fs has for them.

    Raises:
        ConfigError: an option that means nothing here.
    """

    # -- listings

    def info(self, path: Any, *, version_id: str | None = None, refresh: bool = False) -> Info:
        """What there is at a path: name, size in bytes, type, and what the store tells besides.

        Args:
            path: which.
            version_id: that version of a file.
            refresh: do not take it from the listings that are kept.

        Raises:
            ObjectNotFoundError: nothing.
        """
        path = self._strip_protocol(path)
        if (place := self._place(path)) is None:
            return listing.directory(path)
        if version_id is None and not refresh and (kept := self._kept(path)):
            return kept
        conditions = NO_CONDITIONS if version_id is None else Conditions(version_id=version_id)
        return listing.info(place, conditions)

    def _kept(self, path: str) -> Info | None:
        """What a listing that is kept told of a path."""
        for about in self.dircache.get(self._parent(path), ()) if self.dircache.use_listings_cache else ():
            if about["name"] == path:
                found: Info = about
                return found
        return None

    def ls(self, path: Any, detail: bool = True, refresh: bool = False) -> Any:
        """What is directly in a directory, sorted: dictionaries, or without ``detail`` paths.

        Args:
            path: which; of a service, its buckets.
            detail: see there.
            refresh: do not take it from the listings that are kept.
        """
        path = self._strip_protocol(path)
        keeps = self.dircache.use_listings_cache
        if keeps and not refresh and path in self.dircache:
            found = self.dircache[path]
        elif (place := self._place(path)) is None:
            found = self._services(path)
        else:
            found = listing.children(place, detail=detail or keeps)
            if keeps:
                self.dircache[path] = found
        return list(found) if detail else listing.names(found)

    def _services(self, path: str) -> list[Info]:
        """The buckets of a service; of the root, the schemes."""
        if not path and not self.scheme:
            return [listing.directory(scheme) for scheme in sorted(set(SCHEMES.values()))]
        found = self.client.list_containers(self.uri(path))
        return [listing.directory(self._strip_protocol(container["uri"])) for container in found]

    def find(
        self, path: Any, maxdepth: int | None = None, withdirs: bool = False, detail: bool = False, **kwargs: Any
    ) -> Any:
        """All files beneath a path, sorted: by one listing, or, with a ``maxdepth``, one of each directory."""
        path = self._strip_protocol(path)
        place = self._place(path)
        if place is None or place.is_local:
            return super().find(path, maxdepth=maxdepth, withdirs=withdirs, detail=detail, **kwargs)
        if maxdepth is not None and maxdepth < 1:
            raise ConfigError(f"maxdepth must be at least 1, not {maxdepth}")
        found = listing.beneath(self.client, place, withdirs=withdirs, detail=detail, maxdepth=maxdepth)
        if withdirs and (found or not place.key):
            found = {path: listing.directory(path), **found}
        elif not found and self.isfile(path):
            found = {path: self.info(path)}
        return found if detail else list(found)

    def exists(self, path: Any, **kwargs: Any) -> bool:
        """Whether there is a file or directory. Where that cannot be found out, the error is raised."""
        return self._type_of(path, **kwargs) is not None

    def isdir(self, path: Any) -> bool:
        """Whether there is a directory of this name; in an object store there may be a file of it as well."""
        place = self._place(self._strip_protocol(path))
        if place is None or place.is_local or not place.key:
            return self._type_of(path) == "directory"
        return listing.is_directory(place)

    def isfile(self, path: Any) -> bool:
        """Whether there is a file of this name."""
        place = self._place(self._strip_protocol(path))
        return place is not None and bool(place.key) and listing.is_file(place)

    def _type_of(self, path: Any, **kwargs: Any) -> str | None:
        try:
            found: str = self.info(path, **kwargs)["type"]
            return found
        except (ObjectNotFoundError, NotADirectoryError):
            return None

    def checksum(self, path: Any) -> str:
        """What changes when the file does: its ETag."""
        about = self.info(path)
        return str(about.get("ETag") or super().checksum(path))

    def modified(self, path: Any) -> datetime:
        """When a file was last written.

        Raises:
            ObjectNotFoundError: it is no file, or its store does not tell.
        """
        changed: datetime | None = self.info(path).get("LastModified")
        if changed is None:
            raise ObjectNotFoundError("it has no time of its last change", uri=self.uri(path), operation="HEAD")
        return changed

    def sign(self, path: Any, expiration: int = 100, **kwargs: Any) -> str:
        """A URL with which anybody can read a file for so many seconds; keywords are those of ``s3dlio.presign``."""
        return self.client.presign(self.uri(path), expires=expiration, **kwargs)

    def invalidate_cache(self, path: str | None = None) -> None:
        """Forget the listings that have a path, or all."""
        super().invalidate_cache(path)
        if path is None:
            self.dircache.clear()
        while path:
            self.dircache.pop(path, None)
            parent = self._parent(path)
            path = None if parent == path else parent

    # -- directories

    def mkdir(self, path: Any, create_parents: bool = True, **_: Any) -> None:
        """Make a bucket, or a local directory. Within a bucket there are no directories to be made.

        Raises:
            AlreadyExistsError: it is there.
            ObjectNotFoundError: without ``create_parents``, a local directory whose parent is not there.
        """
        self._make_directory(self._strip_protocol(path), create_parents, exist_ok=False)

    def makedirs(self, path: Any, exist_ok: bool = False) -> None:
        """Make a local directory with its parents, or a bucket.

        Raises:
            AlreadyExistsError: it is there, and that is not ``exist_ok``.
        """
        self._make_directory(self._strip_protocol(path), True, exist_ok=exist_ok)

    def _make_directory(self, path: str, create_parents: bool, *, exist_ok: bool) -> None:
        place = self._place(path)
        if place is None or (place.key and not place.is_local):
            return
        kind = self._type_of(path)
        if kind == "file" or (kind == "directory" and not exist_ok):
            raise AlreadyExistsError(f"there is such a {kind}", uri=self.uri(path), operation="MKDIR")
        if kind is None:
            if not create_parents and place.is_local:
                self.info(self._parent(path))
            self.client.create_bucket(self.uri(path))
            self.invalidate_cache(path)

    def rmdir(self, path: Any) -> None:
        """Remove a bucket or local directory, which must be empty. Within a bucket there are none to be removed."""
        path = self._strip_protocol(path)
        place = self._place(path)
        if place is not None and (place.is_local or not place.key):
            self.client.delete_bucket(self.uri(path))
        self.invalidate_cache(path)

    # -- opening, reading, writing

    def open(
        self, path: Any, mode: str = "rb", block_size: int | None = None, cache_options: Any = None,
        compression: str | None = None, **kwargs: Any,
    ) -> Any:  # fmt: skip
        """Open a file, as fsspec says it; text is UTF-8 unless ``encoding`` says otherwise.

        Args:
            path: which.
            mode: ``r``, ``w`` or ``x``, with ``b`` for bytes.
            block_size: bytes at hand for small reads, and of the parts of a write.
            cache_options, compression: as of fsspec.
            **kwargs: ``cache_type`` (one of fsspec's caches, instead of reading ahead), and those of ``s3dlio.open``.
        """
        of_text = {}
        if "b" not in mode:
            of_text = {name: kwargs.pop(name, None) for name in ("encoding", "errors", "newline")}
        binary = super().open(path, mode.replace("t", "").replace("b", "") + "b", block_size, cache_options, **kwargs)
        file = opening.compressed(binary, self._strip_protocol(path), compression, mode)
        return file if "b" in mode else opening.text(file, **of_text)

    def _open(self, path: str, mode: str = "rb", block_size: int | None = None, **kwargs: Any) -> Any:
        return opening.open(self, path, mode, block_size or self.block_size, **kwargs)

    def cat_file(
        self, path: Any, start: int | None = None, end: int | None = None, *, version_id: str | None = None,
        conditions: Conditions | None = None,
    ) -> bytes:  # fmt: skip
        """The bytes of a file, or those from ``start`` to ``end``, which count from its end where they are negative."""
        asked = conditions or NO_CONDITIONS
        if version_id is not None:
            asked = replace(asked, version_id=version_id)
        return read(self.client, self.uri(path), start, end, asked)

    def cat(self, path: Any, recursive: bool = False, on_error: str = "raise", **kwargs: Any) -> Any:
        """The bytes of a file, or, of several, a dictionary: read as one batch."""
        paths = self.expand_path(path, recursive=recursive)
        if len(paths) == 1 and not isinstance(path, list) and paths[0] == self._strip_protocol(path):
            return self.cat_file(paths[0], **kwargs)
        return cat_many(self.client, {each: self.uri(each) for each in paths}, on_error)

    def cat_ranges(
        self, paths: Any, starts: Any, ends: Any, max_gap: int | None = None, on_error: str = "return"
    ) -> list[Any]:
        """Ranges of files, read as one batch.

        Args:
            paths: a list.
            starts, ends: lists, or one number for all.
            max_gap: so many bytes between two ranges of a file, or fewer, are read with them; default: 128 KiB.
            on_error: ``return`` errors in the place of bytes, or ``raise`` the first.
        """
        if not isinstance(paths, list):
            raise TypeError(f"paths is a list, not a {type(paths).__name__}")
        return cat_ranges(self.client, [self.uri(path) for path in paths], starts, ends, max_gap, on_error)

    def pipe_file(self, path: Any, value: Any, mode: str = "overwrite", **kwargs: Any) -> None:
        """Write a file, whole or not at all; keywords are those of ``s3dlio.put_bytes``.

        Raises:
            AlreadyExistsError: ``mode`` is ``create``, and there is one.
        """
        if mode == "create":
            kwargs["if_none_match"] = "*"
        self.client.put_bytes(self.uri(path), value, **kwargs)
        self.invalidate_cache(self._strip_protocol(path))

    def pipe(self, path: Any, value: Any = None, **kwargs: Any) -> None:
        """Write a file, or several (a dictionary of their bytes) as one batch."""
        if not isinstance(path, Mapping) or kwargs:
            super().pipe(path, value, **kwargs)
            return
        try:
            self.client.put_many((self.uri(each), data) for each, data in path.items())
        except BatchError as error:
            bulk.raise_plain(error)
        finally:
            self.invalidate_cache()

    def touch(self, path: Any, truncate: bool = True, **kwargs: Any) -> None:
        """Make an empty file; without ``truncate`` only where there is none."""
        if truncate or not self.exists(path):
            self.pipe_file(path, b"", **kwargs)

    # -- many files

    def get_file(
        self, rpath: Any, lpath: Any = None, callback: Any = DEFAULT_CALLBACK, outfile: Any = None, **kwargs: Any
    ) -> None:
        """A file into a local one, which appears when it is whole; or what it has into an open ``outfile``."""
        if outfile is not None or isfilelike(lpath) or self.isdir(rpath):
            super().get_file(rpath, lpath, callback=callback, outfile=outfile, **kwargs)
        else:
            bulk.run(self, "DOWNLOAD", [Pair(self.uri(rpath), bulk.local_uri(lpath))], callback, in_bytes=True)

    def put_file(
        self, lpath: Any, rpath: Any, callback: Any = DEFAULT_CALLBACK, mode: str = "overwrite", **kwargs: Any
    ) -> None:
        """A local file into one here."""
        if mode == "create" or kwargs or os.path.isdir(lpath):
            super().put_file(lpath, rpath, callback=callback, mode=mode, **kwargs)
            return
        size = os.stat(lpath).st_size
        bulk.run(self, "UPLOAD", [Pair(bulk.local_uri(lpath), self.uri(rpath), size)], callback, in_bytes=True)
        self.invalidate_cache(self._strip_protocol(rpath))

    def cp_file(self, path1: Any, path2: Any, **_: Any) -> None:
        """Copy a file, inside the service where it can."""
        if self.isdir(path1):
            self.makedirs(path2, exist_ok=True)
        else:
            bulk.run(self, "COPY", [Pair(self.uri(path1), self.uri(path2))])
            self.invalidate_cache(self._strip_protocol(path2))

    def get(
        self, rpath: Any, lpath: Any, recursive: bool = False, callback: Any = DEFAULT_CALLBACK, **kwargs: Any
    ) -> None:
        """Files into local ones, as one batch."""
        bulk.get(self, rpath, lpath, recursive, callback, **kwargs)

    def put(
        self, lpath: Any, rpath: Any, recursive: bool = False, callback: Any = DEFAULT_CALLBACK, **kwargs: Any
    ) -> None:
        """Local files into files here, as one batch."""
        bulk.put(self, lpath, rpath, recursive, callback, **kwargs)
        self.invalidate_cache()

    def copy(
        self, path1: Any, path2: Any, recursive: bool = False, maxdepth: int | None = None,
        on_error: str | None = None, **kwargs: Any,
    ) -> None:  # fmt: skip
        """Copy files, inside the service where it can, as one batch."""
        bulk.copy(self, path1, path2, recursive, on_error, maxdepth=maxdepth, **kwargs)
        self.invalidate_cache()

    def mv(self, path1: Any, path2: Any, recursive: bool = False, maxdepth: int | None = None, **kwargs: Any) -> None:
        """Move files: each source is deleted when its copy is complete, if it is still what was copied."""
        if self._strip_protocol(path1) != self._strip_protocol(path2):
            plan = bulk.copy(self, path1, path2, recursive, "raise", move=True, maxdepth=maxdepth, **kwargs)
            for source, _ in reversed(plan.pairs):
                if plan.is_directory(source):
                    self.rmdir(source)
            self.invalidate_cache()

    def rm_file(self, path: Any) -> None:
        """Delete a file; one that is not there is no error."""
        self.client.delete(self.uri(path))
        self.invalidate_cache(self._strip_protocol(path))

    _rm = rm_file

    def rm(self, path: Any, recursive: bool = False, maxdepth: int | None = None) -> None:
        """Delete files, as one batch; with ``recursive`` directories and buckets with all that is in them."""
        bulk.remove(self, path, recursive, maxdepth)
        self.invalidate_cache()
