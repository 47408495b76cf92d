"""Man pages from the command's own parser: ``s3-cli.1`` and one ``s3-cli-<command>.1`` for each command.

Run by ``make man`` (writes the committed pages), ``make check`` (``--check``: are they current?) and the wheel build.
Only the parser is imported, which needs nothing but the standard library, and argparse-manpage.
The pages are the same on every machine and every day: no date, a fixed width, the version of the package.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGES = ROOT / "man"
MANUAL = "s3dlio manual"


def render_pages() -> dict[str, str]:
    """Return every page's text by its file name."""
    os.environ["COLUMNS"] = "100"  # argparse wraps usage lines to the terminal's width
    os.environ["NO_COLOR"] = "1"  # from Python 3.14 on, argparse colours its help
    sys.path.insert(0, str(ROOT))
    from s3dlio._version import __version__
    from s3dlio.cli.parser import build_parser

    parser = build_parser()
    commands = _commands(parser)
    pages = {f"{parser.prog}.1": _overview(parser, parser.description or "", __version__, {})}
    for name, summary, command in commands:
        see = {"see also": f".BR {_roff(parser.prog)} (1)"}
        for inner, text, one in _commands(command):
            pages[f"{parser.prog}-{name}-{inner}.1"] = _render(one, text, __version__, see)
        pages[f"{parser.prog}-{name}.1"] = _overview(command, summary, __version__, see)
    return pages


def _overview(parser: argparse.ArgumentParser, summary: str, version: str, sections: dict[str, str]) -> str:
    """The page of a parser. Each of its commands has a line; argparse-manpage would repeat their pages in it."""
    lines = [f".TP\n.BR {_name(parser.prog, name)} (1)\n{_roff(text)}" for name, text, _ in _commands(parser)]
    parser._action_groups = [group for group in parser._action_groups if not _holds_commands(group)]
    return _render(parser, summary, version, {"commands": "\n".join(lines), **sections} if lines else sections)


def _commands(parser: argparse.ArgumentParser) -> list[tuple[str, str, argparse.ArgumentParser]]:
    """Return (name, one-line summary, parser) of every command, aliases left out."""
    return [
        (choice.dest, choice.help or "", action.choices[choice.dest])
        for action in parser._actions
        if isinstance(action, argparse._SubParsersAction)
        for choice in action._choices_actions
    ]


def _holds_commands(group: argparse._ArgumentGroup) -> bool:
    return any(isinstance(action, argparse._SubParsersAction) for action in group._group_actions)


def _render(parser: argparse.ArgumentParser, summary: str, version: str, sections: dict[str, str]) -> str:
    from argparse_manpage.manpage import Manpage

    summary = " ".join(summary.split()).split(". ")[0].rstrip(".")
    data = {"project_name": "s3dlio", "version": version, "manual_title": MANUAL, "description": summary, "date": " "}
    prog = parser.prog
    parser.prog = prog.replace(" ", "-")  # a page is called s3-cli-get, its synopsis says "s3-cli get"
    page = Manpage(parser, format="single-commands-section", _data=data)
    page.date = ""
    page.synopsis = [prog, *page.synopsis[1:]]
    for heading, content in sections.items():
        page.add_section(heading, "=", content)
    return re.sub("^'", r"\\&'", str(page), flags=re.MULTILINE)  # a line that begins with a quote is a roff command


def _name(prog: str, command: str) -> str:
    return _roff(f"{prog.replace(' ', '-')}-{command}")


def _roff(text: str) -> str:
    return text.replace("\\", "\\\\").replace("-", "\\-")


def write_pages(folder: Path) -> list[Path]:
    """Write all pages into *folder*, remove pages of commands that are gone, return the paths."""
    folder.mkdir(parents=True, exist_ok=True)
    pages = render_pages()
    for old in folder.glob("*.1"):
        if old.name not in pages:
            old.unlink()
    for name, text in pages.items():
        (folder / name).write_text(text, encoding="utf-8")
    return [folder / name for name in sorted(pages)]


def stale_pages(folder: Path) -> list[str]:
    """Return the names of pages in *folder* that are missing, outdated or left over."""
    pages = render_pages()
    committed = {path.name: path.read_text(encoding="utf-8") for path in folder.glob("*.1")}
    return sorted(name for name in pages.keys() | committed.keys() if pages.get(name) != committed.get(name))


def main() -> int:
    options = argparse.ArgumentParser(description="Write the man pages from the command's parser.")
    options.add_argument("--check", action="store_true", help="write nothing, exit 1 if a page is not current")
    if options.parse_args().check:
        stale = stale_pages(PAGES)
        if stale:
            print(f"not current: {', '.join(stale)}; run 'make man' and commit the result", file=sys.stderr)
        return 1 if stale else 0
    print(f"{len(write_pages(PAGES))} pages written to {PAGES.name}/")
    return 0


if __name__ == "__main__":
    sys.exit(main())
