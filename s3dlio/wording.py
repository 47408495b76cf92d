"""Words of errors that depend on who reads them: a program's author, who writes keyword arguments, or somebody at the
command, who types options."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

_at_command = False
_commands: list[None] = []  # one for each command that runs in this process: threads may run several


def either(python: str, command: str) -> str:
    """What to write in Python, or at the command, whichever this process is."""
    return command if at_command() else python


def recursively() -> str:
    """How to ask for all that is deeper, too."""
    return either("recursive=True", "-r")


def option(name: str) -> str:
    """An argument by its name, or the option of the command that is called like it."""
    return either(name, f"--{name.replace('_', '-')}")


def at_command() -> bool:
    """Whether this process is the command, or works for it."""
    return _at_command or bool(_commands)


def speak_to(*, command: bool) -> None:
    """Have errors that are made from now on speak to somebody at the command, or not."""
    global _at_command
    _at_command = command


@contextlib.contextmanager
def spoken_at_command() -> Iterator[None]:
    """Errors that are made while the block runs speak to somebody at the command."""
    _commands.append(None)
    try:
        yield
    finally:
        _commands.pop()
