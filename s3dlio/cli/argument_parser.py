"""The argument parser's class: options anywhere on the line, no guessing, and errors that name the mistake.

argparse alone takes an unknown option for an operand, accepts abbreviations that a later version may make ambiguous,
and cannot read ``upload a -j 4 b DEST``. Here the words are sorted before it sees them.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NoReturn


class UsageError(Exception):
    """The command line cannot be understood.

    Args:
        message: what is wrong, naming the option or operand.
        usage: the usage lines of the command.
        prog: the command as typed (``s3-cli get``).
    """

    def __init__(self, message: str, usage: str, prog: str) -> None:
        super().__init__(message)
        self.usage = usage
        self.prog = prog


class _Formatter(argparse.HelpFormatter):
    """argparse makes one for each option that it learns of. Its own asks ``shutil`` for the width, whose import takes
    as long as all else that a parser does."""

    def __init__(
        self, prog: str, indent_increment: int = 2, max_help_position: int = 24, width: int | None = None, **more: Any
    ) -> None:
        width = _columns() - 2 if width is None else width
        super().__init__(prog, indent_increment, max_help_position, width, **more)


def _columns() -> int:
    """As of ``shutil.get_terminal_size``."""
    with contextlib.suppress(KeyError, ValueError):
        if (columns := int(os.environ["COLUMNS"])) > 0:
            return columns
    with contextlib.suppress(AttributeError, ValueError, OSError):  # no output, or no terminal
        return os.get_terminal_size(sys.__stdout__.fileno()).columns or 80  # type: ignore[union-attr]
    return 80


class CommandParser(argparse.ArgumentParser):
    """An ArgumentParser that raises :class:`UsageError` and sorts options before operands."""

    #: What somebody may have meant who gave one operand too many.
    too_many_hint = ""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("allow_abbrev", False)
        kwargs.setdefault("formatter_class", _Formatter)
        super().__init__(*args, **kwargs)

    def error(self, message: str) -> NoReturn:
        raise UsageError(message, self.format_usage(), self.prog)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        parsed, left = super().parse_known_args(self._sorted(list(args or [])), namespace)
        if left:
            words = " ".join(f"'{word}'" for word in left if word != "--")
            self.error(f"one operand too many: {words}{self.too_many_hint and '; ' + self.too_many_hint}")
        return parsed, left

    def _sorted(self, words: Sequence[str]) -> list[str]:
        """The words, options first and each with its value; behind a command's name nothing is touched."""
        options: list[str] = []
        operands: list[str] = []
        rest = iter(words)
        for word in rest:
            if word == "--":
                operands += rest
            elif word.startswith("--"):
                options += self._long(word, rest)
            elif word.startswith("-") and word != "-":
                options += self._short(word, rest)
            elif commands := self.commands():
                if word not in commands:
                    self._unknown("command", word, word, commands)
                operands += [word, *rest]
            else:
                operands.append(word)
        guard = ["--"] if any(word.startswith("-") and word != "-" for word in operands) else []
        return options + (operands if self.commands() else guard + operands)

    def _long(self, word: str, rest: Iterator[str]) -> Iterator[str]:
        name, equals, _ = word.partition("=")
        action = self._option(name)
        if isinstance(action, Words) and not equals:
            command = list(itertools.takewhile(lambda one: one != ";", _to_end(rest)))
            yield _joined(action, word, "\0".join(command) if command else None)
            return
        if isinstance(action.nargs, int) and action.nargs > 1 and not equals:
            yield word
            yield from itertools.islice(rest, action.nargs)
            return
        yield word if equals or action.nargs == 0 else _joined(action, word, next(rest, None))

    def _short(self, word: str, rest: Iterator[str]) -> Iterator[str]:
        """``-rp RE``: each letter is a flag, until one takes what follows, or the next word, as its value."""
        for at, letter in enumerate(word[1:], 2):
            action = self._option(f"-{letter}", word)
            if action.nargs != 0:
                yield _joined(action, f"-{letter}", word[at:] or next(rest, None))
                return
            yield f"-{letter}"

    def _option(self, name: str, word: str | None = None) -> argparse.Action:
        action = self._option_string_actions.get(name)
        if action is None:
            self._unknown("option", word or name, name, self._option_string_actions)
        return action

    def _unknown(self, kind: str, word: str, name: str, known: Iterable[str]) -> NoReturn:
        from s3dlio.cli.suggestions import suggestion  # for mistakes only

        self.error(f"unknown {kind} '{word}'; {suggestion(name, list(known), self.prog)}")

    def every_command(self) -> Iterator[CommandParser]:
        """The parser of every command once, each group of commands before those in it."""
        for command in {id(command): command for command in self.commands().values()}.values():
            yield command
            yield from command.every_command()

    def commands(self) -> dict[str, CommandParser]:
        """The parser of every command, aliases included; empty for a command that is no group."""
        for action in self._actions:
            if isinstance(action, argparse._SubParsersAction):
                return action.choices
        return {}


class Words(argparse.Action):
    """An option whose value is a whole command: all words up to a ``;`` or ``+``, or to the end of the line.

    They come as one text with a NUL between two words, which no word holds, and end as a list.
    """

    def __call__(self, parser: Any, namespace: argparse.Namespace, values: Any, option_string: Any = None) -> None:
        setattr(namespace, self.dest, str(values).split("\0"))


class _Unread(CommandParser):
    """A command that the command line does not name: it takes part in lists of commands only. To define the options
    of all the others would take most of the time of a short command."""

    def __init__(self, prog: str = "", **kwargs: Any) -> None:
        self.prog = prog
        self.aliases: list[str] = []

    def add_argument(self, *args: Any, **kwargs: Any) -> Any:
        """Nobody will ask for it."""

    def add_argument_group(self, *args: Any, **kwargs: Any) -> Any:
        return self

    def add_mutually_exclusive_group(self, **kwargs: Any) -> Any:
        return self

    def add_subparsers(self, **kwargs: Any) -> Any:
        return None

    def set_defaults(self, **kwargs: Any) -> None:
        pass

    def commands(self) -> dict[str, CommandParser]:
        return {}


class Commands:
    """Adds commands to a parser, or to a group of commands.

    Args:
        parser: which.
        title: of the list of commands in its help.
        words: commands that are not among these are listed only; None: all are defined.
    """

    def __init__(
        self, parser: CommandParser, title: str = "commands", words: Sequence[str] | None = None
    ) -> None:
        self._words = words
        self._commands: argparse._SubParsersAction[Any] | None = parser.add_subparsers(
            dest="command" if title == "commands" else "subcommand", metavar="COMMAND", title=title,
            parser_class=CommandParser, required=True, prog=parser.prog, help="what to do",
        )  # fmt: skip

    def add(
        self, name: str, run: str, summary: str, *, aliases: Sequence[str] = (), details: str = ""
    ) -> CommandParser:
        """A command. ``run`` is ``module:function`` under ``s3dlio.cli.commands``; empty for a group of commands."""
        description = " ".join(f"{sentence}." for sentence in (summary, details) if sentence)
        if self._commands is None:
            return _Unread()
        unread = self._words is not None and not any(known in self._words for known in (name, *aliases))
        self._commands._parser_class = _Unread if unread else CommandParser
        command: CommandParser = self._commands.add_parser(
            name, aliases=list(aliases), help=summary, description=description
        )
        if run:
            command.set_defaults(run=run)
        return command


def _to_end(words: Iterator[str]) -> Iterator[str]:
    """The words of a command; behind a ``+`` none follows."""
    for word in words:
        yield word
        if word == "+":
            return


def _joined(action: argparse.Action, word: str, value: str | None) -> str:
    """One word for an option and its value, so that a value may begin with ``-``; argparse reports a missing one."""
    return word if value is None else f"{action.option_strings[-1]}={value}"
