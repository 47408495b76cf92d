"""The index of a tar archive: its members by name, and the text that NVIDIA DALI reads (``wds2idx``).

The text has a line ``v1.2 SAMPLES``, and for each sample a line with ``extension offset size name`` for each of its
files. There, files that belong to no sample stand on lines of their own. Names with white space are percent-encoded,
which the first line then says: ``v1.2 SAMPLES quoted``.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import NamedTuple
from urllib.parse import quote, unquote

from s3dlio.errors import CorruptDataError
from s3dlio.formats.tar import BLOCK, TarMember, TarSample, padded, split_name, tar_samples

_VERSION = "v1.2"
_QUOTED = "quoted"
_NO_EXTENSION = "-"


class Place(NamedTuple):
    """Where a member lies: its headers begin at ``start``, its data at ``offset``."""

    start: int
    offset: int
    size: int


class TarIndex:
    """The regular files of an archive.

    Args:
        members: in the order of the archive.

    Raises:
        CorruptDataError: they cannot lie as they say.
    """

    def __init__(self, members: Iterable[TarMember]) -> None:
        self.names: list[str] = []
        self._offsets, self._sizes = array("Q"), array("Q")
        before = 0
        for name, offset, size in members:
            if offset < before + BLOCK or offset % BLOCK:
                raise CorruptDataError(f"the index of a tar archive has {name!r} at offset {offset}, before {before}")
            self.names.append(name)
            self._offsets.append(offset)
            self._sizes.append(size)
            before = offset + padded(size)
        #: Where the mark begins that ends the archive.
        self.end = before
        self._by_name: dict[str, int] | None = None

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[TarMember]:
        return map(TarMember, self.names, self._offsets, self._sizes)

    def find(self, name: str) -> Place | None:
        """Where the member ``name`` lies, with or without ``./`` before it; of several, the last one."""
        by_name = self._by_name
        if by_name is None:
            by_name = self._by_name = {each: position for position, each in enumerate(self.names)}
        position = by_name.get(name, -1)
        if position < 0:
            position = by_name.get(name[2:] if name.startswith("./") else f"./{name}", -1)
        if position < 0:
            return None
        start = self._offsets[position - 1] + padded(self._sizes[position - 1]) if position else 0
        return Place(start, self._offsets[position], self._sizes[position])

    def samples(self) -> Iterator[TarSample]:
        """The samples of WebDataset, in order."""
        return tar_samples(self)

    def to_text(self) -> str:
        """The index as DALI reads it."""
        quoted = any(len(name.split()) != 1 or "%" in name or not name.isprintable() for name in self.names)
        lines = []
        for _, group in groupby(enumerate(self), lambda numbered: _key(*numbered)):
            lines.append(" ".join([_file(member, quoted=quoted) for _, member in group]))
        return "\n".join([f"{_VERSION} {len(lines)}{f' {_QUOTED}' * quoted}", *lines, ""])


def parse_tar_index(text: str) -> TarIndex:
    """The index that a text has.

    Raises:
        CorruptDataError: it is none, or one without names (``v1.0`` and ``v1.1``).
    """
    first, *lines = text.removesuffix("\n").split("\n")
    version, *rest = first.split() or [""]
    if version != _VERSION or not rest or not rest[0].isdigit() or int(rest[0]) != len(lines):
        raise CorruptDataError(
            f"this is no whole index of a tar archive with names ({_VERSION}): it begins {first[:60]!r}",
            hint="make it by create_tar_index",
        )
    quoted = _QUOTED in rest[1:]
    members = []
    for number, line in enumerate(lines, 2):
        fields = line.split(" ") if quoted else line.split()
        if len(fields) % 4:
            raise CorruptDataError(f"line {number} of the tar index has {len(fields)} fields, not four for each file")
        for offset, size, name in zip(fields[1::4], fields[2::4], fields[3::4], strict=True):
            if not all(each.isascii() and each.isdigit() and len(each) < 20 for each in (offset, size)):
                raise CorruptDataError(f"line {number} of the tar index has no offset and size of {name[:80]!r}")
            if quoted:
                name = unquote(name, errors="surrogateescape")
            members.append(TarMember(name, int(offset), int(size)))
    return TarIndex(members)


def _key(position: int, member: TarMember) -> tuple[str | None, int]:
    """What the files of one line have in common."""
    split = split_name(member.name)
    return (None, position) if split is None else (split[0], -1)


def _file(member: TarMember, *, quoted: bool) -> str:
    name = member.name
    split = split_name(name)
    extension = (
        name[len(split[0]) + 1 :] if split else ""
    ) or _NO_EXTENSION  # as it is written: DALI tells cases apart
    if quoted:
        name, extension = (quote(each, safe="/~+=,:@!$&'()*;", errors="surrogateescape") for each in (name, extension))
    return f"{extension} {member.offset} {member.size} {name}"
