"""From anywhere to anywhere: copy and move."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from s3dlio.stores.base import ObjectStore
from s3dlio.transfer.destination import open_destination
from s3dlio.transfer.journal import journal_at
from s3dlio.transfer.moving import Moving, Renaming
from s3dlio.transfer.options import DEFAULTS, TransferOptions
from s3dlio.transfer.origin import Origin
from s3dlio.transfer.overlap import check_not_itself
from s3dlio.transfer.places import Places, as_directory, destination_uri
from s3dlio.transfer.plan import Item, Plan
from s3dlio.transfer.progress import reporting
from s3dlio.transfer.runner import conclude, route_options, run_options, run_plan
from s3dlio.transfer.summary import TransferSummary
from s3dlio.types import NO_OPTIONS
from s3dlio.uri import LOCAL_SCHEMES, is_directory_like

if TYPE_CHECKING:
    from s3dlio.engine.session import Session


def copy(
    session: Session,
    src: Places,
    dst: str | os.PathLike[str],
    how: TransferOptions = DEFAULTS,
    *,
    delete_source: bool = False,
) -> TransferSummary:
    """Copy objects or files between any two schemes: inside the service where it can, else piece by piece through here.

    One object goes to exactly ``dst``, or into it if that ends in ``/``, names a bucket, or is a local directory.
    Several (a directory with ``recursive``, a glob, a list of paths) go into the directory ``dst``.

    Args:
        session: whose stores and threads are used.
        src: a URI or local path, or several local paths.
        dst: a URI or local path.
        how: see :class:`TransferOptions`; with ``recursive`` a directory is copied, under the names relative to it.
        delete_source: delete each source when its copy is complete: :func:`move`.

    Raises:
        IsDirectoryError: the source is a directory and ``recursive`` is not set; nothing was copied.
        ObjectNotFoundError: nothing was selected.
        InvalidURIError: the destination is the source or inside it; two sources have one name.
        BatchError: objects failed; it has every one of them.
    """
    operation = "MOVE" if delete_source else "COPY"
    source = Origin.at(
        session, src, recursive=how.recursive, pattern=how.pattern, keep=how.filter(), into_links=not delete_source
    )
    source.check_recursive()
    destination = destination_uri(dst)
    store, key = session.store_for(destination)
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
        journal_at(how.journal, operation.lower(), source.uri, destination, directory) as records,
        reporting(how.progress) as watcher,
        open_destination(store, prefix, create=how.create_bucket) as target,
    ):
        care = route_options(how, watcher, records)
        route = target.route_from(source.store, care)
        if delete_source:
            route = Moving(route, source.store)
            if source.store.root == store.root and how.options == NO_OPTIONS and not how.verify:
                route = Renaming(store, target.prefix, care, otherwise=route)
        tally = run_plan(session, plan, route, run_options(how, operation, watcher, records))
        return conclude(tally, operation, "No objects matched for copy", source.uri)


def move(
    session: Session, src: Places, dst: str | os.PathLike[str], how: TransferOptions = DEFAULTS
) -> TransferSummary:
    """Copy, and delete each source when its copy is complete (and verified, with ``verify``). Arguments and errors are
    those of :func:`copy`. Directories of the source stay, links to directories are refused, and a source that changes
    meanwhile is an error, and kept."""
    return copy(session, src, dst, how, delete_source=True)


def _is_directory(store: ObjectStore, key: str) -> bool:
    return is_directory_like(key) or (store.scheme in LOCAL_SCHEMES and os.path.isdir(key))
