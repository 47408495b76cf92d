"""Objects into a local directory."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING

from s3dlio.errors import InvalidURIError
from s3dlio.transfer.engine import Running, conclude, journal_at, meter_of, run_plan, watched
from s3dlio.transfer.executor import CancelToken
from s3dlio.transfer.many import check_width
from s3dlio.transfer.plan import Filter
from s3dlio.transfer.progress import Progress
from s3dlio.transfer.routes import Care
from s3dlio.transfer.source import Source
from s3dlio.transfer.summary import TransferSummary
from s3dlio.transfer.target import destination_uri, target_at
from s3dlio.uri import LOCAL_SCHEMES

if TYPE_CHECKING:
    from s3dlio.client import Client


def download(
    client: Client,
    src: str | os.PathLike[str],
    dest_dir: str | os.PathLike[str],
    *,
    max_in_flight: int = 64,
    recursive: bool = True,
    pattern: str | None = None,
    include: Iterable[str] = (),
    exclude: Iterable[str] = (),
    verify: bool = False,
    preserve_mtime: bool = False,
    continue_on_error: bool = False,
    journal: str | None = None,
    progress: Progress | None = None,
    cancel: CancelToken | None = None,
) -> TransferSummary:
    """Write objects as files beneath a local directory, under the names relative to the directory that was selected.

    Keys that cannot become files there (``..`` segments, absolute paths, links in the way, two keys for one file) are
    refused one by one, and the others go on. A file gets its name when it is whole.

    Args:
        client: whose stores and threads are used.
        src: an object, a directory (ends in ``/``) or a glob; see :mod:`s3dlio.transfer.selection`.
        dest_dir: a path, or a ``file://`` or ``direct://`` URI; is made if it is not there.
        max_in_flight: how many objects are in flight at most.
        recursive: everything beneath a directory, and not just what is directly in it.
        pattern: a regular expression, found anywhere in the name.
        include, exclude: shell patterns for names, see :class:`s3dlio.transfer.plan.Filter`.
        verify: compare the CRC32C with what the service tells, or with a second reading.
        preserve_mtime: give the files the time of the objects.
        continue_on_error: go on after a failure. Refused keys never stop the others.
        journal: a file that records what is done; an interrupted download with the same journal goes on.
        progress: is told what moves.
        cancel: stops the download from another thread.

    Raises:
        ObjectNotFoundError: nothing was selected.
        BatchError: objects failed; it has every one of them.
    """
    destination = destination_uri(dest_dir)
    width = check_width(max_in_flight)
    source = Source.at(client, src, recursive=recursive, pattern=pattern, keep=Filter(include, exclude))
    store, prefix = client.store_for(destination)
    if store.scheme not in LOCAL_SCHEMES:
        raise InvalidURIError(
            "a download goes to a local directory", uri=destination, hint="between two stores, use copy (s3-cli cp)"
        )
    source.check_apart(store, prefix)
    with (
        journal_at(journal, "download", source.uri, destination, prefix) as records,
        watched(progress) as watcher,
        target_at(store, prefix) as target,
    ):
        care = Care(verify, preserve_mtime, meter=meter_of(watcher), journal=records)
        how = Running("DOWNLOAD", width, continue_on_error, records, watcher, cancel)
        tally = run_plan(client, source.plan(), target.route_from(source.store, care), how)
        return conclude(tally, "DOWNLOAD", "No objects matched for download", source.uri)
