"""Are the documents current? Run by ``make check``.

Every document is held against the code: links lead somewhere, Python examples compile, and commands, options, make
targets, public names, settings' variables and extras that a document names exist. What the documents say *about* them
is for a reader to judge.
"""

from __future__ import annotations

import configparser
import os
import pkgutil
import re
import shlex
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

ROOT = Path(__file__).resolve().parent.parent

_FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ +(.+?) *$", re.MULTILINE)
_CODE = re.compile(r"`([^`\n]+)`")
_VARIABLE = re.compile(r"\bS3DLIO_[A-Z0-9_]*[A-Z0-9]\b")
_NAME = re.compile(r"\bs3dlio\.([A-Za-z_]\w*)")


@dataclass(frozen=True)
class Facts:
    """What the code offers, to compare with."""

    names: frozenset[str]
    global_options: frozenset[str]
    commands: dict[str, frozenset[str]]
    targets: frozenset[str]
    extras: frozenset[str]
    variables: frozenset[str]

    @classmethod
    def from_code(cls) -> Self:
        """Read them from the package, the parser, the Makefile and setup.cfg."""
        sys.path.insert(0, str(ROOT))
        import s3dlio
        from s3dlio.cli.parser import build_parser

        parser = build_parser()
        commands = {
            name: frozenset[str]().union(*(one._option_string_actions for one in (command, *command.every_command())))
            for name, command in parser.commands().items()
        }
        config = configparser.ConfigParser()
        config.read(ROOT / "setup.cfg")
        sources = "\n".join(path.read_text(encoding="utf-8") for path in ROOT.glob("s3dlio/**/*.py"))
        return cls(
            names=frozenset(dir(s3dlio)) | {module.name for module in pkgutil.iter_modules(s3dlio.__path__)},
            global_options=frozenset(parser._option_string_actions),
            commands=commands,
            targets=frozenset(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE)),
            extras=frozenset(config["options.extras_require"]),
            variables=frozenset(_VARIABLE.findall(sources)),
        )


def documents() -> list[Path]:
    """Return the documents of the root, docs/ and examples/. The changelog speaks of the past and is left out."""
    found = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").glob("*.md")]
    return sorted(path for path in found if path.name != "CHANGELOG.md")


def problems(path: Path, facts: Facts) -> Iterator[str]:
    """Yield what is wrong in one document."""
    if not path.exists():
        yield "missing"
        return
    text = path.read_text(encoding="utf-8")
    prose = _FENCE.sub("", text)
    yield from _dead_links(path, prose)
    for number, (language, code) in enumerate(_FENCE.findall(text), 1):
        if language in ("python", "py"):
            try:
                compile(code, f"{path.name}, example {number}", "exec")
            except SyntaxError as error:
                yield f"Python example {number}: {error}"
        elif language in ("sh", "bash", "shell", "console"):
            for line in code.replace("\\\n", " ").splitlines():
                yield from _wrong_command(line.strip().removeprefix("$ "), facts)
    for code in _CODE.findall(prose):
        yield from _wrong_command(code, facts)
    for name in sorted(set(_NAME.findall(text))):
        if name not in facts.names:
            yield f"s3dlio.{name} does not exist"
    for variable in sorted(set(_VARIABLE.findall(text))):
        if variable not in facts.variables:
            yield f"nothing in the package reads {variable}"
    for extra in sorted(set(re.findall(r"\bs3dlio\[([\w,-]+)\]", text))):
        for part in extra.split(","):
            if part not in facts.extras:
                yield f"there is no extra {part!r}"


def _dead_links(path: Path, prose: str) -> Iterator[str]:
    for link in _LINK.findall(prose):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = path.parent / name if name else path
        if not target.exists():
            yield f"link to {link}: no such file"
        elif anchor and target.suffix == ".md" and anchor not in _anchors(target):
            yield f"link to {link}: no such heading"


def _anchors(path: Path) -> set[str]:
    headings = _HEADING.findall(_FENCE.sub("", path.read_text(encoding="utf-8")))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def _wrong_command(line: str, facts: Facts) -> Iterator[str]:
    """Yield what is wrong in a shell line (or in inline code) that runs ``make`` or ``s3-cli``."""
    try:
        words = shlex.split(line, comments=True)
    except ValueError:  # not a shell line
        return
    while words and re.fullmatch(r"\w+=.*", words[0]):
        words.pop(0)
    if len(words) > 1 and words[0] == "make":
        for word in words[1:]:
            if re.fullmatch("[a-z-]+", word) and word not in facts.targets:
                yield f"there is no 'make {word}'"
    if words and words[0] in ("s3-cli", "s3dlio"):
        yield from _wrong_s3_cli(words[1:], facts)


def _wrong_s3_cli(words: list[str], facts: Facts) -> Iterator[str]:
    options = facts.global_options
    command = next((word for word in words if word in facts.commands), None)
    if command is not None:
        options = options | facts.commands[command]
    elif words and re.fullmatch("[a-z][a-z-]*", words[0]):
        yield f"there is no command 's3-cli {words[0]}'"
        return
    for word in words:
        if word in ("|", ">", "&&", ";"):
            break
        option = word.partition("=")[0]
        if re.fullmatch("--[a-z][a-z-]+", option) and option not in options:
            yield f"'s3-cli {command or ''}' has no option {option}"


def main() -> int:
    facts = Facts.from_code()
    found = 0
    for path in documents():
        for problem in problems(path, facts):
            sys.stderr.write(f"{os.path.relpath(path, ROOT)}: {problem}\n")
            found += 1
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
