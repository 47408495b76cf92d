"""``completion``: the script that teaches a shell our commands and options, made from the parser."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from s3dlio.cli.argument_parser import CommandParser
from s3dlio.cli.context import Context
from s3dlio.cli.parser import build_parser

_FILES = {"FILE", "FILES", "SRC", "DEST"}
_DIRECTORIES = {"DEST_DIR"}


def run(context: Context) -> None:
    """The script on standard output; with ``--json`` as the value of ``script``."""
    import shtab

    parser, shell = build_parser(), context.args.shell
    for action in _actions(parser):
        if action.metavar in _FILES:
            action.complete = shtab.FILE  # type: ignore[attr-defined]  # shtab's way to say what an operand is
        elif action.metavar in _DIRECTORIES:
            action.complete = shtab.DIRECTORY  # type: ignore[attr-defined]
    script = shtab.complete(parser, shell=shell)
    context.out.result({"shell": shell, "script": script}, script)


def _actions(parser: CommandParser) -> Iterator[argparse.Action]:
    yield from parser._actions
    for command in parser.every_command():
        yield from command._actions
