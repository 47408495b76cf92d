"""A str without a scheme names nothing: every verb refuses it before any I/O. And a URI is no other URI's beginning."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import s3dlio
from s3dlio.errors import InvalidURIError
from s3dlio.transfer.delete import delete as delete_selected

VERBS: dict[str, Callable[[str], Any]] = {
    "get": s3dlio.get,
    "get_range": lambda path: s3dlio.get_range(path, 0, 1),
    "get_into": lambda path: s3dlio.get_into(path, bytearray(9)),
    "get_many": lambda path: s3dlio.get_many([path]),
    "get_many_stats": lambda path: s3dlio.get_many_stats([path]),
    "stat": s3dlio.stat,
    "stat_many": lambda path: s3dlio.stat_many([path]),
    "exists": s3dlio.exists,
    "list": s3dlio.list,
    "iterate": lambda path: [*s3dlio.iterate(path)],
    "put_bytes": lambda path: s3dlio.put_bytes(path, b"other"),
    "put_many": lambda path: s3dlio.put_many([(path, b"other")]),
    "put": lambda path: s3dlio.put(path, 1, size=1),
    "delete": s3dlio.delete,
    "delete, recursive": lambda path: s3dlio.delete(path, recursive=True),
    "delete_many": lambda path: s3dlio.delete_many([path]),
    "delete, the transfer": lambda path: delete_selected(s3dlio.default_client(), path),
    "mkdir": s3dlio.mkdir,
    "rmdir": lambda path: s3dlio.rmdir(path, recursive=True),
    "create_bucket": s3dlio.create_bucket,
    "delete_bucket": s3dlio.delete_bucket,
    "list_containers": s3dlio.list_containers,
}


@pytest.mark.parametrize("form", ["absolute", "./", "relative"])
@pytest.mark.parametrize("verb", VERBS)
def test_a_plain_path_is_refused_with_the_uri_that_it_may_mean(
    verb: str, form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "file").write_bytes(b"data")
    s3dlio.get(f"file://{tmp_path}/d/file")  # from now on the store of file:// is found without parsing
    path = {"absolute": f"{tmp_path}/d/file", "./": "./d/file", "relative": "d/file"}[form]
    with pytest.raises(InvalidURIError) as caught:
        VERBS[verb](path)
    assert f"file://{tmp_path}/d/file" in str(caught.value)
    assert [*tmp_path.rglob("*")] == [tmp_path / "d", tmp_path / "d" / "file"]
    assert (tmp_path / "d" / "file").read_bytes() == b"data"


@pytest.mark.parametrize("longer", ["memory://plain-pathsX", "memory://plain-paths2"])
def test_a_container_whose_name_begins_like_another_is_not_that_one(longer: str) -> None:
    s3dlio.put_bytes("memory://plain-paths/key", b"data")
    store, key = s3dlio.default_client().store_for(longer)
    assert (store.root, key) == (longer, "")
    assert s3dlio.list(longer) == []


def test_a_relative_file_of_one_letter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    s3dlio.put_bytes(f"file://{tmp_path}/x", b"data")
    assert s3dlio.get("file://x") == b"data"
