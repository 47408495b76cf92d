"""The files under a path, in the order of their keys, one at a time: memory grows with one directory, not the tree."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from typing import NamedTuple

from s3dlio.stores.local.atomic import is_unfinished


class _Level(NamedTuple):
    """A directory that is being walked: its path with ``/`` at the end, and what is left of it."""

    base: str
    names: Iterator[str]
    links: frozenset[str]  # the sub-directories that are symbolic links


def walk(prefix: str, recursive: bool, start_after: str = "") -> Iterator[str]:
    """The keys that start with ``prefix`` and come after ``start_after``: files, and directories with a ``/``.

    Only without ``recursive`` are directories yielded; with it they are entered. The order is that of the whole keys,
    as object stores have it (``a-b`` before ``a/x``). Links to directories are followed, but not into a directory that
    the way there has already passed; dangling links, links to themselves and special files are left out: they cannot be
    read. A directory that does not exist, or vanishes, has no files.

    Raises:
        OSError: a directory cannot be read; its path is the error's ``filename``.
    """
    base, slash, start = prefix.rpartition("/")
    levels = [_level(base + slash, start)]
    while levels:
        level = levels[-1]
        for name in level.names:
            key = level.base + name
            if name[-1] != "/":
                if key > start_after:
                    yield key
            elif not recursive:
                if key > start_after or (start_after.startswith(key) and start_after != key):
                    yield key
            elif key > start_after or start_after.startswith(key):
                if name in level.links and _loops(key, levels):
                    continue
                levels.append(_level(key, ""))
                break
        else:
            levels.pop()


def _level(base: str, start: str) -> _Level:
    names: list[str] = []
    links: list[str] = []
    with contextlib.suppress(FileNotFoundError, NotADirectoryError), os.scandir(base or ".") as entries:
        for entry in entries:
            name = entry.name
            if start and not name.startswith(start):
                continue
            try:
                if entry.is_dir():
                    name += "/"
                    if entry.is_symlink():
                        links.append(name)
                elif not entry.is_file() or is_unfinished(name):
                    continue
            except OSError as error:
                if error.errno != errno.ELOOP:
                    raise
                continue  # a link to itself leads nowhere
            names.append(name)
    names.sort()
    return _Level(base, iter(names), frozenset(links))


def _loops(path: str, levels: list[_Level]) -> bool:
    """Whether ``path`` is one of the directories that are being walked."""
    try:
        return any(os.path.samefile(path, level.base or ".") for level in levels)
    except FileNotFoundError:
        return True  # gone meanwhile: nothing to enter
