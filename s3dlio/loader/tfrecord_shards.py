"""Where the records of TFRecord files are: by the indexes that are stored beside them, or by their frames."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from functools import partial

from s3dlio.engine.batch import each
from s3dlio.engine.session import Session
from s3dlio.errors import CorruptDataError, ObjectNotFoundError, S3dlioError
from s3dlio.formats.tfrecord import FRAMING, Entry, parse_index, truncated_record
from s3dlio.memory.view import BytesView
from s3dlio.transfer import many
from s3dlio.verbs import files

_log = logging.getLogger(__name__)

_LENGTH = 8
_GZIP = b"\x1f\x8b\x08"


def load_record_indexes(session: Session, sizes: Mapping[str, int]) -> dict[str, list[Entry] | BaseException]:
    """(offset, size with framing) of the records of each file, or the error in their place: by the index of
    ``create_tfrecord_index``, ``uri + ".idx"``, if it is that of all of the file; otherwise by the file's frames.

    Args:
        session: what reads them.
        sizes: bytes of each file, by URI.
    """
    uris = list(sizes)
    texts = many.get_many(session, [f"{uri}.idx" for uri in uris], 64, keep_going=True)
    found: dict[str, list[Entry] | BaseException] = {}
    for uri, (_, text) in zip(uris, texts, strict=True):
        if (entries := _usable(uri, sizes[uri], text)) is not None:
            found[uri] = entries
    return found | each(session.executor, partial(scan_records, session), [uri for uri in uris if uri not in found])


def _usable(uri: str, size: int, text: BytesView | BaseException) -> list[Entry] | None:
    """The records that an index names, if it names all of the file."""
    if isinstance(text, ObjectNotFoundError):
        return None
    problem: object = text
    if isinstance(text, BytesView):
        try:
            entries = parse_index(text)
        except CorruptDataError as error:
            problem = error
        else:
            if _covers(entries, size):
                return entries
            problem = f"it is not the index of a file of {size} bytes"
    _log.warning("%s.idx cannot be used, the file is looked through instead: %s", uri, problem)
    return None


def _covers(entries: Sequence[Entry], size: int) -> bool:
    """Whether each record begins where the one before it ends, up to the end of the file."""
    at = 0
    for offset, length in entries:
        if offset != at or length < FRAMING:
            return False
        at += length
    return at == size


def scan_records(session: Session, uri: str) -> list[Entry]:
    """The records of a file by their frames: what lies between them is read only where that is quicker.

    Raises:
        CorruptDataError: the file ends within a record.
    """
    entries: list[Entry] = []
    with files.open(session, uri, "rb") as file:
        size, at = file.seek(0, 2), 0
        while at < size:
            file.seek(at)
            head = file.read(_LENGTH)
            length = int.from_bytes(head, "little") + FRAMING
            if at + length > size:
                raise _cut_off(uri, at, length, size - at, head)
            entries.append((at, length))
            at += length
    return entries


def _cut_off(uri: str, at: int, length: int, left: int, head: bytes) -> S3dlioError:
    error = truncated_record(at, length, left)
    error.locate(uri, "INDEX")
    if at == 0 and head.startswith(_GZIP):
        error.add_note("the file is compressed: records of such files cannot be read one by one")
    return error
