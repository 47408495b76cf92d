"""Rows of a log by columns: numbers as arrays, texts as places in the log's own text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from s3dlio.oplog.columns import BY_NAME
from s3dlio.oplog.fields import MISSING, Flags, Ints, Text, Words, hashes
from s3dlio.oplog.log_text import PAD, PADDING
from s3dlio.oplog.rows import escaped, unescaped


class Texts:
    """One column of text: nothing is decoded before it is asked for.

    Args:
        text: what the fields are in.
        starts, ends: where each one is.
        escapes: whether a backslash may stand for another character.
    """

    __slots__ = ("ends", "escapes", "starts", "text")

    def __init__(self, text: Text, starts: Ints, ends: Ints, *, escapes: bool = True) -> None:
        self.text = text
        self.starts = starts
        self.ends = ends
        self.escapes = escapes

    def __len__(self) -> int:
        return int(self.starts.size)

    def __getitem__(self, row: int) -> str:
        raw = self.text.bytes[self.starts[row] : self.ends[row]].tobytes()
        found = raw.decode("utf-8", "surrogateescape")
        return unescaped(found) if self.escapes else found

    def __iter__(self) -> Iterator[str]:
        raw = self.text.bytes.tobytes()
        escapes = self.escapes and b"\\" in raw
        for start, end in zip(self.starts.tolist(), self.ends.tolist(), strict=True):
            found = raw[start:end].decode("utf-8", "surrogateescape")
            yield unescaped(found) if escapes else found

    @property
    def are_there(self) -> Flags:
        """Which rows have any."""
        found: Flags = self.ends > self.starts
        return found

    def hashes(self, rows: Ints | None = None) -> Words:
        """64 bits for each text (of some rows), the same for the same."""
        if rows is None:
            return hashes(self.text, self.starts, self.ends)
        return hashes(self.text, self.starts[rows], self.ends[rows])

    def taken(self, rows: Any) -> Texts:
        """The column of some rows."""
        return Texts(self.text, self.starts[rows], self.ends[rows], escapes=self.escapes)


class Batch:
    """Some rows of a log.

    Attributes:
        lines: the number of each row's line in the file, from 1.
        numbers: whole numbers, times and durations (nanoseconds) by our names; ``MISSING`` where a row has none.
        texts: texts by our names, and those of unknown columns by the file's.
    """

    __slots__ = ("lines", "numbers", "texts")

    def __init__(self, lines: Ints, numbers: dict[str, Ints], texts: dict[str, Texts]) -> None:
        self.lines = lines
        self.numbers = numbers
        self.texts = texts

    def __len__(self) -> int:
        return int(self.lines.size)

    def number(self, name: str) -> Ints:
        """A column of numbers; where the log has none, ``MISSING`` in every row."""
        found = self.numbers.get(name)
        return np.full(len(self), MISSING) if found is None else found

    def taken(self, rows: Any) -> Batch:
        """Some rows: an array of their places, or of flags."""
        return Batch(
            self.lines[rows],
            {name: values[rows] for name, values in self.numbers.items()},
            {name: texts.taken(rows) for name, texts in self.texts.items()},
        )

    def rows(self, names: list[tuple[str, str]]) -> Iterator[dict[str, Any]]:
        """The rows as dictionaries.

        Args:
            names: for each entry its key, and the column.
        """
        columns: list[Any] = []
        for _, name in names:
            if name in self.numbers:
                columns.append(_python_numbers(name, self.numbers[name]))
            else:
                columns.append(self.texts[name] if name in self.texts else [None] * len(self))
        keys = [key for key, _ in names]
        for values in zip(*columns, strict=True):
            yield dict(zip(keys, values, strict=True))


def _python_numbers(name: str, values: Ints) -> list[int | None]:
    found: list[Any] = values.tolist()
    if (values < 0).any():
        wraps = BY_NAME[name].kind == "number"  # up to 64 bits, as the thread of the Rust package is
        found = [None if one == MISSING else one + (1 << 64) if one < 0 and wraps else one for one in found]
    return found


class Rows:
    """A batch that is made row by row.

    Args:
        numbers, texts: the names of the columns.
        before: text that the rows of :meth:`beside` are in, between ``PADDING``.
        escapes: whether these have escapes.
    """

    def __init__(
        self, numbers: list[str], texts: list[str], before: bytes = PADDING + PADDING, *, escapes: bool = False
    ) -> None:
        self._numbers: dict[str, list[int]] = {name: [] for name in numbers}
        self._texts: dict[str, list[tuple[int, int]]] = {name: [] for name in texts}
        self._data = bytearray(memoryview(before)[:-PAD])
        self._escapes = escapes
        self._lines: list[int] = []

    def __len__(self) -> int:
        return len(self._lines)

    def add(self, line: int, values: dict[str, Any]) -> None:
        """Add a row: numbers (None: missing), and texts (None: empty)."""
        self._lines.append(line)
        for name, numbers in self._numbers.items():
            value = values.get(name)
            numbers.append(MISSING if value is None else value if value < 1 << 63 else value - (1 << 64))
        for name, places in self._texts.items():
            text = values.get(name) or ""
            start = len(self._data)
            self._data += (escaped(text) if self._escapes else text).encode("utf-8", "surrogateescape")
            places.append((start, len(self._data)))

    def batch(self) -> Batch:
        """What has been added."""
        text = Text(bytes(self._data) + PADDING)
        texts = {}
        for name, places in self._texts.items():
            found = np.array(places, np.int64).reshape(-1, 2)
            texts[name] = Texts(text, found[:, 0].copy(), found[:, 1].copy(), escapes=self._escapes)
        numbers = {name: np.array(values, np.int64) for name, values in self._numbers.items()}
        return Batch(np.array(self._lines, np.int64), numbers, texts)

    def beside(self, other: Batch) -> Batch:
        """What has been added and the rows of another batch, whose text is ``before``, in the order of their lines."""
        mine = self.batch()
        lines = np.concatenate((mine.lines, other.lines))
        order = np.argsort(lines, kind="stable")
        numbers = {name: np.concatenate((mine.numbers[name], other.numbers[name]))[order] for name in mine.numbers}
        texts = {}
        for name, here in mine.texts.items():
            there = other.texts[name]
            starts, ends = np.concatenate((here.starts, there.starts)), np.concatenate((here.ends, there.ends))
            texts[name] = Texts(here.text, starts[order], ends[order], escapes=self._escapes)
        return Batch(lines[order], numbers, texts)
