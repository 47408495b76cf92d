"""Local files into a store."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from s3dlio.transfer.options import DEFAULTS, TransferOptions
from s3dlio.transfer.overlap import check_glob_apart, check_roots_apart
from s3dlio.transfer.places import Places, as_directory, destination_uri, name_places, place_list
from s3dlio.transfer.runner import Transfer
from s3dlio.transfer.select_local import check_names, expand, local_path, select_local
from s3dlio.transfer.summary import TransferSummary

if TYPE_CHECKING:
    from s3dlio.engine.session import Session


def upload(
    session: Session,
    sources: Places,
    dest: str | os.PathLike[str],
    how: TransferOptions = DEFAULTS,
    *,
    regex: bool = False,
) -> TransferSummary:
    """Store local files as objects ``dest/name``.

    A file is called by its last segment. Of a directory, the files directly in it are stored, and with ``recursive``
    the whole tree under the names relative to the directory.

    Args:
        session: whose stores and threads are used.
        sources: a path, glob or ``file://`` URI, or several; see :func:`s3dlio.transfer.select_local.expand`.
        dest: the directory (prefix) that they go to; a ``/`` is added if it ends in none.
        how: see :class:`TransferOptions`; ``recursive`` as above.
        regex: the last segment of each source is a regular expression.

    Raises:
        ObjectNotFoundError: a source is not there, or nothing was selected.
        InvalidURIError: two sources have one name, or the destination is inside a source; nothing was transferred.
        BatchError: files failed; it has every one of them.
    """
    transfer = Transfer.shared(session, lambda: _transfer(session, sources, dest, how, regex))
    return transfer.run(session, how)


def _transfer(
    session: Session, sources: Places, dest: str | os.PathLike[str], how: TransferOptions, regex: bool
) -> Transfer:
    """What is stored, after a look at what is there."""
    keep = how.filter(with_pattern=True)
    destination = destination_uri(dest, of_upload=True)
    given = place_list(sources)
    roots = expand(given, recursive=how.recursive, regex=regex)
    check_names(roots, how.recursive, keep)
    source, _ = session.store_for("file:///")
    target, prefix = session.store_for(destination)
    for place in given if not regex else ():
        check_glob_apart(source, local_path(place), target, as_directory(prefix))
    check_roots_apart(roots, source, target, as_directory(prefix))
    plan = select_local(roots, recursive=how.recursive, keep=keep)
    nothing = "No files matched for upload"
    return Transfer("UPLOAD", plan, source, name_places(given), target, prefix, destination, nothing)
