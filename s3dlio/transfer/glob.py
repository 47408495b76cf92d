"""The one glob language, for keys of objects, local paths, and the names that a filter wants.

===================  ==================================================================================
``*``                any characters but ``/``
``?``                one character but ``/``
``[abc]``, ``[a-c]`` one of these; ``[!abc]`` and ``[^abc]`` one that is none of these; never ``/``
``{one,two}``        one text or the other; with globs, ``/`` and further braces in them
``**``               any characters; ``**/`` at the beginning of a segment also no directory at all
===================  ==================================================================================

Everything else is itself, also brackets and braces that are not closed, and braces without a comma. In brackets, a
special character is itself: ``[*]``, ``[?]``, ``[[]``, ``[{]`` (:func:`escape` writes them). No name is hidden.
With ``crosses``, as in filters, ``/`` is a character like any other: ``*``, ``?`` and brackets match it, too.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from s3dlio.errors import ConfigError

#: How many texts the braces of one glob may stand for.
MAX_ALTERNATIVES = 1000

_PARTS = r"(?s)\[[!^]?[^/][^\]/]*\]|\*+|."
_CROSSING_PARTS = r"(?s)\[[!^]?.[^\]]*\]|\*+|."
_SPECIAL = re.compile(r"[*?\[{]")


class _Wild(NamedTuple):
    """A part of a glob that stands for more than one text: one character (by its expression), or any number."""

    expression: str


_STAR = _Wild("[^/]*")
_DEEP = _Wild(".*")
_DIRECTORIES = _Wild("(?:.*/)?")
_ANY = _Wild("[^/]")
_ANY_CROSSING = _Wild(".")

Token = str | _Wild  # a str is one character
Tokens = list[Token]


class Alternative(NamedTuple):
    """One of the texts that the braces of a glob stand for: its literal beginning, and whether it has a ``**``."""

    tokens: Tokens
    head: str
    crosses: bool


class Glob(NamedTuple):
    """A glob.

    Args:
        head: what every match begins with.
        deep: matches may lie in directories below ``head``.
        matches: whether a key or path matches.
        alternatives: what its braces stand for.
    """

    head: str
    deep: bool
    matches: Callable[[str], bool]
    alternatives: list[Alternative]

    @classmethod
    def of(cls, text: str) -> Glob:
        """The glob that ``text`` writes.

        Raises:
            ConfigError: its braces stand for too many texts.
        """
        several = _parse(text)
        head = os.path.commonprefix([alternative.head for alternative in several])  # noqa: RUF071 - by characters
        deep = any(
            alternative.crosses or any(token in ("/", _DIRECTORIES) for token in alternative.tokens[len(head) :])
            for alternative in several
        )
        fullmatch = glob_regex(text).fullmatch
        return cls(head, deep, lambda name: fullmatch(name) is not None, several)

    @property
    def base(self) -> str:
        """The directory that names of matches are relative to: the last one that is certain."""
        return self.head[: self.head.rfind("/") + 1]

    def may_match_beneath(self, prefix: str) -> bool:
        """Whether a match, called relative to ``base``, may match again under ``prefix`` (a directory)."""
        if not prefix.startswith(self.base):
            return False
        uneven = len({alternative.tokens.count("/") for alternative in self.alternatives}) > 1
        return any(
            one.head.startswith(prefix) or ((one.crosses or uneven) and prefix.startswith(one.head))
            for one in self.alternatives
        )


def is_glob(text: str) -> bool:
    """Whether anything in ``text`` is special.

    Raises:
        ConfigError: its braces stand for too many texts.
    """
    if _SPECIAL.search(text) is None:
        return False
    several = _parse(text)
    return len(several) > 1 or several[0].tokens != list(text)


def escape(text: str) -> str:
    """The glob that matches ``text`` and nothing else."""
    return _SPECIAL.sub(r"[\g<0>]", text)


@functools.lru_cache(64)
def _parse(text: str, crosses: bool = False) -> list[Alternative]:
    found = []
    for parts in _alternatives(re.findall(_CROSSING_PARTS if crosses else _PARTS, text)):
        tokens = _tokens(parts, crosses)
        wild = next((at for at, token in enumerate(tokens) if isinstance(token, _Wild)), len(tokens))
        deep = any(token in (_DEEP, _DIRECTORIES) for token in tokens)
        found.append(Alternative(tokens, "".join(map(str, tokens[:wild])), deep))
    return found


def _alternatives(parts: Sequence[str]) -> list[list[str]]:
    """What braces stand for, written out."""
    for start, part in enumerate(parts):
        if part == "{" and (cuts := _cuts(parts, start)):
            options = [
                option for a, b in zip([start, *cuts], cuts, strict=False) for option in _alternatives(parts[a + 1 : b])
            ]
            tails = _alternatives(parts[cuts[-1] + 1 :])
            if len(options) * len(tails) > MAX_ALTERNATIVES:
                raise ConfigError(
                    f"the braces of a glob stand for more than {MAX_ALTERNATIVES} texts", hint="use fewer of them"
                )
            return [[*parts[:start], *option, *tail] for option in options for tail in tails]
    return [list(parts)]


def _cuts(parts: Sequence[str], start: int) -> list[int]:
    """Where the commas and the end of the braces that open at ``start`` are; nothing if they are none."""
    cuts, depth = [], 0
    for at in range(start, len(parts)):
        depth += (parts[at] == "{") - (parts[at] == "}")
        if depth == 1 and parts[at] == ",":
            cuts.append(at)
        if depth == 0:
            return [*cuts, at] if cuts else []
    return []


def _tokens(parts: Sequence[str], crosses: bool) -> Tokens:
    tokens: Tokens = []
    before = ""
    for part in parts:
        if part == "?":
            tokens.append(_ANY_CROSSING if crosses else _ANY)
        elif part.startswith("*"):
            tokens.append(_DEEP if crosses or len(part) > 1 else _STAR)
        elif part == "/" and before.startswith("**") and tokens[-2:-1] in ([], ["/"], [_DIRECTORIES]):
            tokens[-1] = _DIRECTORIES
        elif len(part) > 1:
            tokens.append(_one_of(part[1:-1], crosses))
        else:
            tokens.append(part)
        before = part
    return tokens


def _one_of(body: str, crosses: bool) -> Token:
    """What a ``[body]`` stands for."""
    if len(body) == 1:
        return body
    negated = body[0] in "!^"
    ranges = re.findall(r"(.)-(.)|(.)", body[negated:], re.DOTALL)
    told = "".join(
        re.escape(alone) if alone else f"{re.escape(low)}-{re.escape(high)}"
        for low, high, alone in ranges
        if alone or low <= high
    )
    if negated:
        never = told if crosses else "/" + told
        return _Wild(f"[^{never}]") if never else _ANY_CROSSING
    if not told:
        return _Wild("(?!)")
    return _Wild(f"[{told}]" if crosses else f"(?!/)[{told}]")


@functools.lru_cache(64)
def glob_regex(glob: str, crosses: bool = False) -> re.Pattern[str]:
    """The regular expression of a glob, for ``fullmatch``.

    Args:
        glob: its text.
        crosses: ``*``, ``?`` and brackets match ``/``, too.

    Raises:
        ConfigError: its braces stand for too many texts.

    Atomic groups hold each wildcard to its first match, where what follows can take whatever a later match would:
    without them a key of 200 characters and six wildcards took minutes (others write the keys).
    """
    return _compiled(alternative.tokens for alternative in _parse(glob, crosses))


def _compiled(several: Iterator[Tokens]) -> re.Pattern[str]:
    return re.compile("|".join(f"(?:{_expression(tokens)})" for tokens in several), re.DOTALL)


def _expression(tokens: Tokens) -> str:
    """Stretches between what crosses ``/``, each of literals between stars: the last is tried at several places."""
    stretches: list[list[str]] = [[""]]
    between: list[_Wild] = []
    for token in tokens:
        if token in (_DEEP, _DIRECTORIES):
            assert isinstance(token, _Wild)
            between.append(token)
            stretches.append([""])
        elif token is _STAR:
            stretches[-1].append("")
        else:
            stretches[-1][-1] += token.expression if isinstance(token, _Wild) else re.escape(token)
    (head, *tail), *others = stretches[:-1] or [stretches[-1]]
    written = head + "".join(map(_up_to, tail if between else tail[:-1]))
    for wild, (head, *tail) in zip(between, others, strict=False):
        lazy = ".*?" if wild is _DEEP else "(?:.*?/)??"
        written += f"(?>{lazy}{head}{''.join(map(_up_to, tail))})"
    head, *tail = stretches[-1]
    if between:
        written += between[-1].expression + head + "".join(map(_up_to, tail[:-1]))
    return written + (_STAR.expression + tail[-1] if tail else "")


def _up_to(text: str) -> str:
    """A ``*`` and what follows it, at the first place where that stands."""
    return f"(?>[^/]*?{text})"


def find_local(pattern: str) -> list[str]:
    """The paths that a glob matches, sorted; with a ``/`` at its end, only directories. Links are followed, but not in
    a circle; what cannot be read has no matches in it.

    Raises:
        ConfigError: its braces stand for too many texts.
    """
    glob = Glob.of(pattern.rstrip("/"))
    start = len(glob.base)
    found = {
        path for alternative in glob.alternatives for path in _beneath(glob.base, alternative.tokens[start:])
    }
    return sorted(path for path in found if not pattern.endswith("/") or os.path.isdir(path))


def _beneath(directory: str, tokens: Tokens) -> Iterator[str]:
    """The matches of ``tokens`` in a directory (empty, or ending in ``/``)."""
    end = next((at for at, token in enumerate(tokens) if token in ("/", _DEEP, _DIRECTORIES)), len(tokens))
    if end < len(tokens) and tokens[end] != "/":
        matches = _compiled(iter([tokens])).fullmatch
        yield from (directory + name for name in _tree(directory, "", ()) if matches(name))
        return
    segment, rest = tokens[:end], tokens[end + 1 :]
    if any(isinstance(token, _Wild) for token in segment):
        matches = _compiled(iter([segment])).fullmatch
        names = [name for name in _names(directory) if matches(name)]
    else:
        names = ["".join(map(str, segment))]
    for name in names:
        if end < len(tokens):
            yield from _beneath(f"{directory}{name}/", rest) if os.path.isdir(directory + name) else ()
        elif os.path.lexists(directory + name):
            yield directory + name


def _tree(directory: str, name: str, above: tuple[tuple[int, int], ...]) -> Iterator[str]:
    """The names of all files and directories beneath ``directory``, relative to it."""
    try:
        about = os.stat(directory + name or ".")
    except OSError:
        return
    identity = (about.st_dev, about.st_ino)
    if identity in above:
        return
    for entry in _names(directory + name):
        yield name + entry
        if os.path.isdir(directory + name + entry):
            yield from _tree(directory, f"{name}{entry}/", (*above, identity))


def _names(directory: str) -> list[str]:
    try:
        return os.listdir(directory or ".")
    except OSError:
        return []
