"""Deleting what a URI selects: batches of keys go to the service while the next page is being listed."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from typing import TYPE_CHECKING, Any

from s3dlio.errors import IsDirectoryError, S3dlioError, TransferCancelledError
from s3dlio.stores.base import Call, KeyErrors, ObjectStore
from s3dlio.transfer.ahead import Ahead
from s3dlio.transfer.batch import run_calls
from s3dlio.transfer.engine import LinkedToken, watched
from s3dlio.transfer.executor import CancelToken
from s3dlio.transfer.many import check_width
from s3dlio.transfer.plan import Filter
from s3dlio.transfer.progress import NoProgress, Progress
from s3dlio.transfer.selection import Selection, check_names_one
from s3dlio.transfer.summary import Tally, TransferSummary
from s3dlio.uri import LOCAL_SCHEMES, as_uri

if TYPE_CHECKING:
    from s3dlio.client import Client


def delete(
    client: Client,
    uri: str | os.PathLike[str],
    *,
    recursive: bool = False,
    pattern: str | None = None,
    include: Iterable[str] = (),
    exclude: Iterable[str] = (),
    dry_run: bool = False,
    max_in_flight: int = 8,
    progress: Progress | None = None,
    cancel: CancelToken | None = None,
    on_key: Callable[[str], None] | None = None,
) -> TransferSummary:
    """Delete one object, or everything that a URI selects.

    Args:
        client: whose stores and threads are used.
        uri: exactly this object; with ``recursive`` what a recursive listing of it shows. A local directory that is
            deleted whole (no pattern, include or exclude) goes with its sub-directories.
        recursive: see above.
        pattern: a regular expression, found anywhere in the name relative to the directory.
        include, exclude: shell patterns for names, see :class:`s3dlio.transfer.plan.Filter`.
        dry_run: delete nothing; ``on_key`` is told what would be deleted.
        max_in_flight: how many batches (1,000 keys each, where the service takes so many) are in flight at most.
        progress: is told how many objects are gone.
        cancel: stops from another thread.
        on_key: is told the URI of every object before it is deleted.

    Returns:
        The summary; after a dry run, ``attempted`` says how many objects would be deleted.

    Raises:
        IsDirectoryError: a directory without ``recursive``; nothing was deleted.
        InvalidURIError: a container or a ``*`` without ``recursive``; nothing was deleted.
        BatchError: objects could not be deleted; it has every one of them that was tried.
    """
    width = check_width(max_in_flight)
    keep = Filter(include, exclude)
    store, key = client.store_for(as_uri(uri))  # no plain path: what is deleted must be meant
    tell = on_key or (lambda uri: None)
    if not recursive:
        keys: Iterator[str] = iter([_one(store, key)])
        whole = False
    else:
        whole = pattern is None and not include and not exclude
        keys = _selected(Selection(store, key, recursive=True, pattern=pattern), keep)
    if dry_run:
        return _rehearse(store, keys, tell)
    with watched(progress) as watcher:
        tally = delete_keys(
            client, store, _told(keys, store, tell), max_in_flight=width, progress=watcher, cancel=cancel
        )
    if whole and not tally.failures and store.scheme in LOCAL_SCHEMES and os.path.isdir(key):
        store.rmdir(key, recursive=True)
    summary = tally.summary()
    summary.raise_for_failures("DELETE")
    return summary


def _one(store: ObjectStore, key: str) -> str:
    store.check_key(key, "DELETE")
    check_names_one(store, key, "DELETE")
    if store.scheme in LOCAL_SCHEMES and os.path.isdir(key) and not os.path.islink(key.rstrip("/")):
        raise IsDirectoryError(
            "it is a directory", uri=store.uri(key), operation="DELETE",
            hint="use -r / recursive=True to delete everything under it (nothing was deleted)",
        )  # fmt: skip
    return key


def _selected(selection: Selection, keep: Filter) -> Iterator[str]:
    for base, page in selection:
        start = len(base)
        yield from (key for key in page.keys if keep(key[start:]))


def _told(keys: Iterable[str], store: ObjectStore, tell: Callable[[str], None]) -> Iterator[str]:
    for key in keys:
        tell(store.uri(key))
        yield key


def _rehearse(store: ObjectStore, keys: Iterable[str], tell: Callable[[str], None]) -> TransferSummary:
    tally = Tally()
    for _ in _told(keys, store, tell):
        tally.start()
    return tally.summary()


def delete_keys(
    client: Client,
    store: ObjectStore,
    keys: Iterable[str],
    *,
    max_in_flight: int,
    progress: Progress | None = None,
    cancel: CancelToken | None = None,
) -> Tally:
    """Delete ``keys``, which may be as many as there are; failures are in the tally, per key.

    A key that fails does not stop the others. A batch that fails as a whole, after all retries, does: then the service
    or the permissions are at fault, and every further key would fail the same way.

    Raises:
        TransferCancelledError: the caller's token was cancelled.
        S3dlioError: the listing behind ``keys`` failed.
    """
    progress = progress or NoProgress()
    token = LinkedToken(cancel)
    deletion = _Deletion(store, progress, token)
    # Three pages ahead of the requests is enough that none waits for a listing, and memory stays at a few pages.
    ahead = Ahead(
        _batches(keys, store.delete_batch_size),
        depth=3 * max_in_flight,
        seen=lambda batch: progress.add(len(batch), 0),
        stopped=lambda: token.cancelled,
        chunk=1,
    )
    with closing(ahead):
        run_calls(
            deletion.calls(ahead),
            width=max_in_flight,
            on_done=deletion.on_done,
            cancel=token,
            executor=client.executor,
        )
    if token.by_caller:
        raise TransferCancelledError(f"cancelled with {deletion.tally.succeeded} objects deleted", operation="DELETE")
    return deletion.tally


def _batches(keys: Iterable[str], size: int) -> Iterator[list[str]]:
    left = iter(keys)
    while batch := list(itertools.islice(left, size)):
        yield batch


class _Deletion:
    """Batches on their way."""

    def __init__(self, store: ObjectStore, progress: Progress, token: CancelToken) -> None:
        self._store = store
        self._token = token
        self.tally = Tally(progress)
        self._in_flight: dict[
            int, tuple[int, list[str]]
        ] = {}  # position among the calls -> index of its first key, keys

    def calls(self, batches: Iterable[list[str]]) -> Iterator[Call[KeyErrors]]:
        for position, batch in enumerate(batches):
            first = self.tally.start(len(batch))
            self._in_flight[position] = (first, batch)
            yield self._store.delete_many_call(batch)

    def on_done(self, position: int, failed: Any, error: BaseException | None) -> None:
        first, batch = self._in_flight.pop(position)
        if isinstance(error, TransferCancelledError) and self._token.cancelled:
            self.tally.give_up(len(batch))
        elif error is not None:
            self._token.cancel("another batch failed")
            self._fail(first, batch, dict.fromkeys(batch, error))
        else:
            self._fail(first, batch, dict(failed))
            self.tally.succeed(0, objects=len(batch) - len(failed))

    def _fail(self, first: int, batch: list[str], errors: Mapping[str, BaseException]) -> None:
        for index, key in enumerate(batch if errors else (), first):
            if (error := errors.get(key)) is not None:
                uri = self._store.uri(key)
                if isinstance(error, S3dlioError):
                    error.locate(uri, "DELETE")
                self.tally.fail(index, uri, error)
