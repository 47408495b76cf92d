"""The indexes of tar archives (WebDataset's shards): stored beside them, or found by their headers, and kept."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Sequence
from functools import partial
from typing import IO, NamedTuple

from s3dlio import api
from s3dlio.client import Client
from s3dlio.coroutines import coroutine_of
from s3dlio.engine.batch import each
from s3dlio.engine.session import Session
from s3dlio.errors import CorruptDataError, ObjectNotFoundError, S3dlioError
from s3dlio.forking import ForkLock
from s3dlio.formats.tar import BLOCK, ZEROS, TarMember, scan_tar
from s3dlio.formats.tar_index import TarIndex, parse_tar_index
from s3dlio.loader.stretches import read_stretches
from s3dlio.memory.view import BytesView
from s3dlio.transfer import many
from s3dlio.uri import URI, uri_or_path
from s3dlio.verbs import files, objects

_log = logging.getLogger(__name__)

#: Members of all archives together whose places are kept: about 100 MB.
_KEPT = 500_000


def index_uri(uri: str) -> str:
    """The index of an archive, as DALI names it: ``shard.idx`` beside ``shard.tar``."""
    return f"{uri.removesuffix('.tar')}.idx"


def create_tar_index(tar: URI, index: URI | None = None, *, client: Client | None = None) -> int:
    """Write the index of a tar archive, by which ``get_batch`` and loaders find its members without reading it.

    It is the text of NVIDIA DALI's ``wds2idx`` (v1.2), which DALI's reader of WebDataset takes, too.

    Args:
        tar: the archive, uncompressed.
        index: the index; default: the archive's name with ``.idx`` in the place of ``.tar``.
        client: whose settings and connections are used; default: those of the package.

    Returns:
        How many members there are.

    Raises:
        CorruptDataError: the archive is damaged, cut off or compressed; no index is written.
    """
    session = client or api.default_client()
    uri = uri_or_path(tar)
    found = scan(session, uri)
    session.put_bytes(index_uri(uri) if index is None else uri_or_path(index), found.to_text().encode())
    known_indexes().forget(uri)
    return len(found)


def read_tar_index(index: URI, *, client: Client | None = None) -> list[tuple[str, int, int]]:
    """The members that a stored index names: (name, offset, size), in the order of the archive.

    Raises:
        CorruptDataError: it is none, or has no names.
    """
    session = client or api.default_client()
    uri = uri_or_path(index)
    return [(name, offset, size) for name, offset, size in _parsed(uri, session.get(uri))]


create_tar_index_async = coroutine_of(create_tar_index, __name__)
read_tar_index_async = coroutine_of(read_tar_index, __name__)


class Known(NamedTuple):
    """An index, and the version of the archive that was looked through for it; None of an index that was stored."""

    members: TarIndex
    version: str | None


def load_indexes(session: Session, uris: Sequence[str]) -> dict[str, Known | BaseException]:
    """The index of each of these archives, or the error in its place: that which is stored beside it, if it ends where
    the archive does; otherwise the archive's headers are read."""
    found: dict[str, TarIndex] = {}
    texts = dict(many.get_many(session, [index_uri(uri) for uri in uris], 64, keep_going=True))
    for uri in uris:
        index = _usable(uri, texts[index_uri(uri)])
        if index is not None:
            found[uri] = index
    # What follows the last member must be the mark that ends an archive, or the index is that of another one.
    ends = read_stretches(session, [(uri, index.end, BLOCK) for uri, index in found.items()], 64)
    for (uri, _, _), data in ends.items():
        if data != ZEROS:
            _log.warning("%s is not the index of %s: its headers are read instead", index_uri(uri), uri)
            del found[uri]
    stored = {uri: Known(index, None) for uri, index in found.items()}
    return stored | scan_all(session, [uri for uri in uris if uri not in found])


def scan_all(session: Session, uris: Sequence[str]) -> dict[str, Known | BaseException]:
    """The indexes of archives, found by their headers, several at a time; or the errors in their places."""

    def look_through(uri: str) -> Known:
        version = _version(session, uri)  # as it was before, so that a change meanwhile is seen later
        return Known(scan(session, uri), version)

    return each(session.executor, look_through, uris)


def _version(session: Session, uri: str) -> str:
    about = objects.head(session, uri)
    return f"{about.etag} {about.size} {about.last_modified}"


def scan(session: Session, uri: str) -> TarIndex:
    """The index of an archive, found by its headers: what lies between them is read only where that is quicker.

    Raises:
        CorruptDataError: it is no archive, or damaged, or cut off.
        ObjectNotFoundError, ...: it cannot be read.
    """
    with files.open(session, uri, "rb") as file:
        try:
            return TarIndex(_walk(file))
        except S3dlioError as error:
            error.locate(uri, "INDEX")
            raise


def _walk(file: IO[bytes]) -> list[TarMember]:
    size = file.seek(0, 2)
    steps = scan_tar(size)
    try:
        wanted = next(steps)
        while True:
            file.seek(wanted[0])
            wanted = steps.send(file.read(wanted[1]))
    except StopIteration as stop:
        members: list[TarMember] = stop.value
        return members


def _parsed(uri: str, text: BytesView) -> TarIndex:
    try:
        return parse_tar_index(text.decode("utf-8", "surrogateescape"))
    except CorruptDataError as error:
        error.locate(uri, "INDEX")
        raise


def _usable(uri: str, text: BytesView | BaseException) -> TarIndex | None:
    """The index in a text that was read, if there is one."""
    if isinstance(text, ObjectNotFoundError):
        return None
    try:
        if isinstance(text, BytesView):
            return _parsed(index_uri(uri), text)
        problem: BaseException = text
    except CorruptDataError as error:
        problem = error
    _log.warning("the index of %s cannot be used, its headers are read instead: %s", uri, problem)
    return None


class TarIndexes:
    """The indexes that a process keeps, those used last. Safe to share among threads.

    Args:
        capacity: members of all archives together.
    """

    def __init__(self, capacity: int = _KEPT) -> None:
        self._capacity = capacity
        self._members = 0
        self._indexes: OrderedDict[str, Known] = OrderedDict()
        self._lock = ForkLock()

    def of(self, session: Session, uris: Sequence[str]) -> dict[str, TarIndex | BaseException]:
        """The index of each archive, or the error in its place; loaded where it is not known."""
        found: dict[str, TarIndex | BaseException] = {}
        with self._lock:
            for uri in uris:
                if (known := self._indexes.get(uri)) is not None:
                    self._indexes.move_to_end(uri)
                    found[uri] = known.members
        missing = [uri for uri in uris if uri not in found]
        return found | self._keep(load_indexes(session, missing)) if missing else found

    def renewed(self, session: Session, uris: Sequence[str]) -> dict[str, TarIndex | BaseException]:
        """Those of archives that were not looked through yet, or are others by now, by their headers."""
        versions = each(session.executor, partial(_version, session), uris)
        with self._lock:
            old = {uri: known.version for uri in uris if (known := self._indexes.get(uri)) is not None}
        return self._keep(scan_all(session, [uri for uri in uris if old.get(uri) != versions[uri]]))

    def forget(self, uri: str) -> None:
        """Forget an archive."""
        with self._lock:
            self._drop(uri)

    def _drop(self, uri: str) -> None:
        known = self._indexes.pop(uri, None)
        self._members -= 0 if known is None else len(known.members)

    def _keep(self, found: dict[str, Known | BaseException]) -> dict[str, TarIndex | BaseException]:
        with self._lock:
            for uri, known in found.items():
                self._drop(uri)
                if isinstance(known, Known):
                    self._indexes[uri] = known
                    self._members += len(known.members)
            while self._members > self._capacity and len(self._indexes) > 1:
                self._drop(next(iter(self._indexes)))
        return {uri: known.members if isinstance(known, Known) else known for uri, known in found.items()}


_known = TarIndexes()


def known_indexes() -> TarIndexes:
    """Those of this process."""
    return _known
