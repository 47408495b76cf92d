"""Writes the reference part of ``docs/cli.md`` from the command's own parser; with ``--check`` only compares.

What stands above the mark is written by hand. The text does not depend on the version of Python, as ``--help`` does.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DOCUMENT = ROOT / "docs" / "cli.md"
MARK = "<!-- From here on written by docs/cli_reference.py. -->\n"


def current() -> str:
    """The document as it should be."""
    sys.path.insert(0, str(ROOT))
    from s3dlio.cli.parser import build_parser

    parser = build_parser()
    above, _, _ = DOCUMENT.read_text(encoding="utf-8").partition(MARK)
    lines = ["\n## Reference\n", "### Global options\n", *_table(_of_group(parser, "global options"))]
    lines += _commands(parser)
    return above + MARK + "\n".join(lines)


def _commands(parser: argparse.ArgumentParser) -> Iterator[str]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for choice in action._choices_actions:
                command = action.choices[choice.dest]
                yield from _command(command, [name for name, one in action.choices.items() if one is command][1:])
                yield from _commands(command)


def _of_group(parser: argparse.ArgumentParser, title: str) -> list[argparse.Action]:
    return [action for group in parser._action_groups if group.title == title for action in group._group_actions]


def _command(parser: argparse.ArgumentParser, aliases: list[str]) -> Iterator[str]:
    yield f"### {parser.prog}\n"
    yield f"{parser.description}\n"
    if aliases:
        yield f"Also called {', '.join(f'`{alias}`' for alias in aliases)}.\n"
    operands = [action for action in parser._actions if not action.option_strings]
    usage = "".join(f" {_operand(action)}" for action in operands)
    yield f"    {parser.prog} [OPTIONS]{usage}\n"
    shared = {id(action) for action in _of_group(parser, "global options")}
    own = [action for action in parser._actions if id(action) not in shared and action.dest != "help"]
    if own:
        yield from _table(own)


def _operand(action: argparse.Action) -> str:
    nargs = action.nargs if isinstance(action.nargs, str) else None
    form = {None: "{}", "?": "[{}]", "+": "{}...", "*": "[{}...]", argparse.PARSER: "{} ..."}[nargs]
    return form.format(action.metavar)


def _table(actions: list[argparse.Action]) -> Iterator[str]:
    yield "| | |"
    yield "|---|---|"
    for action in actions:
        metavar = action.metavar or "\\|".join(action.choices or ())
        words = " ".join(metavar) if isinstance(metavar, tuple) else metavar
        value = "" if action.nargs == 0 else f" {words}"
        names = ", ".join(f"`{name}{value}`" for name in action.option_strings) or f"`{words}`"
        yield f"| {names} | {action.help} |"
    yield ""


def main() -> int:
    options = argparse.ArgumentParser(description="Write the reference part of docs/cli.md from the parser.")
    options.add_argument("--check", action="store_true", help="write nothing, exit 1 if it is not current")
    text = current()
    if not options.parse_args().check:
        DOCUMENT.write_text(text, encoding="utf-8")
    elif text != DOCUMENT.read_text(encoding="utf-8"):
        sys.stderr.write("docs/cli.md is not current; run docs/cli_reference.py and commit the result\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
