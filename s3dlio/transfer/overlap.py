"""A source and a destination that overlap are refused: such a transfer would never end, or lose data."""

from __future__ import annotations

import os
from collections.abc import Sequence

from s3dlio.errors import InvalidURIError
from s3dlio.stores.base import ObjectStore
from s3dlio.transfer.glob import Glob, is_glob
from s3dlio.transfer.places import as_directory
from s3dlio.transfer.select_local import Root
from s3dlio.uri import LOCAL_SCHEMES, is_directory_like


def check_apart(source: ObjectStore, source_key: str, target: ObjectStore, prefix: str) -> None:
    """Refuse a directory that is copied into itself or onto itself: it would never end, or lose data.

    Raises:
        InvalidURIError: it is.
    """
    if source.scheme in LOCAL_SCHEMES and target.scheme in LOCAL_SCHEMES:
        inner, outer = _real(prefix), _real(source_key)
    elif source.root == target.root:
        inner, outer = prefix, as_directory(source_key)
    else:
        return
    if inner.startswith(outer):
        itself = "the destination is the source itself"
        raise InvalidURIError(
            itself if inner == outer else f"it is inside {source.uri(as_directory(source_key))}, the other side",
            uri=target.uri(prefix), hint="name another destination; nothing was transferred",
        )  # fmt: skip


def check_glob_apart(source: ObjectStore, glob: str, target: ObjectStore, prefix: str) -> None:
    """Refuse a glob whose matches are copied to where they match again: that would copy copies, too.

    Raises:
        InvalidURIError: they are.
    """
    if source.scheme in LOCAL_SCHEMES and target.scheme in LOCAL_SCHEMES:
        if os.path.lexists(glob):
            return
        glob, prefix = os.path.abspath(glob), as_directory(os.path.abspath(prefix))
    elif source.root != target.root:
        return
    if glob and not is_directory_like(glob) and is_glob(glob) and Glob.of(glob).may_match_beneath(prefix):
        raise InvalidURIError(
            f"the glob {source.uri(glob)} matches what would be copied there",
            uri=target.uri(prefix), hint="name another destination; nothing was transferred",
        )  # fmt: skip


def check_not_itself(source: ObjectStore, source_key: str, target: ObjectStore, key: str) -> None:
    """Refuse an object that is copied onto itself.

    Raises:
        InvalidURIError: it is.
    """
    if source.scheme in LOCAL_SCHEMES and target.scheme in LOCAL_SCHEMES:
        same = os.path.realpath(source_key) == os.path.realpath(key)
    else:
        same = (source.root, source_key) == (target.root, key)
    if same:
        raise InvalidURIError("the destination is the source itself", uri=target.uri(key))


def check_roots_apart(roots: Sequence[Root], source: ObjectStore, target: ObjectStore, prefix: str) -> None:
    """:func:`check_apart` for local sources, files among them.

    Raises:
        InvalidURIError: a directory is copied into itself, or a file onto itself.
    """
    for root in roots:
        if root.is_directory:
            check_apart(source, root.path, target, prefix)
        else:
            check_not_itself(source, root.path, target, prefix + root.name)


def check_moved_apart(roots: Sequence[Root], target: ObjectStore, prefix: str) -> None:
    """Refuse local directories one of which would move into another one that moves, too: over what is there.

    Raises:
        InvalidURIError: one would.
    """
    directories = [_real(root.path) for root in roots if root.is_directory]
    if target.scheme not in LOCAL_SCHEMES or len(directories) < 2:
        return
    outer = _real(prefix)
    for inner in directories:
        name = inner.removeprefix(outer).rstrip("/")
        if inner.startswith(outer) and any(os.path.lexists(one + name) for one in directories if one != inner):
            raise InvalidURIError(
                "another directory would move into this one, which moves, too", uri=f"file://{inner}",
                hint="move them one by one; nothing was transferred",
            )  # fmt: skip


def _real(path: str) -> str:
    return as_directory(os.path.realpath(path or "."))
