"""What the errors in a log say: which are the service's refusals for too many requests, and which are alike."""

from __future__ import annotations

import re

import numpy as np

from s3dlio.oplog.batch import Batch
from s3dlio.oplog.fields import Flags, Ints

_THROTTLED = re.compile(
    r"slow ?down|throttl|too many requests|reduce your request rate|server ?busy|request limit|rate limit"
    r"|egress is over|\b(?:429|503)\b",
    re.IGNORECASE,
)
#: What differs between errors of one kind: URIs, quoted names, numbers, ids.
_PARTICULAR = re.compile(
    r"(?<=request id )[^\s,;)]+|\b\w+://\S+|'[^']*'|\"[^\"]*\"|(?<!\S)/\S+|\b[0-9a-fA-F]{8,}\S*|(?<![\w:])(?![45]\d\d\b)\d[\d.]*\b"
)
_KINDS = 32
_LENGTH = 160
_OTHERS = "(other errors)"
_REMEMBERED = 1 << 14


class Failures:
    """Counts errors by kind.

    Attributes:
        kinds: text without what is particular to one object -> how often, and one of the texts.
    """

    def __init__(self) -> None:
        self.kinds: dict[str, tuple[int, str]] = {}
        self._known: dict[str, tuple[str, bool]] = {}

    def of(self, batch: Batch) -> tuple[Flags | None, Flags | None]:
        """Which rows of a batch failed, and which of them for throttling; None where none did."""
        status = batch.numbers.get("status")
        texts = batch.texts.get("error")
        failed = texts.are_there if texts is not None else np.zeros(len(batch), np.bool_)
        if status is not None:
            failed = failed | (status >= 400)
        rows: Ints = np.flatnonzero(failed)
        if not rows.size:
            return None, None
        throttled = np.zeros(len(batch), np.bool_)
        for row in rows.tolist():
            text = texts[row] if texts is not None else ""
            if not text and status is not None:
                text = f"status {status[row]}"
            throttled[row] = self._count(text)
        if status is not None:
            throttled |= failed & ((status == 429) | (status == 503))
        return failed, throttled if throttled.any() else None

    def take(self, other: Failures) -> None:
        """Count what another one has."""
        for kind, (number, example) in other.kinds.items():
            name = kind if kind in self.kinds or len(self.kinds) < _KINDS else _OTHERS
            count, first = self.kinds.get(name, (0, example))
            self.kinds[name] = count + number, first

    def _count(self, text: str) -> bool:
        known = self._known.get(text)
        if known is None:
            known = _kind(text), bool(_THROTTLED.search(text))
            if len(self._known) < _REMEMBERED:
                self._known[text] = known
        kind = known[0] if known[0] in self.kinds or len(self.kinds) < _KINDS else _OTHERS
        count, example = self.kinds.get(kind, (0, text[:300]))
        self.kinds[kind] = count + 1, example
        return known[1]


def _kind(text: str) -> str:
    """An error's text without what is particular to it, and not too long."""
    if text.startswith("status "):
        return text
    kind = " ".join(_PARTICULAR.sub("…", text).split())
    return kind if len(kind) <= _LENGTH else f"{kind[:_LENGTH].rpartition(' ')[0] or kind[:_LENGTH]} …"
