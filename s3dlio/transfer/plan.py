"""What a transfer is about: its items one after the other, what is refused or skipped, and which are wanted.

A plan is an iterator, never a list: a tree of fifty million objects is walked while it is transferred.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from s3dlio.errors import S3dlioError
from s3dlio.rfc3339 import parse_rfc3339
from s3dlio.transfer.glob import glob_regex
from s3dlio.transfer.selection import pattern_finder


class Item(NamedTuple):
    """One object to transfer.

    Args:
        name: what it is called relative to the selection, with ``/`` between segments: the destination's name.
        key: its key in the source's store (a path, where that is local).
        size: bytes, as the listing told.
        etag: as the service wrote it, None for local files.
        modified: nanoseconds since 1970, or RFC 3339 text.
    """

    name: str
    key: str
    size: int
    etag: str | None = None
    modified: int | str | None = None

    @property
    def mtime_ns(self) -> int | None:
        """Nanoseconds since 1970; parsed on request only, since most transfers never ask."""
        return parse_rfc3339(self.modified) if isinstance(self.modified, str) else self.modified

    @property
    def stamp(self) -> str:
        """What changes when the object does."""
        return f"{self.size} {self.etag or self.modified}"


class Refused(NamedTuple):
    """Something that was selected but can never be transferred; it counts as failed, and the others go on."""

    uri: str
    error: S3dlioError


class Skipped(NamedTuple):
    """Something that is left out by rule (a sub-directory without ``recursive``); never silently, unless ``expected``
    because it holds nothing (a folder marker)."""

    uri: str
    reason: str
    expected: bool = False


Entry = Item | Refused | Skipped
Plan = Iterator[Entry]


class Filter:
    """Which names of a selection are wanted.

    Args:
        include: globs of which a name must match one, if there are any.
        exclude: globs of which a name must match none.
        pattern: a regular expression that must be found in the name; a glob will do, see :func:`pattern_finder`.

    In these globs ``*`` also crosses ``/``. One without ``/`` is matched against the last segment, one with ``/``
    against the whole name, and one that ends in ``/`` takes everything beneath that directory.

    Raises:
        ConfigError: the braces of a glob stand for too many texts, or ``pattern`` is neither of the two.
    """

    def __init__(
        self, include: Iterable[str] = (), exclude: Iterable[str] = (), pattern: str | None = None
    ) -> None:
        exclude = list(several_patterns(exclude))
        self._include = [_matcher(glob) for glob in several_patterns(include)]
        self._exclude = [_matcher(glob) for glob in exclude]
        self._prune = [_matcher(glob) for glob in exclude if glob.endswith(("/", "*"))]
        self._find = pattern_finder(pattern) if pattern is not None else None

    def __call__(self, name: str) -> bool:
        if self._include and not any(match(name) for match in self._include):
            return False
        if self._find is not None and not self._find(name):
            return False
        return not any(match(name) for match in self._exclude)

    def prunes(self, directory: str) -> bool:
        """Whether everything beneath ``directory`` (a name that ends in ``/``) is excluded. Only a glob that matches
        whatever follows can tell."""
        return any(match(directory) for match in self._prune)


def several_patterns(patterns: Iterable[str]) -> Iterable[str]:
    """Globs; a single one may be given as it is."""
    return (patterns,) if isinstance(patterns, str) else patterns


def _matcher(glob: str) -> Callable[[str], bool]:
    text = glob.lstrip("/") + ("*" if glob.endswith("/") else "")
    if "/" not in glob:
        match = glob_regex(text).fullmatch
        return lambda name: match(name.rpartition("/")[2]) is not None
    if "/" not in glob.strip("/") and glob.endswith("/"):  # a directory of that name at any depth
        text = "**/" + text
    whole = glob_regex(text, crosses=True).fullmatch
    return lambda name: whole(name) is not None
