"""Logs as tables: fields between tabs or commas, below a line with the names of the columns."""

from __future__ import annotations

import csv
from collections.abc import Collection, Iterator
from typing import Any

import numpy as np

from s3dlio.oplog.batch import Batch, Rows, Texts
from s3dlio.oplog.columns import BY_NAME, Match
from s3dlio.oplog.fields import Flags, Ints, Text, find, nanoseconds, numbers, times
from s3dlio.oplog.log_text import Block
from s3dlio.oplog.rows import DURATIONS, unescaped
from s3dlio.oplog.values import from_text

_QUOTE = ord('"')


class Table:
    """Reads the rows of a table.

    Args:
        found: which of its columns are which of ours.
        separator: between fields.
        wanted: the columns to read; None: all, those that are unknown too.
    """

    def __init__(self, found: Match, separator: str, wanted: Collection[str] | None = None) -> None:
        self._match = found
        self._separator = separator
        #: Fields with quotes, as programs write that make tables with a CSV library. Ours escapes, and quotes nothing.
        self._quotes = separator != "\t" or "cat" in found.places
        self._escapes = separator == "\t"
        places = dict(found.places)
        if wanted is None:
            places.update((name, found.names.index(name)) for name in found.unknown)
        else:
            places = {name: place for name, place in places.items() if name in wanted}
        self._numbers = [name for name in places if name in found.places and BY_NAME[name].kind != "text"]
        self._texts = [name for name in places if name not in self._numbers]
        self._places = places

    def read(self, block: Block, first_line: int) -> tuple[Batch, list[tuple[int, str]], int]:
        """The rows of whole lines.

        Returns:
            The rows, for each line that is none its number and what is wrong with it, and how many lines there are.
        """
        text = Text(block.padded)
        table = find(text, ord(self._separator), len(self._match.names))
        bad: Flags | None = None
        columns: dict[str, Ints] = {}
        for name in self._numbers:
            place = self._places[name]
            kind, scale = BY_NAME[name].kind, self._match.scales[name]
            starts, ends = table.starts[place], table.ends[place]
            if kind == "time":
                columns[name], odd = times(text, starts, ends, scale)
            else:
                columns[name], odd = numbers(text, starts, ends)
                if kind == "duration":
                    columns[name], odd = nanoseconds(columns[name], odd, scale, DURATIONS)
            bad = odd if bad is None else bad if odd is None else bad | odd
        texts = {name: Texts(text, table.starts[self._places[name]], table.ends[self._places[name]],
                             escapes=self._escapes) for name in self._texts}  # fmt: skip
        if self._quotes and b'"' in block.padded:
            for one in texts.values():
                quoted = text.bytes[one.starts] == _QUOTE
                bad = quoted if bad is None else bad | quoted
        batch = Batch(table.lines + first_line, columns, texts)
        if not table.odd and (bad is None or not bad.any()):
            return batch, [], table.size
        spans = [(line + first_line, start, end) for line, start, end in table.odd]
        if bad is not None and bad.any():
            rows = np.flatnonzero(bad)
            firsts, lasts = table.starts[0][rows], table.ends[-1][rows]
            spans += zip(batch.lines[rows].tolist(), firsts.tolist(), lasts.tolist(), strict=True)
            batch = batch.taken(~bad)
        return *self._with_odd(batch, text, sorted(spans)), table.size

    def _with_odd(
        self, batch: Batch, text: Text, spans: list[tuple[int, int, int]]
    ) -> tuple[Batch, list[tuple[int, str]]]:
        """The rows, and those of lines that are read one by one."""
        rows = Rows(self._numbers, self._texts, text.padded, escapes=self._escapes)
        wrong: list[tuple[int, str]] = []
        for line, content in self._joined(text, spans):
            if not content.strip() or content.startswith("#"):  # warp ends its logs with comments
                continue
            try:
                rows.add(line, self._values(content))
            except (ValueError, csv.Error) as error:
                wrong.append((line, str(error)))
        return rows.beside(batch) if len(rows) else batch, wrong

    def _joined(self, text: Text, spans: list[tuple[int, int, int]]) -> Iterator[tuple[int, str]]:
        """The lines, those together that a quoted line end divides."""
        begun: list[str] = []
        first = last = 0
        for line, start, end in spans:
            content = text.bytes[start:end].tobytes().decode("utf-8", "surrogateescape").rstrip("\r")
            if begun and line != last + 1:
                yield first, "\n".join(begun)
                begun.clear()
            if not begun:
                first = line
            begun.append(content)
            last = line
            if not self._quotes or sum(part.count('"') for part in begun) % 2 == 0:
                yield first, "\n".join(begun)
                begun.clear()
        if begun:
            yield first, "\n".join(begun)

    def _values(self, line: str) -> dict[str, Any]:
        separator = self._separator
        fields = next(csv.reader([line], delimiter=separator)) if self._quotes else line.split(separator)
        if len(fields) != len(self._match.names):
            raise ValueError(f"it has {len(fields)} columns instead of {len(self._match.names)}")
        values: dict[str, Any] = {}
        for name, place in self._places.items():
            if name in self._numbers:
                values[name] = from_text(BY_NAME[name], self._match.scales[name], fields[place])
            else:
                values[name] = unescaped(fields[place]) if self._escapes else fields[place]
        return values
