"""Deleting what a URI selects: batches of keys go to the service while the next page is being listed."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any, NamedTuple

from s3dlio.engine.admission import Admission, check_width
from s3dlio.engine.batch import run_calls
from s3dlio.engine.cancel import CancelToken, surrounding_token
from s3dlio.engine.prefetch import Prefetcher
from s3dlio.errors import InvalidURIError, IsDirectoryError, ItemFailure, S3dlioError, TransferCancelledError
from s3dlio.net import system
from s3dlio.rfc3339 import parse_rfc3339
from s3dlio.stores.base import KeyErrors, ObjectStore
from s3dlio.stores.call import Call
from s3dlio.transfer.divided import merged
from s3dlio.transfer.limits import NO_LIMITS, Limits
from s3dlio.transfer.pattern_file import PatternFiles, read_patterns
from s3dlio.transfer.plan import Filter, several_patterns
from s3dlio.transfer.progress import NoProgress, Progress, reporting
from s3dlio.transfer.selection import Selection, check_names_one
from s3dlio.transfer.summary import Tally, TransferSummary
from s3dlio.transfer.transfer_token import LinkedToken
from s3dlio.types import ListPage
from s3dlio.uri import LOCAL_SCHEMES, as_uri
from s3dlio.wording import recursively

if TYPE_CHECKING:
    from s3dlio.engine.session import Session


def delete(
    session: Session,
    uri: str | os.PathLike[str],
    *,
    recursive: bool = False,
    pattern: str | None = None,
    include: Iterable[str] = (),
    exclude: Iterable[str] = (),
    include_from: PatternFiles = (),
    exclude_from: PatternFiles = (),
    limits: Limits = NO_LIMITS,
    dry_run: bool = False,
    max_in_flight: int = 8,
    progress: Progress | None = None,
    cancel: CancelToken | None = None,
    on_key: Callable[[str], None] | None = None,
) -> TransferSummary:
    """Delete one object, or everything that a URI selects.

    Args:
        session: whose stores and threads are used.
        uri: exactly this object; with ``recursive`` what a recursive listing of it shows, but nothing behind links to
            local directories. A local directory that is deleted whole (nothing below selects) goes with its
            sub-directories and links; of a link to one, the link.
        recursive: see above.
        pattern: a regular expression, found anywhere in the name relative to the directory.
        include, exclude: globs for names, see :class:`s3dlio.transfer.plan.Filter`.
        include_from, exclude_from: files of such globs.
        limits: of size and age.
        dry_run: delete nothing; ``on_key`` is called with what would be deleted.
        max_in_flight: how many batches (1,000 keys each, where the service takes so many) are in flight at most; fewer
            while the service asks to slow down.
        progress: an observer of how many objects were deleted.
        cancel: stops from another thread.
        on_key: is called with the URI of every object before it is deleted.

    Returns:
        The summary; after a dry run, ``attempted`` says how many objects would be deleted.

    Raises:
        IsDirectoryError: a directory without ``recursive``; nothing was deleted.
        InvalidURIError: a container or a ``*`` without ``recursive``, or the root of all files; nothing was deleted.
        BatchError: objects could not be deleted; it has every one of them that was tried.
    """
    width, group = check_width(max_in_flight), session.group
    include = [*several_patterns(include), *read_patterns(include_from)]
    exclude = [*several_patterns(exclude), *read_patterns(exclude_from)]
    keep = Filter(include, exclude)
    store, key = session.store_for(as_uri(uri))  # no plain path: what is deleted must be meant
    if recursive and not dry_run and store.scheme in LOCAL_SCHEMES and os.path.realpath(key or ".") == "/":
        raise InvalidURIError(
            "it is the root of all files", uri=store.uri(key), operation="DELETE",
            hint="name the directory that is meant (nothing was deleted)",
        )  # fmt: skip
    tell = on_key or (lambda uri: None)
    whole = recursive and pattern is None and not include and not exclude and not limits

    def one() -> list[str]:
        return [check_one(store, key)] if not recursive or (whole and _is_link(store, key)) else []

    if alone := group.first(one):
        keys: Iterator[str] = iter(alone)
        whole = False
    else:
        selection = Selection(store, key, recursive=True, pattern=pattern)
        keys = _selected(selection, keep, limits, store.scheme in LOCAL_SCHEMES)
    if dry_run:
        return group.first(lambda: _rehearse(store, keys, tell))
    with reporting(progress) as watcher:
        tally = delete_keys(
            session, store, _announced(group.deal(keys), store, tell), max_in_flight=width, progress=watcher,
            cancel=cancel,
        )  # fmt: skip
    tally = merged(group, tally)
    if whole and not tally.failures and not group.rank and _is_directory(store, key):
        store.rmdir(key, recursive=True)
    summary = tally.summary()
    summary.raise_for_failures("DELETE")
    return summary


def check_one(store: ObjectStore, key: str) -> str:
    """The key, if it can only mean one object.

    Raises:
        IsDirectoryError, InvalidURIError: as of :func:`delete`.
    """
    try:
        store.check_key(key, "DELETE")
    except InvalidURIError as error:
        if not key:
            error.hint = f"use {recursively()} to delete everything in it (nothing was deleted)"
        raise
    check_names_one(store, key, "DELETE")
    if _is_directory(store, key) or (key.endswith("/") and _is_prefix(store, key)):
        raise IsDirectoryError(
            "it is a directory", uri=store.uri(key), operation="DELETE",
            hint=f"use {recursively()} to delete everything under it (nothing was deleted)",
        )  # fmt: skip
    return key


def _is_prefix(store: ObjectStore, key: str) -> bool:
    """Whether there are objects under a key that ends in ``/``, and none of that very name (a folder marker)."""
    if store.scheme in LOCAL_SCHEMES:
        return False
    pages = (page for page in store.list(key, recursive=False) if page.keys or page.prefixes)
    first = next(pages, None)
    return first is not None and key not in first.keys


def _is_link(store: ObjectStore, key: str) -> bool:
    """A local link, which goes alone: what it leads to is not beneath it. ``link/`` is what it leads to."""
    return store.scheme in LOCAL_SCHEMES and os.path.islink(key)


def _is_directory(store: ObjectStore, key: str) -> bool:
    return store.scheme in LOCAL_SCHEMES and os.path.isdir(key) and not os.path.islink(key.rstrip("/"))


def _selected(selection: Selection, keep: Filter, limits: Limits, local: bool) -> Iterator[str]:
    for base, page in selection:
        start = len(base)
        keys = (key for key in (_within(page, limits) if limits else page.keys) if keep(key[start:]))
        yield from _before_links(keys, start) if local else keys


def _within(page: ListPage, limits: Limits) -> Iterator[str]:
    """The keys of a page whose size and time ``limits`` allow. What tells no time is not deleted for its age."""
    for entry in page.entries:
        mtime = parse_rfc3339(entry.last_modified) if entry.last_modified is not None else None
        if limits.refusal(entry.size, mtime) is None and (mtime is not None or not limits.of_age):
            yield entry.key


def _before_links(paths: Iterable[str], start: int) -> Iterator[str]:
    """``paths`` but for those behind a link to a directory: what is there belongs elsewhere.

    Args:
        paths: sorted, so that those of one directory come together.
        start: links within so many characters at the beginning are what the caller meant.
    """
    directory, linked = "", False
    for path in paths:
        above = path[: path.rfind("/") + 1]
        if above != directory:
            ends = (at for at in range(start, len(above)) if above[at] == "/")
            directory, linked = above, any(os.path.islink(above[:at]) for at in ends)
        if not linked:
            yield path


def _announced(keys: Iterable[str], store: ObjectStore, tell: Callable[[str], None]) -> Iterator[str]:
    for key in keys:
        tell(store.uri(key))
        yield key


def _rehearse(store: ObjectStore, keys: Iterable[str], tell: Callable[[str], None]) -> TransferSummary:
    tally = Tally()
    for _ in _announced(keys, store, tell):
        tally.start()
    return tally.summary()


def delete_many(session: Session, uris: Sequence[str], *, max_in_flight: int = 8) -> TransferSummary:
    """Delete every URI, of any stores; objects that are not there are no error.

    Raises:
        InvalidURIError: one of them is no URI, or names no object; nothing was deleted.
        BatchError: some could not be deleted; all were tried.
        TransferCancelledError: the awaited call around it was cancelled.
    """
    width = check_width(max_in_flight)
    by_store: dict[ObjectStore, list[str]] = {}
    for store, key in zip(*session.stores.find_all(uris), strict=True):
        by_store.setdefault(store, []).append(key)
    for store, keys in by_store.items():
        store.check_keys(keys, "DELETE")
    token = surrounding_token()
    if len(by_store) == 1 and not store.is_cloud and len(keys) <= store.delete_batch_size:
        if token is not None:
            token.check()
        summary = _delete_at_once(store, keys)
    else:
        deletion = _Deletion(LinkedToken(token), keep_going=True)
        blocking_first = sorted(by_store, key=lambda store: store.is_cloud)  # on a lane they would hold it up
        batches = [
            (store, batch) for store in blocking_first for batch in _batches(by_store[store], store.delete_batch_size)
        ]
        deletion.run(batches, width, session)
        summary = deletion.tally.summary()
    summary.raise_for_failures("DELETE")
    return summary


def _delete_at_once(store: ObjectStore, keys: list[str]) -> TransferSummary:
    """One call of a store that blocks, on this thread; what failed is in the summary."""
    began = system.monotonic()
    errors: dict[str, Exception]
    try:
        errors = dict(store.delete_many(keys))
    except Exception as error:
        errors = dict.fromkeys(keys, error)
    failures = [ItemFailure(index, store.uri(key), errors[key]) for index, key in enumerate(keys) if key in errors]
    done = len(keys) - len(failures)
    return TransferSummary(len(keys), done, len(failures), 0, 0, system.monotonic() - began, failures)


def delete_keys(
    session: Session,
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
    deletion = _Deletion(LinkedToken(cancel), progress)
    # Three pages ahead of the requests is enough that none waits for a listing; a hundred pages are 10 MB.
    ahead = Prefetcher(
        ((store, batch) for batch in _batches(keys, store.delete_batch_size)),
        depth=min(3 * max_in_flight, 100),
        seen=lambda work: progress.add(len(work[1]), 0),
        stopped=lambda: deletion.token.cancelled,
    )
    with session.group.stoppable(deletion.token.cancel) as stop_others, closing(ahead):
        deletion.run(ahead, max_in_flight, session, ahead)
        if deletion.token.cancelled:
            stop_others("objects could not be deleted")
    return deletion.tally


def _batches(keys: Iterable[str], size: int) -> Iterator[list[str]]:
    left = iter(keys)
    while batch := list(itertools.islice(left, size)):
        yield batch


class _Batch(NamedTuple):
    """Keys that one call deletes; ``first`` is the position of the first of them in the whole deletion."""

    store: ObjectStore
    keys: list[str]
    first: int


class _Deletion:
    """Batches on their way.

    Args:
        token: stops it.
        progress: an observer of how many objects were deleted.
        keep_going: a batch that fails as a whole does not stop the others.
    """

    def __init__(self, token: LinkedToken, progress: Progress | None = None, *, keep_going: bool = False) -> None:
        self.token = token
        self.tally = Tally(progress)
        self._keep_going = keep_going
        self._in_flight: dict[int, _Batch] = {}  # by the position among the calls

    def run(
        self,
        batches: Iterable[tuple[ObjectStore, list[str]] | None],
        width: int,
        session: Session,
        ahead: Prefetcher[Any] | None = None,
    ) -> None:
        """Delete all batches, up to ``width`` at a time, fewer while the service asks to slow down.

        Args:
            batches: what to delete.
            width: how many batches are in flight at most.
            session: whose threads help.
            ahead: as of :func:`run_calls`.

        Raises:
            TransferCancelledError: the caller's token was cancelled.
        """
        calls = self._calls(batches)
        with self.tally.running(session.stores):
            run_calls(
                calls, admission=Admission.of(session.settings.transfer, width), on_done=self._done, cancel=self.token,
                executor=session.executor, ahead=ahead,
            )  # fmt: skip
        self._check()

    def _check(self) -> None:
        if self.token.by_caller:
            raise TransferCancelledError(f"cancelled with {self.tally.succeeded} objects deleted", operation="DELETE")

    def _calls(
        self, batches: Iterable[tuple[ObjectStore, list[str]] | None]
    ) -> Iterator[Call[KeyErrors] | None]:
        position = 0
        for batch in batches:
            if batch is None:
                yield None
                continue
            store, keys = batch
            self._in_flight[position] = _Batch(store, keys, self.tally.start(len(keys)))
            position += 1
            yield store.delete_many_call(keys)

    def _done(self, position: int, failed: Any, error: BaseException | None) -> None:
        batch = self._in_flight.pop(position)
        if isinstance(error, TransferCancelledError) and self.token.cancelled:
            self.tally.give_up(len(batch.keys))
        elif error is not None:
            if not self._keep_going:
                self.token.cancel("another batch failed")
            self._fail(batch, dict.fromkeys(batch.keys, error))
        else:
            self._fail(batch, dict(failed))
            self.tally.succeed(0, objects=len(batch.keys) - len(failed))

    def _fail(self, batch: _Batch, errors: Mapping[str, BaseException]) -> None:
        for index, key in enumerate(batch.keys if errors else (), batch.first):
            if (error := errors.get(key)) is not None:
                uri = batch.store.uri(key)
                if isinstance(error, S3dlioError):
                    error.locate(uri, "DELETE")
                self.tally.fail(index, uri, error)
