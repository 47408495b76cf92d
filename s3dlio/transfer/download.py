"""Objects into a local directory."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from s3dlio.errors import InvalidURIError
from s3dlio.transfer.options import TransferOptions
from s3dlio.transfer.origin import Origin
from s3dlio.transfer.places import destination_uri
from s3dlio.transfer.runner import Transfer
from s3dlio.transfer.summary import TransferSummary
from s3dlio.uri import LOCAL_SCHEMES

if TYPE_CHECKING:
    from s3dlio.engine.session import Session


_DEFAULTS = TransferOptions(max_in_flight=64, recursive=True)


def download(
    session: Session,
    src: str | os.PathLike[str],
    dest_dir: str | os.PathLike[str],
    how: TransferOptions = _DEFAULTS,
) -> TransferSummary:
    """Write objects as files beneath a local directory, under the names relative to the directory that was selected.

    Keys that cannot become files there (``..`` segments, absolute paths, links in the way, two keys for one file) are
    refused one by one, and the others go on. A file gets its name when it is whole.

    Args:
        session: whose stores and threads are used.
        src: an object, a directory (ends in ``/``) or a glob; see :mod:`s3dlio.transfer.selection`.
        dest_dir: a path, or a ``file://`` or ``direct://`` URI; is made if it is not there.
        how: see :class:`TransferOptions`; refused keys never stop the others.

    Raises:
        ObjectNotFoundError: nothing was selected.
        BatchError: objects failed; it has every one of them.
    """
    return Transfer.shared(session, lambda: _transfer(session, src, dest_dir, how)).run(session, how)


def _transfer(
    session: Session, src: str | os.PathLike[str], dest_dir: str | os.PathLike[str], how: TransferOptions
) -> Transfer:
    """What is read, after a look at what is there."""
    destination = destination_uri(dest_dir)
    source = Origin.at(session, src, recursive=how.recursive, pattern=how.pattern, keep=how.filter())
    store, prefix = session.store_for(destination)
    if store.scheme not in LOCAL_SCHEMES:
        raise InvalidURIError(
            "a download goes to a local directory", uri=destination, hint="between two stores, use copy (s3-cli cp)"
        )
    source.check_apart(store, prefix)
    nothing = "No objects matched for download"
    return Transfer("DOWNLOAD", source.plan(), source.store, source.uri, store, prefix, destination, nothing)
