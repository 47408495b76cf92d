"""Objects by their names, sizes and ages, found while a listing runs."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from s3dlio.errors import ConfigError
from s3dlio.rfc3339 import parse_rfc3339
from s3dlio.transfer.glob import glob_regex
from s3dlio.transfer.limits import NO_LIMITS, Limits
from s3dlio.transfer.selection import Selection
from s3dlio.types import ListEntry
from s3dlio.uri import URI

if TYPE_CHECKING:
    from s3dlio.engine.session import Session

#: Whether a name relative to the directory is wanted.
Test = Callable[[str], bool]


class FoundObject(NamedTuple):
    """One object: ``name`` is relative to the directory that was searched, ``size`` in bytes, ``last_modified``
    RFC 3339."""

    uri: str
    name: str
    size: int
    last_modified: str | None
    etag: str | None
    storage_class: str | None


class Wanted(NamedTuple):
    """What is looked for.

    Args:
        tests: all must hold for the name.
        limits: bounds of size and age.
        max_depth: how many directories below the first one, from 1 on; None: all.
    """

    tests: tuple[Test, ...] = ()
    limits: Limits = NO_LIMITS
    max_depth: int | None = None

    def __call__(self, name: str, entry: ListEntry) -> bool:
        if self.max_depth is not None and name.count("/") >= self.max_depth:
            return False
        if not all(test(name) for test in self.tests):
            return False
        if self.limits is NO_LIMITS:
            return True
        changed = parse_rfc3339(entry.last_modified) if entry.last_modified else None
        return self.limits.refusal(entry.size, changed) is None


def name_tests(
    name: str | Iterable[str] = (),
    iname: str | Iterable[str] = (),
    path: str | Iterable[str] = (),
    regex: str | None = None,
) -> tuple[Test, ...]:
    """The tests of a name; of several globs for one thing, any may match.

    Args:
        name, iname: globs for the last segment; the second with letters of any case.
        path: globs for all of the relative name, whose ``*`` also crosses ``/``.
        regex: is found anywhere in the relative name.

    Raises:
        ConfigError: the braces of a glob stand for too many texts, or ``regex`` is no regular expression.
    """
    tests: list[Test] = []
    if globs := _several(name):
        tests.append(_any([glob_regex(glob) for glob in globs], _last))
    if globs := _several(iname):
        tests.append(_any([re.compile(glob_regex(glob).pattern, re.IGNORECASE | re.DOTALL) for glob in globs], _last))
    if globs := _several(path):
        tests.append(_any([glob_regex(glob, crosses=True) for glob in globs], str))
    if regex is not None:
        try:
            search = re.compile(regex).search
        except re.error as error:
            raise ConfigError(f"invalid regular expression {regex!r}: {error}") from error
        tests.append(lambda text: search(text) is not None)
    return tuple(tests)


def _several(globs: str | Iterable[str]) -> list[str]:
    return [globs] if isinstance(globs, str) else list(globs)


def _last(name: str) -> str:
    return name.rpartition("/")[2]


def _any(patterns: list[re.Pattern[str]], part: Callable[[str], str]) -> Test:
    matches = [pattern.fullmatch for pattern in patterns]
    return lambda name: any(match(part(name)) is not None for match in matches)


def find(session: Session, uri: URI, wanted: Wanted) -> Iterator[FoundObject]:
    """The objects beneath a URI that are wanted, in the order of the listing."""
    store, key = session.store_for(uri)
    for base, page in Selection(store, key, recursive=wanted.max_depth != 1):
        start = len(base)
        for entry in page.entries:
            name = entry.key[start:]
            if wanted(name, entry):
                yield FoundObject(
                    store.uri(entry.key), name, entry.size, entry.last_modified, entry.etag, entry.storage_class
                )
