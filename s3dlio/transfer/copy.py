"""From anywhere to anywhere: copy and move."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from s3dlio.stores.base import ObjectStore
from s3dlio.transfer.between import Renaming
from s3dlio.transfer.engine import Running, conclude, journal_at, meter_of, run_plan, watched
from s3dlio.transfer.executor import CancelToken
from s3dlio.transfer.many import check_width
from s3dlio.transfer.plan import Filter, Item, Plan
from s3dlio.transfer.progress import Progress
from s3dlio.transfer.routes import Care, Moving
from s3dlio.transfer.source import Source
from s3dlio.transfer.summary import TransferSummary
from s3dlio.transfer.target import Places, as_directory, check_not_itself, destination_uri, target_at
from s3dlio.types import NO_OPTIONS, PutOptions
from s3dlio.uri import LOCAL_SCHEMES, is_directory_like

if TYPE_CHECKING:
    from s3dlio.client import Client


def copy(
    client: Client,
    src: Places,
    dst: str | os.PathLike[str],
    *,
    recursive: bool = False,
    pattern: str | None = None,
    include: Iterable[str] = (),
    exclude: Iterable[str] = (),
    max_in_flight: int = 32,
    create_bucket: bool = False,
    verify: bool = False,
    preserve_mtime: bool = False,
    continue_on_error: bool = False,
    journal: str | None = None,
    progress: Progress | None = None,
    cancel: CancelToken | None = None,
    options: PutOptions = NO_OPTIONS,
    delete_source: bool = False,
) -> TransferSummary:
    """Copy objects or files between any two schemes: inside the service where it can, else piece by piece through here.

    One object goes to exactly ``dst``, or into it if that ends in ``/``, names a bucket, or is a local directory.
    Several (a directory with ``recursive``, a glob, a list of paths) go into the directory ``dst``.

    Args:
        client: whose stores and threads are used.
        src: a URI or local path, or several local paths.
        dst: a URI or local path.
        recursive: copy a directory: everything beneath it, under the names relative to it.
        pattern: a regular expression, found anywhere in the name.
        include, exclude: shell patterns for names, see :class:`s3dlio.transfer.plan.Filter`.
        max_in_flight: how many objects are in flight at most.
        create_bucket: make the destination's bucket first.
        verify: compare the CRC32C of both sides.
        preserve_mtime: keep the time of the last change.
        continue_on_error: go on after a failure.
        journal: a file that records what is done; an interrupted copy with the same journal goes on.
        progress: is told what moves.
        cancel: stops the copy from another thread.
        options: content type, storage class and the like, for every object.
        delete_source: delete each source when its copy is complete: :func:`move`.

    Raises:
        IsDirectoryError: the source is a directory and ``recursive`` is not set; nothing was copied.
        ObjectNotFoundError: nothing was selected.
        InvalidURIError: the destination is the source or inside it; two sources have one name.
        BatchError: objects failed; it has every one of them.
    """
    operation = "MOVE" if delete_source else "COPY"
    width = check_width(max_in_flight)
    keep = Filter(include, exclude)
    source = Source.at(client, src, recursive=recursive, pattern=pattern, keep=keep, into_links=not delete_source)
    source.check_recursive()
    destination = destination_uri(dst)
    store, key = client.store_for(destination)
    single = source.single()
    if isinstance(single, Item) and not _is_directory(store, key):
        check_not_itself(source.store, single.key, store, key)
        name = key.rpartition("/")[2]
        prefix = key[: len(key) - len(name)]
        single = single._replace(name=name)
    else:
        prefix = as_directory(key)
        source.check_apart(store, prefix)
    directory = prefix or "." if store.scheme in LOCAL_SCHEMES else None
    plan: Plan = source.plan() if single is None else iter([single])
    with (
        journal_at(journal, operation.lower(), source.uri, destination, directory) as records,
        watched(progress) as watcher,
        target_at(store, prefix, create=create_bucket) as target,
    ):
        care = Care(verify, preserve_mtime, options, meter_of(watcher), journal=records)
        route = target.route_from(source.store, care)
        if delete_source:
            route = Moving(route, source.store)
            if source.store.root == store.root and options == NO_OPTIONS and not verify:
                route = Renaming(store, target.prefix, care, otherwise=route)
        how = Running(operation, width, continue_on_error, records, watcher, cancel)
        tally = run_plan(client, plan, route, how)
        return conclude(tally, operation, "No objects matched for copy", source.uri)


def move(
    client: Client, src: Places, dst: str | os.PathLike[str], *, preserve_mtime: bool = True, **options: Any
) -> TransferSummary:
    """Copy, and delete each source when its copy is complete (and verified, with ``verify``). Arguments and errors are
    those of :func:`copy`. Directories of the source stay, links to directories are refused, and a file that changes
    meanwhile is an error, and kept."""
    return copy(client, src, dst, preserve_mtime=preserve_mtime, delete_source=True, **options)


def _is_directory(store: ObjectStore, key: str) -> bool:
    return is_directory_like(key) or (store.scheme in LOCAL_SCHEMES and os.path.isdir(key))
