"""From anywhere to anywhere: copy and move."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from s3dlio.stores.base import ObjectStore
from s3dlio.transfer.options import DEFAULTS, TransferOptions
from s3dlio.transfer.origin import Origin
from s3dlio.transfer.overlap import check_moved_apart, check_not_itself
from s3dlio.transfer.places import Places, as_directory, destination_uri
from s3dlio.transfer.plan import Item, Plan
from s3dlio.transfer.runner import Transfer
from s3dlio.transfer.summary import TransferSummary
from s3dlio.types import PutOptions
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
        InvalidURIError: the destination is the source or inside it; two sources have one name. One object may be copied
            onto itself where the service does it and ``how.options`` change something.
        UnsupportedOperationError: the destination cannot keep what the options say.
        BatchError: objects failed; it has every one of them.
    """
    transfer = Transfer.shared(session, lambda: _transfer(session, src, dst, how, delete_source))
    return transfer.run(session, how)


def _transfer(
    session: Session, src: Places, dst: str | os.PathLike[str], how: TransferOptions, delete_source: bool
) -> Transfer:
    """What is copied, after a look at what is there."""
    source = Origin.at(
        session, src, recursive=how.recursive, pattern=how.pattern, keep=how.filter(), into_links=not delete_source
    )
    source.check_recursive()
    destination = destination_uri(dst)
    store, key = session.store_for(destination)
    prefix, plan = _placed(source, store, key, onto_itself=not delete_source and _changes(how.options))
    if delete_source:
        check_moved_apart(source.roots or (), store, prefix)
    operation, nothing = "MOVE" if delete_source else "COPY", "No objects matched for copy"
    return Transfer(operation, plan, source.store, source.uri, store, prefix, destination, nothing, delete_source)


def _changes(options: PutOptions) -> bool:
    """Whether a copy onto itself makes sense: the service gives the object what the options say."""
    return options.replaces_metadata() or any(
        (options.storage_class, options.server_side_encryption, options.ssekms_key_id, options.tags is not None)
    )


def _placed(source: Origin, store: ObjectStore, key: str, *, onto_itself: bool = False) -> tuple[str, Plan]:
    """The directory of ``store`` that objects go into, and what goes there, under the names it gets.

    Args:
        source: what is copied.
        store, key: where to.
        onto_itself: the destination may be the source.

    Raises:
        InvalidURIError: the destination is the source or inside it.
    """
    single = source.single()
    if isinstance(single, Item):
        place = as_directory(key) + single.name if _is_directory(store, key) else key
        if not (onto_itself and store.can_copy_from(source.store)):
            check_not_itself(source.store, single.key, store, place)
    if isinstance(single, Item) and not _is_directory(store, key):
        name = key.rpartition("/")[2]
        return key[: len(key) - len(name)], iter([single._replace(name=name)])
    prefix = as_directory(key)
    source.check_apart(store, prefix)
    return prefix, source.plan() if single is None else iter([single])


def move(
    session: Session, src: Places, dst: str | os.PathLike[str], how: TransferOptions = DEFAULTS
) -> TransferSummary:
    """Copy, and delete each source when its copy is complete (and verified, with ``verify``). Arguments and errors are
    those of :func:`copy`. Directories of the source stay, links to directories are refused, and a source that changes
    meanwhile is an error, and kept."""
    return copy(session, src, dst, how, delete_source=True)


def _is_directory(store: ObjectStore, key: str) -> bool:
    return is_directory_like(key) or (store.scheme in LOCAL_SCHEMES and os.path.isdir(key))
