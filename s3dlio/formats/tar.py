"""Tar archives: where their members lie, found by their headers alone, and the samples of WebDataset in them; no I/O.

A member is a header of 512 bytes and its data, padded to 512; headers before it may tell its long name or its size
(GNU ``L``, POSIX ``x``, Solaris ``X``). Two blocks of zeros end an archive. Whatever cannot be understood is an error:
the archive is never read as a shorter one.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterable, Iterator
from typing import NamedTuple

from s3dlio.errors import CorruptDataError, UnsupportedOperationError
from s3dlio.memory.buffers import byte_view
from s3dlio.memory.view import BytesView
from s3dlio.types import Payload

BLOCK = 512
ZEROS = bytes(BLOCK)
#: The most bytes of a long name, or of POSIX's records, that a member may have.
_MOST_TOLD = 1 << 20
_FILES = frozenset(b"07\0")
_WITHOUT_DATA = frozenset(b"123456")
_GLOBAL, _POSIX, _SOLARIS, _LONG_NAME, _LONG_LINK, _SPARSE = b"gxXLKS"
#: WebDataset's own split: what precedes the first dot of a file's name, and what follows.
_SPLIT = re.compile(r"((?:.*/|)[^.]+)[.]([^/]*)", re.DOTALL)


class TarMember(NamedTuple):
    """A regular file of an archive: its name, and where its data lies, in bytes."""

    name: str
    offset: int
    size: int


class TarSample(NamedTuple):
    """A sample of a WebDataset shard: what its files' names have in common, and the stretch that all of them are in,
    headers included: ``[start, end)``."""

    key: str
    start: int
    end: int


Scan = Generator[tuple[int, int], Payload, list[TarMember]]
"""Asks for stretches (offset, length) of an archive, is sent each, and returns the members."""


def scan_tar(size: int, *, whole: bool = True) -> Scan:
    """Find the regular files of an archive.

    Args:
        size: bytes of the archive.
        whole: it must end as archives do; otherwise it is a stretch that ends with its last member.

    Raises:
        CorruptDataError: it is no archive, or damaged, or cut off; the message has the offset.
        UnsupportedOperationError: it has sparse files.
    """
    members: list[TarMember] = []
    told: dict[str, str] = {}
    at = 0
    while whole or at < size:
        if at + BLOCK > size:
            raise _cut_off(at, size)
        block = bytes(byte_view((yield at, BLOCK)))
        if block == ZEROS:
            return members
        kind, name, length = _header(block, at)
        at += BLOCK
        if kind in (_POSIX, _SOLARIS, _LONG_NAME, _LONG_LINK, _GLOBAL):
            if length > min(_MOST_TOLD, size - at):
                raise _damaged(at - BLOCK, f"{length} bytes of names")
            told |= _told(kind, bytes(byte_view((yield at, length))), at)
        else:
            name, length = _settled(told, name, length, at)
            told = {}
            if kind == _SPARSE:
                raise UnsupportedOperationError(f"the tar archive has a sparse file at offset {at - BLOCK}: {name!r}")
            if kind in _FILES and not name.endswith("/"):  # before POSIX, a directory was a file of such a name
                members.append(TarMember(name, at, length))
            elif kind in _WITHOUT_DATA:
                length = 0
        if at + length > size:
            raise _cut_off(at, size)
        at += padded(length)
    return members


def padded(length: int) -> int:
    """The bytes that so many take up in an archive."""
    return -(-length // BLOCK) * BLOCK


def tar_members(data: Payload, *, whole: bool = True) -> list[TarMember]:
    """The regular files of an archive in memory, in order; parameters and errors as of ``scan_tar``."""
    view = byte_view(data)
    scan = scan_tar(len(view), whole=whole)
    try:
        wanted = next(scan)
        while True:
            wanted = scan.send(view[wanted[0] : sum(wanted)])
    except StopIteration as stop:
        members: list[TarMember] = stop.value
        return members


def iter_tar(data: Payload) -> Iterator[tuple[str, BytesView]]:
    """Name and bytes of each regular file of an archive in memory, in order, without a copy; errors as of
    ``scan_tar``."""
    view = byte_view(data)
    for name, offset, size in tar_members(view):
        yield name, BytesView(view[offset : offset + size])


# -- samples


def split_name(name: str) -> tuple[str, str] | None:
    """The key and the extension of a file of a sample, as WebDataset splits them at the first dot of the last part;
    None of files that belong to none: without a key, without a dot, or named ``__like_this__``."""
    found = _SPLIT.fullmatch(name)
    if found is None or (name.startswith("__") and name.endswith("__")):
        return None
    return found[1], found[2].lower()


def tar_samples(members: Iterable[TarMember]) -> Iterator[TarSample]:
    """The samples of an archive: members that follow each other and have their key in common. The headers of a member
    begin where the one before it ends."""
    key, start, end, before = None, 0, 0, 0
    for name, offset, size in members:
        split = split_name(name)
        if split is not None:
            if split[0] != key:
                if key is not None:
                    yield TarSample(key, start, end)
                key, start = split[0], before
            end = offset + size
        before = offset + padded(size)
    if key is not None:
        yield TarSample(key, start, end)


def decode_tar_sample(stretch: Payload) -> dict[str, str | BytesView]:
    """The files of one sample by their extensions, and its ``__key__``, without a copy.

    Args:
        stretch: the bytes of a ``TarSample``.

    Raises:
        CorruptDataError: these are not the files of one sample, whole; or two of them have the same extension.
    """
    view = byte_view(stretch)
    sample: dict[str, str | BytesView] = {}
    end = 0
    for name, offset, size in tar_members(view, whole=False):
        split = split_name(name)
        if split is None:
            continue
        key, extension = split
        if sample.setdefault("__key__", key) != key:
            raise CorruptDataError(f"files of the samples {sample['__key__']!r} and {key!r} where one sample should be")
        if extension in sample:
            raise CorruptDataError(f"the sample {key!r} has two files {extension!r}")
        end = offset + size
        sample[extension] = BytesView(view[offset:end])
    if not sample or end != len(view):
        raise CorruptDataError(f"a sample ends after {end} bytes, not after {len(view)}")
    return sample


# -- headers


def _header(block: bytes, at: int) -> tuple[int, str, int]:
    """Type, name and size of a header."""
    stored = _number(block[148:156], at)
    # The checksum's own field counts as spaces; some old programs added up signed bytes.
    total = sum(block) - sum(block[148:156]) + 8 * 32
    if stored != total and stored != total - 256 * sum(byte > 127 for byte in (*block[:148], *block[156:])):
        compressed = at == 0 and block.startswith((b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"BZh", b"\xfd7zXZ"))
        raise _damaged(at, "it is compressed" if compressed else "the checksum of the header is wrong")
    name = block[:100]
    if block[257:263] == b"ustar\0" and block[345]:
        name = block[345:500].split(b"\0", 1)[0] + b"/" + name
    return block[156], _text(name), _number(block[124:136], at)


def _number(field: bytes, at: int) -> int:
    """A number in octal digits, or in binary where its first bit is set."""
    if field[0] & 0x80:
        if field[0] != 0x80:
            raise _damaged(at, "a size is negative")
        return int.from_bytes(field[1:], "big")
    digits = field.split(b"\0", 1)[0].strip()
    if not all(0x30 <= digit <= 0x37 for digit in digits):
        raise _damaged(at, "a number of the header is none")
    return int(digits or b"0", 8)


def _text(name: bytes) -> str:
    return name.split(b"\0", 1)[0].decode("utf-8", "surrogateescape")


def _told(kind: int, data: bytes, at: int) -> dict[str, str]:
    """What the data of an extra header says of the next member."""
    if kind == _LONG_NAME:
        return {"path": _text(data)}
    return _records(data, at) if kind in (_POSIX, _SOLARIS) else {}


def _records(data: bytes, at: int) -> dict[str, str]:
    """POSIX's records: ``length key=value``, where the length is that of all."""
    records = {}
    begin = 0
    while begin < len(data):
        length, _, rest = data[begin : begin + 24].partition(b" ")
        end = begin + int(length) if length.isdigit() and rest else begin
        key, equals, value = data[begin + len(length) + 1 : end].partition(b"=")
        if end <= begin or end > len(data) or not equals or value[-1:] != b"\n":
            raise _damaged(at, "a record about the next member is none")
        records[key.decode("utf-8", "replace")] = value[:-1].decode("utf-8", "surrogateescape")
        begin = end
    return records


def _settled(told: dict[str, str], name: str, length: int, at: int) -> tuple[str, int]:
    """Name and size of a member, by its header and by what was told before it."""
    if any(key.startswith("GNU.sparse") for key in told):
        raise UnsupportedOperationError(f"the tar archive has a sparse file before offset {at}: {name!r}")
    size = told.get("size")
    if size is not None and not (size.isascii() and size.isdigit() and len(size) < 20):
        raise _damaged(at, f"a size of {size[:40]!r}")
    return told.get("path", name), length if size is None else int(size)


def _damaged(at: int, what: str) -> CorruptDataError:
    return CorruptDataError(
        f"this is no tar archive, or it is damaged at offset {at}: {what}",
        hint="members of a compressed archive cannot be read one by one" if what == "it is compressed" else "",
    )


def _cut_off(at: int, size: int) -> CorruptDataError:
    return CorruptDataError(
        f"the tar archive is cut off: a member begins before offset {at}, and its {size} bytes end before that does, "
        "or there is no end mark",
        hint="archives end with two blocks of zeros; was it written to its end?",
    )
