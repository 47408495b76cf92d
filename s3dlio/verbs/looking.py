"""The verbs that look for objects by what is known of them, and that compare directories."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from s3dlio.engine.cancel import CancelToken
from s3dlio.engine.session import Session
from s3dlio.errors import ConfigError
from s3dlio.uri import URI
from s3dlio.wording import option

if TYPE_CHECKING:
    from s3dlio.transfer.check import Checked, CheckSummary
    from s3dlio.transfer.find import FoundObject


def find(
    session: Session,
    uri: URI,
    *,
    name: str | Iterable[str] = (),
    iname: str | Iterable[str] = (),
    path: str | Iterable[str] = (),
    regex: str | None = None,
    min_size: int | str | None = None,
    max_size: int | str | None = None,
    min_age: Any = None,
    max_age: Any = None,
    max_depth: int | None = None,
) -> Iterator[FoundObject]:
    """Find objects by name, size and age, one after the other while they are listed. All that is given must hold.

    Args:
        uri: a directory, with all beneath it; a glob or an object works too.
        name: a glob for the last segment of names, or several, any of which may match.
        iname: the same with letters of any case.
        path: a glob for the name relative to the directory, or several; its ``*`` also crosses ``/``.
        regex: a regular expression that is found in the relative name.
        min_size, max_size: bytes, or text such as ``"1MiB"``.
        min_age, max_age: an age such as ``"7d"`` (seconds, ``timedelta``) or a date: objects that were last changed
            before it, and not before it.
        max_depth: 1: only what is directly in the directory, and so on.

    Raises:
        ConfigError: something of it cannot be understood; nothing was listed.
    """
    from s3dlio.transfer.find import Wanted, find, name_tests
    from s3dlio.transfer.limits import limits

    if max_depth is not None and (isinstance(max_depth, bool) or not isinstance(max_depth, int) or max_depth < 1):
        raise ConfigError(f"max_depth must be an integer of at least 1, got {max_depth!r}")
    bounds = limits(min_size=min_size, max_size=max_size, min_age=min_age, max_age=max_age)
    return find(session, uri, Wanted(name_tests(name, iname, path, regex), bounds, max_depth))


def check(
    session: Session,
    src: str | os.PathLike[str],
    dst: str | os.PathLike[str],
    *,
    download: bool = False,
    one_way: bool = False,
    size_only: bool = False,
    pattern: str | None = None,
    include: Iterable[str] = (),
    exclude: Iterable[str] = (),
    max_in_flight: int = 32,
    cancel: CancelToken | None = None,
    on_checked: Callable[[Checked], None] | None = None,
) -> CheckSummary:
    """Compare two directories on any two schemes, without changing anything: which names are missing on either side,
    and which objects differ in size or checksum.

    Checksums are those that the services keep (CRC32C, MD5, ETags of S3), and that of a local file is computed. Where
    both sides have none in common, an object is ``unchecked``.

    Args:
        src, dst: directories: URIs or local paths.
        download: read all bytes of both sides instead, and compare their CRC32C.
        one_way: what only ``dst`` has is no difference.
        size_only: compare names and sizes only: no requests but listings.
        pattern: only names in which this regular expression is found; a glob works too.
        include, exclude: globs: only names that match, no names that match.
        max_in_flight: how many objects at a time.
        cancel: stops it from another thread.
        on_checked: called with every name and its verdict, as they are known.

    Returns:
        The counts, and all that is not the same (``differences``); ``identical`` where there is none.

    Raises:
        ConfigError: ``download`` and ``size_only`` at once.
        ObjectNotFoundError: there is no such directory, or nothing on either side.
    """
    from s3dlio.transfer.check import check
    from s3dlio.transfer.plan import Filter

    if download and size_only:
        two = f"{option('download')} and {option('size_only')}"
        raise ConfigError(f"{two} are two ways to compare", hint="leave one of them out")
    return check(
        session, src, dst, download=download, one_way=one_way, size_only=size_only,
        keep=Filter(include, exclude, pattern), max_in_flight=max_in_flight, cancel=cancel, on_checked=on_checked,
    )  # fmt: skip
