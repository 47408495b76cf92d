"""The verbs for many objects: batches and listings. ``client`` adds those for whole trees of files."""

from __future__ import annotations

import builtins
import logging
import os
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from typing import Any, cast

from s3dlio.engine.executor import BaseExecutor, ByteBudget, surrounding_token
from s3dlio.errors import ConfigError
from s3dlio.memory.lending import lent
from s3dlio.memory.view import BytesView
from s3dlio.transfer import many
from s3dlio.transfer.selection import Selection
from s3dlio.transfer.stream import Entry, ManyIterator, Stream, check_room, outcomes
from s3dlio.types import ObjectMetadata, Payload
from s3dlio.uri import as_uri
from s3dlio.verbs import URI, Verbs

log = logging.getLogger("s3dlio.delete")


class BulkVerbs(Verbs):
    """What a client does with many objects."""

    executor: BaseExecutor

    # -- many objects

    def _crew(self, max_in_flight: int, workers: int | None = None, concurrency: int | None = None) -> many.Crew:
        return many.Crew(self.store_for, self.executor, many.check_width(max_in_flight, workers, concurrency))

    def get_many(
        self,
        uris: Iterable[URI],
        max_in_flight: int = 64,
        *,
        workers: int | None = None,
        concurrency: int | None = None,
    ) -> builtins.list[tuple[str, BytesView]]:
        """Read many objects, of any schemes.

        Args:
            uris: which; one that stands there twice is read once. None at all gives an empty list.
            max_in_flight: how many at a time.
            workers, concurrency: older names of ``max_in_flight``.

        Returns:
            (URI, data) in the order of ``uris``.

        Raises:
            InvalidURIError: one is no URI; nothing was read.
            BatchError: reads failed; the first failure stops the rest and is the cause.
        """
        found = many.get_many(many.uri_list(uris), self._crew(max_in_flight, workers, concurrency))
        return cast("builtins.list[tuple[str, BytesView]]", found)

    def get_many_outcomes(
        self, uris: Iterable[URI], max_in_flight: int = 64
    ) -> builtins.list[tuple[str, BytesView | BaseException]]:
        """As :meth:`get_many`, but a failure stops nothing: the error stands in the place of the data."""
        return many.get_many(many.uri_list(uris), self._crew(max_in_flight), keep_going=True)

    def iter_many(
        self,
        uris: Iterable[Entry],
        *,
        max_in_flight: int = 64,
        max_bytes: int | None = None,
        prefetch: int | None = None,
        ordered: bool = True,
        continue_on_error: bool = False,
        timeout: float | None = None,
    ) -> ManyIterator:
        """Read any number of objects, the next ones while the caller works on those before: ``for uri, data in ...``.

        The loop may be left at any time: what is on its way is given up, and its buffers are free again.

        Args:
            uris: which; or (URI, offset, length) for a stretch of one. A list, or a generator, an endless one too: it
                is read on a thread of its own, as far ahead as ``prefetch`` says and no further.
            max_in_flight: how many at a time.
            max_bytes: how many bytes may be in flight or waiting for the caller, about: of an object that is only
                asked for, the size is taken to be the largest of the last ones. One alone may be larger. Default:
                ``transfer.max_in_flight_bytes``.
            prefetch: how many objects may be in flight or waiting for the caller. Default: 4 times ``max_in_flight``.
            ordered: in the order of ``uris``; False: as they arrive.
            continue_on_error: give the error in the place of the data, and go on. Otherwise it is raised, after the
                objects before it, and ends the iteration.
            timeout: seconds that the next object may take to arrive.

        Returns:
            An iterator of (URI, data), or ((URI, offset, length), data); also a context manager, with ``close``.

        Raises:
            ConfigError: a number is less than 1.
            S3dlioError: (while iterating) an object could not be read; it has its URI.
            TransferTimeoutError: (while iterating) nothing arrived within ``timeout``.
        """
        open_stream = self._stream(uris, max_in_flight, max_bytes, prefetch, ordered)
        return ManyIterator(open_stream(), timeout=timeout, continue_on_error=continue_on_error)

    def iter_many_async(
        self,
        uris: Iterable[Entry],
        *,
        max_in_flight: int = 64,
        max_bytes: int | None = None,
        prefetch: int | None = None,
        ordered: bool = True,
        continue_on_error: bool = False,
        timeout: float | None = None,
    ) -> AsyncIterator[tuple[Any, Any]]:
        """:meth:`iter_many` for ``async for``; the event loop waits for nothing."""
        open_stream = self._stream(uris, max_in_flight, max_bytes, prefetch, ordered)
        return outcomes(open_stream, timeout=timeout, continue_on_error=continue_on_error)

    def _stream(
        self, uris: Iterable[Entry], width: int, max_bytes: int | None, prefetch: int | None, ordered: bool
    ) -> Callable[[], Stream]:
        if isinstance(uris, str | os.PathLike):
            raise TypeError("expected several URIs (a list, a generator), not a single one")
        crew = self._crew(width)
        limit = self.settings.transfer.max_in_flight_bytes if max_bytes is None else max_bytes
        objects, size = check_room(prefetch, crew.width, limit)
        return lambda: Stream(uris, crew, objects=objects, size=size, ordered=ordered)

    def get_many_stats(
        self,
        uris: Iterable[URI],
        max_in_flight: int = 64,
        *,
        workers: int | None = None,
        concurrency: int | None = None,
    ) -> tuple[int, int]:
        """Read many objects and drop their bytes: a read benchmark.

        Returns:
            How many objects and bytes were read.

        Raises:
            BatchError: reads failed.
        """
        return many.get_many_stats(many.uri_list(uris), self._crew(max_in_flight, workers, concurrency))

    def put_many(self, items: Iterable[tuple[URI, Payload]], max_in_flight: int = 64) -> None:
        """Write many objects. All URIs and payloads are checked before the first is written.

        Args:
            items: pairs (URI, data), see :meth:`put_bytes`.
            max_in_flight: how many at a time.

        Raises:
            TypeError: an item is no pair or has no bytes; nothing was written.
            BatchError: writes failed; the first failure stops the rest. What was written stays.
        """
        budget = ByteBudget(self.settings.transfer.max_in_flight_bytes)
        lent(lambda: many.put_many(items, self._crew(max_in_flight), budget=budget))

    def stat_many(self, uris: Iterable[URI], max_in_flight: int = 64) -> builtins.list[dict[str, Any]]:
        """``stat`` of many objects, in the order of ``uris``.

        Raises:
            BatchError: some failed; the first failure stops the rest.
        """
        found = many.stat_many(many.uri_list(uris), self._crew(max_in_flight))
        return [about.as_dict() for about in found if isinstance(about, ObjectMetadata)]

    def pre_stat_and_cache(self, uris: Iterable[URI], max_in_flight: int = 100) -> int:
        """Ask for sizes and versions before the objects are read, so that large ones are read as concurrent ranges
        from their first byte on. Small objects gain nothing: a get asks for no size.

        Args:
            uris: which.
            max_in_flight: how many at a time.

        Returns:
            How many objects were found. What is found is believed for ``range.size_cache_seconds``.

        Raises:
            BatchError: some failed; the first failure stops the rest.
        """
        names = many.uri_list(uris)
        found = many.stat_many(names, self._crew(max_in_flight))
        for uri, about in zip(names, found, strict=True):
            if isinstance(about, ObjectMetadata):
                store, key = self.store_for(uri)
                store.remember(key, about)
        return len(found)

    def delete_many(self, uris: Iterable[URI], max_in_flight: int = 8) -> None:
        """Delete many objects, with batch requests where the store has them; missing ones are no error.

        Args:
            uris: which.
            max_in_flight: how many batches at a time.

        Raises:
            BatchError: some could not be deleted; all were tried.
        """
        from s3dlio.transfer.delete import delete_many

        delete_many(self, many.uri_list(uris), max_in_flight=max_in_flight)

    # -- listings

    def select(
        self, uri: URI, *, recursive: bool = False, pattern: str | None = None, fan_out: int = 1
    ) -> Selection:
        """The objects that a URI selects, page by page; what that means stands in ``transfer.selection``."""
        store, key = self.store_for(uri)
        return Selection(store, key, recursive=recursive, pattern=pattern, fan_out=fan_out)

    def iterate(
        self, uri: URI, recursive: bool = False, pattern: str | None = None, *, fan_out: int = 1
    ) -> Iterator[str]:
        """The URIs of :meth:`list`, one after the other while the store lists them, in its order: in constant
        memory."""
        uri = as_uri(uri)
        store, key = self.store_for(uri)
        before = uri[: len(uri) - len(key)]
        if not key and not before.endswith("/"):
            before += "/"  # s3://bucket
        return _uris(before, Selection(store, key, recursive=recursive, pattern=pattern, fan_out=fan_out))

    def list(
        self, uri: URI, recursive: bool = False, pattern: str | None = None, *, fan_out: int = 1
    ) -> builtins.list[str]:
        """List objects.

        A URI that ends in ``/`` (or names a bucket) selects the contents of a directory; a glob, the objects whose
        whole key matches (:mod:`s3dlio.transfer.glob`); any other, the object of this very name and the directory of
        this name. Never a bare prefix. Missing objects and directories give an empty list.

        Args:
            uri: what to list.
            recursive: also what is in sub-directories, instead of entries ``sub/`` for them.
            pattern: only names, relative to the directory, in which this regular expression is found; a glob such as
                ``*.npz``, which is none, works too.
            fan_out: how many sub-directories of a recursive cloud listing are listed at a time, in the same order.

        Returns:
            Full URIs, sorted; directories end in ``/``.

        Raises:
            ConfigError: the pattern is none; nothing was requested.
            ObjectNotFoundError: there is no such bucket.
        """
        return sorted(self.iterate(uri, recursive, pattern, fan_out=fan_out))  # not all services sort

    def list_keys(self, uri: URI, recursive: bool = False, pattern: str | None = None) -> builtins.list[str]:
        """The names of :meth:`list`, relative to the directory that is listed."""
        return sorted(
            name[len(base) :]
            for base, page in self.select(uri, recursive=recursive, pattern=pattern)
            for name in (*page.keys, *page.prefixes)
            if len(name) > len(base)
        )

    def list_full_uris(self, uri: URI, recursive: bool = False, pattern: str | None = None) -> builtins.list[str]:
        """The same as :meth:`list`."""
        return self.list(uri, recursive, pattern)

    # -- deleting

    def delete(
        self, uri: URI, recursive: bool = False, pattern: str | None = None, *, version_id: str | None = None
    ) -> None:
        """Delete an object, or everything that a URI selects. What is not there is no error.

        Args:
            uri: exactly this object, whatever characters its name has; with ``recursive`` what
                ``list(uri, recursive=True)`` shows, and local directories with it.
            recursive: see there.
            pattern: with ``recursive``, only the names that match, see :meth:`list`; directories stay then.
            version_id: one version of an object, not with ``recursive``.

        Raises:
            IsDirectoryError: a local directory without ``recursive``; nothing was deleted.
            InvalidURIError: it names a container; nothing was deleted.
            BatchError: some could not be deleted. A key that fails does not stop the others; a batch that fails as a
                whole, after its retries, does.
        """
        if recursive and version_id is not None:
            raise ConfigError("version_id names one object, recursive many (nothing was deleted)", uri=as_uri(uri))
        if recursive:
            from s3dlio.transfer.delete import delete

            delete(self, uri, recursive=True, pattern=pattern, cancel=surrounding_token())
        elif pattern is not None:
            raise ConfigError("a pattern needs recursive=True (nothing was deleted)", uri=as_uri(uri))
        else:
            store, key = self.store_for(uri)
            if "*" in key:
                log.warning("deleting the one object %s: its * selects nothing without recursive=True", store.uri(key))
            store.delete(key, version_id=version_id)


def _uris(before: str, selection: Selection) -> Iterator[str]:
    for _, page in selection:
        names = sorted([*page.keys, *page.prefixes]) if page.prefixes else page.keys
        for name in names:
            yield before + name
