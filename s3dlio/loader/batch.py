"""One call for a batch: whole objects, stretches of objects and members of tar archives, with errors one by one."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Any

from s3dlio import api
from s3dlio.coroutines import coroutine_of
from s3dlio.engine.admission import check_width
from s3dlio.engine.session import Session
from s3dlio.errors import (
    CorruptDataError,
    IntegrityError,
    ObjectNotFoundError,
    RangeNotSatisfiableError,
    S3dlioError,
)
from s3dlio.formats.tar import tar_members
from s3dlio.formats.tar_index import Place, TarIndex
from s3dlio.loader.stretches import NO_PINS, Found, Pins, Stretch, read_stretches
from s3dlio.loader.tar_shards import known_indexes
from s3dlio.memory.caller_buffer import without_frames
from s3dlio.memory.view import BytesView
from s3dlio.stores.checks import check_range
from s3dlio.transfer import many
from s3dlio.uri import URI, as_uri

#: A URI; (URI, offset, length) for a stretch of the object; or (URI, name) for a member of a tar archive.
BatchEntry = URI | tuple[URI, int, int] | tuple[URI, str]
_Member = tuple[str, str]


def get_batch(
    entries: Iterable[BatchEntry], max_in_flight: int = 64, *, client: Session | None = None
) -> list[tuple[Any, BytesView | BaseException]]:
    """Read a batch, of any schemes, in the order of ``entries``. A failure stops nothing.

    Small stretches and members that lie near each other are read by one request. Where the members of an archive lie
    is looked up once: in its index, ``shard.idx`` beside ``shard.tar`` (``create_tar_index``), or, where that is not
    there or does not fit, by its headers. What is read is checked against the header that lies before it.

    Args:
        entries: each a URI; (URI, offset, length) for a stretch, all of which must be there; or (URI, name) for
            a member of a tar archive. Equal ones are read once.
        max_in_flight: how many requests at a time.
        client: whose settings and connections are used; default: those of the package.

    Returns:
        (entry, data) for each of ``entries``; in the place of the data stands the error where it could not be read:
        ObjectNotFoundError, IntegrityError (the object ends before the stretch does), CorruptDataError (the archive is
        damaged), ...

    Raises:
        InvalidURIError, TypeError, RangeNotSatisfiableError: an entry is none; nothing was read.
    """
    return read_batch(client or api.default_client(), entries, max_in_flight)


def read_batch(
    session: Session, entries: Iterable[BatchEntry], max_in_flight: int = 64, pins: Pins = NO_PINS
) -> list[tuple[Any, BytesView | BaseException]]:
    """As :func:`get_batch`; ``pins``: the versions of objects that stretches are meant of."""
    width = check_width(max_in_flight)
    given = [_checked(session, number, entry) for number, entry in enumerate(_several(entries))]
    unique = dict.fromkeys(given)
    found: dict[Any, Found] = {}
    if whole := [entry for entry in unique if isinstance(entry, str)]:
        for uri, data in many.get_many(session, whole, width, keep_going=True):
            found[uri] = without_frames(data) if isinstance(data, BaseException) else data
    if members := [entry for entry in unique if isinstance(entry, tuple) and len(entry) == 2]:
        found |= _read_members(session, members, width)
    if stretches := [entry for entry in unique if isinstance(entry, tuple) and len(entry) == 3]:
        found |= read_stretches(session, stretches, width, pins)
    return [(entry, found[entry]) for entry in given]


get_batch_async = coroutine_of(get_batch, __name__)


# -- members of archives


def _read_members(session: Session, members: Sequence[_Member], width: int) -> dict[Any, Found]:
    """The bytes of these members, or the error in their place."""
    indexes = known_indexes()
    known = indexes.of(session, list(dict.fromkeys(uri for uri, _ in members)))
    found = _read_known(session, members, known, width)
    # Perhaps the archive was replaced, or its stored index does not name all of it: once more, by its headers.
    indexed = [member for member in members if isinstance(known[member[0]], TarIndex)]
    doubtful = [member for member in indexed if isinstance(found[member], _DOUBTFUL)]
    if doubtful:
        renewed = indexes.renewed(session, list(dict.fromkeys(uri for uri, _ in doubtful)))
        found |= _read_known(session, [member for member in doubtful if member[0] in renewed], renewed, width)
    return {member: _named(member, data) for member, data in found.items()}


class _Missing(Exception):
    """The index has no such member."""


#: What an index of another archive leads to.
_DOUBTFUL = (_Missing, CorruptDataError, IntegrityError, RangeNotSatisfiableError)


def _read_known(
    session: Session, members: Sequence[_Member], known: dict[str, TarIndex | BaseException], width: int
) -> dict[Any, Found]:
    found: dict[Any, Found] = {}
    stretches: dict[_Member, tuple[Stretch, Place]] = {}
    for member in members:
        uri, name = member
        index = known[uri]
        if isinstance(index, BaseException):
            found[member] = index
        elif (place := index.find(name)) is None:
            found[member] = _Missing()
        else:
            stretches[member] = (uri, place.start, place.offset + place.size - place.start), place
    read = read_stretches(session, list(dict.fromkeys(stretch for stretch, _ in stretches.values())), width)
    for member, (stretch, place) in stretches.items():
        data = read[stretch]
        found[member] = data if isinstance(data, BaseException) else _checked_member(member, data, place)
    return found


def _checked_member(member: _Member, data: BytesView, place: Place) -> Found:
    """The member's bytes out of a stretch that begins with its headers, if it is that member."""
    begin = place.offset - place.start
    try:
        last = tar_members(data, whole=False)[-1:]
    except S3dlioError as error:
        return without_frames(error)
    name = member[1].removeprefix("./")
    if not last or last[0][1:] != (begin, place.size) or last[0].name.removeprefix("./") != name:
        return CorruptDataError("the archive has another member at the place that its index names")
    return data[begin:]


def _named(member: _Member, data: Found) -> Found:
    uri, name = member
    if isinstance(data, _Missing):
        return ObjectNotFoundError(f"the archive has no member {name!r}", uri=uri, operation="GET_RANGE")
    if isinstance(data, S3dlioError):
        data.locate(uri, "GET_RANGE")
    return data


# -- entries


def _several(entries: Iterable[BatchEntry]) -> Iterable[BatchEntry]:
    if isinstance(entries, str | os.PathLike):
        raise TypeError("expected several entries (a list), not a single one")
    return entries


def _checked(session: Session, number: int, entry: Any) -> Any:
    """An entry in its plain form: text, and tuples of text and integers."""
    if not isinstance(entry, tuple):
        return _object(session, entry)
    if len(entry) == 2:
        uri, name = entry
        if not isinstance(name, str):
            raise TypeError(f"entry {number}: the name of a member is a str, not {type(name).__name__}")
        return _object(session, uri), name
    if len(entry) != 3:
        raise TypeError(
            f"entry {number} is a URI, (uri, offset, length), or (uri, name of a member), not {len(entry)} items"
        )
    uri, offset, length = _object(session, entry[0]), entry[1], entry[2]
    check_range(uri, offset, length)
    return uri, int(offset), int(length)


def _object(session: Session, uri: Any) -> str:
    name = uri if type(uri) is str else as_uri(uri)
    store, key = session.store_for(name)
    store.check_key(key, "GET")
    return name
