"""Fields of delimited text, many at a time: where they are, the numbers and times in them, and hashes of texts.

Nothing here looks at one row after another. A field is looked at as 64-bit words of eight characters each: eight digits
become a number with three multiplications, so a million rows of 13 columns take less than a second of CPU time. Fields
that are not of the usual form are pointed out (``odd``), and read one by one elsewhere.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from s3dlio.oplog.log_text import PAD
from s3dlio.oplog.rows import TIMES, parse_time

Ints = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint64]
Flags = npt.NDArray[np.bool_]

#: A number or time that a row does not have.
MISSING = int(np.iinfo(np.int64).min)
_U = np.uint64
_ZEROS = _U(0x3030303030303030)
_HIGH = _U(0xF0F0F0F0F0F0F0F0)
_SIX = _U(0x0606060606060606)
_EVEN = _U(0x000000FF000000FF)
#: Of a word, the first n characters.
_FIRST = np.array([(1 << (8 * n)) - 1 for n in range(9)], _U)
#: Of a word, the last n characters.
_LAST = np.array([((1 << (8 * n)) - 1) << (64 - 8 * n) for n in range(9)], _U)
_SECOND = 1_000_000_000
#: Bytes that are looked through at a time: they stay in the CPU's cache.
_SLICE = 128 << 10


class Text:
    """A piece of text.

    Args:
        padded: the text, between ``PADDING``.
    """

    __slots__ = ("bytes", "padded", "words")

    def __init__(self, padded: bytes) -> None:
        self.padded = padded
        self.bytes: npt.NDArray[np.uint8] = np.frombuffer(padded, np.uint8)
        #: The eight characters from each place on, the first one lowest.
        self.words: Words = np.ndarray((len(padded) - 7,), "<u8", padded, 0, (1,))


class Table(NamedTuple):
    """Where the fields of a text are.

    Attributes:
        starts, ends: for each column the places of its fields, one for each row.
        lines: the number of each row's line in the text, from 0.
        odd: lines with another number of fields: number, start, end.
        size: how many lines there are.
    """

    starts: list[Ints]
    ends: list[Ints]
    lines: Ints
    odd: list[tuple[int, int, int]]
    size: int


def find(text: Text, separator: int, columns: int) -> Table:
    """Divide the lines of a text, which ends with a line end, into fields."""
    data = text.bytes
    found = np.concatenate([_separators(data, separator, place) for place in range(0, data.size, _SLICE)])
    last = found[columns - 1 :: columns]
    if found.size == columns * last.size and (data[last] == 10).all() and text.padded.count(b"\n") == last.size:
        ends = np.ascontiguousarray(found.reshape(-1, columns).T)
        begins = np.concatenate(([PAD], last[:-1] + 1))
        return _table(data, begins, ends, np.arange(last.size), [], last.size)
    line_ends = np.flatnonzero(data[found] == np.uint8(10))
    counts = np.diff(line_ends, prepend=-1)
    begins = np.concatenate(([PAD], found[line_ends[:-1]] + 1))
    is_whole = counts == columns
    others = np.flatnonzero(~is_whole)
    odd = list(zip(others.tolist(), begins[others].tolist(), found[line_ends[others]].tolist(), strict=True))
    ends = found[line_ends[is_whole][None, :] - np.arange(columns - 1, -1, -1)[:, None]]
    return _table(data, begins[is_whole], ends, np.flatnonzero(is_whole), odd, counts.size)


def _table(
    data: npt.NDArray[np.uint8], begins: Ints, ends: Ints, lines: Ints, odd: list[tuple[int, int, int]], size: int
) -> Table:
    starts = [begins, *(ends[:-1] + 1)]
    last = list(ends)
    if ends.size and data[ends[-1][0] - 1] == 13:  # lines that end as on Windows
        last[-1] = ends[-1] - (data[ends[-1] - 1] == 13)
    return Table(starts, last, lines, odd, size)


def _separators(data: npt.NDArray[np.uint8], separator: int, place: int) -> Ints:
    """Where fields end in a slice of text."""
    part = data[place : place + _SLICE]
    if separator == 9:  # the line end is the next character
        return np.flatnonzero((part - np.uint8(9)) < np.uint8(2)) + place
    return np.flatnonzero((part == np.uint8(separator)) | (part == np.uint8(10))) + place


def _eight(words: Words) -> Words:
    """The numbers that eight digits each are."""
    found = words - _ZEROS
    found = found * _U(10) + (found >> _U(8))
    low = (found & _EVEN) * _U(0x000F424000000064)
    return (low + ((found >> _U(16)) & _EVEN) * _U(0x0000271000000001)) >> _U(32)


def _are_digits(words: Words) -> Flags:
    found: Flags = ((words & _HIGH) == _ZEROS) & (((words + _SIX) & _HIGH) == _ZEROS)
    return found


def numbers(text: Text, starts: Ints, ends: Ints) -> tuple[Ints, Flags | None]:
    """Whole numbers of up to 20 digits, as 64 bits; ``MISSING`` for empty fields.

    Returns:
        The numbers, and which fields are of another form (None: none).
    """
    lengths = ends - starts
    values = np.zeros(lengths.size, _U)
    good = np.ones(lengths.size, np.bool_)
    most = int(lengths.max(initial=0))
    scale = 1
    for behind in range(0, min(most, 20), 8):
        kept = np.minimum(np.maximum(lengths - behind, 0), 8)
        mask = _LAST[kept]
        word = (text.words[ends - behind - 8] & mask) | (_ZEROS & ~mask)
        good &= _are_digits(word)
        values += _eight(word) * _U(scale)
        scale *= 10**8
    good &= lengths <= 20
    signed: Ints = values.view(np.int64)
    if (lengths == 0).any():
        signed = np.where(lengths == 0, MISSING, signed)
    return signed, None if good.all() else ~good


def nanoseconds(values: Ints, odd: Flags | None, scale: int, bounds: range) -> tuple[Ints, Flags | None]:
    """What :func:`numbers` found, which are ``scale`` nanoseconds each; those out of bounds are odd, too."""
    large = (values < 0) | (values > bounds[-1] // scale)  # 64 bits without a sign
    if not large.any():
        return values * scale, odd
    missing = values == MISSING
    large &= ~missing
    found: Ints = np.where(missing, MISSING, np.where(large, 0, values) * scale)
    return found, large if odd is None else large | odd


def times(text: Text, starts: Ints, ends: Ints, scale: int) -> tuple[Ints, Flags | None]:
    """Moments: RFC 3339 times, or whole numbers that are ``scale`` nanoseconds each; ``MISSING`` for empty fields.

    Returns:
        Nanoseconds since 1970, and which fields are of another form (None: none).
    """
    there = ends > starts
    if not there.all() or not there.size:
        values = np.full(starts.size, MISSING)
        if not there.any():
            return values, None
        some, odd = times(text, starts[there], ends[there], scale)
        values[there] = some
        if odd is None:
            return values, None
        where = np.zeros(starts.size, np.bool_)
        where[there] = odd
        return values, where
    is_text = text.bytes[starts + 4] == ord("-")
    if is_text.all():
        return _rfc3339(text, starts, ends)
    if not is_text.any():
        return nanoseconds(*numbers(text, starts, ends), scale, TIMES)
    return np.zeros(starts.size, np.int64), np.ones(starts.size, np.bool_)


def _rfc3339(text: Text, starts: Ints, ends: Ints) -> tuple[Ints, Flags | None]:
    lengths = ends - starts
    is_utc = text.bytes[ends - 1] == ord("Z")
    zone = np.where(is_utc, 1, 6)
    digits = np.maximum(lengths - zone - 20, 0)
    good = (lengths - zone >= 19) & (lengths - zone != 20) & (digits <= 9)
    seconds = text.words[starts + 16]
    tens, ones = (seconds >> _U(8)) & _U(0xFF), (seconds >> _U(16)) & _U(0xFF)
    good &= ((seconds & _U(0xFF)) == ord(":")) & (tens - _U(48) < _U(6)) & (ones - _U(48) < _U(10))
    good &= (digits == 0) | (((seconds >> _U(24)) & _U(0xFF)) == ord("."))
    mask = _FIRST[np.minimum(digits, 8)]
    fraction = (text.words[starts + 20] & mask) | (_ZEROS & ~mask)
    good &= _are_digits(fraction)
    ninth = np.where(digits >= 9, text.bytes[starts + 28] - np.uint8(48), 0)
    good &= ninth < 10
    minutes, known = _minutes(text, starts)
    good &= known
    nanos = (_eight(fraction) * _U(10)).view(np.int64) + ninth
    values: Ints = minutes + ((tens * _U(10) + ones).view(np.int64) - 528) * _SECOND + nanos
    if not is_utc.all():
        offset, known = _offsets(text, ends, is_utc)
        good &= known
        values = values - offset
    return values, None if good.all() else ~good


def _minutes(text: Text, starts: Ints) -> tuple[Ints, Flags]:
    """What the first 16 characters of times, up to their minutes, say. Most are those of the row before."""
    days, hours = text.words[starts], text.words[starts + 8]
    changes = np.flatnonzero((days[1:] != days[:-1]) | (hours[1:] != hours[:-1])) + 1
    firsts = np.concatenate(([0], changes))
    if firsts.size * 8 > starts.size > 64:  # logs of several places, one row of each in turn
        mixed = days * _U(0x9E3779B97F4A7C15) ^ hours
        _, firsts, back = np.unique(mixed, return_index=True, return_inverse=True)
    else:
        back = np.repeat(np.arange(firsts.size), np.diff(firsts, append=starts.size))
    raw = text.bytes
    found = [_minute(raw[place : place + 16].tobytes()) for place in starts[firsts].tolist()]
    known = np.array([one is not None for one in found])
    return np.array([one or 0 for one in found], np.int64)[back], known[back]


@lru_cache(4096)
def _minute(text: bytes) -> int | None:
    try:
        found = int(datetime.strptime(text.decode(), "%Y-%m-%dT%H:%M").replace(tzinfo=UTC).timestamp()) * _SECOND
    except ValueError:
        return None
    return found if found in TIMES else None


def _offsets(text: Text, ends: Ints, is_utc: Flags) -> tuple[Ints, Flags]:
    """How far the zones of times (``+02:00``) are ahead, in nanoseconds."""
    words = np.where(is_utc, _U(0), text.words[ends - 8] >> _U(16))
    kinds, back = np.unique(words, return_inverse=True)
    found = [0 if not word else _zone(int(word).to_bytes(6, "little")) for word in kinds.tolist()]
    known = np.array([one is not None for one in found])
    return np.array([one or 0 for one in found], np.int64)[back], known[back]


def _zone(text: bytes) -> int | None:
    try:
        return -parse_time(f"1970-01-01T00:00:00{text.decode()}")
    except ValueError:
        return None


def hashes(text: Text, starts: Ints, ends: Ints) -> Words:
    """A 64-bit hash of each field: of its words of eight characters, the last one of which ends where it does."""
    lengths = ends - starts
    found = lengths.astype(_U) * _U(0xD6E8FEB86659FD93)
    if not lengths.size:
        return found
    least, most = int(lengths.min()), int(lengths.max())
    words = text.words
    last = ends - 8
    found = _mixed(found, words[starts] if least >= 8 else words[starts] & _FIRST[np.minimum(lengths, 8)])
    rows: Ints | None = None  # those that are not at their ends, where these are few
    for place in range(8, most, 8):
        if place < least:
            at = starts + place
            found = _mixed(found, words[at if place + 8 <= least else np.minimum(at, last)])
            continue
        rows = np.flatnonzero(lengths > place) if rows is None else rows[lengths[rows] > place]
        found[rows] = _mixed(found[rows], words[np.minimum(starts[rows] + place, last[rows])])
    return found


def _mixed(found: Words, word: Words) -> Words:
    found ^= word
    found *= _U(0x9E3779B97F4A7C15)
    found ^= found >> _U(29)
    return found
