"""The documents that are made from the parser: man pages and the command reference."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from s3dlio.cli.parser import build_parser

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("program", ["man/pages.py", "docs/cli_reference.py"])
def test_they_are_current(program: str):
    command = [sys.executable, str(ROOT / program), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_every_command_has_a_man_page_and_a_section():
    pages = {path.name for path in (ROOT / "man").glob("*.1")}
    text = (ROOT / "docs" / "cli.md").read_text()
    names = {command.prog for command in build_parser().every_command()}
    assert pages == {f"{name.replace(' ', '-')}.1" for name in names} | {"s3-cli.1"}
    for name in names:
        assert f"### {name}\n" in text


def test_every_option_of_help_is_in_the_reference():
    text = (ROOT / "docs" / "cli.md").read_text()
    for command in build_parser().every_command():
        for option in command._option_string_actions:
            assert option in ("-h", "--help") or f"`{option}" in text, (command.prog, option)
