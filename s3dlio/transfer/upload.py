"""Local files into a store."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING

from s3dlio.transfer.engine import Running, conclude, journal_at, meter_of, run_plan, watched
from s3dlio.transfer.executor import CancelToken
from s3dlio.transfer.local import check_names, expand, local_path, select_local
from s3dlio.transfer.many import check_width
from s3dlio.transfer.plan import Filter
from s3dlio.transfer.progress import Progress
from s3dlio.transfer.routes import Care
from s3dlio.transfer.summary import TransferSummary
from s3dlio.transfer.target import (
    Places,
    as_directory,
    check_glob_apart,
    check_roots_apart,
    destination_uri,
    name_places,
    place_list,
    target_at,
)
from s3dlio.types import NO_OPTIONS, PutOptions

if TYPE_CHECKING:
    from s3dlio.client import Client


def upload(
    client: Client,
    sources: Places,
    dest: str | os.PathLike[str],
    *,
    max_in_flight: int = 32,
    create_bucket: bool = False,
    recursive: bool = False,
    regex: bool = False,
    pattern: str | None = None,
    include: Iterable[str] = (),
    exclude: Iterable[str] = (),
    verify: bool = False,
    preserve_mtime: bool = False,
    continue_on_error: bool = False,
    journal: str | None = None,
    progress: Progress | None = None,
    cancel: CancelToken | None = None,
    options: PutOptions = NO_OPTIONS,
) -> TransferSummary:
    """Store local files as objects ``dest/name``.

    A file is called by its last segment. Of a directory, the files directly in it are stored, and with ``recursive``
    the whole tree under the names relative to the directory.

    Args:
        client: whose stores and threads are used.
        sources: a path, glob or ``file://`` URI, or several; see :func:`s3dlio.transfer.local.expand`.
        dest: the directory (prefix) that they go to; a ``/`` is added if it ends in none.
        max_in_flight: how many files are in flight at most.
        create_bucket: make the bucket first.
        recursive: see above.
        regex: the last segment of each source is a regular expression.
        pattern: a regular expression, found anywhere in the name.
        include, exclude: shell patterns for names, see :class:`s3dlio.transfer.plan.Filter`.
        verify: compare the CRC32C with what the service has.
        preserve_mtime: keep the time of the files, as user metadata ``mtime``.
        continue_on_error: go on after a failure. Sources that cannot be transferred never stop the others.
        journal: a file that records what is done; an interrupted upload with the same journal goes on.
        progress: is told what moves.
        cancel: stops the upload from another thread.
        options: content type, storage class and the like, for every object.

    Raises:
        ObjectNotFoundError: a source is not there, or nothing was selected.
        InvalidURIError: two sources have one name, or the destination is inside a source; nothing was transferred.
        BatchError: files failed; it has every one of them.
    """
    keep = Filter(include, exclude, pattern)
    destination = destination_uri(dest, of_upload=True)
    width = check_width(max_in_flight)
    given = place_list(sources)
    roots = expand(given, recursive=recursive, regex=regex)
    check_names(roots, recursive, keep)
    source, _ = client.store_for("file:///")
    store, prefix = client.store_for(destination)
    for place in given if not regex else ():
        check_glob_apart(source, local_path(place), store, as_directory(prefix))
    check_roots_apart(roots, source, store, as_directory(prefix))
    named = name_places(given)
    with (
        journal_at(journal, "upload", named, destination) as records,
        watched(progress) as watcher,
        target_at(store, prefix, create=create_bucket) as target,
    ):
        care = Care(verify, preserve_mtime, options, meter_of(watcher), journal=records)
        plan = select_local(roots, recursive=recursive, keep=keep)
        how = Running("UPLOAD", width, continue_on_error, records, watcher, cancel)
        tally = run_plan(client, plan, target.route_from(source, care), how)
        return conclude(tally, "UPLOAD", "No files matched for upload", named)
