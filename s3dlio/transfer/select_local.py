"""Local files as the source of a transfer: paths, globs, a regular expression on request, whole trees.

A plain path is a plain path, dots and brackets included. Everything that is met is transferred or spoken of: sockets,
fifos, devices, links in a loop, dangling links, unreadable directories, names that are not UTF-8.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from s3dlio import uri as uris
from s3dlio.errors import ConfigError, InvalidURIError, ObjectNotFoundError, S3dlioError
from s3dlio.foreign_errors import from_os_error
from s3dlio.stores.local.atomic import is_unfinished
from s3dlio.transfer.glob import Glob, find_local, is_glob
from s3dlio.transfer.plan import Filter, Item, Plan, Refused, Skipped
from s3dlio.transfer.selection import pattern_finder
from s3dlio.transfer.stream_entry import Entry
from s3dlio.wording import recursively

_KINDS = ((stat.S_ISSOCK, "a socket"), (stat.S_ISFIFO, "a fifo"), (stat.S_ISBLK, "a block device"),
          (stat.S_ISCHR, "a character device"))  # fmt: skip


class Root(NamedTuple):
    """One source as the user named it: a file and its name at the destination, or a directory and the prefix of the
    names beneath it."""

    path: str
    name: str
    is_directory: bool


def local_path(source: str | os.PathLike[str]) -> str:
    """The path that a source names: a path, or a ``file://`` or ``direct://`` URI.

    Raises:
        InvalidURIError: empty, with a NUL, or a URI of a cloud.
        TypeError: neither a str nor a PathLike.
    """
    text = os.fspath(source)
    if not isinstance(text, str):
        raise TypeError(f"a source is a str or a PathLike of str, not {type(source).__name__}")
    if uris.has_scheme(text):
        location = uris.parse(text)
        if location.scheme not in uris.LOCAL_SCHEMES:
            raise InvalidURIError(
                "the source of an upload is a local path", uri=text, hint="between two stores, use copy (s3-cli cp)"
            )
        text = location.key
    if not text or "\x00" in text:
        raise InvalidURIError("the path is empty" if not text else "a NUL character cannot be in a path", uri=text)
    return text


def file_uri(path: str) -> str:
    """The URI of a local path, for messages."""
    return "file://" + path


def expand(sources: Iterable[str | os.PathLike[str]], *, recursive: bool = False, regex: bool = False) -> list[Root]:
    """The files and directories that ``sources`` name.

    Args:
        sources: paths. A path that exists is that path; any other may be a glob (:mod:`s3dlio.transfer.glob`).
            ``file://`` URIs are understood.
        recursive: directories that a glob finds are wanted, too, and names are relative to the part before the
            wildcard; otherwise only files are, and their name is their last segment.
        regex: the last segment of a path that is no directory is a regular expression, found anywhere in the names
            of the files beside it. So it is without ``regex`` where it begins with ``^`` or ends in ``$``, and there
            is no such path: a form of older scripts.

    Raises:
        ObjectNotFoundError: nothing is there.
        ConfigError: the regular expression does not compile.
        InvalidURIError, TypeError: what was given is no path.
    """
    roots: list[Root] = []
    for source in sources:
        path = local_path(source)
        if regex and not os.path.isdir(path):
            found = list(_matching(path))
        elif os.path.lexists(path):
            found = [_root(path)]
        elif _is_anchored(path.rpartition("/")[2]):
            found = list(_matching(path))
        elif is_glob(path):
            found = list(_globbed(path, recursive))
        else:
            meant = uris.likely_meant(path)
            hint = f"did you mean {meant}?" if meant else None
            raise ObjectNotFoundError("there is no such file or directory", uri=file_uri(path), hint=hint)
        if not found:
            raise ObjectNotFoundError("No files matched for upload", uri=file_uri(path))
        roots += found
    if not roots:
        raise ConfigError("No files matched for upload: the list of sources is empty")
    return list(dict.fromkeys(roots))  # what two globs find is meant once


def _is_anchored(name: str) -> bool:
    return name[:1] == "^" or name[-1:] == "$"


def _root(path: str) -> Root:
    if os.path.isdir(path):
        return Root(path, "", True)
    return Root(path, os.path.basename(path), False)


def _globbed(pattern: str, recursive: bool) -> Iterator[Root]:
    start = len(Glob.of(pattern).base)
    for path in find_local(pattern):
        relative = path[start:]
        if os.path.isdir(path):
            # Without `recursive` only files are meant; a directory is skipped with a warning, by its root.
            if recursive and "**" not in pattern:  # `**` finds what is beneath a directory by itself
                yield Root(path, relative + "/", True)
        else:
            yield Root(path, relative if recursive else os.path.basename(path), False)


def _matching(path: str) -> Iterator[Root]:
    directory, _, last = path.rpartition("/")
    directory = directory or ("/" if path.startswith("/") else "")
    matches = pattern_finder(last)
    try:
        names = sorted(os.listdir(directory or "."))
    except OSError as error:
        raise from_os_error(error, uri=file_uri(directory), operation="LIST") from error
    for name in names:
        full = os.path.join(directory, name)
        if matches(name) and not os.path.isdir(full):
            yield Root(full, name, False)


def check_names(roots: Sequence[Root], recursive: bool, keep: Filter) -> None:
    """Refuse sources of which two would have one name at the destination.

    Names within a directory are unique, so one directory needs no look; of several, one is walked and the others are
    asked for each name, which needs no memory for the names.

    Raises:
        InvalidURIError: naming both.
    """
    files: dict[str, str] = {}
    for root in roots:
        if root.is_directory or not keep(root.name):
            continue
        if (other := files.setdefault(root.name, root.path)) is not root.path:
            raise _same_name(root.name, other, root.path)
    directories = [root for root in roots if root.is_directory]
    for root in directories:
        for name, path in files.items():
            if name.startswith(root.name) and (beneath := _beneath(root, name)) and recursive >= ("/" in name):
                raise _same_name(name, path, beneath)
    for position, root in enumerate(directories):
        others = directories[position + 1 :]
        for entry in walk(root, recursive, keep) if others else ():
            for other_root in others:
                if isinstance(entry, Item) and (beneath := _beneath(other_root, entry.name)):
                    raise _same_name(entry.name, entry.key, beneath)


def _beneath(root: Root, name: str) -> str | None:
    """The file in ``root`` that has ``name`` at the destination, if there is one."""
    if not name.startswith(root.name):
        return None
    path = os.path.join(root.path, name[len(root.name) :])
    return path if os.path.isfile(path) else None


def _same_name(name: str, first: str, second: str) -> InvalidURIError:
    return InvalidURIError(
        f"{first} and {second} would both be stored as '{name}'",
        hint=f"upload them separately, or a directory above both with {recursively()}; nothing was transferred",
    )


def select_local(
    roots: Sequence[Root], *, recursive: bool = False, keep: Filter | None = None, into_links: bool = True
) -> Plan:
    """The files of ``roots``, one after the other.

    Args:
        roots: as of :func:`expand`.
        recursive: the whole tree of a directory, and not just the files in it.
        keep: which names are wanted.
        into_links: as of :func:`walk`.
    """
    keep = keep or Filter()
    for root in roots:
        if root.is_directory:
            yield from walk(root, recursive, keep, into_links)
        elif keep(root.name):
            yield _look(root.path, root.name)


class _Level(NamedTuple):
    """A directory that is being walked."""

    path: str
    name: str  # what the names beneath it begin with
    left: Iterator[str]  # its entries still to come, directories with a `/` at the end
    above: tuple[tuple[int, int], ...]  # (device, inode) of it and of those that lead here: a link to one is a loop


def walk(root: Root, recursive: bool, keep: Filter, into_links: bool = True) -> Plan:
    """Every file beneath a directory, in the order of their names as object stores have it (``a-b`` before ``a/b``).

    Links are followed; a link back to a directory above it is refused, and without ``into_links`` a link to any
    directory is: what is deleted beneath it would be missing elsewhere. Memory grows with the names of one directory.
    """
    levels: list[_Level] = []
    yield from _enter(levels, root.path, root.name, ())
    while levels:
        level = levels[-1]
        entry = next(level.left, None)
        if entry is None:
            levels.pop()
        elif not entry.endswith("/"):
            name = level.name + entry
            if keep(name):
                yield _look(os.path.join(level.path, entry), name)
        elif not keep.prunes(level.name + entry):
            path = os.path.join(level.path, entry[:-1])
            if not recursive:
                yield Skipped(file_uri(path), "it is a directory; use -r / recursive=True to transfer it")
            elif not into_links and os.path.islink(path):
                yield Refused(file_uri(path), _leads_away(path))
            else:
                yield from _enter(levels, path, level.name + entry, level.above)


def _enter(levels: list[_Level], path: str, name: str, above: tuple[tuple[int, int], ...]) -> Iterator[Refused]:
    """Put a directory on top of ``levels``, or yield why not."""
    if (bad := _bad_name(path)) is not None:
        yield bad
        return
    try:
        about = os.stat(path)
        identity = (about.st_dev, about.st_ino)
        if identity in above:
            yield Refused(file_uri(path), _loop(path))
            return
        with os.scandir(path) as entries:
            names = sorted(entry.name + "/" if _leads_down(entry) else entry.name for entry in entries)
    except OSError as error:
        yield Refused(file_uri(path), from_os_error(error, uri=file_uri(path), operation="LIST"))
        return
    levels.append(_Level(path, name, iter(names), (*above, identity)))


def _leads_down(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself; looked at as a file, it says so
        return False


def _look(path: str, name: str) -> Entry:
    try:
        return _examine(path, name, os.stat(path))
    except OSError as error:
        return _unreachable(path, error)


def _examine(path: str, name: str, about: os.stat_result) -> Entry:
    if (bad := _bad_name(path)) is not None:
        return bad
    if (kind := special_kind(about.st_mode)) is not None:
        return Refused(file_uri(path), not_a_file(path, kind))
    if is_unfinished(os.path.basename(path)):
        return Skipped(file_uri(path), "it is what an interrupted write left behind")
    return Item(name, path, about.st_size, None, about.st_mtime_ns)


def _bad_name(path: str) -> Refused | None:
    if path.isascii():
        return None
    try:
        path.encode()
    except UnicodeEncodeError:
        return Refused(
            file_uri(path),
            InvalidURIError(
                "the name is not UTF-8, so no object can be called so", uri=file_uri(path), hint="rename the file"
            ),
        )
    return None


def special_kind(mode: int) -> str | None:
    """What a file that is no file is, in words; None for a regular file."""
    if stat.S_ISREG(mode):
        return None
    return next((words for test, words in _KINDS if test(mode)), "no regular file")


def not_a_file(path: str, kind: str) -> S3dlioError:
    """The error for a path at which no regular file is."""
    return InvalidURIError(f"it is {kind}, and only regular files can be transferred", uri=file_uri(path))


def _unreachable(path: str, error: OSError) -> Refused:
    typed = from_os_error(error, uri=file_uri(path), operation="READ")
    with contextlib.suppress(OSError):  # no link, or gone by now
        typed.hint = f"it is a link to {os.readlink(path)!r}"
    return Refused(file_uri(path), typed)


def _loop(path: str) -> S3dlioError:
    return InvalidURIError(
        "it is a link to a directory above it, which would never end",
        uri=file_uri(path),
        hint="exclude it, or name the directory it leads to",
    )


def _leads_away(path: str) -> S3dlioError:
    return InvalidURIError(
        "it is a link to a directory, and what is there would be missing where it belongs",
        uri=file_uri(path),
        hint="exclude it and copy it instead, or name the directory it leads to",
    )
