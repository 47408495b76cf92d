"""The listing of a large directory: its sub-directories are listed concurrently, the entries stay in order.

A service lists one page after another, so a listing of a million keys is a thousand round trips in a row. The
directories directly below the one that is asked for do not depend on each other: ``width`` of them are listed at a
time. Memory: a few pages for each of them, whatever their number.
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Iterator

from s3dlio.engine.background import background
from s3dlio.stores.base import ObjectStore
from s3dlio.types import ListPage

#: Pages of one directory that wait for their turn.
_AHEAD = 4
#: Keys of a page that has others behind it.
_FULL = 1000
#: Sub-directories with fewer keys are quicker listed together.
_WORTH = 250
_WIDTH = 16


def list_quickly(store: ObjectStore, directory: str) -> Iterator[ListPage]:
    """The pages of ``store.list(directory)``, in its order: several sub-directories at a time where the first page
    says that they are large, and all in a row otherwise, which takes no request more.

    Raises:
        S3dlioError: a page could not be listed; the listing is never short.
    """
    pages = store.list(directory)
    first = next(pages, None)
    if first is None:
        return
    if len(first.keys) >= _FULL:
        begin = len(directory)
        below = {key[begin : key.find("/", begin) + 1] for key in first.keys}
        if below != {""} and len(first.keys) // len(below) >= _WORTH:
            yield from fan_out(store, directory, _WIDTH)
            return
    yield first
    yield from pages


def fan_out(store: ObjectStore, directory: str, width: int) -> Iterator[ListPage]:
    """The pages of ``store.list(directory)``, in its order.

    Args:
        store: where.
        directory: a key prefix that is empty or ends in ``/``.
        width: how many sub-directories are listed at a time.

    Raises:
        S3dlioError: a page could not be listed; the listing is never short.
    """
    stop = threading.Event()
    waiting: deque[ListPage | _Branch] = deque()
    branches = 0
    try:
        for item in _level(store, directory):
            if isinstance(item, str):
                while branches == width:
                    branches -= isinstance(waiting[0], _Branch)
                    yield from _pages(waiting.popleft())
                branches += 1
                waiting.append(_Branch(store, item, stop))
            else:
                waiting.append(item)
            while waiting and isinstance(waiting[0], ListPage):
                yield from _pages(waiting.popleft())
        while waiting:
            yield from _pages(waiting.popleft())
    finally:
        stop.set()


def _level(store: ObjectStore, directory: str) -> Iterator[ListPage | str]:
    """What stands directly in a directory, in the order of names: stretches of keys, and sub-directories."""
    for page in store.list(directory, recursive=False):
        start = 0
        keys = page.keys
        for prefix in page.prefixes:
            end = start
            while end < len(keys) and keys[end] < prefix:
                end += 1
            if end > start:
                yield _stretch(page, start, end)
            start = end
            yield prefix
        if start < len(keys):
            yield _stretch(page, start, len(keys))


def _stretch(page: ListPage, start: int, end: int) -> ListPage:
    return ListPage(page.keys[start:end], (), lambda: page.entries[start:end])


def _pages(item: ListPage | _Branch) -> Iterator[ListPage]:
    if isinstance(item, ListPage):
        yield item
    else:
        yield from item.pages()


class _Branch:
    """One sub-directory, listed on a background thread, a few pages ahead of whoever reads."""

    def __init__(self, store: ObjectStore, prefix: str, stop: threading.Event) -> None:
        self._store = store
        self._prefix = prefix
        self._stop = stop
        self._ready: queue.Queue[ListPage | BaseException | None] = queue.Queue(_AHEAD)
        self._is_ahead = True
        try:
            background.start(self._run)
        except RuntimeError:  # no thread can be had
            self._is_ahead = False

    def _run(self) -> None:
        try:
            for page in self._store.list(self._prefix):
                if not self._offer(page):
                    return
        except BaseException as error:
            self._offer(error)
        else:
            self._offer(None)

    def _offer(self, item: ListPage | BaseException | None) -> bool:
        """Wait until there is room; False when nobody reads any more."""
        while not self._stop.is_set():
            try:
                self._ready.put(item, timeout=0.1)
            except queue.Full:
                continue
            return True
        return False

    def pages(self) -> Iterator[ListPage]:
        if not self._is_ahead:
            yield from self._store.list(self._prefix)
            return
        while (item := self._ready.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item
