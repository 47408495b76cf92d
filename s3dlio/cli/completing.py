"""What may follow on a command line: commands, options, values, paths, and (``completing_uris``) buckets and keys.

The script of a shell (``s3-cli completion``) asks at every Tab, by ``s3-cli __complete``: see :func:`answer`.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import sys
from collections.abc import Iterable, Iterator, Sequence
from types import FrameType
from typing import Any, NamedTuple, NoReturn

from s3dlio.cli.argument_parser import CommandParser, Words
from s3dlio.cli.parser import SHELLS, build_parser

#: The hidden command.
COMMAND = "__complete"
#: So long (seconds) a person waits for what services have, unless this variable says otherwise.
PATIENCE, _PATIENCE_VARIABLE = 1.0, "S3DLIO_COMPLETION_SECONDS"
#: No more are shown.
MOST = 1000
SCHEMES = ("s3://", "az://", "gs://", "file://", "direct://")
#: What options and operands take, by the names that their helps have for it.
_PATHS = frozenset({"FILE", "FILES", "PATH", "LOG", "DEST_DIR"})
_URIS = frozenset({"URI", "URI_PREFIX"})
_BOTH = frozenset({"SRC", "DEST", "DEST_DIR"})
#: What a shell takes for more than itself, outside of quotes.
_SPECIAL = re.compile(r"[^\w@%+=:,./~\-]")


class Candidate(NamedTuple):
    """A word that may follow, and what it means."""

    word: str
    help: str = ""


class Typed(NamedTuple):
    """What stands before the word at the cursor."""

    command: CommandParser
    #: Values of options, by where they go.
    values: dict[str, str | bool]
    operands: list[str]
    #: The option whose value the word is.
    option: argparse.Action | None
    #: Behind ``--``: nothing is an option any more.
    only_operands: bool


def answer(words: Sequence[str]) -> int:
    """Print what may follow, a line each: the word, a tab, its help. Errors print nothing: a person is still typing.

    Args:
        words: the shell, then the words behind the program's name up to the cursor, the last of which may be empty; for
            bash, which parts words elsewhere than at blanks, its line up to the cursor and COMP_WORDBREAKS.

    Returns:
        The exit code.
    """
    if not words or words[0] not in SHELLS:
        return 2
    seconds = os.environ.get(_PATIENCE_VARIABLE, "")
    signal.signal(signal.SIGALRM, _leave)
    signal.setitimer(signal.ITIMER_REAL, float(seconds) if re.fullmatch(r"\d+\.?\d*", seconds) else PATIENCE)
    shell, *typed = words
    quote = cut = 0
    if shell == "bash":
        typed, quote = split(typed[0])
        cut = 0 if quote else _broken_at(typed[-1], words[2])
    try:
        found = list(candidates(typed))
    except Exception:  # of a service, of settings, of the line itself: there is nothing to say yet
        found = []
    lines = []
    for word, help in found[:MOST]:
        shown = word[cut:]
        if shell == "bash" and not quote:
            shown = _SPECIAL.sub(lambda special: "\\" + special[0], shown)
        if "\n" not in word:  # a line holds no line break
            lines.append(f"{shown}\t{help}\n")
    signal.setitimer(signal.ITIMER_REAL, 0)
    sys.stdout.write("".join(lines))
    sys.stdout.flush()
    return 0


def _leave(number: int, frame: FrameType | None) -> NoReturn:
    os._exit(0)


def split(line: str) -> tuple[list[str], int]:
    """The words of a shell's line up to the cursor, behind the program's name, the last of which may be empty; and
    whether that one is in quotes that are open."""
    words: list[str] = [""]
    quote, characters = "", iter(line)
    begun = False
    for one in characters:
        if quote:
            if one == quote:
                quote = ""
            elif one == "\\" and quote == '"':
                words[-1] += next(characters, "")
            else:
                words[-1] += one
        elif one in " \t\n":
            if begun:
                words.append("")
                begun = False
            continue
        elif one in "'\"":
            quote = one
        else:
            words[-1] += next(characters, "") if one == "\\" else one
        begun = True
    while len(words) > 1 and re.fullmatch(r"\w+=.*", words[0], re.DOTALL):  # variables before the program's name
        del words[0]
    return words[1:] or [""], bool(quote)


def _broken_at(word: str, breaks: str) -> int:
    """How much of a word bash takes for other words before it."""
    return max((word.rfind(one) + 1 for one in ":=" if one in breaks), default=0)


def candidates(words: Sequence[str]) -> Iterator[Candidate]:
    """What the last of the words may become."""
    *before, word = words
    typed = _read(build_parser(before), before)
    command = typed.command
    if typed.option is not None:
        yield from _values(typed, typed.option, word)
    elif word.startswith("--") and "=" in word and not typed.only_operands:
        name, _, value = word.partition("=")
        if (option := command._option_string_actions.get(name)) is not None:
            yield from (Candidate(f"{name}={found}", help) for found, help in _values(typed, option, value))
    elif word.startswith("-") and not typed.only_operands:
        yield from _options(command, word)
    elif command.commands():
        yield from _commands(command, word)
    elif (operand := _operand(typed)) is not None:
        yield from _values(typed, operand, word)


def _read(parser: CommandParser, words: Iterable[str]) -> Typed:
    command, values, operands = parser, dict[str, "str | bool"](), list[str]()
    rest = iter(words)
    for word in rest:
        if word == "--":
            return Typed(command, values, [*operands, *rest], None, True)
        if word.startswith("-") and word != "-":
            option, value = _option_in(command, word)
            if option is None:
                continue
            if value is None and option.nargs != 0:
                if isinstance(option, Words):
                    return Typed(command, values, list(rest), None, True)
                for _ in range(option.nargs if isinstance(option.nargs, int) else 1):
                    if (value := next(rest, None)) is None:
                        return Typed(command, values, operands, option, False)
            values[option.dest] = True if value is None else value
        elif commands := command.commands():
            command = commands.get(word, command)
        else:
            operands.append(word)
    return Typed(command, values, operands, None, False)


def _option_in(command: CommandParser, word: str) -> tuple[argparse.Action | None, str | None]:
    """The option in a word that may have a value, and that; of ``-rj 4`` the last one."""
    known = command._option_string_actions
    if word.startswith("--"):
        name, equals, value = word.partition("=")
        return known.get(name), value if equals else None
    option = None
    for at, letter in enumerate(word[1:], 2):
        option = known.get(f"-{letter}")
        if option is not None and option.nargs != 0:
            return option, word[at:] or None
    return option, None


def _options(command: CommandParser, word: str) -> Iterator[Candidate]:
    for action in command._actions:
        if action.help != argparse.SUPPRESS:
            names = (name for name in action.option_strings if name.startswith(word))
            yield from (Candidate(name, _sentence(action)) for name in names)


def _commands(command: CommandParser, word: str) -> Iterator[Candidate]:
    for action in command._actions:
        if isinstance(action, argparse._SubParsersAction):
            helps = {choice.dest: choice.help or "" for choice in action._choices_actions}
            names = [name for name in action.choices if name.startswith(word) and (word or name in helps)]  # no aliases
            yield from (Candidate(name, helps.get(name, "")) for name in names)


def _operand(typed: Typed) -> argparse.Action | None:
    """The operand that a word is."""
    found = [action for action in typed.command._actions if not action.option_strings]
    return found[min(len(typed.operands), len(found) - 1)] if found else None


def _values(typed: Typed, action: argparse.Action, word: str) -> Iterator[Candidate]:
    """What an option or operand may be."""
    name = str(action.metavar)
    if name == "SHELL":
        yield from (Candidate(shell) for shell in SHELLS if shell.startswith(word))
    elif action.choices is not None:
        yield from (Candidate(str(choice)) for choice in action.choices if str(choice).startswith(word))
    elif "://" in word and name in _URIS | _BOTH:
        yield from _uris(typed, word)
    else:
        if name in _URIS | _BOTH:
            yield from (Candidate(scheme) for scheme in SCHEMES if scheme.startswith(word))
        if name in _PATHS | _BOTH:
            yield from map(Candidate, paths(word))


def _uris(typed: Typed, word: str) -> Iterable[Candidate]:
    scheme, _, rest = word.partition("://")
    if scheme in ("file", "direct"):
        return [Candidate(f"{scheme}://{path}") for path in paths(rest)]
    from s3dlio.cli.completing_uris import uris  # imports what talks to services

    return map(Candidate, uris(word, typed.values))


def paths(word: str) -> list[str]:
    """The names of files that begin so; directories end in ``/``."""
    directory, _, name = word.rpartition("/")
    directory = f"{directory}/" if "/" in word else ""
    found = []
    with os.scandir(os.path.expanduser(directory) or ".") as entries:
        for entry in entries:
            if entry.name.startswith(name) and (name.startswith(".") or not entry.name.startswith(".")):
                found.append(directory + entry.name + ("/" if entry.is_dir() else ""))
    return sorted(found)


def _sentence(action: Any) -> str:
    """The first words of a help."""
    return " ".join(str(action.help or "").replace("%%", "%").split())[:100]
