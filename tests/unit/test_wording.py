"""Errors speak of keyword arguments to programs, and of options at the command."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import s3dlio
from s3dlio.cli.parser import build_parser
from s3dlio.client import Client
from s3dlio.errors import IsDirectoryError, ThrottledError
from s3dlio.wording import either, option, spoken_at_command

PACKAGE = Path(s3dlio.__file__).parent
#: What the command is made of, below it; other rooms are only for programs.
ROOMS = ("engine", "net", "stores", "transfer", "uri.py", "errors.py", "foreign_errors.py")
_PYTHON = re.compile(r"\b[a-z_]+=(True|False|None)\b|\b[a-z_]{3,}\((?!s\))|\bmax_in_flight\b|\bprocs\b|\bkeyword\b")


def hints(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """The constant texts of all hints, but for those that ``either`` and ``option`` choose from."""
    for node in ast.walk(tree):
        keywords = node.keywords if isinstance(node, ast.Call) else []
        values = [keyword.value for keyword in keywords if keyword.arg == "hint"]
        if isinstance(node, ast.Assign) and "hint" in ast.unparse(node.targets[0]).lower():
            values = [node.value]
        for value in values:
            chosen = {
                id(inner) for call in ast.walk(value) if isinstance(call, ast.Call) for inner in ast.walk(call)
            }  # fmt: skip
            for text in ast.walk(value):
                if isinstance(text, ast.Constant) and isinstance(text.value, str) and id(text) not in chosen:
                    yield value.lineno, text.value


def test_hints_below_the_command_name_no_python_words() -> None:
    files = [path for room in ROOMS for path in ([PACKAGE / room], (PACKAGE / room).rglob("*.py"))[room[-3:] != ".py"]]
    found = [
        f"{path.relative_to(PACKAGE)}:{line}: {text}"
        for path in files for line, text in hints(ast.parse(path.read_text())) if _PYTHON.search(text)
    ]  # fmt: skip
    assert not found


def test_words_are_those_of_the_reader(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    for speaking, expected in ((False, "use recursive=True to"), (True, "use -r to")):
        if speaking:
            with spoken_at_command(), pytest.raises(IsDirectoryError) as refused:
                Client().delete(f"file://{tmp_path}/d")
        else:
            with pytest.raises(IsDirectoryError) as refused:
                Client().delete(f"file://{tmp_path}/d")
        assert expected in str(refused.value)
    assert ThrottledError("busy").hint == "lower max_in_flight, or raise the retry limits"
    with spoken_at_command():
        assert (either("a", "b"), option("part_size")) == ("b", "--part-size")
        assert ThrottledError("busy").hint == "lower -j, or raise the retry limits"
    assert (either("a", "b"), option("part_size")) == ("a", "part_size")


def test_options_that_are_named_exist() -> None:
    known = {name for command in build_parser().every_command() for name in command._option_string_actions}
    named = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "option":
                argument = node.args[0] if node.args else None
                if isinstance(argument, ast.Constant):
                    named.add(f"--{str(argument.value).replace('_', '-')}")
    assert named
    assert named <= known


def test_commands_of_several_threads_leave_nothing_behind() -> None:
    first, second = spoken_at_command(), spoken_at_command()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert either("python", "command") == "command"
    second.__exit__(None, None, None)
    assert either("python", "command") == "python"
