"""All metadata is in setup.cfg; this adds the man pages, built from the command's parser, to what is installed."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, ClassVar

from setuptools import Command, setup
from setuptools.command.build import build

ROOT = Path(__file__).resolve().parent
MAN_DIR = "share/man/man1"


class BuildMan(Command):
    """Build the man pages and put them among the data files that the wheel installs under share/man/man1."""

    description = "build the man pages"
    user_options: ClassVar[list[tuple[str, str | None, str]]] = []

    def initialize_options(self) -> None:
        self.build_temp: str | None = None

    def finalize_options(self) -> None:
        self.set_undefined_options("build", ("build_temp", "build_temp"))

    def run(self) -> None:
        sys.path.insert(0, str(ROOT / "man"))
        from pages import write_pages  # man/pages.py

        pages = write_pages(Path(str(self.build_temp)) / "man")
        self.distribution.data_files = [(MAN_DIR, [str(page) for page in pages])]


class Build(build):
    sub_commands: ClassVar[list[Any]] = [*build.sub_commands, ("build_man", None)]


setup(cmdclass={"build": Build, "build_man": BuildMan})
