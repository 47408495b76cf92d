"""Logs with one JSON object a line."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any

from s3dlio.oplog.batch import Batch, Rows
from s3dlio.oplog.columns import COLUMNS, Column, known
from s3dlio.oplog.log_text import Block
from s3dlio.oplog.values import from_json


class JsonLines:
    """Reads the rows of JSON lines. Each may have keys of its own.

    Args:
        wanted: the columns to read; None: all, those that are unknown too.
    """

    def __init__(self, wanted: Collection[str] | None = None) -> None:
        self._wanted = wanted
        self._known: dict[str, tuple[Column, int] | None] = {}
        #: The keys that mean nothing here, in the order in which they came.
        self.unknown: dict[str, None] = {}

    def read(self, block: Block, first_line: int) -> tuple[Batch, list[tuple[int, str]], int]:
        """The rows of whole lines.

        Returns:
            The rows, for each line that is none its number and what is wrong with it, and how many lines there are.
        """
        found: list[tuple[int, dict[str, Any]]] = []
        wrong: list[tuple[int, str]] = []
        lines = block.data.split(b"\n")[:-1]
        for line, text in enumerate(lines, first_line):
            if text.strip() and not text.startswith(b"#"):
                try:
                    found.append((line, self.values(json.loads(text))))
                except (ValueError, RecursionError) as error:
                    what = "no JSON: " if isinstance(error, json.JSONDecodeError | UnicodeDecodeError) else ""
                    wrong.append((line, f"{what}{error}"))
        columns = [column for column in COLUMNS if self._wanted is None or column.name in self._wanted]
        texts = [column.name for column in columns if column.kind == "text"]
        rows = Rows([column.name for column in columns if column.kind != "text"], texts + list(self.unknown))
        for line, values in found:
            rows.add(line, values)
        return rows.batch(), wrong, len(lines)

    def values(self, record: Any) -> dict[str, Any]:
        """What a line says, by our names.

        Raises:
            ValueError: it is none of a log.
        """
        if not isinstance(record, dict):
            raise ValueError("it is no JSON object")
        values: dict[str, Any] = {}
        for key, value in record.items():
            if key not in self._known:
                self._known[key] = known(key)
            column = self._known[key]
            if column is None:
                if self._wanted is None:
                    self.unknown[key] = None
                    values[key] = None if value is None else value if isinstance(value, str) else json.dumps(value)
            elif column[0].name not in values or key == column[0].name:
                values[column[0].name] = from_json(*column, value)
        if not values.get("op"):
            raise ValueError("it has no 'op'")
        if values.get("start") is None and (values.get("end") is None or values.get("duration_ns") is None):
            raise ValueError("it has no 'start'")
        if self._wanted is not None:
            values = {name: value for name, value in values.items() if name in self._wanted}
        return values
