"""The house: a module imports from its own room and from rooms further down, and no circle of modules exists."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import s3dlio

PACKAGE = Path(s3dlio.__file__).parent
#: From the ground up. A room is a module, or a package with all that has no line of its own.
ROOMS = """
    _version records masking wording
    errors foreign_errors
    types uri forking hardware histogram figures rfc3339 posix
    pages
    uri_templates reentrancy launcher
    memory
    config
    signatures
    datagen
    formats
    net
    stores.writer stores.paging
    stores.call
    stores.checks
    stores.history
    stores.base
    stores.blocking
    stores.memory stores.local stores.cloud
    stores.s3 stores.azure stores.gcs
    stores.sdk stores.multi
    stores
    engine
    transfer
    streams
    verbs
    client
    api coroutines
    aio api_formats
    checkpoint loader oplog
    bench
    cluster
    torch jax_tf gpu
    fsspec
    upath
    compat
    multi_endpoint
    integrations
    cli
    __init__ __main__
    _pymod
"""
FLOORS = {room: floor for floor, line in enumerate(ROOMS.split("\n")) for room in line.split()}


def modules() -> dict[str, Path]:
    """Every module: its name without ``s3dlio.`` -> its file."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        name = ".".join(parts[:-1] if len(parts) > 1 and parts[-1] == "__init__" else parts)
        found[name] = path
    return found


MODULES = modules()


def imports(name: str) -> Iterator[str]:
    """The modules of the package that ``name`` imports, anywhere in its file, for type checkers too."""
    for node in ast.walk(ast.parse(MODULES[name].read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}: imports are absolute"
            names = [f"{node.module}.{alias.name}" for alias in node.names] + [str(node.module)]
        else:
            continue
        for dotted in names:
            inner = dotted.removeprefix("s3dlio").lstrip(".") or "__init__"
            if dotted.partition(".")[0] == "s3dlio" and inner in MODULES and inner != name:
                yield inner


GRAPH = {name: {other for other in imports(name) if not name.startswith(other + ".")} for name in MODULES}


def room_of(name: str) -> str:
    """The room of a module: the longest that its name begins with."""
    rooms = [room for room in FLOORS if name == room or name.startswith(room + ".")]
    assert rooms, f"{name} has no room: add one to ROOMS and to docs/architecture.md"
    return max(rooms, key=len)


def test_imports_point_down() -> None:
    upward = [
        f"{name} -> {other}"
        for name, others in GRAPH.items()
        for other in others
        if other != "__init__" and FLOORS[room_of(other)] > FLOORS[room_of(name)]
    ]
    assert not upward


def test_no_room_imports_from_one_beside_it() -> None:
    """Rooms of one line are apart: neither local stores nor one cloud know of another's."""
    across = [
        f"{name} -> {other}"
        for name, others in GRAPH.items()
        for other in others
        if FLOORS[room_of(other)] == FLOORS[room_of(name)] and room_of(other) != room_of(name)
        and room_of(name).startswith("stores.")
    ]  # fmt: skip
    assert not across


def test_no_circle_of_modules() -> None:
    left = {name: {other for other in others if other != "__init__"} for name, others in GRAPH.items()}
    ends: list[str] | bool = True
    while ends:  # whoever imports nothing of the rest, or is imported by nothing of it, is in no circle
        imported = set().union(*left.values())
        ends = [name for name, others in left.items() if not others & left.keys() or name not in imported]
        left = {name: others - set(ends) for name, others in left.items() if name not in ends}
    assert not left, f"these import each other: {' '.join(sorted(left))}"
