"""What globs select on stores, and that exact names with special characters stay in reach."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from s3dlio.client import Client
from s3dlio.errors import InvalidURIError

_numbers = itertools.count()


@pytest.fixture
def bucket() -> str:
    root = f"memory://globs-{next(_numbers)}"
    keys = ("run1/x", "run2/x", "run2/y", "run[12]/x", "k?", "kk", "f{a,b}", "fa", "fb", "f[1]", "f1", "s*r", "sir")
    for key in keys:
        Client().put_bytes(f"{root}/{key}", key.encode())
    return root


@pytest.mark.parametrize(
    ("glob", "found"),
    [
        ("run?/x", ["run1/x", "run2/x"]),
        ("run[12]/*", ["run1/x", "run2/x", "run2/y"]),
        ("run[[]12]/*", ["run[12]/x"]),
        ("run{1,2}/{x,y}", ["run1/x", "run2/x", "run2/y"]),
        ("**/x", ["run1/x", "run2/x", "run[12]/x"]),
        ("s*r", ["s*r", "sir"]),
        ("s[*]r", ["s*r"]),
        # Without a '*', an object of exactly this name is meant where there is one.
        ("k?", ["k?"]),
        ("f{a,b}", ["f{a,b}"]),
        ("f[1]", ["f[1]"]),
        ("f{a,1}", ["f1", "fa"]),
        ("run[12]", ["run[12]/"]),
        ("run[12]/", ["run[12]/x"]),
        ("none?", []),
    ],
)
def test_what_a_glob_selects(bucket: str, tmp_path: Path, glob: str, found: list[str]) -> None:
    client = Client()
    client.download(f"{bucket}/", tmp_path)
    local = [] if glob in ("s*r", "run[12]") else [f"file://{tmp_path}"]  # a path that exists is that path
    for place in (bucket, *local):
        assert client.list(f"{place}/{glob}") == [f"{place}/{name}" for name in found]


def test_a_delete_of_one_object_takes_its_name_literally(bucket: str) -> None:
    client = Client()
    for name in ("k?", "f{a,b}", "f[1]"):
        client.delete(f"{bucket}/{name}")
    client.delete_many([f"{bucket}/s*r"])
    left = client.list_keys(f"{bucket}/")
    assert left == ["f1", "fa", "fb", "kk", "run1/", "run2/", "run[12]/", "sir"]
    client.delete(f"{bucket}/run[12]", recursive=True)  # a directory of this name is there
    assert "run1/" in client.list_keys(f"{bucket}/")
    client.delete(f"{bucket}/run[12]/*", recursive=True)
    assert "run1/" not in client.list_keys(f"{bucket}/")


def test_a_glob_goes_into_a_directory_and_an_exact_name_to_a_name(bucket: str, tmp_path: Path) -> None:
    client = Client()
    client.copy(f"{bucket}/k?", tmp_path / "one")
    client.copy(f"{bucket}/f{{a,1}}", tmp_path / "several")
    assert (tmp_path / "one").read_bytes() == b"k?"
    assert sorted(path.name for path in (tmp_path / "several").iterdir()) == ["f1", "fa"]


VERBS: dict[str, Callable[..., Any]] = {"copy": Client.copy, "move": Client.move}


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("place", ["memory", "file"])
@pytest.mark.parametrize(
    ("glob", "prefix"),
    [("w/**", "w/zz/"), ("w/*", "w/"), ("w/**/x", "w/a/"), ("w/a?**", "w/ab/"), ("w/{*,zz/*}", "w/zz/"), ("**", "o/")],
)
def test_copies_are_not_copied(tmp_path: Path, verb: str, place: str, glob: str, prefix: str) -> None:
    base = f"file://{tmp_path}/" if place == "file" else f"memory://copies-{next(_numbers)}/"
    client = Client()
    names = ["w/ab1/x", "w/b", "w/zz/c", "x"]
    for name in names:
        client.put_bytes(base + name, b"")
    with pytest.raises(InvalidURIError, match="nothing was transferred"):
        VERBS[verb](client, base + glob, base + prefix)
    assert client.list(base, recursive=True) == [base + name for name in names]


@pytest.mark.parametrize(("glob", "prefix"), [("w/*", "w/zz/"), ("w/a**", "w/zz/"), ("w/**", "v/"), ("w/?/*", "w/zz/")])
def test_a_destination_that_a_glob_does_not_match_is_fine(glob: str, prefix: str) -> None:
    base = f"memory://copies-{next(_numbers)}/"
    client = Client()
    for name in ("w/a", "w/a/b"):
        client.put_bytes(base + name, b"")
    for _ in range(2):
        client.copy(base + glob, base + prefix)
    assert len(client.list(base, recursive=True)) <= 4
