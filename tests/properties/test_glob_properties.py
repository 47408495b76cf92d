"""Globs over keys that others have written: what they mean, told slowly, on every store, and in bounded time."""

from __future__ import annotations

import fnmatch
import itertools
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from s3dlio.client import Client
from s3dlio.errors import ConfigError
from s3dlio.transfer.glob import Glob, escape, find_local, glob_regex, is_glob
from s3dlio.transfer.plan import Filter
from s3dlio.transfer.selection import pattern_finder


def class_at(glob: str, at: int, crosses: bool) -> int:
    """Where the ``[...]`` that begins at ``at`` ends; -1 if it is none."""
    for first in (at + 2, at + 1) if glob[at + 1 : at + 2] in ("!", "^") else (at + 1,):
        end = glob.find("]", first + 1)
        if first < len(glob) and end > 0 and (crosses or "/" not in glob[first:end]):
            return end
    return -1


def cut(glob: str, crosses: bool) -> list[str]:
    parts, at = [], 0
    while at < len(glob):
        end = class_at(glob, at, crosses) if glob[at] == "[" else -1
        stars = len(glob[at:]) - len(glob[at:].lstrip("*"))
        size = end - at + 1 if end > 0 else max(stars, 1)
        parts.append(glob[at : at + size])
        at += size
    return parts


def written_out(parts: list[str]) -> Iterator[list[str]]:
    """Every text that braces stand for."""
    for start, part in enumerate(parts):
        if part != "{":
            continue
        depth, commas, end = 0, [], -1
        for at in range(start, len(parts)):
            depth += (parts[at] == "{") - (parts[at] == "}")
            if depth == 1 and parts[at] == ",":
                commas.append(at)
            if depth == 0:
                end = at
                break
        if end < 0 or not commas:
            continue
        for a, b in itertools.pairwise([start, *commas, end]):
            for option in written_out(parts[a + 1 : b]):
                for tail in written_out(parts[end + 1 :]):
                    yield [*parts[:start], *option, *tail]
        return
    yield parts


def in_class(body: str, letter: str, crosses: bool) -> bool:
    if len(body) == 1:
        return letter == body
    negated = body[0] in "!^"
    body = body[1:] if negated else body
    found = False
    while body:
        if body[1:2] == "-" and len(body) > 2:
            found = found or body[0] <= letter <= body[2]
            body = body[3:]
        else:
            found = found or letter == body[0]
            body = body[1:]
    return (crosses or letter != "/") and found != negated


def fits(parts: list[str], name: str, crosses: bool, at_start: bool = True) -> bool:
    """A part at a time."""
    if not parts:
        return not name
    part, rest = parts[0], parts[1:]
    if part.startswith("**"):
        if at_start and rest[:1] == ["/"] and fits(rest[1:], name, crosses, True):
            return True
        return any(fits(rest, name[n:], crosses, False) for n in range(len(name) + 1))
    if part == "*":
        span = len(name if crosses else name.partition("/")[0])
        return any(fits(rest, name[n:], crosses, False) for n in range(span + 1))
    if not name:
        return False
    if part == "?":
        fit = crosses or name[0] != "/"
    else:
        fit = in_class(part[1:-1], name[0], crosses) if len(part) > 1 else part == name[0]
    return fit and fits(rest, name[1:], crosses, part == "/")


def slowly(glob: str, name: str, crosses: bool = False) -> bool:
    return any(fits(parts, name, crosses) for parts in written_out(cut(glob, crosses)))


GLOBS = st.text("ab/*?[]!{},-^", max_size=10)


@settings(max_examples=3000)
@given(glob=GLOBS, key=st.text("ab/!,{[*]", max_size=8))
def test_a_glob_matches_what_its_definition_says(glob: str, key: str) -> None:
    assert bool(glob_regex(glob).fullmatch(key)) == slowly(glob, key)
    if slowly(glob, key):
        assert key.startswith(Glob.of(glob).head)
    if not is_glob(glob):
        assert slowly(glob, key) == (glob == key)


def wanted_slowly(glob: str, name: str) -> bool:
    """Whether a filter takes a name."""
    if "/" not in glob:
        return slowly(glob, name.rpartition("/")[2], True)
    anywhere = "**/" if glob.endswith("/") and "/" not in glob.strip("/") else ""
    return slowly(anywhere + glob.lstrip("/") + ("*" if glob.endswith("/") else ""), name, True)


@settings(max_examples=500)
@given(glob=GLOBS, name=st.text("ab/!,{[*]", max_size=8))
def test_a_filter_takes_what_its_globs_match(glob: str, name: str) -> None:
    assert bool(glob_regex(glob, crosses=True).fullmatch(name)) == slowly(glob, name, True)
    assert Filter(include=glob)(name) == wanted_slowly(glob, name)
    exclude = Filter(exclude=[glob])
    assert exclude(name) != wanted_slowly(glob, name)
    if exclude.prunes("ab/"):
        assert wanted_slowly(glob, "ab/" + name)
    if glob[:1] in ("*", "?"):  # no regular expression begins so
        assert pattern_finder(glob)(name) == slowly("**/" + glob, name, True)


@settings(max_examples=500)
@given(glob=st.text("ab/*?[]!-c", max_size=8), name=st.text("abc/!-[]", max_size=8))
def test_a_filter_takes_all_that_fnmatch_does(glob: str, name: str) -> None:
    """Without braces and ``[^``; ``[!]``, which fnmatch takes for three characters, is ``!`` here, and a ``!`` behind a
    range without characters (``[b-a!c]``), where fnmatch negates, is itself."""
    assume("[!]" not in glob and re.search("-.!", glob) is None)
    if fnmatch.fnmatchcase(name, glob):
        assert glob_regex(glob, crosses=True).fullmatch(name)


@given(st.text(max_size=12))
def test_an_escaped_name_matches_itself_alone(name: str) -> None:
    glob = Glob.of(escape(name))
    assert glob.matches(name)
    assert glob.head == name
    assert not glob.matches(name + "x")


NAMES = [
    "a", "b", "ab", "a,b", "a[b]", "{a}", "d/a", "d/b", "d/ab", "d/e/a", "d/e/f/ab", "aa/b", "aa/bb/a", ".a", "d/.b",
]  # fmt: skip


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("globs")
    for name in NAMES:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"")
        Client().put_bytes(f"memory://globs/{name}", b"")
    return root

_DOTS = re.compile(r"(^|[{,])\.{1,2}($|[},])")
#: Segments that are ``.`` or ``..``, or may become so, mean directories in paths, and are only characters in keys.
SEGMENT = st.text("abde*?[]!{},.", min_size=1, max_size=5).filter(lambda text: not _DOTS.search(text))


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(glob=st.lists(SEGMENT, min_size=1, max_size=4).map("/".join))
def test_files_and_keys_are_found_alike(tree: Path, glob: str) -> None:
    wanted = [name for name in NAMES if slowly(glob, name)]
    found = [path.removeprefix(f"{tree}/") for path in find_local(f"{escape(str(tree))}/{glob}")]
    assume(not any({".", ".."} & set(path.split("/")) for path in found))  # steps of a path, but names of keys
    assert [name for name in found if not os.path.isdir(tree / name)] == sorted(wanted)
    if is_glob(glob) and glob not in NAMES:
        assert Client().list(f"memory://globs/{glob}") == [f"memory://globs/{name}" for name in sorted(wanted)]


@pytest.mark.parametrize("glob", ["*a" * 30 + "*b", "**a" * 30 + "**b", "**a*a" * 15 + "**b", "**/*a*a*a*a/*b",
                                  "**/a*" * 20 + "b", "*[a]?" * 20 + "b", "{*a,**a}" * 6 + "b"])  # fmt: skip
@pytest.mark.parametrize("key", ["a" * 1024, "a/" * 512])
@pytest.mark.parametrize("crosses", [False, True])
def test_no_key_takes_for_ever(glob: str, key: str, crosses: bool) -> None:
    assert glob_regex(glob, crosses).fullmatch(key) is None


def test_braces_that_stand_for_too_much_are_refused() -> None:
    with pytest.raises(ConfigError, match="braces"):
        glob_regex("{a,b}" * 20)


def test_links_in_a_circle_end(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "x").touch()
    (tmp_path / "d" / "up").symlink_to(tmp_path)
    assert find_local(f"{tmp_path}/**/x") == [f"{tmp_path}/d/x"]
