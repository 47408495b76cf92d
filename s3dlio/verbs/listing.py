"""The verbs that list: what a URI selects, page by page or name by name."""

from __future__ import annotations

import builtins
from collections.abc import Iterator

from s3dlio.engine.session import Session
from s3dlio.transfer.selection import Selection
from s3dlio.uri import URI, as_uri


def select(
    session: Session, uri: URI, *, recursive: bool = False, pattern: str | None = None, fan_out: int | None = 1
) -> Selection:
    """The objects that a URI selects, page by page (:class:`s3dlio.transfer.selection.Selection`)."""
    store, key = session.store_for(uri)
    return Selection(store, key, recursive=recursive, pattern=pattern, fan_out=fan_out)


def iterate(
    session: Session, uri: URI, recursive: bool = False, pattern: str | None = None, *, fan_out: int = 1
) -> Iterator[str]:
    """The URIs of :func:`list`, one after the other while the store lists them, in its order: in constant
    memory."""
    uri = as_uri(uri)
    store, key = session.store_for(uri)
    before = uri[: len(uri) - len(key)]
    if not key and not before.endswith("/"):
        before += "/"  # s3://bucket
    return _uris(before, Selection(store, key, recursive=recursive, pattern=pattern, fan_out=fan_out))


def list(
    session: Session, uri: URI, recursive: bool = False, pattern: str | None = None, *, fan_out: int = 1
) -> builtins.list[str]:
    """List objects.

    A URI that ends in ``/`` (or names a bucket) selects the contents of a directory; a glob, the objects whose
    whole key matches (:mod:`s3dlio.transfer.glob`); any other, the object of this very name and the directory of
    this name. Never a bare prefix. Missing objects and directories give an empty list.

    Args:
        uri: what to list.
        recursive: also what is in sub-directories, instead of entries ``sub/`` for them.
        pattern: only names, relative to the directory, in which this regular expression is found; a glob such as
            ``*.npz``, which is none, works too.
        fan_out: how many sub-directories of a recursive cloud listing are listed at a time, in the same order.

    Returns:
        Full URIs, sorted; directories end in ``/``.

    Raises:
        ConfigError: the pattern is none; nothing was requested.
        ObjectNotFoundError: there is no such bucket.
    """
    return sorted(iterate(session, uri, recursive, pattern, fan_out=fan_out))  # not all services sort


def list_keys(session: Session, uri: URI, recursive: bool = False, pattern: str | None = None) -> builtins.list[str]:
    """The names of :func:`list`, relative to the directory that is listed."""
    return sorted(
        name[len(base) :]
        for base, page in select(session, uri, recursive=recursive, pattern=pattern)
        for name in (*page.keys, *page.prefixes)
        if len(name) > len(base)
    )


def list_full_uris(
    session: Session, uri: URI, recursive: bool = False, pattern: str | None = None
) -> builtins.list[str]:
    """The same as :func:`list`."""
    return list(session, uri, recursive, pattern)


def _uris(before: str, selection: Selection) -> Iterator[str]:
    for _, page in selection:
        names = sorted([*page.keys, *page.prefixes]) if page.prefixes else page.keys
        for name in names:
            yield before + name
