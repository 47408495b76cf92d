"""What an upload selects: paths, globs, regular expressions, trees, and what cannot be transferred."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from s3dlio.errors import ConfigError, InvalidURIError, ObjectNotFoundError
from s3dlio.rfc3339 import parse_rfc3339
from s3dlio.transfer.plan import Filter, Item, Refused, Skipped
from s3dlio.transfer.select_local import check_names, expand, select_local

Tree = Callable[..., Path]


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    def make(*names: str) -> Path:
        for name in names:
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(name.encode())
        return tmp_path

    return make


def names(*sources: os.PathLike[str] | str, recursive: bool = False, regex: bool = False, **keep: str) -> list[str]:
    roots = expand(sources, recursive=recursive, regex=regex)
    check_names(roots, recursive, Filter(**keep))
    plan = select_local(roots, recursive=recursive, keep=Filter(**keep))
    return [entry.name for entry in plan if isinstance(entry, Item)]


def test_a_path_with_dots_is_no_pattern(tree: Tree) -> None:
    root = tree("1.txt", "11.txt", "1xtxt", "1.txt.bak")
    assert names(root / "1.txt") == ["1.txt"]
    assert names(f"{root}/1.txt") == ["1.txt"]
    assert names(f"file://{root}/1.txt") == ["1.txt"]


def test_an_existing_path_with_wildcards_is_that_path(tree: Tree) -> None:
    root = tree("a[1].txt", "a1.txt", "b*c", "bxc")
    assert names(root / "a[1].txt") == ["a[1].txt"]
    assert names(root / "b*c") == ["b*c"]


def test_a_glob_finds_files_under_their_last_segment(tree: Tree) -> None:
    root = tree("x/a.log", "x/b.log", "x/c.txt", "y/d.log", "x/sub.log/inside")
    assert names(root / "x" / "*.log") == ["a.log", "b.log"]
    assert names(root / "*" / "?.log") == ["a.log", "b.log", "d.log"]


def test_a_recursive_glob_keeps_what_follows_the_fixed_part(tree: Tree) -> None:
    root = tree("x/a.log", "x/deep/b.log", "y.log")
    assert names(root / "*", recursive=True) == ["x/a.log", "x/deep/b.log", "y.log"]
    assert names(root / "**" / "*.log", recursive=True) == ["x/a.log", "x/deep/b.log", "y.log"]


def test_a_regular_expression_only_on_request(tree: Tree) -> None:
    root = tree("1.txt", "11.txt", "1xtxt", "sub/1.txt")
    assert names(f"{root}/1.txt", regex=True) == ["1.txt", "11.txt", "1xtxt"]
    assert names(f"{root}/^1\\.txt$", regex=True) == ["1.txt"]
    with pytest.raises(ConfigError, match="regex"):
        names(f"{root}/(", regex=True)


def test_a_directory_without_recursive_gives_its_files_and_speaks_of_the_rest(tree: Tree) -> None:
    root = tree("a", "sub/b")
    entries = list(select_local(expand([root])))
    assert [entry.name for entry in entries if isinstance(entry, Item)] == ["a"]
    [passed] = [entry for entry in entries if isinstance(entry, Skipped)]
    assert passed.uri.endswith("/sub")
    assert "recursive" in passed.reason


def test_a_tree_keeps_its_relative_paths_in_the_order_of_keys(tree: Tree) -> None:
    root = tree("a/b", "a-b", "a.c", "z/y/x", "a/b2")
    found = names(root, recursive=True)
    assert found == ["a-b", "a.c", "a/b", "a/b2", "z/y/x"]
    assert found == sorted(found)


def test_items_tell_size_and_time(tree: Tree) -> None:
    root = tree("abc")
    os.utime(root / "abc", ns=(1, 1_234_567_890_123_456_789))
    [item] = select_local(expand([root / "abc"]))
    assert item == Item("abc", str(root / "abc"), 3, None, 1_234_567_890_123_456_789)


def test_missing_sources_are_named_before_anything_is_done(tmp_path: Path) -> None:
    with pytest.raises(ObjectNotFoundError, match="nope"):
        expand([tmp_path / "nope"])
    with pytest.raises(ObjectNotFoundError, match="No files matched"):
        expand([tmp_path / "*.none"])
    with pytest.raises(ConfigError, match="empty"):
        expand([])
    with pytest.raises(InvalidURIError, match="local path"):
        expand(["s3://bucket/key"])
    with pytest.raises(InvalidURIError, match="NUL"):
        expand(["a\0b"])


@pytest.mark.parametrize(
    ("sources", "clash"),
    [
        (["x/same", "y/same"], True),
        (["x/same", "x/same"], False),
        (["x", "y"], True),
        (["x", "z"], False),
        (["x", "y/same"], True),
        (["x", "y/other"], False),
        (["*/same"], True),
    ],
)
def test_two_sources_of_one_name_are_refused(tree: Tree, sources: list[str], clash: bool) -> None:
    root = tree("x/same", "y/same", "z/different", "y/other")
    roots = expand([root / source for source in sources], recursive="*" not in sources[0])
    if clash:
        with pytest.raises(InvalidURIError, match="would both be stored as 'same'"):
            check_names(roots, True, Filter())
    else:
        check_names(roots, True, Filter())


def test_deep_names_clash_too(tree: Tree) -> None:
    root = tree("x/deep/same", "y/deep/same")
    with pytest.raises(InvalidURIError, match="deep/same"):
        names(root / "x", root / "y", recursive=True)


def test_sockets_fifos_and_dangling_links_are_refused_one_by_one(tree: Tree) -> None:
    root = tree("good")
    os.mkfifo(root / "fifo")
    (root / "dangling").symlink_to("nowhere")
    (root / "itself").symlink_to("itself")
    with socket.socket(socket.AF_UNIX) as unix:
        unix.bind(str(root / "socket"))
        entries = list(select_local(expand([root]), recursive=True))
    refused = {os.path.basename(entry.uri): str(entry.error) for entry in entries if isinstance(entry, Refused)}
    assert sorted(refused) == ["dangling", "fifo", "itself", "socket"]
    assert "fifo" in refused["fifo"]
    assert "socket" in refused["socket"]
    assert "link to 'nowhere'" in refused["dangling"]
    assert [entry.name for entry in entries if isinstance(entry, Item)] == ["good"]


def test_links_are_followed_but_not_in_circles(tree: Tree) -> None:
    root = tree("a/file", "elsewhere/target")
    (root / "a" / "up").symlink_to("..")
    (root / "a" / "there").symlink_to(root / "elsewhere")
    (root / "a" / "alias").symlink_to("file")
    entries = list(select_local(expand([root / "a"]), recursive=True))
    found = [entry.name for entry in entries if isinstance(entry, Item)]
    # From `up` the tree is seen once more, under other names; its own `a` is the directory where it began.
    assert found == ["alias", "file", "there/target", "up/elsewhere/target"]
    [loop] = [entry for entry in entries if isinstance(entry, Refused)]
    assert loop.uri.endswith("a/up/a")
    assert "never end" in str(loop.error)


def test_names_that_are_not_utf8_are_refused_readably(tree: Tree) -> None:
    root = tree("good")
    with open(os.fsencode(root) + b"/bad\xff", "wb"):
        pass
    os.mkdir(os.fsencode(root) + b"/dir\xfe")
    entries = list(select_local(expand([root]), recursive=True))
    refused = [entry for entry in entries if isinstance(entry, Refused)]
    assert len(refused) == 2
    for entry in refused:
        assert "not UTF-8" in str(entry.error)
        assert str(entry.error).isprintable()


def test_unreadable_directories_are_refused_and_the_others_go_on(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tree("open/a", "shut/b")
    scandir = os.scandir

    def guarded(path: str) -> object:
        if str(path).endswith("/shut"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", guarded)  # the tests may run as root, whom no mode keeps out
    entries = list(select_local(expand([root]), recursive=True))
    assert [entry.name for entry in entries if isinstance(entry, Item)] == ["open/a"]
    [refused] = [entry for entry in entries if isinstance(entry, Refused)]
    assert isinstance(refused.error, PermissionError)


def test_what_an_interrupted_write_left_is_passed_over(tree: Tree) -> None:
    root = tree("a", ".s3dlio-0123.partial")
    entries = list(select_local(expand([root])))
    assert [type(entry) for entry in entries] == [Skipped, Item]


@pytest.mark.parametrize(
    ("keep", "wanted"),
    [
        (Filter(), {"a.py", "d/a.py", "d/b.txt", "build/c.py", "d/build/e"}),
        (Filter(include=["*.py"]), {"a.py", "d/a.py", "build/c.py"}),
        (Filter(include="*.py"), {"a.py", "d/a.py", "build/c.py"}),
        (Filter(exclude=["*.py"]), {"d/b.txt", "d/build/e"}),
        (Filter(include=["d/*"]), {"d/a.py", "d/b.txt", "d/build/e"}),
        (Filter(include=["/a.py"]), {"a.py"}),
        (Filter(exclude=["build/"]), {"a.py", "d/a.py", "d/b.txt"}),
        (Filter(exclude=["d/build/"]), {"a.py", "d/a.py", "d/b.txt", "build/c.py"}),
        (Filter(include=["*.py"], exclude=["d/*"]), {"a.py", "build/c.py"}),
        (Filter(include=["*.{py,txt}"]), {"a.py", "d/a.py", "d/b.txt", "build/c.py"}),
        (Filter(include=["[^a].py"]), {"build/c.py"}),
        (Filter(include=["**/a.py"]), {"a.py", "d/a.py"}),
        (Filter(exclude=["{d,build}/"]), {"a.py"}),
        (Filter(exclude=["d/?.py"]), {"a.py", "d/b.txt", "build/c.py", "d/build/e"}),
        (Filter(exclude=["d/*"]), {"a.py", "build/c.py"}),
        (Filter(exclude=["d?build"]), {"a.py", "d/a.py", "d/b.txt", "build/c.py", "d/build/e"}),
        (Filter(exclude=["*/buil?"]), {"a.py", "d/a.py", "d/b.txt", "build/c.py", "d/build/e"}),
        (Filter(exclude=["d/buil??"]), {"a.py", "d/a.py", "d/b.txt", "build/c.py", "d/build/e"}),
        (Filter(pattern=r"^d/.*\.py$"), {"d/a.py"}),
        (Filter(pattern="*.{py,txt}"), {"a.py", "d/a.py", "d/b.txt", "build/c.py"}),
        (Filter(pattern="?.py"), {"a.py", "d/a.py", "build/c.py"}),
        (Filter(pattern="*.py", exclude=["d/*"]), {"a.py", "build/c.py"}),
    ],
)
def test_include_and_exclude(tree: Tree, keep: Filter, wanted: set[str]) -> None:
    root = tree("a.py", "d/a.py", "d/b.txt", "build/c.py", "d/build/e")
    assert {entry.name for entry in select_local(expand([root]), recursive=True, keep=keep)} == wanted  # type: ignore[union-attr]


def test_excluded_directories_are_not_entered(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tree("kept/a", ".git/objects/b")
    entered: list[str] = []
    scandir = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: entered.append(os.path.basename(path)) or scandir(path))
    plan = select_local(expand([root]), recursive=True, keep=Filter(exclude=[".git/"]))
    assert [entry.name for entry in plan if isinstance(entry, Item)] == ["kept/a"]
    assert ".git" not in entered


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1970-01-01T00:00:01Z", 1_000_000_000),
        ("1970-01-01T00:00:01.5Z", 1_500_000_000),
        ("2026-11-20T23:52:19.342791724Z", 1_795_218_739_342_791_724),
        ("1970-01-01T01:00:00+01:00", 0),
        ("Fri, 20 Nov 2026 23:52:48 GMT", None),
    ],
)
def test_times_of_listings(text: str, expected: int | None) -> None:
    assert parse_rfc3339(text) == expected
    assert Item("", "", 0, None, text).mtime_ns == expected
