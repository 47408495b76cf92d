"""Regular expressions as the Rust package took them: what Python spells otherwise, or reads as something else."""

from __future__ import annotations

import re

#: Classes of ASCII characters, as they stand within brackets: ``[[:digit:]]``.
_CLASSES = {
    "alnum": "0-9A-Za-z", "alpha": "A-Za-z", "ascii": r"\x00-\x7f", "blank": r"\t ", "cntrl": r"\x00-\x1f\x7f",
    "digit": "0-9", "graph": "!-~", "lower": "a-z", "print": " -~", "punct": r"!-/:-@\[-`{-~", "space": r"\t\n\v\f\r ",
    "upper": "A-Z", "word": "0-9A-Za-z_", "xdigit": "0-9A-Fa-f",
}  # fmt: skip
_ANCHORS = {r"\z": r"\Z", r"\<": r"\b(?=\w)", r"\>": r"\b(?<=\w)"}
_CODE_POINT = re.compile(r"\\[xuU]\{([0-9A-Fa-f]{1,6})\}")
_CLASS = re.compile(r"\[:([a-z]+):\]")
_SET_OPENS = re.compile(r"\[\^?\]?")
_SET_OPERATION = re.compile(r"&&|--|~~|\[")
_NAMED_GROUP = re.compile(r"\(\?<(?![=!])")


def in_python(pattern: str) -> str:
    """The same expression for Python's ``re``.

    Raises:
        re.error: it has sets within sets, or operations on sets, which Python does not have.
    """
    written: list[str] = []
    position, in_set = 0, False
    while position < len(pattern):
        text, position, in_set = _next(pattern, position, in_set)
        written.append(text)
    return "".join(written)


def _next(pattern: str, at: int, in_set: bool) -> tuple[str, int, bool]:
    """The next piece of an expression for Python, where the one after it begins, and whether that is within a set."""
    if pattern[at] == "\\":
        return *_escaped(pattern, at, in_set), in_set
    if in_set:
        if (named := _CLASS.match(pattern, at)) and named[1] in _CLASSES:
            return _CLASSES[named[1]], named.end(), True
        if operation := _SET_OPERATION.match(pattern, at):
            raise re.error(f"{operation[0]!r} within a set has no meaning here", pattern, at)
        return pattern[at], at + 1, pattern[at] != "]"
    if opens := _SET_OPENS.match(pattern, at):
        return opens[0], opens.end(), True
    if group := _NAMED_GROUP.match(pattern, at):
        return "(?P<", group.end(), False
    return pattern[at], at + 1, False


def _escaped(pattern: str, at: int, in_set: bool) -> tuple[str, int]:
    if (code := _CODE_POINT.match(pattern, at)) and int(code[1], 16) < 0x110000:
        return re.escape(chr(int(code[1], 16))), code.end()
    escaped = pattern[at : at + 2]
    return escaped if in_set else _ANCHORS.get(escaped, escaped), at + 2
