"""Holds the public API against that of the last release, ``docs/api_snapshot.txt``; ``--write`` at a release writes it.

A name, parameter or option that has changed or gone must be named in CHANGELOG.md: in the section whose heading ends in
``(unreleased)``, below a heading ``Changed signatures``, in backticks. docs/versioning.md has the rule.
"""

from __future__ import annotations

import argparse
import ast
import enum
import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
SNAPSHOT = ROOT / "docs" / "api_snapshot.txt"
#: Modules that need what is not installed everywhere: their classes and functions are read from the source.
OF_OTHERS = ("torch", "jax_tf", "gpu", "checkpoint/dcp/writer", "checkpoint/dcp/reader")
_EASY = (type(None), bool, int, float, str, bytes)


def current() -> dict[str, str]:
    """The public API now: by name, the whole line."""
    sys.path.insert(0, str(ROOT))
    import s3dlio
    from s3dlio.cli.parser import build_parser

    lines = dict(_of_command(build_parser()))
    for module in OF_OTHERS:
        lines |= _of_source(module)
    first: dict[int, str] = {}
    for name in sorted(s3dlio.__all__, key=lambda name: (name.startswith("Py"), name)):
        value = getattr(s3dlio, name)
        known = first.setdefault(id(value), name)
        lines |= {name: f"{name} = {known}"} if known != name and callable(value) else _of_name(name, value)
    return dict(sorted(lines.items()))


def _of_name(name: str, value: Any) -> dict[str, str]:
    if value is None or inspect.ismodule(value) or _is_of_others(value):
        return {name: name}
    if inspect.isclass(value):
        return dict(_of_class(name, value))
    if callable(value):
        return {name: f"{name}{_parameters(value)}"}
    return {name: f"{name}: {type(value).__name__}"}


def _is_of_others(value: Any) -> bool:
    """Whether it is read from its source, or is what stands in its place where something is not installed."""
    module = str(getattr(value, "__module__", "")).removeprefix("s3dlio.").replace(".", "/")
    return module in OF_OTHERS or module == "compat/frameworks"


def _of_class(name: str, value: type) -> Iterator[tuple[str, str]]:
    if issubclass(value, enum.Enum):
        yield name, f"enum {name}: {', '.join(value.__members__)}"
        return
    is_error = issubclass(value, BaseException)
    bases = [base.__name__ for base in value.__bases__ if not base.__name__.startswith("_")]
    yield name, f"error {name} < {', '.join(bases)}" if is_error else f"class {name}{_parameters(value)}"
    for member in sorted(dir(value)):
        home = next((base for base in value.__mro__ if member in vars(base)), object)
        hidden = member.startswith("_") or not hasattr(value, member) or (is_error and home is not value)
        if hidden or not home.__module__.startswith("s3dlio"):
            continue
        full, found = f"{name}.{member}", getattr(value, member)
        if isinstance(inspect.getattr_static(value, member), property):
            yield full, f"{full} (property)"
        elif isinstance(getattr(found, "__code__", None), CodeType) or inspect.ismethod(found):
            told = _parameters(found, bound=isinstance(found, FunctionType))
            yield full, full + told if "->" in told else full  # those of bytes differ between Pythons
        else:
            yield full, full


def _parameters(value: Any, *, bound: bool = False) -> str:
    try:
        found = inspect.signature(value)
    except (TypeError, ValueError):
        return "(...)"
    parts, keyword_only = [], False
    for parameter in list(found.parameters.values())[bound:]:
        if parameter.kind is parameter.KEYWORD_ONLY and not keyword_only:
            parts.append("*")
        keyword_only |= parameter.kind in (parameter.KEYWORD_ONLY, parameter.VAR_POSITIONAL)
        stars = {parameter.VAR_POSITIONAL: "*", parameter.VAR_KEYWORD: "**"}.get(parameter.kind, "")
        text = stars + parameter.name
        if parameter.annotation is not parameter.empty:
            text += f": {parameter.annotation}" if isinstance(parameter.annotation, str) else ""
        if parameter.default is not parameter.empty:
            text += f" = {_default(parameter.default)}"
        parts.append(text)
    returns = f" -> {found.return_annotation}" if isinstance(found.return_annotation, str) else ""
    return f"({', '.join(parts)}){returns}"


def _default(value: Any) -> str:
    if isinstance(value, _EASY) or value == ():
        return repr(value)
    return f"{type(value).__name__}(...)"


def _of_source(module: str) -> dict[str, str]:
    name = "s3dlio." + module.replace("/", ".")
    tree = ast.parse((ROOT / "s3dlio" / f"{module}.py").read_text(encoding="utf-8"))
    lines = {}
    for statement in tree.body:
        if isinstance(statement, ast.FunctionDef) and not statement.name.startswith("_"):
            lines |= _of_function(f"{name}.{statement.name}", statement)
        elif isinstance(statement, ast.ClassDef) and not statement.name.startswith("_"):
            lines[f"{name}.{statement.name}"] = f"class {name}.{statement.name}"
            for member in statement.body:
                if isinstance(member, ast.FunctionDef) and (
                    member.name == "__init__" or not member.name.startswith("_")
                ):
                    lines |= _of_function(f"{name}.{statement.name}.{member.name}", member)
    return lines


def _of_function(name: str, function: ast.FunctionDef) -> dict[str, str]:
    returns = f" -> {ast.unparse(function.returns)}" if function.returns else ""
    return {name: f"{name}({ast.unparse(function.args)}){returns}"}


def _of_command(parser: argparse.ArgumentParser) -> Iterator[tuple[str, str]]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command in sorted(action.choices):
                yield f"{parser.prog} {command}", f"{parser.prog} {command}"
            for one in {id(choice): choice for choice in action.choices.values()}.values():
                yield from _of_command(one)
        elif action.dest != "help" and not _is_shared(parser, action):
            for option in action.option_strings or [str(action.metavar or action.dest)]:
                value = "" if action.nargs == 0 else f" {action.metavar or '|'.join(map(str, action.choices or ()))}"
                value = value if action.option_strings else ""
                default = "" if action.default in (None, argparse.SUPPRESS, False) else f" (default {action.default!r})"
                count = f" [{action.nargs}]" if action.nargs not in (None, 0) else ""
                yield f"{parser.prog} {option}", f"{parser.prog} {option}{value}{count}{default}"


def _is_shared(parser: argparse.ArgumentParser, action: argparse.Action) -> bool:
    """Whether it is a global option, listed once."""
    groups = [group for group in parser._action_groups if group.title == "global options"]
    return " " in parser.prog and any(action in group._group_actions for group in groups)


def admitted(changes: str) -> set[str]:
    """What the changelog's unreleased section names below "Changed signatures"."""
    sections = re.split(r"^## ", changes, flags=re.MULTILINE)
    unreleased = next((text for text in sections if text.partition("\n")[0].rstrip().endswith("(unreleased)")), "")
    parts = re.split(r"^#+ ", unreleased, flags=re.MULTILINE)
    named = next((text for text in parts if text.partition("\n")[0].strip() == "Changed signatures"), "")
    return set(re.findall(r"`([^`\n]+)`", named))


def unannounced(before: dict[str, str], now: dict[str, str], named: set[str]) -> Iterator[str]:
    """What has changed or gone without being named, told."""
    for name, line in before.items():
        owners = {name, name.rpartition(".")[0], name.rpartition(" ")[0]}
        if now.get(name) != line and not owners & named:
            yield f"{name}\n  before: {line}\n  now:    {now.get(name, '(gone)')}"


def main(words: list[str] | None = None) -> int:
    options = argparse.ArgumentParser(description="Compare the public API with that of the last release.")
    options.add_argument("--write", action="store_true", help="write docs/api_snapshot.txt: at a release")
    now = current()
    if options.parse_args(words).write:
        SNAPSHOT.write_text("".join(f"{name}\t{line}\n" for name, line in now.items()), encoding="utf-8")
        return 0
    before = dict(line.split("\t", 1) for line in SNAPSHOT.read_text(encoding="utf-8").splitlines())
    found = list(unannounced(before, now, admitted((ROOT / "CHANGELOG.md").read_text(encoding="utf-8"))))
    for problem in found:
        sys.stderr.write(f"public API: {problem}\n")
    if found:
        sys.stderr.write("Name it in CHANGELOG.md, '(unreleased)', below '### Changed signatures', in backticks: "
                         "docs/versioning.md\n")  # fmt: skip
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
